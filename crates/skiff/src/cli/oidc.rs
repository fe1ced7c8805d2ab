//! The flags that name an issuer elsewhere (OpenID Connect), as upstream names them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use skiff_apiserver::OidcOptions;

/// Whose tokens are believed besides our own.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct OidcArgs {
    /// The issuer of tokens that are believed, https:// alone
    #[arg(long, value_name = "URL", requires = "oidc_client_id")]
    oidc_issuer_url: Option<String>,
    /// For whom its tokens are
    #[arg(long, value_name = "ID", requires = "oidc_issuer_url")]
    oidc_client_id: Option<String>,
    /// The authority of the issuer's certificate [default: the machine's own choice]
    #[arg(long, value_name = "FILE")]
    oidc_ca_file: Option<PathBuf>,
    /// The claim that is the user's name [default: sub]
    #[arg(long, value_name = "CLAIM")]
    oidc_username_claim: Option<String>,
    /// What is put before the name; - for nothing [default: the issuer's URL and #, unless the claim is email]
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    oidc_username_prefix: Option<String>,
    /// The claim that lists the user's groups
    #[arg(long, value_name = "CLAIM")]
    oidc_groups_claim: Option<String>,
    /// What is put before each group
    #[arg(long, value_name = "PREFIX")]
    oidc_groups_prefix: Option<String>,
    /// How tokens may be signed [default: RS256]
    #[arg(long, value_name = "ALGORITHMS", value_delimiter = ',')]
    oidc_signing_algs: Vec<String>,
    /// A claim that must be there, and its value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    oidc_required_claim: Vec<String>,
}

impl OidcArgs {
    /// The issuer, if one is named.
    pub(crate) fn issuer(&self) -> anyhow::Result<Option<OidcOptions>> {
        const KNOWN: [&str; 7] = ["ES256", "ES384", "PS256", "PS384", "PS512", "RS256", "RS384"];
        let (Some(url), Some(client)) = (&self.oidc_issuer_url, &self.oidc_client_id) else {
            return Ok(None);
        };
        let mut options = OidcOptions::of(url, client);
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).with_context(|| format!("read --oidc-ca-file {}", path.display()))
        };
        options.ca_pem = self.oidc_ca_file.as_ref().map(read).transpose()?;
        if let Some(claim) = &self.oidc_username_claim {
            options.username_claim.clone_from(claim);
        }
        options.username_prefix.clone_from(&self.oidc_username_prefix);
        options.groups_claim.clone_from(&self.oidc_groups_claim);
        options.groups_prefix = self.oidc_groups_prefix.clone().unwrap_or_default();
        if !self.oidc_signing_algs.is_empty() {
            let unknown = |name: &&String| !KNOWN.contains(&name.as_str()) && *name != "RS512";
            if let Some(name) = self.oidc_signing_algs.iter().find(unknown) {
                bail!("oidc: unsupported signing alg: {name:?}");
            }
            options.signing_algs.clone_from(&self.oidc_signing_algs);
        }
        let mut required = BTreeMap::new();
        for pair in &self.oidc_required_claim {
            let (key, value) =
                pair.split_once('=').with_context(|| format!("--oidc-required-claim {pair:?}"))?;
            required.insert(key.to_owned(), value.to_owned());
        }
        options.required_claims = required;
        Ok(Some(options))
    }
}
