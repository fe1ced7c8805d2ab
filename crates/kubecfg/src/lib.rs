//! The command line of 2014: a real HTTP client of `/api/v1beta1`, with the flags, tables, templates and exit codes of
//! the `kubecfg` of October 2014 (v0.4), and what v0.5 to v0.7 added where it does not contradict.
//!
//! It finds the cluster through `-h`, through `KUBERNETES_MASTER`, or through the context `skiff` of the user's
//! kubeconfig, else at `http://localhost:8080`.
//!
//! Invariant: it speaks to the server over HTTP only; nothing here knows what is on the other side. Everything it touches
//! of its own machine (variables, streams, clock) is in a [`World`], so that tests run it as users do.

mod args;
mod body;
mod client;
mod commands;
mod ending;
mod glog;
mod printers;
mod proxy;
mod target;
mod template;
mod version;
mod world;

#[cfg(test)]
mod tests;

pub use world::World;

use args::{Args, Flags};
use ending::Ending;

/// Runs kubecfg with `args` (without the program's name) in this process's world; the exit code comes back.
pub async fn run(args: Vec<String>) -> i32 {
    let mut world = World::real();
    run_in(args, &mut world).await
}

/// Runs kubecfg in a world of the caller's.
pub async fn run_in(args: Vec<String>, world: &mut World) -> i32 {
    let parsed = match Args::parse(&args) {
        Ok(parsed) => parsed,
        Err(bad) => {
            if !bad.is_help() {
                world.complain(&format!("{bad}\n"));
            }
            world.complain(&args::usage());
            return 2;
        }
    };
    match act(parsed, world).await {
        Ok(()) => 0,
        Err(Ending::Exit(code)) => code,
        Err(Ending::Fatal(fatal)) => {
            let line = glog::line('F', world, fatal.line, &fatal.message);
            world.complain(&line);
            255
        }
    }
}

async fn act(args: Args, world: &mut World) -> Result<(), Ending> {
    let flags: Flags = args.flags;
    if version::print_own(&flags, world) {
        return Ok(());
    }
    let target = target::find(&flags, world).await?;
    let mut client = client::Client::new(&flags, target, world).await?;
    if version::print_servers(&flags, &client, world).await? {
        return Ok(());
    }
    if flags.truth("expect_version_match") {
        version::compare(&client, world).await?;
    }
    if flags.truth("proxy") {
        return proxy::serve(&flags, client, world).await;
    }
    let Some((method, rest)) = args.words.split_first() else {
        world.complain(&args::usage());
        return Err(Ending::Exit(1));
    };
    client.namespace = commands::namespace::current(&flags, world).await?;
    commands::dispatch(method, commands::Call { flags: &flags, args: rest, client: &client, world }).await
}
