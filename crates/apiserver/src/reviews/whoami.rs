//! SelfSubjectReview: who the server takes the asker for; `kubectl auth whoami`.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use serde_json::json;

use super::{Review, answered, posted, shown};

pub(super) static REVIEW: Review = Review {
    group: "authentication.k8s.io",
    version: "v1",
    plural: "selfsubjectreviews",
    kind: "SelfSubjectReview",
    namespaced: false,
    handle: |_, call| {
        Box::pin(async move {
            let (mut review, user): (SelfSubjectReview, _) =
                posted(call, "authentication.k8s.io/v1", "SelfSubjectReview").await?;
            review.status = None;
            answered(&review, json!({ "userInfo": shown(&user) }))
        })
    },
};
