//! A request's way in, a watch's way out; the only component that sees the store.
//!
//! Invariant: components of this process enter by the same service as everybody else, with their `User` attached;
//! there is no second door and no exempted check. The one shortcut is reading through local feeds.

pub mod kinds;
