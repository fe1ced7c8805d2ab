//! The flags that say whom the server believes besides its own certificates and tokens.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

/// Whom the server believes; named as upstream names them.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AuthnArgs {
    /// A file of tokens: lines of token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    token_auth_file: Option<PathBuf>,
}

impl AuthnArgs {
    /// The text of the file of tokens.
    pub(crate) fn token_file(&self) -> anyhow::Result<Option<String>> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path)
                .with_context(|| format!("read --token-auth-file {}", path.display()))
        };
        self.token_auth_file.as_ref().map(read).transpose()
    }
}
