//! SelfSubjectRulesReview: all that the asker may do in a namespace; `kubectl auth can-i --list`.

use k8s_openapi::api::authorization::v1::SelfSubjectRulesReview;
use serde_json::{Value, json};
use skiff_api::ApiError;

use super::{Review, answered, posted};

pub(super) static REVIEW: Review = Review {
    group: "authorization.k8s.io",
    version: "v1",
    plural: "selfsubjectrulesreviews",
    kind: "SelfSubjectRulesReview",
    namespaced: false,
    handle: |api, call| {
        Box::pin(async move {
            let (mut review, user): (SelfSubjectRulesReview, _) =
                posted(call, "authorization.k8s.io/v1", "SelfSubjectRulesReview").await?;
            review.status = None;
            let namespace = review.spec.namespace.as_deref().unwrap_or_default();
            if namespace.is_empty() {
                return Err(ApiError::bad_request("no namespace on request"));
            }
            let held = api.rbac.held_by(&api.store, &user, namespace);
            let (mut resources, mut paths): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
            for rule in &held.rules {
                let mut shown = json!({ "verbs": rule.verbs });
                let mut add = |name: &str, words: &Option<Vec<String>>| {
                    if let Some(words) = words.as_ref().filter(|words| !words.is_empty()) {
                        shown[name] = json!(words);
                    }
                };
                add("nonResourceURLs", &rule.non_resource_urls);
                add("apiGroups", &rule.api_groups);
                add("resources", &rule.resources);
                add("resourceNames", &rule.resource_names);
                if rule.resources.as_ref().is_some_and(|words| !words.is_empty()) {
                    resources.push(shown);
                } else {
                    paths.push(shown);
                }
            }
            let mut status = json!({
                "resourceRules": resources, "nonResourceRules": paths, "incomplete": !held.faults.is_empty(),
            });
            if !held.faults.is_empty() {
                status["evaluationError"] = held.faults.join(", ").into();
            }
            answered(&review, status)
        })
    },
};
