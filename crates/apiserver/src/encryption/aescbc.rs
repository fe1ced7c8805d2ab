//! `aescbc`: AES in cipher block chaining with PKCS #7 padding; a random block stands before the value.
//!
//! Nothing is authenticated: who can write the disk can change values, or swap them. Upstream has it for those who have it
//! already, and so have we.

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, AES_CBC_IV_LEN, DecryptionContext, EncryptionContext,
    PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;

use super::providers::{Cipher, Provider};

pub(super) const PROVIDER: Provider = Provider { name: "aescbc", lengths: &[16, 24, 32], cipher };

/// One key, ready for either direction.
struct Chained {
    seals: PaddedBlockEncryptingKey,
    opens: PaddedBlockDecryptingKey,
}

fn cipher(key: &[u8]) -> Option<Box<dyn Cipher>> {
    let algorithm = match key.len() {
        16 => &AES_128,
        24 => &AES_192,
        32 => &AES_256,
        _ => return None,
    };
    let key = || UnboundCipherKey::new(algorithm, key).ok();
    Some(Box::new(Chained {
        seals: PaddedBlockEncryptingKey::cbc_pkcs7(key()?).ok()?,
        opens: PaddedBlockDecryptingKey::cbc_pkcs7(key()?).ok()?,
    }))
}

impl Cipher for Chained {
    fn seal(&self, plain: &[u8], _: &str) -> Option<Vec<u8>> {
        let mut first = [0; AES_CBC_IV_LEN];
        aws_lc_rs::rand::fill(&mut first).ok()?;
        let mut sealed = plain.to_vec();
        let context = EncryptionContext::Iv128(FixedLength::from(first));
        self.seals.less_safe_encrypt(&mut sealed, context).ok()?;
        Some([first.as_slice(), &sealed].concat())
    }

    fn open(&self, sealed: &[u8], _: &str) -> Option<Vec<u8>> {
        let (first, sealed) = sealed.split_first_chunk::<AES_CBC_IV_LEN>()?;
        if sealed.is_empty() || sealed.len() % AES_CBC_IV_LEN != 0 {
            return None;
        }
        let mut plain = sealed.to_vec();
        let context = DecryptionContext::Iv128(FixedLength::from(*first));
        let length = self.opens.decrypt(&mut plain, context).ok()?.len();
        plain.truncate(length);
        // One wrong key in some hundred finds a padding by chance; what is stored is always an object.
        plain.starts_with(b"{").then_some(plain)
    }
}
