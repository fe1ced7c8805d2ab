//! What every part of the server shares: the store, the kinds, the clock, what has been given out.

use std::sync::OnceLock;

use skiff_base::Clock;
use skiff_base::metrics::Metrics;
use skiff_base::task::Tasks;
use skiff_store::Store;
use tokio_util::sync::CancellationToken;

use crate::aggregate::Aggregation;
use crate::alloc::Alloc;
use crate::audit::Log;
use crate::authn::account::Issuer;
use crate::authn::oidc;
use crate::authn::static_file::StaticTokens;
use crate::authn::webhook::TokenWebhook;
use crate::authz::Voice;
use crate::authz::graph::Graph;
use crate::authz::rbac::Rbac;
use crate::catalog::Catalog;
use crate::fairness::Fairness;
use crate::health::Health;
use crate::metrics::Counters;
use crate::options::Settings;
use crate::pages::Pages;
use crate::quota::Ledger;
use crate::registry::Recent;
use crate::resource_metrics;
use crate::stored::Stored;
use crate::stream::kubelet::Kubelets;

/// The server's state.
pub(crate) struct Api {
    pub(crate) store: Store<Stored>,
    pub(crate) catalog: Catalog,
    pub(crate) clock: Clock,
    pub(crate) alloc: Alloc,
    pub(crate) rbac: Rbac,
    /// What nodes have to do with.
    pub(crate) graph: Graph,
    /// Makes the tokens of service accounts.
    pub(crate) issuer: Issuer,
    pub(crate) static_tokens: StaticTokens,
    /// Issuers elsewhere whose tokens are believed.
    pub(crate) issuers: Vec<oidc::Issuer>,
    pub(crate) token_webhook: Option<TokenWebhook>,
    /// Who says what somebody may, in the order in which they are asked.
    pub(crate) authorizers: Vec<Voice>,
    pub(crate) quotas: Ledger,
    pub(crate) pages: Pages,
    pub(crate) recent: Recent,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) counters: Counters,
    pub(crate) dynamic: crate::admission::Dynamic,
    /// The servers behind this one.
    pub(crate) aggregation: Aggregation,
    pub(crate) admission: crate::admission::Counts,
    pub(crate) kubelets: Kubelets,
    pub(crate) resource_metrics: resource_metrics::Recent,
    /// Who waits for whom.
    pub(crate) fairness: Fairness,
    /// The audit log, if there is one.
    pub(crate) audit: OnceLock<Log>,
    pub(crate) settings: Settings,
    /// Connections to elsewhere that the server keeps for its clients.
    pub(crate) tasks: Tasks,
    /// Cancelled when the server is to stop; ends watches and other long answers.
    pub(crate) stopping: CancellationToken,
}

impl Api {
    /// True while writes are taken.
    pub(crate) fn store_is_open(&self) -> bool {
        // Ended means ready at once; anything else is still open.
        futures::FutureExt::now_or_never(self.store.ended()).is_none()
    }
}
