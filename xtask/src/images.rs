//! The demo's images, made from Debian's own packages: a table of images and a small maker.
//!
//! A package is downloaded by `apt-get download` and unpacked; the image gets the programs named in its row and the
//! libraries they load, found by the loader itself. No root, no registry, no daemon; the machine's own files are only
//! used for libraries that are installed everywhere (libc and what the loader finds beside it).

#![expect(clippy::disallowed_methods, reason = "a tool run by hand and by scripts, which end it if it hangs")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use skiff_image::{Config, Layer};

/// An image of the table.
struct Image {
    /// The archive's name.
    file: &'static str,
    /// Names it goes by.
    names: &'static [&'static str],
    /// Debian packages that carry its programs and the libraries that not every machine has.
    packages: &'static [&'static str],
    /// Programs, as paths inside the packages.
    programs: &'static [&'static str],
    /// Small files of our own: path, mode, content.
    files: &'static [(&'static str, u32, &'static str)],
    entrypoint: &'static [&'static str],
    cmd: &'static [&'static str],
    ports: &'static [&'static str],
}

const REDIS_PACKAGES: &[&str] =
    &["redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1", "libssl3"];
const REDIS_PROGRAMS: &[&str] = &["usr/bin/redis-server", "usr/bin/redis-cli"];

/// The slave finds its master as the image of 2014 did: by the service's environment variables.
const RUN_SLAVE: &str = "#!/bin/sh
exec redis-server --bind 0.0.0.0 --protected-mode no --save '' --dir /tmp \\
  --replicaof \"${REDISMASTER_SERVICE_HOST:-$SERVICE_HOST}\" \"${REDISMASTER_SERVICE_PORT:-6379}\"
";

const IMAGES: &[Image] = &[
    Image {
        file: "busybox.tar",
        names: &["docker.io/library/busybox:latest", "docker.io/library/busybox:1.35"],
        packages: &[],
        programs: &[],
        files: &[],
        entrypoint: &[],
        cmd: &["sh"],
        ports: &[],
    },
    Image {
        file: "redis.tar",
        names: &["docker.io/gurpartap/redis:latest", "docker.io/library/redis:latest"],
        packages: REDIS_PACKAGES,
        programs: REDIS_PROGRAMS,
        files: &[],
        entrypoint: &["redis-server"],
        cmd: &["--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir", "/tmp"],
        ports: &["6379/tcp"],
    },
    Image {
        file: "redis-slave.tar",
        names: &["docker.io/brendanburns/redis-slave:latest"],
        packages: REDIS_PACKAGES,
        programs: REDIS_PROGRAMS,
        files: &[("run.sh", 0o755, RUN_SLAVE)],
        entrypoint: &["/run.sh"],
        cmd: &[],
        ports: &["6379/tcp"],
    },
];

/// Makes every image of the table in `out`; images that are there already are kept.
pub(crate) fn make_all(out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out)?;
    // The loader names what it finds as it was told to look for it; absolute paths are told from other words.
    let out = &out.canonicalize()?;
    for image in IMAGES {
        let archive = out.join(image.file);
        if !archive.exists() {
            make(image, out).with_context(|| format!("make {}", image.file))?;
        }
    }
    Ok(())
}

fn make(image: &Image, out: &Path) -> anyhow::Result<()> {
    let root = unpack(&[image.packages, &["busybox-static"]].concat(), out)?;
    let mut layer = Layer::new();
    for folder in ["tmp", "bin", "etc", "usr", "usr/bin", "lib64"] {
        layer.folder(folder, if folder == "tmp" { 0o1777 } else { 0o755 })?;
    }
    layer.file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    )?;
    layer.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
    let busybox = root.join("bin/busybox");
    layer.file("bin/busybox", 0o755, &fs::read(&busybox)?)?;
    for applet in said(Command::new(&busybox).arg("--list"))?.lines().filter(|applet| *applet != "busybox") {
        layer.link(&format!("bin/{applet}"), "busybox")?;
    }
    let mut libraries = BTreeSet::new();
    for program in image.programs {
        let path = root.join(program);
        layer.file(program, 0o755, &fs::read(&path).with_context(|| format!("read {}", path.display()))?)?;
        libraries.extend(loaded(&path, &root)?);
    }
    for library in libraries {
        let name = library.file_name().context("a library has a name")?.to_string_lossy().into_owned();
        // The loader lies where every program names it, the others where it looks last.
        let folder = if name.starts_with("ld-linux") { "lib64" } else { "usr/lib" };
        layer.file(&format!("{folder}/{name}"), 0o755, &fs::read(&library)?)?;
    }
    for (path, mode, content) in image.files {
        layer.file(path, *mode, content.as_bytes())?;
    }
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let config = Config {
        names: owned(image.names),
        entrypoint: owned(image.entrypoint),
        cmd: owned(image.cmd),
        env: vec!["PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        ports: owned(image.ports),
        ..Config::default()
    };
    // Written beside and renamed, so that an interrupted run leaves no half archive behind.
    let draft = out.join(format!("{}.part", image.file));
    layer.write(&config, fs::File::create(&draft)?)?;
    fs::rename(draft, out.join(image.file))?;
    fs::remove_dir_all(root)?;
    Ok(())
}

/// Downloads and unpacks packages into a new folder under `out`.
fn unpack(packages: &[&str], out: &Path) -> anyhow::Result<PathBuf> {
    let downloads = out.join("packages");
    fs::create_dir_all(&downloads)?;
    let root = out.join(format!("root-{}", std::process::id()));
    for package in packages {
        if find(&downloads, package)?.is_none() {
            // apt drops its rights for downloads; it may not be able to write here, which is only worth a warning.
            said(
                Command::new("apt-get")
                    .args(["-qq", "-o", "APT::Sandbox::User=root", "download", package])
                    .current_dir(&downloads),
            )?;
        }
        let file =
            find(&downloads, package)?.with_context(|| format!("apt-get did not download {package}"))?;
        said(Command::new("dpkg-deb").arg("-x").arg(file).arg(&root))?;
    }
    Ok(root)
}

fn find(folder: &Path, package: &str) -> anyhow::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .file_name()
            .and_then(OsStr::to_str)
            .is_some_and(|name| name.starts_with(&format!("{package}_")))
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The libraries that the loader loads for `program`, those under `root` before the machine's.
fn loaded(program: &Path, root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    let folders: Vec<String> = ["usr/lib", "lib"]
        .iter()
        .map(|folder| root.join(folder).join(&triple))
        .map(|folder| folder.display().to_string())
        .collect();
    let list = said(Command::new("ldd").arg(program).env("LD_LIBRARY_PATH", folders.join(":")))?;
    let mut libraries = Vec::new();
    for line in list.lines().map(str::trim) {
        if line.contains("not found") {
            bail!("{}: {line}", program.display());
        }
        let path =
            line.split_once("=> ").map_or(line, |(_, path)| path).split(" (").next().unwrap_or_default();
        if path.starts_with('/') {
            libraries.push(PathBuf::from(path));
        }
    }
    Ok(libraries)
}

/// What a program printed; its words in the error if it failed.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{:?} failed: {}", command.get_program(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
