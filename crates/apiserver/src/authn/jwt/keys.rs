//! The keys of signed texts: one of our own that signs, and those that verify, of ours or of others.
//!
//! Keys come as PEM or as JSON Web Keys. Upstream's names are kept: a key is called by the hash of its public half
//! (`keyIDFromPublicKey` in `pkg/serviceaccount/jwt.go`), RSA keys sign RS256, a curve has one algorithm.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm,
    KeyPair, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the key for tokens: {0}")]
pub struct KeyError(&'static str);

/// A curve and what goes with it.
struct Curve {
    name: &'static str,
    /// Its object identifier.
    oid: &'static str,
    alg: &'static str,
    signs: &'static EcdsaSigningAlgorithm,
    verifies: &'static EcdsaVerificationAlgorithm,
}

static CURVES: [Curve; 3] = [
    Curve {
        name: "P-256",
        oid: "1.2.840.10045.3.1.7",
        alg: "ES256",
        signs: &ECDSA_P256_SHA256_FIXED_SIGNING,
        verifies: &signature::ECDSA_P256_SHA256_FIXED,
    },
    Curve {
        name: "P-384",
        oid: "1.3.132.0.34",
        alg: "ES384",
        signs: &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        verifies: &signature::ECDSA_P384_SHA384_FIXED,
    },
    Curve {
        name: "P-521",
        oid: "1.3.132.0.35",
        alg: "ES512",
        signs: &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        verifies: &signature::ECDSA_P521_SHA512_FIXED,
    },
];

/// How an RSA key's texts may be signed.
static RSA: [(&str, &RsaParameters); 6] = [
    ("RS256", &signature::RSA_PKCS1_2048_8192_SHA256),
    ("RS384", &signature::RSA_PKCS1_2048_8192_SHA384),
    ("RS512", &signature::RSA_PKCS1_2048_8192_SHA512),
    ("PS256", &signature::RSA_PSS_2048_8192_SHA256),
    ("PS384", &signature::RSA_PSS_2048_8192_SHA384),
    ("PS512", &signature::RSA_PSS_2048_8192_SHA512),
];

/// A private key and its public half.
pub(crate) struct SigningKey {
    private: Private,
    public: PublicKey,
}

enum Private {
    Curve(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// A key that verifies.
#[derive(Clone)]
pub(crate) struct PublicKey {
    /// Empty if the key has no name.
    pub(super) kid: String,
    material: Material,
}

#[derive(Clone)]
enum Material {
    /// Curve and point.
    Point(&'static Curve, Vec<u8>),
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
}

impl std::fmt::Debug for Curve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl SigningKey {
    /// The first private key of a PEM text.
    ///
    /// # Errors
    /// If there is none of RSA or of a curve that we know.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let found = blocks(pem).find_map(|block| Private::from_der(&block.contents));
        Self::of(found.ok_or(KeyError("the data does not contain a valid RSA or ECDSA private key"))?)
    }

    /// A key that nobody else has, on P-256.
    ///
    /// # Errors
    /// If the machine has no randomness.
    pub(crate) fn fresh() -> Result<Self, KeyError> {
        let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self::of(Private::Curve(made.map_err(|_| KeyError("none can be made"))?))
    }

    fn of(private: Private) -> Result<Self, KeyError> {
        let public = private.public().ok_or(KeyError("its public half cannot be told"))?;
        Ok(Self { private, public })
    }

    /// The half that verifies.
    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs; nothing if the library fails, which it does for lack of memory or randomness only.
    pub(crate) fn sign(&self, claims: &Value) -> Option<String> {
        let header = json!({ "alg": self.public.algorithm(), "kid": self.public.kid });
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let random = SystemRandom::new();
        let signature = match &self.private {
            Private::Curve(pair) => pair.sign(&random, signed.as_bytes()).ok()?.as_ref().to_vec(),
            Private::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let how = &signature::RSA_PKCS1_SHA256;
                pair.sign(how, &random, signed.as_bytes(), &mut signature).ok()?;
                signature
            }
        };
        Some(format!("{signed}.{}", BASE64.encode(signature)))
    }
}

impl Private {
    /// PKCS #8, PKCS #1 or SEC 1.
    fn from_der(der: &[u8]) -> Option<Self> {
        let rsa = || RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok();
        let curve = |curve: &Curve| EcdsaKeyPair::from_private_key_der(curve.signs, der).ok();
        let found = CURVES.iter().find_map(curve).map(Self::Curve);
        found.or_else(|| Some(Self::Rsa(Box::new(rsa()?))))
    }

    fn public(&self) -> Option<PublicKey> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Curve(pair) => pair.public_key().as_der().ok()?,
            Self::Rsa(pair) => pair.public_key().as_der().ok()?,
        };
        PublicKey::from_info(&SubjectPublicKeyInfo::from_der(der.as_ref()).ok()?.1)
    }
}

/// The blocks of a PEM text that can be read.
fn blocks(pem: &str) -> impl Iterator<Item = Pem> {
    Pem::iter_from_buffer(pem.as_bytes()).filter_map(Result::ok)
}

impl PublicKey {
    /// All keys of a PEM text: public ones, the public halves of private ones and of certificates; others are passed over.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn all_from_pem(pem: &str) -> Result<Vec<Self>, KeyError> {
        let one = |block: Pem| {
            let der = &block.contents;
            if let Ok((_, info)) = SubjectPublicKeyInfo::from_der(der) {
                return Self::from_info(&info);
            }
            if let Ok(certificate) = block.parse_x509() {
                return Self::from_info(certificate.public_key());
            }
            Private::from_der(der)?.public()
        };
        let keys: Vec<Self> = blocks(pem).filter_map(one).collect();
        let none = KeyError("the data does not contain any valid RSA or ECDSA public keys");
        if keys.is_empty() { Err(none) } else { Ok(keys) }
    }

    fn from_info(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let material = match info.parsed().ok()? {
            Parsed::RSA(key) => {
                let trimmed = |number: &[u8]| {
                    let zeros = number.iter().take_while(|byte| **byte == 0).count();
                    number[zeros..].to_vec()
                };
                Material::Rsa(trimmed(key.modulus), trimmed(key.exponent))
            }
            Parsed::EC(point) => {
                let oid = info.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string();
                Material::Point(CURVES.iter().find(|curve| curve.oid == oid)?, point.data().to_vec())
            }
            _ => return None,
        };
        Some(Self { kid: BASE64.encode(Sha256::digest(info.raw)), material })
    }

    /// A key from its JSON form; nothing for kinds of keys that we do not know.
    pub(crate) fn from_jwk(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk[name].as_str().unwrap_or_default();
        let bytes = |name: &str| BASE64.decode(text(name).trim_end_matches('=')).ok();
        let material = match text("kty") {
            "EC" => {
                let curve = CURVES.iter().find(|curve| curve.name == text("crv"))?;
                Material::Point(curve, [vec![4], bytes("x")?, bytes("y")?].concat())
            }
            "RSA" => Material::Rsa(bytes("n")?, bytes("e")?),
            _ => return None,
        };
        Some(Self { kid: text("kid").to_owned(), material })
    }

    /// Its JSON form.
    pub(crate) fn jwk(&self) -> Value {
        let (kid, alg) = (&self.kid, self.algorithm());
        match &self.material {
            Material::Point(curve, point) => {
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                json!({
                    "use": "sig", "kty": "EC", "kid": kid, "crv": curve.name, "alg": alg,
                    "x": BASE64.encode(x), "y": BASE64.encode(y),
                })
            }
            Material::Rsa(n, e) => json!({
                "use": "sig", "kty": "RSA", "kid": kid, "alg": alg, "n": BASE64.encode(n), "e": BASE64.encode(e),
            }),
        }
    }

    /// True if both are the same key.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.kid == other.kid
    }

    /// How service accounts' tokens are signed with this key.
    pub(crate) fn algorithm(&self) -> &'static str {
        match &self.material {
            Material::Point(curve, _) => curve.alg,
            Material::Rsa(..) => "RS256",
        }
    }

    /// True if this key has signed `signed`.
    pub(super) fn verifies(&self, alg: &str, signed: &[u8], given: &[u8]) -> bool {
        match &self.material {
            Material::Point(curve, point) => {
                curve.alg == alg
                    && UnparsedPublicKey::new(curve.verifies, point).verify(signed, given).is_ok()
            }
            Material::Rsa(n, e) => RSA.iter().any(|(name, how)| {
                *name == alg && RsaPublicKeyComponents { n, e }.verify(how, signed, given).is_ok()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::EcPrivateKeyRfc5915Der;

    use super::*;
    use crate::authn::jwt::is_signed;

    fn pem(kind: &str, der: &[u8]) -> String {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
    }

    fn rsa() -> String {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        pem("PRIVATE KEY", AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref())
    }

    fn curve(curve: &'static Curve) -> String {
        let pair = EcdsaKeyPair::generate(curve.signs).unwrap();
        let key = pair.private_key();
        pem("EC PRIVATE KEY", AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&key).unwrap().as_ref())
    }

    #[test]
    fn each_kind_of_key_signs_in_its_way_and_is_published_so() {
        let keys = [(rsa(), "RS256", "RSA"), (curve(&CURVES[0]), "ES256", "EC")];
        let more = [(curve(&CURVES[1]), "ES384", "EC"), (curve(&CURVES[2]), "ES512", "EC")];
        for (text, algorithm, kind) in keys.into_iter().chain(more) {
            let key = SigningKey::from_pem(&text).unwrap();
            let token = key.sign(&json!({ "sub": "me" })).unwrap();
            assert_eq!(crate::authn::jwt::algorithm(&token).as_deref(), Some(algorithm));
            let jwk = key.public().jwk();
            assert_eq!((&jwk["alg"], &jwk["kty"]), (&json!(algorithm), &json!(kind)));
            assert!(is_signed(&token, &PublicKey::all_from_pem(&text).unwrap()), "{algorithm}");
            assert!(is_signed(&token, &[PublicKey::from_jwk(&jwk).unwrap()]), "{algorithm}");
        }
    }

    #[test]
    fn a_key_is_called_by_the_hash_of_its_public_half() {
        // openssl rsa -pubin -outform DER | openssl dgst -sha256 -binary | basenc --base64url
        let keys = PublicKey::all_from_pem(PUBLIC).unwrap();
        assert_eq!(keys[0].kid, "pxp64VJamhh7ekiK2XZNxLbqa1TYU_YLAbgOqtXbAIs");
        let both = [PUBLIC, &rsa(), "-----BEGIN X-----\nAA==\n-----END X-----\n"].concat();
        assert_eq!(PublicKey::all_from_pem(&both).unwrap().len(), 2);
        for none in ["", "nonsense", "-----BEGIN X-----\nAA==\n-----END X-----\n"] {
            assert!(PublicKey::all_from_pem(none).is_err() && SigningKey::from_pem(none).is_err(), "{none}");
        }
        assert!(SigningKey::from_pem(PUBLIC).is_err());
    }

    const PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxE5ebpx6DMkLfHPmd3Id
18VI/pgyNEYJueDpD2SakmxO0/ge7Op30E+pxJmcuN2i7uN7tq7eIgeiYeGNZqJX
bOV7Uma2YOm6kAD7LbsIXNUX0YFVTDMsMSzDOy2rC8kHsbeUCFFRFsurN19NdQBo
JwoqixKpFVvCuwJsOIfUsWMMUNZeUXbwv/SQEdA4d9ZKxy9P6ciQAPiOn+zkxoAQ
Oua1DI9A+769d3ebywNiKdiE2PcBAxYkPpKL3Ix1zB01TG1dkeBC6oBa43Sa6GX6
BaSGup/H2f3Os3aEDxTgIWCTKUdd1rl/pSfvp/GbneyGRbZf+6hvS5gc4nDUXxrn
MwIDAQAB
-----END PUBLIC KEY-----
";
}
