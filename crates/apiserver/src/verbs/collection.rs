//! DELETE of a collection: of everything that a list with the same options would show.

use std::future::ready;

use futures::stream::{self, StreamExt, TryStreamExt};
use skiff_api::ApiError;

use super::select::Select;
use super::{Context, input, list, write};
use crate::authz::Authorized;
use crate::registry;
use crate::request::options::ListOptions;
use crate::wire::Response;

/// How many deletions are under way at once: writes that wait together share one commit.
const AT_ONCE: usize = 64;

/// Deletes every selected object; answers with what they were.
pub(crate) async fn delete(context: &Context, call: Authorized) -> Result<Response, ApiError> {
    let form = list::form(context, &call)?;
    let options = ListOptions::parse(&call.info.query, false)?;
    let select =
        Select::new(&context.entry, &context.target, options.labels.clone(), options.fields.clone())?;
    let Authorized { info, user, request, .. } = call;
    let (parts, body) = request.into_parts();
    let json = input::json(&parts.headers, body).await?;
    let delete = write::delete_options(&info.query, &json)?;
    let snapshot = context.api.store.snapshot(&context.entry.table);
    let found = list::select_page(&context.entry, &select, &options, &snapshot).await?;
    let scope = context.scope(&user);
    let deletions = found.items.iter().map(|stored| {
        let (scope, delete) = (&scope, &delete);
        async move {
            match registry::delete::delete(&scope.named(&stored.object().meta().name), delete).await {
                Ok(_) => Ok(()),
                // Somebody was faster.
                Err(error) if error.code() == 404 => Ok(()),
                Err(error) => Err(error),
            }
        }
    });
    let deletions: Vec<_> = deletions.collect();
    stream::iter(deletions).buffer_unordered(AT_ONCE).try_for_each(|()| ready(Ok(()))).await?;
    let found = list::Found::of(context.api.store.revision(), found.items);
    list::answer(context, &info, &form, found)
}
