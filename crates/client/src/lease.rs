//! A sign of life: one Lease renewed while its holder lives.
//!
//! Nodes do this in `kube-node-lease`; whoever watches the lease decides what silence means. Only the writer's own
//! calm matters here: a failed renewal is tried again soon, a lost lease is made anew.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use skiff_api::{Resource, names};
use skiff_base::{Backoff, Clock};

use crate::link::Link;
use crate::write::{self, Place};

/// How to give signs of life.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The lease's namespace.
    pub namespace: String,
    /// The lease's name.
    pub name: String,
    /// Who lives.
    pub holder: String,
    /// With whom the lease shall go: the Node.
    pub owner: Option<OwnerReference>,
    /// How long a sign of life counts.
    pub duration: Duration,
    /// How often it is given.
    pub every: Duration,
}

impl Heartbeat {
    /// A node's heartbeat, with upstream's times: every 10 s, good for 40 s.
    pub fn of_node(node: &str, uid: &str) -> Self {
        Self {
            namespace: names::NODE_LEASE_NAMESPACE.to_owned(),
            name: node.to_owned(),
            holder: node.to_owned(),
            owner: Some(OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: node.to_owned(),
                uid: uid.to_owned(),
                ..OwnerReference::default()
            }),
            duration: Duration::from_secs(40),
            every: Duration::from_secs(10),
        }
    }

    /// Gives signs of life for ever; drop it (or spawn it with `spawn_until_stop`) to fall silent.
    pub async fn run(self, link: Link, clock: Clock) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(7));
        let mut held = None;
        loop {
            match self.beat(&link, &clock, held.take()).await {
                Ok(lease) => {
                    held = Some(lease);
                    backoff.reset();
                    tokio::time::sleep(self.every).await;
                }
                Err(error) => {
                    if !write::is_conflict(&error) {
                        tracing::warn!(lease = %self.name, %error, "a sign of life could not be given");
                    }
                    backoff.wait().await;
                }
            }
        }
    }

    /// One sign of life; `held` is the lease as the last one left it.
    async fn beat(&self, link: &Link, clock: &Clock, held: Option<Lease>) -> write::Result<Lease> {
        let place = Place::new(&Resource::of::<Lease>(), Some(&self.namespace), &self.name);
        let known = match held {
            Some(lease) => Some(lease),
            None => match write::get(link, &place).await {
                Ok(lease) => Some(lease),
                Err(error) if write::is_not_found(&error) => None,
                Err(error) => return Err(error),
            },
        };
        let now = MicroTime(clock.now());
        match known {
            Some(lease) => write::replace(link, &place, &self.renewed(lease, now)).await,
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.name.clone()),
                    namespace: Some(self.namespace.clone()),
                    ..ObjectMeta::default()
                };
                let lease = Lease { metadata, ..Lease::default() };
                write::create(link, &self.renewed(lease, now)).await
            }
        }
    }

    fn renewed(&self, mut lease: Lease, now: MicroTime) -> Lease {
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        spec.holder_identity = Some(self.holder.clone());
        spec.lease_duration_seconds = i32::try_from(self.duration.as_secs()).ok();
        spec.renew_time = Some(now);
        if let Some(owner) = &self.owner {
            lease.metadata.owner_references = Some(vec![owner.clone()]);
        }
        lease
    }
}
