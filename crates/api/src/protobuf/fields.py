"""Makes fields.txt: what protobuf.rs must know of the API's messages.

    cargo fetch in a package that depends on k8s-pb 0.9 and k8s-openapi 0.29   (sources are read, nothing is linked)
    python3 fields.py > fields.txt

k8s-pb gives the numbers and wire types (of 1.35), k8s-openapi the JSON names (of 1.37). What came after 1.35 has no number
there: such a field gets `?` for its number, and an object that has it is answered in JSON.

A line without a leading space names a message; the lines below it are `NUMBER NAME TYPE`. NAME is `-` for a message whose
fields stand in the one around it. TYPE: s string, b bytes, i integer, B bool, d double (`i0`, `B0`: zero
means unset; `s1`: empty is not unset), @x a message with a JSON form of
its own, else a message; `*` before it: repeated, `%`: the values of a map by string.
"""
import glob
import os
import re
import sys

SOURCES = os.path.expanduser('~/.cargo/registry/src/*/')
PB = glob.glob(SOURCES + 'k8s-pb-0.9.0/src')[0]
OPENAPI = glob.glob(SOURCES + 'k8s-openapi-0.29.0/src/v1_37')[0]

SPECIAL = {
    'meta.v1.Time': '@time', 'meta.v1.MicroTime': '@micro', 'meta.v1.Duration': '@duration',
    'resource.Quantity': '@quantity', 'intstr.IntOrString': '@intstr',
    'meta.v1.FieldsV1': '@raw', 'runtime.RawExtension': '@raw', 'apiextensions.v1.JSON': '@raw',
    'apiextensions.v1.JSONSchemaPropsOrArray': '@orarray', 'apiextensions.v1.JSONSchemaPropsOrBool': '@orbool',
    'apiextensions.v1.JSONSchemaPropsOrStringArray': '@orstrings',
    'authentication.v1.ExtraValue': '@strings', 'authorization.v1.ExtraValue': '@strings',
    'certificates.v1.ExtraValue': '@strings', 'meta.v1.Verbs': '@strings',
}
# Groups and versions that a current server may serve.
GROUPS = '''admission.v1 admissionregistration.v1 apidiscovery.v2 apiextensions.v1 apiregistration.v1 apiserverinternal.v1alpha1
apps.v1 authentication.v1 authorization.v1 autoscaling.v1 autoscaling.v2 batch.v1 certificates.v1 coordination.v1 core.v1
discovery.v1 events.v1 flowcontrol.v1 meta.v1 meta.v1beta1 metrics.v1beta1 networking.v1 node.v1 policy.v1 rbac.v1 resource.v1
scheduling.v1 storage.v1 storagemigration.v1'''.split()
# Fields that are no pointers in Go and left out of its JSON when they are zero: Go writes them all the same, and a zero
# means that nobody has set them.
PLAIN = set('''generation observedGeneration minReadySeconds paused deprecated preserveUnknownFields insecureSkipTLSVerify
exclusiveMaximum exclusiveMinimum nullable uniqueItems x-kubernetes-embedded-resource x-kubernetes-int-or-string
numberAvailable numberUnavailable updatedNumberScheduled fullyLabeledReplicas currentReplicas readyReplicas
updatedReplicas unavailableReplicas authenticated denied partition readOnly stdin stdinOnce tty sizeBytes hostPort signal
deprecatedCount chapAuthDiscovery chapAuthSession unschedulable hostIPC hostNetwork hostPID failureThreshold
initialDelaySeconds periodSeconds successThreshold sslEnabled nodePort healthCheckNodePort publishNotReadyAddresses
clusterScope code retryAfterSeconds globalDefault
core.v1.Probe.timeoutSeconds core.v1.Event.count core.v1.EventSeries.count batch.v1.JobStatus.active
batch.v1.JobStatus.failed batch.v1.JobStatus.succeeded autoscaling.v1.ScaleSpec.replicas apps.v1.DeploymentStatus.replicas
apps.v1.DeploymentStatus.availableReplicas apps.v1.ReplicaSetStatus.availableReplicas
core.v1.ReplicationControllerStatus.availableReplicas apiextensions.v1.CustomResourceColumnDefinition.priority
resource.v1.DeviceSubRequest.count resource.v1.ExactDeviceRequest.count meta.v1.ListOptions.watch
meta.v1.ListOptions.limit'''.split())
# Pointers among the fields named above.
POINTERS = set('''core.v1.AzureDiskVolumeSource.readOnly core.v1.CSIVolumeSource.readOnly
apps.v1.RollingUpdateStatefulSetStrategy.partition meta.v1.DeleteOptions.gracePeriodSeconds'''.split())
# Pointers to text where no text and an empty one differ.
EMPTY_COUNTS = set('''core.v1.PersistentVolumeClaimSpec.storageClassName core.v1.PersistentVolumeClaimSpec.volumeAttributesClassName
core.v1.TypedLocalObjectReference.apiGroup core.v1.TypedObjectReference.apiGroup discovery.v1.EndpointPort.name
discovery.v1.EndpointPort.appProtocol'''.split())
# Exact JSON names where no k8s-openapi type gives them.
NAMES = {'service_account_u_i_d': 'serviceAccountUID'}


def short(path):
    """apimachinery.pkg.apis.meta.v1.Time and api.core.v1.Pod as meta.v1.Time and core.v1.Pod."""
    parts = [p for p in path.split('.') if p not in ('api', 'apimachinery', 'pkg', 'apis', 'util', 'io', 'k8s',
             'apiextensions_apiserver', 'kube_aggregator', 'apiextensions-apiserver', 'kube-aggregator')]
    return '.'.join(parts)


def camel(name):
    first, *rest = name.split('_')
    return first + ''.join(word.capitalize() for word in rest)


def bare(name):
    return re.sub('[_$-]', '', name).lower()


def json_names():
    """The JSON names of every type of k8s-openapi, by short lower-case name; and its Rust types."""
    types = {}
    for path in glob.glob(OPENAPI + '/**/*.rs', recursive=True):
        text = open(path).read()
        head = re.match(r'// Generated from definition io\.k8s\.([\w.-]+)', text)
        if not head:
            continue
        fields = dict((rust, json) for json, rust in re.findall(r'"([^"]+)" => Field::Key_(\w+)', text))
        body = re.search(r'pub struct \w+ \{\n(.*?)\n\}', text, re.S)
        rust = dict(re.findall(r'^    pub (?:r#)?(\w+): (.*),$', body.group(1) if body else '', re.M))
        types[short(head.group(1)).lower()] = (head.group(1), fields, rust)
    return types


def messages():
    """Every message of k8s-pb: (prost attribute, Rust name, Rust type) for each field."""
    found = {}
    for root, _, files in os.walk(PB):
        if 'mod.rs' not in files:
            continue
        mod = [part for part in os.path.relpath(root, PB).split(os.sep) if part != '.']
        text = open(os.path.join(root, 'mod.rs')).read()
        for match in re.finditer(r'pub struct (\w+) \{(?:\}|(.*?)\n\})', text, re.S):
            body = re.sub(r'^\s*///.*$', '', match.group(2) or '', flags=re.M)
            fields = re.findall(r'#\[prost\((.*?)\)\]\s*pub (?:r#)?(\w+):\s*(.*?)(?=#\[prost|\Z)', body, re.S)
            found['.'.join(mod + [match.group(1)])] = (mod, [(a, n, re.sub(r'\s+', '', t).rstrip(',').replace(',>', '>')) for a, n, t in fields])
    return found


def referred(mod, rust):
    """The full name of the message that a Rust type refers to."""
    if 'BTreeMap<' in rust:
        rust = [part for part in rust[rust.index('BTreeMap<') + 9:rust.rindex('>')].split(',') if part][-1]
    while (inner := re.match(r'^.*?(?:Option|Vec|Box)<(.*)>$', rust)):
        rust = inner.group(1)
    parts, here = rust.split('::'), list(mod)
    while parts and parts[0] == 'super':
        here.pop()
        parts.pop(0)
    return '.'.join(here + parts)


def main():
    types, pb = json_names(), messages()
    proper = {}
    for name in pb:
        known = types.get(short(name).lower())
        # prost turns JSONSchemaProps into JsonSchemaProps.
        proper[name] = short(known[0]) if known else short(name)
    names = {'Json': 'JSON', 'JsonSchema': 'JSONSchema', 'ApiService': 'APIService', 'ApiGroup': 'APIGroup',
             'ApiResource': 'APIResource', 'ApiVersions': 'APIVersions', 'ApiSubresource': 'APISubresource',
             'ApiVersionDiscovery': 'APIVersionDiscovery', 'IpAddress': 'IPAddress', 'ServiceCidr': 'ServiceCIDR',
             'CsiDriver': 'CSIDriver', 'CsiNode': 'CSINode', 'CsiStorage': 'CSIStorage'}
    for name, told in proper.items():
        parts = told.split('.')
        for wrong, right in names.items():
            if parts[-1].startswith(wrong) and short(name).lower() not in types:
                parts[-1] = right + parts[-1][len(wrong):]
        proper[name] = '.'.join(parts)
    # A version that came after 1.35 has its messages from the one before: numbers stay when a kind graduates.
    for full, fields, _ in types.values():
        told = short(full)
        group, version, kind = (told.split('.') + ['', ''])[:3]
        if f'{group}.{version}' in GROUPS and told not in proper.values():
            for older in ('v1beta2', 'v1beta1', 'v1alpha3', 'v1alpha2', 'v1alpha1'):
                source = next((n for n, t in proper.items() if t == f'{group}.{older}.{kind}'), None)
                if source:
                    graduated = source.replace(f'.{older}.', f'.{version}.')
                    pb[graduated] = (source.split('.')[:-2] + [version], pb[source][1])
                    proper[graduated] = told
                    if source + 'List' in pb:
                        pb[graduated + 'List'] = (pb[graduated][0], pb[source + 'List'][1])
                        proper[graduated + 'List'] = told + 'List'
                    break
    kept = [name for name in pb if '.'.join(proper[name].split('.')[:2]) in GROUPS]
    out = {}
    # Messages whose fields stand in another take that one's names.
    owners = {}
    for _ in range(3):
        for name in kept:
            mod, fields = pb[name]
            known = types.get(short(name).lower())
            props = set(known[1].values()) if known and known[1] else owners.get(name)
            for attr, rust_name, rust in fields if props else []:
                if attr.startswith('message') and 'repeated' not in attr and not any(bare(p) == bare(rust_name) for p in props):
                    inner = referred(mod, rust)
                    if {bare(n) for _, n, _ in pb[inner][1]} & {bare(p) for p in props}:
                        owners[inner] = props
    todo = [(name, owners.get(name)) for name in kept]
    done = set()
    while todo:
        name, owner = todo.pop(0)
        told = proper[name]
        if told in done or told in SPECIAL:
            continue
        done.add(told)
        mod, fields = pb[name]
        known = types.get(short(name).lower())
        props = set(known[1].values()) if known and known[1] else (owner or set())
        lines = out.setdefault(told, {})
        for attr, rust_name, rust in fields:
            number = int(re.search(r'tag\s*=\s*"(\d+)"', attr).group(1))
            kind, repeated, inner = attr.split(',')[0].strip(), 'repeated' in attr, None
            of_map = re.match(r'btree_map\s*=\s*"string, ?(\w+)"', attr)
            if kind == 'message' or (of_map and of_map.group(1) == 'message'):
                inner = referred(mod, rust)
                of = SPECIAL.get(proper.get(inner, inner), proper.get(inner, inner))
            else:
                plain = of_map.group(1) if of_map else kind.split('=')[0].split()[0]
                of = {'string': 's', 'bool': 'B', 'int32': 'i', 'int64': 'i', 'uint64': 'i', 'double': 'd', 'bytes': 'b'}.get(plain)
                if of is None:
                    print('what is', told, attr, file=sys.stderr)
                    continue
            of = ('%' if of_map else '*' if repeated else '') + of
            json = next((p for p in props if bare(p) == bare(rust_name)), None)
            if json is None and inner and props and not of.startswith(('@', '%', '*')):
                if inner in owners:
                    json = '-'
            if json is None:
                if known and known[1]:
                    print('gone since', told, rust_name, file=sys.stderr)
                    continue
                json = NAMES.get(rust_name, camel(rust_name))
            path = f'{told}.{json}'
            rust_of_json = known[2].get(rust_name, '') if known else ''
            required = bool(known) and bool(known[1]) and not rust_of_json.startswith('Option<')
            if of in 'iB' and (json in PLAIN or path in PLAIN) and path not in POINTERS and not required:
                of = {'i': 'i0', 'B': 'B0'}[of]
            elif of == 's' and path in EMPTY_COUNTS:
                of = 's1'
            lines[number] = (json, of)
            if inner and not of.lstrip('*%').startswith('@'):
                todo.append((inner, owners.get(inner)))
    # What has no number yet is told as such: no one may think that it can be written.
    def names_of(told):
        return {j for json, of in out[told].values() for j in (names_of(of) if json == '-' else [json])}
    for full, fields, rust in sorted(types.values(), key=lambda entry: entry[0]):
        told = short(full)
        if '.'.join(told.split('.')[:2]) not in GROUPS or told in SPECIAL or not fields or told == 'meta.v1.WatchEvent':
            continue
        mine = names_of(told) if told in out else set()
        if told not in out and not any(j in ('apiVersion', 'metadata') for j in fields.values()):
            continue
        for rust_name, json in fields.items():
            if json not in mine and json not in ('apiVersion', 'kind'):
                print('no number', told, json, rust.get(rust_name), file=sys.stderr)
                out.setdefault(told, {})['?' + json] = (json, 's')
    print('# Field numbers, JSON names and types of the API\'s protobuf messages. Made by fields.py; do not edit.')
    for told in sorted(out):
        print(told)
        for number in sorted(out[told], key=lambda n: (isinstance(n, str), n)):
            print('', str(number)[:1] if isinstance(number, str) else number, *out[told][number])


main()
