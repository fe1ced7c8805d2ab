"""The OpenAPI documents of the cluster, every one of them, before a public validator."""

import json

from kubernetes import client, config, dynamic
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator

config.load_kube_config()
server = dynamic.DynamicClient(client.ApiClient())


def document(path):
    return json.loads(server.request("get", path, serialize=False).data)


def check(validator, path):
    faults = [error.message for error in validator(document(path)).iter_errors()]
    assert not faults, f"{path}: {faults[:5]}"


index = document("/openapi/v3")["paths"]
assert len(index) > 15, index
for name in index:
    check(OpenAPIV30SpecValidator, index[name]["serverRelativeURL"])
check(OpenAPIV2SpecValidator, "/openapi/v2")
print("openapi.py: all is well")
