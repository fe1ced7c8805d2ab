//! The variables of admission whose types are the same for every policy.
//!
//! Follows upstream's `BuildRequestType` and `BuildNamespaceType` (`apiserver/pkg/admission/plugin/cel/compile.go`).

use super::Type;

fn object(name: &str, fields: &[(&str, Type)]) -> Type {
    Type::object(name, fields.iter().map(|(name, field)| ((*name).to_owned(), field.clone())))
}

fn texts() -> Type {
    Type::list(Type::String)
}

impl Type {
    /// The type of `request`.
    pub fn request() -> Self {
        let group_version = |name: &str, last: &str| {
            object(name, &[("group", Type::String), ("version", Type::String), (last, Type::String)])
        };
        let kind = group_version("kubernetes.GroupVersionKind", "kind");
        let resource = group_version("kubernetes.GroupVersionResource", "resource");
        let user = object(
            "kubernetes.UserInfo",
            &[
                ("username", Type::String),
                ("uid", Type::String),
                ("groups", texts()),
                ("extra", Type::map(texts())),
            ],
        );
        object(
            "kubernetes.AdmissionRequest",
            &[
                ("kind", kind.clone()),
                ("resource", resource.clone()),
                ("subResource", Type::String),
                ("requestKind", kind),
                ("requestResource", resource),
                ("requestSubResource", Type::String),
                ("name", Type::String),
                ("namespace", Type::String),
                ("operation", Type::String),
                ("userInfo", user),
                ("dryRun", Type::Bool),
                ("options", Type::Dyn),
            ],
        )
    }

    /// The type of `namespaceObject`.
    pub fn namespace() -> Self {
        let metadata = object(
            "kubernetes.NamespaceMetadata",
            &[
                ("name", Type::String),
                ("generateName", Type::String),
                ("namespace", Type::String),
                ("labels", Type::map(Type::String)),
                ("annotations", Type::map(Type::String)),
                ("UID", Type::String),
                ("creationTimestamp", Type::Timestamp),
                ("deletionGracePeriodSeconds", Type::Int),
                ("deletionTimestamp", Type::Timestamp),
                ("generation", Type::Int),
                ("resourceVersion", Type::String),
                ("finalizers", texts()),
            ],
        );
        let condition = object(
            "kubernetes.NamespaceCondition",
            &[
                ("status", Type::String),
                ("type", Type::String),
                ("lastTransitionTime", Type::Timestamp),
                ("message", Type::String),
                ("reason", Type::String),
            ],
        );
        let status = [("conditions", Type::list(condition)), ("phase", Type::String)];
        object(
            "kubernetes.Namespace",
            &[
                ("metadata", metadata),
                ("spec", object("kubernetes.NamespaceSpec", &[("finalizers", texts())])),
                ("status", object("kubernetes.NamespaceStatus", &status)),
            ],
        )
    }

    /// The type of `authorizer`.
    pub fn authorizer() -> Self {
        Self::Opaque("kubernetes.authorization.Authorizer")
    }

    /// The type of `authorizer.requestResource`.
    pub(in crate::cel) fn resource_check() -> Self {
        Self::Opaque("kubernetes.authorization.ResourceCheck")
    }
}
