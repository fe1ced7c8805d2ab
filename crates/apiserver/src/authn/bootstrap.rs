//! Bootstrap tokens: what new nodes show before they have an identity of their own; each is a Secret in `kube-system`.
//!
//! Follows upstream's `plugin/pkg/auth/authenticator/token/bootstrap`.

use futures::FutureExt;
use k8s_openapi::api::core::v1::Secret;
use skiff_store::Key;

use super::{Bearer, Identity, Outcome};
use crate::api::Api;
use crate::user::User;

pub(super) const BEARER: Bearer = Bearer {
    name: "bootstrap token",
    check: |api, token, audiences| async move { check(api, token, audiences) }.boxed(),
};

const KIND: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// Id and secret of a token of the right shape.
fn parts(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)).then_some((id, secret))
}

fn check(api: &Api, token: &str, audiences: &[String]) -> Outcome {
    let Some((id, secret)) = parts(token) else { return Outcome::NotMine };
    let Some(stored) = api.store.get(&Key::new("secrets", format!("kube-system/bootstrap-token-{id}")))
    else {
        return Outcome::NotMine;
    };
    let Ok(held) = stored.object().decode::<Secret>() else { return Outcome::NotMine };
    match user(&held, id, secret, api.clock.now()) {
        Some(user) => Outcome::Known(Identity { user, audiences: audiences.to_vec() }),
        None => Outcome::NotMine,
    }
}

fn user(held: &Secret, id: &str, secret: &str, now: jiff::Timestamp) -> Option<User> {
    let datum = |key: &str| {
        let bytes = held.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
        bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    };
    let same = aws_lc_rs::constant_time::verify_slices_are_equal;
    let fits = held.type_.as_deref() == Some(KIND)
        && held.metadata.deletion_timestamp.is_none()
        && same(datum("token-secret").as_bytes(), secret.as_bytes()).is_ok()
        && datum("token-id") == id
        && datum("usage-bootstrap-authentication") == "true";
    let end = datum("expiration");
    let lives = end.is_empty() || end.parse::<jiff::Timestamp>().is_ok_and(|end| now < end);
    if !fits || !lives {
        return None;
    }
    let extra = datum("auth-extra-groups").split(',').filter(|group| !group.is_empty());
    let groups: Vec<&str> = std::iter::once(GROUP).chain(extra).collect();
    // One that reaches beyond its kind makes the whole token void.
    let proper = |group: &&str| *group == GROUP || group.starts_with("system:bootstrappers:");
    groups.iter().all(proper).then(|| User::new(&format!("system:bootstrap:{id}"), groups.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(extra: &str) -> Secret {
        let yaml = format!(
            "{{type: bootstrap.kubernetes.io/token, data: {{token-id: YWJjZGVm, token-secret: MDEyMzQ1Njc4OWFiY2RlZg==, \
             usage-bootstrap-authentication: dHJ1ZQ==, {extra}}}}}"
        );
        serde_json::from_slice(&skiff_api::decode::yaml_to_json(yaml.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_token_is_its_secrets_until_it_expires() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let known = |extra: &str, secret_text: &str| {
            user(&secret(extra), "abcdef", secret_text, now).map(|user| user.groups.join(" "))
        };
        let plain = Some("system:bootstrappers system:authenticated".to_owned());
        assert_eq!(known("", "0123456789abcdef"), plain);
        assert_eq!(known("", "0123456789abcdee"), None);
        // 2025-01-01T00:00:00Z
        assert_eq!(known("expiration: MjAyNS0wMS0wMVQwMDowMDowMFo=", "0123456789abcdef"), None);
        // system:masters
        assert_eq!(known("auth-extra-groups: c3lzdGVtOm1hc3RlcnM=", "0123456789abcdef"), None);
        assert_eq!(parts("ABCDEF.0123456789abcdef"), None);
    }
}
