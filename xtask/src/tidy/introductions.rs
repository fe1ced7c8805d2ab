//! Every file opens by saying what it is.

use super::Tree;

pub(super) fn check(tree: &Tree) -> anyhow::Result<Vec<String>> {
    let mute = |(path, text): &(String, String)| {
        (!text.trim_start().starts_with("//!"))
            .then(|| format!("{path} does not introduce itself with `//!`"))
    };
    Ok(tree.files.iter().filter_map(mute).collect())
}
