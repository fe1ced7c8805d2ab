//! StorageVersion: in which version each API server keeps the objects of a kind.
//!
//! Follows upstream's `pkg/registry/apiserverinternal/storageversion` and `pkg/apis/apiserverinternal/validation`.

use std::collections::HashMap;

use k8s_openapi::api::apiserverinternal::v1alpha1::{
    ServerStorageVersion, StorageVersion, StorageVersionCondition, StorageVersionSpec, StorageVersionStatus,
};
use skiff_api::{Errors, names, storage_version};

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of StorageVersion.
pub(crate) const KIND: Row =
    Row { status: true, name_rule, unconditional_update: false, ..row::<StorageVersion>() };

/// `GROUP.RESOURCE`
fn name_rule(name: &str) -> Vec<String> {
    let Some((group, resource)) = name.rsplit_once('.') else {
        return vec!["name must be in the form of <group>.<resource>".to_owned()];
    };
    let mut why = prefixed("the group segment ", names::dns1123_subdomain(group));
    why.extend(prefixed("the resource segment ", names::dns1035_label(resource)));
    why
}

fn prefixed(prefix: &str, why: Vec<String>) -> Vec<String> {
    why.into_iter().map(|reason| format!("{prefix}{reason}")).collect()
}

/// Why an `apiVersion` is refused.
fn api_version(text: &str) -> Vec<String> {
    const EMPTY: &str = "must be non-empty";
    let mut why = Vec::new();
    let version = match text.split('/').collect::<Vec<_>>().as_slice() {
        [version] => *version,
        ["", version] => {
            why.push(format!("group part: {EMPTY}"));
            *version
        }
        [group, version] => {
            why.extend(prefixed("group part: ", names::dns1123_subdomain(group)));
            *version
        }
        _ => {
            let rule = "an apiVersion is a DNS-1035 label, which must consist of lower case alphanumeric characters or \
                        '-', start with an alphabetic character, and end with an alphanumeric character (e.g. \
                        'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?') with an \
                        optional DNS subdomain prefix and '/' (e.g. 'example.com/MyVersion')";
            return vec![rule.to_owned()];
        }
    };
    if version.is_empty() {
        why.push(format!("version part: {EMPTY}"));
    } else {
        why.extend(prefixed("version part: ", names::dns1035_label(version)));
    }
    why
}

fn check_server(errors: &mut Errors, said: &ServerStorageVersion) {
    check::named(errors, "apiServerID", &said.api_server_id, names::dns1123_subdomain(&said.api_server_id));
    let refused = |errors: &mut Errors, field: &str, text: &str| {
        let why = api_version(text);
        if !why.is_empty() {
            errors.invalid(field, text, why.join(","));
        }
    };
    refused(errors, "encodingVersion", &said.encoding_version);
    for (index, version) in said.decodable_versions.iter().enumerate() {
        refused(errors, &format!("decodableVersions[{index}]"), version);
    }
    if !said.decodable_versions.contains(&said.encoding_version) {
        let why = format!("decodableVersions must include encodingVersion {}", said.encoding_version);
        errors.invalid("decodableVersions", &serde_json::json!(said.decodable_versions), why);
    }
    for (index, version) in said.served_versions.iter().flatten().enumerate() {
        let field = format!("servedVersions[{index}]");
        refused(errors, &field, version);
        if !said.decodable_versions.contains(version) {
            errors.invalid(
                &field,
                version.as_str(),
                "individual served version must be included in decodableVersions",
            );
        }
    }
}

fn check_common(errors: &mut Errors, status: &StorageVersionStatus) {
    const FIELD: &str = "commonEncodingVersion";
    let common = storage_version::common(status.storage_versions.as_deref().unwrap_or_default());
    match (common, status.common_encoding_version.as_deref()) {
        (None, Some(said)) => {
            let why = "should be nil if servers do not agree on the same encoding version, or if there is no server \
                       reporting the supported versions yet";
            errors.invalid(FIELD, said, why);
        }
        (Some(common), None) => {
            errors.invalid(FIELD, &None::<String>, format!("the common encoding version is {common}"));
        }
        (Some(common), Some(said)) if common != said => {
            errors.invalid(FIELD, said, format!("the actual common encoding version is {common}"));
        }
        _ => {}
    }
}

fn check_conditions(errors: &mut Errors, conditions: &[StorageVersionCondition]) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (index, condition) in conditions.iter().enumerate() {
        let StorageVersionCondition { type_, status, reason, message, .. } = condition;
        errors.index(index, |errors| {
            if let Some(first) = seen.insert(type_, index) {
                let why = format!(
                    "the type of the condition is not unique, it also appears in conditions[{first}]"
                );
                errors.invalid("type", type_.as_str(), why);
            }
            check::named(errors, "type", type_, names::qualified_name(type_));
            for reason in names::qualified_name(status) {
                errors.invalid("status", type_.as_str(), reason);
            }
            if reason.is_empty() {
                errors.required("reason", "reason cannot be empty");
            }
            if message.is_empty() {
                errors.required("message", "message cannot be empty");
            }
        });
    }
}

const UNSET: &str = "<unset>";

impl Kind for StorageVersion {
    fn prepare_create(&mut self) {
        self.spec.get_or_insert_with(|| StorageVersionSpec(serde_json::json!({})));
        self.status = Some(StorageVersionStatus::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(status) = &self.status else { return };
        errors.at("status", |errors| {
            for (index, said) in status.storage_versions.iter().flatten().enumerate() {
                errors.item("storageVersions", index, |errors| check_server(errors, said));
            }
            check_common(errors, status);
            check_conditions(errors, status.conditions.as_deref().unwrap_or_default());
        });
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        self.validate(errors);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("CommonEncodingVersion", |version, _| {
                let common =
                    version.status.as_ref().and_then(|status| status.common_encoding_version.as_deref());
                common.unwrap_or(UNSET).into()
            }),
            Column::<Self>::text("StorageVersions", |version, _| {
                let said = version.status.iter().flat_map(|status| status.storage_versions.iter().flatten());
                let shown = said.map(|said| format!("{}={}", said.api_server_id, said.encoding_version));
                check::few(&shown.collect::<Vec<_>>(), UNSET).into()
            }),
            Column::age(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{created, given, printed};

    fn faults(status: &str) -> Vec<String> {
        let version: StorageVersion = given(&format!("{{metadata: {{name: a.b}}, status: {status}}}"));
        let mut errors = Errors::new();
        version.validate(&mut errors);
        errors.into_list().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_is_a_group_and_a_resource() {
        assert!(name_rule("core.pods").is_empty() && name_rule("apps.example.com.things").is_empty());
        assert_eq!(name_rule("pods"), ["name must be in the form of <group>.<resource>"]);
        assert!(name_rule("core.9pods")[0].starts_with("the resource segment a DNS-1035 label"));
        assert!(name_rule(".pods")[0].starts_with("the group segment a lowercase RFC 1123 subdomain"));
    }

    #[test]
    fn what_servers_say_must_fit_together() {
        let one =
            "{apiServerID: a, encodingVersion: v1, decodableVersions: [v1, x.y/v2], servedVersions: [v1]}";
        assert!(faults(&format!("{{commonEncodingVersion: v1, storageVersions: [{one}]}}")).is_empty());
        assert_eq!(
            faults(&format!("{{storageVersions: [{one}]}}")),
            ["status.commonEncodingVersion: Invalid value: null: the common encoding version is v1"]
        );
        let other =
            "{apiServerID: b, encodingVersion: a/b/c, decodableVersions: [/v1], servedVersions: [v1]}";
        let found = faults(&format!("{{commonEncodingVersion: v1, storageVersions: [{one}, {other}]}}"));
        let fields: Vec<&str> = found.iter().filter_map(|fault| fault.split(": ").next()).collect();
        assert_eq!(
            fields,
            [
                "status.storageVersions[1].encodingVersion",
                "status.storageVersions[1].decodableVersions[0]",
                "status.storageVersions[1].decodableVersions",
                "status.storageVersions[1].servedVersions[0]",
                "status.commonEncodingVersion",
            ],
            "{found:?}"
        );
        let condition = "{type: A, status: 'True', reason: '', message: m}";
        assert_eq!(
            faults(&format!("{{conditions: [{condition}, {condition}]}}")),
            [
                "status[0].reason: Required value: reason cannot be empty",
                "status[1].type: Invalid value: \"A\": the type of the condition is not unique, it also appears in \
                 conditions[0]",
                "status[1].reason: Required value: reason cannot be empty",
            ]
        );
    }

    #[test]
    fn a_new_one_says_nothing_yet() {
        let version =
            created::<StorageVersion>("{metadata: {name: a.b}, status: {commonEncodingVersion: v1}}");
        assert_eq!(
            printed(&version, "2026-11-22T10:05:00Z"),
            "CommonEncodingVersion=<unset> StorageVersions=<unset> Age=<unknown>"
        );
    }
}
