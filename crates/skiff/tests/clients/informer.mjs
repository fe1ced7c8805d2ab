// The JavaScript client as people use it: typed calls, an informer, server-side patch types, errors.
import assert from 'node:assert';
import * as k8s from '@kubernetes/client-node';

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const namespace = 'default';

const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, () =>
  core.listNamespacedConfigMap({ namespace }));
const told = { add: [], update: [], delete: [] };
const seen = (verb, name) => new Promise((resolve) => informer.on(verb, (object) => {
  told[verb].push(object.metadata.name);
  if (object.metadata.name === name) resolve(object);
}));
const [added, updated, deleted] = ['add', 'update', 'delete'].map((verb) => seen(verb, 'script'));
// Ending the watch is told as an error, too.
informer.on('error', (error) => { if (error?.name !== 'AbortError') throw error; });
await informer.start();
await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'script' }, data: { x: '1' } } });
await added;
const patch = { name: 'script', namespace, body: [{ op: 'replace', path: '/data/x', value: '2' }] };
await core.patchNamespacedConfigMap(patch);
assert.equal((await updated).data.x, '2');
await core.deleteNamespacedConfigMap({ name: 'script', namespace });
await deleted;
await informer.stop();
await assert.rejects(core.readNamespacedConfigMap({ name: 'script', namespace }), (error) => error.code === 404);
console.log('informer.mjs: all is well');
process.exit(0);
