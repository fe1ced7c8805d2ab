//! SubjectAccessReview and its two relatives: may somebody do something; `kubectl auth can-i`.

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
    SubjectAccessReview, SubjectAccessReviewSpec,
};
use serde_json::{Value, json};
use skiff_api::{ApiError, Errors};

use super::{Review, answered, posted};
use crate::api::Api;
use crate::authz::{self, Ask, Authorized, Verdict};
use crate::user::User;
use crate::wire::Response;

const GROUP: &str = "authorization.k8s.io";
const VERSION: &str = "authorization.k8s.io/v1";

const fn review(
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
    handle: super::Handler,
) -> Review {
    Review { group: GROUP, version: "v1", plural, kind, namespaced, handle }
}

pub(super) static ANY: Review = review("subjectaccessreviews", "SubjectAccessReview", false, |api, call| {
    Box::pin(async move {
        let (mut review, _): (SubjectAccessReview, _) = posted(call, VERSION, "SubjectAccessReview").await?;
        review.status = None;
        check("SubjectAccessReview", &review.spec)?;
        let status = of_spec(&api, &review.spec).await;
        answered(&review, status)
    })
});

pub(super) static LOCAL: Review =
    review("localsubjectaccessreviews", "LocalSubjectAccessReview", true, |api, call| {
        Box::pin(local(api, call))
    });

pub(super) static OWN: Review = review("selfsubjectaccessreviews", "SelfSubjectAccessReview", false, own);

async fn local(api: Arc<Api>, call: Authorized) -> Result<Response, ApiError> {
    const KIND: &str = "LocalSubjectAccessReview";
    let place = call.info.target.as_ref().map(|target| target.namespace.clone()).unwrap_or_default();
    let (mut review, _): (LocalSubjectAccessReview, _) = posted(call, VERSION, KIND).await?;
    review.status = None;
    check(KIND, &review.spec)?;
    let inside =
        review.spec.resource_attributes.as_ref().and_then(|about| about.namespace.as_deref()) == Some(&place);
    if !inside {
        let why = format!("spec.resourceAttributes.namespace must match namespace: {place}");
        return Err(ApiError::bad_request(why));
    }
    review.metadata.namespace = Some(place);
    let status = of_spec(&api, &review.spec).await;
    answered(&review, status)
}

fn own(api: Arc<Api>, call: Authorized) -> BoxFuture<'static, Result<Response, ApiError>> {
    const KIND: &str = "SelfSubjectAccessReview";
    Box::pin(async move {
        let (mut review, user): (SelfSubjectAccessReview, _) = posted(call, VERSION, KIND).await?;
        review.status = None;
        let (resource, path) = (&review.spec.resource_attributes, &review.spec.non_resource_attributes);
        let mut errors = Errors::new();
        one_of(&mut errors, resource.as_ref(), path.as_ref());
        refuse(KIND, errors)?;
        let status = judged(&api, &user, resource.as_ref(), path.as_ref()).await;
        answered(&review, status)
    })
}

fn one_of(errors: &mut Errors, resource: Option<&ResourceAttributes>, path: Option<&NonResourceAttributes>) {
    if resource.is_some() && path.is_some() {
        let why = "cannot be specified in combination with resourceAttributes";
        errors.invalid("spec.nonResourceAttributes", &json!(path), why);
    }
    if resource.is_none() && path.is_none() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.invalid("spec.resourceAttributes", &Value::Null, why);
    }
}

fn check(kind: &str, spec: &SubjectAccessReviewSpec) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    one_of(&mut errors, spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref());
    let nobody = spec.user.as_deref().unwrap_or_default().is_empty()
        && spec.groups.as_deref().unwrap_or_default().is_empty();
    if nobody {
        errors.invalid("spec.user", "", "at least one of user or group must be specified");
    }
    refuse(kind, errors)
}

fn refuse(kind: &str, errors: Errors) -> Result<(), ApiError> {
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(GROUP, kind, "", errors)) }
}

async fn of_spec(api: &Api, spec: &SubjectAccessReviewSpec) -> Value {
    let named = User {
        name: spec.user.as_deref().unwrap_or_default().into(),
        uid: spec.uid.as_deref().unwrap_or_default().into(),
        // As they are given: a review does not make anybody authenticated.
        groups: spec.groups.clone().unwrap_or_default().into(),
        extra: Arc::new(spec.extra.clone().unwrap_or_default().into_iter().collect()),
    };
    judged(api, &named, spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref()).await
}

async fn judged(
    api: &Api,
    user: &User,
    resource: Option<&ResourceAttributes>,
    path: Option<&NonResourceAttributes>,
) -> Value {
    fn text(field: &Option<String>) -> &str {
        field.as_deref().unwrap_or_default()
    }
    let ask = match (resource, path) {
        (Some(about), _) => Ask {
            verb: text(&about.verb),
            group: text(&about.group),
            version: text(&about.version),
            resource: text(&about.resource),
            subresource: text(&about.subresource),
            namespace: text(&about.namespace),
            name: text(&about.name),
            ..Ask::nothing(user)
        },
        (None, Some(about)) => Ask { verb: text(&about.verb), path: text(&about.path), ..Ask::nothing(user) },
        (None, None) => Ask::nothing(user),
    };
    let (mut status, why) = match authz::judge(api, &ask).await {
        Verdict::Allow(why) => (json!({ "allowed": true }), why),
        Verdict::Deny(why) => (json!({ "allowed": false, "denied": true }), why),
        Verdict::NoOpinion(why) => (json!({ "allowed": false }), why),
    };
    if !why.is_empty() {
        status["reason"] = why.into();
    }
    status
}
