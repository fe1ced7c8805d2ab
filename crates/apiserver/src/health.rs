//! `/healthz`, `/livez`, `/readyz`: named checks, each with a path of its own; worded as upstream's.

use skiff_base::Latch;

use crate::api::Api;
use crate::request::Info;
use crate::wire::{self, Response};

/// What the checks look at besides the store.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Open once the server's own objects are there.
    pub(crate) bootstrapped: Latch,
}

/// One check.
struct Check {
    name: &'static str,
    /// Only readiness asks it.
    readiness_only: bool,
    healthy: fn(&Api) -> bool,
}

static CHECKS: &[Check] = &[
    Check { name: "ping", readiness_only: false, healthy: |_| true },
    // Upstream's name for the store, which tools ask for.
    Check { name: "etcd", readiness_only: false, healthy: |api| api.store_is_open() },
    Check {
        name: "poststarthook/bootstrap-controller",
        readiness_only: false,
        healthy: |api| api.health.bootstrapped.is_open(),
    },
    Check { name: "shutdown", readiness_only: true, healthy: |api| !api.stopping.is_cancelled() },
];

/// Answers one of the three paths or a check below it; nothing for other paths.
pub(crate) fn serve(api: &Api, info: &Info) -> Option<Response> {
    let mut parts = info.path.trim_matches('/').splitn(2, '/');
    let endpoint = parts.next().unwrap_or_default();
    if !matches!(endpoint, "healthz" | "livez" | "readyz") {
        return None;
    }
    let asked = |check: &&Check| endpoint == "readyz" || !check.readiness_only;
    if let Some(name) = parts.next() {
        let check = CHECKS.iter().filter(asked).find(|check| check.name == name)?;
        return Some(if (check.healthy)(api) {
            wire::text(200, "ok")
        } else {
            wire::text(500, format!("internal server error: {name} failed\n"))
        });
    }
    let excluded: Vec<&str> = info.query.all("exclude").collect();
    let mut report = String::new();
    let mut failed = false;
    for check in CHECKS.iter().filter(asked) {
        let name = check.name;
        if excluded.contains(&name) {
            report.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if (check.healthy)(api) {
            report.push_str(&format!("[+]{name} ok\n"));
        } else {
            failed = true;
            report.push_str(&format!("[-]{name} failed: reason withheld\n"));
        }
    }
    Some(match (failed, info.query.flag("verbose")) {
        (true, _) => wire::text(500, format!("{report}{endpoint} check failed\n")),
        (false, true) => wire::text(200, format!("{report}{endpoint} check passed\n")),
        (false, false) => wire::text(200, "ok"),
    })
}
