//! What a node must keep free, and how it makes room: the flags of upstream's kubelet.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use skiff_kubelet::eviction::{Flags, Settings};

/// When a node puts pods out.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct EvictionArgs {
    /// What a node keeps free by putting pods out at once [default: memory.available<100Mi, of each disk the smaller of 5% and 1Gi, 5% of inodes]
    #[arg(long, value_name = "SIGNAL<VALUE,...")]
    eviction_hard: Option<String>,
    /// What it keeps free by putting pods out after a grace period
    #[arg(long, value_name = "SIGNAL<VALUE,...")]
    eviction_soft: Option<String>,
    /// The grace periods of `--eviction-soft`
    #[arg(long, value_name = "SIGNAL=DURATION,...")]
    eviction_soft_grace_period: Option<String>,
    /// How much more than that is to be free once pods are put out
    #[arg(long, value_name = "SIGNAL=VALUE,...")]
    eviction_minimum_reclaim: Option<String>,
    /// How many seconds pods get at most to end when a soft threshold puts them out [default: 0]
    #[arg(long, value_name = "SECONDS")]
    eviction_max_pod_grace_period: Option<u32>,
    /// How long a node goes on saying that it is short [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = super::webhooks::duration)]
    eviction_pressure_transition_period: Option<Duration>,
}

impl EvictionArgs {
    /// The same again as arguments, for a process of our own.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let transition =
            self.eviction_pressure_transition_period.map(|period| format!("{}ms", period.as_millis()));
        let grace = self.eviction_max_pod_grace_period.map(|seconds| seconds.to_string());
        let flags = [
            ("--eviction-hard", &self.eviction_hard),
            ("--eviction-soft", &self.eviction_soft),
            ("--eviction-soft-grace-period", &self.eviction_soft_grace_period),
            ("--eviction-minimum-reclaim", &self.eviction_minimum_reclaim),
            ("--eviction-max-pod-grace-period", &grace),
            ("--eviction-pressure-transition-period", &transition),
        ];
        let given = flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value.clone()?]));
        given.flatten().collect()
    }

    /// What they mean.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let flags = Flags {
            hard: self.eviction_hard.as_deref(),
            soft: self.eviction_soft.as_deref(),
            soft_grace_period: self.eviction_soft_grace_period.as_deref(),
            minimum_reclaim: self.eviction_minimum_reclaim.as_deref(),
            max_pod_grace_period: self.eviction_max_pod_grace_period.map(seconds),
            pressure_transition_period: self.eviction_pressure_transition_period,
        };
        Settings::read(&flags).context("read the --eviction flags")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        eviction: EvictionArgs,
    }

    #[test]
    fn what_is_handed_on_means_the_same() {
        let given = [
            "skiff",
            "--eviction-hard=memory.available<5%",
            "--eviction-soft=memory.available<10%",
            "--eviction-soft-grace-period=memory.available=1m30s",
            "--eviction-minimum-reclaim=memory.available=1Mi",
            "--eviction-max-pod-grace-period=60",
            "--eviction-pressure-transition-period=1m30s",
        ];
        let first = Line::parse_from(given).eviction;
        let second = Line::parse_from([vec!["skiff".to_owned()], first.to_args()].concat()).eviction;
        assert_eq!(first.settings().unwrap(), second.settings().unwrap());
        assert_ne!(first.settings().unwrap(), Settings::default());
        assert_eq!(Line::parse_from(["skiff"]).eviction.settings().unwrap(), Settings::default());
    }
}
