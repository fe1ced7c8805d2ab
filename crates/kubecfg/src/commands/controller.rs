//! What the commands on replication controllers share: reading one, writing one, printing one.

use http::Method;
use skiff_api::v1beta1::{API_VERSION, Kind, Object, ReplicationController, Row};

use super::Call;
use crate::client::Failure;
use crate::ending::Ending;
use crate::printers::{self, Shown};

const PATH: &str = "replicationControllers";

/// A failure of one of the commands that are more than one request.
#[track_caller]
pub(crate) fn failed(failure: impl std::fmt::Display) -> Ending {
    Ending::fatal(format!("Error: {failure}"))
}

/// The one argument of stop, rm and rollingupdate.
#[track_caller]
pub(crate) fn name(args: &[String]) -> Result<String, Ending> {
    match args {
        [name] => Ok(name.clone()),
        _ => Err(Ending::fatal("usage: kubecfg [OPTIONS] stop|rm|rollingupdate <controller>")),
    }
}

/// A count of replicas.
#[track_caller]
pub(crate) fn replicas(text: &str) -> Result<i64, Ending> {
    text.parse().map_err(|error| Ending::fatal(format!("Error parsing replicas: {error}: {text:?}")))
}

/// Reads a controller.
pub(crate) async fn read(call: &mut Call<'_>, name: &str) -> Result<ReplicationController, Failure> {
    let path = format!("{PATH}/{name}");
    let bytes = call.client.ask(Method::GET, &path, &[], None, call.world).await?;
    typed(&bytes)
}

/// Writes a controller that was read before.
pub(crate) async fn write(
    call: &mut Call<'_>,
    controller: &ReplicationController,
) -> Result<ReplicationController, Failure> {
    let path = format!("{PATH}/{}", controller.meta.id);
    let body = wire(controller.clone());
    let bytes = call.client.ask(Method::PUT, &path, &[], Some(body), call.world).await?;
    typed(&bytes)
}

/// Creates an object and reads it back.
pub(crate) async fn create<K: Kind>(call: &mut Call<'_>, object: K) -> Result<K, Failure> {
    let body = wire(object);
    let bytes = call.client.ask(Method::POST, K::ROW.segment, &[], Some(body), call.world).await?;
    typed(&bytes)
}

/// Sets how many and prints the result as YAML.
pub(crate) async fn resize(call: &mut Call<'_>, name: &str, replicas: i64) -> Result<(), Ending> {
    let mut controller = read(call, name).await.map_err(failed)?;
    controller.desired_state.replicas = replicas;
    let written = write(call, &controller).await.map_err(failed)?;
    print(call, Box::new(written))
}

/// Prints an object as YAML without an empty line after it.
pub(crate) fn print(call: &mut Call<'_>, mut object: Box<dyn Object>) -> Result<(), Ending> {
    named(object.as_mut());
    let text = printers::yaml(&Shown::One(object)).map_err(failed)?;
    call.world.say(&text);
    Ok(())
}

fn named(object: &mut dyn Object) {
    let row: &'static Row = object.row();
    row.kind.clone_into(&mut object.meta_mut().kind);
    API_VERSION.clone_into(&mut object.meta_mut().api_version);
}

fn wire<K: Kind>(mut object: K) -> String {
    named(&mut object);
    Object::json(&object)
}

/// An answer as an object of one kind.
pub(crate) fn typed<K: Kind>(bytes: &[u8]) -> Result<K, Failure> {
    let object = K::ROW.parse(bytes).map_err(|error| Failure::Transport(error.to_string()))?;
    object
        .as_any()
        .downcast_ref::<K>()
        .cloned()
        .ok_or_else(|| Failure::Transport("the answer is of another kind".to_owned()))
}
