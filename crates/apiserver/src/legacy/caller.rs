//! One request of 2014 on its way through the door: who asks, for which namespace, and how v1 is asked on their behalf.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{Extensions, Method};
use http_body_util::{BodyExt, Full};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status as V1Status;
use serde_json::Value;
use skiff_api::v1beta1::{Row, Status};

use super::answer::{self, encoded};
use super::{Backend, LegacyName};
use crate::request::Query;
use crate::wire::{Incoming, Request, Response, incoming};

/// The largest body that is read, as v1's.
const BODY_MAX: usize = 3 * 1024 * 1024;

/// A request's context.
pub(super) struct Caller {
    backend: Arc<dyn Backend>,
    extensions: Extensions,
    query: Query,
    /// `v1beta1` or `v1beta2`: the version word of the answer.
    pub(super) version: &'static str,
}

impl Caller {
    pub(super) fn new(backend: Arc<dyn Backend>, parts: &Parts, version: &'static str, query: &str) -> Self {
        let mut extensions = parts.extensions.clone();
        // The connection's upgrade is the door's to use; no v1 request of its own may take it.
        extensions.remove::<hyper::upgrade::OnUpgrade>();
        Self { backend, extensions, query: Query::parse(query), version }
    }

    /// A query parameter; empty if it is absent.
    pub(super) fn param(&self, name: &str) -> &str {
        self.query.get(name).unwrap_or_default()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.query.flag(name)
    }

    /// The namespace asked for; `default` if none is.
    pub(super) fn namespace(&self) -> &str {
        match self.param("namespace") {
            "" => "default",
            namespace => namespace,
        }
    }

    /// The v1 path of a collection.
    pub(super) fn collection(&self, row: &Row, namespace: &str) -> String {
        if row.namespaced {
            format!("/api/v1/namespaces/{}/{}", encoded(namespace), row.plural)
        } else {
            format!("/api/v1/{}", row.plural)
        }
    }

    /// The v1 path of an object.
    pub(super) fn object(&self, row: &Row, namespace: &str, id: &str) -> String {
        format!("{}/{}", self.collection(row, namespace), encoded(id))
    }

    /// Sends a request to v1 and hands out its answer as it comes.
    pub(super) async fn send(&self, mut request: Request) -> Response {
        let mut extensions = self.extensions.clone();
        extensions.extend(std::mem::take(request.extensions_mut()));
        *request.extensions_mut() = extensions;
        self.backend.call(request).await
    }

    /// Asks v1 without a body.
    pub(super) async fn ask(&self, method: Method, uri: &str) -> Result<Response, Box<Status>> {
        let body = incoming(Full::new(Bytes::new()));
        Ok(self.send(request(method, uri, body)?).await)
    }

    /// Asks v1 with a JSON body; `named` if the object may have a name of 2014.
    pub(super) async fn put(
        &self,
        method: Method,
        uri: &str,
        body: &Value,
        named: bool,
    ) -> Result<Response, Box<Status>> {
        let bytes = Bytes::from(body.to_string());
        let mut request = request(method, uri, incoming(Full::new(bytes)))?;
        if named {
            request.extensions_mut().insert(LegacyName);
        }
        Ok(self.send(request).await)
    }

    /// Asks v1 for an object or list as a tree; a refusal is worded as one about `row` and `id`.
    pub(super) async fn fetch(&self, row: &Row, id: &str, uri: &str) -> Result<Value, Box<Status>> {
        let response = self.ask(Method::GET, uri).await?;
        read(row, id, response).await
    }

    /// A refusal in this version's words.
    pub(super) fn refuse(&self, status: &Status) -> Response {
        answer::status(status, self.version)
    }
}

/// A request of the door to v1.
pub(super) fn request(method: Method, uri: &str, body: Incoming) -> Result<Request, Box<Status>> {
    http::Request::builder()
        .method(method)
        .uri(uri)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|error| Status::error(error.to_string()).into())
}

/// The tree in a v1 answer, or its refusal in the words of 2014.
pub(super) async fn read(row: &Row, id: &str, response: Response) -> Result<Value, Box<Status>> {
    let code = response.status();
    let body = response.into_body().collect().await.map_err(|error| Status::error(error.to_string()))?;
    let bytes = body.to_bytes();
    if code.is_success() {
        return serde_json::from_slice(&bytes).map_err(|error| Status::error(error.to_string()).into());
    }
    Err(refusal(row, id, code.as_u16(), &bytes).into())
}

/// A v1 refusal in the words of 2014.
pub(super) fn refusal(row: &Row, id: &str, code: u16, body: &[u8]) -> Status {
    match skiff_api::decode::from_slice::<V1Status>(body) {
        Ok(status) => Status::from_v1(row, id, &status),
        Err(_) => Status::failure(code, "", String::from_utf8_lossy(body).trim().to_owned()),
    }
}

/// The whole of a client's body.
pub(super) async fn body(mut body: Incoming) -> Result<Bytes, Box<Status>> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::error(error.to_string()))?;
        let Some(data) = frame.data_ref() else { continue };
        if whole.len() + data.len() > BODY_MAX {
            let message = format!("Request entity too large: limit is {BODY_MAX}");
            return Err(Status::failure(413, "RequestEntityTooLarge", message).into());
        }
        whole.extend_from_slice(data);
    }
    Ok(whole.freeze())
}
