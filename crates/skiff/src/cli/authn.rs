//! The flags that say whom the server believes besides its own certificates and tokens.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use skiff_apiserver::AuthenticationConfiguration;

use crate::layout::Layout;

/// Whom the server believes; named as upstream names them.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AuthnArgs {
    /// A file of tokens: lines of token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    token_auth_file: Option<PathBuf>,
    /// Issuers whose tokens are believed, and who may come without one: an AuthenticationConfiguration, instead of --oidc-*
    #[arg(long, value_name = "FILE", conflicts_with = "oidc_issuer_url")]
    authentication_config: Option<PathBuf>,
    /// Which resources are ciphertext on disk [default: Secrets, by a key of the data directory, for new clusters]
    #[arg(long, value_name = "FILE")]
    encryption_provider_config: Option<PathBuf>,
}

impl AuthnArgs {
    /// The text of the encryption configuration: the file's that was named, else the cluster's own. A new cluster makes
    /// one; an old one without stays as it is.
    pub(crate) fn encryption(&self, layout: &Layout) -> anyhow::Result<Option<String>> {
        let own = layout.encryption();
        let path = self.encryption_provider_config.as_ref().unwrap_or(&own);
        if path == &own && !own.exists() {
            if layout.store().exists() {
                return Ok(None);
            }
            let text = skiff_apiserver::fresh_configuration().context("make a key for Secrets")?;
            skiff_base::fs::write_atomically(&own, text.as_bytes(), 0o600)
                .context("keep the key for Secrets")?;
            return Ok(Some(text));
        }
        let text = std::fs::read_to_string(path);
        text.with_context(|| format!("read the encryption configuration {}", path.display())).map(Some)
    }

    /// Issuers elsewhere, and whom nobody knows; `own` are the issuers that we are ourselves.
    pub(crate) fn configuration(&self, own: &[String]) -> anyhow::Result<AuthenticationConfiguration> {
        let Some(path) = &self.authentication_config else {
            return Ok(AuthenticationConfiguration::default());
        };
        let context = || format!("read --authentication-config {}", path.display());
        let text = std::fs::read_to_string(path).with_context(context)?;
        AuthenticationConfiguration::parse(&text, own).with_context(context)
    }

    /// The text of the file of tokens.
    pub(crate) fn token_file(&self) -> anyhow::Result<Option<String>> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path)
                .with_context(|| format!("read --token-auth-file {}", path.display()))
        };
        self.token_auth_file.as_ref().map(read).transpose()
    }
}
