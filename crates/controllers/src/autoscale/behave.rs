//! How fast and how far an autoscaler may go; pure. Follows upstream's `horizontal.go`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerSpec};

/// Where nothing else is said, so long nothing shrinks below what was wanted lately.
const STEADY_DOWN: i32 = 300;
/// The longest that anything is remembered.
const LONGEST: SignedDuration = SignedDuration::from_secs(3600);

/// Recommendations and changes of the past.
#[derive(Default)]
pub(super) struct History {
    recommended: Vec<(Timestamp, i32)>,
    /// By how much it grew or, negative, shrank.
    changes: Vec<(Timestamp, i32)>,
}

impl History {
    /// It was scaled.
    pub(super) fn changed(&mut self, from: i32, to: i32, now: Timestamp) {
        self.changes.retain(|(at, _)| now.duration_since(*at) < LONGEST);
        self.changes.push((now, to - from));
    }

    /// By how much it grew (`up`) or shrank within the last `seconds`.
    fn within(&self, seconds: i32, up: bool, now: Timestamp) -> i32 {
        let since = SignedDuration::from_secs(i64::from(seconds));
        let recent =
            self.changes.iter().filter(|(at, by)| now.duration_since(*at) < since && (*by > 0) == up);
        recent.map(|(_, by)| by.abs()).sum()
    }
}

/// A condition: kind, status, reason, message.
pub(super) type Condition = (&'static str, &'static str, &'static str, &'static str);

/// What it may become.
pub(super) struct Verdict {
    pub(super) replicas: i32,
    pub(super) conditions: Vec<Condition>,
}

/// Steadies a recommendation and keeps it within the allowed pace and range.
pub(super) fn limit(
    spec: &HorizontalPodAutoscalerSpec,
    current: i32,
    wanted: i32,
    history: &mut History,
    now: Timestamp,
) -> Verdict {
    let behavior = spec.behavior.clone();
    let up = behavior.as_ref().and_then(|behavior| behavior.scale_up.clone());
    let down = behavior.as_ref().and_then(|behavior| behavior.scale_down.clone());
    let window = |rules: Option<&HPAScalingRules>, usual: i32| {
        let seconds = rules.and_then(|rules| rules.stabilization_window_seconds).unwrap_or(usual);
        SignedDuration::from_secs(i64::from(seconds))
    };
    let steady =
        steady(current, wanted, history, (window(up.as_ref(), 0), window(down.as_ref(), STEADY_DOWN)), now);
    let calm = if steady > wanted {
        let message =
            "recent recommendations were higher than current one, applying the highest recent recommendation";
        ("AbleToScale", "True", "ScaleDownStabilized", message)
    } else if steady < wanted {
        let message =
            "recent recommendations were lower than current one, applying the lowest recent recommendation";
        ("AbleToScale", "True", "ScaleUpStabilized", message)
    } else {
        ("AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size")
    };
    let least = spec.min_replicas.unwrap_or(1);
    let (replicas, why) = if steady > current {
        let pace = match &behavior {
            Some(_) => edge(&rules(up, true), true, current, history, now),
            None => (2 * current).max(4),
        };
        let highest = spec.max_replicas.min(pace.max(current));
        let capped = if pace.max(current) >= spec.max_replicas {
            ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
        } else {
            ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
        };
        (steady.min(highest), (steady > highest).then_some(capped))
    } else if steady < current {
        let pace = match &behavior {
            Some(_) => edge(&rules(down, false), false, current, history, now),
            None => 0,
        };
        let lowest = least.max(pace.min(current));
        let capped = if pace.min(current) <= least {
            ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
        } else {
            ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
        };
        (steady.max(lowest), (steady < lowest).then_some(capped))
    } else {
        (steady.clamp(least, spec.max_replicas.max(least)), None)
    };
    let limited = match why {
        Some((reason, message)) => ("ScalingLimited", "True", reason, message),
        None => {
            let message = "the desired count is within the acceptable range";
            ("ScalingLimited", "False", "DesiredWithinRange", message)
        }
    };
    Verdict { replicas, conditions: vec![calm, limited] }
}

/// Not below what was wanted lately, nor above what was wanted all the time.
fn steady(
    current: i32,
    wanted: i32,
    history: &mut History,
    (up, down): (SignedDuration, SignedDuration),
    now: Timestamp,
) -> i32 {
    history.recommended.retain(|(at, _)| now.duration_since(*at) < LONGEST);
    let within = |window: SignedDuration| {
        let recent = history.recommended.iter().filter(move |(at, _)| now.duration_since(*at) < window);
        recent.map(|(_, wanted)| *wanted).chain([wanted])
    };
    let lowest = within(up).min().unwrap_or(wanted);
    let highest = within(down).max().unwrap_or(wanted);
    history.recommended.push((now, wanted));
    if current < lowest {
        lowest
    } else if current > highest {
        highest
    } else {
        current
    }
}

/// The rules with upstream's defaults where nothing is said.
fn rules(given: Option<HPAScalingRules>, up: bool) -> HPAScalingRules {
    let mut rules = given.unwrap_or_default();
    if rules.policies.as_ref().is_none_or(Vec::is_empty) {
        let policy =
            |type_: &str, value| HPAScalingPolicy { type_: type_.to_owned(), value, period_seconds: 15 };
        let mut policies = vec![policy("Percent", 100)];
        if up {
            policies.push(policy("Pods", 4));
        }
        rules.policies = Some(policies);
    }
    rules
}

/// As far as the rules let it go, up or down.
fn edge(rules: &HPAScalingRules, up: bool, current: i32, history: &History, now: Timestamp) -> i32 {
    let select = rules.select_policy.as_deref().unwrap_or("Max");
    if select == "Disabled" {
        return current;
    }
    let limits = rules.policies.iter().flatten().map(|policy| {
        let before = current - history.within(policy.period_seconds, true, now)
            + history.within(policy.period_seconds, false, now);
        let step = if up { policy.value } else { policy.value.saturating_neg() };
        match policy.type_.as_str() {
            "Pods" => before.saturating_add(step),
            _ => {
                let share = i64::from(before) * (100 + i64::from(step));
                // Up is rounded up, down is rounded down.
                let share = if up { (share + 99).div_euclid(100) } else { share.div_euclid(100) };
                i32::try_from(share).unwrap_or(if up { i32::MAX } else { 0 })
            }
        }
    });
    // The greatest change is the highest limit on the way up, and the lowest on the way down.
    if (select == "Min") == up { limits.min() } else { limits.max() }.unwrap_or(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn spec(behavior: &str) -> HorizontalPodAutoscalerSpec {
        serde_saphyr::from_str(&format!(
            "{{minReplicas: 2, maxReplicas: 20, scaleTargetRef: {{kind: Deployment, name: web}}{behavior}}}"
        ))
        .unwrap()
    }

    fn told(verdict: &Verdict) -> (i32, &'static str, &'static str) {
        (verdict.replicas, verdict.conditions[0].2, verdict.conditions[1].2)
    }

    #[test]
    fn it_grows_at_once_but_no_faster_than_it_may_and_never_beyond_its_range() {
        let mut history = History::default();
        let mut ask = |current, wanted| told(&limit(&spec(""), current, wanted, &mut history, at(0)));
        assert_eq!(ask(3, 5), (5, "ReadyForNewScale", "DesiredWithinRange"));
        assert_eq!(ask(3, 9), (6, "ReadyForNewScale", "ScaleUpLimit"));
        assert_eq!(ask(12, 90), (20, "ReadyForNewScale", "TooManyReplicas"));
    }

    #[test]
    fn it_shrinks_only_when_less_was_wanted_for_a_while() {
        let mut history = History::default();
        let spec = spec("");
        assert_eq!(limit(&spec, 6, 6, &mut history, at(0)).replicas, 6);
        let early = limit(&spec, 6, 1, &mut history, at(100));
        assert_eq!(told(&early), (6, "ScaleDownStabilized", "DesiredWithinRange"));
        let late = limit(&spec, 6, 1, &mut history, at(301));
        assert_eq!(told(&late), (2, "ReadyForNewScale", "TooFewReplicas"));
    }

    #[test]
    fn rules_set_the_pace_by_pods_or_percent_within_their_period() {
        let slow = spec(
            ", behavior: {scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 1, periodSeconds: 60}]}, \
             scaleUp: {policies: [{type: Percent, value: 50, periodSeconds: 60}]}}",
        );
        let mut history = History::default();
        assert_eq!(
            told(&limit(&slow, 10, 3, &mut history, at(0))),
            (9, "ReadyForNewScale", "ScaleDownLimit")
        );
        history.changed(10, 9, at(0));
        assert_eq!(limit(&slow, 9, 3, &mut history, at(30)).replicas, 9);
        assert_eq!(limit(&slow, 9, 3, &mut history, at(61)).replicas, 8);
        let mut history = History::default();
        assert_eq!(limit(&slow, 4, 20, &mut history, at(0)).replicas, 6);
        let never = spec(", behavior: {scaleUp: {selectPolicy: Disabled}}");
        assert_eq!(limit(&never, 4, 20, &mut history, at(0)).replicas, 4);
    }
}
