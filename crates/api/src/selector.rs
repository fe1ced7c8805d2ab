//! Which objects a request or a controller means: by label ([`LabelSelector`]) or by field ([`FieldSelector`]).
//!
//! Both parse what clients write, print it back in canonical form, and match without allocating. Grammar and error
//! texts follow upstream's `k8s.io/apimachinery/pkg/labels` and `.../fields`.

mod field;
mod label;

pub use field::{FieldSelector, FieldTerm};
pub use label::{LabelSelector, Operator, Requirement};

/// A selector that cannot be understood; the text is fit for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub(crate) String);

#[cfg(test)]
mod tests;
