//! Looking into the runtime: what it holds of one pod.

use futures::future::join_all;

use super::steps::{Done, Found, Seen};
use super::{Context, terminal};
use crate::runtime::{RuntimeError, SandboxState};

/// One container as it is now.
pub(super) async fn container(ctx: Context, id: String) -> Done {
    match ctx.runtime.container_status(&id).await {
        Ok(mut status) => {
            terminal::read_message(&mut status, &ctx.places).await;
            Done::Container(Box::new(status))
        }
        Err(RuntimeError::NotFound(_)) => Done::ContainerLost(id),
        Err(error) => {
            tracing::warn!(container = id, %error, "container not looked at");
            Done::Nothing
        }
    }
}

/// The sandbox as it is now.
pub(super) async fn sandbox(ctx: Context, id: String) -> Done {
    match ctx.runtime.sandbox_status(&id).await {
        Ok(status) => Done::SandboxSeen(Box::new(status)),
        Err(RuntimeError::NotFound(_)) => Done::SandboxLost(id),
        Err(error) => {
            tracing::warn!(sandbox = id, %error, "sandbox not looked at");
            Done::Nothing
        }
    }
}

/// All the runtime holds of a pod, after events may have been missed.
pub(super) async fn everything(ctx: Context, uid: String) -> Done {
    let (sandboxes, containers) =
        tokio::join!(ctx.runtime.list_sandboxes(Some(&uid)), ctx.runtime.list_containers(Some(&uid)));
    match (sandboxes, containers) {
        (Ok(sandboxes), Ok(containers)) => {
            Done::Everything(Box::new(statuses(&ctx, Found { sandboxes, containers }).await))
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(pod = uid, %error, "runtime not looked at");
            Done::Nothing
        }
    }
}

/// The statuses of what a list named.
pub(super) async fn statuses(ctx: &Context, mut found: Found) -> Seen {
    found
        .sandboxes
        .sort_by_key(|sandbox| (sandbox.state == SandboxState::Ready, sandbox.attempt, sandbox.created_at));
    let newest = found.sandboxes.pop();
    let sandbox = match &newest {
        Some(newest) => ctx.runtime.sandbox_status(&newest.id).await.ok(),
        None => None,
    };
    let containers = found.containers.iter().map(|listed| async {
        let mut status = ctx.runtime.container_status(&listed.id).await.ok()?;
        terminal::read_message(&mut status, &ctx.places).await;
        Some(status)
    });
    let mut containers: Vec<_> = join_all(containers).await.into_iter().flatten().collect();
    containers.sort_by_key(|status| std::cmp::Reverse((status.attempt, status.created_at)));
    Seen { sandbox, old_sandboxes: found.sandboxes.into_iter().map(|old| old.id).collect(), containers }
}
