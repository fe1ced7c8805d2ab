//! One profile of the file, merged with upstream's defaults: all plugins at all points, except where it says otherwise.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};
use skiff_api::Errors;

use super::points::Plugins;
use super::{args, percent};
use crate::NAME;
use crate::plugins::{self, Row};
use crate::points::{Point, Points};
use crate::profile::{Preemption, Profile, Seat};

/// Plugins that are part of Skiff's queue; they take no seat.
pub(super) const BUILT_IN: [&str; 1] = ["SchedulingGates"];
/// The plugin that leaves resources to others.
const FIT: &str = "NodeResourcesFit";
pub(super) const PREEMPTION: &str = "DefaultPreemption";

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
pub(super) fn read(
    mut given: Vec<Given>,
    everywhere: Option<usize>,
    ignored: &BTreeSet<String>,
    errors: &mut Errors,
) -> Vec<Profile> {
    if given.is_empty() && !ignored.is_empty() {
        given.push(Given::default());
    }
    given.iter_mut().for_each(|given| given.ignore(ignored));
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
    one_queue_sort(&given, &profiles, errors);
    profiles
}

/// All profiles' pods are in one queue, so all must have the same order.
fn one_queue_sort(given: &[Given], profiles: &[Profile], errors: &mut Errors) {
    let (Some((first, others)), Some(chosen)) = (given.split_first(), profiles.first()) else { return };
    let named = &first.plugins.queue_sort.enabled;
    if named.len() > 1 {
        let path = "profiles[0].plugins.queueSort.enabled";
        errors.invalid(path, &named.len(), "only one queue sort plugin can be enabled");
    }
    let sort = |profile: &Profile| profile.sort().map(|plugin| plugin.name()).unwrap_or_default();
    let args = |given: &Given| given.args_of(sort(chosen)).cloned();
    for (index, other) in others.iter().enumerate() {
        let other_chosen = &profiles[index + 1];
        errors.item("profiles", index + 1, |errors| {
            if other.plugins.queue_sort != first.plugins.queue_sort {
                let shown = other.plugins.queue_sort.shown();
                errors.invalid("plugins.queueSort", &shown, "must be the same for all profiles");
            } else if sort(other_chosen) != sort(chosen) {
                let (name, own, first) = (&other_chosen.name, sort(other_chosen), sort(chosen));
                let why =
                    format!("different queue sort plugins for profile {name:?}: {own:?}, first: {first:?}");
                errors.invalid("plugins", own, why);
            } else if args(other) != args(first) {
                let why = "queueSort must be the same for all profiles";
                errors.invalid("pluginConfig.args", &args(other).unwrap_or_default(), why);
            }
        });
    }
}

impl Given {
    /// Leaves resources to others altogether.
    fn ignore(&mut self, resources: &BTreeSet<String>) {
        if resources.is_empty() {
            return;
        }
        let fit = |config: &Config| config.name == FIT;
        let index = self.plugin_config.iter().position(fit).unwrap_or_else(|| {
            self.plugin_config.push(Config { name: FIT.to_owned(), args: json!({}) });
            self.plugin_config.len() - 1
        });
        let Some(args) = self.plugin_config[index].args.as_object_mut() else { return };
        let list = args.entry("ignoredResources").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.extend(resources.iter().map(|name| json!(name)));
        }
    }

    fn read(&self, name: &str, everywhere: Option<usize>, errors: &mut Errors) -> Profile {
        errors.at("plugins", |errors| self.plugins.check(errors));
        for (index, config) in self.plugin_config.iter().enumerate() {
            let twice = self.plugin_config[..index].iter().any(|other| other.name == config.name);
            errors.item("pluginConfig", index, |errors| check(config, twice, errors));
        }
        let own = percent(self.percentage_of_nodes_to_score, errors);
        let seats: Vec<Seat> = plugins::ALL.iter().filter_map(|row| self.seat(row, errors)).collect();
        let asked = |point: Point| seats.iter().filter(|seat| seat.points.has(point)).count();
        let (sorts, binds) = (asked(Point::QueueSort), asked(Point::Bind));
        if sorts != 1 && self.plugins.queue_sort.enabled.len() < 2 {
            let why = format!(
                "only one queue sort plugin required for profile with scheduler name {name:?}, but got {sorts}"
            );
            errors.invalid("plugins.queueSort", &sorts, why);
        }
        if binds == 0 {
            let why = format!("at least one bind plugin is needed for profile with scheduler name {name:?}");
            errors.invalid("plugins.bind", &binds, why);
        }
        let post_filter = Points::of(&[Point::PostFilter]);
        let preempts = self.plugins.asked(PREEMPTION, post_filter, true) != Points::NONE;
        let preemption = self.with_args(PREEMPTION, errors, preemption);
        let preemption = preempts.then(|| preemption.unwrap_or_default());
        Profile { name: name.into(), seats, percent: own.or(everywhere), preemption }
    }

    /// A plugin as this profile wants it; nothing if it is asked nowhere.
    fn seat(&self, row: &Row, errors: &mut Errors) -> Option<Seat> {
        let sets = &self.plugins;
        let plugin = row.configured.and_then(|configured| self.with_args(row.name, errors, configured));
        let points = sets.asked(row.name, row.points, row.on);
        let given = sets.score.weight(row.name).or_else(|| sets.multi_point.weight(row.name));
        let weight = given.unwrap_or(row.weight);
        let plugin = plugin.unwrap_or_else(row.default);
        (points != Points::NONE).then_some(Seat { plugin, weight, points })
    }

    fn args_of(&self, name: &str) -> Option<&Value> {
        self.plugin_config.iter().find(|config| config.name == name).map(|config| &config.args)
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

pub(super) fn names() -> Vec<&'static str> {
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
