//! Which crate may import which: the arrows of ARCHITECTURE.md and no others.

use std::collections::BTreeSet;

use anyhow::Context;

use super::Tree;

/// A crate and the crates of ours that it may import. `skiff`, `testkit` and tests may import everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("api", &[]),
    ("image", &[]),
    ("store", &["base"]),
    ("client", &["base", "api"]),
    ("apiserver", &["store", "client", "api", "base"]),
    ("controllers", &["client", "api", "base"]),
    ("scheduler", &["client", "api", "base"]),
    ("hollow", &["client", "api", "base"]),
    ("kubelet", &["client", "api", "base"]),
    ("net", &["client", "api", "base"]),
    ("kubecfg", &["api", "base"]),
];

/// Where parts meet.
const EVERYTHING: &[&str] = &["skiff", "testkit", "bench"];

pub(super) fn check(tree: &Tree) -> anyhow::Result<Vec<String>> {
    let mut complaints = Vec::new();
    for entry in std::fs::read_dir(tree.root.join("crates"))? {
        let folder = entry?;
        let name = folder.file_name().to_string_lossy().into_owned();
        if EVERYTHING.contains(&name.as_str()) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(crate_name, _)| *crate_name == name) else {
            complaints.push(format!("crates/{name} has no row in the table of arrows"));
            continue;
        };
        let manifest = std::fs::read_to_string(folder.path().join("Cargo.toml"))
            .with_context(|| format!("read the manifest of {name}"))?;
        let forbidden = imported(&manifest).into_iter().filter(|import| !allowed.contains(&import.as_str()));
        complaints.extend(forbidden.map(|import| format!("crates/{name} may not import skiff-{import}")));
    }
    Ok(complaints)
}

/// Our crates in the `[dependencies]` of a manifest; tests may import what they like.
fn imported(manifest: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]" && line.starts_with("skiff-") {
            let name = line["skiff-".len()..].split(['.', ' ', '=']).next().unwrap_or_default();
            found.insert(name.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ordinary_dependencies_count() {
        let manifest = "[dependencies]\nskiff-api.workspace = true\nserde = \"1\"\n[dev-dependencies]\nskiff-testkit.workspace = true\n";
        assert_eq!(imported(manifest), BTreeSet::from(["api".to_owned()]));
    }
}
