//! IPAddress: an address of the service range and whose it is.

use k8s_openapi::api::networking::v1::{IPAddress, ParentReference};
use skiff_api::{Errors, names};

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of IPAddress.
pub(crate) const KIND: Row = Row { short: &["ip"], name_rule: check::canonical_ip, ..row::<IPAddress>() };

fn parent(address: &IPAddress) -> String {
    let parent = &address.spec.parent_ref;
    let mut shown = parent.resource.to_lowercase();
    if let Some(group) = check::given(parent.group.as_ref()) {
        shown = format!("{shown}.{}", group.to_lowercase());
    }
    if let Some(namespace) = check::given(parent.namespace.as_ref()) {
        shown = format!("{shown}/{namespace}");
    }
    format!("{shown}/{}", parent.name)
}

impl Kind for IPAddress {
    fn validate(&self, errors: &mut Errors) {
        let parent = &self.spec.parent_ref;
        if *parent == ParentReference::default() {
            errors.required("spec.parentRef", "");
            return;
        }
        errors.at("spec.parentRef", |errors| {
            if let Some(group) = check::given(parent.group.as_ref()) {
                check::named(errors, "group", group, names::dns1123_subdomain(group));
            }
            check::required_segment(errors, "resource", &parent.resource);
            check::required_segment(errors, "name", &parent.name);
            if let Some(namespace) = check::given(parent.namespace.as_ref()) {
                check::named(errors, "namespace", namespace, names::path_segment(namespace));
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.immutable("spec.parentRef", &self.spec.parent_ref, &old.spec.parent_ref);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::<Self>::text("ParentRef", |address, _| parent(address).into())]
    }
}
