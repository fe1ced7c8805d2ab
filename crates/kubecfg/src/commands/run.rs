//! `run IMAGE REPLICAS NAME`: a controller of one container, and with `-s` a service in front of it.

use skiff_api::v1beta1::container::{Container, ContainerPort};
use skiff_api::v1beta1::value::Map;
use skiff_api::v1beta1::{ReplicationController, Service};

use super::{Call, controller};
use crate::ending::Ending;

/// The label that ties the pods to their controller and service.
const LABEL: &str = "simpleService";

pub(crate) async fn run(mut call: Call<'_>) -> Result<(), Ending> {
    let [image, replicas, name] = call.args else {
        return Err(Ending::fatal("usage: kubecfg [OPTIONS] run <image> <replicas> <controller>"));
    };
    let replicas = controller::replicas(replicas)?;
    let service_port = call.flags.number("s");
    if service_port > 0 && !is_label(name) {
        return Err(controller::failed(format!(
            "service name not valid: {name:?}: lower case letters, digits and inner dashes only"
        )));
    }
    let ports = ports(call.flags.text("p")).map_err(controller::failed)?;
    let made = planned(image, replicas, name, ports);
    let made = controller::create(&mut call, made).await.map_err(controller::failed)?;
    controller::print(&mut call, Box::new(made))?;
    if service_port > 0 {
        let service = fronting(name, service_port);
        let service = controller::create(&mut call, service).await.map_err(controller::failed)?;
        controller::print(&mut call, Box::new(service))?;
    }
    Ok(())
}

fn labels(name: &str) -> Map {
    Map::from([(LABEL.to_owned(), name.to_owned())])
}

fn planned(image: &str, replicas: i64, name: &str, ports: Vec<ContainerPort>) -> ReplicationController {
    let mut controller = ReplicationController::default();
    name.clone_into(&mut controller.meta.id);
    let desired = &mut controller.desired_state;
    desired.replicas = replicas;
    desired.replica_selector = Some(labels(name));
    desired.pod_template.labels = labels(name);
    let manifest = &mut desired.pod_template.desired_state.manifest;
    "v1beta2".clone_into(&mut manifest.version);
    manifest.containers = Some(vec![Container {
        name: name.to_lowercase(),
        image: image.to_owned(),
        ports,
        ..Container::default()
    }]);
    controller
}

fn fronting(name: &str, port: i64) -> Service {
    let mut service =
        Service { port, labels: labels(name), selector: Some(labels(name)), ..Service::default() };
    name.clone_into(&mut service.meta.id);
    service
}

/// `host:container` or `container`, joined by commas.
fn ports(spec: &str) -> Result<Vec<ContainerPort>, String> {
    let number = |text: &str| text.trim().parse::<i64>().map_err(|error| format!("port {text:?}: {error}"));
    spec.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (host, inside) = match part.split_once(':') {
                Some((host, inside)) => (number(host)?, number(inside)?),
                None => (0, number(part)?),
            };
            Ok(ContainerPort { host_port: host, container_port: inside, ..ContainerPort::default() })
        })
        .collect()
}

fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_with_and_without_a_host_port() {
        let read = ports("8080:80,443").unwrap();
        assert_eq!((read[0].host_port, read[0].container_port), (8080, 80));
        assert_eq!((read[1].host_port, read[1].container_port), (0, 443));
        assert_eq!(ports("").unwrap(), []);
        assert!(ports("a:b").is_err());
    }
}
