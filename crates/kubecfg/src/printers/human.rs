//! The tables of October 2014, a function a kind.

use skiff_api::v1beta1::value::Map;
use skiff_api::v1beta1::{Event, Kind, Minion, Object, Pod, ReplicationController, Row, Service};

use super::table::table;
use super::{Shown, Unprintable};

/// How objects of one kind are shown.
struct Columns {
    row: &'static Row,
    headings: &'static [&'static str],
    cells: fn(&dyn Object) -> Vec<String>,
}

const KINDS: &[Columns] = &[
    Columns {
        row: Pod::ROW,
        headings: &["ID", "Image(s)", "Host", "Labels", "Status"],
        cells: |object| of(object, pod),
    },
    Columns {
        row: ReplicationController::ROW,
        headings: &["ID", "Image(s)", "Selector", "Replicas"],
        cells: |object| of(object, controller),
    },
    Columns {
        row: Service::ROW,
        headings: &["ID", "Labels", "Selector", "Port"],
        cells: |object| of(object, service),
    },
    Columns { row: Minion::ROW, headings: &["Minion identifier"], cells: |object| of(object, minion) },
    Columns {
        row: Event::ROW,
        headings: &["Name", "Kind", "Status", "Reason", "Message"],
        cells: |object| of(object, event),
    },
];

/// The object as its own type; a kind is only ever shown by its own row.
fn of<K: Kind>(object: &dyn Object, cells: fn(&K) -> Vec<String>) -> Vec<String> {
    object.as_any().downcast_ref::<K>().map(cells).unwrap_or_default()
}

/// The table of whatever it is.
pub(crate) fn print(shown: &Shown) -> Result<String, Unprintable> {
    let objects: Vec<&dyn Object> = match shown {
        Shown::Status(status) => return Ok(table(&["Status"], &[vec![status.status.clone()]])),
        Shown::One(object) => vec![object.as_ref()],
        Shown::List(list) => list.items.iter().map(AsRef::as_ref).collect(),
    };
    let row = match shown {
        Shown::List(list) => list.row,
        _ => objects[0].row(),
    };
    let Some(columns) = KINDS.iter().find(|columns| columns.row == row) else {
        return Err(Unprintable::Kind(row.kind.to_owned()));
    };
    let rows: Vec<_> = objects.into_iter().map(columns.cells).collect();
    Ok(table(columns.headings, &rows))
}

fn labels(map: &Map) -> String {
    let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

fn images(manifest: &skiff_api::v1beta1::ContainerManifest) -> String {
    let images: Vec<&str> =
        manifest.containers.iter().flatten().map(|container| container.image.as_str()).collect();
    images.join(",")
}

fn pod(pod: &Pod) -> Vec<String> {
    let current = &pod.current_state;
    let host = if current.host.is_empty() && current.host_ip.is_empty() {
        "<unassigned>".to_owned()
    } else {
        format!("{}/{}", current.host, current.host_ip)
    };
    vec![
        pod.meta.id.clone(),
        images(&pod.desired_state.manifest),
        host,
        labels(&pod.labels),
        current.status.clone(),
    ]
}

fn controller(controller: &ReplicationController) -> Vec<String> {
    let desired = &controller.desired_state;
    vec![
        controller.meta.id.clone(),
        images(&desired.pod_template.desired_state.manifest),
        labels(desired.replica_selector.as_ref().unwrap_or(&Map::new())),
        desired.replicas.to_string(),
    ]
}

fn service(service: &Service) -> Vec<String> {
    vec![
        service.meta.id.clone(),
        labels(&service.labels),
        labels(service.selector.as_ref().unwrap_or(&Map::new())),
        service.port.to_string(),
    ]
}

fn minion(minion: &Minion) -> Vec<String> {
    vec![minion.meta.id.clone()]
}

fn event(event: &Event) -> Vec<String> {
    vec![
        event.involved_object.name.clone(),
        event.involved_object.kind.clone(),
        event.status.clone(),
        event.reason.clone(),
        event.message.clone(),
    ]
}
