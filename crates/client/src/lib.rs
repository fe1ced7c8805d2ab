//! How a component talks to the API: one [`Link`], writes through kube, reads through shared feeds.
//!
//! Invariant: nothing here knows where the server is. A component behaves alike in the server's process and across
//! the network.

pub mod config;
pub mod feed;
pub mod link;

pub use config::Remote;
pub use feed::{Delta, Feed, Topic};
pub use link::{Link, LocalFeeds};
