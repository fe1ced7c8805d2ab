//! Tokens of an OpenID Connect issuer: believed if the issuer's keys have signed them, they are for us, and they are of
//! today; claims become the user.
//!
//! Follows upstream's `k8s.io/apiserver/plugin/pkg/authenticator/token/oidc`. The issuer is asked for its keys when a token
//! comes that none of the known ones has signed, and not more often than now and then: strangers may send what they like.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::FutureExt;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::claims::Claims;
use super::{Bearer, Identity, Outcome, account, jwt};
use crate::api::Api;
use crate::outbound::{Access, AccessError, Server};
use crate::user::User;

pub(super) mod claims;

pub(super) const BEARER: Bearer = Bearer {
    name: "oidc",
    check: |api, token, audiences| {
        async move {
            for issuer in &api.issuers {
                match issuer.check(api, token, audiences).await {
                    Outcome::NotMine => {}
                    decided => return decided,
                }
            }
            Outcome::NotMine
        }
        .boxed()
    },
};

/// How long an issuer may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The least time between two questions for keys.
const PAUSE: Duration = Duration::from_secs(5);
/// How much clocks may disagree about the beginning of a token's life, in seconds.
const LEEWAY: i64 = 300;

/// Who may issue tokens, and how their claims are read; named as upstream's flags.
#[derive(Clone, Debug)]
pub struct OidcOptions {
    /// The issuer's URL, as its tokens say.
    pub issuer_url: String,
    /// For whom its tokens are.
    pub client_id: String,
    /// For whom else they are believed, or for whom only if there is no client.
    pub audiences: Vec<String>,
    /// Where its discovery document is, if not below the issuer's URL.
    pub discovery_url: Option<String>,
    /// How claims become the user, as a configuration file says; the fields below are what flags say instead.
    pub(super) claims: Option<Arc<Claims>>,
    /// The authority of the issuer's certificate, PEM; the machine's own choice if there is none.
    pub ca_pem: Option<String>,
    /// The claim that is the user's name.
    pub username_claim: String,
    /// What is put before the name; by default the issuer's URL and `#`, unless the claim is `email`.
    pub username_prefix: Option<String>,
    /// The claim that lists the user's groups.
    pub groups_claim: Option<String>,
    /// What is put before each group.
    pub groups_prefix: String,
    /// How tokens may be signed.
    pub signing_algs: Vec<String>,
    /// Claims that must be there, with these values.
    pub required_claims: BTreeMap<String, String>,
}

impl OidcOptions {
    /// Upstream's defaults for an issuer.
    pub fn of(issuer_url: &str, client_id: &str) -> Self {
        Self {
            issuer_url: issuer_url.to_owned(),
            client_id: client_id.to_owned(),
            audiences: Vec::new(),
            discovery_url: None,
            claims: None,
            ca_pem: None,
            username_claim: "sub".to_owned(),
            username_prefix: None,
            groups_claim: None,
            groups_prefix: String::new(),
            signing_algs: vec!["RS256".to_owned()],
            required_claims: BTreeMap::new(),
        }
    }
}

/// An issuer and its keys.
pub(crate) struct Issuer {
    options: OidcOptions,
    prefix: String,
    server: Server,
    keys: ArcSwap<Vec<jwt::PublicKey>>,
    /// When the keys were last asked for; one asks at a time.
    asked: Mutex<Option<Instant>>,
}

impl Issuer {
    /// # Errors
    /// If the issuer's address or authority cannot be used.
    pub(crate) fn new(options: &OidcOptions) -> Result<Self, AccessError> {
        let access = Access {
            url: options.discovery_url.clone().unwrap_or_else(|| {
                format!("{}/.well-known/openid-configuration", options.issuer_url.trim_end_matches('/'))
            }),
            ca_pem: options.ca_pem.clone(),
            ..Access::default()
        };
        let prefix = match options.username_prefix.as_deref() {
            Some("-") => String::new(),
            Some(prefix) => prefix.to_owned(),
            None if options.username_claim == "email" => String::new(),
            None => format!("{}#", options.issuer_url),
        };
        Ok(Self {
            prefix,
            server: Server::new(&access)?,
            options: options.clone(),
            keys: ArcSwap::default(),
            asked: Mutex::default(),
        })
    }

    /// As if nobody had asked for keys lately.
    #[cfg(test)]
    pub(super) async fn rested(&self) {
        *self.asked.lock().await = None;
    }

    async fn check(&self, api: &Api, token: &str, wanted: &[String]) -> Outcome {
        let Some(claims) = jwt::peek(token).filter(|claims| claims["iss"] == *self.options.issuer_url) else {
            return Outcome::NotMine;
        };
        // What is for us is for whoever we are.
        let audiences: Vec<String> =
            wanted.iter().filter(|audience| api.issuer.audiences.contains(audience)).cloned().collect();
        if audiences.is_empty() && !wanted.is_empty() {
            return Outcome::NotMine;
        }
        let now = api.clock.now().as_second();
        let believed = async {
            self.verify(api, token).await?;
            current(&claims, &self.options, now).map_err(|why| format!("verify token: oidc: {why}"))?;
            self.user(&claims)
        };
        match believed.await {
            Ok(user) => Outcome::Known(Identity { user, audiences }),
            Err(why) => Outcome::Refused(why),
        }
    }

    /// Whether the issuer has signed the token, by the keys it has now.
    async fn verify(&self, api: &Api, token: &str) -> Result<(), String> {
        let algorithm = jwt::algorithm(token).unwrap_or_default();
        if !self.options.signing_algs.contains(&algorithm) {
            let expected = self.options.signing_algs.join(" ");
            return Err(format!(
                "verify token: oidc: id token signed with unsupported algorithm, expected [{expected}] got {algorithm:?}"
            ));
        }
        let known = self.keys.load_full();
        if jwt::is_signed(token, &known) {
            return Ok(());
        }
        let mut asked = self.asked.lock().await;
        // Somebody else may have asked while we waited.
        let mut current = self.keys.load_full();
        if Arc::ptr_eq(&known, &current) && asked.is_none_or(|asked| asked.elapsed() >= PAUSE) {
            *asked = Some(Instant::now());
            current =
                Arc::new(self.fetch(api).await.map_err(|why| format!("verify token: fetching keys {why}"))?);
            self.keys.store(Arc::clone(&current));
        }
        if jwt::is_signed(token, &current) {
            return Ok(());
        }
        Err("verify token: failed to verify signature: failed to verify id token signature".to_owned())
    }

    async fn fetch(&self, api: &Api) -> Result<Vec<jwt::PublicKey>, String> {
        let document = self.server.get(&api.tasks, PATIENCE).await?;
        if document["issuer"] != *self.options.issuer_url {
            return Err(format!(
                "oidc: issuer did not match the issuer returned by provider, expected {:?} got {}",
                self.options.issuer_url, document["issuer"]
            ));
        }
        let keys = document["jwks_uri"].as_str().ok_or("the provider names no jwks_uri")?;
        let keys = self.server.at(keys).map_err(|error| error.to_string())?;
        let set = keys.get(&api.tasks, PATIENCE).await?;
        Ok(set["keys"].as_array().into_iter().flatten().filter_map(jwt::PublicKey::from_jwk).collect())
    }

    /// The user that verified claims tell of.
    fn user(&self, claims: &Value) -> Result<User, String> {
        let options = &self.options;
        let id = claims["jti"].as_str().map(|id| (account::CREDENTIAL.to_owned(), vec![format!("JTI={id}")]));
        if let Some(mapping) = &options.claims {
            return mapping.user(claims, id.into_iter().collect());
        }
        let claim = &options.username_claim;
        let name = claims[claim].as_str().ok_or_else(|| match claims.get(claim) {
            Some(_) => format!("parse username claims {claim:?}: not a string"),
            None => format!("parse username claims {claim:?}: claim not present"),
        })?;
        if claim == "email" && claims.get("email_verified").is_some_and(|verified| *verified != true) {
            return Err("email not verified".to_owned());
        }
        for (claim, wanted) in &options.required_claims {
            match claims.get(claim) {
                None => return Err(format!("required claim {claim} not present in ID token")),
                Some(value) if value.as_str() == Some(wanted) => {}
                Some(value) => {
                    let got = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    return Err(format!(
                        "required claim {claim} value does not match. Got = {got}, want = {wanted}"
                    ));
                }
            }
        }
        let listed = options.groups_claim.as_ref().and_then(|claim| claims.get(claim));
        let groups = match listed {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(_) => {
                let claim = options.groups_claim.as_deref().unwrap_or_default();
                return Err(format!("parse groups claim {claim:?}: not a string or a list of strings"));
            }
        };
        let groups = groups.iter().map(|group| format!("{}{group}", options.groups_prefix));
        let user = User::new(&format!("{}{name}", self.prefix), groups);
        Ok(user.known_by("", id.into_iter().collect()))
    }
}

/// Whether a token is for who is meant and of now.
fn current(claims: &Value, options: &OidcOptions, now: i64) -> Result<(), String> {
    let client = (!options.client_id.is_empty()).then_some(&options.client_id);
    let wanted: Vec<&String> = client.into_iter().chain(&options.audiences).collect();
    let is_meant = |audience: &Value| wanted.iter().any(|own| audience == own.as_str());
    let is_for = match &claims["aud"] {
        Value::Array(many) => many.iter().any(is_meant),
        one => is_meant(one),
    };
    if !is_for {
        return Err(match wanted.as_slice() {
            [one] => format!("expected audience {one:?} got {}", claims["aud"]),
            several => format!("expected audience in {several:?} got {}", claims["aud"]),
        });
    }
    if claims["exp"].as_f64().is_none_or(|end| now as f64 >= end) {
        return Err("token is expired".to_owned());
    }
    if claims["nbf"].as_f64().is_some_and(|start| ((now + LEEWAY) as f64) < start) {
        return Err("current time is before the nbf (not before) time".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(change: impl FnOnce(&mut OidcOptions), claims: Value) -> Result<(String, Vec<String>), String> {
        let mut options = OidcOptions::of("https://issuer.io", "us");
        options.ca_pem = Some(String::new());
        change(&mut options);
        let user = Issuer::new(&options).unwrap().user(&claims)?;
        Ok((user.name.to_string(), user.groups.to_vec()))
    }

    #[test]
    fn claims_become_the_user() {
        let all = "system:authenticated".to_owned();
        assert_eq!(
            named(|_| {}, json!({ "sub": "jane" })),
            Ok(("https://issuer.io#jane".to_owned(), vec![all.clone()]))
        );
        let grouped = |options: &mut OidcOptions| {
            options.username_prefix = Some("-".to_owned());
            options.groups_claim = Some("teams".to_owned());
            options.groups_prefix = "oidc:".to_owned();
        };
        assert_eq!(
            named(grouped, json!({ "sub": "jane", "teams": ["a", "b"] })),
            Ok(("jane".to_owned(), vec!["oidc:a".to_owned(), "oidc:b".to_owned(), all.clone()]))
        );
        assert_eq!(
            named(grouped, json!({ "sub": "jane", "teams": "a" })),
            Ok(("jane".to_owned(), vec!["oidc:a".to_owned(), all.clone()]))
        );
        let mail = |options: &mut OidcOptions| options.username_claim = "email".to_owned();
        assert_eq!(named(mail, json!({ "email": "j@x.io" })), Ok(("j@x.io".to_owned(), vec![all])));
        assert_eq!(
            named(mail, json!({ "email": "j@x.io", "email_verified": false })),
            Err("email not verified".to_owned())
        );
        let required = |options: &mut OidcOptions| {
            options.required_claims.insert("hd".to_owned(), "x.io".to_owned());
        };
        assert_eq!(
            named(required, json!({ "sub": "jane", "hd": "y.io" })),
            Err("required claim hd value does not match. Got = y.io, want = x.io".to_owned())
        );
        assert_eq!(
            named(|_| {}, json!({})),
            Err("parse username claims \"sub\": claim not present".to_owned())
        );
    }

    #[test]
    fn tokens_are_for_somebody_and_for_some_time() {
        let options = OidcOptions::of("https://issuer.io", "us");
        let at = |claims: Value| current(&claims, &options, 1000);
        assert_eq!(at(json!({ "aud": ["them", "us"], "exp": 1001 })), Ok(()));
        assert!(at(json!({ "aud": "them", "exp": 1001 })).unwrap_err().starts_with("expected audience"));
        assert_eq!(at(json!({ "aud": "us", "exp": 1000 })), Err("token is expired".to_owned()));
        assert_eq!(at(json!({ "aud": "us" })), Err("token is expired".to_owned()));
        assert!(at(json!({ "aud": "us", "exp": 9000, "nbf": 1301 })).is_err());
    }
}
