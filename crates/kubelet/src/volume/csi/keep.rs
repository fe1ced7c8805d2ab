//! What becomes of a volume while a pod has it: drivers that want it are asked for it again and again, and it grows.
//!
//! A driver whose volumes hold what changes (`requiresRepublish`) is asked about as often as upstream's kubelet looks at a pod, with
//! tokens that are still good for a while. Sizes follow the feeds of claim and volume.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Volume};
use k8s_openapi::api::storage::v1::CSIDriver;
use skiff_base::Backoff;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::{Driven, grow, renew};
use crate::record::EventKind;
use crate::volume::kind::Job;
use crate::volume::{Problem, Seen, VolumeError, Volumes};

/// How long a volume is left as it is, if its driver wants to be asked again.
const PERIOD: Duration = Duration::from_secs(60);

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(500), Duration::from_secs(122))
}

/// Keeps the volume as its driver and its claim want it, for as long as it is polled.
pub(in crate::volume) async fn keep(volumes: &Volumes, pod: &Arc<Pod>, volume: &Volume, driven: &Driven) {
    let job = Job { pod, volume, dir: &driven.paths.folder, inner: &volumes.inner };
    tokio::join!(renewed(&job, driven), large(&job, driven));
}

/// Has the driver asked again, for as long as it wants to be.
async fn renewed(job: &Job<'_>, driven: &Driven) {
    let mut about = job.inner.objects.csi_driver(&driven.wanted.driver);
    // What is here from before may be long out of date.
    let mut due = if driven.fresh { Instant::now() + PERIOD } else { Instant::now() };
    let mut backoff = backoff();
    loop {
        let wants = wants_again(&about.borrow_and_update());
        let timer = async {
            match wants {
                true => tokio::time::sleep_until(due).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed(&mut about) => continue,
            () = timer => {}
        }
        driven.drivers.registered(&driven.wanted.driver).await;
        let rest = match renew(job, driven).await {
            Ok(()) => {
                backoff.reset();
                PERIOD
            }
            Err(problem) => {
                // What was there stays, and the pod goes on with it.
                let volume = job.volume.name.clone();
                complain(job, "FailedMount", VolumeError::SetUp { volume, problem }.to_string());
                backoff.next_delay()
            }
        };
        due = Instant::now() + rest;
    }
}

fn wants_again(about: &Seen<CSIDriver>) -> bool {
    matches!(about, Seen::Found(driver) if driver.spec.requires_republish == Some(true))
}

/// Has the volume made larger as it grows.
async fn large(job: &Job<'_>, driven: &Driven) {
    let Some(claim) = driven.claim.as_deref().filter(|_| !driven.wanted.read_only) else { return };
    let mut claim = job.inner.objects.claim(job.namespace(), claim);
    let mut held = job.inner.objects.persistent_volume(&driven.wanted.name);
    driven.drivers.registered(&driven.wanted.driver).await;
    let mut backoff = backoff();
    loop {
        let seen = (claim.borrow_and_update().clone(), held.borrow_and_update().clone());
        let grown = match &seen {
            (Seen::Found(claim), Seen::Found(held)) => grow::now(job, driven, claim, held).await,
            _ => Ok(()),
        };
        let again = match grown {
            Ok(()) => {
                backoff.reset();
                None
            }
            Err(problem) => {
                complain_of_size(job, driven, &problem);
                Some(backoff.next_delay())
            }
        };
        let timer = async {
            match again {
                Some(delay) => tokio::time::sleep(delay).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed(&mut claim) => {}
            () = changed(&mut held) => {}
            () = timer => {}
        }
    }
}

/// Waits for the next word; where none can come, for ever.
async fn changed<T>(feed: &mut Receiver<T>) {
    if feed.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn complain(job: &Job<'_>, reason: &str, message: String) {
    job.inner.record.record(job.pod, None, EventKind::Warning, reason, message);
}

fn complain_of_size(job: &Job<'_>, driven: &Driven, problem: &Problem) {
    let what = "NodeExpandVolume.NodeExpandVolume failed for volume";
    complain(job, "VolumeResizeFailed", format!("{what} {:?} : {problem}", driven.wanted.name));
}
