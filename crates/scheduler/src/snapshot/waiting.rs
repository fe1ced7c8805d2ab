//! Pods that have their room and wait until plugins let them go (upstream's `waiting_pods_map.go`).
//!
//! A pod waits for every plugin that asked it to, for each at most as long as that one said, and no longer than the first
//! that says no. Who waits holds nothing but its room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use skiff_base::duration::go_seconds;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::pod::PodInfo;

/// Why a pod may not keep its room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// Who says so; nobody in particular if empty.
    pub(crate) plugin: &'static str,
    pub(crate) why: String,
}

/// How a pod's waiting ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// It may go.
    Go,
    /// It may not.
    No(Rejection),
    /// Somebody else has bound it.
    Bound,
}

/// Tells how a pod's waiting ends.
pub(crate) type Answer = oneshot::Receiver<Word>;

/// A plugin that a pod waits for: how long, and until when.
struct Asked {
    plugin: &'static str,
    longest: Duration,
    until: Instant,
}

struct Entry {
    info: Arc<PodInfo>,
    node: Arc<str>,
    asked: Vec<Asked>,
    word: oneshot::Sender<Word>,
}

/// All pods that wait.
#[derive(Default)]
pub(crate) struct Waiting(HashMap<Arc<str>, Entry>);

impl Waiting {
    /// The pod waits for these plugins.
    pub(crate) fn enter(
        &mut self,
        info: &Arc<PodInfo>,
        node: &Arc<str>,
        plugins: Vec<(&'static str, Duration)>,
    ) -> Answer {
        let (word, answer) = oneshot::channel();
        let now = Instant::now();
        let asked =
            plugins.into_iter().map(|(plugin, longest)| Asked { plugin, longest, until: now + longest });
        let entry = Entry { info: Arc::clone(info), node: Arc::clone(node), asked: asked.collect(), word };
        self.0.insert(Arc::clone(info.uid()), entry);
        answer
    }

    /// The plugin lets these pods go; those for whom it was the last one do.
    pub(crate) fn allow(&mut self, plugin: &str, whom: impl Fn(&PodInfo) -> bool) {
        for entry in self.0.values_mut().filter(|entry| whom(&entry.info)) {
            entry.asked.retain(|asked| asked.plugin != plugin);
        }
        self.end(|entry| entry.asked.is_empty().then_some(Word::Go));
    }

    /// The plugin does not let these pods go.
    pub(crate) fn reject(&mut self, plugin: &'static str, why: &str, whom: impl Fn(&PodInfo) -> bool) {
        let no = || Word::No(Rejection { plugin, why: why.to_owned() });
        self.end(|entry| whom(&entry.info).then(no));
    }

    /// The pod is gone, or on its way out.
    pub(crate) fn gone(&mut self, uid: &str) {
        self.end_one(uid, || Word::No(Rejection { plugin: "", why: "removed".to_owned() }));
    }

    /// Somebody else has bound the pod.
    pub(crate) fn bound(&mut self, uid: &str) {
        self.end_one(uid, || Word::Bound);
    }

    /// The node is gone, and all room on it.
    pub(crate) fn lost(&mut self, node: &str) {
        let no = || Word::No(Rejection { plugin: "", why: format!("node {node:?} is gone") });
        self.end(|entry| (*entry.node == *node).then(no));
    }

    /// Until when the pod waits at most; nothing if it waits no more.
    pub(crate) fn until(&self, uid: &str) -> Option<Instant> {
        self.0.get(uid)?.asked.iter().map(|asked| asked.until).min()
    }

    /// It is later than a pod was ready to wait.
    pub(crate) fn expire(&mut self, uid: &str, now: Instant) {
        let Some(entry) = self.0.get(uid) else { return };
        let Some(late) = entry.asked.iter().find(|asked| asked.until <= now) else { return };
        let (plugin, longest) = (late.plugin, go_seconds(late.longest));
        let why = format!("rejected due to timeout after waiting {longest} at plugin {plugin}");
        self.end_one(uid, || Word::No(Rejection { plugin, why }));
    }

    fn end(&mut self, word: impl Fn(&Entry) -> Option<Word>) {
        let ended: Vec<_> =
            self.0.iter().filter_map(|(uid, entry)| Some((Arc::clone(uid), word(entry)?))).collect();
        for (uid, word) in ended {
            self.end_one(&uid, || word);
        }
    }

    fn end_one(&mut self, uid: &str, word: impl FnOnce() -> Word) {
        if let Some(entry) = self.0.remove(uid) {
            // Nobody listens any more only when the scheduler ends.
            let _ = entry.word.send(word());
        }
    }
}

#[cfg(test)]
mod tests;
