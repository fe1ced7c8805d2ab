//! Kinds of the group `resource.k8s.io`: devices, who offers them, and who asks for them.
//!
//! Checked as upstream's `pkg/apis/resource/validation` does; selectors of devices must compile.

mod claim;
pub mod device_class;
pub mod device_taint_rule;
pub mod resource_claim;
pub mod resource_claim_template;
pub mod resource_slice;
