//! Tokens of service accounts: what they claim, how they are made, and when they are believed.
//!
//! Follows upstream's `pkg/serviceaccount/claims.go` and `legacy.go`. A bound token dies with what it is bound to; a
//! token from a Secret dies with the Secret.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use skiff_api::{Object, meta};
use skiff_store::Key;

use super::jwt::{self, KeyError, PublicKey, SigningKey};
use super::{Bearer, Identity, Outcome};
use crate::api::Api;
use crate::options::Options;
use crate::remembered::{Question, Remembered};
use crate::user::{ACCOUNT_PREFIX, User};

pub(super) const BEARER: Bearer = Bearer {
    name: "service account",
    check: |api, token, audiences| async move { check(api, token, audiences) }.boxed(),
};

/// Who issued the tokens of Secrets.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
/// What the claims of those begin with.
const LEGACY: &str = "kubernetes.io/serviceaccount/";
/// How long what is being deleted still counts, in seconds.
const LEEWAY: i64 = 60;
/// Where a user's extras say which token it was.
pub(super) const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";
/// What the keys of a user's extras begin with.
const EXTRA: &str = "authentication.kubernetes.io/";

/// The server as an issuer.
pub(crate) struct Issuer {
    key: SigningKey,
    /// The keys whose tokens are believed, its own first.
    keys: Vec<PublicKey>,
    /// `https://kubernetes.default.svc.cluster.local`.
    pub(crate) issuer: String,
    /// Whose tokens are believed besides: what it called itself before.
    others: Vec<String>,
    /// Whom tokens are for that are for the server itself.
    pub(crate) audiences: Vec<String>,
    /// The claims of tokens whose signature has been verified. Only that is remembered: whether what a token is bound to
    /// still lives, and whether it is of today, is looked up each time.
    verified: Remembered<Arc<Value>>,
}

/// How long a verified signature is remembered.
const VERIFIED: Duration = Duration::from_secs(600);

/// What a token is bound to besides its account: `pod`, `secret` or `node`, name and uid.
pub(crate) struct Bound {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// A token to be made.
pub(crate) struct Wanted<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) account: &'a str,
    pub(crate) account_uid: &'a str,
    pub(crate) audiences: &'a [String],
    pub(crate) bound: &'a [Bound],
    /// Seconds since 1970.
    pub(crate) now: i64,
    /// How long it lives, in seconds.
    pub(crate) life: i64,
    /// After how long its use is worth a warning, if that is sooner.
    pub(crate) warn_after: Option<i64>,
}

impl Issuer {
    /// # Errors
    /// If a key cannot be used.
    pub(crate) fn new(options: &Options) -> Result<Self, KeyError> {
        let key = options.token_key_pem.as_deref().map_or_else(SigningKey::fresh, SigningKey::from_pem)?;
        let mut keys = vec![key.public().clone()];
        for pem in &options.token_keys_pem {
            for more in PublicKey::all_from_pem(pem)? {
                if !keys.iter().any(|known| known.is(&more)) {
                    keys.push(more);
                }
            }
        }
        let mut others = options.issuers.clone();
        let issuer = if others.is_empty() { String::new() } else { others.remove(0) };
        let audiences = if options.audiences.is_empty() { &options.issuers } else { &options.audiences };
        Ok(Self { key, keys, issuer, others, audiences: audiences.clone(), verified: Remembered::default() })
    }

    /// Makes a token; nothing if the machine cannot sign.
    pub(crate) fn issue(&self, wanted: &Wanted<'_>) -> Option<String> {
        let mut own = json!({
            "namespace": wanted.namespace,
            "serviceaccount": { "name": wanted.account, "uid": wanted.account_uid },
        });
        for bound in wanted.bound {
            own[bound.kind] = match bound.uid.as_str() {
                "" => json!({ "name": bound.name }),
                uid => json!({ "name": bound.name, "uid": uid }),
            };
        }
        if let Some(after) = wanted.warn_after {
            own["warnafter"] = (wanted.now + after).into();
        }
        self.key.sign(&json!({
            "aud": wanted.audiences,
            "exp": wanted.now + wanted.life,
            "iat": wanted.now,
            "iss": self.issuer,
            "jti": uuid::Uuid::new_v4().to_string(),
            "kubernetes.io": own,
            "nbf": wanted.now,
            "sub": format!("{ACCOUNT_PREFIX}{}:{}", wanted.namespace, wanted.account),
        }))
    }

    /// Makes the token of a Secret, which ends with it.
    pub(crate) fn issue_legacy(
        &self,
        namespace: &str,
        account: (&str, &str),
        secret: &str,
    ) -> Option<String> {
        let (name, uid) = account;
        let claim = |what: &str| format!("{LEGACY}{what}");
        let mut claims =
            json!({ "iss": LEGACY_ISSUER, "sub": format!("{ACCOUNT_PREFIX}{namespace}:{name}") });
        claims[claim("namespace")] = namespace.into();
        claims[claim("secret.name")] = secret.into();
        claims[claim("service-account.name")] = name.into();
        claims[claim("service-account.uid")] = uid.into();
        self.key.sign(&claims)
    }

    /// The keys that verify what we sign.
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": self.keys.iter().map(PublicKey::jwk).collect::<Vec<_>>() })
    }

    /// The ways in which these keys sign, sorted, each once.
    pub(crate) fn algorithms(&self) -> BTreeSet<&'static str> {
        self.keys.iter().map(PublicKey::algorithm).collect()
    }
}

impl Issuer {
    /// The claims of a token that we have signed.
    fn claims(&self, token: &str) -> Option<Arc<Value>> {
        let question = Question::of(token);
        if let Some(known) = self.verified.get(question) {
            return Some(known);
        }
        let claims = jwt::peek(token)?;
        let issuer = claims["iss"].as_str()?;
        let ours =
            issuer == LEGACY_ISSUER || issuer == self.issuer || self.others.iter().any(|own| own == issuer);
        // Somebody else may call himself the same.
        if !ours || !jwt::is_signed(token, &self.keys) {
            return None;
        }
        let claims = Arc::new(claims);
        self.verified.keep(question, Arc::clone(&claims), VERIFIED);
        Some(claims)
    }
}

fn check(api: &Api, token: &str, wanted: &[String]) -> Outcome {
    let Some(claims) = api.issuer.claims(token) else { return Outcome::NotMine };
    let legacy = claims["iss"] == LEGACY_ISSUER;
    let believed =
        if legacy { from_secret(api, token, &claims, wanted) } else { bound(api, &claims, wanted) };
    believed.map_or_else(Outcome::Refused, Outcome::Known)
}

/// The audiences that a token is for and that are wanted.
fn common(claims: &Value, wanted: &[String]) -> Vec<String> {
    let own: Vec<&str> = match &claims["aud"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    wanted.iter().filter(|audience| own.contains(&audience.as_str())).cloned().collect()
}

fn bound(api: &Api, claims: &Value, wanted: &[String]) -> Result<Identity, String> {
    let now = api.clock.now().as_second();
    let number = |name: &str| claims[name].as_i64();
    if number("exp").is_none_or(|end| now >= end) {
        return Err("service account token has expired".to_owned());
    }
    if number("nbf").is_some_and(|start| now < start) {
        return Err("service account token is not valid yet".to_owned());
    }
    let audiences = common(claims, wanted);
    if audiences.is_empty() {
        return Err(format!(
            "token audiences {} is invalid for the target audiences {wanted:?}",
            claims["aud"]
        ));
    }
    let own = &claims["kubernetes.io"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let namespace = text(&own["namespace"]);
    let account = text(&own["serviceaccount"]["name"]);
    let uid = text(&own["serviceaccount"]["uid"]);
    alive(api, "serviceaccounts", &namespace, &account, &uid, now)?;
    let mut extra = BTreeMap::new();
    let mut tell = |what: &str, value: String| {
        extra.insert(format!("{EXTRA}{what}"), vec![value]);
    };
    if let Some(id) = claims["jti"].as_str() {
        tell("credential-id", format!("JTI={id}"));
    }
    for (kind, table, place) in
        [("pod", "pods", namespace.as_str()), ("secret", "secrets", &namespace), ("node", "nodes", "")]
    {
        let Some(name) = own[kind]["name"].as_str() else { continue };
        let uid = text(&own[kind]["uid"]);
        // The node of a pod only says where the pod was; a token bound to the node dies with it.
        if kind != "node" || own["pod"].is_null() {
            alive(api, table, place, name, &uid, now)?;
        }
        if kind != "secret" {
            tell(&format!("{kind}-name"), name.to_owned());
            if !uid.is_empty() {
                tell(&format!("{kind}-uid"), uid);
            }
        }
    }
    let user = User::service_account(&namespace, &account).known_by(&uid, extra);
    Ok(Identity { user, audiences })
}

/// The object, if it is still the same and not long on its way out.
fn alive(
    api: &Api,
    table: &str,
    place: &str,
    name: &str,
    uid: &str,
    now: i64,
) -> Result<Arc<Object>, String> {
    let key = Key::new(table, meta::key(Some(place), name));
    let stored = api.store.get(&key).ok_or_else(|| format!("{table} \"{name}\" has been deleted"))?;
    let object = stored.object();
    if *object.meta().uid != *uid {
        return Err(format!("{table} UID ({}) does not match claim ({uid})", object.meta().uid));
    }
    let going = object.meta().deletion_timestamp.as_ref().map(|time| time.as_second());
    if going.is_some_and(|at| at < now - LEEWAY) {
        return Err(format!("{table} \"{name}\" has been deleted"));
    }
    Ok(Arc::clone(object))
}

fn from_secret(api: &Api, token: &str, claims: &Value, wanted: &[String]) -> Result<Identity, String> {
    let claim = |what: &str| claims[format!("{LEGACY}{what}")].as_str().unwrap_or_default().to_owned();
    let (namespace, secret) = (claim("namespace"), claim("secret.name"));
    let (account, uid) = (claim("service-account.name"), claim("service-account.uid"));
    if claims["sub"] != format!("{ACCOUNT_PREFIX}{namespace}:{account}") {
        return Err("sub claim does not match the account's claims".to_owned());
    }
    let now = api.clock.now().as_second();
    alive(api, "serviceaccounts", &namespace, &account, &uid, now)?;
    let key = Key::new("secrets", meta::key(Some(&namespace), &secret));
    let stored = api.store.get(&key).ok_or("service account token has been invalidated")?;
    let held = stored.object().decode::<Secret>().map_err(|error| error.to_string())?;
    let same =
        held.data.as_ref().and_then(|data| data.get("token")).is_some_and(|own| own.0 == token.as_bytes());
    if !same || held.metadata.deletion_timestamp.is_some() {
        return Err("service account token has been invalidated".to_owned());
    }
    let audiences: Vec<String> =
        wanted.iter().filter(|audience| api.issuer.audiences.contains(audience)).cloned().collect();
    if audiences.is_empty() {
        return Err("the token is for the API server only".to_owned());
    }
    let user = User::service_account(&namespace, &account).known_by(&uid, BTreeMap::new());
    Ok(Identity { user, audiences })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn key() -> String {
        let der =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()))
    }

    fn issuer(key: &str, others: &[&String], names: &[&str]) -> Issuer {
        let options = Options {
            token_key_pem: Some(key.to_owned()),
            token_keys_pem: others.iter().map(|key| (*key).clone()).collect(),
            issuers: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Options::in_memory()
        };
        Issuer::new(&options).unwrap()
    }

    #[test]
    fn tokens_of_earlier_keys_and_names_are_still_believed() {
        let (before, after) = (key(), key());
        let old = issuer(&before, &[], &["https://old"]);
        let wanted = Wanted {
            namespace: "default",
            account: "robot",
            account_uid: "1",
            audiences: &old.audiences,
            bound: &[],
            now: 0,
            life: 600,
            warn_after: None,
        };
        let token = old.issue(&wanted).unwrap();
        let new = issuer(&after, &[&before, &after], &["https://new", "https://old"]);
        assert_eq!(new.claims(&token).unwrap()["iss"], "https://old");
        assert_eq!(new.audiences, ["https://new", "https://old"]);
        assert_eq!(new.jwks()["keys"].as_array().unwrap().len(), 2, "each once");
        let claims = new.claims(&new.issue(&wanted).unwrap()).unwrap();
        assert_eq!(claims["iss"], "https://new");
        // Neither the key nor the name alone will do.
        for other in [issuer(&after, &[], &["https://old"]), issuer(&after, &[&before], &["https://new"])] {
            assert!(other.claims(&token).is_none());
        }
    }
}
