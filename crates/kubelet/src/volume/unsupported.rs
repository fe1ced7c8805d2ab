//! Kinds of volumes this node cannot make: said clearly, instead of a pod that starts without its data.

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Volume;

use super::Problem;
use super::kind::{Job, Kind, Place};

pub(super) struct UnsupportedKind;
pub(super) const KIND: UnsupportedKind = UnsupportedKind;

impl Kind for UnsupportedKind {
    fn plugin(&self) -> &'static str {
        "skiff.dev/unsupported"
    }

    fn has(&self, _: &Volume) -> bool {
        true
    }

    fn place<'a>(&'a self, job: &'a Job<'a>) -> BoxFuture<'a, Result<Place, Problem>> {
        let text = match &job.volume.git_repo {
            Some(_) => "gitRepo volumes are not supported: clone in an init container".to_owned(),
            None => format!("volumes of type {} are not supported by this node", source(job.volume)),
        };
        Box::pin(async move { Err(Problem::new(text)) })
    }
}

/// The source's name as the user wrote it.
fn source(volume: &Volume) -> String {
    let value = skiff_api::decode::tree(volume).unwrap_or_default();
    let fields = value.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    fields.filter(|name| *name != "name").collect::<Vec<_>>().join(", ")
}
