//! What a reader sees: everything at first, then every change, and everything again after a gap.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::BoxStream;
use skiff_api::{Object, Readable, Resource};

/// What a reader wants to see: objects of one resource, narrowed by namespace and selectors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Which resource.
    pub resource: Resource,
    /// Only this namespace; all if absent.
    pub namespace: Option<String>,
    /// A label selector in the API's text form; empty selects all.
    pub labels: String,
    /// A field selector in the API's text form, such as `spec.nodeName=one`; empty selects all.
    pub fields: String,
}

impl Topic {
    /// All objects of a built-in kind.
    pub fn of<K: Readable>() -> Self {
        Self { resource: Resource::of::<K>(), namespace: None, labels: String::new(), fields: String::new() }
    }

    /// Only objects in `namespace`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Only objects whose labels match.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = selector.into();
        self
    }

    /// Only objects whose fields match.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = selector.into();
        self
    }
}

/// One step of a feed.
#[derive(Clone, Debug)]
pub enum Delta<T> {
    /// The whole truth: forget what you knew. First of all, and after every gap.
    Reset(Vec<T>),
    /// New or changed.
    Put(T),
    /// Gone, or no longer selected; the last state seen.
    Gone(T),
}

/// An endless stream of deltas; a feed never fails, it resets.
pub struct Feed(BoxStream<'static, Delta<Arc<Object>>>);

impl Feed {
    /// A feed over a stream of deltas.
    pub fn new(deltas: BoxStream<'static, Delta<Arc<Object>>>) -> Self {
        Self(deltas)
    }
}

impl Stream for Feed {
    type Item = Delta<Arc<Object>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}
