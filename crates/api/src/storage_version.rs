//! What API servers say of the version in which they keep a kind's objects (StorageVersion), and what follows from it.
//!
//! Said by each server when it starts, and taken back for it by a controller when it has gone; both come down to
//! [`agree`]. Follows upstream's `k8s.io/apiserver/pkg/storageversion/updater.go`.

use jiff::Timestamp;
use k8s_openapi::api::apiserverinternal::v1alpha1::{
    ServerStorageVersion, StorageVersion, StorageVersionCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const AGREED: &str = "AllEncodingVersionsEqual";

/// The name of the StorageVersion of a resource.
pub fn name(group: &str, plural: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    format!("{group}.{plural}")
}

/// The version in which all of them store; nothing if they differ, or if nobody says anything.
pub fn common(said: &[ServerStorageVersion]) -> Option<&str> {
    let (first, others) = said.split_first()?;
    let agreed = others.iter().all(|other| other.encoding_version == first.encoding_version);
    agreed.then_some(&first.encoding_version)
}

/// Puts what a server says in the place of what it said before.
pub fn say(version: &mut StorageVersion, said: ServerStorageVersion, now: Timestamp) {
    let all = version.status.get_or_insert_default().storage_versions.get_or_insert_default();
    match all.iter_mut().find(|own| own.api_server_id == said.api_server_id) {
        Some(own) => *own = said,
        None => all.push(said),
    }
    agree(version, now);
}

/// Sets what follows from what the servers say: the version they have in common, and the condition that tells of it.
pub fn agree(version: &mut StorageVersion, now: Timestamp) {
    let observed_generation = version.metadata.generation;
    let status = version.status.get_or_insert_default();
    let common = common(status.storage_versions.as_deref().unwrap_or_default()).map(str::to_owned);
    let (word, reason, message) = match &common {
        Some(_) => ("True", "CommonEncodingVersionSet", "Common encoding version set"),
        None => ("False", "CommonEncodingVersionUnset", "Common encoding version unset"),
    };
    let before = std::mem::replace(&mut status.common_encoding_version, common);
    // From one version to another is a change, though the word stays.
    let moved = before.is_some() && status.common_encoding_version.is_some();
    let moved = moved && before != status.common_encoding_version;
    let conditions = status.conditions.get_or_insert_default();
    let index = conditions.iter().position(|own| own.type_ == AGREED);
    let since = index.map(|index| &conditions[index]).filter(|own| own.status == word && !moved);
    let wanted = StorageVersionCondition {
        type_: AGREED.to_owned(),
        status: word.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation,
        last_transition_time: since.and_then(|own| own.last_transition_time.clone()).or(Some(Time(now))),
    };
    match index {
        Some(index) => conditions[index] = wanted,
        None => conditions.push(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(server: &str, encoding: &str) -> ServerStorageVersion {
        ServerStorageVersion {
            api_server_id: server.to_owned(),
            encoding_version: encoding.to_owned(),
            decodable_versions: vec!["apps/v1".to_owned(), "apps/v2".to_owned()],
            served_versions: None,
        }
    }

    fn told(version: &StorageVersion) -> (Option<&str>, &str, String) {
        let status = version.status.as_ref().unwrap();
        let condition = &status.conditions.as_ref().unwrap()[0];
        let since = condition.last_transition_time.as_ref().unwrap().0.as_second();
        (status.common_encoding_version.as_deref(), &condition.status, since.to_string())
    }

    #[test]
    fn servers_agree_on_a_version_or_on_none() {
        let mut version = StorageVersion::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        for (second, server, encoding, expected) in [
            (1, "a", "apps/v1", (Some("apps/v1"), "True", "1")),
            (2, "b", "apps/v1", (Some("apps/v1"), "True", "1")),
            (3, "b", "apps/v2", (None, "False", "3")),
            (4, "a", "apps/v2", (Some("apps/v2"), "True", "4")),
        ] {
            say(&mut version, said(server, encoding), at(second));
            let (common, word, since) = told(&version);
            assert_eq!((common, word, since.as_str()), expected, "at {second}");
        }
        // The same server alone, in another version: the word stays, and yet it has changed.
        version.status.as_mut().unwrap().storage_versions.as_mut().unwrap().truncate(1);
        agree(&mut version, at(5));
        assert_eq!(told(&version).2, "4");
        say(&mut version, said("a", "apps/v1"), at(6));
        assert_eq!(told(&version), (Some("apps/v1"), "True", "6".to_owned()));
    }

    #[test]
    fn the_core_group_has_a_name() {
        assert_eq!(
            (name("", "pods"), name("apps", "deployments")),
            ("core.pods".into(), "apps.deployments".into())
        );
    }
}
