//! A request waits for its turn; see [`crate::fairness`]. Streams through pods and nodes are not counted, as upstream.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderValue;
use skiff_api::ApiError;

use super::{Call, Next};
use crate::api::Api;
use crate::authn::Peer;
use crate::fairness::Judged;
use crate::fairness::classify::Asked;
use crate::request::{Info, Verb};
use crate::wire::{Response, refusal};

/// Objects that one seat of a list stands for, and the most seats a request takes; upstream's work estimator.
const OBJECTS_A_SEAT: usize = 100;
const MOST_SEATS: usize = 10;

pub(super) fn layer(api: Arc<Api>, call: Call, next: Next) -> BoxFuture<'static, Response> {
    let Peer::Known(user) = &call.peer else { return next.run(api, call) };
    if super::deadline::is_long(&call.info) && call.info.verb != Verb::Watch {
        return next.run(api, call);
    }
    let user = user.clone();
    Box::pin(async move {
        let width = width(&api, &call.info);
        let (judged, entered) = api.fairness.enter(&Asked { user: &user, info: &call.info }, width).await;
        // The seat is held until the answer's head is made: for a watch, until its first events are.
        let mut response = match entered {
            Ok(_seat) => next.run(api, call).await,
            Err(_full) => {
                let message = "Too many requests, please try again later.";
                refusal(&ApiError::new(429, "TooManyRequests", message).retry_after(1))
            }
        };
        name(&mut response, &judged);
        response
    })
}

/// Says by which objects the request was judged, if there are any.
fn name(response: &mut Response, judged: &Judged) {
    for (header, uid) in [
        ("x-kubernetes-pf-flowschema-uid", &judged.schema),
        ("x-kubernetes-pf-prioritylevel-uid", &judged.level),
    ] {
        if let Some(uid) = uid.as_deref().and_then(|uid| HeaderValue::from_str(uid).ok()) {
            response.headers_mut().insert(header, uid);
        }
    }
}

/// The seats a request takes: one, and more for long lists.
fn width(api: &Api, info: &Info) -> u32 {
    if info.verb != Verb::List {
        return 1;
    }
    let entry = info.target.as_ref().and_then(|target| api.catalog.find(target));
    let all = entry.map_or(0, |entry| api.store.snapshot(&entry.table).objects.len());
    let limit = info.query.number("limit").ok().flatten().and_then(|limit| usize::try_from(limit).ok());
    let objects = limit.filter(|limit| *limit > 0).map_or(all, |limit| limit.min(all));
    u32::try_from((objects / OBJECTS_A_SEAT).clamp(1, MOST_SEATS)).unwrap_or(1)
}
