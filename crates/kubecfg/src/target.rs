//! Where the server is, and who we are to it.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::args::Flags;
use crate::ending::Ending;
use crate::world::World;

/// A server and what is known about it from the place where it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// Up to and without the version: `http://localhost:8080/api`.
    pub(crate) base: String,
    /// PEM from a kubeconfig: authority, our certificate, our key.
    pub(crate) ca: Option<String>,
    pub(crate) identity: Option<(String, String)>,
}

impl Target {
    pub(crate) fn is_https(&self) -> bool {
        self.base.starts_with("https:")
    }

    /// The server without a path.
    pub(crate) fn root(&self) -> &str {
        let host = self.base.find("://").map_or(0, |at| at + 3);
        let end = self.base[host..].find('/').map_or(self.base.len(), |at| host + at);
        &self.base[..end]
    }
}

/// The context Skiff writes into kubeconfigs.
const CONTEXT: &str = "skiff";

/// Finds the server: `-h`, the environment, Skiff's kubeconfig, this machine's port of 2014.
pub(crate) async fn find(flags: &Flags, world: &World) -> Result<Target, Ending> {
    let said = if flags.text("h").is_empty() { world.var("KUBERNETES_MASTER") } else { flags.text("h") };
    if said.is_empty() {
        for path in kubeconfigs(world) {
            if let Some(target) = from_kubeconfig(&path).await? {
                return Ok(target);
            }
        }
    }
    let said = if said.is_empty() { "http://localhost:8080" } else { said };
    let safe = flags.given("client_certificate") || flags.truth("insecure_skip_tls_verify");
    let base = base(said, safe).ok_or_else(|| {
        Ending::fatal(format!("Can't configure client: host must be a URL or a host:port pair: {said:?}"))
    })?;
    Ok(Target { base, ..Target::default() })
}

/// A URL, host or host:port as a URL with a path.
fn base(said: &str, safe: bool) -> Option<String> {
    let url = if said.contains("://") {
        said.to_owned()
    } else {
        format!("{}://{said}", if safe { "https" } else { "http" })
    };
    let parsed: http::Uri = url.parse().ok()?;
    if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.host().is_none_or(str::is_empty) {
        return None;
    }
    let url = url.trim_end_matches('/');
    Some(if parsed.path() == "/" || parsed.path().is_empty() { format!("{url}/api") } else { url.to_owned() })
}

fn kubeconfigs(world: &World) -> Vec<PathBuf> {
    match world.var("KUBECONFIG") {
        "" => vec![PathBuf::from(world.var("HOME")).join(".kube/config")],
        list => list.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect(),
    }
}

/// The server of Skiff's context, if the file is there and has one.
async fn from_kubeconfig(path: &PathBuf) -> Result<Option<Target>, Ending> {
    let Ok(text) = tokio::fs::read_to_string(path).await else { return Ok(None) };
    let broken = |why: String| Ending::fatal(format!("Can't configure client: {}: {why}", path.display()));
    let config: Value = serde_saphyr::from_str(&text).map_err(|error| broken(error.to_string()))?;
    let named = |list: &str, name: &str, member: &str| {
        let items = config[list].as_array().into_iter().flatten();
        items.clone().find(|item| item["name"] == name).map(|item| item[member].clone())
    };
    let Some(context) = named("contexts", CONTEXT, "context") else { return Ok(None) };
    let word = |key: &str| context[key].as_str().unwrap_or_default().to_owned();
    let cluster = named("clusters", &word("cluster"), "cluster").unwrap_or_default();
    let user = named("users", &word("user"), "user").unwrap_or_default();
    let Some(server) = cluster["server"].as_str() else { return Ok(None) };
    let pem = |from: &Value, key: &str| -> Result<Option<String>, Ending> {
        let Some(text) = from[key].as_str() else { return Ok(None) };
        let bytes = BASE64_STANDARD.decode(text).map_err(|error| broken(format!("{key}: {error}")))?;
        String::from_utf8(bytes).map(Some).map_err(|error| broken(format!("{key}: {error}")))
    };
    let identity = pem(&user, "client-certificate-data")?.zip(pem(&user, "client-key-data")?);
    let base = base(server, true).ok_or_else(|| broken(format!("not a URL: {server:?}")))?;
    Ok(Some(Target { base, ca: pem(&cluster, "certificate-authority-data")?, identity }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_become_urls() {
        for (said, safe, expected) in [
            ("localhost:8080", false, Some("http://localhost:8080/api")),
            ("10.0.0.1", false, Some("http://10.0.0.1/api")),
            ("master", true, Some("https://master/api")),
            ("https://master:6443/", false, Some("https://master:6443/api")),
            ("http://master/prefix", false, Some("http://master/prefix")),
            ("ftp://master", false, None),
            ("http://", false, None),
        ] {
            assert_eq!(base(said, safe).as_deref(), expected, "{said}");
        }
        let target = Target { base: "https://m:1/api".into(), ..Target::default() };
        assert_eq!(target.root(), "https://m:1");
    }

    #[tokio::test]
    async fn skiffs_context_is_found_among_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        let encoded = |text: &str| BASE64_STANDARD.encode(text);
        let text = format!(
            "current-context: other\ncontexts:\n- name: other\n  context: {{cluster: x, user: y}}\n- name: skiff\n  \
             context: {{cluster: skiff, user: admin}}\nclusters:\n- name: skiff\n  cluster: {{server: 'https://127.0.0.1:6443', \
             certificate-authority-data: {}}}\nusers:\n- name: admin\n  user: {{client-certificate-data: {}, client-key-data: {}}}\n",
            encoded("CA"),
            encoded("CERT"),
            encoded("KEY")
        );
        tokio::fs::write(&path, text).await.unwrap();
        let found = from_kubeconfig(&path).await.unwrap().unwrap();
        assert_eq!(found.base, "https://127.0.0.1:6443/api");
        assert_eq!(found.ca.as_deref(), Some("CA"));
        assert_eq!(found.identity, Some(("CERT".to_owned(), "KEY".to_owned())));
        assert_eq!(from_kubeconfig(&directory.path().join("none")).await.unwrap(), None);
    }
}
