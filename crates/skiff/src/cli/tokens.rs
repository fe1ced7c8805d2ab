//! The flags of service accounts' tokens: who issues them, and by which keys. Named as upstream names them.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

/// How service accounts' tokens are made, and which are believed.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TokenArgs {
    /// The key that signs service accounts' tokens: PEM, RSA or EC [default: the cluster's own, P-256]
    #[arg(long, value_name = "FILE")]
    service_account_signing_key_file: Option<PathBuf>,
    /// More keys whose tokens are believed: PEM, RSA or EC, public or private; may be repeated
    #[arg(long, value_name = "FILE")]
    service_account_key_file: Vec<PathBuf>,
    /// Who issues these tokens; may be repeated, then those of the others are still believed [default: the service
    /// kubernetes of the cluster's domain]
    #[arg(long, value_name = "ISSUER")]
    service_account_issuer: Vec<String>,
    /// Where others find the keys of these tokens, if that is not at the API itself: https
    #[arg(long, value_name = "URL", value_parser = jwks_uri)]
    service_account_jwks_uri: Option<String>,
    /// Whom tokens are for that the API believes [default: the issuers]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    api_audiences: Vec<String>,
}

fn read(flag: &str, path: &PathBuf) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read --{flag} {}", path.display()))
}

fn is_scheme(text: &str) -> bool {
    let more = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(more)
}

/// A URL that others can be sent to.
fn jwks_uri(text: &str) -> Result<String, String> {
    let url = text.parse::<http::Uri>().map_err(|error| format!("must be a valid URL: {error}"))?;
    match url.scheme_str() {
        Some("https") => Ok(text.to_owned()),
        _ => Err(format!("requires https scheme, parsed as: {text}")),
    }
}

impl TokenArgs {
    /// The text of the key that signs, if one was named.
    pub(crate) fn signing_key(&self) -> anyhow::Result<Option<String>> {
        let path = self.service_account_signing_key_file.as_ref();
        path.map(|path| read("service-account-signing-key-file", path)).transpose()
    }

    /// The texts of further keys.
    pub(crate) fn keys(&self) -> anyhow::Result<Vec<String>> {
        self.service_account_key_file.iter().map(|path| read("service-account-key-file", path)).collect()
    }

    /// Who issues tokens; `own` if nobody was named.
    pub(crate) fn issuers(&self, own: String) -> anyhow::Result<Vec<String>> {
        let named = &self.service_account_issuer;
        for issuer in named {
            if issuer.is_empty() {
                bail!("service-account-issuer should not be an empty string");
            }
            // What has a colon is taken for a URL by those who compare it: a scheme stands before it.
            if issuer.split_once(':').is_some_and(|(scheme, _)| !is_scheme(scheme)) {
                bail!("service-account-issuer {issuer:?} contained a ':' but was not a valid URL");
            }
        }
        Ok(if named.is_empty() { vec![own] } else { named.clone() })
    }

    /// Where others find the keys.
    pub(crate) fn jwks_uri(&self) -> Option<String> {
        self.service_account_jwks_uri.clone()
    }

    /// Whom tokens are for.
    pub(crate) fn audiences(&self) -> Vec<String> {
        self.api_audiences.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::jwks_uri;

    #[test]
    fn keys_are_found_by_https() {
        assert!(jwks_uri("https://keys.example.com/jwks").is_ok());
        for (text, expected) in [
            ("http://keys.example.com", "requires https scheme, parsed as: http://keys.example.com"),
            ("/jwks", "requires https scheme, parsed as: /jwks"),
            ("https://[keys", "must be a valid URL"),
        ] {
            let refused = jwks_uri(text).unwrap_err();
            assert!(refused.starts_with(expected), "{refused}");
        }
    }
}
