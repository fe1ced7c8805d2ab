//! Tokens of service accounts in volumes: asked for once, kept for their life, and asked for again when it nears its end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::Pod;

use super::Inner;

/// What upstream asks for where the pod says nothing.
const LIFE_SECONDS: i64 = 3600;
/// No token is kept longer than this, however long it lives.
const KEPT_AT_MOST: SignedDuration = SignedDuration::from_hours(24);

/// A token that can be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The bearer's text.
    pub text: String,
    /// When it ends.
    pub expires: Timestamp,
    /// When to ask for the next.
    pub refresh_at: Timestamp,
}

/// Why there is no token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// The API server does not issue tokens.
    #[error("the API server does not offer TokenRequest (serviceaccounts/token)")]
    Unsupported,
    /// The API server said no, or could not be asked.
    #[error("{0}")]
    Refused(String),
    /// Its answer has no token in it.
    #[error("the API server answered without a token")]
    Empty,
}

/// Pod, account, audience, wanted life: whatever makes one token different from another.
type Key = (String, String, String, i64);

/// The tokens in use.
#[derive(Default)]
pub(super) struct Tokens {
    kept: Mutex<HashMap<Key, Token>>,
}

impl Tokens {
    /// Forgets the tokens of a pod.
    pub(super) fn forget(&self, pod_uid: &str) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|(uid, ..), _| uid != pod_uid);
    }

    fn get(&self, key: &Key) -> Option<Token> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn keep(&self, key: Key, token: Token) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(key, token);
    }
}

impl Inner {
    /// A token of the pod's account for this audience (the API server if empty) and so many seconds, bound to the pod.
    pub(super) async fn token(
        &self,
        pod: &Arc<Pod>,
        audience: &str,
        seconds: Option<i64>,
    ) -> Result<Token, TokenError> {
        let meta = &pod.metadata;
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        let account = account.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned());
        let uid = meta.uid.clone().unwrap_or_default();
        let seconds = seconds.unwrap_or(LIFE_SECONDS);
        let key = (uid.clone(), account.clone(), audience.to_owned(), seconds);
        let now = self.clock.now();
        if let Some(kept) = self.tokens.get(&key).filter(|kept| now < kept.refresh_at) {
            return Ok(kept);
        }
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(if audience.is_empty() { Vec::new() } else { vec![audience.to_owned()] }),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: meta.name.clone(),
                    uid: Some(uid),
                }),
                expiration_seconds: Some(seconds),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let namespace = meta.namespace.as_deref().unwrap_or("default");
        let status =
            self.objects.token(namespace, &account, request).await?.status.ok_or(TokenError::Empty)?;
        let text = status.token.filter(|text| !text.is_empty()).ok_or(TokenError::Empty)?;
        // Without an end to reckon from, the asked one is assumed.
        let asked = now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now);
        let expires = status.expiration_timestamp.map_or(asked, |time| time.0);
        let token = Token { refresh_at: refresh_at(now, expires), expires, text };
        self.tokens.keep(key, token.clone());
        Ok(token)
    }
}

/// After four fifths of its life, and after a day at the latest.
fn refresh_at(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.duration_since(now);
    let keep = (life / 5 * 4).min(KEPT_AT_MOST).max(SignedDuration::from_secs(10));
    now.checked_add(keep).unwrap_or(expires)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_before_they_end() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let after = |hours: i64| now.checked_add(SignedDuration::from_hours(hours)).unwrap();
        assert_eq!(refresh_at(now, after(1)), "2026-01-01T00:48:00Z".parse().unwrap());
        assert_eq!(refresh_at(now, after(1000)), after(24));
    }
}
