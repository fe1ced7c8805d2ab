//! A file that needs more than 600 lines answers more than one question.

use super::Tree;

const MOST: usize = 600;

pub(super) fn check(tree: &Tree) -> anyhow::Result<Vec<String>> {
    let long = |(path, text): &(String, String)| {
        let lines = text.lines().count();
        (lines > MOST).then(|| format!("{path} has {lines} lines, more than {MOST}"))
    };
    Ok(tree.files.iter().filter_map(long).collect())
}
