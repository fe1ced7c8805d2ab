//! Floating-point numbers of 16 bits (IEEE 754's binary16), which the shortest form of many numbers is.
//!
//! The crate for them brings three more, and a macro; this is all that CBOR needs of it.

/// Of the exponent that stands for what is no number.
const SPECIAL: u16 = 31;

/// What the bits stand for.
pub(super) fn value(bits: u16) -> f64 {
    let (exponent, fraction) = (bits >> 10 & 31, f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction / f64::from(1 << 24),
        SPECIAL if fraction == 0.0 => f64::INFINITY,
        SPECIAL => f64::NAN,
        // Powers of two, all of them exact.
        _ => (1024.0 + fraction) * f64::from(1_u32 << (exponent - 1)) / f64::from(1 << 24),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// The bits of a number that 16 of them hold exactly. What is smaller than they hold in full is left to longer forms.
pub(super) fn bits(number: f32) -> Option<u16> {
    let whole = number.to_bits();
    let sign = u16::try_from(whole >> 31).ok()? << 15;
    if number == 0.0 {
        return Some(sign);
    }
    // Both exponents are counted from below.
    let exponent = u16::try_from((whole >> 23 & 255).checked_sub(127 - 15)?).ok()?;
    let fraction = whole & 0x7f_ffff;
    let fits = (1..SPECIAL).contains(&exponent) && fraction.trailing_zeros() >= 13;
    fits.then_some(sign | exponent << 10 | u16::try_from(fraction >> 13).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_its_bits_and_back() {
        for pattern in 0..=u16::MAX {
            let number = value(pattern);
            let exponent = pattern >> 10 & 31;
            if exponent == SPECIAL {
                assert!(!number.is_finite());
                continue;
            }
            #[expect(clippy::cast_possible_truncation, reason = "it is exact")]
            let single = number as f32;
            assert_eq!(f64::from(single).to_bits(), number.to_bits());
            let is_small = exponent == 0 && pattern & 1023 != 0;
            assert_eq!(bits(single), (!is_small).then_some(pattern), "{number}");
        }
        assert_eq!((value(0x3c00), value(0x7bff), value(0x0001)), (1.0, 65504.0, 2.0_f64.powi(-24)));
        assert_eq!((bits(1.1), bits(65505.0), bits(1e9), bits(f32::INFINITY)), (None, None, None, None));
    }
}
