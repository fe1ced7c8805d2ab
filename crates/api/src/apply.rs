//! Who set which field: field ownership (`metadata.managedFields`) and server-side apply.
//!
//! Follows `sigs.k8s.io/structured-merge-diff` and upstream's `k8s.io/apimachinery/pkg/util/managedfields`, whose wire form
//! (`fieldsV1`) and texts are kept to the letter. Everything works on `serde_json::Value` and a [`Schema`] that says where
//! lists have keys and what is atomic; nothing here stores, decodes a request or knows a kind. A path step is kept in
//! the very text that `fieldsV1` writes ([`Element`]), so that reading and writing owners' sets costs no translation.
//!
//! [`update`] is for writes that bring the whole object (POST, PUT, the other patches), [`apply`] for configurations.

mod check;
mod conflict;
mod element;
mod kin;
mod last_applied;
mod managers;
mod merge;
mod narrow;
mod owners;
mod schema;
mod set;
mod track;
mod walk;

pub use check::check;
pub use conflict::{Conflict, Conflicts};
pub use element::Element;
pub use kin::{Kin, Wanted};
pub use last_applied::LAST_APPLIED;
pub use managers::manager_of_agent;
pub use narrow::narrowed;
pub use owners::Owners;
pub use schema::{Builder, Schema, custom};
pub use set::Set;
pub use track::{Applied, Before, Refused, Tracked, Who, apply, update};
pub use walk::{Compared, Part};

#[cfg(test)]
mod tests;
