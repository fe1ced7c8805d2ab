//! Secret: files and settings that are nobody else's business.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use skiff_api::Errors;

use super::config_map::MAX_BYTES;
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of Secret.
pub(crate) const KIND: Row = Row { ..row::<Secret>() };

/// The annotation that ties a token to its account.
const ACCOUNT: &str = "kubernetes.io/service-account.name";

fn datum<'a>(secret: &'a Secret, key: &str) -> Option<&'a ByteString> {
    secret.data.as_ref().and_then(|data| data.get(key))
}

/// A member that must be there and be JSON.
fn docker(secret: &Secret, key: &str, errors: &mut Errors) {
    let field = format!("data[{key}]");
    match datum(secret, key) {
        None => errors.required(&field, ""),
        Some(json) => {
            if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&json.0) {
                // The contents must not reach the answer.
                errors.invalid(&field, "<secret contents redacted>", error.to_string());
            }
        }
    }
}

impl Kind for Secret {
    fn set_defaults(&mut self) {
        // Upstream merges the write-only texts when it converts the object on its way in.
        if let Some(texts) = self.string_data.take() {
            let data = self.data.get_or_insert_default();
            data.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
        }
        check::default_text(&mut self.type_, "Opaque");
    }

    fn validate(&self, errors: &mut Errors) {
        let mut size = 0;
        for (key, value) in self.data.iter().flatten() {
            size += value.0.len();
            errors.entry("data", key, |errors| check::named(errors, "", key, check::config_key(key)));
        }
        if size > MAX_BYTES {
            errors.too_long("data", MAX_BYTES);
        }
        let lacks = |key: &str| datum(self, key).is_none();
        match self.type_.as_deref().unwrap_or_default() {
            "kubernetes.io/service-account-token" => {
                let account = self.metadata.annotations.as_ref().and_then(|a| a.get(ACCOUNT));
                if check::given(account).is_none() {
                    errors.required(&format!("metadata.annotations[{ACCOUNT}]"), "");
                }
            }
            "kubernetes.io/dockercfg" => docker(self, ".dockercfg", errors),
            "kubernetes.io/dockerconfigjson" => docker(self, ".dockerconfigjson", errors),
            "kubernetes.io/basic-auth" if lacks("username") && lacks("password") => {
                errors.required("data[username]", "");
                errors.required("data[password]", "");
            }
            "kubernetes.io/ssh-auth" if lacks("ssh-privatekey") => {
                errors.required("data[ssh-privatekey]", "")
            }
            "kubernetes.io/tls" => {
                for key in ["tls.crt", "tls.key"] {
                    if lacks(key) {
                        errors.required(&format!("data[{key}]"), "");
                    }
                }
            }
            _ => {}
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        const WHY: &str = "field is immutable when `immutable` is set";
        errors.immutable("type", &self.type_, &old.type_);
        if old.immutable == Some(true) {
            check::unchanged(errors, "immutable", &self.immutable, &old.immutable, WHY);
            check::unchanged(errors, "data", &self.data, &old.data, WHY);
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Type", |secret, _| secret.type_.clone().unwrap_or_default().into()),
            Column::<Self>::text("Data", |secret, _| {
                secret.data.as_ref().map_or(0, |data| data.len()).into()
            }),
            Column::age(),
        ]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("type", self.type_.clone().unwrap_or_default())]
    }
}
