//! The binary: server, agent and command line in one; the only place where parts meet.
//!
//! One file goes by several names: `skiff`, `kubecfg` (the client of 2014), `skiff-cni` and `loopback` (what containerd
//! calls for a pod's network). Namespaces are entered here, before any thread exists.

use std::process::ExitCode;

use clap::Parser;

mod certificates;
mod check;
mod cli;
mod families;
mod isolate;
mod kubeconfig;
mod layout;
mod memory;
mod minions;
mod progress;
mod roles;
mod state;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().collect();
    match args.first().map(|name| name.rsplit('/').next().unwrap_or_default()) {
        Some("skiff-cni" | "loopback") => return exit(skiff_net::cni::main()),
        Some("kubecfg") => args.insert(1, "kubecfg".to_owned()),
        _ => {}
    }
    // Behind the plugin, which every pod's start waits for and which needs no TLS.
    skiff_base::tls::install_provider();
    if args.get(1).is_some_and(|command| command == "kubecfg") {
        return cli::kubecfg(args.split_off(2));
    }
    match cli::run(cli::Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            progress::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn exit(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code.clamp(0, 255)).unwrap_or(1))
}
