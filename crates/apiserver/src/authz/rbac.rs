//! RBAC: roles and bindings, indexed by whom they are for.
//!
//! The index follows the four tables of the store and is brought up to date before each look-up, so that a binding
//! counts from the moment its creation was answered. A look-up costs the bindings of the user, not those of the cluster.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use parking_lot::Mutex;
use skiff_api::{Readable, meta};
use skiff_store::Store;

use super::follow::{Follow, News};
use super::{Ask, Verdict, rules};
use crate::stored::Stored;
use crate::user::{ACCOUNT_PREFIX, User};

/// The authoriser.
pub(crate) struct Rbac(Mutex<State>);

struct State {
    /// The store's revision that the index is of.
    seen: Option<u64>,
    follows: [Follow; 4],
    index: Index,
}

type Rules = Arc<Vec<PolicyRule>>;

/// Keys are `namespace/name`, or a name alone for what is the cluster's; names hold no slash, so they never meet.
#[derive(Default)]
struct Index {
    roles: HashMap<Arc<str>, Rules>,
    bindings: HashMap<Arc<str>, Binding>,
    users: Holders,
    groups: Holders,
}

/// The bindings of a user or group by namespace, the empty one for all.
type Holders = HashMap<String, HashMap<String, BTreeSet<Arc<str>>>>;

struct Binding {
    namespace: String,
    name: String,
    role: RoleRef,
    subjects: Vec<Subject>,
}

/// What somebody may do.
#[derive(Default)]
pub(crate) struct Held {
    /// The rules of all their roles.
    pub(crate) rules: Vec<PolicyRule>,
    /// Roles that are bound and not there.
    pub(crate) faults: Vec<String>,
}

impl Default for Rbac {
    fn default() -> Self {
        let tables = [
            "rbac.authorization.k8s.io/clusterroles",
            "rbac.authorization.k8s.io/roles",
            "rbac.authorization.k8s.io/clusterrolebindings",
            "rbac.authorization.k8s.io/rolebindings",
        ];
        Self(Mutex::new(State { seen: None, follows: tables.map(Follow::new), index: Index::default() }))
    }
}

impl Rbac {
    /// Whether a role allows it.
    pub(crate) fn judge(&self, store: &Store<Stored>, ask: &Ask<'_>) -> Verdict {
        let mut state = self.0.lock();
        state.catch_up(store);
        let mut faults = Vec::new();
        for binding in state.index.bindings_of(ask.user, ask.namespace) {
            match state.index.rules(&binding.role, &binding.namespace) {
                Ok(held) if held.iter().any(|rule| rules::allows(rule, ask)) => {
                    return Verdict::Allow(format!("RBAC: allowed by {}", binding.shown(ask.user)));
                }
                Ok(_) => {}
                Err(fault) => faults.push(fault),
            }
        }
        Verdict::NoOpinion(match faults.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }

    /// All that a user may do in a namespace (the empty one: everywhere).
    pub(crate) fn held_by(&self, store: &Store<Stored>, user: &User, namespace: &str) -> Held {
        let mut state = self.0.lock();
        state.catch_up(store);
        let mut held = Held::default();
        for binding in state.index.bindings_of(user, namespace) {
            match state.index.rules(&binding.role, &binding.namespace) {
                Ok(rules) => held.rules.extend(rules.iter().cloned()),
                Err(fault) => held.faults.push(fault),
            }
        }
        held
    }

    /// The rules of the role that a binding in `namespace` names; nothing if it is not there.
    pub(crate) fn rules_of(&self, store: &Store<Stored>, role: &RoleRef, namespace: &str) -> Option<Rules> {
        let mut state = self.0.lock();
        state.catch_up(store);
        state.index.rules(role, namespace).ok().map(Arc::clone)
    }
}

impl State {
    fn catch_up(&mut self, store: &Store<Stored>) {
        let revision = store.revision();
        if self.seen == Some(revision) {
            return;
        }
        let Self { follows: [cluster_roles, roles, cluster_bindings, bindings], index, .. } = self;
        index.follow_roles(cluster_roles, store, false, |role: &ClusterRole| role.rules.clone());
        index.follow_roles(roles, store, true, |role: &Role| role.rules.clone());
        index.follow_bindings(cluster_bindings, store, false, |binding: &ClusterRoleBinding| {
            (binding.role_ref.clone(), binding.subjects.clone())
        });
        index.follow_bindings(bindings, store, true, |binding: &RoleBinding| {
            (binding.role_ref.clone(), binding.subjects.clone())
        });
        self.seen = Some(revision);
    }
}

impl Index {
    fn follow_roles<K: Readable>(
        &mut self,
        follow: &mut Follow,
        store: &Store<Stored>,
        namespaced: bool,
        rules: impl Fn(&K) -> Option<Vec<PolicyRule>>,
    ) {
        let read = |stored: &Stored| {
            let role = stored.object().decode::<K>().ok()?;
            Some(Arc::new(rules(&role).unwrap_or_default()))
        };
        while let Some(news) = follow.news(store) {
            match news {
                News::All(snapshot) => {
                    self.roles.retain(|key, _| key.contains('/') != namespaced);
                    for (key, stored) in &snapshot.objects {
                        self.roles.extend(read(stored).map(|rules| (Arc::clone(key), rules)));
                    }
                }
                News::One(event) => {
                    self.roles.remove(&event.key.name);
                    if !event.deleted {
                        self.roles.extend(read(&event.object).map(|rules| (event.key.name, rules)));
                    }
                }
            }
        }
    }

    fn follow_bindings<K: Readable>(
        &mut self,
        follow: &mut Follow,
        store: &Store<Stored>,
        namespaced: bool,
        read: impl Fn(&K) -> (RoleRef, Option<Vec<Subject>>),
    ) {
        let read = |stored: &Stored| {
            let (role, subjects) = read(&*stored.object().decode::<K>().ok()?);
            let meta = stored.object().meta();
            let namespace = meta.namespace.as_deref().unwrap_or_default().to_owned();
            let subjects = subjects.unwrap_or_default();
            Some(Binding { namespace, name: meta.name.to_string(), role, subjects })
        };
        while let Some(news) = follow.news(store) {
            match news {
                News::All(snapshot) => {
                    let old: Vec<Arc<str>> =
                        self.bindings.keys().filter(|key| key.contains('/') == namespaced).cloned().collect();
                    old.iter().for_each(|key| self.unbind(key));
                    for (key, stored) in &snapshot.objects {
                        if let Some(binding) = read(stored) {
                            self.bind(Arc::clone(key), binding);
                        }
                    }
                }
                News::One(event) => {
                    self.unbind(&event.key.name);
                    if let Some(binding) = read(&event.object).filter(|_| !event.deleted) {
                        self.bind(event.key.name, binding);
                    }
                }
            }
        }
    }

    fn bind(&mut self, key: Arc<str>, binding: Binding) {
        for subject in &binding.subjects {
            let Some((holders, name)) =
                holder(&mut self.users, &mut self.groups, subject, &binding.namespace)
            else {
                continue;
            };
            let of_namespace = holders.entry(name).or_default().entry(binding.namespace.clone());
            of_namespace.or_default().insert(Arc::clone(&key));
        }
        self.bindings.insert(key, binding);
    }

    fn unbind(&mut self, key: &Arc<str>) {
        let Some(binding) = self.bindings.remove(key) else { return };
        for subject in &binding.subjects {
            let found = holder(&mut self.users, &mut self.groups, subject, &binding.namespace);
            let Some((holders, name)) = found else { continue };
            let Some(namespaces) = holders.get_mut(&name) else { continue };
            if let Some(keys) = namespaces.get_mut(&binding.namespace) {
                keys.remove(key);
                if keys.is_empty() {
                    namespaces.remove(&binding.namespace);
                }
            }
            if namespaces.is_empty() {
                holders.remove(&name);
            }
        }
    }

    /// Those of the cluster first, then those of the namespace.
    fn bindings_of<'a>(&'a self, user: &'a User, namespace: &'a str) -> impl Iterator<Item = &'a Binding> {
        let places = if namespace.is_empty() { vec![""] } else { vec!["", namespace] };
        let own = self.users.get(&*user.name).into_iter();
        let held: Vec<_> = own.chain(user.groups.iter().filter_map(|group| self.groups.get(group))).collect();
        places.into_iter().flat_map(move |place| {
            let keys: BTreeSet<&Arc<str>> = held.iter().filter_map(|by| by.get(place)).flatten().collect();
            keys.into_iter().filter_map(|key| self.bindings.get(key)).collect::<Vec<_>>()
        })
    }

    fn rules(&self, role: &RoleRef, namespace: &str) -> Result<&Rules, String> {
        let place = (role.kind == "Role").then_some(namespace);
        self.roles.get(&meta::key(place, &role.name)).ok_or_else(|| {
            let kind = role.kind.to_lowercase();
            format!("{kind}.rbac.authorization.k8s.io \"{}\" not found", role.name)
        })
    }
}

/// Where a subject's bindings are kept, and under which name.
fn holder<'a>(
    users: &'a mut Holders,
    groups: &'a mut Holders,
    subject: &Subject,
    namespace: &str,
) -> Option<(&'a mut Holders, String)> {
    match subject.kind.as_str() {
        "User" => Some((users, subject.name.clone())),
        "Group" => Some((groups, subject.name.clone())),
        "ServiceAccount" => Some((users, account(subject, namespace)?)),
        _ => None,
    }
}

/// The user name of a service account; its namespace is the binding's unless it says otherwise.
fn account(subject: &Subject, namespace: &str) -> Option<String> {
    let place = subject.namespace.as_deref().filter(|own| !own.is_empty()).unwrap_or(namespace);
    (!place.is_empty()).then(|| format!("{ACCOUNT_PREFIX}{place}:{}", subject.name))
}

impl Binding {
    /// In upstream's words, for reviews.
    fn shown(&self, user: &User) -> String {
        let (kind, name) = match self.namespace.as_str() {
            "" => ("ClusterRoleBinding", self.name.clone()),
            namespace => ("RoleBinding", format!("{}/{namespace}", self.name)),
        };
        let applies = |subject: &&Subject| match subject.kind.as_str() {
            "User" => subject.name == *user.name,
            "Group" => user.is_in(&subject.name),
            _ => account(subject, &self.namespace).as_deref() == Some(&*user.name),
        };
        let whom = self.subjects.iter().find(applies).map(|subject| match subject.kind.as_str() {
            "ServiceAccount" => {
                let place = subject.namespace.as_deref().filter(|own| !own.is_empty());
                format!("ServiceAccount \"{}/{}\"", subject.name, place.unwrap_or(&self.namespace))
            }
            kind => format!("{kind} {:?}", subject.name),
        });
        let (role_kind, role) = (&self.role.kind, &self.role.name);
        format!("{kind} {name:?} of {role_kind} {role:?} to {}", whom.unwrap_or_default())
    }
}
