//! The programs beside the scheduler that the file names, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use skiff_api::{Errors, names};
use skiff_base::pki::Identity;
use skiff_base::{duration, tls};

use crate::extender::{Client, Extender};

/// How long an answer is waited for, unless the file says so.
const PATIENCE: Duration = Duration::from_secs(5);

/// An extender as it stands in the file.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Given {
    url_prefix: String,
    filter_verb: String,
    preempt_verb: String,
    prioritize_verb: String,
    weight: i64,
    bind_verb: String,
    #[serde(rename = "enableHTTPS")]
    enable_https: bool,
    tls_config: Option<Trust>,
    http_timeout: Option<String>,
    node_cache_capable: bool,
    managed_resources: Vec<Managed>,
    ignorable: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Managed {
    name: String,
    ignored_by_scheduler: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Trust {
    insecure: bool,
    server_name: String,
    cert_file: String,
    key_file: String,
    #[serde(rename = "caFile")]
    ca_file: String,
    cert_data: String,
    key_data: String,
    #[serde(rename = "caData")]
    ca_data: String,
}

/// All of them, and the resources that the scheduler leaves to them altogether.
pub(super) fn read(given: Vec<Given>, errors: &mut Errors) -> (Vec<Extender>, BTreeSet<String>) {
    let mut managed: BTreeMap<String, bool> = BTreeMap::new();
    let binders = given.iter().filter(|each| !each.bind_verb.is_empty()).count();
    let mut extenders = Vec::new();
    for (index, each) in given.into_iter().enumerate() {
        errors.item("extenders", index, |errors| {
            for (index, resource) in each.managed_resources.iter().enumerate() {
                errors.item("managedResources", index, |errors| {
                    check_name(&resource.name, errors);
                    if managed.insert(resource.name.clone(), resource.ignored_by_scheduler).is_some() {
                        errors.invalid("name", &resource.name, "duplicate extender managed resource name");
                    }
                });
            }
            extenders.extend(each.read(errors));
        });
    }
    if binders > 1 {
        let found = format!("found {binders} extenders implementing bind");
        errors.invalid("extenders", &found, "only one extender can implement bind");
    }
    let ignored = managed.into_iter().filter(|(_, ignored)| *ignored).map(|(name, _)| name).collect();
    (extenders, ignored)
}

/// Only extended resources may be somebody else's.
fn check_name(name: &String, errors: &mut Errors) {
    let faults = names::qualified_name(name);
    let sound = faults.is_empty();
    for fault in faults {
        errors.invalid("name", name, fault);
    }
    let native = !name.contains('/') || name.contains("kubernetes.io/") || name.starts_with("requests.");
    if sound && native {
        errors.invalid("name", name, "is an invalid extended resource name");
    }
}

impl Given {
    fn read(self, errors: &mut Errors) -> Option<Extender> {
        let verb = |verb: String| Some(verb).filter(|verb| !verb.is_empty());
        if !self.prioritize_verb.is_empty() && self.weight <= 0 {
            errors.invalid("weight", &self.weight, "must have a positive weight applied to it");
        }
        let patience = match self.http_timeout.as_deref().map(|text| (text, duration::parse(text))) {
            None | Some((_, Some(Duration::ZERO))) => PATIENCE,
            Some((_, Some(patience))) => patience,
            Some((text, None)) => {
                errors.invalid("httpTimeout", text, "must be a duration");
                PATIENCE
            }
        };
        let address = self.url_prefix.parse::<http::Uri>().ok();
        if !address
            .is_some_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
        {
            errors.invalid("urlPrefix", &self.url_prefix, "must be a URL of http or https");
        }
        let trust = self.tls_config.unwrap_or_default();
        let (config, server) = errors.at("tlsConfig", |errors| trust.read(self.enable_https, errors))?;
        Some(Extender {
            client: Client::new(self.url_prefix, patience, config, server),
            filter: verb(self.filter_verb),
            prioritize: verb(self.prioritize_verb),
            preempt: verb(self.preempt_verb),
            bind: verb(self.bind_verb),
            weight: self.weight,
            knows_nodes: self.node_cache_capable,
            managed: self.managed_resources.into_iter().map(|resource| resource.name).collect(),
            ignorable: self.ignorable,
        })
    }
}

impl Trust {
    /// Whom to believe and who we are. Without an authority anybody is believed where HTTPS is enabled, as upstream.
    fn read(&self, https: bool, errors: &mut Errors) -> Option<(ClientConfig, Option<ServerName<'static>>)> {
        let ca = pem("caData", &self.ca_data, &self.ca_file, errors);
        let cert = pem("certData", &self.cert_data, &self.cert_file, errors);
        let key = pem("keyData", &self.key_data, &self.key_file, errors);
        let identity = cert.zip(key).map(|(cert_pem, key_pem)| Identity { cert_pem, key_pem });
        let config = match ca {
            _ if self.insecure => tls::any_client(identity.as_ref()),
            Some(ca) => tls::client(&ca, identity.as_ref()),
            None if https => tls::any_client(identity.as_ref()),
            None => tls::system_client(identity.as_ref()),
        };
        let config = match config {
            Ok(config) => config,
            Err(error) => {
                errors.invalid("", "", error.to_string());
                return None;
            }
        };
        let server = match self.server_name.as_str() {
            "" => None,
            name => match ServerName::try_from(name.to_owned()) {
                Ok(name) => Some(name),
                Err(_) => {
                    errors.invalid("serverName", name, "must be a host name or an address");
                    None
                }
            },
        };
        Some((config, server))
    }
}

/// What stands in the file itself goes before another file.
fn pem(field: &str, data: &str, file: &str, errors: &mut Errors) -> Option<String> {
    let read = match (data, file) {
        ("", "") => return None,
        ("", file) => std::fs::read(file).map_err(|error| format!("{file}: {error}")),
        (data, _) => STANDARD.decode(data).map_err(|error| error.to_string()),
    };
    match read.and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string())) {
        Ok(pem) => Some(pem),
        Err(why) => {
            errors.invalid(field, "", why);
            None
        }
    }
}
