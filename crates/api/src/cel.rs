//! CEL, the expression language of admission policies, match conditions and custom resources' rules.
//!
//! Crate `kube-cel` brings the parser, the interpreter and Kubernetes' function libraries. This module adds what the
//! server needs around them: names are checked when an expression is compiled (upstream refuses such rules at their
//! creation), selection and optionals behave as the specification says, evaluation has a budget, and nothing of the
//! crate's types shows outside. A [`Program`] is compiled once and shared (`Arc<Program>`); a [`Scope`] binds values
//! once and serves any number of programs. It must never be handed an expression that was not compiled here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kube_cel::cel::{ExecutionError, IdedExpr, Value as Inner};

mod authorizer;
mod check;
pub mod device;
mod functions;
mod kind;
mod parse;
mod types;
mod value;
mod walk;

pub use authorizer::{Authorizer, Question};
pub use check::check;
pub use kind::Kind;
pub use types::{Structure, Type};
pub use value::{Scope, Value, escape};

/// What one evaluation may cost; about one unit for each step (upstream's `PerCallLimit`).
pub const PER_CALL: u64 = 1_000_000;
/// What all evaluations for one object may cost together (upstream's `RuntimeCELCostBudget`).
pub const PER_OBJECT: u64 = 10_000_000;

/// What an expression may refer to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Env<'a> {
    /// Names of variables. A name with a dot (`variables.replicas`) is a field of a variable that has only such fields.
    pub variables: &'a [&'a str],
    /// Whether `Object{...}` and `JSONPatch{...}` may be written, as mutating policies do.
    pub objects: bool,
    /// Whether `authorizer` is there with its methods.
    pub authorizer: bool,
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    expression: IdedExpr,
    references: Vec<String>,
    cost: u64,
    kind: Option<Kind>,
}

/// Why an evaluation gave no value; the words are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A map has no such key.
    #[error("no such key: {0}")]
    NoSuchKey(String),
    /// An operator or function does not take values of these kinds.
    #[error("no such overload")]
    NoSuchOverload,
    /// The budget is used up.
    #[error("operation cancelled: actual cost limit exceeded")]
    Cost,
    /// A variable that was declared has no value.
    #[error("no such attribute(s): {0}")]
    Unbound(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Program {
    /// Compiles `source`.
    ///
    /// # Errors
    /// All that is wrong with it, in the words and form of upstream's compiler (`ERROR: <input>:1:3: ...`).
    pub fn compile(source: &str, env: &Env<'_>) -> Result<Self, String> {
        let expression = parse::parse(source)?;
        let walked = walk::walk(expression, source, env)?;
        let kind = kind::of(&walked.expression.expr);
        Ok(Self { expression: walked.expression, references: walked.references, cost: walked.cost, kind })
    }

    /// The declared variables that the expression mentions, sorted.
    pub fn references(&self) -> &[String] {
        &self.references
    }

    /// True if the expression mentions the variable.
    pub fn mentions(&self, name: &str) -> bool {
        self.references.binary_search_by(|own| own.as_str().cmp(name)).is_ok()
    }

    /// The kind of value that it gives, as far as that can be told without values.
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// Evaluates it, taking what that cost from `budget`.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn evaluate(&self, scope: &Scope, budget: &mut u64) -> Result<Value, Fault> {
        let allowed = (*budget).min(PER_CALL);
        let limit = allowed.checked_sub(self.cost).ok_or(Fault::Cost)?;
        let outer = functions::left(limit);
        // The interpreter promises not to panic, and does in corners; a policy must not end a request without words.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            Inner::resolve_val(&self.expression, scope.context()).map(|value| Value(value.into_owned()))
        }));
        let left = functions::left(outer);
        *budget -= self.cost + (limit - left.min(limit));
        outcome.unwrap_or_else(|_| Err(ExecutionError::NoSuchOverload)).map_err(|error| Fault::of(&error))
    }

    /// Evaluates an expression that must give a truth value.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn holds(&self, scope: &Scope, budget: &mut u64) -> Result<bool, Fault> {
        let value = self.evaluate(scope, budget)?;
        value
            .as_bool()
            .ok_or_else(|| Fault::Other("cel expression evaluated to a non-boolean value".to_owned()))
    }
}

impl Fault {
    fn of(error: &ExecutionError) -> Self {
        use ExecutionError as E;
        match error {
            E::NoSuchKey(key) => Self::NoSuchKey(key.to_string()),
            E::NoSuchOverload
            | E::UnsupportedTargetType { .. }
            | E::NotSupportedAsMethod { .. }
            | E::UnexpectedType { .. }
            | E::ValuesNotComparable(..)
            | E::UnsupportedUnaryOperator(..)
            | E::UnsupportedBinaryOperator(..)
            | E::UnsupportedMapIndex(_)
            | E::UnsupportedListIndex(_)
            | E::UnsupportedIndex(..) => Self::NoSuchOverload,
            E::UndeclaredReference(name) => Self::Unbound(name.to_string()),
            E::DivisionByZero(_) => Self::Other("division by zero".to_owned()),
            E::RemainderByZero(_) => Self::Other("modulus by zero".to_owned()),
            E::Overflow(..) => Self::Other("integer overflow".to_owned()),
            E::IndexOutOfBounds(index) => {
                let index = if let Inner::Int(index) = index { index.to_string() } else { String::new() };
                Self::Other(format!("index out of bounds: {index}"))
            }
            E::FunctionError { function, .. } if function == functions::TICK => Self::Cost,
            E::FunctionError { message, .. } => Self::Other(message.clone()),
            other => Self::Other(other.to_string()),
        }
    }
}

/// A program that many hold.
pub type Shared = Arc<Program>;

#[cfg(test)]
mod tests;
