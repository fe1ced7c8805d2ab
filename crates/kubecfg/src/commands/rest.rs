//! list, get, create, update, delete: one request each (update asks for the revision first).

use bytes::Bytes;
use http::Method;
use skiff_api::v1beta1::{Object, Row};

use super::{Call, Place};
use crate::body;
use crate::client::Failure;
use crate::ending::Ending;
use crate::printers::{self, Printer};

#[track_caller]
fn got(failure: &Failure) -> Ending {
    Ending::fatal(format!("Got request error: {failure}"))
}

/// `list R`.
pub(crate) async fn list(call: Call<'_>) -> Result<(), Ending> {
    let place = Place::of(call.args);
    place.checked("list", false)?;
    let params = [("labels", call.flags.text("l")), ("fields", call.flags.text("fields"))];
    let bytes = call.client.ask(Method::GET, &place.path, &params, None, call.world).await;
    shown(call, bytes).await
}

/// `get R/ID`.
pub(crate) async fn get(call: Call<'_>) -> Result<(), Ending> {
    let place = Place::of(call.args);
    place.checked("get", true)?;
    let bytes = call.client.ask(Method::GET, &place.path, &[], None, call.world).await;
    shown(call, bytes).await
}

/// `create R`, with `-c`.
pub(crate) async fn create(call: Call<'_>) -> Result<(), Ending> {
    let place = Place::of(call.args);
    let row = place.checked("create", false)?;
    let object = configured(call.flags.text("c"), row, call.client, call.world, call.flags).await?;
    let body = object.json();
    verbose(call.flags, &body, call.world);
    let bytes = call.client.ask(Method::POST, &place.path, &[], Some(body), call.world).await;
    shown(call, bytes).await
}

/// `update R/ID`, with `-c`: the body gets the revision of what is there. As in 2014 that is looked up first.
pub(crate) async fn update(call: Call<'_>) -> Result<(), Ending> {
    let place = Place::of(call.args);
    let found = call.client.ask(Method::GET, &place.path, &[], None, call.world).await;
    let found = found
        .map_err(|error| Ending::fatal(format!("error obtaining resource version for update: {error}")))?;
    let row = place.checked("update", true)?;
    let revision = row
        .parse(&found)
        .map_err(|error| Ending::fatal(format!("error obtaining resource version for update: {error}")))?
        .meta()
        .resource_version;
    let mut object = configured(call.flags.text("c"), row, call.client, call.world, call.flags).await?;
    object.meta_mut().resource_version = revision;
    let body = object.json();
    verbose(call.flags, &body, call.world);
    let bytes = call.client.ask(Method::PUT, &place.path, &[], Some(body), call.world).await;
    shown(call, bytes).await
}

/// `delete R/ID`.
pub(crate) async fn delete(call: Call<'_>) -> Result<(), Ending> {
    let place = Place::of(call.args);
    place.checked("delete", true)?;
    let bytes = call.client.ask(Method::DELETE, &place.path, &[], None, call.world).await;
    shown(call, bytes).await
}

async fn configured(
    named: &str,
    row: &'static Row,
    client: &crate::client::Client,
    world: &mut crate::world::World,
    flags: &crate::args::Flags,
) -> Result<Box<dyn Object>, Ending> {
    let text = body::text(named, client, world).await?;
    let object = body::object(&text, named, row)?;
    if flags.truth("validate") {
        body::check_members(&text, named, object.as_ref())?;
    }
    Ok(object)
}

fn verbose(flags: &crate::args::Flags, body: &str, world: &mut crate::world::World) {
    if flags.truth("verbose") {
        world.inform(&format!("Parsed config file successfully; sending:\n{body}"));
    }
}

/// Prints an answer and the empty line after it.
async fn shown(call: Call<'_>, bytes: Result<Bytes, Failure>) -> Result<(), Ending> {
    let bytes = bytes.map_err(|failure| got(&failure))?;
    let printer = Printer::of(call.flags, call.world).await?;
    let printed = printers::Shown::read(&bytes).and_then(|shown| printer.print(&shown));
    match printed {
        Ok(text) => {
            call.world.say(&format!("{text}\n"));
            Ok(())
        }
        Err(error) => {
            let body = String::from_utf8_lossy(&bytes).into_owned();
            Err(Ending::fatal(format!("Failed to print: {error}\nBody received: {body}")))
        }
    }
}
