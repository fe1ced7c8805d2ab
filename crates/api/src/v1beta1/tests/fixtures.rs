//! The article's files, written anew from what is known of them.

pub(super) const MASTER_POD: &str = r#"{
  "id": "redis-master-pod",
  "kind": "Pod",
  "apiVersion": "v1beta1",
  "desiredState": {
    "manifest": {
      "version": "v1beta1",
      "id": "redis-master-pod",
      "containers": [{
        "name": "redis-master",
        "image": "gurpartap/redis",
        "ports": [{"name": "redis-server", "containerPort": 6379}]
      }]
    }
  },
  "labels": {"name": "redis", "role": "master"}
}"#;

/// Lines are joined without anything between them.
pub(super) const MASTER_POD_ANSWER: &str = r#"{"kind":"Pod","id":"redis-master-pod","creationTimestamp":"2014-10-20T10:00:00Z",
"selfLink":"/api/v1beta1/pods/redis-master-pod","resourceVersion":5,"apiVersion":"v1beta1","namespace":"default",
"labels":{"name":"redis","role":"master"},
"desiredState":{"manifest":{"version":"v1beta1","id":"redis-master-pod","uuid":"0f4c","volumes":null,
"containers":[{"name":"redis-master","image":"gurpartap/redis",
"ports":[{"name":"redis-server","containerPort":6379,"protocol":"TCP"}],"imagePullPolicy":""}],
"restartPolicy":{"always":{}}},"status":"Running"},
"currentState":{"manifest":{"version":"","id":"","volumes":null,"containers":null,"restartPolicy":{}},"status":"Waiting"}}"#;

pub(super) const MASTER_SERVICE: &str = r#"{
  "id": "redismaster",
  "kind": "Service",
  "apiVersion": "v1beta1",
  "port": 6379,
  "selector": {"name": "redis-master"}
}"#;

pub(super) const SLAVE_CONTROLLER: &str = r#"{
  "id": "redisSlaveController",
  "kind": "ReplicationController",
  "apiVersion": "v1beta1",
  "desiredState": {
    "replicas": 2,
    "replicaSelector": {"name": "redisslave"},
    "podTemplate": {
      "desiredState": {
        "manifest": {
          "version": "v1beta1",
          "id": "redisSlaveController",
          "containers": [{
            "name": "slave",
            "image": "brendanburns/redis-slave",
            "ports": [{"containerPort": 6379, "hostPort": 6380}]
          }]
        }
      },
      "labels": {"name": "redisslave", "uses": "redis-master"}
    }
  },
  "labels": {"name": "redisslave"}
}"#;
