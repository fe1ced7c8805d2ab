//! How much of a volume is used, and how it is, as its driver tells.

use super::Driven;
use crate::csi::proto::{BYTES, INODES, NodeGetVolumeStats, VolumeStats};
use crate::volume::Usage;

impl Driven {
    /// Asks the driver; none if it does not tell.
    pub(in crate::volume) async fn usage(&self) -> Option<Usage> {
        let driver = self.drivers.find(&self.wanted.driver).filter(|driver| driver.counts_usage())?;
        let request = NodeGetVolumeStats {
            volume_id: self.wanted.handle.clone(),
            volume_path: self.paths.target.display().to_string(),
            staging_target_path: self.wanted.staging(&driver, &self.paths),
        };
        match driver.plugin.stats(request).await {
            Ok(stats) => Some(usage(&stats, driver.knows_condition())),
            Err(refusal) => {
                tracing::debug!(volume = self.wanted.name, %refusal, "the use of a volume is not known");
                None
            }
        }
    }
}

fn usage(stats: &VolumeStats, knows_condition: bool) -> Usage {
    let of = |unit: i32| {
        let one = stats.usage.iter().find(|one| one.unit == unit)?;
        Some([one.available, one.total, one.used].map(|count| u64::try_from(count).unwrap_or(0)))
    };
    let condition = stats.volume_condition.as_ref().filter(|_| knows_condition);
    Usage { bytes: of(BYTES), inodes: of(INODES), abnormal: condition.map(|condition| condition.abnormal) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csi::proto::{VolumeCondition, VolumeUsage};

    #[test]
    fn usage_is_by_unit_and_a_condition_counts_only_from_who_knows() {
        let one = |unit| VolumeUsage { available: 1, total: 3, used: 2, unit };
        let ill = VolumeCondition { abnormal: true, message: "torn".to_owned() };
        let stats = VolumeStats { usage: vec![one(INODES), one(7)], volume_condition: Some(ill) };
        assert_eq!(usage(&stats, true), Usage { bytes: None, inodes: Some([1, 3, 2]), abnormal: Some(true) });
        assert_eq!(usage(&stats, false).abnormal, None);
    }
}
