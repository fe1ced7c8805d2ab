//! Signs the ConfigMap `cluster-info` with each bootstrap token, so that who has only a token can tell that what it reads
//! there without being known comes from the cluster. Follows upstream's `pkg/controller/bootstrap/bootstrapsigner.go`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use sha2::{Digest, Sha256};
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
    let key = format!("{id}.{secret}");
    let signature = hmac(key.as_bytes(), format!("{header}.{content}").as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(signature))
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let with = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(with(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(with(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_rfc_4231() {
        let hex = |bytes: [u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
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
