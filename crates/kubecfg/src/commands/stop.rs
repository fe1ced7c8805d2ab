//! `stop NAME`: resize to nothing.

use super::{Call, controller};
use crate::ending::Ending;

pub(crate) async fn stop(mut call: Call<'_>) -> Result<(), Ending> {
    let name = controller::name(call.args)?;
    controller::resize(&mut call, &name, 0).await
}
