//! A runtime for tests: exec runs on this machine, ports are this machine's loopback, probes get scripted answers.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::runtime::{
    AttachRequest, Auth, Condition, Container, ContainerConfig, ContainerId, ContainerStatus, Duplex, Event,
    ExecOutput, ExecRequest, FilesystemUsage, Image, PulledImage, Resources, Result, Runtime, RuntimeError,
    Sandbox, SandboxConfig, SandboxId, SandboxStatus, Session, Stats, Version,
};

#[derive(Default)]
pub(crate) struct Fake {
    answers: Mutex<VecDeque<Result<ExecOutput>>>,
}

impl Fake {
    /// What the next unanswered `exec_sync` comes to.
    pub(crate) fn answer(&self, code: i32, said: &str) {
        let output = ExecOutput { stdout: said.as_bytes().to_vec(), stderr: Vec::new(), code };
        self.answers.lock().unwrap().push_back(Ok(output));
    }

    /// The next unanswered `exec_sync` takes too long.
    pub(crate) fn time_out(&self) {
        self.answers.lock().unwrap().push_back(Err(RuntimeError::Deadline("too long".to_owned())));
    }
}

static SECONDS: AtomicI64 = AtomicI64::new(1_000_000);

fn no<T: Send + 'static>() -> BoxFuture<'static, Result<T>> {
    Box::pin(async { Err(RuntimeError::Unimplemented("not in this test".to_owned())) })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test's stand-in for a container is a process of this machine"
)]
fn session(request: &ExecRequest) -> Result<Session> {
    let failed =
        |error: &dyn std::fmt::Display| RuntimeError::Stream(format!("failed to exec in container: {error}"));
    let (program, arguments) = request.command.split_first().ok_or_else(|| failed(&"no command"))?;
    let pipe = |wanted| if wanted { Stdio::piped() } else { Stdio::null() };
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(pipe(request.stdin))
        .stdout(pipe(request.stdout))
        .stderr(pipe(request.stderr))
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    // Sizes are accepted and mean nothing without a terminal.
    let (resize, mut sizes) = mpsc::channel(1);
    skiff_base::Tasks::new().spawn_until_stop(async move { while sizes.recv().await.is_some() {} });
    Ok(Session {
        stdin: child.stdin.take().map(|pipe| Box::new(pipe) as _),
        stdout: child.stdout.take().map(|pipe| Box::new(pipe) as _),
        stderr: child.stderr.take().map(|pipe| Box::new(pipe) as _),
        resize,
        exit: Box::pin(async move {
            let status = child.wait().await.map_err(|error| RuntimeError::Stream(error.to_string()))?;
            Ok(status.code().unwrap_or(137))
        }),
    })
}

impl Runtime for Fake {
    fn version(&self) -> BoxFuture<'_, Result<Version>> {
        no()
    }
    fn conditions(&self) -> BoxFuture<'_, Result<Vec<Condition>>> {
        no()
    }
    fn events(&self) -> BoxStream<'static, Event> {
        Box::pin(futures::stream::pending())
    }
    fn run_sandbox<'a>(&'a self, _: &'a SandboxConfig) -> BoxFuture<'a, Result<SandboxId>> {
        no()
    }
    fn stop_sandbox<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        no()
    }
    fn remove_sandbox<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        no()
    }
    fn sandbox_status<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<SandboxStatus>> {
        no()
    }
    fn list_sandboxes<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Sandbox>>> {
        no()
    }
    fn create_container<'a>(
        &'a self,
        _: &'a str,
        _: &'a ContainerConfig,
        _: &'a SandboxConfig,
    ) -> BoxFuture<'a, Result<ContainerId>> {
        no()
    }
    fn start_container<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        no()
    }
    fn stop_container<'a>(&'a self, _: &'a str, _: Duration) -> BoxFuture<'a, Result<()>> {
        no()
    }
    fn update_container<'a>(&'a self, _: &'a str, _: &'a Resources) -> BoxFuture<'a, Result<()>> {
        no()
    }
    fn remove_container<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        no()
    }
    fn container_status<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<ContainerStatus>> {
        no()
    }
    fn list_containers<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Container>>> {
        no()
    }
    fn reopen_log<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        no()
    }
    fn pull_image<'a>(&'a self, _: &'a str, _: Option<&'a Auth>) -> BoxFuture<'a, Result<PulledImage>> {
        no()
    }
    fn image_status<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Image>>> {
        no()
    }
    fn list_images(&self) -> BoxFuture<'_, Result<Vec<Image>>> {
        no()
    }
    fn remove_image<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        no()
    }
    fn image_fs(&self) -> BoxFuture<'_, Result<Vec<FilesystemUsage>>> {
        no()
    }
    fn mount_image<'a>(&'a self, _: &'a str, _: &'a std::path::Path) -> BoxFuture<'a, Result<()>> {
        no()
    }
    fn import_images<'a>(&'a self, _: &'a std::path::Path) -> BoxFuture<'a, Result<Vec<String>>> {
        no()
    }

    fn exec_sync<'a>(
        &'a self,
        _: &'a str,
        _: &'a [String],
        _: Option<Duration>,
    ) -> BoxFuture<'a, Result<ExecOutput>> {
        match self.answers.lock().unwrap().pop_front() {
            Some(answer) => Box::pin(async move { answer }),
            // A script at its end says nothing more.
            None => Box::pin(std::future::pending()),
        }
    }

    fn exec<'a>(&'a self, request: ExecRequest) -> BoxFuture<'a, Result<Session>> {
        Box::pin(async move { session(&request) })
    }

    fn attach<'a>(&'a self, request: AttachRequest) -> BoxFuture<'a, Result<Session>> {
        let AttachRequest { container, tty, stdin, stdout, stderr } = request;
        let command = ["sh", "-c", "echo attached; cat"].map(str::to_owned).to_vec();
        Box::pin(async move { session(&ExecRequest { container, command, tty, stdin, stdout, stderr }) })
    }

    fn port_forward<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, Result<Box<dyn Duplex>>> {
        Box::pin(async move {
            let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            Ok(Box::new(socket.map_err(|error| RuntimeError::Stream(error.to_string()))?) as _)
        })
    }

    fn stats<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Stats>>> {
        let second = SECONDS.fetch_add(1, Ordering::Relaxed);
        let label = |name: &str, value: &str| (format!("io.kubernetes.pod.{name}"), value.to_owned());
        let stats = Stats {
            container: "c1".to_owned(),
            name: "main".to_owned(),
            labels: [label("name", "demo"), label("namespace", "default"), label("uid", "u1")].into(),
            at: Timestamp::from_second(second).unwrap(),
            cpu_nanoseconds: second.unsigned_abs() * 1_000_000_000,
            memory_working_set: 4096,
            ..Stats::default()
        };
        Box::pin(async move { Ok(vec![stats]) })
    }
}
