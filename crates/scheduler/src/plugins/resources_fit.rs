//! What the pod asks for must be free on the node. How full a node should rather be, the profile says: by default the
//! emptier the better.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use skiff_api::Errors;

use super::strategy::{Resource, Strategy};
use crate::config;
use crate::event::{Event, Facts, Hope};
use crate::plugin::{Judge, Plugin, Refusal, Share};
use crate::pod::{Pending, PodInfo};
use crate::snapshot::{Node, Snapshot};

#[derive(Default)]
pub(crate) struct ResourcesFit(Arc<Settings>);

#[derive(Default)]
struct Settings {
    strategy: Strategy,
    /// Extended resources that others look after.
    ignored: BTreeSet<String>,
    ignored_groups: BTreeSet<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Args {
    ignored_resources: BTreeSet<String>,
    ignored_resource_groups: BTreeSet<String>,
    scoring_strategy: Option<super::strategy::Args>,
}

struct Asks<'a> {
    pod: &'a PodInfo,
    settings: Arc<Settings>,
}

/// The plugin as a profile wants it.
pub(crate) fn configured(args: &Value, errors: &mut Errors) -> Arc<dyn Plugin> {
    let args: Args = config::args(args, errors);
    for (index, group) in args.ignored_resource_groups.iter().enumerate() {
        if group.contains('/') {
            let field = format!("ignoredResourceGroups[{index}]");
            errors.invalid(&field, group, "resource group name can't contain '/'");
        }
    }
    let strategy = match args.scoring_strategy {
        Some(args) => errors.at("scoringStrategy", |errors| args.strategy(errors)),
        None => Strategy::default(),
    };
    let (ignored, ignored_groups) = (args.ignored_resources, args.ignored_resource_groups);
    Arc::new(ResourcesFit(Arc::new(Settings { strategy, ignored, ignored_groups })))
}

impl Settings {
    fn ignores(&self, name: &str) -> bool {
        let group = || name.split_once('/').is_some_and(|(group, _)| self.ignored_groups.contains(group));
        self.ignored.contains(name) || group()
    }
}

impl Plugin for ResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn begin<'a>(&self, pod: &'a Pending, _: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        Some(Box::new(Asks { pod: &pod.info, settings: Arc::clone(&self.0) }))
    }

    fn hope(&self, pod: &Pending, _: &Snapshot) -> Hope {
        let (asked, settings) = (pod.info.requests.clone(), Arc::clone(&self.0));
        let asks = move |name: &str, amount| amount > 0 && !settings.ignores(name);
        Hope::new(move |event| {
            let asked = || asked.iter().filter(|(name, amount)| asks(name, *amount));
            // An empty node would have to do.
            let holds = |node: &Facts| {
                node.room > 0 && asked().all(|(name, amount)| amount <= node.allocatable.get(name))
            };
            match event {
                Event::NodeAdded(node) => holds(node),
                Event::NodeCapacity(turn) => {
                    let (before, now) = (&turn.before, &turn.now);
                    let more = |name: &str| now.allocatable.get(name) > before.allocatable.get(name);
                    holds(now) && (now.room > before.room || asked().any(|(name, _)| more(name)))
                }
                Event::PodGone(_) | Event::PodShrunk => true,
                _ => false,
            }
        })
    }
}

impl Judge for Asks<'_> {
    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        let mut refusal = Refusal { reasons: Vec::new(), resolvable: true };
        if node.pods.len() + 1 > node.room {
            refusal.reasons.push("Too many pods".to_owned());
        }
        for (name, asked) in self.pod.requests.iter().filter(|(_, asked)| *asked > 0) {
            let whole = node.allocatable.get(name);
            if asked > whole - node.requested.get(name) && !self.settings.ignores(name) {
                refusal.reasons.push(format!("Insufficient {name}"));
                // An empty node would not do either.
                refusal.resolvable &= asked <= whole;
            }
        }
        if refusal.reasons.is_empty() { Ok(()) } else { Err(refusal) }
    }

    fn share(&self, mut key: &mut dyn Hasher) -> Share {
        for (name, amount) in self.pod.requests.iter().chain(self.pod.assumed.iter()) {
            (name, amount).hash(&mut key);
        }
        Share::Everything
    }

    fn prepare(&mut self, _: &[&Node]) -> bool {
        true
    }

    fn score(&self, node: &Node) -> i64 {
        self.settings.strategy.score(|Resource { name, .. }| {
            let name = &**name;
            let asked = self.pod.assumed.get(name);
            // Devices that the pod does not ask for do not matter to it.
            let plain = matches!(name, "cpu" | "memory" | "ephemeral-storage");
            (plain || asked > 0).then(|| (node.allocatable.get(name), node.assumed.get(name) + asked))
        })
    }
}
