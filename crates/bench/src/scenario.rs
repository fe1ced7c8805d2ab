//! The table of scenarios; each is one file.

use anyhow::bail;
use futures::future::LocalBoxFuture;
use http::Method;

use crate::cluster::{Cluster, Role};
use crate::connection::Call;
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::{objects, procs, report};

mod crds;
mod idle;
mod limits;
mod lists;
mod pods;
mod schedule;
mod size;
mod start;
mod watch;
mod workloads;
mod writes;

/// A row of the table.
pub(crate) struct Row {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What it measures, in a line.
    pub(crate) about: &'static str,
    /// Measures, and cleans up.
    pub(crate) run: for<'a> fn(&'a Lab) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

const ROWS: &[&Row] = &[
    &size::SCENARIO,
    &start::SCENARIO,
    &idle::SCENARIO,
    &writes::SCENARIO,
    &lists::SCENARIO,
    &watch::SCENARIO,
    &crds::SCENARIO,
    &schedule::SCENARIO,
    &workloads::SCENARIO,
    &limits::SCENARIO,
    &pods::SCENARIO,
];

/// The rows of these names, in the table's order.
pub(crate) fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Row>> {
    let known = |name: &str| name == "all" || ROWS.iter().any(|row| row.name == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let list: Vec<String> = ROWS.iter().map(|row| format!("  {:<9} {}", row.name, row.about)).collect();
        bail!("no scenario {unknown}; there are\n{}\n  all", list.join("\n"));
    }
    let wanted = |row: &Row| names.iter().any(|name| name == "all" || name == row.name);
    Ok(ROWS.iter().filter(|row| wanted(row)).copied().collect())
}

/// Runs scenarios one after the other.
pub(crate) async fn all(lab: &Lab, rows: &[&'static Row]) -> anyhow::Result<()> {
    if lab.args.quick {
        report::say("--quick: fewer of everything than the figures' names say");
    }
    for row in rows {
        report::say(&format!("\n{}: {} (load average {})\n", row.name, row.about, procs::load()));
        report::head();
        (row.run)(lab).await?;
    }
    report::say(&format!("\nload average at the end: {}", procs::load()));
    Ok(())
}

/// Measures on a server alone, in a namespace whose pods are bound to a node that nobody runs; cleans up also after a failure.
async fn on_nowhere(
    lab: &Lab,
    measure: impl AsyncFnOnce(&Cluster, &Namespace) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let cluster = lab.cluster(Role::Server).await?;
    let namespace = Namespace::make(&cluster).await?;
    let node = Call::new(Method::POST, "/api/v1/nodes").body(objects::node());
    cluster.connect().await?.call(node).await?;
    let outcome = measure(&cluster, &namespace).await;
    let cleaned = async {
        let mut connection = cluster.connect().await?;
        namespace.clear(&mut connection, "pods").await?;
        connection.call(Call::new(Method::DELETE, format!("/api/v1/nodes/{}", objects::NODE))).await?;
        namespace.remove(&cluster).await
    };
    // The failure is what is told.
    outcome.and(cleaned.await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(wanted: &[&str]) -> anyhow::Result<Vec<&'static str>> {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        Ok(chosen(&wanted)?.iter().map(|row| row.name).collect())
    }

    #[test]
    fn scenarios_are_chosen_by_name_or_all_at_once() {
        assert_eq!(names(&["writes", "size"]).unwrap(), ["size", "writes"]);
        assert_eq!(names(&["all"]).unwrap().len(), ROWS.len());
        assert!(names(&["absent"]).unwrap_err().to_string().contains("there are"));
    }
}
