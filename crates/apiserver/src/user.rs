//! Who is asking.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A known identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `system:node:one`, `admin`.
    pub name: Arc<str>,
    /// What tells users of one name apart over time; empty if there is no such thing.
    pub uid: Arc<str>,
    /// The groups; `system:authenticated` is always among them.
    pub groups: Arc<[String]>,
    /// What else the authenticator knew, such as the pod a token is bound to.
    pub extra: Arc<BTreeMap<String, Vec<String>>>,
}

/// The group that may do everything.
pub(crate) const MASTERS: &str = "system:masters";
/// The group of all who have shown who they are.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The group of all who have not.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of all who have not.
pub(crate) const ANONYMOUS: &str = "system:anonymous";
/// What the user names of service accounts begin with, before namespace and name.
pub(crate) const ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// The group of all service accounts; those of a namespace are in a group of this name, a colon and the namespace.
pub(crate) const ACCOUNTS: &str = "system:serviceaccounts";

impl User {
    /// An authenticated user.
    pub fn new(name: &str, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { name: name.into(), uid: "".into(), groups: groups.into(), extra: Arc::default() }
    }

    /// A service account, whether it exists or not.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = [ACCOUNTS.to_owned(), format!("{ACCOUNTS}:{namespace}")];
        Self::new(&format!("{ACCOUNT_PREFIX}{namespace}:{name}"), groups)
    }

    /// The same user with a uid and more that is known of it.
    #[must_use]
    pub fn known_by(self, uid: &str, extra: BTreeMap<String, Vec<String>>) -> Self {
        Self { uid: uid.into(), extra: Arc::new(extra), ..self }
    }

    /// The server's own identity, for what it does by itself.
    pub fn server() -> Self {
        Self::new("system:apiserver", [MASTERS])
    }

    /// Somebody who has not shown who they are.
    pub(crate) fn anonymous() -> Self {
        Self::new(ANONYMOUS, [UNAUTHENTICATED])
    }

    /// True if the user is in `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}
