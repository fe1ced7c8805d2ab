//! The rules of the house as checks. Each rule is one file with one function from the tree to its complaints.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

mod imports;
mod introductions;
mod length;
mod orphans;

/// A rule: what it is called and what it finds.
struct Rule {
    name: &'static str,
    check: fn(&Tree) -> anyhow::Result<Vec<String>>,
}

const RULES: &[Rule] = &[
    Rule { name: "length", check: length::check },
    Rule { name: "introductions", check: introductions::check },
    Rule { name: "imports", check: imports::check },
    Rule { name: "orphans", check: orphans::check },
];

/// The hand-written sources: path from the root and text.
struct Tree {
    root: PathBuf,
    files: Vec<(String, String)>,
}

/// Runs all rules; prints every complaint and fails if there is one.
pub(crate) fn report() -> anyhow::Result<()> {
    let complaints = complaints()?;
    if complaints.is_empty() {
        return Ok(());
    }
    bail!("{} complaints:\n{}", complaints.len(), complaints.join("\n"))
}

fn complaints() -> anyhow::Result<Vec<String>> {
    let tree = Tree::read()?;
    let mut found = Vec::new();
    for rule in RULES {
        let complaints = (rule.check)(&tree).with_context(|| format!("rule {}", rule.name))?;
        found.extend(complaints.into_iter().map(|complaint| format!("{}: {complaint}", rule.name)));
    }
    Ok(found)
}

impl Tree {
    fn read() -> anyhow::Result<Self> {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the root")?.to_owned();
        let mut files = Vec::new();
        for top in ["crates", "xtask", "tests"] {
            collect(&root, &root.join(top), &mut files)?;
        }
        files.sort();
        Ok(Self { root, files })
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path)?;
            files.push((path.strip_prefix(root)?.display().to_string(), text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_house_is_tidy() {
        let complaints = super::complaints().unwrap();
        assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    }
}
