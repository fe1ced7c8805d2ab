//! Who is asking.

use std::sync::Arc;

/// A known identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `system:node:one`, `admin`.
    pub name: Arc<str>,
    /// The groups; `system:authenticated` is always among them.
    pub groups: Arc<[String]>,
}

/// The group that may do everything.
pub(crate) const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";

impl User {
    /// An authenticated user.
    pub fn new(name: &str, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { name: name.into(), groups: groups.into() }
    }

    /// The server's own identity, for what it does by itself.
    pub fn server() -> Self {
        Self::new("system:apiserver", [MASTERS])
    }

    /// Somebody who has not shown who they are.
    pub(crate) fn anonymous(name: &str) -> Self {
        Self { name: name.into(), groups: Arc::new(["system:unauthenticated".to_owned()]) }
    }

    /// True if the user is in `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}
