//! When a node is short and what it does then: thresholds and times, written as upstream's flags write them
//! (`--eviction-hard=memory.available<100Mi,nodefs.available<5%`).
//!
//! The defaults are upstream's but for disk space. A tenth of a big disk is tens of gigabytes, and a node on a laptop or a CI
//! machine would put pods out with all of that free.

use std::time::Duration;

use skiff_api::quantity::Quantity;

use super::signal::Signal;

/// Upstream's `evictionPressureTransitionPeriod`.
const TRANSITION: Duration = Duration::from_secs(300);

/// What must stay free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Least {
    /// In the signal's own unit: bytes, or a count.
    Amount(u64),
    /// Of all there is, in millionths.
    Share(u64),
    /// The smaller of a share of all there is and an amount.
    Smaller { share: u64, amount: u64 },
}

impl Least {
    const fn percent(percent: u64) -> u64 {
        percent * 10_000
    }

    /// The same where there is so much in all.
    pub(crate) fn of(self, total: u64) -> u64 {
        let part = |millionths: u64| {
            let part = u128::from(total) * u128::from(millionths) / 1_000_000;
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        match self {
            Self::Amount(amount) => amount,
            Self::Share(share) => part(share),
            Self::Smaller { share, amount } => part(share).min(amount),
        }
    }
}

/// When the node is short of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threshold {
    pub(crate) signal: Signal,
    pub(crate) least: Least,
    /// For so long less may be free before pods go; with none at all they go at once, and fast.
    pub(crate) grace: Duration,
    /// Once pods go, this much more than the least is to be free in the end.
    pub(crate) reclaim: Option<Least>,
}

impl Threshold {
    const fn hard(signal: Signal, least: Least) -> Self {
        Self { signal, least, grace: Duration::ZERO, reclaim: None }
    }

    /// Whether there is no time to lose.
    pub(crate) fn is_hard(&self) -> bool {
        self.grace.is_zero()
    }
}

/// When a node puts pods out, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub(crate) thresholds: Vec<Threshold>,
    /// How long pods get at most to end when a threshold with a grace period was crossed.
    pub(crate) max_pod_grace: Duration,
    /// For so long the node says that it is short after it ceased to be.
    pub(crate) transition: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let disk = Least::Smaller { share: Least::percent(5), amount: 1 << 30 };
        let inodes = Least::Share(Least::percent(5));
        Self {
            thresholds: vec![
                Threshold::hard(Signal::MemoryAvailable, Least::Amount(100 << 20)),
                Threshold::hard(Signal::NodeFsAvailable, disk),
                Threshold::hard(Signal::NodeFsInodesFree, inodes),
                Threshold::hard(Signal::ImageFsAvailable, disk),
                Threshold::hard(Signal::ImageFsInodesFree, inodes),
            ],
            max_pod_grace: Duration::ZERO,
            transition: TRANSITION,
        }
    }
}

/// The settings as flags give them; what is not given is as by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags<'a> {
    /// Thresholds at which pods go at once: `SIGNAL<VALUE,...`.
    pub hard: Option<&'a str>,
    /// Thresholds at which they go after a grace period: `SIGNAL<VALUE,...`.
    pub soft: Option<&'a str>,
    /// The grace periods of those: `SIGNAL=DURATION,...`.
    pub soft_grace_period: Option<&'a str>,
    /// How much more than the threshold is to be free in the end: `SIGNAL=VALUE,...`.
    pub minimum_reclaim: Option<&'a str>,
    /// How long pods get at most to end at a soft threshold.
    pub max_pod_grace_period: Option<Duration>,
    /// How long the node goes on saying that it is short.
    pub pressure_transition_period: Option<Duration>,
}

/// A list of thresholds that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// An entry without its sign.
    #[error("{entry:?} is not of the form SIGNAL{sign}VALUE, such as {example}")]
    Shape {
        /// What was written.
        entry: String,
        /// What stands between the signal and its value.
        sign: char,
        /// One that would do.
        example: &'static str,
    },
    /// A signal that this kubelet does not know.
    #[error("unsupported eviction signal {0}")]
    Signal(String),
    /// A value that is neither a quantity nor a percentage.
    #[error("{0:?} is neither a quantity, such as 1Gi, nor a percentage, such as 5%")]
    Value(String),
    /// A value that nothing can be below.
    #[error("eviction threshold {signal} must be positive: {value}")]
    NotPositive {
        /// Whose.
        signal: &'static str,
        /// What was written.
        value: String,
    },
    /// A grace period that is no duration.
    #[error("{0:?} is no duration such as 1m30s")]
    Duration(String),
    /// A soft threshold that does not say for how long.
    #[error("grace period must be specified for the soft eviction threshold {0}")]
    NoGrace(&'static str),
}

impl Settings {
    /// Never short, and puts no pod out but for what it itself uses.
    #[must_use]
    pub fn without_thresholds() -> Self {
        Self { thresholds: Vec::new(), ..Self::default() }
    }

    /// Reads flags.
    ///
    /// # Errors
    /// [`SettingsError`] for the first list that is not one.
    pub fn read(flags: &Flags<'_>) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        if let Some(hard) = flags.hard {
            settings.thresholds = thresholds(hard)?;
        }
        let graces: Vec<(Signal, Duration)> = pairs(flags.soft_grace_period, '=', "memory.available=1m30s")?
            .into_iter()
            .map(|(signal, text)| {
                let period = skiff_base::duration::parse(text);
                Ok((signal, period.ok_or_else(|| SettingsError::Duration(text.to_owned()))?))
            })
            .collect::<Result<_, _>>()?;
        for mut threshold in thresholds(flags.soft.unwrap_or_default())? {
            let grace = graces.iter().find(|(signal, _)| *signal == threshold.signal);
            threshold.grace = grace.ok_or(SettingsError::NoGrace(threshold.signal.name()))?.1;
            settings.thresholds.push(threshold);
        }
        for (signal, text) in pairs(flags.minimum_reclaim, '=', "nodefs.available=500Mi")? {
            let more = least(text).ok_or_else(|| SettingsError::Value(text.to_owned()))?;
            for threshold in settings.thresholds.iter_mut().filter(|one| one.signal == signal) {
                threshold.reclaim = Some(more);
            }
        }
        settings.max_pod_grace = flags.max_pod_grace_period.unwrap_or(settings.max_pod_grace);
        settings.transition = flags.pressure_transition_period.unwrap_or(settings.transition);
        Ok(settings)
    }
}

fn pairs<'a>(
    list: Option<&'a str>,
    sign: char,
    example: &'static str,
) -> Result<Vec<(Signal, &'a str)>, SettingsError> {
    let entries = list.unwrap_or_default().split(',').filter(|entry| !entry.is_empty());
    let pair = |entry: &'a str| {
        let shape = || SettingsError::Shape { entry: entry.to_owned(), sign, example };
        let (name, value) = entry.split_once(sign).ok_or_else(shape)?;
        let signal = Signal::named(name).ok_or_else(|| SettingsError::Signal(name.to_owned()))?;
        Ok((signal, value))
    };
    entries.map(pair).collect()
}

/// Signals that are not named have no threshold, as upstream has it; nor do those at 0 % and 100 %.
fn thresholds(list: &str) -> Result<Vec<Threshold>, SettingsError> {
    let mut all = Vec::new();
    for (signal, value) in pairs(Some(list), '<', "nodefs.available<5%")? {
        if value == "0%" || value == "100%" {
            continue;
        }
        let least = least(value).ok_or_else(|| SettingsError::Value(value.to_owned()))?;
        if least == Least::Amount(0) {
            return Err(SettingsError::NotPositive { signal: signal.name(), value: value.to_owned() });
        }
        all.push(Threshold::hard(signal, least));
    }
    Ok(all)
}

fn least(value: &str) -> Option<Least> {
    if let Some(percent) = value.strip_suffix('%') {
        let millis = Quantity::parse(percent).ok()?.milli_value();
        return u64::try_from(millis)
            .ok()
            .filter(|millis| *millis <= 100_000)
            .map(|millis| Least::Share(millis * 10));
    }
    let amount = Quantity::parse(value).ok()?.value();
    u64::try_from(amount).ok().map(Least::Amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_big_disk_may_be_nearly_full_and_a_small_one_may_not_be_full() {
        let disk = Settings::default().thresholds[1].least;
        assert_eq!(disk.of(250 << 30), 1 << 30);
        assert_eq!(disk.of(8 << 30), (8 << 30) / 20);
    }

    #[test]
    fn flags_are_read_as_upstream_writes_them() {
        let settings = Settings::read(&Flags {
            hard: Some("memory.available<200Mi,nodefs.available<7.5%,imagefs.available<0%"),
            soft: Some("memory.available<1Gi"),
            soft_grace_period: Some("memory.available=1m30s"),
            minimum_reclaim: Some("memory.available=100Mi,nodefs.available=1%"),
            max_pod_grace_period: Some(Duration::from_secs(60)),
            pressure_transition_period: None,
        })
        .unwrap();
        let row = |signal, least, grace, reclaim| Threshold {
            signal,
            least,
            grace: Duration::from_secs(grace),
            reclaim: Some(reclaim),
        };
        assert_eq!(
            settings.thresholds,
            [
                row(Signal::MemoryAvailable, Least::Amount(200 << 20), 0, Least::Amount(100 << 20)),
                row(Signal::NodeFsAvailable, Least::Share(75_000), 0, Least::Share(10_000)),
                row(Signal::MemoryAvailable, Least::Amount(1 << 30), 90, Least::Amount(100 << 20)),
            ]
        );
        assert_eq!(settings.max_pod_grace, Duration::from_secs(60));
        assert_eq!(settings.transition, TRANSITION);
        assert_eq!(Settings::read(&Flags::default()), Ok(Settings::default()));
    }

    #[test]
    fn what_is_no_list_is_refused_in_words() {
        let hard =
            |list| Settings::read(&Flags { hard: Some(list), ..Flags::default() }).unwrap_err().to_string();
        assert!(hard("memory").contains("SIGNAL<VALUE"));
        assert_eq!(hard("cpu<1"), "unsupported eviction signal cpu");
        assert!(hard("nodefs.available<lots").contains("neither a quantity"));
        assert!(hard("nodefs.available<101%").contains("neither a quantity"));
        assert_eq!(hard("memory.available<0"), "eviction threshold memory.available must be positive: 0");
        let soft = Flags { soft: Some("memory.available<1Gi"), ..Flags::default() };
        assert_eq!(
            Settings::read(&soft).unwrap_err().to_string(),
            "grace period must be specified for the soft eviction threshold memory.available"
        );
        let soft = Flags { soft_grace_period: Some("memory.available=soon"), ..soft };
        assert_eq!(Settings::read(&soft).unwrap_err().to_string(), "\"soon\" is no duration such as 1m30s");
    }
}
