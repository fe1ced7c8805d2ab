//! The group `apiregistration.k8s.io`: which server answers for which group and version.

pub mod api_service;
