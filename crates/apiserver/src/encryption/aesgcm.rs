//! `aesgcm`: AES in Galois/counter mode; a random nonce stands before the value, the tag behind it.

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, Algorithm, Nonce, RandomizedNonceKey};

use super::providers::{Cipher, Provider};

pub(super) const PROVIDER: Provider = Provider { name: "aesgcm", lengths: &[16, 24, 32], cipher };

const NONCE: usize = 12;

fn cipher(key: &[u8]) -> Option<Box<dyn Cipher>> {
    let algorithm: &Algorithm = match key.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        32 => &AES_256_GCM,
        _ => return None,
    };
    Some(Box::new(RandomizedNonceKey::new(algorithm, key).ok()?))
}

impl Cipher for RandomizedNonceKey {
    fn seal(&self, plain: &[u8], about: &str) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self.seal_in_place_append_tag(Aad::from(about), &mut sealed).ok()?;
        Some([nonce.as_ref().as_slice(), &sealed].concat())
    }

    fn open(&self, sealed: &[u8], about: &str) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.open_in_place(nonce, Aad::from(about), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}
