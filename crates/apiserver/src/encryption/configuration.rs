//! An EncryptionConfiguration of `apiserver.config.k8s.io`, read and validated as upstream's
//! `apiserver/pkg/apis/apiserver/validation`, in its words: everything that is wrong is told at once.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use skiff_api::Errors;

use super::providers::{self, Provider};
use super::{ENVELOPE, EncryptionError, Way, Ways, Whom};

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    resources: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    providers: Vec<BTreeMap<String, Option<Settings>>>,
}

#[derive(Default, Deserialize)]
struct Settings {
    #[serde(default)]
    keys: Vec<NamedKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedKey {
    #[serde(default)]
    name: String,
    #[serde(default)]
    secret: String,
}

/// What is sealed how, in the order in which it counts.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn parse(yaml: &str) -> Result<Vec<(Vec<Whom>, Ways)>, EncryptionError> {
    let json = skiff_api::decode::yaml_to_json(yaml.as_bytes())
        .map_err(|error| EncryptionError::Unreadable(error.to_string()))?;
    let configuration: Configuration =
        serde_json::from_slice(&json).map_err(|error| EncryptionError::Unreadable(error.to_string()))?;
    let mut errors = Errors::new();
    if configuration.resources.is_empty() {
        errors.required("resources", "at least one resources is required");
    }
    let mut all = Vec::new();
    for (index, part) in configuration.resources.iter().enumerate() {
        all.push(errors.item("resources", index, |errors| part.read(errors)));
    }
    if errors.is_empty() {
        return Ok(all);
    }
    let told: Vec<String> = errors.list().iter().map(ToString::to_string).collect();
    Err(EncryptionError::Invalid(told.join(", ")))
}

impl Part {
    fn read(&self, errors: &mut Errors) -> (Vec<Whom>, Ways) {
        for (field, empty) in
            [("resources", self.resources.is_empty()), ("providers", self.providers.is_empty())]
        {
            if empty {
                errors.required(field, format!("at least one {} is required", errors.path(field)));
            }
        }
        let mut whom = Vec::new();
        for (index, resource) in self.resources.iter().enumerate() {
            errors.item("resources", index, |errors| whom.push(self.whom(index, resource, errors)));
        }
        let mut ways = Vec::new();
        for (index, provider) in self.providers.iter().enumerate() {
            errors.item("providers", index, |errors| ways.extend(read_provider(provider, errors)));
        }
        (whom, ways)
    }

    fn whom(&self, index: usize, resource: &str, errors: &mut Errors) -> Whom {
        if self.resources[..index].iter().any(|other| other == resource) {
            errors.invalid("", resource, "the same resource cannot be specified multiple times");
        }
        if resource.chars().any(char::is_uppercase) {
            errors.invalid("", resource, "resource name should not contain capital letters");
        }
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        match (plural, group) {
            ("*", _) if !resource.contains('.') => {
                let why = "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources";
                errors.invalid("", resource, why);
                Whom::All
            }
            ("*", "*") => Whom::All,
            ("*", group) => Whom::Group(group.to_owned()),
            (_, "*") => {
                errors.invalid("", resource, "encrypting the same resource across groups is not supported");
                Whom::All
            }
            (plural, "") => Whom::Table(plural.to_owned()),
            (plural, group) => Whom::Table(format!("{group}/{plural}")),
        }
    }
}

/// The ways of one provider; none if something is wrong with it.
fn read_provider(provider: &BTreeMap<String, Option<Settings>>, errors: &mut Errors) -> Ways {
    let (name, settings) = match provider.iter().collect::<Vec<_>>().as_slice() {
        [one] => *one,
        [] => {
            let why = "provider does not contain any of the expected providers: AESGCM, AESCBC, Secretbox, Identity";
            errors.invalid("", "{}", why);
            return Ways::new();
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
            let why = "more than one provider specified in a single element, should split into different list elements";
            errors.invalid("", &names.join(", "), why);
            return Ways::new();
        }
    };
    if name == "identity" {
        return vec![Way::Plain];
    }
    let Some(provider) = providers::ALL.iter().find(|provider| provider.name == name) else {
        let mut known: Vec<&str> = providers::ALL.iter().map(|provider| provider.name).collect();
        known.push("identity");
        errors.not_supported("", name.as_str(), &known);
        return Ways::new();
    };
    let keys = settings.as_ref().map(|settings| settings.keys.as_slice()).unwrap_or_default();
    errors.at(name, |errors| {
        if keys.is_empty() {
            errors.required("keys", "at least one keys is required");
        }
        let keys = keys.iter().enumerate();
        keys.filter_map(|(index, key)| errors.item("keys", index, |errors| key.read(provider, errors)))
            .collect()
    })
}

impl NamedKey {
    fn read(&self, provider: &Provider, errors: &mut Errors) -> Option<Way> {
        // No message shows what a key is.
        const SHOWN: &str = "REDACTED";
        if self.name.is_empty() {
            errors.required("name", "name is a mandatory field for a key");
        }
        if self.secret.is_empty() {
            errors.required("secret", "secret is a mandatory field for a key");
            return None;
        }
        let Ok(secret) = STANDARD.decode(self.secret.trim()) else {
            errors.invalid("secret", SHOWN, "secrets must be base64 encoded");
            return None;
        };
        let head = format!("{ENVELOPE}{}:v1:{}:", provider.name, self.name);
        let cipher = (provider.cipher)(&secret);
        if cipher.is_none() {
            let lengths: Vec<String> = provider.lengths.iter().map(ToString::to_string).collect();
            let (found, lengths) = (secret.len(), lengths.join(" "));
            let why =
                format!("secret is not of the expected length, got {found}, expected one of [{lengths}]");
            errors.invalid("secret", SHOWN, why);
        }
        cipher.map(|cipher| Way::Sealed { head, cipher })
    }
}

/// The configuration of a new cluster: Secrets are sealed with a key that nobody else has. Nothing if the machine has no
/// randomness.
pub fn fresh() -> Option<String> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).ok()?;
    let secret = STANDARD.encode(secret);
    Some(format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  \
         providers:\n  - aesgcm:\n      keys:\n      - name: key1\n        secret: {secret}\n  - identity: {{}}\n"
    ))
}
