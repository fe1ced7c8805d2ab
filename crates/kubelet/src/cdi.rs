//! Devices as specifications of the Container Device Interface describe them: what a container is to be given for one.
//!
//! Drivers answer with names such as `example.com/card=0`; what stands behind a name is in files of `/etc/cdi` and
//! `/var/run/cdi`. Runtimes that read these files themselves are handed the names; others, such as the containerd 1.6 of
//! Debian 12 (and 1.7, where it is off unless its configuration says otherwise, and nobody can ask), would start the
//! container without its device and say nothing. For those the names are resolved here, into what the Container Runtime
//! Interface can say: environment, mounts, device nodes, groups. What it cannot say, hooks above all, is an error: a
//! container never begins with half a device. Options that only harden a mount (`nosuid` and the like) are left out, as
//! with every volume. The files are read each time, which is seldom, so that nothing of them can be old.

mod edit;
mod spec;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::runtime::{ContainerConfig, Version};
use spec::Spec;

/// The latter say what the former say otherwise.
const FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// Whether a runtime reads the files itself, whatever its configuration.
pub(crate) fn is_spoken_by(runtime: &Version) -> bool {
    let version = runtime.version.trim_start_matches('v');
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or(0);
    match runtime.name.as_str() {
        "containerd" => major >= 2,
        "cri-o" => major >= 1,
        _ => false,
    }
}

/// Gives a container these devices. Waits for the disk.
///
/// # Errors
/// When there is no such device, or it needs what the runtime cannot be told.
pub(crate) fn give(names: &[String], config: &mut ContainerConfig) -> Result<(), String> {
    let folders = FOLDERS.map(PathBuf::from);
    resolve(&folders, names, config)
}

fn resolve(folders: &[PathBuf], names: &[String], config: &mut ContainerConfig) -> Result<(), String> {
    let failed = |error: String| format!("CDI device injection failed: {error}");
    let (found, faults) = find(folders);
    let missing: Vec<&str> =
        names.iter().filter(|name| !found.contains_key(*name)).map(String::as_str).collect();
    if !missing.is_empty() {
        let mut why = format!("unresolvable CDI devices {}", missing.join(", "));
        for fault in faults {
            why.push_str("; ");
            why.push_str(&fault);
        }
        return Err(failed(why));
    }
    // What a file says for all of its devices comes once.
    let mut begun: Vec<&Path> = Vec::new();
    for name in names {
        let Some(device) = found.get(name) else { continue };
        if !begun.contains(&device.file.as_path()) {
            begun.push(&device.file);
            edit::apply(&device.common, config).map_err(|error| failed(format!("{name}: {error}")))?;
        }
        edit::apply(&device.own, config).map_err(|error| failed(format!("{name}: {error}")))?;
    }
    Ok(())
}

/// A device that some file describes.
struct Described {
    file: PathBuf,
    common: spec::Edits,
    own: spec::Edits,
}

/// All devices by their names, and what is wrong with files. Of two that a folder describes neither counts.
fn find(folders: &[PathBuf]) -> (BTreeMap<String, Described>, Vec<String>) {
    let (mut all, mut faults) = (BTreeMap::new(), Vec::new());
    for folder in folders {
        let mut here: BTreeMap<String, Vec<Described>> = BTreeMap::new();
        for file in files(folder) {
            let read = std::fs::read_to_string(&file).map_err(|error| error.to_string());
            match read.and_then(|text| Spec::parse(&text)) {
                Err(error) => faults.push(format!("{}: {error}", file.display())),
                Ok(spec) => {
                    for device in spec.devices {
                        let name = format!("{}={}", spec.kind, device.name);
                        let (common, own) = (spec.container_edits.clone(), device.container_edits);
                        here.entry(name).or_default().push(Described { file: file.clone(), common, own });
                    }
                }
            }
        }
        for (name, mut described) in here {
            match (described.pop(), described.len()) {
                (Some(one), 0) => drop(all.insert(name, one)),
                _ => {
                    all.remove(&name);
                    faults.push(format!("conflicting device {name:?} in {}", folder.display()));
                }
            }
        }
    }
    (all, faults)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let specs = entries.map(|entry| entry.path()).filter(|path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        matches!(ending, Some("json" | "yaml"))
    });
    let mut files: Vec<PathBuf> = specs.collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests;
