//! `rollingupdate NAME`: gives the template a new image (with `-image`), deletes the pods one by one and waits until
//! they are back.

use std::time::Duration;

use http::Method;
use skiff_api::v1beta1::kind::Parsed;
use skiff_api::v1beta1::value::Map;
use skiff_api::v1beta1::{Kind, Pod};

use super::{Call, controller};
use crate::client::Failure;
use crate::ending::Ending;

/// How often the pods are counted in the end, and for how long.
const POLL: Duration = Duration::from_secs(5);
const POLLS: u32 = 60;

pub(crate) async fn rolling_update(mut call: Call<'_>) -> Result<(), Ending> {
    let name = controller::name(call.args)?;
    let mut found = controller::read(&mut call, &name).await.map_err(controller::failed)?;
    let image = call.flags.text("image").to_owned();
    if !image.is_empty() {
        let manifest = &mut found.desired_state.pod_template.desired_state.manifest;
        let Some(first) = manifest.containers.iter_mut().flatten().next() else {
            return Err(controller::failed("the controller's template has no container"));
        };
        first.image = image;
        found = controller::write(&mut call, &found).await.map_err(controller::failed)?;
    }
    let selector = joined(&found.desired_state.replica_selector.unwrap_or_default());
    let pods = pods(&mut call, &selector).await.map_err(controller::failed)?;
    if pods.is_empty() {
        return Ok(());
    }
    let expected = pods.len();
    let pause = call.flags.time("u");
    for id in pods {
        let path = format!("pods/{id}");
        call.client.ask(Method::DELETE, &path, &[], None, call.world).await.map_err(controller::failed)?;
        tokio::time::sleep(pause).await;
    }
    // What v0.4 did; the API of 2014 had watches, but kubecfg did not use them.
    for _ in 0..POLLS {
        tokio::time::sleep(POLL).await;
        if self::pods(&mut call, &selector).await.map_err(controller::failed)?.len() == expected {
            return Ok(());
        }
    }
    Err(controller::failed("timed out waiting for the condition"))
}

fn joined(selector: &Map) -> String {
    let terms: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    terms.join(",")
}

async fn pods(call: &mut Call<'_>, selector: &str) -> Result<Vec<String>, Failure> {
    let bytes = call.client.ask(Method::GET, "pods", &[("labels", selector)], None, call.world).await?;
    match Pod::ROW.parse_any(&bytes) {
        Ok(Parsed::List(list)) => Ok(list.items.iter().map(|pod| pod.meta().id.clone()).collect()),
        Ok(Parsed::One(_)) => Err(Failure::Transport("the answer is no list".to_owned())),
        Err(error) => Err(Failure::Transport(error.to_string())),
    }
}
