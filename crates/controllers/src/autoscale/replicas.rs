//! From what pods use to how many there should be; pure. Follows upstream's `replica_calculator.go`.
//!
//! Pods that cannot be trusted to show the usual load (just started, not ready, not measured) are taken for idle when
//! there is more to do, and for fully busy when there is less: so a figure that is missing never makes things worse.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use skiff_api::pod::{self, conditions};

/// How far off the target is near enough.
pub(super) const TOLERANCE: f64 = 0.1;
/// For so long a pod's CPU tells of its start, not of its work.
const SETTLES: SignedDuration = SignedDuration::from_secs(300);
/// So long after its start a pod may first become ready.
const FIRST_READY: SignedDuration = SignedDuration::from_secs(30);

/// A reading of one pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Thousandths.
    pub(super) value: i64,
    pub(super) at: Timestamp,
    pub(super) window: SignedDuration,
}

/// Readings by pod name.
pub(super) type Readings = BTreeMap<String, Reading>;

/// The pods as far as readings can be trusted.
#[derive(Debug, Default)]
struct Groups {
    ready: usize,
    unready: BTreeSet<String>,
    missing: BTreeSet<String>,
    ignored: BTreeSet<String>,
}

fn group(pods: &[Arc<Pod>], readings: &Readings, cpu: bool, now: Timestamp) -> Groups {
    let mut groups = Groups::default();
    for pod in pods {
        let name = pod.metadata.name.clone().unwrap_or_default();
        if pod.metadata.deletion_timestamp.is_some() || pod::phase(pod) == "Failed" {
            groups.ignored.insert(name);
        } else if pod::phase(pod) == "Pending" {
            groups.unready.insert(name);
        } else if let Some(reading) = readings.get(&name) {
            if cpu && !shows_its_load(pod, reading, now) {
                groups.unready.insert(name);
            } else {
                groups.ready += 1;
            }
        } else {
            groups.missing.insert(name);
        }
    }
    groups
}

fn shows_its_load(pod: &Pod, reading: &Reading, now: Timestamp) -> bool {
    let condition = conditions::find(pod, conditions::READY);
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let (Some(condition), Some(started)) = (condition, started) else { return false };
    let ready = condition.status != "False";
    let Some(since) = condition.last_transition_time.as_ref() else { return ready };
    if started.0 + SETTLES > now {
        // The reading must be of a time when it was ready already.
        return ready && reading.at >= since.0 + reading.window;
    }
    ready || started.0 + FIRST_READY <= since.0
}

/// What is wanted of each pod.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// A share of what pods ask for, in percent.
    Utilization(i64),
    /// So much per pod, in thousandths.
    Average(i64),
}

/// The answer: how many, and what was measured.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) replicas: i32,
    /// Percent, where a share was asked for.
    pub(super) utilization: Option<i32>,
    /// Per pod, in thousandths.
    pub(super) average: i64,
}

/// What a calculation works with.
pub(super) struct Scene<'a> {
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) current: i32,
    /// What each pod asks for, in thousandths; empty for [`Target::Average`].
    pub(super) requests: &'a BTreeMap<String, i64>,
    /// Whether readings are of CPU, which tells little of pods that have just started.
    pub(super) cpu: bool,
    /// How far below and above the target is near enough.
    pub(super) tolerance: (f64, f64),
    pub(super) now: Timestamp,
}

/// How many pods there should be.
///
/// # Errors
/// Why that cannot be told.
pub(super) fn replicas(scene: &Scene<'_>, mut readings: Readings, target: Target) -> Result<Answer, String> {
    if scene.pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".to_owned());
    }
    let groups = group(scene.pods, &readings, scene.cpu, scene.now);
    readings.retain(|name, _| !groups.ignored.contains(name) && !groups.unready.contains(name));
    if readings.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
    }
    let mut values: BTreeMap<String, i64> = readings.into_iter().map(|(name, it)| (name, it.value)).collect();
    let (ratio, utilization, average) = usage(scene, &values, target)?;
    let answer = |replicas| Ok(Answer { replicas, utilization, average });
    let near = |ratio: f64| (1.0 - scene.tolerance.0..=1.0 + scene.tolerance.1).contains(&ratio);
    let more_with_unready = !groups.unready.is_empty() && ratio > 1.0;
    if !more_with_unready && groups.missing.is_empty() {
        if near(ratio) {
            return answer(scene.current);
        }
        return answer(times(ratio, groups.ready));
    }
    for name in &groups.missing {
        let full = match target {
            Target::Utilization(percent) => {
                scene.requests.get(name).copied().unwrap_or(0) * percent.max(100) / 100
            }
            Target::Average(value) => value,
        };
        if ratio < 1.0 {
            values.insert(name.clone(), full);
        } else if ratio > 1.0 {
            values.insert(name.clone(), 0);
        }
    }
    if more_with_unready {
        values.extend(groups.unready.iter().map(|name| (name.clone(), 0)));
    }
    let (again, ..) = usage(scene, &values, target)?;
    if near(again) || (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0) {
        return answer(scene.current);
    }
    let wanted = times(again, values.len());
    if (again < 1.0 && wanted > scene.current) || (again > 1.0 && wanted < scene.current) {
        return answer(scene.current);
    }
    answer(wanted)
}

/// The ratio to the target, the share in percent, and the average in thousandths.
fn usage(
    scene: &Scene<'_>,
    values: &BTreeMap<String, i64>,
    target: Target,
) -> Result<(f64, Option<i32>, i64), String> {
    let total: i64 = values.values().sum();
    let average = total / i64::try_from(values.len()).unwrap_or(i64::MAX).max(1);
    match target {
        Target::Average(wanted) => {
            Ok((super::measure::float(average) / super::measure::float(wanted), None, average))
        }
        Target::Utilization(wanted) => {
            let asked: i64 = values.keys().filter_map(|name| scene.requests.get(name)).sum();
            if asked == 0 {
                return Err("no metrics returned matched known pods".to_owned());
            }
            let percent = total * 100 / asked;
            let ratio = super::measure::float(percent) / super::measure::float(wanted);
            Ok((ratio, Some(i32::try_from(percent).unwrap_or(i32::MAX)), average))
        }
    }
}

/// `ratio` times `count`, rounded up.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "counts of pods are small")]
pub(super) fn times(ratio: f64, count: usize) -> i32 {
    (ratio * count as f64).ceil() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// Pods `p0`, `p1` ... of these sorts: `r`eady, `p`ending, `n`ew.
    fn pods(sorts: &str) -> Vec<Arc<Pod>> {
        let pod = |(n, sort): (usize, char)| {
            let (phase, started) = match sort {
                'p' => ("Pending", at(-9000)),
                'n' => ("Running", at(-20)),
                _ => ("Running", at(-9000)),
            };
            let text = format!(
                "{{metadata: {{name: p{n}}}, status: {{phase: {phase}, startTime: '{started}', conditions: \
                 [{{type: Ready, status: 'True', lastTransitionTime: '{started}'}}]}}}}"
            );
            Arc::new(serde_saphyr::from_str(&text).unwrap())
        };
        sorts.chars().enumerate().map(pod).collect()
    }

    fn wanted(sorts: &str, values: &[i64], target: Target) -> Result<i32, String> {
        let pods = pods(sorts);
        let reading =
            |value: &i64| Reading { value: *value, at: at(-5), window: SignedDuration::from_secs(30) };
        let readings =
            values.iter().enumerate().map(|(n, value)| (format!("p{n}"), reading(value))).collect();
        let requests = pods.iter().map(|pod| (pod.metadata.name.clone().unwrap(), 1000)).collect();
        let scene = Scene {
            current: i32::try_from(pods.len()).unwrap(),
            pods: &pods,
            requests: &requests,
            cpu: true,
            tolerance: (TOLERANCE, TOLERANCE),
            now: at(0),
        };
        replicas(&scene, readings, target).map(|answer| answer.replicas)
    }

    #[test]
    fn load_above_the_target_asks_for_more_and_below_for_less() {
        let half = Target::Utilization(50);
        assert_eq!(wanted("rrr", &[500, 500, 500], half), Ok(3));
        assert_eq!(wanted("rrr", &[520, 540, 530], half), Ok(3), "near enough");
        assert_eq!(wanted("rrr", &[900, 900, 900], half), Ok(6));
        assert_eq!(wanted("rrr", &[100, 100, 100], half), Ok(1));
        assert_eq!(wanted("rr", &[300, 500], Target::Average(100)), Ok(8));
        assert!(wanted("rr", &[], half).is_err());
        assert!(wanted("", &[], half).is_err());
    }

    #[test]
    fn what_is_not_known_never_makes_it_worse() {
        let half = Target::Utilization(50);
        // Missing ones count as idle when there is more to do, as busy when there is less.
        assert_eq!(wanted("rrr", &[900, 900], half), Ok(4));
        assert_eq!(wanted("rrr", &[100, 100], half), Ok(3));
        // A new pod's CPU is that of its start.
        assert_eq!(wanted("rrn", &[900, 900, 5000], half), Ok(4));
        assert_eq!(wanted("rp", &[600], half), Ok(2));
    }
}
