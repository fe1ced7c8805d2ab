//! Fields that a configuration would change and others own, in upstream's words.

use crate::status::ApiError;

/// One field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it, as messages write it: `"kubectl" using apps/v1`.
    pub owner: String,
    /// The field, as messages write it: `.spec.replicas`.
    pub field: String,
}

/// All of them, an owner's fields together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl From<Conflicts> for ApiError {
    fn from(Conflicts(conflicts): Conflicts) -> Self {
        let message = match conflicts.as_slice() {
            [one] => format!("Apply failed with 1 conflict: conflict with {}: {}", one.owner, one.field),
            many => {
                let mut lines = Vec::new();
                let mut owner = "";
                for conflict in many {
                    if conflict.owner != owner {
                        lines.push(format!("conflicts with {}:", conflict.owner));
                        owner = &conflict.owner;
                    }
                    lines.push(format!("- {}", conflict.field));
                }
                format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
            }
        };
        conflicts.iter().fold(Self::new(409, "Conflict", message), |error, conflict| {
            error.cause("FieldManagerConflict", format!("conflict with {}", conflict.owner), &conflict.field)
        })
    }
}
