//! Signs the ConfigMap `cluster-info` with each bootstrap token, so that who has only a token can tell that what it reads
//! there without being known comes from the cluster. Follows upstream's `pkg/controller/bootstrap/bootstrapsigner.go`.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use skiff_client::Change;
use skiff_client::controller::{Caches, How, Key, Next, Outcome};
use skiff_client::write;

use crate::Settings;
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "bootstrap-signer",
    component: "bootstrap-signer",
    wakes: &[on::<ConfigMap, ClusterInfo>(), on::<Secret, Token>()],
    may: &[("update", "configmaps")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";
const KUBECONFIG: &str = "kubeconfig";
/// What a signature's key begins with; the token's id follows.
const PREFIX: &str = "jws-kubeconfig-";

struct ClusterInfo;

impl How<Settings> for ClusterInfo {
    fn keys(change: &Change, _: &Caches, _: &Settings) -> Vec<Key> {
        let meta = change.latest().meta();
        let ours = &*meta.name == NAME && meta.namespace.as_deref() == Some(NAMESPACE);
        if ours { vec![Key::new(Some(NAMESPACE), NAME)] } else { Vec::new() }
    }
}

struct Token;

impl How<Settings> for Token {
    fn keys(change: &Change, _: &Caches, _: &Settings) -> Vec<Key> {
        let meta = change.latest().meta();
        let ours =
            meta.name.starts_with("bootstrap-token-") && meta.namespace.as_deref() == Some("kube-system");
        if ours { vec![Key::new(Some(NAMESPACE), NAME)] } else { Vec::new() }
    }
}

/// The id and secret of a token that may sign.
fn token(secret: &Secret, now: Timestamp) -> Option<(String, String)> {
    let data = secret.data.as_ref()?;
    let field = |name: &str| String::from_utf8(data.get(name)?.0.clone()).ok();
    let live = match field("expiration") {
        Some(end) => end.parse::<Timestamp>().is_ok_and(|end| end > now),
        None => true,
    };
    let (id, key) = (field("token-id")?, field("token-secret")?);
    let named = secret.metadata.name.as_deref().is_some_and(|name| name == format!("bootstrap-token-{id}"));
    let signs = secret.type_.as_deref() == Some("bootstrap.kubernetes.io/token")
        && field("usage-bootstrap-signing").as_deref() == Some("true");
    (signs && named && live && !key.is_empty()).then_some((id, key))
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(held) = ctx.get::<ConfigMap>(&key) else { return Ok(Next::Rest) };
    let mut data = held.data.clone().unwrap_or_default();
    let Some(kubeconfig) = data.get(KUBECONFIG).cloned() else { return Ok(Next::Rest) };
    data.retain(|name, _| !name.starts_with(PREFIX));
    let now = ctx.now();
    for secret in ctx.within::<Secret>("kube-system") {
        if let Some((id, key)) = token(&secret, now) {
            data.insert(format!("{PREFIX}{id}"), sign(&kubeconfig, &id, &key));
        }
    }
    if held.data.as_ref() == Some(&data) {
        return Ok(Next::Rest);
    }
    match ctx.replace(&ConfigMap { data: Some(data), ..(*held).clone() }).await {
        Err(error) if !write::is_not_found(&error) => Err(error.into()),
        _ => Ok(Next::Rest),
    }
}

/// A JSON web signature whose content is left out: `HEADER..SIGNATURE`.
fn sign(content: &str, id: &str, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{id}"}}"#));
    let content = URL_SAFE_NO_PAD.encode(content);
    let key = hmac::Key::new(hmac::HMAC_SHA256, format!("{id}.{secret}").as_bytes());
    let signature = hmac::sign(&key, format!("{header}.{content}").as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signature was made with Python's `hmac`.
    #[test]
    fn a_signature_is_that_of_a_detached_json_web_signature() {
        assert_eq!(
            sign("payload", "abcdef", "0123456789abcdef"),
            "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..GKzYH-lIhkxkMmZ5FqpmjYVA-CydawjDcJXs_Zr2PSs"
        );
    }

    #[test]
    fn only_live_tokens_for_signing_sign() {
        let secret = |usage: &str, end: &str| -> Secret {
            let mut secret: Secret = serde_json::from_value(serde_json::json!({
                "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
                "type": "bootstrap.kubernetes.io/token"}))
            .unwrap();
            let data = [
                ("token-id", "abcdef"),
                ("token-secret", "0123456789abcdef"),
                ("usage-bootstrap-signing", usage),
                ("expiration", end),
            ];
            let bytes = |text: &str| k8s_openapi::ByteString(text.as_bytes().to_vec());
            secret.data = Some(data.map(|(name, text)| (name.to_owned(), bytes(text))).into());
            secret
        };
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        assert!(token(&secret("true", "2026-11-22T11:00:00Z"), now).is_some());
        assert!(token(&secret("true", "2026-11-22T09:00:00Z"), now).is_none());
        assert!(token(&secret("false", "2026-11-22T11:00:00Z"), now).is_none());
        assert!(sign("x", "abcdef", "y").starts_with("eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9.."));
    }
}
