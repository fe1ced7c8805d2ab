//! kubeconfig files: written for ourselves, merged into the user's without harm to other contexts, read back by agents.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use skiff_base::pki::Identity;

/// The name of Skiff's cluster, user and context in a kubeconfig.
pub(crate) const NAME: &str = "skiff";

/// A server, its authority and who we are there.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// `https://127.0.0.1:6443`.
    pub(crate) server: String,
    /// The authority's certificate, PEM.
    pub(crate) ca_pem: String,
    /// Client certificate and key.
    pub(crate) identity: Identity,
}

impl Access {
    /// The access as a kubeconfig of its own.
    pub(crate) fn document(&self) -> Value {
        self.merged(json!({"apiVersion": "v1", "kind": "Config", "preferences": {}}))
    }

    /// `config` with our cluster, user and context put in (or replaced) and made current.
    fn merged(&self, mut config: Value) -> Value {
        let encoded = |pem: &str| BASE64_STANDARD.encode(pem);
        let cluster = json!({"server": self.server, "certificate-authority-data": encoded(&self.ca_pem)});
        let user = json!({
            "client-certificate-data": encoded(&self.identity.cert_pem),
            "client-key-data": encoded(&self.identity.key_pem),
        });
        put(&mut config, "clusters", "cluster", cluster);
        put(&mut config, "users", "user", user);
        put(&mut config, "contexts", "context", json!({"cluster": NAME, "user": NAME}));
        config["current-context"] = json!(NAME);
        config
    }

    /// The access of Skiff's context in a kubeconfig file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let config = load(path)?;
        let entry = |list: &str, field: &str| {
            let items = config[list].as_array().into_iter().flatten();
            items
                .filter(|item| item["name"] == NAME)
                .map(|item| item[field].clone())
                .next()
                .unwrap_or_default()
        };
        let (cluster, user) = (entry("clusters", "cluster"), entry("users", "user"));
        let pem = |value: &Value, what: &str| -> anyhow::Result<String> {
            let text = value[what].as_str().with_context(|| format!("{} has no {what}", path.display()))?;
            Ok(String::from_utf8(BASE64_STANDARD.decode(text).with_context(|| format!("decode {what}"))?)?)
        };
        Ok(Self {
            server: cluster["server"]
                .as_str()
                .with_context(|| format!("{} names no server", path.display()))?
                .to_owned(),
            ca_pem: pem(&cluster, "certificate-authority-data")?,
            identity: Identity {
                cert_pem: pem(&user, "client-certificate-data")?,
                key_pem: pem(&user, "client-key-data")?,
            },
        })
    }

    /// Writes the access alone to `path`.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        save(path, &self.document())
    }

    /// Merges the access into the user's file; returns where that is.
    pub(crate) fn merge_into_users(&self) -> anyhow::Result<PathBuf> {
        let path = users_file();
        let config = if path.exists() { load(&path)? } else { json!({"apiVersion": "v1", "kind": "Config"}) };
        if !config.is_object() {
            bail!("{} is not a kubeconfig; it was left alone", path.display());
        }
        save(&path, &self.merged(config))?;
        Ok(path)
    }
}

/// The server that a kubeconfig file leads to, and who we are there: its current context, or the only one.
pub(crate) fn elsewhere(path: &Path) -> anyhow::Result<skiff_apiserver::Access> {
    let config = load(path)?;
    let named = |list: &str, field: &str, name: &Value| {
        let mut items = config[list].as_array().into_iter().flatten();
        items.find(|item| item["name"] == *name).map(|item| item[field].clone()).unwrap_or_default()
    };
    let context = match config["current-context"].as_str().filter(|name| !name.is_empty()) {
        Some(name) => named("contexts", "context", &name.into()),
        None => config["contexts"][0]["context"].clone(),
    };
    let (cluster, user) =
        (named("clusters", "cluster", &context["cluster"]), named("users", "user", &context["user"]));
    let folder = path.parent().unwrap_or(Path::new("."));
    let read = |file: &str| {
        let file = folder.join(file);
        std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))
    };
    let pem = |value: &Value, what: &str| -> anyhow::Result<Option<String>> {
        if let Some(text) = value[format!("{what}-data")].as_str() {
            let bytes = BASE64_STANDARD.decode(text).with_context(|| format!("decode {what}-data"))?;
            return Ok(Some(String::from_utf8(bytes)?));
        }
        value[what].as_str().map(read).transpose()
    };
    let (cert, key) = (pem(&user, "client-certificate")?, pem(&user, "client-key")?);
    let token_file = user["tokenFile"].as_str();
    let token = match (user["token"].as_str(), token_file) {
        (Some(token), _) => Some(token.to_owned()),
        (None, Some(file)) => Some(read(file)?.trim().to_owned()),
        (None, None) => None,
    };
    let server = cluster["server"].as_str().with_context(|| format!("{} names no server", path.display()))?;
    Ok(skiff_apiserver::Access {
        url: server.to_owned(),
        ca_pem: pem(&cluster, "certificate-authority")?,
        identity: cert.zip(key).map(|(cert_pem, key_pem)| Identity { cert_pem, key_pem }),
        token,
        token_file: token_file.map(|file| folder.join(file)),
        insecure: cluster["insecure-skip-tls-verify"] == true,
    })
}

/// Where a pod finds what it needs to reach its cluster.
const IN_POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The cluster whose pod this process is in.
pub(crate) fn in_cluster() -> anyhow::Result<skiff_apiserver::Access> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let place = variable("KUBERNETES_SERVICE_HOST").zip(variable("KUBERNETES_SERVICE_PORT"));
    in_pod(Path::new(IN_POD), place)
}

fn in_pod(folder: &Path, place: Option<(String, String)>) -> anyhow::Result<skiff_apiserver::Access> {
    let (host, port) = place.context(
        "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined",
    )?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let file = folder.join("token");
    let token = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    Ok(skiff_apiserver::Access {
        url: format!("https://{host}:{port}"),
        // Without one the machine's own choice counts.
        ca_pem: std::fs::read_to_string(folder.join("ca.crt")).ok(),
        token: Some(token.trim().to_owned()),
        token_file: Some(file),
        ..skiff_apiserver::Access::default()
    })
}

/// Takes our cluster, user and context out of the user's file, if they lead to `server`.
pub(crate) fn remove_from_users(server: &str) -> anyhow::Result<()> {
    let path = users_file();
    if !path.exists() {
        return Ok(());
    }
    let mut config = load(&path)?;
    let ours = |item: &Value| item["name"] == NAME;
    let leads_here = config["clusters"].as_array().is_some_and(|clusters| {
        clusters.iter().any(|item| ours(item) && item["cluster"]["server"] == server)
    });
    if !leads_here {
        return Ok(());
    }
    for list in ["clusters", "users", "contexts"] {
        if let Some(items) = config[list].as_array_mut() {
            items.retain(|item| !ours(item));
        }
    }
    if config["current-context"] == NAME {
        config["current-context"] = json!("");
    }
    save(&path, &config)
}

/// The first file of `KUBECONFIG`, or `~/.kube/config`.
pub(crate) fn users_file() -> PathBuf {
    let named = std::env::var("KUBECONFIG").unwrap_or_default();
    match named.split(':').find(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => {
            PathBuf::from(std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned())).join(".kube/config")
        }
    }
}

fn put(config: &mut Value, list: &str, field: &str, content: Value) {
    if !config[list].is_array() {
        config[list] = json!([]);
    }
    let entry = json!({"name": NAME, field: content});
    if let Some(items) = config[list].as_array_mut() {
        match items.iter_mut().find(|item| item["name"] == NAME) {
            Some(item) => *item = entry,
            None => items.push(entry),
        }
    }
}

fn load(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    if text.trim().is_empty() {
        return Ok(json!({"apiVersion": "v1", "kind": "Config"}));
    }
    serde_saphyr::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))
}

fn save(path: &Path, config: &Value) -> anyhow::Result<()> {
    let text = serde_saphyr::to_string(config).context("encode the kubeconfig")?;
    skiff_base::fs::write_atomically(path, text.as_bytes(), 0o600)
        .with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(server: &str) -> Access {
        let identity = Identity { cert_pem: "CERT".into(), key_pem: "KEY".into() };
        Access { server: server.into(), ca_pem: "CA".into(), identity }
    }

    #[test]
    fn other_contexts_survive_a_merge_and_ours_is_replaced() {
        let users = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "work",
            "clusters": [{"name": "work", "cluster": {"server": "https://work"}}],
            "users": [{"name": "me", "user": {"token": "t"}}],
            "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
        });
        let once = access("https://one").merged(users.clone());
        let twice = access("https://two").merged(once);
        assert_eq!(twice["clusters"][0], users["clusters"][0]);
        assert_eq!(twice["users"][0], users["users"][0]);
        assert_eq!(twice["clusters"].as_array().unwrap().len(), 2);
        assert_eq!(twice["clusters"][1]["cluster"]["server"], "https://two");
        assert_eq!(twice["current-context"], NAME);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        access("https://one:6443").write(&path).unwrap();
        let read = Access::read(&path).unwrap();
        assert_eq!((read.server.as_str(), read.ca_pem.as_str()), ("https://one:6443", "CA"));
        assert_eq!(read.identity.key_pem, "KEY");
    }

    #[test]
    fn a_pod_reaches_its_cluster_with_the_token_of_its_account() {
        let folder = tempfile::tempdir().unwrap();
        let place = || Some(("fd00::1".to_owned(), "443".to_owned()));
        assert!(in_pod(folder.path(), None).unwrap_err().to_string().contains("KUBERNETES_SERVICE_HOST"));
        assert!(in_pod(folder.path(), place()).unwrap_err().to_string().starts_with("read "));
        std::fs::write(folder.path().join("token"), "t\n").unwrap();
        let access = in_pod(folder.path(), place()).unwrap();
        assert_eq!((access.url.as_str(), access.token.as_deref()), ("https://[fd00::1]:443", Some("t")));
        assert_eq!(access.token_file, Some(folder.path().join("token")));
        assert_eq!(access.ca_pem, None);
    }
}
