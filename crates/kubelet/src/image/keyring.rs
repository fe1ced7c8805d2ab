//! Passwords for registries, from `imagePullSecrets`; pure.

use std::collections::BTreeMap;

use base64::Engine;
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;

use super::reference::registry;
use crate::runtime::Auth;

#[derive(Deserialize, Default)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(rename_all = "lowercase")]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
    #[serde(default, rename = "registrytoken")]
    registry_token: String,
}

/// What the secret knows about the registry of `image`, the longest path first.
pub(crate) fn matching(secret: &Secret, image: &str) -> Vec<Auth> {
    let data =
        |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    let auths: BTreeMap<String, Entry> = match (data(".dockerconfigjson"), data(".dockercfg")) {
        (Some(text), _) => serde_json::from_slice::<Config>(text).unwrap_or_default().auths,
        (None, Some(text)) => serde_json::from_slice(text).unwrap_or_default(),
        (None, None) => BTreeMap::new(),
    };
    let host = registry(image);
    let path = if image.starts_with(host) { image.to_owned() } else { format!("{host}/{image}") };
    let mut found: Vec<(usize, Auth)> = auths
        .into_iter()
        .filter_map(|(place, entry)| {
            let place = normal(&place);
            let fits = path == place || path.starts_with(&format!("{place}/"));
            fits.then(|| (place.len(), auth(&place, entry)))
        })
        .collect();
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, auth)| auth).collect()
}

/// `https://index.docker.io/v1/` and `docker.io` mean the same.
fn normal(place: &str) -> String {
    let bare = place.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare);
    match bare.strip_prefix("docker.io") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("index.docker.io{rest}"),
        _ => bare.to_owned(),
    }
}

fn auth(place: &str, entry: Entry) -> Auth {
    let mut auth = Auth {
        username: entry.username,
        password: entry.password,
        auth: String::new(),
        server_address: place.to_owned(),
        identity_token: entry.identity_token,
        registry_token: entry.registry_token,
    };
    let decoded = base64::engine::general_purpose::STANDARD.decode(entry.auth).unwrap_or_default();
    if let Some((user, password)) = String::from_utf8_lossy(&decoded).split_once(':')
        && auth.username.is_empty()
    {
        auth.username = user.to_owned();
        auth.password = password.trim_end_matches('\0').to_owned();
    }
    auth
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn the_most_particular_entry_comes_first() {
        let text = r#"{"auths": {
            "https://registry.example/": {"username": "all", "password": "a"},
            "registry.example/team": {"auth": "dGVhbTpzZWNyZXQ="},
            "other.example": {"username": "no", "password": "no"}}}"#;
        let data = [(".dockerconfigjson".to_owned(), ByteString(text.as_bytes().to_vec()))];
        let secret = Secret { data: Some(data.into()), ..Secret::default() };
        let found = matching(&secret, "registry.example/team/app:1");
        let users: Vec<_> =
            found.iter().map(|auth| (auth.username.as_str(), auth.password.as_str())).collect();
        assert_eq!(users, [("team", "secret"), ("all", "a")]);
    }
}
