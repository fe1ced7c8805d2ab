"""An operator written with kopf: its custom resources become ConfigMaps, which go with them."""
import kopf
import kubernetes


@kopf.on.startup()
def settings(settings: kopf.OperatorSettings, **_):
    settings.posting.enabled = True


@kopf.on.create("example.com", "v1", "greetings")
@kopf.on.update("example.com", "v1", "greetings")
def greet(spec, name, namespace, body, patch, **_):
    core = kubernetes.client.CoreV1Api()
    config_map = {"metadata": {"name": name}, "data": {"text": f"hello {spec['to']}"}}
    kopf.adopt(config_map, owner=body)
    try:
        core.create_namespaced_config_map(namespace, config_map)
    except kubernetes.client.ApiException as error:
        if error.status != 409:
            raise
        core.patch_namespaced_config_map(name, namespace, config_map)
    patch.status["said"] = spec["to"]
    return "greeted"


@kopf.on.delete("example.com", "v1", "greetings")
def farewell(name, logger, **_):
    logger.info("farewell to %s", name)
