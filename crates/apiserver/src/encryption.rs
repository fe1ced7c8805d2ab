//! Secrets, and whatever else is configured, are ciphertext on disk: an engine around the store's engine.
//!
//! In memory everything is plain; only what goes to disk passes here. Follows upstream's EncryptionConfiguration and its
//! envelope (`k8s:enc:aesgcm:v1:KEY:`, nonce, ciphertext and tag), with table and name as what is authenticated besides,
//! so that nobody swaps two values. Providers: `aesgcm` and `identity`. What an older key sealed, or none, is sealed anew
//! at the next start.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use skiff_store::{Engine, EngineError, Key, Loaded, Record};

const HEAD: &str = "k8s:enc:aesgcm:v1:";
const NONCE: usize = 12;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EncryptionError {
    /// It cannot be read.
    #[error("read the encryption configuration: {0}")]
    Unreadable(String),
    /// It asks for what there is not.
    #[error("the encryption provider {0} is not supported; use aesgcm or identity")]
    Provider(String),
    /// A key is no key.
    #[error("the key {0} must be 16 or 32 bytes in base64")]
    Key(String),
}

#[derive(Deserialize)]
struct Configuration {
    resources: Vec<Resources>,
}

#[derive(Deserialize)]
struct Resources {
    resources: Vec<String>,
    providers: Vec<HashMap<String, Option<Provider>>>,
}

#[derive(Default, Deserialize)]
struct Provider {
    #[serde(default)]
    keys: Vec<NamedKey>,
}

#[derive(Deserialize)]
struct NamedKey {
    name: String,
    secret: String,
}

/// How the values of one resource are sealed: the first way writes, all of them read.
type Ways = Arc<Vec<Way>>;

enum Way {
    Plain,
    Sealed { name: String, key: RandomizedNonceKey },
}

/// What is sealed how, by table.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    tables: HashMap<String, Ways>,
    /// What is on disk in another way than it would be written now.
    stale: Arc<Mutex<Vec<Key>>>,
}

impl Keys {
    /// Reads an EncryptionConfiguration.
    ///
    /// # Errors
    /// If it is malformed, or asks for what there is not.
    pub(crate) fn parse(yaml: &str) -> Result<Self, EncryptionError> {
        let unreadable = |error: String| EncryptionError::Unreadable(error);
        let json = skiff_api::decode::yaml_to_json(yaml.as_bytes())
            .map_err(|error| unreadable(error.to_string()))?;
        let configuration: Configuration =
            serde_json::from_slice(&json).map_err(|error| unreadable(error.to_string()))?;
        let mut keys = Self::default();
        for part in configuration.resources {
            let mut ways = Vec::new();
            for (name, provider) in part.providers.into_iter().flatten() {
                match name.as_str() {
                    "identity" => ways.push(Way::Plain),
                    "aesgcm" => {
                        for key in provider.unwrap_or_default().keys {
                            ways.push(way(key)?);
                        }
                    }
                    other => return Err(EncryptionError::Provider(other.to_owned())),
                }
            }
            let ways = Arc::new(ways);
            for resource in part.resources {
                let table = match resource.split_once('.') {
                    Some((plural, group)) => format!("{group}/{plural}"),
                    None => resource,
                };
                // The first that names a resource has it.
                keys.tables.entry(table).or_insert_with(|| Arc::clone(&ways));
            }
        }
        Ok(keys)
    }

    /// What should be written again; asked once, after the store has been opened.
    pub(crate) fn stale(&self) -> Vec<Key> {
        std::mem::take(&mut self.stale.lock())
    }

    fn ways(&self, key: &Key) -> Option<&Ways> {
        self.tables.get(&*key.table)
    }

    fn seal(&self, key: &Key, plain: &Bytes) -> Result<Bytes, EngineError> {
        let Some(Way::Sealed { name, key: with }) = self.ways(key).and_then(|ways| ways.first()) else {
            return Ok(plain.clone());
        };
        let failed = || EngineError::new(format!("seal {key}"), "the cipher failed");
        let mut sealed = plain.to_vec();
        let nonce =
            with.seal_in_place_append_tag(Aad::from(key.to_string()), &mut sealed).map_err(|_| failed())?;
        let head = format!("{HEAD}{name}:");
        Ok([head.as_bytes(), nonce.as_ref(), &sealed].concat().into())
    }

    fn open(&self, key: &Key, bytes: Bytes) -> Result<Bytes, EngineError> {
        let Some(rest) = bytes.strip_prefix(HEAD.as_bytes()) else {
            if self.ways(key).is_some_and(|ways| !matches!(ways.first(), Some(Way::Plain) | None)) {
                self.stale.lock().push(key.clone());
            }
            return Ok(bytes);
        };
        let failed = |why: &str| EngineError::new(format!("open {key}"), why.to_owned());
        let ways = self.ways(key).ok_or_else(|| failed("it is encrypted and no key is configured"))?;
        for (index, way) in ways.iter().enumerate() {
            let Way::Sealed { name, key: with } = way else { continue };
            let body = rest.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b":"));
            let Some((nonce, sealed)) =
                body.filter(|body| body.len() > NONCE).map(|body| body.split_at(NONCE))
            else {
                continue;
            };
            let mut plain = sealed.to_vec();
            let nonce =
                Nonce::try_assume_unique_for_key(nonce).map_err(|_| failed("its nonce is malformed"))?;
            let Ok(opened) = with.open_in_place(nonce, Aad::from(key.to_string()), &mut plain) else {
                continue;
            };
            let length = opened.len();
            plain.truncate(length);
            if index > 0 {
                self.stale.lock().push(key.clone());
            }
            return Ok(plain.into());
        }
        Err(failed("no configured key opens it"))
    }
}

fn way(key: NamedKey) -> Result<Way, EncryptionError> {
    let bad = || EncryptionError::Key(key.name.clone());
    let secret = STANDARD.decode(key.secret.trim()).map_err(|_| bad())?;
    let algorithm: &Algorithm = match secret.len() {
        16 => &AES_128_GCM,
        32 => &AES_256_GCM,
        _ => return Err(bad()),
    };
    let with = RandomizedNonceKey::new(algorithm, &secret).map_err(|_| bad())?;
    Ok(Way::Sealed { name: key.name, key: with })
}

/// The configuration of a new cluster: Secrets are sealed with a key that nobody else has. Nothing if the machine has no
/// randomness.
pub fn fresh_configuration() -> Option<String> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).ok()?;
    let secret = STANDARD.encode(secret);
    Some(format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  \
         providers:\n  - aesgcm:\n      keys:\n      - name: key1\n        secret: {secret}\n  - identity: {{}}\n"
    ))
}

/// An engine whose disk sees ciphertext.
pub(crate) struct Sealed {
    inner: Box<dyn Engine>,
    keys: Keys,
}

impl Sealed {
    pub(crate) fn new(inner: Box<dyn Engine>, keys: Keys) -> Self {
        Self { inner, keys }
    }
}

impl Engine for Sealed {
    fn load(&mut self) -> Result<Loaded, EngineError> {
        let mut loaded = self.inner.load()?;
        for entry in &mut loaded.entries {
            entry.bytes = self.keys.open(&entry.key, std::mem::take(&mut entry.bytes))?;
        }
        Ok(loaded)
    }

    fn commit(&mut self, batch: &[Record]) -> Result<(), EngineError> {
        if !batch.iter().any(|record| self.keys.ways(&record.key).is_some()) {
            return self.inner.commit(batch);
        }
        let seal = |record: &Record| {
            let bytes = record.bytes.as_ref().map(|bytes| self.keys.seal(&record.key, bytes)).transpose()?;
            Ok(Record { bytes, ..record.clone() })
        };
        let batch = batch.iter().map(seal).collect::<Result<Vec<_>, EngineError>>()?;
        self.inner.commit(&batch)
    }

    fn settle(&mut self) -> Result<(), EngineError> {
        self.inner.settle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &str) -> Keys {
        let secret = |name: &str| STANDARD.encode([name.as_bytes()[0]; 32]);
        let keys: Vec<String> =
            names.split(' ').map(|name| format!("{{name: {name}, secret: {}}}", secret(name))).collect();
        Keys::parse(&format!(
            "resources: [{{resources: [secrets], providers: [{{aesgcm: {{keys: [{}]}}}}, {{identity: {{}}}}]}}]",
            keys.join(", ")
        ))
        .unwrap()
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_and_under_its_name_only() {
        let (own, other) = (Key::new("secrets", "default/a"), Key::new("secrets", "default/b"));
        let plain = Bytes::from_static(b"{\"kind\":\"Secret\"}");
        let sealed = keys("one").seal(&own, &plain).unwrap();
        assert!(sealed.starts_with(b"k8s:enc:aesgcm:v1:one:"));
        assert!(!sealed.windows(6).any(|part| part == b"Secret"));
        assert_eq!(keys("one").open(&own, sealed.clone()).unwrap(), plain);
        assert!(keys("one").open(&other, sealed.clone()).is_err());
        assert!(keys("two").open(&own, sealed.clone()).is_err());
        let rotated = keys("two one");
        assert_eq!(rotated.open(&own, sealed).unwrap(), plain);
        assert_eq!(rotated.stale(), std::slice::from_ref(&own));
        assert_eq!(rotated.open(&own, plain.clone()).unwrap(), plain);
        assert_eq!(rotated.stale(), [own]);
        let elsewhere = Key::new("configmaps", "default/a");
        assert_eq!(rotated.seal(&elsewhere, &plain).unwrap(), plain);
    }

    #[test]
    fn providers_and_keys_that_are_none_are_named() {
        let parse = |provider: &str| {
            let yaml = format!("resources: [{{resources: [secrets], providers: [{provider}]}}]");
            Keys::parse(&yaml).map(|_| ()).unwrap_err().to_string()
        };
        assert_eq!(
            parse("{kms: {}}"),
            "the encryption provider kms is not supported; use aesgcm or identity"
        );
        assert_eq!(
            parse("{aesgcm: {keys: [{name: k, secret: eA==}]}}"),
            "the key k must be 16 or 32 bytes in base64"
        );
    }
}
