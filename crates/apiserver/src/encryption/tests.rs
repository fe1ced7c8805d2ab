//! What is sealed opens again, whoever sealed it; and a configuration is told what is wrong with it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const PLAIN: Bytes = Bytes::from_static(b"{\"kind\":\"Secret\"}");

/// A provider with keys of these names, as YAML.
fn provider(name: &str, keys: &str) -> String {
    let secret = |key: &str| STANDARD.encode([key.as_bytes()[0]; 32]);
    let keys: Vec<String> =
        keys.split(' ').map(|key| format!("{{name: {key}, secret: {}}}", secret(key))).collect();
    format!("{{{name}: {{keys: [{}]}}}}", keys.join(", "))
}

fn keys(resources: &str, providers: &[String]) -> Keys {
    let providers = providers.join(", ");
    Keys::parse(&format!("resources: [{{resources: [{resources}], providers: [{providers}]}}]")).unwrap()
}

fn one(name: &str, key: &str) -> Keys {
    keys("secrets", &[provider(name, key), "{identity: {}}".to_owned()])
}

#[test]
fn what_is_sealed_opens_with_its_key_and_is_sealed_anew_under_another() {
    let own = Key::new("secrets", "default/a");
    for row in providers::ALL {
        let name = row.name;
        let sealed = one(name, "one").seal(&own, &PLAIN).unwrap();
        assert!(sealed.starts_with(format!("k8s:enc:{name}:v1:one:").as_bytes()));
        assert!(!sealed.windows(6).any(|part| part == b"Secret"));
        assert_ne!(one(name, "one").seal(&own, &PLAIN).unwrap(), sealed, "{name}: each time another nonce");
        let opener = one(name, "one");
        assert_eq!(opener.open(&own, sealed.clone()).unwrap(), PLAIN, "{name}");
        assert!(opener.stale().is_empty());
        assert!(one(name, "two").open(&own, sealed.clone()).is_err());
        // A key of the same name that is another.
        let other = keys(
            "secrets",
            &[provider(name, "one").replace(&STANDARD.encode([b'o'; 32]), &STANDARD.encode([7; 32]))],
        );
        assert!(other.open(&own, sealed.clone()).is_err());
        for length in 0..sealed.len() {
            assert!(
                opener.open(&own, sealed.slice(..length)).is_err() || length < ENVELOPE.len(),
                "{name} {length}"
            );
        }
        let rotated = one(name, "two one");
        assert_eq!(rotated.open(&own, sealed).unwrap(), PLAIN);
        assert_eq!(rotated.stale(), std::slice::from_ref(&own));
        assert_eq!(rotated.open(&own, PLAIN).unwrap(), PLAIN);
        assert_eq!(rotated.stale(), std::slice::from_ref(&own));
    }
    let sealed = one("aesgcm", "one").seal(&own, &PLAIN).unwrap();
    let other = Key::new("secrets", "default/b");
    assert!(one("aesgcm", "one").open(&other, sealed).is_err(), "two values cannot be swapped");
}

#[test]
fn a_cluster_goes_from_one_provider_to_the_next() {
    let own = Key::new("secrets", "default/a");
    let mut sealed = PLAIN;
    let mut last = "{identity: {}}".to_owned();
    for name in ["aescbc", "secretbox", "aesgcm"] {
        let next = provider(name, "key1");
        let both = keys("secrets", &[next.clone(), last]);
        assert_eq!(both.open(&own, sealed).unwrap(), PLAIN);
        assert_eq!(both.stale(), std::slice::from_ref(&own));
        sealed = both.seal(&own, &PLAIN).unwrap();
        last = next;
    }
    assert!(sealed.starts_with(b"k8s:enc:aesgcm:v1:key1:"));
}

#[test]
fn a_part_is_about_one_resource_a_group_or_everything() {
    let seals = |resources: &str, table: &str| {
        let keys = keys(resources, &[provider("aescbc", "k")]);
        keys.seal(&Key::new(table, "a"), &PLAIN).unwrap() != PLAIN
    };
    for (resources, sealed, plain) in [
        ("secrets", "secrets", "configmaps"),
        ("deployments.apps", "apps/deployments", "deployments"),
        ("'*.apps'", "apps/deployments", "secrets"),
        ("'*.'", "secrets", "apps/deployments"),
        ("secrets, things.example.com", "example.com/things", "example.com/others"),
    ] {
        assert!(seals(resources, sealed) && !seals(resources, plain), "{resources}");
    }
    assert!(seals("'*.*'", "example.com/things") && seals("'*.*'", "secrets"));
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_no_key_is_shown() {
    let wrong =
        |parts: &str| Keys::parse(&format!("resources: [{parts}]")).map(|_| ()).unwrap_err().to_string();
    for (parts, expected) in [
        ("", "resources: Required value: at least one resources is required"),
        (
            "{}",
            "resources[0].resources: Required value: at least one resources[0].resources is required, \
             resources[0].providers: Required value: at least one resources[0].providers is required",
        ),
        (
            "{resources: [Secrets, a, a, '*', 'a.*'], providers: [{identity: {}}]}",
            "resources[0].resources[0]: Invalid value: \"Secrets\": resource name should not contain capital letters, \
             resources[0].resources[2]: Invalid value: \"a\": the same resource cannot be specified multiple times, \
             resources[0].resources[3]: Invalid value: \"*\": use '*.' to encrypt all the resources from core API group or \
             *.* to encrypt all resources, resources[0].resources[4]: Invalid value: \"a.*\": encrypting the same resource \
             across groups is not supported",
        ),
        (
            "{resources: [a], providers: [{}, {kms: {}}, {identity: {}, aesgcm: {}}, {aesgcm: {}}]}",
            "resources[0].providers[0]: Invalid value: \"{}\": provider does not contain any of the expected providers: \
             AESGCM, AESCBC, Secretbox, Identity, resources[0].providers[1]: Unsupported value: \"kms\": supported values: \
             \"aesgcm\", \"aescbc\", \"secretbox\", \"identity\", resources[0].providers[2]: Invalid value: \"aesgcm, \
             identity\": more than one provider specified in a single element, should split into different list elements, \
             resources[0].providers[3].aesgcm.keys: Required value: at least one keys is required",
        ),
        (
            "{resources: [a], providers: [{secretbox: {keys: [{}, {name: k, secret: '!'}, {name: k, secret: aGVsbG8=}]}}]}",
            "resources[0].providers[0].secretbox.keys[0].name: Required value: name is a mandatory field for a key, \
             resources[0].providers[0].secretbox.keys[0].secret: Required value: secret is a mandatory field for a key, \
             resources[0].providers[0].secretbox.keys[1].secret: Invalid value: \"REDACTED\": secrets must be base64 \
             encoded, resources[0].providers[0].secretbox.keys[2].secret: Invalid value: \"REDACTED\": secret is not of the \
             expected length, got 5, expected one of [32]",
        ),
        (
            "{resources: [a], providers: [{aescbc: {keys: [{name: k, secret: eA==}]}}]}",
            "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected \
             length, got 1, expected one of [16 24 32]",
        ),
    ] {
        assert_eq!(wrong(parts), expected);
    }
    let fresh = fresh_configuration().unwrap();
    assert!(Keys::parse(&fresh).is_ok());
}
