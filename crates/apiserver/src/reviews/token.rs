//! TokenReview: whom a token stands for; asked by servers that let others in by our tokens.

use k8s_openapi::api::authentication::v1::TokenReview;
use serde_json::json;
use skiff_api::ApiError;

use super::{Review, answered, posted, shown};
use crate::authn;

pub(super) static REVIEW: Review = Review {
    group: "authentication.k8s.io",
    version: "v1",
    plural: "tokenreviews",
    kind: "TokenReview",
    namespaced: false,
    handle: |api, call| {
        Box::pin(async move {
            let (mut review, _): (TokenReview, _) =
                posted(call, "authentication.k8s.io/v1", "TokenReview").await?;
            review.status = None;
            let token = review.spec.token.as_str();
            if token.is_empty() {
                return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
            }
            let asked = review.spec.audiences.as_deref().unwrap_or_default();
            let audiences = if asked.is_empty() { &api.issuer.audiences } else { asked };
            let status = match authn::of_token(&api, token, audiences).await {
                Ok(identity) => json!({
                    "authenticated": true, "user": shown(&identity.user), "audiences": identity.audiences,
                }),
                Err(why) => json!({ "user": {}, "error": why }),
            };
            answered(&review, status)
        })
    },
};
