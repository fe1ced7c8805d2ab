//! Why a pod fits nowhere, in upstream's words: how many nodes for each reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::plugin::{Refusal, Relief};
use crate::snapshot::Node;

/// The verdict on a pod that no node can hold.
#[derive(Debug, Default)]
pub(crate) struct Unfit {
    nodes: usize,
    reasons: BTreeMap<String, usize>,
    /// Why no node was even asked, if so.
    verdict: Option<String>,
    preemption: BTreeMap<String, usize>,
    /// What may be undone for it besides.
    pub(crate) relief: Option<Relief>,
    /// Whether nobody even looks for others to send away.
    alone: bool,
    /// What plugins said that were asked after that.
    after: Vec<String>,
    /// Why the pod may not make others go, if it may not.
    not_eligible: Option<&'static str>,
    /// Other pods will go for it: nothing to explain.
    preempts: bool,
    /// Nodes where fewer pods might help.
    pub(crate) candidates: Vec<Arc<str>>,
    /// Who refused: events that do not help these do not help the pod.
    pub(crate) plugins: BTreeSet<&'static str>,
}

impl Unfit {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes, ..Self::default() }
    }

    /// A node was refused.
    pub(crate) fn count(&mut self, plugin: &'static str, refusal: Refusal, node: &Node) {
        self.refused(plugin, refusal, &node.name);
    }

    /// The same of a node by name.
    pub(crate) fn refused(&mut self, plugin: &'static str, refusal: Refusal, node: &Arc<str>) {
        for reason in refusal.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
        if refusal.resolvable {
            self.candidates.push(Arc::clone(node));
        } else {
            self.preemption_fails(vec!["Preemption is not helpful for scheduling".to_owned()]);
        }
        self.plugins.insert(plugin);
    }

    /// No node needs to be asked.
    pub(crate) fn everywhere(&mut self, plugin: &'static str, why: String) {
        self.verdict = Some(why);
        self.plugins.insert(plugin);
        if self.nodes > 0 {
            self.preemption.insert("Preemption is not helpful for scheduling".to_owned(), self.nodes);
        }
    }

    /// Taking pods away from a node does not help.
    pub(crate) fn preemption_fails(&mut self, reasons: Vec<String>) {
        for reason in reasons {
            *self.preemption.entry(reason).or_default() += 1;
        }
    }

    /// Nobody looks for others to send away.
    pub(crate) fn alone(&mut self) {
        self.alone = true;
    }

    /// What plugins said that were asked after all nodes were refused.
    pub(crate) fn after(&mut self, words: Vec<String>) {
        self.after = words;
    }

    /// Whether there is no node at all.
    pub(crate) fn is_nowhere(&self) -> bool {
        self.nodes == 0
    }

    /// The pod may not make others go.
    pub(crate) fn not_eligible(&mut self, why: &'static str) {
        self.not_eligible = Some(why);
    }

    /// Others go for it.
    pub(crate) fn preempts(&mut self) {
        self.preempts = true;
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes;
        if nodes == 0 {
            return write!(f, "no nodes available to schedule pods");
        }
        match &self.verdict {
            Some(why) => write!(f, "0/{nodes} nodes are available: {why}.")?,
            None => write!(f, "0/{nodes} nodes are available: {}.", listed(self.reasons.iter()))?,
        }
        if self.preempts {
            return Ok(());
        }
        let preemption = match self.not_eligible {
            _ if self.alone => None,
            Some(why) => Some(format!("preemption: not eligible due to {why}.")),
            None => {
                let counts = listed(self.preemption.iter());
                Some(format!("preemption: 0/{nodes} nodes are available: {counts}."))
            }
        };
        let relief = self.relief.iter().map(|relief| relief.words);
        let words: Vec<&str> =
            relief.chain(preemption.as_deref()).chain(self.after.iter().map(String::as_str)).collect();
        if words.is_empty() {
            return Ok(());
        }
        write!(f, " {}", words.join(", "))
    }
}

/// `2 one reason, 3 another`, sorted as text.
fn listed<'a, T: fmt::Display + 'a>(counts: impl Iterator<Item = (T, &'a usize)>) -> String {
    let mut all: Vec<String> = counts.map(|(reason, count)| format!("{count} {reason}")).collect();
    all.sort();
    all.join(", ")
}
