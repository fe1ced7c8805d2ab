//! The part of a profile that says which plugins are asked where: what is enabled and disabled, and what is wrong with it.

use serde::Deserialize;
use serde_json::{Value, json};
use skiff_api::Errors;

use super::profiles::{BUILT_IN, PREEMPTION, names};
use crate::plugins;
use crate::points::{Point, Points};

/// `plugins` of a profile.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Plugins {
    pub(super) multi_point: Set,
    pre_enqueue: Set,
    pub(super) queue_sort: Set,
    pre_filter: Set,
    filter: Set,
    post_filter: Set,
    pre_score: Set,
    pub(super) score: Set,
    reserve: Set,
    permit: Set,
    pre_bind: Set,
    bind: Set,
    post_bind: Set,
}

/// What changes at one point.
#[derive(Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct Set {
    pub(super) enabled: Vec<Named>,
    disabled: Vec<Named>,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct Named {
    pub(super) name: String,
    weight: Option<i64>,
}

impl Plugins {
    /// What changes at a point.
    pub(super) fn of(&self, point: Point) -> &Set {
        match point {
            Point::PreEnqueue => &self.pre_enqueue,
            Point::QueueSort => &self.queue_sort,
            Point::PreFilter => &self.pre_filter,
            Point::Filter => &self.filter,
            Point::PostFilter => &self.post_filter,
            Point::PreScore => &self.pre_score,
            Point::Score => &self.score,
            Point::Reserve => &self.reserve,
            Point::Permit => &self.permit,
            Point::PreBind => &self.pre_bind,
            Point::Bind => &self.bind,
            Point::PostBind => &self.post_bind,
        }
    }

    /// Where a plugin is asked that may be asked at these points: where it is enabled, and wherever else it may be if it is
    /// on by default or enabled at all points, except where it is disabled.
    pub(super) fn asked(&self, name: &str, points: Points, on: bool) -> Points {
        let on = self.multi_point.has(name, on);
        Point::ALL.into_iter().filter(|point| points.has(*point) && self.of(*point).has(name, on)).collect()
    }

    pub(super) fn check(&self, errors: &mut Errors) {
        errors.at("multiPoint", |errors| self.multi_point.check(None, errors));
        for point in Point::ALL {
            errors.at(field(point), |errors| self.of(point).check(Some(point), errors));
        }
    }
}

/// The name of a point in the file.
fn field(point: Point) -> &'static str {
    match point {
        Point::PreEnqueue => "preEnqueue",
        Point::QueueSort => "queueSort",
        Point::PreFilter => "preFilter",
        Point::Filter => "filter",
        Point::PostFilter => "postFilter",
        Point::PreScore => "preScore",
        Point::Score => "score",
        Point::Reserve => "reserve",
        Point::Permit => "permit",
        Point::PreBind => "preBind",
        Point::Bind => "bind",
        Point::PostBind => "postBind",
    }
}

/// Where a plugin may be asked; nothing for one that is not known.
fn points(name: &str) -> Option<Points> {
    match name {
        PREEMPTION => Some(Points::of(&[Point::PreEnqueue, Point::PostFilter])),
        _ if BUILT_IN.contains(&name) => Some(Points::of(&[Point::PreEnqueue])),
        _ => plugins::ALL.iter().find(|row| row.name == name).map(|row| row.points),
    }
}

impl Set {
    fn check(&self, point: Option<Point>, errors: &mut Errors) {
        for (index, named) in self.enabled.iter().enumerate() {
            let twice = self.enabled[..index].iter().any(|other| other.name == named.name);
            errors.item("enabled", index, |errors| named.check(point, twice, errors));
        }
        for (index, named) in self.disabled.iter().enumerate() {
            errors.item("disabled", index, |errors| {
                let own = |name: &str| BUILT_IN.contains(&name);
                if named.name != "*" && points(&named.name).is_none() {
                    errors.not_supported("name", &named.name, &names());
                } else if own(&named.name) && !self.enabled.iter().any(|other| other.name == named.name) {
                    errors.forbidden("name", format!("{} cannot be disabled", named.name));
                }
            });
        }
    }

    /// Whether a plugin is asked here, if it would be by default.
    pub(super) fn has(&self, name: &str, by_default: bool) -> bool {
        let disabled = || self.disabled.iter().any(|named| named.name == name || named.name == "*");
        self.enabled.iter().any(|named| named.name == name) || (by_default && !disabled())
    }

    /// The weight that is given; none at all and zero stand for the plugin's own if it is a default.
    pub(super) fn weight(&self, name: &str) -> Option<i64> {
        let named = self.enabled.iter().find(|named| named.name == name)?;
        named.weight.filter(|weight| *weight != 0).or(Some(1))
    }

    /// As error messages show it.
    pub(super) fn shown(&self) -> Value {
        let names = |list: &[Named]| list.iter().map(|named| json!({"name": named.name})).collect::<Vec<_>>();
        json!({"enabled": names(&self.enabled), "disabled": names(&self.disabled)})
    }
}

impl Named {
    fn check(&self, point: Option<Point>, twice: bool, errors: &mut Errors) {
        let name = &self.name;
        match (points(name), point) {
            (None, _) => errors.not_supported("name", name, &names()),
            (Some(points), Some(point)) if !points.has(point) => {
                let why = format!("plugin {name:?} does not extend {} plugin", point.interface());
                errors.invalid("name", name, why);
            }
            (Some(_), Some(point)) if twice => {
                let why = format!("plugin {name:?} already registered as {:?}", point.interface());
                errors.invalid("name", name, why);
            }
            _ => {}
        }
        if let Some(weight) = self.weight.filter(|weight| *weight < 0) {
            errors.invalid("weight", &weight, "must not be negative");
        }
    }
}
