//! How a component talks to the API: one [`Link`], writes through kube, reads through shared feeds.
//!
//! Invariant: nothing here knows where the server is. A component behaves alike in the server's process and across
//! the network.

pub mod cache;
pub mod config;
pub mod controller;
pub mod events;
pub mod feed;
pub mod lease;
pub mod link;
pub mod queue;
pub mod write;

pub use cache::{Cache, Change, Index};
pub use config::Remote;
pub use events::{EventKind, Recorder};
pub use feed::{Delta, Feed, Topic};
pub use lease::Heartbeat;
pub use link::{Link, LocalFeeds};
pub use queue::Queue;
