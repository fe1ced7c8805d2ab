//! `resize NAME REPLICAS`.

use super::{Call, controller};
use crate::ending::Ending;

pub(crate) async fn resize(mut call: Call<'_>) -> Result<(), Ending> {
    let [name, replicas] = call.args else {
        return Err(Ending::fatal("usage: kubecfg resize <controller> <replicas>"));
    };
    let replicas = controller::replicas(replicas)?;
    controller::resize(&mut call, name, replicas).await
}
