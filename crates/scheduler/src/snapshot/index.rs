//! Finds those that may be about a pod by the pod's namespace: most look at one namespace alone.

use std::collections::HashMap;

/// Numbers by the one namespace they are about; the others are about any.
#[derive(Default)]
pub(super) struct Index {
    narrow: HashMap<Box<str>, Vec<u32>>,
    wide: Vec<u32>,
}

impl Index {
    pub(super) fn add(&mut self, id: u32, namespace: Option<&str>) {
        match namespace {
            Some(name) => self.narrow.entry(name.into()).or_default().push(id),
            None => self.wide.push(id),
        }
    }

    pub(super) fn remove(&mut self, id: u32, namespace: Option<&str>) {
        match namespace {
            Some(name) => {
                if let Some(ids) = self.narrow.get_mut(name) {
                    ids.retain(|held| *held != id);
                    if ids.is_empty() {
                        self.narrow.remove(name);
                    }
                }
            }
            None => self.wide.retain(|held| *held != id),
        }
    }

    /// Those that may be about pods of a namespace.
    pub(super) fn about(&self, namespace: &str) -> impl Iterator<Item = u32> {
        self.narrow.get(namespace).into_iter().flatten().chain(&self.wide).copied()
    }
}
