//! Pods in YAML and what becomes of them.

use serde_json::{Value, json};

use super::*;
use crate::kinds::testing::{created, faults, given, printed, update_faults};

/// A pod with one container; `container` and `spec` are further lines of YAML flow.
fn pod(container: &str, spec: &str) -> String {
    format!("{{metadata: {{name: a}}, spec: {{containers: [{{name: c, image: i, {container}}}], {spec}}}}}")
}

#[track_caller]
fn check(yaml: &str, expected: &[&str]) {
    assert_eq!(faults::<Pod>(yaml), expected, "{yaml}");
}

#[test]
fn a_small_pod_is_filled_in_as_upstream_does() {
    let pod = created::<Pod>(
        "{metadata: {name: a}, spec: {hostNetwork: true, serviceAccount: me, containers: [{name: c, image: 'r:5000/i', \
         ports: [{containerPort: 80}], resources: {limits: {cpu: '0.5', memory: 1024Mi}}, \
         livenessProbe: {httpGet: {port: 80}}, env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}], \
         volumes: [{name: v}, {name: s, secret: {secretName: x}}, {name: p, projected: {sources: \
         [{serviceAccountToken: {path: token}}]}}]}}",
    );
    let value = serde_json::to_value(&pod).unwrap();
    let expected = json!({
        "containers": [{
            "name": "c", "image": "r:5000/i", "imagePullPolicy": "Always",
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}],
            "resources": {
                "limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"},
            },
            "livenessProbe": {
                "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
            },
            "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
        }],
        "volumes": [
            {"name": "v", "emptyDir": {}},
            {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
            {"name": "p", "projected": {"defaultMode": 420, "sources":
                [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]}},
        ],
        "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
        "securityContext": {}, "terminationGracePeriodSeconds": 30, "enableServiceLinks": true, "hostNetwork": true,
        "serviceAccount": "me", "serviceAccountName": "me",
    });
    assert_eq!(value["spec"], expected);
    assert_eq!(value["status"], json!({"phase": "Pending", "qosClass": "Guaranteed"}));
}

#[test]
fn defaults_leave_their_own_result_alone() {
    let mut pod =
        created::<Pod>(&pod("env: [{name: R, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]", ""));
    let before = pod.clone();
    pod.set_defaults();
    assert_eq!(pod, before);
}

#[test]
fn images_are_pulled_always_only_when_latest() {
    for (image, policy) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.2", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:00", "IfNotPresent"),
    ] {
        let pod = created::<Pod>(&format!("{{spec: {{containers: [{{name: c, image: '{image}'}}]}}}}"));
        assert_eq!(pod.spec.unwrap().containers[0].image_pull_policy.as_deref(), Some(policy), "{image}");
    }
}

#[test]
fn faults_of_containers_are_found_all_at_once() {
    check("{spec: {containers: []}}", &["spec.containers: Required value"]);
    check(
        "{spec: {containers: [{name: A_b}, {name: c, image: i, imagePullPolicy: Often, ports: [{containerPort: 70000, \
         protocol: X}, {containerPort: 80, name: web}, {containerPort: 81, name: web}]}, {name: c, image: ' i'}]}}",
        &[
            "spec.containers[0].name: Invalid value: \"A_b\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            "spec.containers[0].image: Required value",
            "spec.containers[1].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "spec.containers[1].ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "spec.containers[1].ports[2].name: Duplicate value: \"web\"",
            "spec.containers[1].imagePullPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            "spec.containers[2].name: Duplicate value: \"c\"",
            "spec.containers[2].image: Invalid value: \" i\": must not have leading or trailing whitespace",
        ],
    );
    check(
        "{spec: {containers: [{name: c, image: i, ports: [{containerPort: 1, hostPort: 9}, {containerPort: 2, hostPort: 9}]}]}}",
        &["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//9\""],
    );
}

#[test]
fn environment_faults() {
    check(
        &pod(
            "env: [{name: ''}, {name: 'a=b'}, {name: A, valueFrom: {}}, {name: B, value: x, valueFrom: {fieldRef: \
             {fieldPath: spec.foo}}}, {name: C, valueFrom: {configMapKeyRef: {name: m, key: 'a b'}}}, {name: D, \
             valueFrom: {fieldRef: {fieldPath: status.phase}}}], envFrom: [{}, {configMapRef: {name: m}, secretRef: {name: s}}]",
            "",
        ),
        &[
            "spec.containers[0].env[0].name: Required value",
            "spec.containers[0].env[1].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='",
            "spec.containers[0].env[2].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            "spec.containers[0].env[3].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.foo\": error converting fieldPath: field label not supported: spec.foo",
            "spec.containers[0].env[3].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            "spec.containers[0].env[4].valueFrom.configMapKeyRef.key: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            "spec.containers[0].env[5].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
            "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
            "spec.containers[0].envFrom: Invalid value: \"\": may not have more than one field specified at a time",
        ],
    );
    check(&pod("env: [{name: L, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}]", ""), &[]);
}

#[test]
fn volumes_have_one_source_and_mounts_their_volume() {
    check(
        &pod(
            "volumeMounts: [{name: none, mountPath: /a}, {name: v, mountPath: /b, subPath: ../x}, {name: v, mountPath: /b}]",
            "volumes: [{name: v, emptyDir: {}, hostPath: {path: /x}}, {name: v, configMap: {name: ''}}, {name: s, secret: \
             {secretName: s, defaultMode: 9999, items: [{key: '', path: /abs}]}}, {name: h, hostPath: {path: '/a/../b', \
             type: Folder}}]",
        ),
        &[
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
            "spec.volumes[1].configMap.name: Required value",
            "spec.volumes[1].name: Duplicate value: \"v\"",
            "spec.volumes[2].secret.defaultMode: Invalid value: 9999: must be a number between 0 and 0777 (octal), both inclusive",
            "spec.volumes[2].secret.items[0].key: Required value",
            "spec.volumes[2].secret.items[0].path: Invalid value: \"/abs\": must be a relative path",
            "spec.volumes[3].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
            "spec.volumes[3].hostPath.type: Unsupported value: \"Folder\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
            "spec.containers[0].volumeMounts[0].name: Not found: \"none\"",
            "spec.containers[0].volumeMounts[1].subPath: Invalid value: \"../x\": must not contain '..'",
            "spec.containers[0].volumeMounts[2].mountPath: Invalid value: \"/b\": must be unique",
        ],
    );
}

#[test]
fn a_volume_is_a_device_or_a_mount_and_devices_are_of_claims() {
    let name = |place: &str, name: &str, why: &str| {
        format!("spec.containers[0].{place}.name: Invalid value: \"{name}\": {why}")
    };
    let path = |place: &str, path: &str, why: &str| {
        format!("spec.containers[0].{place}: Invalid value: \"{path}\": {why}")
    };
    let expected = [
        name("volumeMounts[0]", "v", "must not already exist in volumeDevices"),
        path("volumeMounts[0].mountPath", "/a", "must not already exist as a path in volumeDevices"),
        name("volumeDevices[0]", "v", "must not already exist in volumeMounts"),
        path("volumeDevices[0].devicePath", "/a", "must not already exist as a path in volumeMounts"),
        name(
            "volumeDevices[1]",
            "e",
            "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
        ),
        path("volumeDevices[1].devicePath", "/../b", "can not contain backsteps ('..')"),
        name("volumeDevices[3]", "w", "must be unique"),
        path("volumeDevices[3].devicePath", "/c", "must be unique"),
        "spec.containers[0].volumeDevices[4].name: Not found: \"none\"".to_owned(),
        "spec.containers[0].volumeDevices[4].devicePath: Required value".to_owned(),
    ];
    let claim = |name: &str| format!("{{name: {name}, persistentVolumeClaim: {{claimName: c}}}}");
    check(
        &pod(
            "volumeMounts: [{name: v, mountPath: /a}], volumeDevices: [{name: v, devicePath: /a}, {name: e, devicePath: /../b}, \
             {name: w, devicePath: /c}, {name: w, devicePath: /c}, {name: none, devicePath: ''}]",
            &format!("volumes: [{}, {}, {{name: e, emptyDir: {{}}}}]", claim("v"), claim("w")),
        ),
        &expected.each_ref().map(String::as_str),
    );
}

#[test]
fn probes_and_handlers_have_one_action() {
    check(
        &pod(
            "livenessProbe: {successThreshold: 2, exec: {command: [a]}, tcpSocket: {port: 1}}, readinessProbe: {periodSeconds: -1}, \
             lifecycle: {preStop: {httpGet: {port: no_such, scheme: FTP}}}",
            "",
        ),
        &[
            "spec.containers[0].lifecycle.preStop.httpGet.port: Invalid value: \"no_such\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
            "spec.containers[0].lifecycle.preStop.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\"",
            "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
            "spec.containers[0].readinessProbe: Required value: must specify a handler type",
            "spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
}

#[test]
fn containers_use_claims_that_the_pod_has() {
    check(
        &pod(
            "resources: {claims: [{name: x}, {name: w, request: r}, {name: w, request: s}, {name: x}, {name: z}, {name: w, request: A}, {}]}",
            "resourceClaims: [{name: x, resourceClaimName: a}, {name: w, resourceClaimTemplateName: b}]",
        ),
        &[
            "spec.containers[0].resources.claims[3]: Duplicate value: \"x\"",
            "spec.containers[0].resources.claims[4].name: Not found: \"z\"",
            "spec.containers[0].resources.claims[5].request: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            "spec.containers[0].resources.claims[6].name: Required value",
        ],
    );
    check(
        &pod(
            "",
            "resourceClaims: [{name: x}, {name: x, resourceClaimName: a, resourceClaimTemplateName: b}, {name: w, resourceClaimName: A_}]",
        ),
        &[
            "spec.resourceClaims[0]: Invalid value: {\"name\":\"x\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            "spec.resourceClaims[1].name: Duplicate value: \"x\"",
            "spec.resourceClaims[1]: Invalid value: {\"name\":\"x\",\"resourceClaimName\":\"a\",\"resourceClaimTemplateName\":\"b\"}: at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            "spec.resourceClaims[2].resourceClaimName: Invalid value: \"A_\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ],
    );
}

#[test]
fn requests_stay_within_limits() {
    check(
        &pod("resources: {limits: {cpu: 100m, memory: lots, foo: 1}, requests: {cpu: 1, memory: -5}}", ""),
        &[
            "spec.containers[0].resources.limits[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
            "spec.containers[0].resources.limits[foo]: Invalid value: \"foo\": must be a standard resource for containers",
            "spec.containers[0].resources.limits[memory]: Invalid value: \"lots\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            "spec.containers[0].resources.requests[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
            "spec.containers[0].resources.requests[foo]: Invalid value: \"foo\": must be a standard resource for containers",
            "spec.containers[0].resources.requests[memory]: Invalid value: \"-5\": must be greater than or equal to 0",
            "spec.containers[0].resources.requests: Invalid value: \"1\": must be less than or equal to cpu limit of 100m",
        ],
    );
    check(
        &pod("resources: {limits: {example.com/gpu: 2}, requests: {example.com/gpu: 1}}", ""),
        &[
            "spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to example.com/gpu limit of 2",
        ],
    );
}

#[test]
fn init_containers_have_no_probes_unless_they_stay() {
    check(
        "{spec: {containers: [{name: c, image: i, restartPolicy: Always}], initContainers: [{name: c, image: i, \
         readinessProbe: {exec: {command: [a]}}}, {name: d, image: i, restartPolicy: Always, readinessProbe: {exec: \
         {command: [a]}}}]}}",
        &[
            "spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers",
            "spec.initContainers[0].name: Duplicate value: \"c\"",
            "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ],
    );
}

#[test]
fn ephemeral_containers_are_filled_in_and_have_no_ports_or_probes() {
    let yaml = pod(
        "",
        "ephemeralContainers: [{name: d, image: 'b:1', targetContainerName: c}, {name: c, image: b, targetContainerName: z, \
         ports: [{containerPort: 1}], readinessProbe: {exec: {command: [a]}}}]",
    );
    let debugger = created::<Pod>(&yaml).spec.unwrap().ephemeral_containers.unwrap().remove(0);
    assert_eq!(debugger.image_pull_policy.as_deref(), Some("IfNotPresent"));
    check(
        &yaml,
        &[
            "spec.ephemeralContainers[1].name: Duplicate value: \"c\"",
            "spec.ephemeralContainers[1].targetContainerName: Not found: \"z\"",
            "spec.ephemeralContainers[1].ports: Forbidden: cannot be set for an Ephemeral Container",
            "spec.ephemeralContainers[1].readinessProbe: Forbidden: cannot be set for an Ephemeral Container",
        ],
    );
}

#[test]
fn the_spec_as_a_whole() {
    check(
        &pod(
            "securityContext: {privileged: true, allowPrivilegeEscalation: false, runAsUser: -1}",
            "restartPolicy: Sometimes, dnsPolicy: None, nodeName: A, activeDeadlineSeconds: 0, hostAliases: [{ip: x, \
             hostnames: [a_b]}], tolerations: [{operator: Equal}, {key: k, operator: Exists, value: v, effect: Never}], \
             topologySpreadConstraints: [{maxSkew: 0, topologyKey: zone, whenUnsatisfiable: Panic}], schedulingGates: \
             [{name: a/b}, {name: a/b}], affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: \
             {nodeSelectorTerms: [{matchExpressions: [{key: k, operator: In}]}]}}, podAffinity: \
             {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, podAffinityTerm: {topologyKey: z}}]}}",
        ),
        &[
            "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            "spec.containers[0].securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true,\"runAsUser\":-1}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
            "spec.schedulingGates[1]: Duplicate value: \"a/b\"",
            "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"Panic\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
            "spec.nodeName: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            "spec.tolerations[1].operator: Invalid value: {\"effect\":\"Never\",\"key\":\"k\",\"operator\":\"Exists\",\"value\":\"v\"}: value must be empty when `operator` is 'Exists'",
            "spec.tolerations[1].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            "spec.hostAliases[0].hostnames[0]: Invalid value: \"a_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ],
    );
}

#[test]
fn updates_may_change_images_and_little_else() {
    let base = pod("", "");
    assert_eq!(update_faults::<Pod>(&base, &base), [] as [&str; 0]);
    let other = "{metadata: {name: a}, spec: {containers: [{name: c, image: other}], tolerations: [{operator: Exists}]}}";
    assert_eq!(update_faults::<Pod>(&base, other), [] as [&str; 0]);
    let faults = update_faults::<Pod>(&base, &pod("", "nodeName: m, hostNetwork: true"));
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
    ));
    assert!(faults[0].contains("+ nodeName: \"m\"\n"), "{}", faults[0]);
    let two = "{spec: {containers: [{name: c, image: i}, {name: d, image: i}]}}";
    let expected = ["spec.containers: Forbidden: pod updates may not add or remove containers"];
    assert_eq!(update_faults::<Pod>(&base, two), expected);
    let tolerant = pod("", "tolerations: [{key: a, operator: Exists}]");
    let expected =
        ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"];
    assert_eq!(update_faults::<Pod>(&tolerant, &base), expected);
}

#[test]
fn the_table_says_what_kubectl_users_know() {
    let now = "2026-11-22T10:05:00Z";
    let row = |status: &str| {
        let yaml = format!(
            "{{metadata: {{name: a, creationTimestamp: '2026-11-22T10:00:00Z'}}, spec: {{nodeName: m, containers: [{{name: \
             c}}], initContainers: [{{name: i}}]}}, status: {{{status}}}}}"
        );
        printed(&given::<Pod>(&yaml), now)
    };
    assert_eq!(
        row(
            "phase: Running, podIPs: [{ip: 10.0.0.1}], containerStatuses: [{name: c, ready: true, restartCount: 2, state: \
             {running: {}}, lastState: {terminated: {exitCode: 1, finishedAt: '2026-11-22T10:00:00Z'}}}]"
        ),
        "Ready=1/1 Status=Running Restarts=2 (5m ago) Age=5m IP=10.0.0.1 Node=m Nominated Node=<none> Readiness Gates=<none>"
    );
    for (status, expected) in [
        ("phase: Pending", "Pending"),
        ("phase: Failed, reason: Evicted", "Evicted"),
        (
            "phase: Running, containerStatuses: [{name: c, state: {waiting: {reason: CrashLoopBackOff}}}]",
            "CrashLoopBackOff",
        ),
        ("phase: Pending, initContainerStatuses: [{name: i, state: {running: {}}}]", "Init:0/1"),
        (
            "phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 3}}}]",
            "Init:ExitCode:3",
        ),
        (
            "phase: Pending, initContainerStatuses: [{name: i, state: {waiting: {reason: ImagePullBackOff}}}]",
            "Init:ImagePullBackOff",
        ),
        (
            "phase: Succeeded, containerStatuses: [{name: c, state: {terminated: {exitCode: 0, reason: Completed}}}]",
            "Completed",
        ),
        ("phase: Failed, containerStatuses: [{name: c, state: {terminated: {exitCode: 2}}}]", "ExitCode:2"),
        (
            "phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: SchedulingGated}]",
            "SchedulingGated",
        ),
    ] {
        let row = row(status);
        assert!(row.contains(&format!(" Status={expected} ")), "{row}");
    }
    let leaving: Pod = given(
        "{metadata: {name: a, deletionTimestamp: '2026-11-22T10:00:00Z'}, spec: {containers: []}, status: {phase: Running}}",
    );
    assert!(printed(&leaving, now).contains("Status=Terminating"));
}

#[test]
fn grace_is_the_clients_then_the_pods_and_none_where_nothing_runs() {
    let mut pod = created::<Pod>(&pod("", "terminationGracePeriodSeconds: 7"));
    assert_eq!(pod.grace(Some(3)), Some(0), "nothing runs before the pod has a node");
    pod.spec.as_mut().unwrap().node_name = Some("n".to_owned());
    assert_eq!((pod.grace(None), pod.grace(Some(3)), pod.grace(Some(-1))), (Some(7), Some(3), Some(1)));
    pod.status.as_mut().unwrap().phase = Some("Failed".to_owned());
    assert_eq!(pod.grace(None), Some(0));
}

#[test]
fn doubtful_pods_are_warned_about() {
    let pod = created::<Pod>(&pod("env: [{name: A, value: x}, {name: A, value: z}]", ""));
    let expected = [
        "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
    ];
    assert_eq!(pod.warnings(None), expected);
    assert!(pod.warnings(Some(&pod)).is_empty());
    let odd = created::<Pod>(
        "{spec: {nodeSelector: {beta.kubernetes.io/os: linux}, containers: [{name: c, image: i, resources: {limits: {memory: 100m}}}]}}",
    );
    assert_eq!(
        odd.warnings(None),
        [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
            "spec.containers[0].resources.requests[memory]: fractional byte value \"100m\" is invalid, must be an integer",
        ]
    );
}

#[test]
fn selectable_fields_are_all_there() {
    let pod = created::<Pod>(&pod("", ""));
    let fields: Value =
        pod.fields().into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    assert_eq!(fields["status.phase"], "Pending");
    assert_eq!(fields["spec.nodeName"], "");
    assert_eq!(fields["spec.hostNetwork"], "false");
}

#[test]
fn a_pods_node_is_known_without_decoding_it_as_its_field_says() {
    for spec in ["", "nodeName: node-a"] {
        let pod = created::<Pod>(&pod("", spec));
        let object = Object::parse(serde_json::to_vec(&pod).unwrap().into()).unwrap();
        let field = pod.fields().into_iter().find(|(name, _)| *name == "spec.nodeName");
        assert_eq!(
            Pod::known_field(&object, "spec.nodeName").map(str::to_owned),
            field.map(|(_, value)| value)
        );
        assert_eq!(Pod::known_field(&object, "status.phase"), None);
    }
}

#[test]
fn a_pods_generation_counts_changes_of_what_is_wanted() {
    let pod = created::<Pod>(&pod("", ""));
    assert_eq!(pod.metadata.generation, Some(1));
    let mut bound = pod.clone();
    bound.spec.as_mut().unwrap().node_name = Some("m".to_owned());
    assert!(!bound.generation_changed(&pod));
    bound.spec.as_mut().unwrap().containers[0].image = Some("other".to_owned());
    assert!(bound.generation_changed(&pod));
}
