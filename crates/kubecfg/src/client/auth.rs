//! Credentials: the JSON file of 2014, asked for and written if a server over https needs one and it is missing.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use crate::args::Flags;
use crate::ending::Ending;
use crate::target::Target;
use crate::world::World;

/// The members of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
    #[serde(rename = "CAFile")]
    pub(crate) ca_file: String,
    pub(crate) cert_file: String,
    pub(crate) key_file: String,
    pub(crate) insecure: bool,
    pub(crate) bearer_token: String,
}

impl Credentials {
    /// The `Authorization` header, if there is anything to say.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let text = if !self.bearer_token.is_empty() {
            format!("Bearer {}", self.bearer_token)
        } else if !self.user.is_empty() {
            format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password)))
        } else {
            return None;
        };
        HeaderValue::from_str(&text).ok()
    }
}

/// Reads the file, or asks. Servers over http and certificates from elsewhere need neither.
pub(crate) async fn load(flags: &Flags, target: &Target, world: &mut World) -> Result<Credentials, Ending> {
    if !target.is_https() || target.identity.is_some() {
        return Ok(Credentials::default());
    }
    let path = world.path(flags.text("auth"));
    let broken = |why: String| Ending::fatal(format!("Error loading auth: {why}"));
    match tokio::fs::read(&path).await {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| broken(error.to_string())),
        Err(_) if flags.given("client_certificate") => Ok(Credentials::default()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let credentials = asked(world).map_err(|error| broken(error.to_string()))?;
            write(&path, &credentials).await.map_err(|error| broken(error.to_string()))?;
            Ok(credentials)
        }
        Err(error) => Err(broken(format!("{}: {error}", path.display()))),
    }
}

fn asked(world: &mut World) -> std::io::Result<Credentials> {
    world.say("Enter Username: ");
    let user = world.read_line()?;
    world.say("Enter Password: ");
    let password = world.read_line()?;
    Ok(Credentials { user, password, ..Credentials::default() })
}

async fn write(path: &std::path::Path, credentials: &Credentials) -> std::io::Result<()> {
    let text = serde_json::to_vec(credentials)?;
    let mut file =
        tokio::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).await?;
    file.write_all(&text).await?;
    file.flush().await
}
