//! `authorizer`: what an expression may ask of whoever decides about requests.
//!
//! The chain `authorizer.group('').resource('pods').check('list').allowed()` builds a question step by step; the
//! caller of the evaluation says who answers it ([`Authorizer`]). Methods that other libraries have too (`name`,
//! `namespace`, `group`) are only defined here, so they may be plain functions.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use kube_cel::cel::objects::{Opaque, Value as Inner};
use kube_cel::cel::{Context, ExecutionError, FunctionContext};

use super::Value;
use super::functions::{add as function, argument};

/// The variable that asks about the request's own resource.
pub(super) const FOR_RESOURCE: &str = "authorizer.requestResource";

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of upstream's authorizer attributes")]
pub struct Question {
    /// Empty for a question about a resource.
    pub path: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub verb: String,
    /// Namespace and name of another asker than the request's user.
    pub service_account: Option<(String, String)>,
}

/// Who answers.
pub trait Authorizer: Send + Sync {
    /// Whether it is allowed, and why.
    fn answer(&self, question: &Question) -> (bool, String);
}

/// A question being built.
#[derive(Clone)]
struct Asking {
    question: Question,
    who: Arc<dyn Authorizer>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    allowed: bool,
    reason: String,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.question.fmt(f)
    }
}

impl PartialEq for Asking {
    fn eq(&self, other: &Self) -> bool {
        self.question == other.question
    }
}

impl Eq for Asking {}

impl Opaque for Asking {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Authorizer"
    }
}

impl Opaque for Answer {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Decision"
    }
}

impl Value {
    /// The value of `authorizer`, and that of `authorizer.requestResource` if `question` names a resource.
    pub fn authorizer(who: Arc<dyn Authorizer>, question: Question) -> Self {
        let opaque = Inner::Opaque(Arc::new(Asking { question, who }));
        opaque.try_into().map_or_else(|_: ExecutionError| Self::null(), Self)
    }
}

impl super::Scope {
    /// Binds `authorizer` and `authorizer.requestResource`.
    pub fn set_authorizer(&mut self, who: &Arc<dyn Authorizer>, request: Question) {
        self.set("authorizer", Value::authorizer(Arc::clone(who), Question::default()));
        self.set(FOR_RESOURCE, Value::authorizer(Arc::clone(who), request));
    }
}

/// Adds the methods.
pub(super) fn add(root: &mut Context<'static>) {
    function(root, "path", |ftx| step(ftx, |question, path| question.path = path));
    function(root, "group", |ftx| step(ftx, |question, group| question.group = group));
    function(root, "resource", |ftx| step(ftx, |question, resource| question.resource = resource));
    function(root, "subresource", |ftx| {
        step(ftx, |question, subresource| question.subresource = subresource)
    });
    function(root, "namespace", |ftx| step(ftx, |question, namespace| question.namespace = namespace));
    function(root, "name", |ftx| step(ftx, |question, name| question.name = name));
    // Selectors narrow a question; whoever ignores them asks for more, and so never allows too much.
    function(root, "fieldSelector", |ftx| step(ftx, |_, _| {}));
    function(root, "labelSelector", |ftx| step(ftx, |_, _| {}));
    function(root, "serviceAccount", |ftx| {
        let mut asking = this::<Asking>(ftx)?.clone();
        asking.question.service_account = Some((text(ftx, 0)?, text(ftx, 1)?));
        Ok(Inner::Opaque(Arc::new(asking)))
    });
    function(root, "check", |ftx| {
        let mut asking = this::<Asking>(ftx)?.clone();
        asking.question.verb = text(ftx, 0)?;
        let (allowed, reason) = asking.who.answer(&asking.question);
        Ok(Inner::Opaque(Arc::new(Answer { allowed, reason })))
    });
    function(root, "allowed", |ftx| Ok(Inner::Bool(this::<Answer>(ftx)?.allowed)));
    function(root, "reason", |ftx| Ok(Inner::from(this::<Answer>(ftx)?.reason.clone())));
    function(root, "errored", |ftx| this::<Answer>(ftx).map(|_| Inner::Bool(false)));
    function(root, "error", |ftx| this::<Answer>(ftx).map(|_| Inner::from("")));
}

fn step(ftx: &FunctionContext<'_, '_>, set: fn(&mut Question, String)) -> Result<Inner, ExecutionError> {
    let mut asking = this::<Asking>(ftx)?.clone();
    set(&mut asking.question, text(ftx, 0)?);
    Ok(Inner::Opaque(Arc::new(asking)))
}

fn this<'a, T: Any>(ftx: &'a FunctionContext<'_, '_>) -> Result<&'a T, ExecutionError> {
    match &ftx.this {
        Some(Inner::Opaque(opaque)) => opaque.downcast_ref::<T>().ok_or(ExecutionError::NoSuchOverload),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn text(ftx: &FunctionContext<'_, '_>, index: usize) -> Result<String, ExecutionError> {
    match argument(ftx, index)? {
        Inner::String(text) => Ok(text.to_string()),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}
