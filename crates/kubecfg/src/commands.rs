//! The methods: a table, one file each (the six that are one request have a file together).

pub(crate) mod controller;
pub(crate) mod namespace;
mod print;
mod resize;
mod rest;
mod rm;
mod rollingupdate;
mod run;
mod stop;

use std::pin::Pin;

use skiff_api::v1beta1::{Row, by_segment};

use crate::args::Flags;
use crate::client::Client;
use crate::ending::Ending;
use crate::world::World;

/// What a method is given.
pub(crate) struct Call<'a> {
    pub(crate) flags: &'a Flags,
    /// The words after the method.
    pub(crate) args: &'a [String],
    pub(crate) client: &'a Client,
    pub(crate) world: &'a mut World,
}

/// A method under way.
type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Ending>> + 'a>>;

/// One row: the method's word and what it does.
struct Method {
    word: &'static str,
    run: for<'a> fn(Call<'a>) -> Running<'a>,
}

const METHODS: &[Method] = &[
    Method { word: "list", run: |call| Box::pin(rest::list(call)) },
    Method { word: "get", run: |call| Box::pin(rest::get(call)) },
    Method { word: "create", run: |call| Box::pin(rest::create(call)) },
    Method { word: "update", run: |call| Box::pin(rest::update(call)) },
    Method { word: "delete", run: |call| Box::pin(rest::delete(call)) },
    Method { word: "print", run: |call| Box::pin(print::print(call)) },
    Method { word: "run", run: |call| Box::pin(run::run(call)) },
    Method { word: "resize", run: |call| Box::pin(resize::resize(call)) },
    Method { word: "stop", run: |call| Box::pin(stop::stop(call)) },
    Method { word: "rm", run: |call| Box::pin(rm::rm(call)) },
    Method { word: "rollingupdate", run: |call| Box::pin(rollingupdate::rolling_update(call)) },
    Method { word: "ns", run: |call| Box::pin(namespace::ns(call)) },
];

/// Runs a method by its word.
pub(crate) async fn dispatch(word: &str, call: Call<'_>) -> Result<(), Ending> {
    match METHODS.iter().find(|method| method.word == word) {
        Some(method) => (method.run)(call).await,
        None => Err(Ending::fatal(format!("Unknown command {word}"))),
    }
}

/// The resources that can be named, in exactly this spelling.
const RESOURCES: &[&str] = &["events", "minions", "nodes", "pods", "replicationControllers", "services"];

/// The resources, joined by bars.
pub(crate) fn resources() -> String {
    RESOURCES.join("|")
}

/// `/pods/a` and the like.
pub(crate) struct Place {
    /// The path as it is asked for: without slashes around it.
    pub(crate) path: String,
    /// The resource's row, if there is such a resource.
    pub(crate) row: Option<&'static Row>,
    /// Whether an id follows.
    pub(crate) has_id: bool,
}

impl Place {
    /// Reads the argument after a method.
    pub(crate) fn of(args: &[String]) -> Self {
        let path = args.first().map(|arg| arg.trim_matches('/')).unwrap_or_default();
        let (segment, has_id) = match path.split_once('/') {
            Some((segment, _)) => (segment, true),
            None => (path, false),
        };
        let row = if RESOURCES.contains(&segment) { by_segment(segment) } else { None };
        Self { path: path.to_owned(), row, has_id }
    }

    /// The row, if the argument has the form that the method needs.
    #[track_caller]
    pub(crate) fn checked(&self, method: &str, needs_id: bool) -> Result<&'static Row, Ending> {
        match self.row {
            Some(row) if self.has_id == needs_id => Ok(row),
            _ => Err(Ending::fatal(format!("usage: kubecfg [OPTIONS] {method} <{}>[/<id>]", resources()))),
        }
    }
}
