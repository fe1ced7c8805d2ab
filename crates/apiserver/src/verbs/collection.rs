//! DELETE of a collection: of everything that a list with the same options would show.

use skiff_api::ApiError;

use super::select::Select;
use super::{Context, input, list, media, write};
use crate::authz::Authorized;
use crate::registry;
use crate::request::options::ListOptions;
use crate::wire::Response;

/// Deletes every selected object, one after the other; answers with what they were.
pub(crate) async fn delete(context: &Context, call: Authorized) -> Result<Response, ApiError> {
    let form = media::negotiate(call.request.headers())?;
    let options = ListOptions::parse(&call.info.query, false)?;
    let select =
        Select::new(&context.entry, &context.target, options.labels.clone(), options.fields.clone())?;
    let Authorized { info, user, request, .. } = call;
    let (parts, body) = request.into_parts();
    let json = input::json(&parts.headers, body).await?;
    let delete = write::delete_options(&info.query, &json)?;
    let snapshot = context.api.store.snapshot(&context.entry.table);
    let found = list::find(&context.entry, &select, &options, &snapshot)?;
    let scope = context.scope(&user);
    for stored in &found.items {
        let name = &stored.object().meta().name;
        match registry::delete::delete(&scope.named(name), &delete).await {
            Ok(_) => {}
            // Somebody was faster.
            Err(error) if error.code() == 404 => {}
            Err(error) => return Err(error),
        }
    }
    let found = list::Found::of(context.api.store.revision(), found.items);
    list::answer(context, &info, &form, found)
}
