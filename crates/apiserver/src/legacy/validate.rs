//! `/validate`: how the components are. The parts of a Skiff server live and fail as one process, so what its readiness
//! says is said of each of them; minions speak for themselves.

use http::Method;
use http_body_util::BodyExt;
use serde::Serialize;
use serde_json::Value;
use skiff_api::v1beta1::{Kind, Minion};

use super::caller::Caller;
use crate::wire::{self, Response};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    component: String,
    health: &'static str,
    health_code: u8,
    msg: String,
    /// The word `nil` where there is none, as Go printed it.
    err: String,
}

impl Health {
    fn of(component: String, well: bool, msg: String, err: String) -> Self {
        let (health, health_code) = if well { ("healthy", 0) } else { ("unhealthy", 1) };
        Self { component, health, health_code, msg, err }
    }
}

/// The array of components.
pub(super) async fn validate(caller: &Caller) -> Response {
    let mut found = Vec::new();
    let (well, msg, err) = server(caller).await;
    for component in ["controller-manager", "scheduler", "etcd-0"] {
        found.push(Health::of(component.to_owned(), well, msg.clone(), err.clone()));
    }
    let nodes = caller.fetch(Minion::ROW, "", &caller.collection(Minion::ROW, "")).await;
    match nodes {
        Ok(list) => {
            let nodes = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            found.extend(nodes.iter().enumerate().map(|(index, node)| minion(index, node)));
        }
        Err(status) => return caller.refuse(&status),
    }
    wire::encoded(200, &found)
}

async fn server(caller: &Caller) -> (bool, String, String) {
    let response = match caller.ask(Method::GET, "/readyz").await {
        Ok(response) => response,
        Err(status) => return (false, String::new(), status.message),
    };
    let code = response.status();
    let text = match response.into_body().collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => return (false, String::new(), error.to_string()),
    };
    if code.is_success() {
        return (true, text, "nil".to_owned());
    }
    let err = format!("unhealthy http status code: {} ({code})", code.as_u16());
    (false, text, err)
}

fn minion(index: usize, node: &Value) -> Health {
    let conditions = node["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    let well = ready.is_some_and(|condition| condition["status"] == "True");
    let text = |key: &str| ready.and_then(|condition| condition[key].as_str()).unwrap_or_default().to_owned();
    let err = if well { "nil".to_owned() } else { text("message") };
    let msg = if well { "ok".to_owned() } else { text("reason") };
    Health::of(format!("node-{index}"), well, msg, err)
}
