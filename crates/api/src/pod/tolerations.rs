//! Taints and what tolerates them.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// New pods stay away.
pub const NO_SCHEDULE: &str = "NoSchedule";
/// New pods rather stay away.
pub const PREFER_NO_SCHEDULE: &str = "PreferNoSchedule";
/// Running pods leave as well.
pub const NO_EXECUTE: &str = "NoExecute";

/// Whether a toleration covers a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.as_deref().unwrap_or_default().to_owned();
    let (key, effect) = (given(&toleration.key), given(&toleration.effect));
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    if !key.is_empty() && key != taint.key {
        return false;
    }
    let theirs = taint.value.as_deref().unwrap_or_default();
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => toleration.value.as_deref().unwrap_or_default() == theirs,
        "Exists" => true,
        other => {
            // `Lt` and `Gt` compare the taint's value with the toleration's, both whole numbers.
            let ours = toleration.value.as_deref().and_then(|value| value.parse::<i64>().ok());
            match (other, theirs.parse::<i64>().ok(), ours) {
                ("Lt", Some(theirs), Some(ours)) => theirs < ours,
                ("Gt", Some(theirs), Some(ours)) => theirs > ours,
                _ => false,
            }
        }
    }
}

/// The first taint with one of `effects` that nothing tolerates.
pub fn untolerated<'a>(
    taints: &'a [Taint],
    tolerations: &[Toleration],
    effects: &[&str],
) -> Option<&'a Taint> {
    let covered = |taint: &Taint| tolerations.iter().any(|toleration| tolerates(toleration, taint));
    taints.iter().filter(|taint| effects.contains(&taint.effect.as_str())).find(|taint| !covered(taint))
}

/// How long a pod with these tolerations may stay on a node with these taints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// For ever.
    Forever,
    /// It must go now.
    No,
    /// So long from the moment the taint came.
    For(Duration),
}

/// What the `NoExecute` taints of a node mean for a pod; the shortest `tolerationSeconds` counts.
pub fn stay(taints: &[Taint], tolerations: &[Toleration]) -> Stay {
    let driving: Vec<&Taint> = taints.iter().filter(|taint| taint.effect == NO_EXECUTE).collect();
    if driving.is_empty() {
        return Stay::Forever;
    }
    let mut used: Vec<&Toleration> = Vec::new();
    for taint in &driving {
        let before = used.len();
        used.extend(tolerations.iter().filter(|toleration| tolerates(toleration, taint)).take(1));
        if used.len() == before {
            return Stay::No;
        }
    }
    match used.iter().filter_map(|toleration| toleration.toleration_seconds).min() {
        None => Stay::Forever,
        Some(seconds) if seconds <= 0 => Stay::No,
        Some(seconds) => Stay::For(Duration::from_secs(seconds.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(json: &str) -> Toleration {
        serde_json::from_str(json).unwrap()
    }

    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        Taint { key: key.into(), value: Some(value.into()), effect: effect.into(), time_added: None }
    }

    #[test]
    fn equality_existence_and_wildcards() {
        let gpu = taint("gpu", "yes", NO_SCHEDULE);
        for (given, expected) in [
            (r#"{"operator":"Exists"}"#, true),
            (r#"{"key":"gpu","operator":"Exists"}"#, true),
            (r#"{"key":"gpu","value":"yes"}"#, true),
            (r#"{"key":"gpu","value":"no"}"#, false),
            (r#"{"key":"gpu","value":"yes","effect":"NoExecute"}"#, false),
            (r#"{"key":"cpu","operator":"Exists"}"#, false),
        ] {
            assert_eq!(tolerates(&toleration(given), &gpu), expected, "{given}");
        }
    }

    #[test]
    fn the_shortest_toleration_decides_how_long_a_pod_stays() {
        let taints = [taint("a", "", NO_EXECUTE), taint("b", "", NO_EXECUTE), taint("c", "", NO_SCHEDULE)];
        let a = toleration(r#"{"key":"a","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}"#);
        let b = toleration(r#"{"key":"b","operator":"Exists","effect":"NoExecute","tolerationSeconds":20}"#);
        let always = toleration(r#"{"key":"b","operator":"Exists"}"#);
        assert_eq!(stay(&taints, std::slice::from_ref(&a)), Stay::No);
        assert_eq!(stay(&taints, &[a.clone(), b]), Stay::For(Duration::from_secs(20)));
        assert_eq!(stay(&taints, &[a, always]), Stay::For(Duration::from_secs(300)));
        assert_eq!(stay(&taints[2..], &[]), Stay::Forever);
    }
}
