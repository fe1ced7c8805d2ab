//! WATCH: every change as a line, for as long as the client listens.
//!
//! Lines come ready from the store's events; what is ready at once leaves as one piece. A watcher that falls behind the
//! window is told 410 and lists again; it never makes the store wait.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt};
use skiff_api::ApiError;
use skiff_store::{Event, Watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::select::Select;
use super::{Context, get, list, media};
use crate::authz::Authorized;
use crate::request::options::ListOptions;
use crate::stored::Stored;
use crate::stream::frames::{self, Form, Handshake};
use crate::wire::{self, Body, BoxError, Response};

mod initial;
mod lines;

use initial::Initial;
pub(crate) use lines::Frames;
use lines::Lines;

/// Watches end after a random time between this and its double, unless the client says otherwise; as upstream.
const MIN_TIMEOUT_SECONDS: u64 = 1800;
/// How often a resting watch that wants bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A piece of ready lines is sent when it has grown to this.
const PIECE: usize = 64 * 1024;

/// Answers with an endless body.
pub(crate) async fn watch(context: &Context, mut call: Authorized) -> Result<Response, ApiError> {
    let form = list::form(context, &call)?;
    if form == media::Form::Yaml {
        return Err(ApiError::not_acceptable(
            "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch, application/cbor-seq",
        ));
    }
    let options = ListOptions::parse(&call.info.query, true)?;
    let mut fields = options.fields.clone();
    if !context.target.name.is_empty() && fields.is_everything() {
        // The legacy path of a watch on one object.
        fields = skiff_api::selector::FieldSelector::equals("metadata.name", &context.target.name);
    }
    let select = Select::new(&context.entry, &context.target, options.labels.clone(), fields)?;
    let lines = Lines::new(context, form, &call.info);
    let media = lines.media();
    let state = begin(context, &options, select, lines).await?;
    let stream = futures::stream::unfold(state, |mut state| async move {
        let piece = state.next().await?;
        Some((Ok::<_, BoxError>(piece), state))
    });
    let body = Body::stream(stream);
    if media == wire::JSON
        && let Some(handshake) = Handshake::take(&mut call.request)
    {
        return Ok(handshake.answer(&context.api.tasks, Form::Text, frames::lines(body).boxed()));
    }
    Ok(wire::answer(200, media, body))
}

/// A watch under way.
struct State {
    lines: Lines,
    select: Select,
    /// Lines to send before anything else.
    first: VecDeque<Bytes>,
    /// What there was when the watch began, as far as it has not been told yet.
    initial: Option<Initial>,
    /// An event that has to be converted before it can be told.
    foreign: Option<Event<Stored>>,
    watch: Watch<Stored>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    stopping: CancellationToken,
    ended: bool,
}

/// Where the watch starts: with everything there is, or after a revision.
async fn begin(
    context: &Context,
    options: &ListOptions,
    select: Select,
    lines: Lines,
) -> Result<State, ApiError> {
    let api = &context.api;
    let entry = &context.entry;
    let revision = options.revision.unwrap_or(0);
    let wants_initial = options.initial_events.unwrap_or(revision == 0);
    get::not_older(api, revision).await?;
    let mut first = VecDeque::new();
    let mut ended = false;
    let (initial, watch) = if wants_initial {
        let (snapshot, watch) = select.snapshot_and_watch(&api.store, entry);
        let bookmark = options.initial_events == Some(true) && options.bookmarks;
        (Some(Initial::of(entry, snapshot, select.prefix(), bookmark).await?), watch)
    } else {
        let after = if revision == 0 { api.store.revision() } else { revision };
        let watch = select.watch(&api.store, entry, after).unwrap_or_else(|compacted| {
            first.push_back(lines.expired(compacted.asked, compacted.compacted));
            ended = true;
            api.store.snapshot_and_watch(&entry.table).1
        });
        (None, watch)
    };
    let seconds = options
        .timeout_seconds
        .filter(|seconds| *seconds > 0)
        .unwrap_or_else(|| rand::random_range(MIN_TIMEOUT_SECONDS..2 * MIN_TIMEOUT_SECONDS));
    let now = Instant::now();
    Ok(State {
        lines,
        select,
        first,
        initial,
        foreign: None,
        watch,
        bookmarks: options.bookmarks,
        next_bookmark: now + BOOKMARK_EVERY,
        deadline: now + Duration::from_secs(seconds),
        stopping: api.stopping.clone(),
        ended,
    })
}

impl State {
    /// The next piece; nothing at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.first.is_empty() {
                return Some(self.gather());
            }
            if self.ended {
                return None;
            }
            if let Some(initial) = self.initial.take() {
                self.begin_with(initial);
                continue;
            }
            if let Some(event) = self.foreign.take() {
                match self.lines.entry.served_event(event).await {
                    Ok(event) => self.tell(&event),
                    Err(error) => self.fail(&error),
                }
                continue;
            }
            let wake = if self.bookmarks { self.next_bookmark.min(self.deadline) } else { self.deadline };
            tokio::select! {
                biased;
                event = self.watch.next() => self.take(event),
                () = self.stopping.cancelled() => self.ended = true,
                () = self.lines.entry.gone.cancelled() => self.ended = true,
                () = tokio::time::sleep_until(wake) => self.timer(),
            }
        }
    }

    /// Tells a piece of what there was at the beginning.
    fn begin_with(&mut self, mut initial: Initial) {
        match initial.piece(&self.lines, &self.select, &mut self.first) {
            Ok(true) => self.initial = Some(initial),
            Ok(false) => {}
            Err(error) => self.fail(&error),
        }
    }

    /// Everything that is ready, as one piece.
    fn gather(&mut self) -> Bytes {
        if self.first.len() == 1 {
            self.drain_ready();
            if self.first.len() == 1 {
                return self.first.pop_front().unwrap_or_default();
            }
        }
        let mut piece = BytesMut::new();
        while let Some(line) = self.first.pop_front() {
            piece.extend_from_slice(&line);
            if piece.len() >= PIECE {
                break;
            }
        }
        piece.freeze()
    }

    fn drain_ready(&mut self) {
        let mut size = 0;
        while !self.ended && size < PIECE && self.initial.is_none() && self.foreign.is_none() {
            let Some(event) = self.watch.next().now_or_never() else { return };
            self.take(event);
            size += self.first.back().map_or(0, Bytes::len);
        }
    }

    fn take(&mut self, event: Option<Result<Event<Stored>, skiff_store::Compacted>>) {
        match event {
            None => self.ended = true,
            Some(Err(compacted)) => {
                self.first.push_back(self.lines.expired(compacted.asked, compacted.compacted));
                self.ended = true;
            }
            Some(Ok(event)) if self.lines.entry.is_foreign(&event) => self.foreign = Some(event),
            Some(Ok(event)) => self.tell(&event),
        }
    }

    fn tell(&mut self, event: &Event<Stored>) {
        match self.lines.event(&self.select, event) {
            Ok(line) => self.first.extend(line),
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &ApiError) {
        tracing::error!(%error, kind = %self.lines.entry.resource.kind, "a watch event could not be told");
        self.first.push_back(self.lines.failure(error));
        self.ended = true;
    }

    fn timer(&mut self) {
        let now = Instant::now();
        if self.bookmarks {
            self.first.push_back(self.lines.bookmark(self.watch.seen(), false));
            self.next_bookmark = now + BOOKMARK_EVERY;
        }
        self.ended |= now >= self.deadline;
    }
}
