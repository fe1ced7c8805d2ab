//! Metrics as the APIs answer them, and what each calls for.

use std::convert::Infallible;

use http::{Request, Response};
use kube::client::Body;

use super::*;

/// A server that knows these paths and nothing else.
fn link(answers: &'static [(&'static str, &'static str)]) -> Link {
    let answer = move |request: Request<Body>| async move {
        let asked = request.uri().to_string();
        let known = answers.iter().find(|(path, _)| *path == asked);
        let (code, text) = match known {
            Some((_, text)) => (200, (*text).to_owned()),
            None => {
                let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "reason": "NotFound", "code": 404, "message": format!("no {asked}")});
                (404, status.to_string())
            }
        };
        Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(text.into_bytes())).unwrap())
    };
    Link::remote(kube::Client::new(tower::service_fn(answer), "default"))
}

/// Two ready pods that ask for one CPU in `app` and a tenth in `helper`.
fn pods() -> Vec<Arc<Pod>> {
    let pod = |name: &str| {
        Arc::new(
            serde_saphyr::from_str(&format!(
                "{{metadata: {{name: {name}}}, spec: {{containers: [{{name: app, resources: {{requests: {{cpu: 1}}}}}}, \
                 {{name: helper, resources: {{requests: {{cpu: 100m}}}}}}]}}, status: {{phase: Running, \
                 startTime: '2026-11-22T09:00:00Z', conditions: [{{type: Ready, status: 'True', \
                 lastTransitionTime: '2026-11-22T09:00:10Z'}}]}}}}"
            ))
            .unwrap(),
        )
    };
    vec![pod("a"), pod("b")]
}

/// How many replicas a metric calls for and how it is named, or the reason and words of its failure.
async fn asked(metric: &str, answers: &'static [(&'static str, &'static str)]) -> (i32, String) {
    let (link, pods) = (link(answers), pods());
    let scene = Scene {
        link: &link,
        now: "2026-11-22T10:00:00Z".parse().unwrap(),
        namespace: "blue",
        selector: "app=web",
        pods: &pods,
        current: 2,
        there: 2,
        tolerance: (replicas::TOLERANCE, replicas::TOLERANCE),
    };
    match one(&scene, &serde_saphyr::from_str(metric).unwrap()).await {
        Ok((measured, _)) => (measured.replicas, measured.name),
        Err(failure) => (-1, format!("{}: {}", failure.reason, failure.why)),
    }
}

const USAGE: (&str, &str) = (
    "/apis/metrics.k8s.io/v1beta1/namespaces/blue/pods?labelSelector=app%3Dweb",
    r#"{"items": [
        {"metadata": {"name": "a", "namespace": "blue"}, "timestamp": "2026-11-22T09:59:50Z", "window": "15s",
            "containers": [{"name": "app", "usage": {"cpu": "900m"}}, {"name": "helper", "usage": {"cpu": "90m"}}]},
        {"metadata": {"name": "b", "namespace": "blue"}, "timestamp": "2026-11-22T09:59:50Z", "window": "15s",
            "containers": [{"name": "app", "usage": {"cpu": "1100m"}}, {"name": "helper", "usage": {"cpu": "20m"}}]}]}"#,
);

#[tokio::test]
async fn resources_count_in_all_or_in_one_container() {
    let share =
        "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}";
    assert_eq!(
        asked(share, &[USAGE]).await,
        (4, "cpu resource utilization (percentage of request)".to_owned())
    );
    let amount = "{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 250m}}}";
    assert_eq!(asked(amount, &[USAGE]).await, (9, "cpu resource".to_owned()));
    let helper = "{type: ContainerResource, containerResource: {name: cpu, container: helper, \
                  target: {type: Utilization, averageUtilization: 10}}}";
    let named = "cpu container resource utilization (percentage of request)".to_owned();
    assert_eq!(asked(helper, &[USAGE]).await, (11, named));
    let none =
        "FailedGetResourceMetric: failed to get cpu utilization: unable to get metrics for resource cpu: ";
    let empty = &[(USAGE.0, r#"{"items": []}"#)];
    let said = format!("{none}no metrics returned from resource metrics API");
    assert_eq!(asked(share, empty).await, (-1, said));
    let said = format!("{none}unable to fetch metrics from resource metrics API: no {}", USAGE.0);
    assert_eq!(asked(share, &[]).await, (-1, said));
}

#[tokio::test]
async fn pods_and_objects_are_asked_of_the_custom_metrics_api_in_either_version() {
    const PODS: &str = "namespaces/blue/pods/*/hits?labelSelector=app%3Dweb&metricLabelSelector=verb%3DGET";
    const ANSWER: &str = r#"{"items": [
        {"describedObject": {"name": "a"}, "timestamp": "2026-11-22T09:59:50Z", "value": "300"},
        {"describedObject": {"name": "b"}, "timestamp": "2026-11-22T09:59:50Z", "value": "500"}]}"#;
    let pods = "{type: Pods, pods: {metric: {name: hits, selector: {matchLabels: {verb: GET}}}, \
                target: {type: AverageValue, averageValue: 100}}}";
    let newer = const_format("/apis/custom.metrics.k8s.io/v1beta2/", PODS);
    assert_eq!(asked(pods, leak(&[(newer, ANSWER)])).await, (8, "pods metric hits".to_owned()));
    let older = const_format("/apis/custom.metrics.k8s.io/v1beta1/", PODS);
    assert_eq!(asked(pods, leak(&[(older, ANSWER)])).await.0, 8);

    let route = "{type: Object, object: {metric: {name: hits}, describedObject: {apiVersion: networking.k8s.io/v1, \
                 kind: Ingress, name: main}, target: {type: Value, value: 2k}}}";
    let path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/blue/ingresses.networking.k8s.io/main/hits";
    let answer = r#"{"items": [{"describedObject": {"name": "main"}, "timestamp": "2026-11-22T09:59:50Z", "value": "3k"}]}"#;
    assert_eq!(asked(route, leak(&[(path, answer)])).await, (3, "Ingress metric hits".to_owned()));
    let (code, said) = asked(route, &[]).await;
    let head = "FailedGetObjectMetric: unable to get metric hits: Ingress on blue main/unable to fetch metrics from \
                custom metrics API: no /apis/custom.metrics.k8s.io/v1beta2/";
    assert!(code == -1 && said.starts_with(head), "{said}");
}

#[tokio::test]
async fn what_is_outside_is_added_up_and_shared_out() {
    let path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/blue/queue?labelSelector=q%3Dmail";
    let answer = r#"{"items": [{"timestamp": "2026-11-22T09:59:50Z", "value": "30"},
        {"timestamp": "2026-11-22T09:59:50Z", "value": "12"}]}"#;
    let queue = |target: &str| {
        format!(
            "{{type: External, external: {{metric: {{name: queue, selector: {{matchLabels: {{q: mail}}}}}}, target: {target}}}}}"
        )
    };
    let answers = leak(&[(path, answer)]);
    let named = "external metric queue(&LabelSelector{MatchLabels:map[string]string{q: mail,},\
                 MatchExpressions:[]LabelSelectorRequirement{},})";
    let each = asked(&queue("{type: AverageValue, averageValue: 10}"), answers).await;
    assert_eq!(each, (5, named.to_owned()));
    assert_eq!(asked(&queue("{type: AverageValue, averageValue: 20}"), answers).await.0, 2, "near enough");
    assert_eq!(asked(&queue("{type: Value, value: 14}"), answers).await.0, 6);
    let (_, said) = asked(&queue("{type: Value, value: 14}"), &[]).await;
    let head = "FailedGetExternalMetric: failed to get external metric queue: unable to get external metric blue/queue/&Label";
    assert!(said.starts_with(head), "{said}");
}

fn const_format(head: &str, tail: &str) -> &'static str {
    Box::leak(format!("{head}{tail}").into_boxed_str())
}

fn leak(answers: &[(&'static str, &'static str)]) -> &'static [(&'static str, &'static str)] {
    Box::leak(answers.to_vec().into_boxed_slice())
}
