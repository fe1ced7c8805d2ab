//! Reviews: collections that answer and keep nothing. They are no kinds of the table, and documents tell of them all the
//! same: `kubectl explain subjectaccessreview`, and clients that check what they send.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};
use k8s_openapi::api::core::v1::Binding;
use schemars::SchemaGenerator;

use crate::reviews::Review;

/// Adds the schema of a type to a generator.
type Schema = fn(&mut SchemaGenerator);

/// The types by their kinds.
const TYPES: &[(&str, Schema)] = &[
    ("Binding", |generator| drop(generator.subschema_for::<Binding>())),
    ("LocalSubjectAccessReview", |generator| drop(generator.subschema_for::<LocalSubjectAccessReview>())),
    ("SelfSubjectAccessReview", |generator| drop(generator.subschema_for::<SelfSubjectAccessReview>())),
    ("SelfSubjectReview", |generator| drop(generator.subschema_for::<SelfSubjectReview>())),
    ("SelfSubjectRulesReview", |generator| drop(generator.subschema_for::<SelfSubjectRulesReview>())),
    ("SubjectAccessReview", |generator| drop(generator.subschema_for::<SubjectAccessReview>())),
    ("TokenReview", |generator| drop(generator.subschema_for::<TokenReview>())),
];

/// Reviews of the same group and version.
pub(super) type Reviews = Vec<&'static Review>;

/// These by `apis/GROUP/VERSION`.
pub(super) fn by_group(reviews: &[&'static Review]) -> BTreeMap<String, Reviews> {
    let mut groups: BTreeMap<String, Reviews> = BTreeMap::new();
    for review in reviews {
        groups.entry(root(review)).or_default().push(review);
    }
    groups
}

/// `apis/authorization.k8s.io/v1`.
pub(super) fn root(review: &Review) -> String {
    match review.group {
        "" => format!("api/{}", review.version),
        group => format!("apis/{group}/{}", review.version),
    }
}

/// The name of a review's definition.
pub(super) fn definition(review: &Review) -> String {
    let group = review.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
    format!("io.k8s.api.{group}.{}.{}", review.version, review.kind)
}

/// Adds the schemas of reviews to a generator.
pub(super) fn schemas(generator: &mut SchemaGenerator, reviews: &[&'static Review]) {
    for review in reviews {
        if let Some((_, schema)) = TYPES.iter().find(|(kind, _)| *kind == review.kind) {
            schema(generator);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reviews::ALL;

    #[test]
    fn every_review_has_a_type() {
        for review in ALL {
            assert!(TYPES.iter().any(|(kind, _)| *kind == review.kind), "{}", review.kind);
        }
    }
}
