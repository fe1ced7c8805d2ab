//! The lease by which this server says who it is, as upstream's `pkg/controlplane` does.
//!
//! Upstream renews it every ten seconds, for one that lasts an hour. Nobody looks at it but the collector of such leases, so
//! here it is renewed three times while it lasts: what is idle writes nothing to the disk.
//!
//! Under this name the server says how it stores things, where anybody asks for that ([`super::storage_versions`]). What it
//! said goes with the lease, so the lease is written first.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use sha2::{Digest, Sha256};
use skiff_api::{ApiError, names};
use skiff_base::task::Tasks;

use super::storage_versions;
use crate::api::Api;

const NAMESPACE: &str = "kube-system";
/// How long it lasts, in seconds.
const LASTS: i32 = 3600;
const EVERY: Duration = Duration::from_secs(1200);
/// When it is tried again after a failure.
const AGAIN: Duration = Duration::from_secs(10);

/// Keeps the lease until the server stops.
pub(crate) async fn keep(api: Arc<Api>, tasks: Tasks) -> Result<(), Infallible> {
    let Some(hostname) = api.settings.machine.clone() else { return Ok(()) };
    let name = name(&hostname);
    let holder = format!("{name}_{}", uuid::Uuid::new_v4());
    let mut amiss = storage_versions::amiss(&api, &name);
    while api.store_is_open() {
        let pause = match renew(&api, &hostname, &holder).await {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "the server cannot say who it is");
                AGAIN
            }
        };
        tokio::select! {
            () = tasks.stopped() => break,
            () = tokio::time::sleep(pause) => {}
            Some(()) = amiss.next() => {}
        }
    }
    Ok(())
}

async fn renew(api: &Api, hostname: &str, holder: &str) -> Result<(), ApiError> {
    super::ensure(api, NAMESPACE, &lease(hostname, holder, api.clock.now()), true).await?;
    storage_versions::record(api, &name(hostname)).await
}

/// `apiserver-` and the first half of the host name's digest, in base 32.
fn name(hostname: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digest = Sha256::digest(hostname.as_bytes());
    let number = digest.iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    // 128 bits are 25 letters and three bits, to which two zeros are added.
    let letter = |place: u32| {
        let bits = if place < 25 { number >> (123 - 5 * place) } else { number << 2 };
        char::from(LETTERS[usize::try_from(bits & 31).unwrap_or(0)])
    };
    "apiserver-".chars().chain((0..26).map(letter)).collect()
}

fn lease(hostname: &str, holder: &str, now: jiff::Timestamp) -> Lease {
    let labels = [(names::IDENTITY, names::API_SERVER), (names::HOSTNAME, hostname)];
    Lease {
        metadata: ObjectMeta {
            name: Some(name(hostname)),
            namespace: Some(NAMESPACE.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(LASTS),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_upstreams_for_the_same_host() {
        assert_eq!(name("node-1"), "apiserver-gwlrxzxjxmbevckvql7a4qxaja");
    }
}
