//! The objects a cluster has before anybody asked for any: its namespaces and the service of the server itself.

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Namespace, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointPort as SlicePort, EndpointSlice,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::{ApiError, Object, Readable, names};

use crate::api::Api;
use crate::registry::update::{Part, Proposal, Update, update};
use crate::registry::{Scope, create};
use crate::user::User;
use crate::verbs::input;

/// Namespaces that are always there.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", names::NODE_LEASE_NAMESPACE];
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
    ensure(api, "default", &service(api), false).await?;
    // Nobody else reaches a loopback address, and endpoints may not have one.
    if let Some(address) = api.settings.advertise.filter(|address| !address.ip().is_loopback()) {
        ensure(api, "default", &endpoints(address), true).await?;
        ensure(api, "default", &slice(address), true).await?;
    }
    Ok(())
}

/// Creates the object if it is not there; brings it up to date if `renew`. Kinds that are not in the table are left
/// out.
async fn ensure<K: Readable>(api: &Api, namespace: &str, object: &K, renew: bool) -> Result<(), ApiError> {
    let Some(entry) = api.catalog.of::<K>() else { return Ok(()) };
    let user = User::server();
    let name = object.metadata().name.clone().unwrap_or_default();
    let scope =
        Scope { api, entry, user: &user, namespace, name: &name, subresource: "", legacy_name: false };
    let json = serde_json::to_vec(object).map_err(ApiError::internal)?;
    let propose = || input::decode(entry, &json, skiff_api::Strictness::Ignore);
    match (scope.current(), renew) {
        (None, _) => match create::create(&scope, propose()?.draft, false).await {
            Err(error) if error.reason() == "AlreadyExists" => Ok(()),
            other => other.map(|_| ()),
        },
        (Some(_), false) => Ok(()),
        (Some(_), true) => {
            let change = |_: Option<&Object>| Ok(Proposal::quiet(propose()?.draft));
            let how = Update { part: Part::Whole, dry_run: false, change: &change, upsert: false };
            update(&scope, &how).await.map(|_| ())
        }
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
