//! Kinds of the group `autoscaling`: one stored, v2, and its view as v1.

mod convert;
pub mod horizontal_pod_autoscaler;
mod metrics;
pub mod v1;
