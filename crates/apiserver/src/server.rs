//! The server as a component: built from options, run with listeners, reached by links from inside the process.

use std::sync::Arc;

use futures::future::BoxFuture;
use skiff_api::ApiError;
use skiff_base::task::{Policy, Tasks};
use skiff_base::{Latch, tls};
use skiff_client::Link;
use skiff_store::{Disk, Engine, Memory, OpenError, Store};

use crate::aggregate::{self, Aggregation};
use crate::alloc::Alloc;
use crate::api::Api;
use crate::audit::{Audit, Log};
use crate::authn::account::Issuer;
use crate::authn::static_file::{StaticTokens, TokenFileError};
use crate::authn::webhook::TokenWebhook;
use crate::authn::{self, Peer, Trust, oidc};
use crate::authz::Voice;
use crate::catalog::Catalog;
use crate::encryption::{EncryptionError, Keys, Sealed};
use crate::fairness::{self, Fairness};
use crate::local::Feeds;
use crate::metrics::Counters;
use crate::options::{Options, Settings, Storage};
use crate::outbound::AccessError;
use crate::serve::{self, Listener};
use crate::stored::Stored;
use crate::stream::kubelet::Kubelets;
use crate::user::User;
use crate::wire::{Request, Response, refusal};
use crate::{bootstrap, chain, expiry, legacy};

/// The API server, not yet running.
pub struct Server {
    api: Arc<Api>,
    /// What is to be sealed anew.
    keys: Keys,
    tls: Option<Arc<rustls::ServerConfig>>,
    trust: Arc<Trust>,
    audit: Option<Audit>,
}

/// How long what is under way may take when the server stops.
const GRACE: std::time::Duration = std::time::Duration::from_secs(5);

/// A server that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store could not be opened.
    #[error("open the store")]
    Store(#[from] OpenError),
    /// The engine could not be opened.
    #[error("open the store's engine")]
    Engine(#[from] skiff_store::EngineError),
    /// An admission plugin does not exist.
    #[error("admission plugin {0:?} is unknown")]
    Plugin(String),
    /// Certificates are malformed.
    #[error("set up TLS")]
    Tls(#[from] tls::TlsError),
    /// The key that signs service accounts' tokens cannot be used.
    #[error("read the key for tokens")]
    TokenKey(#[from] authn::jwt::KeyError),
    /// The encryption configuration cannot be used.
    #[error("set up encryption")]
    Encryption(#[from] EncryptionError),
    /// A server elsewhere cannot be asked.
    #[error("set up the access to a server elsewhere")]
    Access(#[from] AccessError),
    /// The file of tokens cannot be read.
    #[error("read the token file")]
    TokenFile(#[from] TokenFileError),
}

/// A server that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its own objects cannot be made.
    #[error("create the cluster's own objects: {0}")]
    Bootstrap(#[from] skiff_api::ApiError),
    /// A TLS listener without certificates.
    #[error("a TLS listener needs certificates")]
    NoCertificates,
    /// The store failed; what is in memory and what is on disk may differ.
    #[error("the store failed")]
    Store(#[from] skiff_store::EngineError),
}

impl Server {
    /// Opens the store and wires everything; starts nothing.
    ///
    /// # Errors
    /// If the store or the certificates cannot be read.
    pub fn build(options: Options) -> Result<Self, BuildError> {
        let engine: Box<dyn Engine> = match &options.storage {
            Storage::Memory => Box::new(Memory::default()),
            Storage::Disk(path) => Box::new(Disk::open(path)?),
        };
        let keys = options.encryption.as_deref().map(Keys::parse).transpose()?.unwrap_or_default();
        let engine = Sealed::new(engine, keys.clone());
        let store = Store::<Stored>::open(engine, skiff_store::Options::default())?;
        let issuer = Issuer::new(&options)?;
        let front_proxy = options.front_proxy;
        let trust = Trust::new(options.tls.as_ref(), front_proxy.as_ref())?;
        let believed = |tls: &crate::options::Tls| match &front_proxy {
            Some(front) => format!("{}\n{}", tls.client_ca_pem, front.ca_pem),
            None => tls.client_ca_pem.clone(),
        };
        let tls = options.tls.as_ref().map(|tls| tls::server(&tls.identity, &believed(tls))).transpose()?;
        let alloc = Alloc::new(&options.services, options.node_ports);
        alloc.restore(&store);
        let (enable, disable) = (&options.enable_admission_plugins, &options.disable_admission_plugins);
        let admission = crate::admission::Chosen::new(enable, disable, options.admission_configuration)
            .map_err(BuildError::Plugin)?;
        let tasks = Tasks::new();
        let api = Api {
            store,
            catalog: Catalog::built_in(&options.runtime_config),
            clock: options.clock,
            alloc,
            rbac: crate::authz::rbac::Rbac::default(),
            graph: crate::authz::graph::Graph::default(),
            issuer,
            static_tokens: StaticTokens::parse(options.token_file.as_deref().unwrap_or_default())?,
            issuers: options.oidc.iter().map(oidc::Issuer::new).collect::<Result<_, _>>()?,
            token_webhook: options.token_webhook.as_ref().map(TokenWebhook::new).transpose()?,
            authorizers: options.authorizers.iter().map(Voice::new).collect::<Result<_, _>>()?,
            quotas: crate::quota::Ledger::default(),
            pages: crate::pages::Pages::default(),
            recent: crate::registry::Recent::default(),
            health: crate::health::Health::default(),
            counters: Counters::new(&options.metrics),
            dynamic: crate::admission::Dynamic::default(),
            aggregation: Aggregation::new(front_proxy.as_ref().map(|front| front.identity.clone())),
            admission: crate::admission::Counts::new(&options.metrics),
            metrics: options.metrics,
            fairness: Fairness::new(fairness::SEATS),
            audit: std::sync::OnceLock::new(),
            kubelets: Kubelets::new(options.kubelets.as_ref())?,
            resource_metrics: Default::default(),
            settings: Settings {
                advertise: options.advertise,
                machine: options.machine,
                garbage_collector: options.garbage_collector,
                not_ready_toleration_seconds: options.default_not_ready_toleration_seconds,
                unreachable_toleration_seconds: options.default_unreachable_toleration_seconds,
                admission,
                anonymous: options.anonymous,
                version: options.version,
                roles: options.roles,
                jwks_uri: options.jwks_uri,
                witness: options.witness,
                ca_pem: options.tls.as_ref().map(|tls| tls.client_ca_pem.clone()),
                front_proxy,
            },
            stopping: tasks.token().clone(),
            tasks,
        };
        let api = Arc::new(api);
        api.dynamic.belongs_to(&api);
        let audit = options.audit;
        Ok(Self { api, keys, tls: tls.map(Arc::new), trust: Arc::new(trust), audit })
    }

    /// Answers requests of known peers; what listeners and links are made of.
    pub fn handler(&self) -> Handler {
        Handler {
            api: Arc::clone(&self.api),
            door: legacy::Door::new(self.backend(), self.api.tasks.clone()),
        }
    }

    /// What the server is made of, for tests of its parts.
    #[cfg(test)]
    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// The way in for a component of this process, as `user`. Must be called inside a tokio runtime.
    pub fn link(&self, user: User) -> Link {
        self.linker()(user)
    }

    /// Makes links also after the server has been moved to where it runs.
    pub fn linker(&self) -> impl Fn(User) -> Link + Send + Sync + 'static {
        let (handler, api) = (self.handler(), Arc::clone(&self.api));
        move |user| {
            let feeds = Feeds::new(&api, user.clone());
            let service = crate::local::Transport::new(handler.clone(), user);
            Link::local(kube::Client::new(service, "default"), Arc::new(feeds))
        }
    }

    /// Open once the cluster's own objects are there.
    pub fn ready(&self) -> Latch {
        self.api.health.bootstrapped.clone()
    }

    /// The v1 server behind authentication, for the door of 2014 and its plain port.
    pub fn backend(&self) -> Arc<dyn legacy::Backend> {
        Arc::new(Inner { api: Arc::clone(&self.api) })
    }

    /// Serves until `tasks` stop, then lets answers in progress end and closes the store.
    ///
    /// # Errors
    /// If the cluster's own objects cannot be made, or the store fails.
    pub async fn run(self, listeners: Vec<Listener>, tasks: Tasks) -> Result<(), RunError> {
        let background = tasks.child();
        if let Some(audit) = &self.audit {
            // Only this call sets it.
            let _is_new = self.api.audit.set(Log::start(audit, &background));
        }
        let handler = self.handler();
        let definitions = crate::crd::controller::Controller::load(&self.api);
        for listener in listeners {
            let acceptor =
                listener.acceptor(self.tls.as_ref(), &self.trust).ok_or(RunError::NoCertificates)?;
            let work = serve::accept(listener, acceptor, handler.clone(), background.clone());
            background.spawn("api listener", Policy::Essential, work);
        }
        background.spawn("custom resources", Policy::Essential, definitions.run(background.clone()));
        bootstrap::objects(&self.api).await?;
        futures::try_join!(bootstrap::roles(&self.api), aggregate::register::at_start(&self.api))?;
        bootstrap::renew(&self.api, self.keys.stale()).await;
        self.api.health.bootstrapped.open();
        background.spawn(
            "priority and fairness",
            Policy::Essential,
            fairness::keep::run(Arc::clone(&self.api), background.clone()),
        );
        background.spawn(
            "other API servers",
            Policy::Essential,
            aggregate::keep::run(Arc::clone(&self.api), background.clone()),
        );
        let keep = bootstrap::keep(Arc::clone(&self.api), background.clone());
        background.spawn("own objects", Policy::Essential, keep);
        let identity = bootstrap::identity::keep(Arc::clone(&self.api), background.clone());
        background.spawn("identity", Policy::Essential, identity);
        let mend = crate::alloc::repair::keep(Arc::clone(&self.api), background.clone());
        background.spawn("service addresses", Policy::Essential, mend);
        background.spawn(
            "event expiry",
            Policy::Essential,
            expiry::run(Arc::clone(&self.api), background.clone()),
        );
        background.spawn(
            "quota status",
            Policy::Essential,
            crate::quota::publish::keep(Arc::clone(&self.api), background.clone()),
        );
        let ended = tokio::select! {
            () = tasks.stopped() => Ok(()),
            ended = self.api.store.ended() => ended,
        };
        self.api.tasks.drain(GRACE).await;
        ended?;
        self.api.store.close().await?;
        Ok(())
    }
}

/// Answers requests.
#[derive(Clone)]
pub struct Handler {
    api: Arc<Api>,
    door: legacy::Door,
}

impl Handler {
    /// What a port without TLS answers, where everybody is `user`; also to clients of 2014.
    pub(crate) fn plain(&self, user: User) -> legacy::PlainPort {
        let backend = Arc::new(Inner { api: Arc::clone(&self.api) });
        legacy::PlainPort::new(self.door.clone(), backend, user)
    }

    /// Answers one request of `peer`.
    pub fn handle(&self, peer: Peer, mut request: Request) -> BoxFuture<'static, Response> {
        if !legacy::claims(request.uri().path()) {
            return chain::serve(Arc::clone(&self.api), peer, request);
        }
        let (api, door) = (Arc::clone(&self.api), self.door.clone());
        Box::pin(async move {
            match authn::identify(&api, &peer, request.headers_mut()).await {
                Ok(Some(user)) => {
                    request.extensions_mut().insert(user);
                    door.answer(request).await
                }
                Ok(None) => refusal(&ApiError::unauthorized()),
                Err(error) => refusal(&error),
            }
        })
    }
}

/// The chain for requests that carry their user with them.
struct Inner {
    api: Arc<Api>,
}

impl legacy::Backend for Inner {
    fn call(&self, request: Request) -> BoxFuture<'static, Response> {
        let peer = match request.extensions().get::<User>() {
            Some(user) => Peer::Known(user.clone()),
            None => Peer::Unknown,
        };
        chain::serve(Arc::clone(&self.api), peer, request)
    }
}
