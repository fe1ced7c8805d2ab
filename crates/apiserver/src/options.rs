//! What the server has to be told.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use skiff_base::Clock;
use skiff_base::metrics::Metrics;
use skiff_base::pki::Identity;

use crate::admission::AdmissionConfiguration;
use crate::audit::Audit;
use crate::authn::{Anonymous, OidcOptions, TokenWebhookOptions};
use crate::authz::{Authorizer, Witness};
use crate::served::RuntimeConfig;

/// Where objects are kept.
#[derive(Clone, Debug)]
pub enum Storage {
    /// Nowhere: gone with the process. For tests.
    Memory,
    /// In this file.
    Disk(PathBuf),
}

/// How the server shows itself to clients, and whose certificates it believes.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate and key.
    pub identity: Identity,
    /// The authority of client certificates, PEM.
    pub client_ca_pem: String,
}

/// How the server shows itself to kubelets.
#[derive(Clone, Debug)]
pub struct KubeletAccess {
    /// The server's client certificate and key.
    pub identity: Identity,
    /// The authority of kubelets' serving certificates, PEM.
    pub ca_pem: String,
}

/// How the server passes requests on to other API servers, and who may pass requests on to it.
#[derive(Clone, Debug)]
pub struct FrontProxy {
    /// Our certificate and key towards other API servers.
    pub identity: Identity,
    /// The authority of those who may say for whom they ask, PEM.
    pub ca_pem: String,
    /// The names their certificates may have; any if there are none.
    pub names: Vec<String>,
}

/// What `/version` says.
#[derive(Clone, Debug)]
pub struct Version {
    /// `1`.
    pub major: String,
    /// `37`.
    pub minor: String,
    /// `v1.37.0+skiff-0.1.0`.
    pub git_version: String,
    /// The commit; zeros if it is not known, since clients expect a number.
    pub git_commit: String,
    /// When it was built, if known.
    pub build_date: String,
}

impl Default for Version {
    fn default() -> Self {
        Self {
            major: "1".to_owned(),
            minor: "37".to_owned(),
            git_version: concat!("v1.37.0+skiff-", env!("CARGO_PKG_VERSION")).to_owned(),
            git_commit: "0".repeat(40),
            build_date: "1970-01-01T00:00:00Z".to_owned(),
        }
    }
}

/// What a component of this cluster may do, as the service account of this name in `kube-system`.
#[derive(Clone, Debug)]
pub struct ComponentRole {
    /// `deployment-controller`.
    pub account: String,
    /// Verbs and resources, separated by blanks: `("create patch", "events")`.
    pub rules: Vec<(String, String)>,
}

/// All the server has to be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where objects are kept.
    pub storage: Storage,
    /// Needed for TLS listeners only.
    pub tls: Option<Tls>,
    /// Needed for logs, exec, attach, port-forward and node proxies.
    pub kubelets: Option<KubeletAccess>,
    /// Needed for API servers behind this one, and for proxies before it.
    pub front_proxy: Option<FrontProxy>,
    /// The ranges of service addresses, one for each family that services may have; they have the first one's unless they
    /// ask for more.
    pub services: Vec<IpNet>,
    /// The range of node ports.
    pub node_ports: RangeInclusive<u16>,
    /// Where pods and nodes reach this server; behind the service `kubernetes`. Without it that service has no
    /// endpoints.
    pub advertise: Option<SocketAddr>,
    /// The name of the machine, by which the server says who it is; without it says nothing.
    pub machine: Option<String>,
    /// Whether a garbage collector runs, so that `Orphan` and `Foreground` deletions may wait for it. Without one they
    /// would wait for ever, and are carried out at once.
    pub garbage_collector: bool,
    /// How long new pods tolerate a node that is not ready, unless they say otherwise.
    pub default_not_ready_toleration_seconds: i64,
    /// How long new pods tolerate a node that cannot be reached, unless they say otherwise.
    pub default_unreachable_toleration_seconds: i64,
    /// What is written to the audit log, and where that is; nothing for none.
    pub audit: Option<Audit>,
    /// Admission plugins that work besides the usual ones.
    pub enable_admission_plugins: Vec<String>,
    /// Admission plugins that do not work.
    pub disable_admission_plugins: Vec<String>,
    /// Which built-in kinds are served, where that is not as usual.
    pub runtime_config: RuntimeConfig,
    /// What admission plugins are told.
    pub admission_configuration: Arc<AdmissionConfiguration>,
    /// The time of day.
    pub clock: Clock,
    /// Where the server's metrics go; served at `/metrics`.
    pub metrics: Metrics,
    /// What `/version` says.
    pub version: Version,
    /// The key that signs service accounts' tokens: RSA or EC, PEM. Without one, one that nobody else knows and that ends
    /// with the process.
    pub token_key_pem: Option<String>,
    /// More keys whose tokens are believed: PEM texts with public keys, or private ones for their public halves.
    pub token_keys_pem: Vec<String>,
    /// Who issues those tokens, as they say; tokens of the second and so on are still believed.
    pub issuers: Vec<String>,
    /// Where others find the keys of these tokens, `https://`; at this server if nothing is said.
    pub jwks_uri: Option<String>,
    /// Whom tokens are for that this server believes; the issuers if there are none.
    pub audiences: Vec<String>,
    /// The text of a file of tokens: lines of `token,user,uid,"group1,group2"`.
    pub token_file: Option<String>,
    /// Issuers elsewhere (OpenID Connect) whose tokens are believed.
    pub oidc: Vec<OidcOptions>,
    /// Who may come without showing anything; nothing: only who asks for health or version.
    pub anonymous: Option<Anonymous>,
    /// A server elsewhere that knows tokens.
    pub token_webhook: Option<TokenWebhookOptions>,
    /// Who says what somebody may, in the order in which they are asked.
    pub authorizers: Vec<Authorizer>,
    /// Which resources are ciphertext on disk: an EncryptionConfiguration, YAML. All that is read must be in it.
    pub encryption: Option<String>,
    /// What the cluster's own components may do; each gets a role and a binding.
    pub roles: Vec<ComponentRole>,
    /// Is told what the authorisers are asked; for tests.
    pub witness: Option<Witness>,
}

impl Options {
    /// A server that keeps everything in memory; for tests and a base to change.
    pub fn in_memory() -> Self {
        let services = ipnet::Ipv4Net::new(std::net::Ipv4Addr::new(10, 96, 0, 0), 12);
        Self {
            storage: Storage::Memory,
            tls: None,
            kubelets: None,
            front_proxy: None,
            services: vec![services.expect("12 is a prefix length").into()],
            node_ports: 30000..=32767,
            advertise: None,
            machine: None,
            garbage_collector: false,
            default_not_ready_toleration_seconds: 300,
            default_unreachable_toleration_seconds: 300,
            audit: None,
            enable_admission_plugins: Vec::new(),
            disable_admission_plugins: Vec::new(),
            runtime_config: RuntimeConfig::default(),
            admission_configuration: Arc::default(),
            clock: Clock::system(),
            metrics: Metrics::new(),
            version: Version::default(),
            encryption: None,
            token_key_pem: None,
            token_keys_pem: Vec::new(),
            issuers: vec!["https://kubernetes.default.svc.cluster.local".to_owned()],
            jwks_uri: None,
            audiences: Vec::new(),
            token_file: None,
            oidc: Vec::new(),
            anonymous: None,
            token_webhook: None,
            authorizers: vec![Authorizer::Node, Authorizer::Rbac],
            roles: Vec::new(),
            witness: None,
        }
    }
}

/// What of the options is needed after the start.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) advertise: Option<SocketAddr>,
    pub(crate) machine: Option<String>,
    pub(crate) garbage_collector: bool,
    pub(crate) not_ready_toleration_seconds: i64,
    pub(crate) unreachable_toleration_seconds: i64,
    pub(crate) admission: crate::admission::Chosen,
    pub(crate) anonymous: Option<Anonymous>,
    pub(crate) version: Version,
    pub(crate) roles: Vec<ComponentRole>,
    pub(crate) jwks_uri: Option<String>,
    pub(crate) witness: Option<Witness>,
    /// Whom pods must trust.
    pub(crate) ca_pem: Option<String>,
    pub(crate) front_proxy: Option<FrontProxy>,
}
