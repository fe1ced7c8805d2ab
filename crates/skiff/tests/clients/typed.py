"""The Python client as people use it: typed calls, the dynamic client, watches, apply, exec, errors."""
from kubernetes import client, config, dynamic, watch
from kubernetes.stream import stream

config.load_kube_config()
core, apps, names = client.CoreV1Api(), client.AppsV1Api(), "clients"
core.create_namespace({"metadata": {"name": names}})

# Typed: create, patch, list by label, replace with a stale version.
made = core.create_namespaced_config_map(names, {"metadata": {"name": "typed", "labels": {"a": "b"}}, "data": {"x": "1"}})
assert core.patch_namespaced_config_map("typed", names, {"data": {"y": "2"}}).data == {"x": "1", "y": "2"}
assert [one.metadata.name for one in core.list_namespaced_config_map(names, label_selector="a=b").items] == ["typed"]
made.data = {"z": "3"}
try:
    core.replace_namespaced_config_map("typed", names, made)
    raise SystemExit("a stale write was taken")
except client.ApiException as error:
    assert (error.status, error.reason) == (409, "Conflict"), error

# A pod from creation to its logs, seen by a watch; exec over a WebSocket.
core.create_namespaced_pod(names, {
    "metadata": {"name": "worker"},
    "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
        "name": "c", "image": "busybox:1.35", "imagePullPolicy": "Never",
        "command": ["sh", "-c", "echo ready; exec sleep 3600"]}]},
})
seen = watch.Watch()
for event in seen.stream(core.list_namespaced_pod, names, timeout_seconds=60):
    if event["object"].status.phase == "Running":
        seen.stop()
# Running says that the process was started, not that it has said something: its log is followed until then.
log = watch.Watch()
for line in log.stream(core.read_namespaced_pod_log, "worker", names):
    assert line == "ready", line
    log.stop()
run = stream(core.connect_get_namespaced_pod_exec, "worker", names, command=["echo", "hello"],
             stderr=True, stdin=False, stdout=True, tty=False)
assert run == "hello\n", run

# The dynamic client: discovery, server-side apply by two managers, a conflict.
cluster = dynamic.DynamicClient(client.ApiClient())
deployments = cluster.resources.get(api_version="apps/v1", kind="Deployment")
body = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
    "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "busybox:1.35", "imagePullPolicy": "Never",
                                 "command": ["sleep", "3600"]}]}}},
}
first = deployments.server_side_apply(namespace=names, body=body, field_manager="one")
assert first.metadata.managedFields[0].manager == "one"
body["spec"]["replicas"] = 2
try:
    deployments.server_side_apply(namespace=names, body=body, field_manager="two")
    raise SystemExit("a conflict was not noticed")
except dynamic.exceptions.ConflictError as error:
    assert 'conflict with "one"' in error.summary(), error.summary()
forced = deployments.server_side_apply(namespace=names, body=body, field_manager="two", force_conflicts=True)
assert forced.spec.replicas == 2

core.delete_namespace(names)
print("typed.py: all is well")
