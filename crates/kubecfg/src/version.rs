//! Versions: ours, the server's, and whether they are the same.

use http::Method;
use serde::Deserialize;

use crate::args::Flags;
use crate::client::Client;
use crate::ending::Ending;
use crate::world::World;

/// What `/version` says; today's servers say more.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Version {
    major: String,
    minor: String,
    git_version: String,
    git_commit: String,
    git_tree_state: String,
}

impl Version {
    /// The same as the server of this build says: the API it speaks beside ours, and which Skiff.
    fn own() -> Self {
        Self {
            major: "1".to_owned(),
            minor: "37".to_owned(),
            git_version: concat!("v1.37.0+skiff-", env!("CARGO_PKG_VERSION")).to_owned(),
            ..Self::default()
        }
    }

    /// As Go printed the struct.
    fn raw(&self) -> String {
        format!(
            "version.Info{{Major:{:?}, Minor:{:?}, GitVersion:{:?}, GitCommit:{:?}, GitTreeState:{:?}}}",
            self.major, self.minor, self.git_version, self.git_commit, self.git_tree_state
        )
    }

    async fn servers(client: &Client) -> Result<Self, String> {
        let url = format!("{}/version", client.root());
        let (code, bytes) = client.send(Method::GET, &url, None).await.map_err(|error| error.to_string())?;
        if !code.is_success() {
            return Err(format!("got {code} for {url}"));
        }
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }
}

/// `-version`; true if that was all there was to do.
pub(crate) fn print_own(flags: &Flags, world: &mut World) -> bool {
    let text = match flags.text("version") {
        "raw" => Version::own().raw(),
        "true" => format!("Kubernetes {}", Version::own().git_version),
        _ => return false,
    };
    world.say(&format!("{text}\n"));
    true
}

/// `-server_version`; true if that was all there was to do.
pub(crate) async fn print_servers(flags: &Flags, client: &Client, world: &mut World) -> Result<bool, Ending> {
    let asked = flags.text("server_version");
    if asked == "false" {
        return Ok(false);
    }
    let version = read(client, world).await?;
    let text = if asked == "raw" { version.raw() } else { format!("Kubernetes {}", version.git_version) };
    world.say(&format!("Server: {text}\n"));
    Ok(true)
}

async fn read(client: &Client, world: &mut World) -> Result<Version, Ending> {
    Version::servers(client).await.map_err(|error| {
        world.say(&format!("Couldn't read version from server: {error}\n"));
        Ending::Exit(1)
    })
}

/// `-expect_version_match`.
pub(crate) async fn compare(client: &Client, world: &mut World) -> Result<(), Ending> {
    let (own, servers) = (Version::own(), read(client, world).await?);
    if own.git_version == servers.git_version {
        return Ok(());
    }
    world.say(&format!(
        "Server version ({}) differs from client version ({})\n",
        servers.git_version, own.git_version
    ));
    Err(Ending::Exit(1))
}
