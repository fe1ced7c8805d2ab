//! Whom the server believes besides its own tokens and certificates: an AuthenticationConfiguration of
//! `apiserver.config.k8s.io`, instead of the `--oidc-*` flags. Several issuers, claims by expressions, and who may come
//! without showing anything.
//!
//! Read and validated as upstream's `apiserver/pkg/apis/apiserver/validation`; its words where a person will look for them.

use skiff_api::Errors;
use skiff_api::decode::yaml_to_json;

mod read;
mod written;

use self::written::File;
use super::oidc::OidcOptions;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AuthenticationConfigurationError(String);

/// Who may come without certificate or token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anonymous {
    /// False: nobody, not even to ask whether the server lives.
    pub enabled: bool,
    /// The only paths that they may ask for; any if there are none.
    pub paths: Vec<String>,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct AuthenticationConfiguration {
    /// The issuers.
    pub issuers: Vec<OidcOptions>,
    /// Nothing: as without a file.
    pub anonymous: Option<Anonymous>,
}

impl AuthenticationConfiguration {
    /// Reads YAML or JSON; `own` are issuers that nobody else may be: this server's own.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(yaml: &str, own: &[String]) -> Result<Self, AuthenticationConfigurationError> {
        let wrong = AuthenticationConfigurationError;
        let json = yaml_to_json(yaml.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let file: File = serde_json::from_slice(&json).map_err(|error| wrong(error.to_string()))?;
        let group = file.api_version.strip_prefix("apiserver.config.k8s.io/");
        if file.kind != "AuthenticationConfiguration"
            || !group.is_some_and(|it| ["v1", "v1beta1"].contains(&it))
        {
            let (version, kind) = (file.api_version, file.kind);
            return Err(wrong(format!("no kind {kind:?} is registered for version {version:?}")));
        }
        let mut errors = Errors::new();
        let mut issuers = Vec::new();
        for (index, jwt) in file.jwt.iter().enumerate() {
            let url = &jwt.issuer.url;
            errors.item("jwt", index, |e| {
                if file.jwt[..index].iter().any(|other| other.issuer.url == *url) {
                    e.duplicate("issuer.url", url);
                }
                if own.contains(url) {
                    let why = format!("URL must not overlap with disallowed issuers: {own:?}");
                    e.invalid("issuer.url", url, why);
                }
                issuers.extend(jwt.read(e));
            });
        }
        let anonymous = file.anonymous.map(|part| part.read(&mut errors));
        if errors.is_empty() {
            return Ok(Self { issuers, anonymous });
        }
        let all: Vec<String> = errors.list().iter().map(ToString::to_string).collect();
        Err(wrong(all.join(", ")))
    }
}

#[cfg(test)]
mod tests;
