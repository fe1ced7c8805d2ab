//! `/redirect/R/ID`: sends the client to where an object can be reached itself.

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use rand::seq::IndexedRandom;
use skiff_api::v1beta1::{Endpoints, Kind, Minion, Row, Status};

use super::caller::Caller;
use crate::wire::{Body, Response};

/// The kubelet's own server; it speaks TLS.
const KUBELET_PORT: u16 = 10250;

/// 307 to one of a service's endpoints, or to a minion's kubelet.
pub(super) async fn redirect(caller: &Caller, row: &'static Row, id: &str) -> Response {
    match location(caller, row, id).await {
        Ok(location) => moved(&location),
        Err(status) => caller.refuse(&status),
    }
}

fn moved(location: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

async fn location(caller: &Caller, row: &'static Row, id: &str) -> Result<String, Box<Status>> {
    let wanted = if row.segment == "services" { Endpoints::ROW } else { Minion::ROW };
    let uri = caller.object(wanted, caller.namespace(), id);
    let v1 = caller.fetch(row, id, &uri).await?;
    let object = (wanted.read)(v1).map_err(|error| Status::error(error.to_string()))?;
    if let Some(minion) = object.as_any().downcast_ref::<Minion>() {
        let host = if minion.host_ip.is_empty() { id } else { &minion.host_ip };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        return Ok(format!("https://{host}:{KUBELET_PORT}"));
    }
    let endpoints = object.as_any().downcast_ref::<Endpoints>().map(|found| found.endpoints.as_slice());
    match endpoints.unwrap_or_default().choose(&mut rand::rng()) {
        Some(endpoint) => Ok(format!("http://{endpoint}")),
        None => Err(Status::error(format!("no endpoints available for \"{id}\"")).into()),
    }
}
