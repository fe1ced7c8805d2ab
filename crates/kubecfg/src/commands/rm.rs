//! `rm NAME`: deletes a controller that wants no pods any more; prints nothing.

use http::Method;

use super::{Call, controller};
use crate::ending::Ending;

pub(crate) async fn rm(mut call: Call<'_>) -> Result<(), Ending> {
    let name = controller::name(call.args)?;
    let found = controller::read(&mut call, &name).await.map_err(controller::failed)?;
    let replicas = found.desired_state.replicas;
    if replicas != 0 {
        return Err(controller::failed(format!(
            "controller has non-zero replicas ({replicas}), please stop it first"
        )));
    }
    let path = format!("replicationControllers/{name}");
    call.client.ask(Method::DELETE, &path, &[], None, call.world).await.map_err(controller::failed)?;
    Ok(())
}
