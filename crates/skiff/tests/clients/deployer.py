"""A deployment controller written with kopf: one replica set for each deployment, and no roll-outs."""
import kopf
import kubernetes


@kopf.on.resume("apps", "v1", "deployments")
@kopf.on.create("apps", "v1", "deployments")
@kopf.on.update("apps", "v1", "deployments")
def deploy(spec, name, namespace, body, patch, meta, **_):
    apps = kubernetes.client.AppsV1Api()
    wanted = {
        "metadata": {"name": f"{name}-by-kopf", "labels": dict(spec["selector"]["matchLabels"])},
        "spec": {"replicas": spec["replicas"], "selector": dict(spec["selector"]), "template": dict(spec["template"])},
    }
    kopf.adopt(wanted, owner=body)
    try:
        apps.create_namespaced_replica_set(namespace, wanted)
    except kubernetes.client.ApiException as error:
        if error.status != 409:
            raise
        apps.patch_namespaced_replica_set(wanted["metadata"]["name"], namespace, wanted)
    patch.status["replicas"] = spec["replicas"]
    patch.status["observedGeneration"] = meta["generation"]
