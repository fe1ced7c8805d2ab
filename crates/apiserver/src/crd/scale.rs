//! Where a custom resource keeps how many there are to be and are.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceSubresourceScale;

use super::path::Path;

/// The paths of `subresources.scale`.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) wanted: Path,
    pub(crate) found: Path,
    pub(crate) selector: Option<Path>,
}

impl Paths {
    /// Where built-in kinds keep it; their selector is in their spec and no text.
    pub(crate) fn usual() -> Self {
        let path = |text: &str| Path::parse(text).unwrap_or_else(|_| Path::nowhere());
        Self { wanted: path(".spec.replicas"), found: path(".status.replicas"), selector: None }
    }

    /// The paths that a definition names; validation has judged them.
    pub(super) fn of(scale: &CustomResourceSubresourceScale) -> Self {
        let path = |text: &str| Path::parse(text).unwrap_or_else(|_| Path::nowhere());
        let selector = scale.label_selector_path.as_deref().filter(|text| !text.is_empty());
        Self {
            wanted: path(&scale.spec_replicas_path),
            found: path(&scale.status_replicas_path),
            selector: selector.map(path),
        }
    }
}
