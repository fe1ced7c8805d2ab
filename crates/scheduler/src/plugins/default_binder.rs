//! Binds a pod by telling the server.

use k8s_openapi::api::core::v1::Pod;
use skiff_client::Link;

use crate::bind;
use crate::plugin::{Bound, Plugin};

pub(crate) struct DefaultBinder;

impl Plugin for DefaultBinder {
    fn name(&self) -> &'static str {
        "DefaultBinder"
    }

    fn bind<'a>(&self, link: &'a Link, pod: &'a Pod, node: &'a str) -> Option<Bound<'a>> {
        Some(Box::pin(bind::bind(link, pod, node)))
    }
}
