//! Signed texts (JWS, compact form): whose they are, and whether one of some keys has signed them.
//!
//! Knows nothing of what the texts say. Follows RFC 7515 to 7518 for ES256/384/512, RS256/384/512 and PS256/384/512.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::Deserialize;
use serde_json::Value;

mod keys;

pub(crate) use keys::KeyError;
pub(crate) use keys::{PublicKey, SigningKey};

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

/// What a token claims, unverified: only to see whose it is. Nothing if it is no such token.
pub(crate) fn peek(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(())?;
    serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
}

/// How a token says that it is signed.
pub(crate) fn algorithm(token: &str) -> Option<String> {
    let header = BASE64.decode(token.split('.').next()?).ok()?;
    Some(serde_json::from_slice::<Header>(&header).ok()?.alg)
}

/// True if one of the keys has signed the token.
pub(crate) fn is_signed(token: &str, keys: &[PublicKey]) -> bool {
    let Some((signed, given)) = token.rsplit_once('.') else { return false };
    let header = signed.split('.').next().and_then(|header| BASE64.decode(header).ok());
    let header = header.and_then(|header| serde_json::from_slice::<Header>(&header).ok());
    let Some((header, given)) = header.zip(BASE64.decode(given).ok()) else { return false };
    let fits = |key: &&PublicKey| header.kid.is_empty() || key.kid.is_empty() || key.kid == header.kid;
    keys.iter().filter(fits).any(|key| key.verifies(&header.alg, signed.as_bytes(), &given))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_signed_text_is_known_by_its_key_only() {
        let key = SigningKey::fresh().unwrap();
        let token = key.sign(&json!({ "sub": "me" })).unwrap();
        assert_eq!(peek(&token).unwrap()["sub"], "me");
        assert!(is_signed(&token, &[key.public().clone()]));
        assert!(is_signed(&token, &[PublicKey::from_jwk(&key.public().jwk()).unwrap()]));
        assert!(!is_signed(&token, &[SigningKey::fresh().unwrap().public().clone()]));
        let (head, tail) = token.split_once('.').unwrap();
        let other = BASE64.encode(json!({ "sub": "you" }).to_string());
        let forged = format!("{head}.{other}.{}", tail.split_once('.').unwrap().1);
        assert!(!is_signed(&forged, &[key.public().clone()]));
    }

    #[test]
    fn unsigned_and_malformed_texts_are_nobodys() {
        let key = [SigningKey::fresh().unwrap().public().clone()];
        let none = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), BASE64.encode("{}"));
        for text in ["", "a", "a.b.c", &none, "....", "é.é.é"] {
            assert!(!is_signed(text, &key), "{text}");
        }
        assert!(peek("a.b.c.d").is_none());
    }
}
