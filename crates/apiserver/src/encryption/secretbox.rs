//! `secretbox`: XSalsa20 and Poly1305 as NaCl puts them together; a random nonce stands before the value, then the tag.
//!
//! The crate of that name rests at a generation of RustCrypto that we do not have; its two parts do not, and the way they
//! are put together is this file. Table and name are not authenticated: the box has no place for them.

use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};

use super::providers::{Cipher, Provider};

pub(super) const PROVIDER: Provider = Provider { name: "secretbox", lengths: &[KEY], cipher };

const KEY: usize = 32;
const NONCE: usize = 24;
const TAG: usize = 16;

struct Boxes([u8; KEY]);

fn cipher(key: &[u8]) -> Option<Box<dyn Cipher>> {
    Some(Box::new(Boxes(key.try_into().ok()?)))
}

impl Boxes {
    /// The stream that the value is hidden under, and what makes the tag: the stream's first bytes are its key.
    fn under(&self, nonce: &[u8; NONCE]) -> (XSalsa20, Poly1305) {
        let mut stream = XSalsa20::new(&self.0.into(), &(*nonce).into());
        let mut first = [0; 32];
        stream.apply_keystream(&mut first);
        (stream, Poly1305::new(&first.into()))
    }

    fn sealed(&self, nonce: &[u8; NONCE], plain: &[u8]) -> Vec<u8> {
        let (mut stream, tag) = self.under(nonce);
        let mut hidden = plain.to_vec();
        stream.apply_keystream(&mut hidden);
        let tag = tag.compute_unpadded(&hidden);
        [nonce.as_slice(), &tag, &hidden].concat()
    }
}

impl Cipher for Boxes {
    fn seal(&self, plain: &[u8], _: &str) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        Some(self.sealed(&nonce, plain))
    }

    fn open(&self, sealed: &[u8], _: &str) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
        let (tag, hidden) = rest.split_first_chunk::<TAG>()?;
        let (mut stream, made) = self.under(nonce);
        let made = made.compute_unpadded(hidden);
        aws_lc_rs::constant_time::verify_slices_are_equal(&made, tag).ok()?;
        let mut plain = hidden.to_vec();
        stream.apply_keystream(&mut plain);
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<char> = hex.chars().filter(|digit| !digit.is_whitespace()).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// The example of "Cryptography in NaCl", which NaCl's own tests have too.
    #[test]
    fn a_box_is_what_nacl_makes() {
        let key = bytes("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let nonce = bytes("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37").try_into().unwrap();
        let plain = bytes(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f4
             1db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52
             f0a089bc76897040e082f937763848645e0705",
        );
        let expected = bytes(
            "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b
             4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da
             99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5",
        );
        let boxes = Boxes(key.try_into().unwrap());
        let sealed = boxes.sealed(&nonce, &plain);
        assert_eq!(sealed[NONCE..], expected);
        assert_eq!(boxes.open(&sealed, ""), Some(plain));
    }
}
