//! Where the server is and who we are there, from a kubeconfig with a client certificate.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::ServerName;
use serde_json::Value;
use skiff_base::pki::Identity;

/// A server and the identity to show it. Clones share the TLS configuration.
#[derive(Clone)]
pub(crate) struct Access {
    /// `127.0.0.1`.
    pub(crate) host: String,
    /// `6443`.
    pub(crate) port: u16,
    /// The name that the server's certificate must bear.
    pub(crate) name: ServerName<'static>,
    /// Whom we trust and who we are.
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

impl Access {
    /// The current context of a kubeconfig.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let config: Value =
            serde_saphyr::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))?;
        let context = entry(&config, "contexts", "context", config["current-context"].as_str());
        let cluster = entry(&config, "clusters", "cluster", context["cluster"].as_str());
        let user = entry(&config, "users", "user", context["user"].as_str());
        let identity =
            Identity { cert_pem: pem(&user, "client-certificate")?, key_pem: pem(&user, "client-key")? };
        let mut tls = skiff_base::tls::client(&pem(&cluster, "certificate-authority")?, Some(&identity))?;
        // One request at a time per connection, as the client behind upstream's figures.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let server: http::Uri = cluster["server"]
            .as_str()
            .context("the cluster has no server")?
            .parse()
            .context("read its address")?;
        let host = server.host().context("the server has no host")?.to_owned();
        Ok(Self {
            port: server.port_u16().unwrap_or(443),
            name: ServerName::try_from(host.clone()).context("use the server's name")?,
            host,
            tls: Arc::new(tls),
        })
    }
}

/// The entry called `name` in one of a kubeconfig's lists; without a name its first.
fn entry(config: &Value, list: &str, field: &str, name: Option<&str>) -> Value {
    let mut entries = config[list].as_array().into_iter().flatten();
    let found = entries.find(|entry| name.is_none_or(|name| entry["name"] == name));
    found.map(|entry| entry[field].clone()).unwrap_or_default()
}

/// A PEM that a kubeconfig holds itself (`NAME-data`) or names a file of.
fn pem(value: &Value, what: &str) -> anyhow::Result<String> {
    if let Some(text) = value[format!("{what}-data")].as_str() {
        return Ok(String::from_utf8(
            BASE64_STANDARD.decode(text).with_context(|| format!("decode {what}"))?,
        )?);
    }
    let path = value[what].as_str().with_context(|| format!("the kubeconfig has no {what}"))?;
    std::fs::read_to_string(path).with_context(|| format!("read {path}"))
}
