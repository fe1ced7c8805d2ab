//! Which pods this node should run: from the API, from files, from a URL; all in one shape.
//!
//! A source first says all its pods and then what changes. Pods are known by uid; a source that lost track says all
//! of them again.

pub mod api;
pub mod files;

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;

use files::FilesError;

/// Something a source says.
#[derive(Debug, Clone)]
pub enum Change {
    /// These are all its pods.
    Reset(Vec<Arc<Pod>>),
    /// This pod is new or changed.
    Put(Arc<Pod>),
    /// The pod of this uid is not wanted any more.
    Gone(String),
}

/// A source's changes, without end.
pub type Source = BoxStream<'static, Change>;

/// A source of whole sets, such as a directory, as a source. A set that cannot be read changes nothing.
#[must_use]
pub fn of_sets(sets: BoxStream<'static, Result<Vec<Pod>, FilesError>>) -> Source {
    let changes = sets.filter_map(|set| async move {
        match set {
            Ok(pods) => Some(Change::Reset(pods.into_iter().map(Arc::new).collect())),
            Err(error) => {
                tracing::error!(%error, "manifests not read");
                None
            }
        }
    });
    changes.boxed()
}
