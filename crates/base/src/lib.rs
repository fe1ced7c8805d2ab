//! What any long-running process needs: tasks, readiness, time, certificates, programs, files.
//!
//! Invariant: this crate knows nothing of Kubernetes.

pub mod backoff;
pub mod bucket;
pub mod clock;
pub mod command;
pub mod duration;
pub mod fs;
pub mod metrics;
pub mod pki;
pub mod ready;
pub mod task;
pub mod tls;
pub mod trace;

pub use backoff::Backoff;
pub use clock::Clock;
pub use ready::Latch;
pub use task::Tasks;
