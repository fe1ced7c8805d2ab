//! Claims for devices of pods: made, allocated by hand as a scheduler would, given back.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::ResourceClaim;
use serde_json::json;
use skiff_api::pod::claims;

use super::{PODS, Stage};

const DEVICES: &str = "/apis/resource.k8s.io/v1/namespaces/default";

/// The name of the claim that was made for a pod.
async fn made(stage: &Stage<'_>, pod: &str) -> String {
    let named = |pod: Option<&Pod>| {
        pod.is_some_and(|pod| claims::of(pod).iter().all(|claim| claims::name(pod, claim).is_ok()))
    };
    stage.until::<Pod>(pod, named).await;
    let all = stage.cluster.until::<Pod>(|_| true).await;
    let pod = all.iter().find(|it| it.metadata.name.as_deref() == Some(pod)).unwrap();
    claims::name(pod, &claims::of(pod)[0]).unwrap().text().unwrap().to_owned()
}

/// Devices for a claim, and somebody who uses them.
async fn allocate(stage: &Stage<'_>, claim: &str, user: (&str, &str)) {
    let path = format!("{DEVICES}/resourceclaims/{claim}");
    stage.change(&path, json!({ "metadata": { "finalizers": [claims::PROTECTION] } })).await;
    let user = json!({ "resource": "pods", "name": user.0, "uid": user.1 });
    let status = json!({ "allocation": { "devices": {} }, "reservedFor": [user] });
    stage.change(&format!("{path}/status"), json!({ "status": status })).await;
}

pub(super) async fn play(stage: &Stage<'_>) {
    let request = "devices: {requests: [{name: r, exactly: {deviceClassName: c}}]}";
    let wants = "schedulingGates: [{name: example.com/by-hand}], \
                 resourceClaims: [{name: own, resourceClaimTemplateName: t}]";
    stage.orphan("wants", "wants", &format!(", {wants}")).await;
    let template = format!("{{metadata: {{name: t}}, spec: {{spec: {{{request}}}}}}}");
    stage.make(&format!("{DEVICES}/resourceclaimtemplates"), &template).await;
    // Reserved for one that never was, and given back: the pod itself goes with its claim.
    let claim = made(stage, "wants").await;
    allocate(stage, &claim, ("nobody", "x")).await;
    let free = |claim: Option<&ResourceClaim>| claim.is_some_and(|claim| !claims::is_allocated(claim));
    stage.until::<ResourceClaim>(&claim, free).await;
    stage.change(&format!("{PODS}/wants/status"), json!({ "status": { "phase": "Failed" } })).await;
    stage.gone::<ResourceClaim>(&claim).await;
    // A claim that a status names and that somebody took away.
    stage.orphan("again", "again", &format!(", {wants}")).await;
    let claim = made(stage, "again").await;
    stage.remove(&format!("{DEVICES}/resourceclaims/{claim}"), json!({})).await;
    let other = |pod: Option<&Pod>| {
        let name = |pod: &Pod| Some(claims::name(pod, claims::of(pod).first()?).ok()?.text()?.to_owned());
        pod.and_then(name).is_some_and(|name| name != claim)
    };
    stage.until::<Pod>("again", other).await;
    // One whose claims cannot be made.
    stage.orphan("lacks", "lacks", ", resourceClaims: [{name: own, resourceClaimTemplateName: none}]").await;
}
