//! Why a body or a stored object cannot be converted.

/// A body that is not what it should be. The door answers 500 with this text, as the servers of 2014 did.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The body holds nothing.
    #[error("the body is empty")]
    Empty,
    /// Neither JSON nor YAML.
    #[error("the body is neither JSON nor YAML: {0}")]
    Syntax(String),
    /// Something other than one object.
    #[error("the body is not an object")]
    NotAnObject,
    /// A member has a type it cannot have.
    #[error("{0}")]
    Member(String),
    /// The body's `kind` is not the one of the path.
    #[error("data of kind '{sent}', obj of type '{wanted}'")]
    Kind {
        /// What the body says.
        sent: String,
        /// What the path stands for.
        wanted: String,
    },
    /// The body's `apiVersion` is none that this door knows.
    #[error("the version '{0}' is not recognised")]
    Version(String),
    /// The v1 side sent something that is not the kind it should be.
    #[error("the stored object cannot be read as {kind}: {why}")]
    Stored {
        /// The 2014 kind.
        kind: &'static str,
        /// What the decoder said.
        why: String,
    },
}
