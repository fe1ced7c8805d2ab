//! The group `admissionregistration.k8s.io`: what else is asked before something is written.

pub(crate) mod expressions;
pub mod mutating_admission_policy;
pub mod mutating_admission_policy_binding;
pub mod mutating_webhook_configuration;
pub(crate) mod rules;
pub mod validating_admission_policy;
pub mod validating_admission_policy_binding;
pub mod validating_webhook_configuration;
pub(crate) mod webhook;
