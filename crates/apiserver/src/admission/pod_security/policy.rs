//! What a namespace's labels ask for; pure. Follows upstream's `pod-security-admission/api`.

use std::fmt;

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
const ENFORCE_VERSION: &str = "pod-security.kubernetes.io/enforce-version";
const AUDIT: &str = "pod-security.kubernetes.io/audit";
const AUDIT_VERSION: &str = "pod-security.kubernetes.io/audit-version";
const WARN: &str = "pod-security.kubernetes.io/warn";
const WARN_VERSION: &str = "pod-security.kubernetes.io/warn-version";

/// How strict; in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    #[default]
    Privileged,
    Baseline,
    Restricted,
}

/// `latest` is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32);

impl Version {
    pub(super) const LATEST: Self = Self(u32::MAX);

    /// `v1.MINOR`.
    pub(super) const fn minor(minor: u32) -> Self {
        Self(minor)
    }
}

/// A level as of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standard {
    pub(super) level: Level,
    pub(super) version: Version,
}

impl Default for Standard {
    fn default() -> Self {
        Self { level: Level::Privileged, version: Version::LATEST }
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::LATEST => write!(f, "{level}:latest"),
            Version(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

/// What applies in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) enforce: Standard,
    pub(super) audit: Standard,
    pub(super) warn: Standard,
}

impl Policy {
    /// True if nobody is told of anything.
    pub(super) fn is_open(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|standard| standard.level == Level::Privileged)
    }

    /// What is asked for beyond nothing, in few words.
    pub(super) fn brief(&self) -> String {
        let modes = [("enforce", self.enforce), ("audit", self.audit), ("warn", self.warn)];
        let strict = modes.iter().filter(|(_, standard)| standard.level != Level::Privileged);
        let told: Vec<String> = strict.map(|(mode, standard)| format!("{mode}={standard}")).collect();
        if told.is_empty() { "privileged".to_owned() } else { told.join(", ") }
    }
}

/// A label that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) why: &'static str,
}

pub(super) fn level(text: &str) -> Option<Level> {
    match text {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    }
}

pub(super) fn version(text: &str) -> Option<Version> {
    if text == "latest" {
        return Some(Version::LATEST);
    }
    let digits = text.strip_prefix("v1.")?;
    let plain = digits == "0" || !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).map(Version)
}

impl Policy {
    /// True for a label that is read here.
    pub(super) fn is_label(key: &str) -> bool {
        [ENFORCE, ENFORCE_VERSION, AUDIT, AUDIT_VERSION, WARN, WARN_VERSION].contains(&key)
    }

    /// Reads labels over what applies without them. What is not understood enforces the strictest, and tells nobody; what is told of defaults to what
    /// is enforced.
    pub(super) fn of<'a>(
        labels: impl Iterator<Item = (impl AsRef<str> + 'a, impl AsRef<str> + 'a)>,
        defaults: Self,
    ) -> (Self, Vec<Fault>) {
        let mut policy = defaults;
        let mut faults = Vec::new();
        let (mut enforced, mut audited, mut warned) = (false, false, false);
        for (key, value) in labels {
            let value = value.as_ref();
            let mut fault = |label, why| faults.push(Fault { label, value: value.to_owned(), why });
            let modes = [
                (ENFORCE, ENFORCE_VERSION, &mut policy.enforce, &mut enforced, Level::Restricted),
                (AUDIT, AUDIT_VERSION, &mut policy.audit, &mut audited, Level::Privileged),
                (WARN, WARN_VERSION, &mut policy.warn, &mut warned, Level::Privileged),
            ];
            for (level_label, version_label, standard, given, otherwise) in modes {
                if key.as_ref() == level_label {
                    let read = level(value);
                    *given = read.is_some() || level_label != ENFORCE;
                    standard.level = read.unwrap_or(otherwise);
                    if read.is_none() {
                        fault(level_label, "must be one of privileged, baseline, restricted");
                    }
                } else if key.as_ref() == version_label {
                    let read = version(value);
                    standard.version = read.unwrap_or(Version::LATEST);
                    if read.is_none() {
                        fault(version_label, "must be \"latest\" or \"v1.x\"");
                    }
                }
            }
        }
        if enforced {
            for (standard, given) in [(&mut policy.audit, audited), (&mut policy.warn, warned)] {
                if !given && policy.enforce.level > standard.level {
                    *standard = policy.enforce;
                }
            }
        }
        (policy, faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_upstream_reads_them() {
        for (labels, expected) in [
            (vec![], "privileged:latest privileged:latest privileged:latest"),
            (vec![(ENFORCE, "baseline")], "baseline:latest baseline:latest baseline:latest"),
            (
                vec![(ENFORCE, "restricted"), (ENFORCE_VERSION, "v1.24"), (WARN, "privileged")],
                "restricted:v1.24 restricted:v1.24 privileged:latest",
            ),
            (vec![(ENFORCE, "odd")], "restricted:latest privileged:latest privileged:latest"),
            (
                vec![(WARN, "odd"), (WARN_VERSION, "v1.02")],
                "privileged:latest privileged:latest privileged:latest",
            ),
        ] {
            let (policy, faults) = Policy::of(labels.iter().copied(), Policy::default());
            let shown = format!("{} {} {}", policy.enforce, policy.audit, policy.warn);
            assert_eq!(shown, expected, "{labels:?}");
            let odd = labels.iter().filter(|(_, value)| ["odd", "v1.02"].contains(value)).count();
            assert_eq!(faults.len(), odd, "{labels:?}");
        }
    }
}
