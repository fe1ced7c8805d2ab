//! `print R`, with `-c`: reads a file and prints it, asking nobody.

use skiff_api::v1beta1::kind::Parsed;

use super::{Call, Place};
use crate::body;
use crate::ending::Ending;
use crate::printers::{Printer, Shown};

pub(crate) async fn print(call: Call<'_>) -> Result<(), Ending> {
    let row = Place::of(call.args).checked("print", false)?;
    let named = call.flags.text("c");
    let text = body::text(named, call.client, call.world).await?;
    let shown = match body::any(&text, named, row)? {
        Parsed::One(object) => Shown::One(object),
        Parsed::List(list) => Shown::List(*list),
    };
    let printer = Printer::of(call.flags, call.world).await?;
    let text = printer.print(&shown).map_err(|error| Ending::fatal(format!("Failed to print: {error}")))?;
    call.world.say(&text);
    Ok(())
}
