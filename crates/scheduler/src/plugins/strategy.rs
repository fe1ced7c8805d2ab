//! How full a node should rather be, resource by resource.

use serde::Deserialize;
use skiff_api::Errors;

use crate::plugin::BEST;

/// Scores in the configuration go up to this.
const MOST: i64 = 10;

/// A resource and how much it counts.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Resource {
    pub(crate) name: Box<str>,
    #[serde(default)]
    weight: i64,
}

/// Which nodes are better.
#[derive(Clone, Debug)]
enum Kind {
    Emptier,
    Fuller,
    /// By these points: how full in percent, and how good that is.
    Shape(Vec<(i64, i64)>),
}

/// Which nodes are better, by which resources.
pub(crate) struct Strategy {
    kind: Kind,
    resources: Vec<Resource>,
}

/// As it stands in a configuration.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Args {
    r#type: Option<String>,
    resources: Option<Vec<Resource>>,
    requested_to_capacity_ratio: Option<Ratio>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ratio {
    shape: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    #[serde(default)]
    utilization: i64,
    #[serde(default)]
    score: i64,
}

impl Default for Strategy {
    fn default() -> Self {
        let resource = |name: &str| Resource { name: name.into(), weight: 1 };
        Self { kind: Kind::Emptier, resources: vec![resource("cpu"), resource("memory")] }
    }
}

impl Args {
    /// The strategy, and what is wrong with it.
    pub(crate) fn strategy(self, errors: &mut Errors) -> Strategy {
        let mut strategy = Strategy::default();
        let kind = self.r#type.as_deref().unwrap_or("LeastAllocated");
        if let Some(resources) = self.resources.filter(|resources| !resources.is_empty()) {
            strategy.resources = resources;
        }
        for (index, resource) in strategy.resources.iter_mut().enumerate() {
            // Upstream's default for a weight that is not given.
            if resource.weight == 0 {
                resource.weight = 1;
            }
            if !(1..=100).contains(&resource.weight) {
                let why = format!("resource weight of {} not in valid range (0, 100]", resource.name);
                errors.item("resources", index, |errors| errors.invalid("weight", &resource.weight, why));
            }
        }
        let shape = self.requested_to_capacity_ratio.map(|ratio| ratio.shape);
        let field = "requestedToCapacityRatio";
        match (kind, shape) {
            ("RequestedToCapacityRatio", Some(shape)) => {
                errors.at(field, |errors| check(&shape, errors));
                let points = shape.iter().map(|point| (point.utilization, point.score * BEST / MOST));
                strategy.kind = Kind::Shape(points.collect());
            }
            ("RequestedToCapacityRatio", None) => {
                errors.required(field, "must be specified when type is RequestedToCapacityRatio");
            }
            ("LeastAllocated" | "MostAllocated", Some(_)) => {
                errors.forbidden(field, "must be nil when type is not RequestedToCapacityRatio");
            }
            ("LeastAllocated", None) => {}
            ("MostAllocated", None) => strategy.kind = Kind::Fuller,
            (other, _) => {
                let known = ["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"];
                errors.not_supported("type", other, &known);
            }
        }
        strategy
    }
}

fn check(shape: &[Point], errors: &mut Errors) {
    if shape.is_empty() {
        errors.required("shape", "at least one point must be specified");
    }
    let pairs = shape.windows(2).position(|pair| pair[0].utilization >= pair[1].utilization);
    if let Some(index) = pairs {
        errors.item("shape", index + 1, |errors| {
            let value = &shape[index + 1].utilization;
            errors.invalid("utilization", value, "values must be sorted in increasing order");
        });
    }
    for (index, point) in shape.iter().enumerate() {
        errors.item("shape", index, |errors| {
            for (field, value, most) in
                [("utilization", point.utilization, 100), ("score", point.score, MOST)]
            {
                if !(0..=most).contains(&value) {
                    errors.invalid(field, &value, format!("not in valid range [0, {most}]"));
                }
            }
        });
    }
}

impl Strategy {
    /// The weighted mean over the resources that there are; `of` gives what there is and what would be used.
    pub(crate) fn score(&self, of: impl Fn(&Resource) -> Option<(i64, i64)>) -> i64 {
        let (mut sum, mut weights) = (0, 0);
        for resource in &self.resources {
            let Some((whole, used)) = of(resource).filter(|(whole, _)| *whole > 0) else { continue };
            let score = self.kind.score(whole, used);
            // In a shape, what scores nothing does not count at all.
            if score > 0 || !matches!(self.kind, Kind::Shape(_)) {
                sum += score * resource.weight;
                weights += resource.weight;
            }
        }
        match (&self.kind, weights) {
            (_, 0) => 0,
            // Rounded, the others cut off: as upstream.
            (Kind::Shape(_), weights) => (2 * sum + weights) / (2 * weights),
            (_, weights) => sum / weights,
        }
    }
}

impl Kind {
    fn score(&self, whole: i64, used: i64) -> i64 {
        match self {
            Self::Emptier if used > whole => 0,
            Self::Emptier => share(whole - used, whole),
            Self::Fuller => share(used.min(whole), whole),
            Self::Shape(points) => on_line(points, share(used.clamp(0, whole), whole)),
        }
    }
}

/// A part of the whole, in percent; exact also for amounts of many exabytes.
fn share(part: i64, whole: i64) -> i64 {
    match part.checked_mul(BEST) {
        Some(product) => product / whole,
        None => i64::try_from(i128::from(part) * i128::from(BEST) / i128::from(whole)).unwrap_or(BEST),
    }
}

/// The height at `x` of the line through some points, level beyond its ends.
fn on_line(points: &[(i64, i64)], x: i64) -> i64 {
    let after = points.iter().position(|(at, _)| x <= *at);
    match after {
        Some(0) => points[0].1,
        Some(n) => {
            let ((x0, y0), (x1, y1)) = (points[n - 1], points[n]);
            y0 + (y1 - y0) * (x - x0) / (x1 - x0).max(1)
        }
        None => points.last().map_or(0, |(_, y)| *y),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn strategy(args: serde_json::Value) -> Result<Strategy, Vec<String>> {
        let args: Args = serde_json::from_value(args).unwrap();
        let mut errors = Errors::new();
        let strategy = args.strategy(&mut errors);
        if errors.is_empty() {
            Ok(strategy)
        } else {
            Err(errors.list().iter().map(ToString::to_string).collect())
        }
    }

    /// CPU three quarters used, memory a quarter.
    fn score(args: serde_json::Value) -> i64 {
        let of = |resource: &Resource| Some(if &*resource.name == "cpu" { (4000, 3000) } else { (8, 2) });
        strategy(args).unwrap().score(of)
    }

    #[test]
    fn each_strategy_has_its_own_best_node() {
        assert_eq!(score(json!({})), 50);
        let cpu = |kind: &str| json!({"type": kind, "resources": [{"name": "cpu", "weight": 3}, {"name": "memory"}]});
        assert_eq!(score(cpu("LeastAllocated")), (25 * 3 + 75) / 4);
        assert_eq!(score(cpu("MostAllocated")), (75 * 3 + 25) / 4);
        let shape = json!({"type": "RequestedToCapacityRatio", "resources": [{"name": "cpu", "weight": 1}],
            "requestedToCapacityRatio": {"shape": [{"utilization": 50, "score": 0}, {"utilization": 100, "score": 10}]}});
        assert_eq!(score(shape), 50);
    }

    #[test]
    fn faults_are_told_with_their_place() {
        let faults =
            strategy(json!({"type": "Tight", "resources": [{"name": "cpu", "weight": 101}]})).err().unwrap();
        assert!(faults[0].starts_with("resources[0].weight: Invalid value: 101"), "{faults:?}");
        assert!(faults[1].starts_with("type: Unsupported value: \"Tight\""), "{faults:?}");
        let shape = json!({"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": {"shape": [{"score": 11}]}});
        let faults = strategy(shape).err().unwrap();
        assert_eq!(
            faults,
            ["requestedToCapacityRatio.shape[0].score: Invalid value: 11: not in valid range [0, 10]"]
        );
    }
}
