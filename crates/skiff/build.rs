//! Has the linker fold functions whose machine code is the same: every crate that decodes or clones a Pod brings its own
//! copy. Only where Rust links with LLD by default, and only for releases.
//!
//! Releases know the commit they were made from. Other builds do not: each commit would compile and link them once more.

#![expect(clippy::disallowed_methods, reason = "a build waits for git as it waits for the compiler")]

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).as_deref() == Ok(value);
    if is("PROFILE", "release") && is("TARGET", "x86_64-unknown-linux-gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
    let commit = if is("PROFILE", "release") { commit() } else { None };
    println!("cargo:rustc-env=SKIFF_COMMIT={}", commit.unwrap_or_else(|| "0".repeat(40)));
}

/// The commit that is checked out, if this is a repository.
fn commit() -> Option<String> {
    let said = |args: &[&str]| {
        let output = std::process::Command::new("git").args(args).output().ok()?;
        let words = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !words.is_empty()).then_some(words)
    };
    println!(
        "cargo:rerun-if-changed={}",
        said(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])?
    );
    said(&["rev-parse", "HEAD"])
}
