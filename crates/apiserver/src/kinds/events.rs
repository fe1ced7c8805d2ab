//! The group `events.k8s.io`: core's events under newer names, over one table.

pub mod event;
