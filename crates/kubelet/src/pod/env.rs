//! A container's environment: references resolved, `$(VAR)` expanded, services added.
//!
//! Pure: the objects that references name were fetched before ([`wanted`] says which). Order and precedence
//! are upstream's: `envFrom`, then `env` in order, each seeing what came before it; service variables only where
//! nothing else has that name.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, ResourceFieldSelector, Secret,
    Service,
};

use super::{find_container, namespace, resources, services};

/// The objects a container's environment refers to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    pub(crate) config_maps: BTreeMap<String, ConfigMap>,
    pub(crate) secrets: BTreeMap<String, Secret>,
    pub(crate) services: Vec<Service>,
}

/// Names of the objects to fetch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) config_maps: BTreeSet<String>,
    pub(crate) secrets: BTreeSet<String>,
}

/// What the node knows and a field reference may ask for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) pod_ips: Vec<String>,
    pub(crate) host_ips: Vec<String>,
    /// The node's allocatable CPU in thousandths and memory in bytes: a container's limit where it has none.
    pub(crate) node_cpu_milli: i64,
    pub(crate) node_memory: i64,
}

/// Why a container's configuration cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvError {
    #[error("configmap \"{0}\" not found")]
    NoConfigMap(String),
    #[error("secret \"{0}\" not found")]
    NoSecret(String),
    #[error("couldn't find key {key} in ConfigMap {object}")]
    NoConfigKey { key: String, object: String },
    #[error("couldn't find key {key} in Secret {object}")]
    NoSecretKey { key: String, object: String },
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    #[error("unsupported container resource: {0}")]
    Resource(String),
    #[error("container {0} not found")]
    NoContainer(String),
}

/// Which objects a container's environment refers to.
pub(crate) fn wanted(container: &Container) -> Wanted {
    let mut wanted = Wanted::default();
    for source in container.env_from.iter().flatten() {
        wanted.config_maps.extend(source.config_map_ref.as_ref().map(|one| one.name.clone()));
        wanted.secrets.extend(source.secret_ref.as_ref().map(|one| one.name.clone()));
    }
    for from in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        wanted.config_maps.extend(from.config_map_key_ref.as_ref().map(|one| one.name.clone()));
        wanted.secrets.extend(from.secret_key_ref.as_ref().map(|one| one.name.clone()));
    }
    wanted
}

/// The environment of `container`, in order.
pub(crate) fn resolve(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    facts: &Facts,
) -> Result<Vec<(String, String)>, EnvError> {
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let offered = services::variables(&sources.services, namespace(pod), links);
    let mut env = Ordered::default();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(one) = &source.config_map_ref {
            match sources.config_maps.get(&one.name) {
                Some(map) => {
                    for (key, value) in map.data.iter().flatten() {
                        env.set(format!("{prefix}{key}"), value.clone());
                    }
                }
                None if one.optional.unwrap_or(false) => {}
                None => return Err(EnvError::NoConfigMap(one.name.clone())),
            }
        }
        if let Some(one) = &source.secret_ref {
            match sources.secrets.get(&one.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        env.set(format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
                    }
                }
                None if one.optional.unwrap_or(false) => {}
                None => return Err(EnvError::NoSecret(one.name.clone())),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(pod, container, variable, sources, facts, &env, &offered)? {
            env.set(variable.name.clone(), value);
        }
    }
    for (key, value) in offered {
        if env.get(&key).is_none() {
            env.set(key, value);
        }
    }
    Ok(env.0)
}

/// A list of pairs in which a name occurs once, where it was first set.
#[derive(Default)]
struct Ordered(Vec<(String, String)>);

impl Ordered {
    fn set(&mut self, key: String, value: String) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

#[expect(clippy::too_many_arguments, reason = "private; all of them are what a value may depend on")]
fn value(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    sources: &Sources,
    facts: &Facts,
    env: &Ordered,
    offered: &BTreeMap<String, String>,
) -> Result<Option<String>, EnvError> {
    if let Some(from) = &variable.value_from {
        return referred(pod, container, from, sources, facts);
    }
    let text = variable.value.as_deref().unwrap_or_default();
    let lookup =
        |name: &str| env.get(name).or_else(|| offered.get(name).map(String::as_str)).map(str::to_owned);
    Ok(Some(expand(text, lookup)))
}

fn referred(
    pod: &Pod,
    container: &Container,
    from: &EnvVarSource,
    sources: &Sources,
    facts: &Facts,
) -> Result<Option<String>, EnvError> {
    let object = |name: &str| format!("{}/{name}", namespace(pod));
    if let Some(field) = &from.field_ref {
        return self::field(pod, field, facts).map(Some);
    }
    if let Some(resource) = &from.resource_field_ref {
        return self::resource(pod, container, resource, facts).map(Some);
    }
    if let Some(one) = &from.config_map_key_ref {
        let optional = one.optional.unwrap_or(false);
        let Some(map) = sources.config_maps.get(&one.name) else {
            return if optional { Ok(None) } else { Err(EnvError::NoConfigMap(one.name.clone())) };
        };
        return match map.data.as_ref().and_then(|data| data.get(&one.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(EnvError::NoConfigKey { key: one.key.clone(), object: object(&one.name) }),
        };
    }
    if let Some(one) = &from.secret_key_ref {
        let optional = one.optional.unwrap_or(false);
        let Some(secret) = sources.secrets.get(&one.name) else {
            return if optional { Ok(None) } else { Err(EnvError::NoSecret(one.name.clone())) };
        };
        return match secret.data.as_ref().and_then(|data| data.get(&one.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None if optional => Ok(None),
            None => Err(EnvError::NoSecretKey { key: one.key.clone(), object: object(&one.name) }),
        };
    }
    Ok(None)
}

/// A field of the pod, as the downward API names it.
fn field(pod: &Pod, selector: &ObjectFieldSelector, facts: &Facts) -> Result<String, EnvError> {
    let path = selector.field_path.as_str();
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let subscript = |kind: &str| path.strip_prefix(kind)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = subscript("metadata.labels") {
        return Ok(meta.labels.as_ref().and_then(|labels| labels.get(key)).cloned().unwrap_or_default());
    }
    if let Some(key) = subscript("metadata.annotations") {
        return Ok(super::annotation(pod, key).unwrap_or_default().to_owned());
    }
    let text = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" => facts.host_ips.first().cloned(),
        "status.hostIPs" => Some(facts.host_ips.join(",")),
        "status.podIP" => facts.pod_ips.first().cloned(),
        "status.podIPs" => Some(facts.pod_ips.join(",")),
        _ => return Err(EnvError::Field(path.to_owned())),
    };
    Ok(text.unwrap_or_default())
}

/// A request or limit, in units of the divisor, rounded up.
fn resource(
    pod: &Pod,
    own: &Container,
    selector: &ResourceFieldSelector,
    facts: &Facts,
) -> Result<String, EnvError> {
    let other = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => Some(find_container(pod, name).ok_or_else(|| EnvError::NoContainer(name.to_owned()))?),
        None => None,
    };
    let container = other.as_deref().unwrap_or(own);
    let unknown = || EnvError::Resource(selector.resource.clone());
    let (kind, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let whole_node = match name {
        "cpu" => facts.node_cpu_milli,
        "memory" => facts.node_memory.saturating_mul(1000),
        _ => 0,
    };
    let milli = match kind {
        "limits" => resources::limit(container, name).unwrap_or(whole_node),
        "requests" => resources::request(container, name),
        _ => return Err(unknown()),
    };
    let divisor = selector.divisor.as_ref().map_or(0, resources::milli);
    let divisor = if divisor <= 0 { 1000 } else { divisor };
    Ok((milli / divisor + i64::from(milli % divisor > 0)).to_string())
}

/// Replaces `$(NAME)` by what `lookup` knows; what it does not know stays as written, `$$` is a dollar.
pub(crate) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(more) = after.strip_prefix('$') {
            result.push('$');
            rest = more;
        } else if let Some((name, more)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            result.push_str(&lookup(name).unwrap_or_else(|| format!("$({name})")));
            rest = more;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    result
}
