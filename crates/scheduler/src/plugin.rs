//! What a plugin is: it says which nodes can hold a pod, and how well each would suit it.
//!
//! A plugin begins a [`Judge`] for each pod: there it computes once what it needs of the whole cluster. A plugin that
//! has nothing to say about a pod begins none and costs nothing.

use std::cmp::Reverse;
use std::hash::Hasher;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::ResourceClaim;
use skiff_api::{Object, Resource};
use skiff_client::{Change, Link, write};

use crate::event::{Event, Hope};
use crate::needs::Needs;
use crate::pod::{Pending, PodInfo};
use crate::queue::Queue;
use crate::snapshot::{Node, PodGroup, Snapshot};

/// The best score of a node, after normalisation.
pub(crate) const BEST: i64 = 100;

/// Why a node cannot hold a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// In upstream's words; equal reasons are counted together.
    pub(crate) reasons: Vec<String>,
    /// Whether fewer pods on the node would help.
    pub(crate) resolvable: bool,
}

impl Refusal {
    /// Other pods are in the way.
    pub(crate) fn crowded(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], resolvable: true }
    }

    /// The node itself does not suit.
    pub(crate) fn unsuitable(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], resolvable: false }
    }
}

/// How much of a judgement is the same for all pods of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Nothing: it looks at more than the node.
    Nothing,
    /// Whether a node can hold the pod; how well it suits depends on the other nodes.
    Refusals,
    /// Both. Scores count as they are: there is nothing to prepare and to normalise.
    Everything,
}

/// How far a group has come in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// How many of its pods have a node.
    pub(crate) placed: usize,
    /// How many are still to be tried.
    pub(crate) left: usize,
}

/// Whether a group may go as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Feasible {
    Yes,
    /// Not yet, and why: those that are left may help.
    NotYet(String),
    /// It cannot any more, whatever becomes of those that are left.
    No(String),
}

/// A pod or group that wants a turn.
pub(crate) struct Asking<'a> {
    /// A group's is its key.
    pub(crate) uid: &'a str,
    /// `namespace/name`.
    pub(crate) key: &'a Arc<str>,
    pub(crate) priority: i32,
    /// When it first asked, in microseconds.
    pub(crate) since: i64,
}

/// Where somebody stands among those who want a turn: the least goes first, and of equals the one who asked first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) priority: Reverse<i32>,
    pub(crate) since: i64,
    pub(crate) key: Option<Arc<str>>,
}

impl Rank {
    pub(crate) fn by_priority(priority: i32) -> Self {
        Self { priority: Reverse(priority), since: 0, key: None }
    }
}

/// What a plugin says to a pod that has its room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    Allow,
    /// It must give the room back, and why.
    Reject(String),
    /// It keeps its room for so long; until then somebody lets it go, or it must give it back.
    Wait(Duration),
}

/// A binding on its way.
pub(crate) type Bound<'a> = Pin<Box<dyn Future<Output = write::Result<()>> + Send + 'a>>;

/// What may be undone so that a pod that fits nowhere fits next time.
#[derive(Clone, Debug)]
pub(crate) struct Relief {
    /// The claim that is to lose its devices; absent if nothing can be undone.
    pub(crate) claim: Option<Arc<ResourceClaim>>,
    /// What the pod is told.
    pub(crate) words: &'static str,
}

impl Relief {
    pub(crate) fn nothing(words: &'static str) -> Self {
        Self { claim: None, words }
    }
}

/// One plugin's view of one pod.
pub(crate) trait Judge {
    /// Whether the node can hold the pod.
    ///
    /// # Errors
    /// Why it cannot.
    fn filter(&self, _node: &Node) -> Result<(), Refusal> {
        Ok(())
    }

    /// Writes down all that its judgement of a node follows from besides the node, and says how much of it does. Pods
    /// whose judges wrote the same are of one class and share what was said of a node until the node changes.
    fn share(&self, _key: &mut dyn Hasher) -> Share {
        Share::Nothing
    }

    /// Looks at the nodes that can hold the pod before they are scored; false if there is nothing to score.
    fn prepare(&mut self, _feasible: &[&Node]) -> bool {
        false
    }

    /// How well the node would suit, in the plugin's own measure.
    fn score(&self, _node: &Node) -> i64 {
        0
    }

    /// Turns its measures into 0 (worst) to [`BEST`].
    fn normalise(&self, _feasible: &[&Node], _scores: &mut [i64]) {}
}

/// One plugin.
pub(crate) trait Plugin: Send + Sync {
    /// Its name, as upstream calls it.
    fn name(&self) -> &'static str;

    /// A kind beyond the server's own that the plugin goes by. It may come and go while the scheduler runs.
    fn follows(&self) -> Option<Resource> {
        None
    }

    /// An object of that kind came, changed or went; what to tell those who wait.
    fn followed(&self, _change: &Change) -> Option<Event> {
        None
    }

    /// A pod is there as it is now, or, if there is none, has ended or gone; what to tell those who wait. Asked of plugins that
    /// follow a kind, before the pod queues.
    fn sees(&self, _pod: Option<&Object>, _uid: &Arc<str>) -> Option<Event> {
        None
    }

    /// Where the pod or group stands among those who want a turn (upstream's queue sort).
    fn rank(&self, asking: &Asking<'_>) -> Rank {
        Rank::by_priority(asking.priority)
    }

    /// Whether the pod may queue (upstream's pre-enqueue); if not, nobody tries to place it.
    ///
    /// # Errors
    /// Why not.
    fn enqueue(&self, _pod: &PodInfo, _cluster: &Snapshot) -> Result<(), String> {
        Ok(())
    }

    /// Whether a group that has come so far may go (upstream's placement-feasible).
    fn feasible(&self, _group: &PodGroup, _so_far: Progress) -> Feasible {
        Feasible::Yes
    }

    /// Whether the pod may be placed at all, wherever (upstream's pre-filter).
    ///
    /// # Errors
    /// Why not.
    fn admit(&self, _pod: &Pending, _cluster: &Snapshot) -> Result<(), String> {
        Ok(())
    }

    /// Has the snapshot follow the numbers that the judge will ask for.
    fn track(&self, _pod: &Pending, _cluster: &mut Snapshot) {}

    /// Begins to judge nodes for a pod; nothing if it has nothing to say.
    fn begin<'a>(&self, _pod: &'a Pending, _cluster: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        None
    }

    /// What else to do for a pod that fits nowhere and for which nobody makes room (upstream's post-filter); what to tell it.
    fn post_filter(&self, _pod: &Pending, _cluster: &mut Snapshot) -> Option<String> {
        None
    }

    /// What may give a pod a chance that this plugin refused; nothing unless it can refuse.
    fn hope(&self, _pod: &Pending, _cluster: &Snapshot) -> Hope {
        Hope::new(|_| false)
    }

    /// What may be undone for a pod that fits nowhere (upstream's post-filter); preemption is asked in any case.
    fn relief(&self, _pod: &Pending, _cluster: &Snapshot) -> Option<Relief> {
        None
    }

    /// What must be so before the pod can be bound to the node that was chosen (upstream's reserve and pre-bind).
    fn needs(&self, _pod: &Pending, _cluster: &Snapshot, _node: &str) -> Option<Needs> {
        None
    }

    /// Whether a pod that has its room, so far only assumed, may go.
    fn permit(&self, _pod: &Pending, _cluster: &mut Snapshot, _queue: &Queue) -> Permit {
        Permit::Allow
    }

    /// The pod had its room and does not go after all; it is still counted where it was to go (upstream's un-reserve).
    fn unreserve(&self, _pod: &Pending, _cluster: &mut Snapshot) {}

    /// Binds the pod; nothing if it leaves that to the next plugin.
    fn bind<'a>(&self, _link: &'a Link, _pod: &'a Pod, _node: &'a str) -> Option<Bound<'a>> {
        None
    }

    /// The pod was bound.
    fn post_bind(&self, _pod: &Pending, _node: &str) {}
}

/// Scales scores so that the greatest becomes [`BEST`].
pub(crate) fn scale(scores: &mut [i64]) {
    let most = scores.iter().copied().max().unwrap_or(0);
    if most > 0 {
        scores.iter_mut().for_each(|score| *score = BEST * *score / most);
    }
}

/// As [`scale`], the least becoming the best.
pub(crate) fn scale_reversed(scores: &mut [i64]) {
    let most = scores.iter().copied().max().unwrap_or(0);
    for score in scores.iter_mut() {
        *score = if most == 0 { BEST } else { BEST - BEST * *score / most };
    }
}
