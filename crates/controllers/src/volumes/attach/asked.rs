//! Attachments that were asked for and that the cache does not show yet.
//!
//! A volume that only one node may have goes to the next node when nobody else has it. The cache may be late, and a request
//! whose answer was lost may have been carried out: so what was asked for counts until the cache shows it, or the server,
//! asked when it matters, has no such attachment.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::storage::v1::VolumeAttachment;
use parking_lot::Mutex;
use skiff_client::write;

use super::plan::Wanted;
use crate::table::Ctx;

/// By the attachment's name: of which volume, to which node.
#[derive(Default)]
pub(crate) struct Asked(Mutex<HashMap<String, (String, String)>>);

impl Asked {
    /// An attachment is about to be asked for.
    pub(super) fn note(&self, attachment: &VolumeAttachment) {
        let (name, spec) = (attachment.metadata.name.clone(), &attachment.spec);
        let volume = spec.source.persistent_volume_name.clone();
        if let (Some(name), Some(volume)) = (name, volume) {
            self.0.lock().insert(name, (volume, spec.node_name.clone()));
        }
    }

    /// The wanted volumes that were asked for on another node, and may be there.
    ///
    /// # Errors
    /// If the server had to be asked and could not answer.
    pub(super) async fn elsewhere(
        &self,
        ctx: &Ctx,
        node: &str,
        wanted: &BTreeMap<String, Wanted>,
    ) -> write::Result<BTreeSet<String>> {
        let cache = ctx.cache::<VolumeAttachment>();
        let open: HashMap<String, String> = {
            let mut asked = self.0.lock();
            asked.retain(|name, _| cache.get(name).is_none());
            let others = asked.iter().filter(|(_, (volume, on))| on != node && wanted.contains_key(volume));
            others.map(|(name, (volume, _))| (name.clone(), volume.clone())).collect()
        };
        if open.is_empty() {
            return Ok(BTreeSet::new());
        }
        let there = write::list::<VolumeAttachment>(ctx.link()).await?;
        let there: BTreeSet<String> = there.into_iter().filter_map(|it| it.metadata.name).collect();
        let (held, gone): (Vec<_>, Vec<_>) = open.into_iter().partition(|(name, _)| there.contains(name));
        gone.iter().for_each(|(name, _)| drop(self.0.lock().remove(name)));
        Ok(held.into_iter().map(|(_, volume)| volume).collect())
    }
}
