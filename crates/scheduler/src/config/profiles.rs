//! One profile of the file, merged with upstream's defaults: all plugins at all points, except where it says otherwise.

use serde::Deserialize;
use serde_json::Value;
use skiff_api::Errors;

use super::{args, percent};
use crate::NAME;
use crate::plugins::{self, Row};
use crate::profile::{Points, Preemption, Profile, Seat};

/// Plugins that are part of Skiff's queue and loop; they take no seat.
const BUILT_IN: [&str; 3] = ["PrioritySort", "SchedulingGates", "DefaultBinder"];
const PREEMPTION: &str = "DefaultPreemption";

/// A profile as it stands in the file.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Given {
    scheduler_name: Option<String>,
    percentage_of_nodes_to_score: Option<i64>,
    plugins: Plugins,
    plugin_config: Vec<Config>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Plugins {
    multi_point: Set,
    pre_enqueue: Set,
    queue_sort: Set,
    pre_filter: Set,
    filter: Set,
    post_filter: Set,
    pre_score: Set,
    score: Set,
    reserve: Set,
    permit: Set,
    pre_bind: Set,
    bind: Set,
    post_bind: Set,
}

/// What changes at one point.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Set {
    enabled: Vec<Named>,
    disabled: Vec<Named>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    weight: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    name: String,
    args: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PreemptionArgs {
    min_candidate_nodes_percentage: Option<i64>,
    min_candidate_nodes_absolute: Option<i64>,
}

/// All profiles; without any, the default one.
pub(super) fn read(given: Vec<Given>, everywhere: Option<usize>, errors: &mut Errors) -> Vec<Profile> {
    if given.is_empty() {
        return vec![Profile { percent: everywhere, ..Profile::default() }];
    }
    let only = given.len() == 1;
    let mut profiles: Vec<Profile> = Vec::new();
    for (index, given) in given.iter().enumerate() {
        let profile = errors.item("profiles", index, |errors| {
            let name = match given.scheduler_name.as_deref().unwrap_or_default() {
                "" if only => NAME,
                "" => {
                    errors.required("schedulerName", "");
                    ""
                }
                name => name,
            };
            if !name.is_empty() && profiles.iter().any(|other| &*other.name == name) {
                errors.duplicate("schedulerName", name);
            }
            given.read(name, everywhere, errors)
        });
        profiles.push(profile);
    }
    profiles
}

impl Given {
    fn read(&self, name: &str, everywhere: Option<usize>, errors: &mut Errors) -> Profile {
        errors.at("plugins", |errors| self.plugins.check(errors));
        for (index, config) in self.plugin_config.iter().enumerate() {
            let twice = self.plugin_config[..index].iter().any(|other| other.name == config.name);
            errors.item("pluginConfig", index, |errors| check(config, twice, errors));
        }
        let own = percent(self.percentage_of_nodes_to_score, errors);
        let seats = plugins::ALL.iter().filter_map(|row| self.seat(row, errors)).collect();
        let preempts =
            self.plugins.post_filter.has(PREEMPTION, self.plugins.multi_point.has(PREEMPTION, true));
        let preemption = self.with_args(PREEMPTION, errors, preemption);
        let preemption = preempts.then(|| preemption.unwrap_or_default());
        Profile { name: name.into(), seats, percent: own.or(everywhere), preemption }
    }

    /// A plugin as this profile wants it; nothing if it is asked nowhere.
    fn seat(&self, row: &Row, errors: &mut Errors) -> Option<Seat> {
        let sets = &self.plugins;
        let plugin = row.configured.and_then(|configured| self.with_args(row.name, errors, configured));
        let by_default = sets.multi_point.has(row.name, true);
        let points = Points {
            enqueues: sets.pre_enqueue.has(row.name, by_default),
            admits: sets.pre_filter.has(row.name, by_default),
            filters: sets.filter.has(row.name, by_default),
            scores: sets.score.has(row.name, by_default),
            reserves: sets.reserve.has(row.name, by_default),
        };
        let given = sets.score.weight(row.name).or_else(|| sets.multi_point.weight(row.name));
        let weight = given.unwrap_or(row.weight);
        let plugin = plugin.unwrap_or_else(row.default);
        (points != Points::NONE).then_some(Seat { plugin, weight, points })
    }

    fn with_args<T>(
        &self,
        name: &str,
        errors: &mut Errors,
        read: impl FnOnce(&Value, &mut Errors) -> T,
    ) -> Option<T> {
        let index = self.plugin_config.iter().position(|config| config.name == name)?;
        let args = &self.plugin_config[index].args;
        Some(errors.item("pluginConfig", index, |errors| errors.at("args", |errors| read(args, errors))))
    }
}

fn names() -> Vec<&'static str> {
    let rows = plugins::ALL.iter().map(|row| row.name);
    rows.chain([PREEMPTION]).chain(BUILT_IN).collect()
}

fn check(config: &Config, twice: bool, errors: &mut Errors) {
    if twice {
        errors.duplicate("", &config.name);
    }
    let takes = |row: &Row| row.name == config.name && row.configured.is_some();
    if config.name == PREEMPTION || plugins::ALL.iter().any(takes) {
        return;
    }
    if !names().contains(&config.name.as_str()) {
        errors.not_supported("name", &config.name, &names());
    } else if !config.args.is_null() {
        errors.forbidden("args", format!("{} takes no arguments", config.name));
    }
}

fn preemption(given: &Value, errors: &mut Errors) -> Preemption {
    let args: PreemptionArgs = args(given, errors);
    let share = args.min_candidate_nodes_percentage.unwrap_or(10);
    let least = args.min_candidate_nodes_absolute.unwrap_or(100);
    if !(0..=100).contains(&share) {
        errors.invalid("minCandidateNodesPercentage", &share, "not in valid range [0, 100]");
    }
    if least < 0 {
        errors.invalid("minCandidateNodesAbsolute", &least, "not in valid range [0, inf)");
    }
    if share == 0 && least == 0 {
        let why = "cannot be zero at the same time as minCandidateNodesAbsolute";
        errors.invalid("minCandidateNodesPercentage", &share, why);
    }
    let number = |value: i64| usize::try_from(value).unwrap_or(0);
    Preemption { least: number(least), share: number(share) }
}

impl Plugins {
    fn check(&self, errors: &mut Errors) {
        let sets = [
            ("multiPoint", &self.multi_point),
            ("preEnqueue", &self.pre_enqueue),
            ("queueSort", &self.queue_sort),
            ("preFilter", &self.pre_filter),
            ("filter", &self.filter),
            ("postFilter", &self.post_filter),
            ("preScore", &self.pre_score),
            ("score", &self.score),
            ("reserve", &self.reserve),
            ("permit", &self.permit),
            ("preBind", &self.pre_bind),
            ("bind", &self.bind),
            ("postBind", &self.post_bind),
        ];
        for (point, set) in sets {
            errors.at(point, |errors| set.check(point, errors));
        }
    }
}

impl Set {
    fn check(&self, point: &str, errors: &mut Errors) {
        let known = names();
        for (index, named) in self.enabled.iter().enumerate() {
            errors.item("enabled", index, |errors| {
                if !known.contains(&named.name.as_str()) {
                    errors.not_supported("name", &named.name, &known);
                }
                if let Some(weight) = named.weight.filter(|weight| *weight < 0) {
                    errors.invalid("weight", &weight, "must not be negative");
                }
            });
        }
        for (index, named) in self.disabled.iter().enumerate() {
            errors.item("disabled", index, |errors| {
                let own = |name: &str| BUILT_IN.contains(&name);
                if named.name != "*" && !known.contains(&named.name.as_str()) {
                    errors.not_supported("name", &named.name, &known);
                } else if own(&named.name) && !self.enabled.iter().any(|other| other.name == named.name) {
                    errors.forbidden("name", format!("{} cannot be disabled", named.name));
                } else if named.name == "*" && point == "bind" && self.enabled.is_empty() {
                    errors.forbidden("name", "at least one bind plugin is needed");
                }
            });
        }
    }

    /// Whether a plugin is asked here, if it would be by default.
    fn has(&self, name: &str, by_default: bool) -> bool {
        let disabled = || self.disabled.iter().any(|named| named.name == name || named.name == "*");
        self.enabled.iter().any(|named| named.name == name) || (by_default && !disabled())
    }

    /// The weight that is given; none at all and zero stand for the plugin's own if it is a default.
    fn weight(&self, name: &str) -> Option<i64> {
        let named = self.enabled.iter().find(|named| named.name == name)?;
        named.weight.filter(|weight| *weight != 0).or(Some(1))
    }
}
