"""Makes fields.txt: what protobuf.rs must know of the API's messages.

    cargo fetch in a package that depends on k8s-pb 0.9   (its sources are read, it is not linked)
    kubectl get --raw /openapi/v2 > v2.json               (from a running Skiff: the exact JSON names)
    python3 fields.py v2.json > fields.txt

A line without a leading space names a message; the lines below it are `NUMBER NAME TYPE`. NAME is `-` for a message whose
fields stand in the one around it. TYPE: s string, b bytes, i integer, B bool, d double, @x a message with a JSON form of
its own, else a message; `*` before it: repeated, `%`: the values of a map by string.
"""
import re,json,glob,os
base=glob.glob(os.path.expanduser('~/.cargo/registry/src/*/k8s-pb-0.9.0/src'))[0]
import sys
defs=json.load(open(sys.argv[1]))['definitions']
lower={k.lower():v for k,v in defs.items()}
msgs={}
for root,_,files in os.walk(base):
    for f in files:
        if f!='mod.rs': continue
        mod=os.path.relpath(root,base).split(os.sep)
        if mod==['.']: mod=[]
        text=open(os.path.join(root,f)).read()
        for m in re.finditer(r'pub struct (\w+) \{(.*?)\n\}',text,re.S):
            name,body=m.group(1),m.group(2)
            body=re.sub(r'^\s*///.*$','',body,flags=re.M)
            fields=[]
            for fm in re.finditer(r'#\[prost\((.*?)\)\]\s*pub (r#)?(\w+):\s*(.*?)(?=#\[prost|\Z)',body,re.S):
                attr,fname,ty=fm.group(1),fm.group(3),re.sub(r'\s+','',fm.group(4)).rstrip(',')
                fields.append((attr,fname,ty))
            msgs['.'.join(mod+[name])]=(mod,fields)
def resolve(mod,path):
    parts=path.split('::'); cur=list(mod)
    while parts and parts[0]=='super': cur.pop(); parts.pop(0)
    return '.'.join(cur+parts)
def msgtype(mod,ty):
    if 'BTreeMap<' in ty:
        inner=ty[ty.index('BTreeMap<')+9:ty.rindex('>')]
        return resolve(mod,[x for x in inner.split(',') if x][-1])
    while True:
        m=re.match(r'^.*?(?:Option|Vec|Box)<(.*)>$',ty)
        if not m: break
        ty=m.group(1)
    return resolve(mod,ty)
roots=['api.core.v1.'+k for k in 'ConfigMap Namespace Secret ServiceAccount Service Node Pod ReplicationController Endpoints Event Binding'.split()]+['api.coordination.v1.Lease','api.discovery.v1.EndpointSlice','api.policy.v1.Eviction','apimachinery.pkg.apis.meta.v1.DeleteOptions','api.autoscaling.v1.Scale']+['api.apps.v1.'+k for k in 'ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet'.split()]+['api.batch.v1.CronJob','api.batch.v1.Job','api.policy.v1.PodDisruptionBudget','api.scheduling.v1.PriorityClass']
special={'apimachinery.pkg.apis.meta.v1.Time':'@time','apimachinery.pkg.apis.meta.v1.MicroTime':'@micro','apimachinery.pkg.api.resource.Quantity':'@quantity','apimachinery.pkg.util.intstr.IntOrString':'@intstr','apimachinery.pkg.apis.meta.v1.FieldsV1':'@raw','apimachinery.pkg.runtime.RawExtension':'@raw'}
norm=lambda s: s.replace('_','').replace('$','').lower()
def camel(s):
    p=s.split('_'); return p[0]+''.join(x.capitalize() for x in p[1:])
out={}; missing=[]
# inlined messages take the names of the message they are part of
todo=[(r,None) for r in roots]
while todo:
    m,owner=todo.pop(0)
    if m in out: continue
    mod,fields=msgs[m]
    props=lower.get(('io.k8s.'+m).lower(),{}).get('properties') or owner
    lines=[]
    for attr,fname,ty in fields:
        tag=re.search(r'tag\s*=\s*"(\d+)"',attr).group(1)
        rep='repeated' in attr; kind=attr.split(',')[0].strip()
        mm=re.match(r'btree_map\s*=\s*"string, ?(\w+)"',attr); inner=None
        if mm:
            v=mm.group(1)
            if v=='message': inner=msgtype(mod,ty); t='%'+special.get(inner,inner)
            else: t='%'+{'string':'s','bytes':'b'}[v]
        elif kind=='message': inner=msgtype(mod,ty); t=special.get(inner,inner)
        else:
            t={'string':'s','bool':'B','int32':'i','int64':'i','double':'d'}.get(kind)
            if kind.startswith('bytes'): t='b'
            if t is None: print('??',m,attr); continue
        if rep: t='*'+t
        name=None
        for p in props or {}:
            if norm(p)==norm(fname): name=p
        inline=False
        if name is None and inner and inner not in special and props is not None and not rep and not mm:
            own={norm(f[1]) for f in msgs[inner][1]}
            if not own & {norm(p) for p in props}: continue   # of another release
            name='-'; inline=True
        if name is None:
            name=camel(fname); missing.append((m,fname,bool(props)))
        lines.append((int(tag),name,t))
        if inner and inner not in special: todo.append((inner,props if inline else None))
    out[m]=lines
short=lambda t: re.sub(r'(apimachinery\.pkg\.apis|api)\.','',t)
print(len(out),'messages', file=sys.stderr)
for x in missing: print(x, file=sys.stderr)
print("# Field numbers, JSON names and types of the API's protobuf messages. Made by fields.py; do not edit.")
for m in sorted(out):
    print(short(m))
    for tag,name,t in sorted(out[m]): print(f' {tag} {name} {short(t)}')
