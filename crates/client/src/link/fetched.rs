//! A feed over the network: list, then watch from there, and list again when the watch cannot go on.
//!
//! kube's own watcher decodes into typed objects; ours keeps the JSON as it came (`RawValue`), since caches hold bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::io::AsyncBufReadExt;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use skiff_api::Object;
use skiff_base::Backoff;

use crate::feed::{Delta, Topic};
use crate::write;

/// How a list or watch ended early.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Client(#[from] kube::Error),
    #[error("read the watch")]
    Io(#[from] std::io::Error),
    #[error("decode")]
    Json(#[from] serde_json::Error),
    #[error("build the request")]
    Http(#[from] http::Error),
    #[error("watch ended by the server: {0}")]
    Refused(String),
}

/// How many objects are read at once: a page is parsed without a pause, and its text is held beside its objects.
const PAGE: &str = "1000";

#[derive(Deserialize)]
struct List<'a> {
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    /// Where the next page begins; empty after the last.
    #[serde(default, rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// One watch event.
enum Change {
    Put(Arc<Object>),
    Gone(Arc<Object>),
    Bookmark(String),
}

/// Where the watch stands.
struct State {
    client: kube::Client,
    topic: Topic,
    watch: Option<BoxStream<'static, Result<Change, Broken>>>,
    version: String,
    /// Whether there has been an answer, if only that nobody serves such a kind.
    answered: bool,
    backoff: Backoff,
}

/// The endless feed of `topic`.
pub(super) fn feed(client: kube::Client, topic: Topic) -> BoxStream<'static, Delta<Arc<Object>>> {
    let state = State {
        client,
        topic,
        watch: None,
        version: String::new(),
        answered: false,
        backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(10)),
    };
    futures::stream::unfold(state, |mut state| async move {
        let delta = state.next().await;
        Some((delta, state))
    })
    .boxed()
}

impl State {
    async fn next(&mut self) -> Delta<Arc<Object>> {
        loop {
            let step = if self.version.is_empty() { self.list().await.map(Some) } else { self.step().await };
            match step {
                Ok(Some(delta)) => {
                    self.backoff.reset();
                    self.answered = true;
                    return delta;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(resource = %self.topic.resource.plural, error = %error, "feed interrupted");
                    self.watch = None;
                    // A watch may go on where it stopped unless the server says that it cannot.
                    if matches!(error, Broken::Refused(_))
                        || matches!(&error, Broken::Client(kube::Error::Api(_)))
                    {
                        self.version.clear();
                    }
                    // Of a kind that is not served there are no objects, and nobody shall wait for them; it is asked for
                    // again, since it may come.
                    if !self.answered && matches!(&error, Broken::Client(error) if write::is_not_found(error))
                    {
                        self.answered = true;
                        return Delta::Reset(Vec::new());
                    }
                    self.backoff.wait().await;
                }
            }
        }
    }

    async fn list(&mut self) -> Result<Delta<Arc<Object>>, Broken> {
        let kind = Kind::of(&self.topic);
        let (mut objects, mut next) = (Vec::new(), String::new());
        loop {
            let mut query = vec![("limit", PAGE)];
            if !next.is_empty() {
                query.push(("continue", &next));
            }
            let request = http::Request::get(self.uri(&query)).body(Vec::new())?;
            let text = self.client.request_text(request).await?;
            let page: List<'_> = serde_json::from_str(&text)?;
            for item in &page.items {
                objects.push(kind.object(item)?);
            }
            if page.metadata.next.is_empty() {
                self.version = page.metadata.resource_version;
                return Ok(Delta::Reset(objects));
            }
            next = page.metadata.next;
        }
    }

    /// One event of the watch; nothing for a bookmark.
    async fn step(&mut self) -> Result<Option<Delta<Arc<Object>>>, Broken> {
        if self.watch.is_none() {
            let version = self.version.clone();
            let uri = self.uri(&[
                ("watch", "1"),
                ("allowWatchBookmarks", "true"),
                ("resourceVersion", version.as_str()),
            ]);
            let request = http::Request::get(uri).body(Vec::new())?;
            let lines = self.client.request_stream(request).await?.lines();
            self.watch = Some(changes(lines).boxed());
        }
        let next = match &mut self.watch {
            Some(watch) => watch.next().await,
            None => None,
        };
        let Some(change) = next else {
            // The server ended the watch in good order: go on from the last version, at the back-off's pace.
            self.watch = None;
            self.backoff.wait().await;
            return Ok(None);
        };
        Ok(match change? {
            Change::Put(object) => {
                self.version = object.meta().revision.to_string();
                Some(Delta::Put(object))
            }
            Change::Gone(object) => {
                self.version = object.meta().revision.to_string();
                Some(Delta::Gone(object))
            }
            Change::Bookmark(version) => {
                self.version = version;
                None
            }
        })
    }

    fn uri(&self, more: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.topic.labels.is_empty() {
            query.append_pair("labelSelector", &self.topic.labels);
        }
        if !self.topic.fields.is_empty() {
            query.append_pair("fieldSelector", &self.topic.fields);
        }
        for (name, value) in more {
            query.append_pair(name, value);
        }
        let path = self.topic.resource.path(self.topic.namespace.as_deref());
        format!("{path}?{}", query.finish())
    }
}

fn changes(
    lines: impl Stream<Item = std::io::Result<String>> + Send + 'static,
) -> impl Stream<Item = Result<Change, Broken>> + Send + 'static {
    lines.map_err(Broken::from).and_then(|line| async move {
        let line: Line<'_> = serde_json::from_str(&line)?;
        match line.kind {
            "ADDED" | "MODIFIED" => Ok(Change::Put(parse(line.object)?)),
            "DELETED" => Ok(Change::Gone(parse(line.object)?)),
            "BOOKMARK" => Ok(Change::Bookmark(parse(line.object)?.meta().revision.to_string())),
            _ => Err(Broken::Refused(line.object.get().to_owned())),
        }
    })
}

fn parse(raw: &RawValue) -> Result<Arc<Object>, serde_json::Error> {
    Ok(Arc::new(Object::parse(Bytes::copy_from_slice(raw.get().as_bytes()))?))
}

/// Puts back `apiVersion` and `kind`, which items of a list may leave out.
struct Kind {
    head: String,
}

impl Kind {
    fn of(topic: &Topic) -> Self {
        Self {
            head: format!(
                r#"{{"apiVersion":"{}","kind":"{}","#,
                topic.resource.api_version(),
                topic.resource.kind
            ),
        }
    }

    fn object(&self, item: &RawValue) -> Result<Arc<Object>, serde_json::Error> {
        let text = item.get();
        if text.starts_with(&self.head) {
            return parse(item);
        }
        #[derive(Deserialize)]
        struct Head {
            kind: Option<serde::de::IgnoredAny>,
        }
        if serde_json::from_str::<Head>(text)?.kind.is_some() {
            return parse(item);
        }
        let whole = format!("{}{}", self.head, text.trim_start_matches('{'));
        Ok(Arc::new(Object::parse(whole.into())?))
    }
}

#[cfg(test)]
mod tests;
