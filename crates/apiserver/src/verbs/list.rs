//! LIST: a join of stored slices, from one snapshot, page by page if the client wants pages.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use serde_json::json;
use skiff_api::{ApiError, Object, meta};
use skiff_store::Snapshot;

use super::select::Select;
use super::{Context, get, media, table};
use crate::api::Api;
use crate::authz::Authorized;
use crate::catalog::Entry;
use crate::pages::Token;
use crate::request::Info;
use crate::request::options::{ListOptions, Match};
use crate::stored::Stored;
use crate::wire::{self, Body, Response};
use skiff_api::cbor;
use skiff_api::protobuf::{self, Fault};

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// What a list found.
pub(crate) struct Found {
    pub(crate) revision: u64,
    pub(crate) items: Vec<Arc<Stored>>,
    /// Where the next page begins.
    token: Option<Token>,
    /// How many follow, where that is known without looking.
    remaining: Option<usize>,
}

/// Answers with a list.
pub(crate) async fn list(context: &Context, call: Authorized) -> Result<Response, ApiError> {
    let form = form(context, &call)?;
    let options = ListOptions::parse(&call.info.query, false)?;
    let select =
        Select::new(&context.entry, &context.target, options.labels.clone(), options.fields.clone())?;
    let snapshot = snapshot(&context.api, &context.entry, &options).await?;
    let found = select_page(&context.entry, &select, &options, &snapshot).await?;
    let (pages, table) = (&context.api.pages, &context.entry.table);
    if found.token.is_some() {
        pages.keep(table, &snapshot, &context.api.tasks);
    } else if options.token.is_some() {
        pages.read_to_end(table, snapshot.revision, &context.api.tasks);
    }
    answer(context, &call.info, &form, found)
}

/// The form of a list's or watch's answer; the kind may have none in protobuf.
///
/// # Errors
/// 406.
pub(crate) fn form(context: &Context, call: &Authorized) -> Result<media::Form, ApiError> {
    let known = protobuf::Kind::find(&context.entry.api_version, &context.entry.list_kind).is_some();
    media::negotiate_with(call.request.headers(), |form| known || *form != media::Form::Protobuf)
}

/// The snapshot that a list asks for.
async fn snapshot(
    api: &Api,
    entry: &Entry,
    options: &ListOptions,
) -> Result<Arc<Snapshot<Stored>>, ApiError> {
    if let Some(computed) = entry.computed {
        let keyed = |object: Object| (object.meta().key(), Arc::new(Stored::of(object)));
        let objects = computed(api).into_iter().map(keyed).collect();
        return Ok(Arc::new(Snapshot { revision: api.store.revision(), objects }));
    }
    if let Some(text) = &options.token {
        if options.revision.is_some_and(|revision| revision != 0) {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = Token::parse(text)?;
        if token.is_inconsistent() {
            return Ok(Arc::new(api.store.snapshot(&entry.table)));
        }
        return exact(api, entry, token.rv).ok_or_else(|| {
            // Who does not mind may go on from the same key in what there is now.
            let mut error = ApiError::expired(TOO_OLD);
            error.status.metadata.continue_ = Some(token.inconsistent().text());
            error
        });
    }
    let revision = options.revision.unwrap_or(0);
    get::not_older(api, revision).await?;
    // Upstream's rule from before resourceVersionMatch: a limit with a revision means that revision exactly.
    let must_be_exact = match options.revision_match {
        Some(wanted) => wanted == Match::Exact,
        None => options.limit > 0 && revision > 0,
    };
    if must_be_exact {
        return exact(api, entry, revision)
            .or_else(|| rewound(api, entry, revision))
            .ok_or_else(|| ApiError::expired("The resourceVersion for the provided list is too old."));
    }
    Ok(Arc::new(api.store.snapshot(&entry.table)))
}

/// The state of a table at a revision, if it is known.
fn exact(api: &Api, entry: &Entry, revision: u64) -> Option<Arc<Snapshot<Stored>>> {
    if let Some(kept) = api.pages.find(&entry.table, revision) {
        return Some(kept);
    }
    let now = api.store.snapshot(&entry.table);
    (now.revision == revision).then(|| Arc::new(now))
}

/// The state of a table at a revision that its window of events still reaches: what came later is taken back.
fn rewound(api: &Api, entry: &Entry, revision: u64) -> Option<Arc<Snapshot<Stored>>> {
    let mut snapshot = api.store.snapshot(&entry.table);
    let mut watch = api.store.watch(&entry.table, revision).ok()?;
    let mut later = Vec::new();
    while let Some(Some(event)) = watch.next().now_or_never() {
        let event = event.ok()?;
        if event.revision > snapshot.revision {
            break;
        }
        later.push(event);
    }
    for event in later.into_iter().rev() {
        match event.previous {
            Some(before) => snapshot.objects.insert(event.key.name, before),
            None => snapshot.objects.remove(&event.key.name),
        };
    }
    snapshot.revision = revision;
    Some(Arc::new(snapshot))
}

/// A page, converted if it must be. Where fields are looked at, conversion comes first.
pub(crate) async fn select_page(
    entry: &Entry,
    select: &Select,
    options: &ListOptions,
    snapshot: &Snapshot<Stored>,
) -> Result<Found, ApiError> {
    if entry.conversion.is_none() {
        return find(entry, select, options, snapshot);
    }
    if select.looks_inside() {
        let served = entry.served_snapshot(snapshot, &select.prefix()).await?;
        return find(entry, select, options, &served);
    }
    let found = find(entry, select, options, snapshot)?;
    Ok(Found { items: entry.served(found.items).await?, ..found })
}

/// Selects a page.
fn find(
    entry: &Entry,
    select: &Select,
    options: &ListOptions,
    snapshot: &Snapshot<Stored>,
) -> Result<Found, ApiError> {
    let revision = snapshot.revision;
    let prefix = select.prefix();
    let before = options.token.as_deref().map(Token::parse).transpose()?;
    let start = match &before {
        Some(token) => Bound::Excluded(token.start.clone()),
        None => Bound::Included(prefix.clone()),
    };
    // One object by name needs no walk.
    let name =
        select.fields.exact("metadata.name").filter(|_| !entry.resource.namespaced || !prefix.is_empty());
    if let Some(name) = name {
        let key = meta::key(Some(&select.namespace), name);
        let items: Vec<Arc<Stored>> = snapshot
            .objects
            .get(&key)
            .filter(|stored| select.matches(entry, stored))
            .cloned()
            .into_iter()
            .collect();
        return Ok(Found { revision, items, token: None, remaining: None });
    }
    let bounds = (start.as_ref().map(String::as_str), Bound::Unbounded);
    let mut walk = snapshot
        .objects
        .range::<_, str>(bounds)
        .take_while(|(key, _)| key.starts_with(&prefix))
        .filter(|(_, stored)| select.matches(entry, stored));
    let limit = if options.limit == 0 { usize::MAX } else { options.limit };
    let mut items = Vec::new();
    let mut last: Option<&Arc<str>> = None;
    for (key, stored) in walk.by_ref().take(limit) {
        items.push(Arc::clone(stored));
        last = Some(key);
    }
    let (Some(last), Some(_)) = (last, walk.next()) else {
        return Ok(Found { revision, items, token: None, remaining: None });
    };
    // Counted once, for the first page; later pages are told by their token.
    let remaining = select.everything().then(|| match before {
        Some(Token { left: Some(left), .. }) => left.saturating_sub(items.len()),
        None if prefix.is_empty() => snapshot.objects.len() - items.len(),
        _ => walk.count() + 1,
    });
    let token = Some(Token::new(revision, last, remaining));
    Ok(Found { revision, items, token, remaining })
}

/// A list in the wanted form.
pub(crate) fn answer(
    context: &Context,
    info: &Info,
    form: &media::Form,
    found: Found,
) -> Result<Response, ApiError> {
    let entry = &context.entry;
    let mut metadata = json!({ "resourceVersion": found.revision.to_string() });
    if let Some(token) = &found.token {
        metadata["continue"] = token.text().into();
    }
    if let Some(remaining) = found.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    let mut head = Vec::from(&entry.list_head[..]);
    head.extend_from_slice(metadata.to_string().as_bytes());
    head.extend_from_slice(br#","items":["#);
    match form {
        media::Form::Protobuf | media::Form::PartialProtobuf(_) => {
            match in_protobuf(entry, form, &metadata, &found.items) {
                Ok(bytes) => Ok(wire::answer(200, protobuf::MEDIA, Body::full(bytes))),
                Err(fault) => {
                    // Better another form than a part of what there is.
                    tracing::debug!(%fault, kind = %entry.list_kind, "a list is told in JSON");
                    let plain = match form {
                        media::Form::PartialProtobuf(version) => media::Form::Partial(version),
                        _ => media::Form::Json,
                    };
                    answer(context, info, &plain, found)
                }
            }
        }
        media::Form::Cbor => {
            let objects = found.items.into_iter().map(|stored| stored.object().bytes().clone());
            let kinds = [&*entry.api_version, &entry.resource.kind, &entry.list_kind];
            in_cbor(kinds, &metadata, objects.collect())
        }
        media::Form::PartialCbor(version) => {
            let objects = found.items.iter().map(|stored| media::partial(stored.object(), version));
            let version = format!("meta.k8s.io/{version}");
            let kinds = [&*version, "PartialObjectMetadata", "PartialObjectMetadataList"];
            in_cbor(kinds, &metadata, objects.collect::<Result<_, _>>()?)
        }
        media::Form::Json => {
            let slices = found.items.into_iter().map(|stored| stored.object().bytes().clone());
            Ok(wire::answer(200, wire::JSON, Body::join(head.into(), slices, "]}".into())))
        }
        media::Form::Yaml => {
            let mut json = head;
            for (index, stored) in found.items.into_iter().enumerate() {
                if index > 0 {
                    json.push(b',');
                }
                json.extend_from_slice(stored.object().bytes());
            }
            json.extend_from_slice(b"]}");
            Ok(wire::answer(200, media::YAML, Body::full(media::yaml(&json)?)))
        }
        media::Form::Partial(version) => {
            let head = format!(
                r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/{version}","metadata":{metadata},"items":["#
            );
            let items: Result<Vec<Bytes>, ApiError> =
                found.items.iter().map(|stored| media::partial(stored.object(), version)).collect();
            Ok(wire::answer(200, wire::JSON, Body::join(head.into(), items?.into_iter(), "]}".into())))
        }
        media::Form::Table(version) => {
            // Rows decode: they are made as they are sent, so that a big table neither waits whole nor is held whole.
            let view = table::View::new(entry, info, version, context.api.clock.now())?;
            let head = view.head(&metadata, true)?;
            let rows = found.items.into_iter().filter_map(move |stored| {
                let row = view.row(stored.object());
                row.inspect_err(|error| tracing::error!(%error, object = ?stored.object(), "no row")).ok()
            });
            Ok(wire::answer(200, wire::JSON, Body::join(head, rows, "]}".into())))
        }
    }
}

/// A list in CBOR, of objects of this version, kind and kind of list.
fn in_cbor(
    [version, kind, list_kind]: [&str; 3],
    metadata: &serde_json::Value,
    objects: Vec<Bytes>,
) -> Result<Response, ApiError> {
    let head = cbor::list(version, list_kind, metadata.to_string().as_bytes(), objects.len());
    let known = protobuf::Kind::find(version, kind);
    let elements = objects.into_iter().map(move |json| cbor_element(known.as_ref(), &json));
    Ok(wire::answer(200, cbor::MEDIA, Body::row(head.map_err(ApiError::internal)?.into(), elements)))
}

/// An element of a list in CBOR. There are as many as the list says, so one that is no JSON, of which there are none, is
/// nothing.
fn cbor_element(kind: Option<&protobuf::Kind>, json: &[u8]) -> Bytes {
    let written = cbor::element(kind, json).or_else(|fault| {
        tracing::error!(%fault, "an object could not be told in CBOR");
        cbor::element(None, b"null")
    });
    written.unwrap_or_default().into()
}

/// A list in protobuf: its length stands before it, so it is made whole.
fn in_protobuf(
    entry: &Entry,
    form: &media::Form,
    metadata: &serde_json::Value,
    items: &[Arc<Stored>],
) -> Result<Vec<u8>, Fault> {
    let metadata = metadata.to_string();
    let (version, kind) = match form {
        media::Form::PartialProtobuf(version) => {
            (format!("meta.k8s.io/{version}"), "PartialObjectMetadataList")
        }
        _ => (entry.api_version.clone(), &*entry.list_kind),
    };
    let known = protobuf::Kind::find(&version, kind);
    let known = known.ok_or_else(|| Fault::Unknown { version: version.clone(), kind: kind.to_owned() })?;
    if version == entry.api_version {
        return known.list(metadata.as_bytes(), items.iter().map(|stored| stored.object().bytes()));
    }
    let partial: Result<Vec<Bytes>, _> =
        items.iter().map(|stored| media::partial(stored.object(), "v1")).collect();
    let partial = partial.map_err(|error| Fault::Json(error.to_string()))?;
    known.list(metadata.as_bytes(), partial.iter())
}

impl Found {
    /// A list that is not a page of anything.
    pub(crate) fn of(revision: u64, items: Vec<Arc<Stored>>) -> Self {
        Self { revision, items, token: None, remaining: None }
    }
}
