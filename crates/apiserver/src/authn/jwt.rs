//! Signed texts (JWS, compact form): signing with a P-256 key of our own, verifying with that key or with those of others.
//!
//! Knows nothing of what the texts say. Follows RFC 7515 to 7518 for ES256/384 and RS256/384/512 and PS256/384/512.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What precedes the 65 bytes of a P-256 point in a SubjectPublicKeyInfo.
const SPKI_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the key for tokens is no P-256 key in PKCS #8: {0}")]
pub struct KeyError(String);

/// A private key and what others call it.
pub(crate) struct SigningKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

/// A key that verifies.
#[derive(Clone)]
pub(crate) struct PublicKey {
    /// Empty if the key has no name.
    kid: String,
    material: Material,
}

#[derive(Clone)]
enum Material {
    /// Curve and point.
    Point(&'static str, Vec<u8>),
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

impl SigningKey {
    /// A key from its PEM.
    ///
    /// # Errors
    /// If it is none of P-256.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| KeyError(e.to_string()))?;
        Self::from_pkcs8(der.secret_pkcs8_der())
    }

    /// A key that nobody else has.
    ///
    /// # Errors
    /// If the machine has no randomness.
    pub(crate) fn fresh() -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|e| KeyError(e.to_string()))?;
        Self::from_pkcs8(document.as_ref())
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map_err(|e| KeyError(e.to_string()))?;
        let point = pair.public_key().as_ref().to_vec();
        // Upstream names a key by the hash of its public half.
        let kid = BASE64.encode(Sha256::digest([&SPKI_HEAD[..], &point].concat()));
        let public = PublicKey { kid, material: Material::Point("P-256", point) };
        Ok(Self { pair, public })
    }

    /// The half that verifies.
    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs; nothing if the library fails, which it does for lack of memory or randomness only.
    pub(crate) fn sign(&self, claims: &Value) -> Option<String> {
        let header = json!({ "alg": "ES256", "kid": self.public.kid });
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", BASE64.encode(signature)))
    }

    /// The public half as a JSON Web Key.
    pub(crate) fn jwk(&self) -> Value {
        let Material::Point(curve, point) = &self.public.material else { return Value::Null };
        let (x, y) = point[1..].split_at((point.len() - 1) / 2);
        json!({
            "use": "sig", "kty": "EC", "kid": self.public.kid, "crv": curve, "alg": "ES256",
            "x": BASE64.encode(x), "y": BASE64.encode(y),
        })
    }
}

impl PublicKey {
    /// A key from its JSON form; nothing for kinds of keys that we do not know.
    pub(crate) fn from_jwk(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk[name].as_str().unwrap_or_default();
        let bytes = |name: &str| BASE64.decode(text(name).trim_end_matches('=')).ok();
        let material = match text("kty") {
            "EC" => {
                let curve = ["P-256", "P-384"].into_iter().find(|curve| *curve == text("crv"))?;
                Material::Point(curve, [vec![4], bytes("x")?, bytes("y")?].concat())
            }
            "RSA" => Material::Rsa(bytes("n")?, bytes("e")?),
            _ => return None,
        };
        Some(Self { kid: text("kid").to_owned(), material })
    }

    fn verifies(&self, alg: &str, signed: &[u8], given: &[u8]) -> bool {
        match (&self.material, alg) {
            (Material::Point("P-256", point), "ES256") => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(signed, given)
                    .is_ok()
            }
            (Material::Point("P-384", point), "ES384") => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                    .verify(signed, given)
                    .is_ok()
            }
            (Material::Rsa(n, e), alg) => {
                let how = match alg {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(how, signed, given).is_ok()
            }
            _ => false,
        }
    }
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
    use super::*;

    #[test]
    fn a_signed_text_is_known_by_its_key_only() {
        let key = SigningKey::fresh().unwrap();
        let token = key.sign(&json!({ "sub": "me" })).unwrap();
        assert_eq!(peek(&token).unwrap()["sub"], "me");
        assert!(is_signed(&token, &[key.public().clone()]));
        assert!(is_signed(&token, &[PublicKey::from_jwk(&key.jwk()).unwrap()]));
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
