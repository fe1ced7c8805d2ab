//! ComponentStatus: whether the server's own parts are well. Answered and not kept; deprecated, and yet asked by tools.
//!
//! Scheduler and controllers are tasks of the server's own process, which ends when one of them does: who gets an answer
//! knows that they run.

use k8s_openapi::api::core::v1::{ComponentCondition, ComponentStatus};
use serde_json::json;
use skiff_api::Object;

use crate::api::Api;
use crate::kinds::{Column, Kind, Row, row};

/// The row of ComponentStatus.
pub(crate) const KIND: Row =
    Row { short: &["cs"], verbs: &["get", "list"], computed: Some(computed), ..row::<ComponentStatus>() };

/// Upstream's names of the parts.
const PARTS: [&str; 3] = ["controller-manager", "etcd-0", "scheduler"];

fn computed(api: &Api) -> Vec<Object> {
    let part = |name: &str| {
        let well = name != "etcd-0" || api.store_is_open();
        let condition = if well {
            json!({ "type": "Healthy", "status": "True", "message": "ok" })
        } else {
            json!({ "type": "Healthy", "status": "False", "message": "", "error": "the store is closed" })
        };
        let object = json!({
            "apiVersion": "v1", "kind": "ComponentStatus", "metadata": { "name": name },
            "conditions": [condition],
        });
        Object::parse(object.to_string().into_bytes().into()).ok()
    };
    PARTS.into_iter().filter_map(part).collect()
}

fn healthy(status: &ComponentStatus) -> Option<&ComponentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == "Healthy")
}

impl Kind for ComponentStatus {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Status", |status, _| match healthy(status).map(|it| it.status.as_str()) {
                Some("True") => "Healthy".into(),
                Some("False") => "Unhealthy".into(),
                _ => "Unknown".into(),
            }),
            Column::text("Message", |status, _| healthy(status).and_then(|it| it.message.as_deref()).into()),
            Column::text("Error", |status, _| healthy(status).and_then(|it| it.error.as_deref()).into()),
        ]
    }
}
