#!/usr/bin/env bash
# The example of 2014 on two minions, told step by step. Called by `./skiff.sh demo`:
#   demo.sh SKIFF IMAGES DATA_DIR
set -euo pipefail
skiff=$1 images=$2 data_dir=$3
here=$(cd "$(dirname "$0")" && pwd)
export KUBECONFIG="$data_dir/kubeconfig" KUBECTL_KUBERC=false

tell() { printf '\n\033[1m%s\033[0m\n' "$1"; }
run() { printf '$ %s\n' "$*"; "$@"; }
kubecfg() { printf '$ kubecfg %s\n' "$*"; "$skiff" kubecfg "$@"; }
ready() { kubectl wait --for=condition=Ready --timeout=120s "$@" >/dev/null; }
# Until a controller has that many ready pods; Debian's kubectl cannot wait for a number.
replicas() {
  for _ in $(seq 600); do
    [ "$(kubectl get rc "$1" -o jsonpath='{.status.readyReplicas}')" = "$2" ] && return
    sleep 0.2
  done
  echo "$1 has no $2 ready pods after two minutes" >&2
  return 1
}

tell "A cluster: one server, two minions, each in a network namespace of its own."
run "$skiff" up --nodes 2 --detach --data-dir "$data_dir"
for image in busybox redis redis-slave; do
  run "$skiff" image import --data-dir "$data_dir" "$images/$image.tar"
done
kubecfg list /minions

tell "The master: one pod, and a service that gives it an address."
kubecfg -c "$here/redis-master-pod.json" create /pods
kubecfg -c "$here/redis-master-service.json" create /services
ready pod/redis-master-pod
kubecfg list /pods

tell "Two slaves, kept by a replication controller; their host port allows one a minion."
kubecfg -c "$here/redis-slave-controller.json" create /replicationControllers
replicas redisSlaveController 2
kubecfg list /pods
kubecfg list /services

tell "A key written to the master by the service's address is read from a slave."
portal=$(kubectl get service redismaster -o jsonpath='{.spec.clusterIP}')
slave=$(kubectl get pods -l name=redisslave -o jsonpath='{.items[0].metadata.name}')
run kubectl exec "$slave" -- redis-cli -h "$portal" set article kubernetes
# WAIT answers when that many slaves have what was written so far; no need to guess how long it takes.
run kubectl exec "$slave" -- redis-cli -h "$portal" wait 2 10000
run kubectl exec "$slave" -- redis-cli get article

tell "The cluster stays up. Try:"
cat <<EOF
  export KUBECONFIG=$KUBECONFIG
  kubectl get pods -o wide
  $skiff kubecfg list /pods
  $skiff kubecfg resize redisSlaveController 3     # the third finds no minion: kubectl describe pods says why
  $skiff status --data-dir $data_dir
  ./skiff.sh down                                    # removes every trace
EOF
