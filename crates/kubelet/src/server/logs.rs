//! Container logs: files in CRI's format, read from the end, followed through inotify.
//!
//! Reading is split in what to read (`options`), where to begin (`tail`), what a line says and how it is shown (`line`,
//! both pure) and the copying itself (`copy`). Which file belongs to a container is `find`'s answer, in upstream's words
//! where there is none.

mod copy;
mod find;
mod line;
mod options;
mod tail;
#[cfg(test)]
mod tests;

pub(super) use copy::copy;
pub(super) use find::find;
pub(crate) use line::plain;
pub(super) use options::{LogOptions, Refusal};
