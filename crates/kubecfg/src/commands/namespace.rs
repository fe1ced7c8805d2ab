//! `ns [NAME]`: shows or stores the namespace of later calls.

use serde::{Deserialize, Serialize};

use super::Call;
use super::controller::failed;
use crate::args::Flags;
use crate::ending::Ending;
use crate::world::World;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    #[serde(default)]
    namespace: String,
}

/// The namespace of this call: the flag's, the file's, or `default`.
///
/// v0.5 wrote the file on every call; here only `ns` does, and `default` is never said to the server (as in v0.4).
pub(crate) async fn current(flags: &Flags, world: &World) -> Result<String, Ending> {
    let said = flags.text("ns");
    if !said.is_empty() {
        return Ok(said.to_owned());
    }
    let path = world.path(flags.text("ns_file"));
    let Ok(text) = tokio::fs::read(&path).await else { return Ok("default".to_owned()) };
    let file: File = serde_json::from_slice(&text).map_err(|error| {
        Ending::fatal(format!("Error loading current namespace: {}: {error}", path.display()))
    })?;
    Ok(if file.namespace.is_empty() { "default".to_owned() } else { file.namespace })
}

pub(crate) async fn ns(call: Call<'_>) -> Result<(), Ending> {
    let namespace = match call.args {
        [] => current(call.flags, call.world).await?,
        [name] => name.clone(),
        _ => return Err(Ending::fatal("usage: kubecfg ns [<namespace>]")),
    };
    let path = call.world.path(call.flags.text("ns_file"));
    if !call.args.is_empty() || !tokio::fs::try_exists(&path).await.unwrap_or(false) {
        let text = serde_json::to_vec(&File { namespace: namespace.clone() }).map_err(failed)?;
        tokio::fs::write(&path, text)
            .await
            .map_err(|error| failed(format!("{}: {error}", path.display())))?;
    }
    call.world.say(&format!("Using namespace {namespace}\n"));
    Ok(())
}
