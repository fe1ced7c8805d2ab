//! Pod Security as namespaces, pods and workloads meet it.

use serde_json::json;

use crate::given::{Given, pod, sample};

#[tokio::test]
async fn a_namespaces_labels_decide_what_pods_may_do() {
    let given = Given::new().await;
    let namespaces = "/api/v1/namespaces";
    let labelled = |level: &str| {
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": "blue", "labels": { "pod-security.kubernetes.io/enforce": level } },
        })
    };
    let refused = given.client.post(namespaces, &labelled("odd")).await.code(422);
    assert_eq!(
        refused.message(),
        "Namespace \"blue\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"odd\": must be one of privileged, baseline, restricted"
    );
    given.client.post(namespaces, &labelled("baseline")).await.code(201);
    let pods = format!("{namespaces}/blue/pods");
    let mut bold = pod("bold");
    bold["spec"]["hostNetwork"] = true.into();
    let refused = given.client.post(&pods, &bold).await.code(403);
    assert_eq!(
        refused.message(),
        "pods \"bold\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
    given.client.post(&pods, &pod("plain")).await.code(201);

    // A workload is told what its pods will meet, and made.
    let row = skiff_apiserver::kinds::ALL.iter().find(|row| row.kind == "Deployment").unwrap();
    let mut deployment = sample(row, "d");
    deployment["spec"]["template"]["spec"]["hostPID"] = true.into();
    let told = given.client.post("/apis/apps/v1/namespaces/blue/deployments", &deployment).await.code(201);
    assert_eq!(
        told.warnings,
        ["299 - \"would violate PodSecurity \\\"baseline:latest\\\": host namespaces (hostPID=true)\""]
    );

    // Stricter labels are tried on what is there.
    let stricter =
        json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    let uri = format!("{namespaces}/blue?dryRun=All");
    let told = given.client.patch(&uri, "merge-patch", &stricter).await.code(200);
    assert_eq!(
        told.warnings,
        [
            "299 - \"existing pods in namespace \\\"blue\\\" violate the new PodSecurity enforce level \\\"restricted:latest\\\"\"",
            "299 - \"plain: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile\"",
        ]
    );
}
