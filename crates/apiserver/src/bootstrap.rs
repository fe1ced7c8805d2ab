//! The objects a cluster has before anybody asked for any: its namespaces, the service of the server itself, roles.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{
    ConfigMap, EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Namespace, Service, ServicePort,
    ServiceSpec,
};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointPort as SlicePort, EndpointSlice,
};
use k8s_openapi::api::networking::v1::{ServiceCIDR, ServiceCIDRSpec, ServiceCIDRStatus};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::{ApiError, Object, Readable, names};
use skiff_base::task::Tasks;
use skiff_store::Key;

use crate::api::Api;
use crate::kinds::flowcontrol::bootstrap as flowcontrol;
use crate::kinds::scheduling::priority_class::SYSTEM_CLASSES;
use crate::registry::update::{Part, Proposal, Update, update};
use crate::registry::{Scope, create};
use crate::stored::Stored;
use crate::user::User;
use crate::verbs::input;

pub(crate) mod events;
pub(crate) mod identity;
mod policy;
mod roles;
mod storage_versions;

/// Namespaces that are always there.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", names::NODE_LEASE_NAMESPACE];
/// Whom to believe, for other API servers.
const AUTHENTICATION: &str = "extension-apiserver-authentication";
/// The server's own service.
const SERVICE: &str = "kubernetes";

/// Makes what is missing.
///
/// # Errors
/// If an object is refused, or the store fails.
pub(crate) async fn objects(api: &Api) -> Result<(), ApiError> {
    for name in NAMESPACES {
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        ensure(api, "", &namespace, false).await?;
    }
    for (name, value, description) in SYSTEM_CLASSES {
        ensure(api, "", &priority_class(name, *value, description), false).await?;
    }
    // Only where there is no choice yet: who has classes of their own wants no other default.
    if api.store.snapshot("storage.k8s.io/storageclasses").objects.is_empty() {
        ensure(api, "", &local_path(), false).await?;
    }
    match grown_range(api) {
        Some(range) => ensure(api, "", &range, true).await?,
        None => ensure(api, "", &service_range(api), false).await?,
    }
    ensure(api, "default", &service(api), false).await?;
    for level in flowcontrol::levels() {
        ensure(api, "", &level, false).await?;
    }
    for schema in flowcontrol::schemas() {
        ensure(api, "", &schema, false).await?;
    }
    if let Some(map) = authentication(api)? {
        ensure(api, "kube-system", &map, true).await?;
    }
    // Nobody else reaches a loopback address, and endpoints may not have one.
    if let Some(address) = api.settings.advertise.filter(|address| !address.ip().is_loopback()) {
        ensure(api, "default", &endpoints(address), true).await?;
        ensure(api, "default", &slice(address), true).await?;
    }
    Ok(())
}

/// Brings the cluster's own roles and bindings up to date.
///
/// # Errors
/// If an object is refused, or the store fails.
pub(crate) async fn roles(api: &Api) -> Result<(), ApiError> {
    roles::reconcile(api).await
}

/// Writes values again as they are, since they lie on disk in another way than they should: in plain text, or under an
/// older key.
pub(crate) async fn renew(api: &Api, keys: Vec<skiff_store::Key>) {
    for key in keys {
        let Some(stored) = api.store.get(&key) else { continue };
        let object = Arc::clone(stored.object());
        let expect = skiff_store::Expect::Revision(object.meta().revision);
        let write = skiff_store::Write::put(key, expect, move |revision| {
            crate::stored::restamped(&object, revision, crate::stored::Change::Modified)
        });
        // Who wrote meanwhile has done the same.
        if let Err(error) = api.store.write(write).await {
            tracing::debug!(%error, "a value was not renewed");
        }
    }
}

/// Makes again what somebody deletes, as upstream's server does for its own service.
pub(crate) async fn keep(api: Arc<Api>, tasks: Tasks) -> Result<(), Infallible> {
    let watch = |table: &str| {
        let table = table.to_owned();
        let api = Arc::clone(&api);
        // A watcher that falls behind starts anew; what it missed is looked at below.
        stream::unfold(None, move |watch: Option<skiff_store::Watch<Stored>>| {
            let (api, table) = (Arc::clone(&api), table.clone());
            async move {
                let mut watch = watch.unwrap_or_else(|| api.store.snapshot_and_watch(&table).1);
                match watch.next().await {
                    Some(Ok(event)) => Some((is_ours(&event), Some(watch))),
                    Some(Err(_)) => Some((true, None)),
                    None => None,
                }
            }
        })
        .boxed()
    };
    let tables = [
        "configmaps",
        "namespaces",
        "services",
        "endpoints",
        "discovery.k8s.io/endpointslices",
        "networking.k8s.io/servicecidrs",
    ];
    let mut changes = stream::select_all(tables.map(watch));
    loop {
        let ours = tokio::select! {
            () = tasks.stopped() => return Ok(()),
            next = changes.next() => next,
        };
        match ours {
            Some(true) => {
                if let Err(error) = objects(&api).await {
                    tracing::warn!(%error, "the cluster's own objects are incomplete");
                }
            }
            Some(false) => {}
            None => return Ok(()),
        }
    }
}

fn is_ours(event: &skiff_store::Event<Stored>) -> bool {
    let key = &*event.key.name;
    let is_ours = |key: &str| match key.split_once('/') {
        // The last one is the range of the services.
        None => NAMESPACES.contains(&key) || key == SERVICE,
        Some(("default", name)) => name == SERVICE,
        Some(("kube-system", name)) => name == AUTHENTICATION,
        Some(_) => false,
    };
    event.deleted && is_ours(key)
}

/// Creates the object if it is not there; brings it up to date if `renew`. Kinds that are not in the table are left
/// out.
pub(crate) async fn ensure<K: Readable>(
    api: &Api,
    namespace: &str,
    object: &K,
    renew: bool,
) -> Result<(), ApiError> {
    let Some(entry) = &api.catalog.of::<K>() else { return Ok(()) };
    let user = User::server();
    let name = object.metadata().name.clone().unwrap_or_default();
    let scope =
        Scope { namespace, name: &name, manager: Some("kube-apiserver"), ..Scope::own(api, entry, &user) };
    let json = serde_json::to_vec(object).map_err(ApiError::internal)?;
    let propose = || input::decode(entry, &json, skiff_api::Strictness::Ignore);
    match (scope.current().await?, renew) {
        (None, _) => match create::create(&scope, propose()?.draft, false).await {
            Err(error) if error.reason() == "AlreadyExists" => Ok(()),
            other => other.map(|_| ()),
        },
        (Some(_), false) => Ok(()),
        (Some(_), true) => {
            let change = |current: Option<&Object>| {
                let mut draft = propose()?.draft;
                // Some kinds, leases among them, want to be told what is replaced.
                draft.meta_mut().resource_version = current.map(|object| object.meta().revision.to_string());
                Ok(Proposal::quiet(draft))
            };
            let how = Update { part: Part::Whole, dry_run: false, change: &change, upsert: false };
            update(&scope, &how).await.map(|_| ())
        }
    }
}

fn priority_class(name: &str, value: i32, description: &str) -> PriorityClass {
    PriorityClass {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        value: Some(value),
        description: Some(description.to_owned()),
        ..PriorityClass::default()
    }
}

/// The ranges that the server was started with: as upstream's server and then its controller make it, in one write.
fn service_range(api: &Api) -> ServiceCIDR {
    let cidrs = Some(api.alloc.ranges());
    let ready = Condition {
        type_: "Ready".to_owned(),
        status: "True".to_owned(),
        message: names::SERVICE_CIDR_READY.to_owned(),
        reason: String::new(),
        last_transition_time: Time(api.clock.now_seconds()),
        observed_generation: None,
    };
    ServiceCIDR {
        metadata: ObjectMeta {
            name: Some(SERVICE.to_owned()),
            finalizers: Some(vec![names::SERVICE_CIDR_FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceCIDRSpec { cidrs }),
        status: Some(ServiceCIDRStatus { conditions: Some(vec![ready]) }),
    }
}

/// The range that is there, with the second one that the server was started with, if that is what it lacks: a cluster may
/// become dual-stack.
fn grown_range(api: &Api) -> Option<ServiceCIDR> {
    let stored = api.store.get(&Key::new(Arc::<str>::from("networking.k8s.io/servicecidrs"), SERVICE))?;
    let range = stored.object().decode::<ServiceCIDR>().ok()?;
    let held = range.spec.as_ref()?.cidrs.as_deref()?;
    let own = api.alloc.ranges();
    let grows = held.len() == 1 && own.len() == 2 && held.first() == own.first();
    grows.then(|| ServiceCIDR { spec: Some(ServiceCIDRSpec { cidrs: Some(own) }), ..(*range).clone() })
}

/// The class of folders on nodes.
fn local_path() -> StorageClass {
    let default = ("storageclass.kubernetes.io/is-default-class".to_owned(), "true".to_owned());
    StorageClass {
        metadata: ObjectMeta {
            name: Some("local-path".to_owned()),
            annotations: Some([default].into()),
            ..ObjectMeta::default()
        },
        provisioner: skiff_api::volume::LOCAL_PATH.to_owned(),
        volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
        reclaim_policy: Some("Delete".to_owned()),
        allow_volume_expansion: Some(true),
        ..StorageClass::default()
    }
}

fn meta(name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
    let label = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("default".to_owned()),
        labels: Some(labels.iter().map(label).collect()),
        ..ObjectMeta::default()
    }
}

/// What other API servers must know to believe the same clients as we do, and us.
fn authentication(api: &Api) -> Result<Option<ConfigMap>, ApiError> {
    let mut data = BTreeMap::new();
    if let Some(ca) = &api.settings.ca_pem {
        data.insert("client-ca-file".to_owned(), ca.clone());
    }
    if let Some(front) = &api.settings.front_proxy {
        let names = serde_json::to_string(&front.names).map_err(ApiError::internal)?;
        data.insert("requestheader-client-ca-file".to_owned(), front.ca_pem.clone());
        for (key, value) in [
            ("allowed-names", names.as_str()),
            ("username-headers", r#"["X-Remote-User"]"#),
            ("group-headers", r#"["X-Remote-Group"]"#),
            ("uid-headers", r#"["X-Remote-Uid"]"#),
            ("extra-headers-prefix", r#"["X-Remote-Extra-"]"#),
        ] {
            data.insert(format!("requestheader-{key}"), value.to_owned());
        }
    }
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some(AUTHENTICATION.to_owned()), ..ObjectMeta::default() },
        data: Some(data),
        ..ConfigMap::default()
    };
    Ok(map.data.as_ref().is_some_and(|data| !data.is_empty()).then_some(map))
}

fn service(api: &Api) -> Service {
    let port = api.settings.advertise.map_or(6443, |address| address.port());
    let spec = ServiceSpec {
        cluster_ip: api.alloc.first().map(|address| address.to_string()),
        ports: Some(vec![ServicePort {
            name: Some("https".to_owned()),
            protocol: Some("TCP".to_owned()),
            port: 443,
            target_port: Some(IntOrString::Int(i32::from(port))),
            ..ServicePort::default()
        }]),
        session_affinity: Some("None".to_owned()),
        type_: Some("ClusterIP".to_owned()),
        ..ServiceSpec::default()
    };
    let labels = [("component", "apiserver"), ("provider", SERVICE)];
    Service { metadata: meta(SERVICE, &labels), spec: Some(spec), ..Service::default() }
}

fn endpoints(address: std::net::SocketAddr) -> Endpoints {
    Endpoints {
        metadata: meta(SERVICE, &[("endpointslice.kubernetes.io/skip-mirror", "true")]),
        subsets: Some(vec![EndpointSubset {
            addresses: Some(vec![EndpointAddress {
                ip: address.ip().to_string(),
                ..EndpointAddress::default()
            }]),
            ports: Some(vec![EndpointPort {
                name: Some("https".to_owned()),
                port: i32::from(address.port()),
                protocol: Some("TCP".to_owned()),
                ..EndpointPort::default()
            }]),
            ..EndpointSubset::default()
        }]),
    }
}

fn slice(address: std::net::SocketAddr) -> EndpointSlice {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    EndpointSlice {
        metadata: meta(SERVICE, &[(names::SERVICE_NAME, SERVICE)]),
        address_type: family.to_owned(),
        endpoints: Some(vec![Endpoint {
            addresses: vec![address.ip().to_string()],
            conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
            ..Endpoint::default()
        }]),
        ports: Some(vec![SlicePort {
            name: Some("https".to_owned()),
            port: Some(i32::from(address.port())),
            protocol: Some("TCP".to_owned()),
            ..SlicePort::default()
        }]),
    }
}
