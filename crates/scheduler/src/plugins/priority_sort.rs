//! The more important go first, and of equals those who have waited longest.

use crate::plugin::Plugin;

/// The order is what [`Plugin::rank`] says by itself.
pub(crate) struct PrioritySort;

impl Plugin for PrioritySort {
    fn name(&self) -> &'static str {
        "PrioritySort"
    }
}
