//! A request's way in, a watch's way out; the only component that sees the store.
//!
//! Invariant: components of this process enter by the same service as everybody else, with their `User` attached;
//! there is no second door and no exempted check. The one shortcut is reading through local feeds, which ask once
//! whether their reader may.

pub mod options;
pub mod server;

mod authn;
mod authz;
mod chain;
mod request;
mod resource_metrics;
pub mod serve;
pub mod user;
pub mod wire;

pub mod audit;
mod fairness;

mod admission;
mod aggregate;
mod recent;
mod registry;
mod reviews;
mod subresource;
mod verbs;

mod alloc;
mod api;
mod catalog;
mod conversion;
mod crd;
pub mod kinds;
mod pages;
mod quota;
mod stored;
mod stream;

mod bootstrap;
mod discovery;
mod encryption;
mod expiry;
mod health;
pub mod legacy;
mod local;
mod metrics;
mod openapi;
mod outbound;
mod paths;
mod remembered;
mod served;

pub use admission::{AdmissionConfiguration, AdmissionConfigurationError};
pub use audit::{Audit, Policy as AuditPolicy};
pub use authn::{
    Anonymous, AuthenticationConfiguration, AuthenticationConfigurationError, OidcOptions, Peer,
    TokenWebhookOptions,
};
pub use authz::{AccessWebhookOptions, Asked, Authorizer, Witness};
pub use encryption::fresh_configuration;
pub use options::{ComponentRole, FrontProxy, KubeletAccess, Options, Storage, Tls, Version};
pub use outbound::Access;
pub use serve::Listener;
pub use served::{RuntimeConfig, RuntimeConfigError};
pub use server::{BuildError, Handler, RunError, Server};
pub use stored::{Change, Stored};
pub use user::User;
