//! Runs of kubecfg against a server that answers from a script.

mod controllers;
mod endings;
mod output;
mod requests;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use skiff_base::Clock;
use skiff_base::task::{Policy, Tasks};
use tokio::net::TcpListener;

use crate::{World, run_in};

/// A server: each line has answers, used up one by one; the last one stays.
#[derive(Default)]
pub(crate) struct Stub {
    answers: Mutex<HashMap<String, Vec<(u16, String)>>>,
    asked: Mutex<Vec<(String, String)>>,
}

impl Stub {
    pub(crate) fn on(self, line: &str, code: u16, answer: impl ToString) -> Self {
        let mut answers = self.answers.lock().unwrap();
        answers.entry(line.to_owned()).or_default().push((code, answer.to_string()));
        drop(answers);
        self
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let line = format!("{} {}", parts.method, parts.uri);
        let body = body.collect().await.unwrap().to_bytes();
        let (code, text) = match self.answers.lock().unwrap().get_mut(&line) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => (404, format!("Not Found: {:?}", parts.uri.path())),
        };
        self.asked.lock().unwrap().push((line, String::from_utf8(body.to_vec()).unwrap()));
        Response::builder().status(code).body(Full::new(Bytes::from(text))).unwrap()
    }
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
    /// Request lines with their bodies.
    pub(super) asked: Vec<(String, String)>,
}

impl Ran {
    pub(super) fn lines(&self) -> Vec<&str> {
        self.asked.iter().map(|(line, _)| line.as_str()).collect()
    }

    pub(super) fn body(&self, place: usize) -> Value {
        serde_json::from_str(&self.asked[place].1).unwrap()
    }
}

/// A home directory and what is in it.
pub(super) struct Home(pub(super) tempfile::TempDir);

impl Home {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes a file and tells its path.
    pub(super) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// Runs `kubecfg ARGS` with the stub as its master.
pub(super) async fn run(stub: Stub, args: &[&str]) -> Ran {
    run_at(&Home::new(), stub, args, "").await
}

/// Serves a script on loopback until its tasks stop: the URL, the script, the tasks.
pub(crate) async fn serving(stub: Stub) -> (String, Arc<Stub>, Tasks) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let master = format!("http://{}", listener.local_addr().unwrap());
    let stub = Arc::new(stub);
    let tasks = Tasks::new();
    let (served, group) = (Arc::clone(&stub), tasks.clone());
    tasks.spawn_until_stop(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stub = Arc::clone(&served);
            let service = hyper::service::service_fn(move |request| {
                let stub = Arc::clone(&stub);
                async move { Ok::<_, Infallible>(stub.answer(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            group.spawn("stub", Policy::Optional, connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    (master, stub, tasks)
}

pub(super) async fn run_at(home: &Home, stub: Stub, args: &[&str], input: &str) -> Ran {
    let (master, stub, tasks) = serving(stub).await;
    let (out, err) = (Kept::default(), Kept::default());
    let vars = [("KUBERNETES_MASTER", master), ("HOME", home.0.path().to_str().unwrap().to_owned())];
    let mut world = World {
        vars: vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>(),
        input: Box::new(Cursor::new(input.as_bytes().to_vec())),
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        clock: Clock::from_fn(|| "2014-10-20T10:00:00.000123Z".parse().unwrap()),
        pid: 12345,
    };
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let code = run_in(args, &mut world).await;
    tasks.stop();
    let asked = std::mem::take(&mut *stub.asked.lock().unwrap());
    Ran { code, out: out.text(), err: err.text(), asked }
}

/// An answer with what a server adds.
pub(super) const POD: &str = r#"{"kind":"Pod","id":"redis-master-pod","creationTimestamp":"2014-10-20T10:00:00Z","selfLink":"/api/v1beta1/pods/redis-master-pod","resourceVersion":5,"apiVersion":"v1beta1","namespace":"default","labels":{"name":"redis","role":"master"},"desiredState":{"manifest":{"version":"v1beta1","id":"redis-master-pod","volumes":null,"containers":[{"name":"redis-master","image":"gurpartap/redis","imagePullPolicy":""}],"restartPolicy":{"always":{}}},"status":"Running"},"currentState":{"manifest":{"version":"","id":"","volumes":null,"containers":null,"restartPolicy":{}},"status":"Waiting"}}"#;

pub(super) const CONTROLLER: &str = r#"{"kind":"ReplicationController","id":"redisSlaveController","creationTimestamp":null,"resourceVersion":7,"apiVersion":"v1beta1","desiredState":{"replicas":2,"replicaSelector":{"name":"redisslave"},"podTemplate":{"desiredState":{"manifest":{"version":"v1beta1","id":"","volumes":null,"containers":[{"name":"slave","image":"brendanburns/redis-slave","imagePullPolicy":""}],"restartPolicy":{"always":{}}}},"labels":{"name":"redisslave"}}},"currentState":{"replicas":2,"replicaSelector":null,"podTemplate":{"desiredState":{"manifest":{"version":"","id":"","volumes":null,"containers":null,"restartPolicy":{}}}}},"labels":{"name":"redisslave"}}"#;

pub(super) const SUCCESS: &str =
    r#"{"kind":"Status","creationTimestamp":null,"apiVersion":"v1beta1","status":"Success"}"#;
