//! A file that no `mod` line names is dead: rustc never sees it.

use super::Tree;

pub(super) fn check(tree: &Tree) -> anyhow::Result<Vec<String>> {
    let mut complaints = Vec::new();
    for (path, _) in &tree.files {
        let Some((folder, file)) = path.rsplit_once('/') else { continue };
        let name = file.trim_end_matches(".rs");
        // Roots are named by Cargo: libraries, programs, and what lies directly in tests, benches, examples.
        let top = folder.rsplit('/').next().unwrap_or_default();
        if matches!(name, "lib" | "main" | "build") || matches!(top, "tests" | "benches" | "examples" | "bin")
        {
            continue;
        }
        let parents = [format!("{folder}.rs"), format!("{folder}/lib.rs"), format!("{folder}/main.rs")];
        let lines = [format!("mod {name};"), format!("mod r#{name};")];
        let named = tree.files.iter().filter(|(parent, _)| parents.contains(parent)).any(|(_, text)| {
            text.lines().any(|line| lines.iter().any(|wanted| line.trim().ends_with(wanted.as_str())))
        });
        if !named {
            complaints.push(format!("{path}: no `mod {name};` names it"));
        }
    }
    Ok(complaints)
}
