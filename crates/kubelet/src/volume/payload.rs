//! Files as a volume shall show them, and how keys of an object become files. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::KeyToPath;

use super::Problem;
use super::kind::RefreshAt;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) data: Vec<u8>,
    pub(super) mode: u32,
    /// Its owner, if not root.
    pub(super) owner: Option<u32>,
}

/// All files of a volume, by relative path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) files: BTreeMap<String, File>,
    pub(super) refresh_at: RefreshAt,
}

/// The permissions of files where nothing is said.
pub(super) const DEFAULT_MODE: i32 = 0o644;

/// Bits of a mode; the API has validated the range.
pub(super) fn mode(mode: Option<i32>, default: Option<i32>) -> u32 {
    u32::try_from(mode.or(default).unwrap_or(DEFAULT_MODE)).unwrap_or(0o644) & 0o7777
}

impl Payload {
    /// Adds a file; its path may not lead out of the volume, nor be one of the writer's own names.
    pub(super) fn add(&mut self, path: &str, file: File) -> Result<(), Problem> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if path.is_empty() || parts.is_empty() {
            return Err(Problem::new("invalid path: must not be empty"));
        }
        if path.starts_with('/') {
            return Err(Problem::new(format!("invalid path: must be relative path: {path}")));
        }
        if parts.contains(&"..") {
            return Err(Problem::new(format!("invalid path: must not contain '..': {path}")));
        }
        if parts[0].starts_with("..") {
            return Err(Problem::new(format!("invalid path: must not start with '..': {path}")));
        }
        // A later source wins, as upstream.
        self.files.insert(parts.join("/"), file);
        Ok(())
    }
}

/// The values of an object, and what to call it when a key is missing.
pub(super) struct Keys<'a> {
    pub(super) values: BTreeMap<&'a str, &'a [u8]>,
    /// Such as `configmap references non-existent config key`.
    pub(super) missing: &'static str,
}

/// Adds an object's keys to a payload: all, or those listed.
pub(super) fn add_keys(
    payload: &mut Payload,
    keys: &Keys<'_>,
    items: Option<&[KeyToPath]>,
    default_mode: Option<i32>,
    optional: bool,
) -> Result<(), Problem> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for (key, data) in &keys.values {
            payload.add(key, File { data: data.to_vec(), mode: mode(None, default_mode), owner: None })?;
        }
        return Ok(());
    };
    for item in items {
        match keys.values.get(item.key.as_str()) {
            Some(data) => {
                let file = File { data: data.to_vec(), mode: mode(item.mode, default_mode), owner: None };
                payload.add(&item.path, file)?;
            }
            None if optional => {}
            None => return Err(Problem::new(format!("{}: {}", keys.missing, item.key))),
        }
    }
    Ok(())
}
