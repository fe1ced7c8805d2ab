//! Amounts of resources: `100m`, `1.5Gi`, `2e3`.
//!
//! Follows upstream's `k8s.io/apimachinery/pkg/api/resource`: exact to a billionth (finer amounts are rounded up), at
//! most 2^63-1, and printed in canonical form, in the style (decimal, binary, exponent) it was written in. Values are
//! held as whole billionths in an `i128`, so that sums and comparisons are exact and plain.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

const NANO: i128 = 1_000_000_000;
const MAX: i128 = i64::MAX as i128 * NANO;

/// Why a text is not a quantity; the texts are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number followed by a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number is not one.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// The suffix is unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// How a quantity is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Style {
    #[default]
    Decimal,
    Binary,
    Exponent,
}

/// An amount; compares by value, whatever the style.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    style: Style,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, style: Style::Decimal };

    /// Parses a quantity as it stands in objects.
    ///
    /// # Errors
    /// If it is not one.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        if number.is_empty() || !suffix_shape(suffix) {
            return Err(QuantityError::Format);
        }
        let (scale, style) = suffix_scale(suffix).ok_or(QuantityError::Suffix)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(QuantityError::Number);
        }
        let magnitude = scaled(whole, fraction, scale);
        let nanos = if negative { -magnitude } else { magnitude };
        // A binary amount below one would print as a long binary fraction.
        let style = if style == Style::Binary && nanos.abs() < NANO { Style::Decimal } else { style };
        Ok(Self { nanos, style })
    }

    /// `value` units.
    pub fn units(value: i64) -> Self {
        Self { nanos: i128::from(value) * NANO, style: Style::Decimal }
    }

    /// `value` thousandths, as CPU is counted.
    pub fn millis(value: i64) -> Self {
        Self { nanos: i128::from(value) * (NANO / 1000), style: Style::Decimal }
    }

    /// `value` bytes, printed with binary suffixes.
    pub fn bytes(value: i64) -> Self {
        Self { nanos: i128::from(value) * NANO, style: Style::Binary }
    }

    /// Whole units, rounded away from zero.
    pub fn value(self) -> i64 {
        saturate(round_up(self.nanos, NANO))
    }

    /// Thousandths, rounded away from zero.
    pub fn milli_value(self) -> i64 {
        saturate(round_up(self.nanos, NANO / 1000))
    }

    /// The amount in units, as near as a float comes; for ratios.
    #[expect(clippy::cast_precision_loss, reason = "ratios are shown with six digits")]
    pub fn as_float(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// True for nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// True below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// True if there is a fraction of a unit.
    pub fn is_fractional(self) -> bool {
        self.nanos % NANO != 0
    }

    /// The least amount that is a whole number of steps above `from` and not below this one, in the style of the step.
    #[must_use]
    pub fn stepped(self, from: Self, step: Self) -> Self {
        if step.nanos <= 0 {
            return self;
        }
        let steps = round_up((self.nanos - from.nanos).max(0), step.nanos);
        Self { nanos: from.nanos + steps * step.nanos, style: step.style }
    }

    /// The canonical text for an object.
    pub fn to_text(self) -> Text {
        Text(self.to_string())
    }
}

impl TryFrom<&Text> for Quantity {
    type Error = QuantityError;

    fn try_from(text: &Text) -> Result<Self, QuantityError> {
        Self::parse(&text.0)
    }
}

fn suffix_shape(suffix: &str) -> bool {
    let rest = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    rest.bytes().all(|b| b.is_ascii_digit())
}

/// What a suffix multiplies by.
#[derive(Clone, Copy)]
enum Scale {
    Ten(i32),
    Two(u32),
}

fn suffix_scale(suffix: &str) -> Option<(Scale, Style)> {
    let decimal = |power| Some((Scale::Ten(power), Style::Decimal));
    let binary = |power| Some((Scale::Two(power), Style::Binary));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let power = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            Some((Scale::Ten(power), Style::Exponent))
        }
    }
}

/// The billionths of `whole.fraction` times `scale`: rounded up, and held at the maximum.
fn scaled(whole: &str, fraction: &str, scale: Scale) -> i128 {
    let digits: String = whole.chars().chain(fraction.chars()).collect();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return 0;
    }
    let (power, factor) = match scale {
        Scale::Ten(power) => (i64::from(power), 1_i128),
        Scale::Two(power) => (0, 1_i128 << power),
    };
    // The value is `digits * factor * 10^exponent` billionths.
    let fraction = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let exponent = power.saturating_add(9).saturating_sub(fraction);
    let mut value: i128 = 0;
    let mut lost = false;
    let mut dropped = 0_i64;
    for digit in digits.bytes().map(|b| i128::from(b - b'0')) {
        // Twenty-eight digits are more than the maximum needs; what follows only decides the rounding.
        match value
            .checked_mul(10)
            .and_then(|v| v.checked_add(digit))
            .filter(|v| v.checked_mul(factor).is_some())
        {
            Some(next) if dropped == 0 => value = next,
            _ => {
                dropped += 1;
                lost |= digit != 0;
            }
        }
    }
    value *= factor;
    let exponent = exponent.saturating_add(dropped);
    if exponent >= 0 {
        let scaled = u32::try_from(exponent)
            .ok()
            .and_then(|e| 10_i128.checked_pow(e))
            .and_then(|p| value.checked_mul(p));
        return scaled.map_or(MAX, |v| (v + i128::from(lost)).min(MAX));
    }
    let Some(divisor) = u32::try_from(-exponent).ok().and_then(|e| 10_i128.checked_pow(e)) else {
        return 1;
    };
    (value / divisor + i128::from(lost || value % divisor != 0)).min(MAX)
}

fn round_up(nanos: i128, unit: i128) -> i128 {
    let whole = nanos / unit;
    match nanos % unit {
        0 => whole,
        rest => whole + rest.signum(),
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        if self.style == Style::Binary && self.nanos % NANO == 0 && self.nanos.abs() >= 1024 * NANO {
            let mut value = self.nanos / NANO;
            let mut power = 0;
            while value % 1024 == 0 && power < 6 {
                value /= 1024;
                power += 1;
            }
            return write!(f, "{value}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]);
        }
        let (mut value, mut power) = (self.nanos, 0_usize);
        while value % 1000 == 0 && power < 9 {
            value /= 1000;
            power += 1;
        }
        if self.style == Style::Exponent {
            return match power {
                3 => write!(f, "{value}"),
                // Index 3 is 10^0.
                power => {
                    write!(f, "{value}e{}", ["-9", "-6", "-3", "0", "3", "6", "9", "12", "15", "18"][power])
                }
            };
        }
        write!(f, "{value}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][power])
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// The sum keeps the style of the left side, or of the right if the left is nothing.
impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let style = if self.nanos == 0 { other.style } else { self.style };
        Self { nanos: self.nanos.saturating_add(other.nanos), style }
    }
}
impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let style = if self.nanos == 0 { other.style } else { self.style };
        Self { nanos: self.nanos.saturating_sub(other.nanos), style }
    }
}
impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}
impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_print_in_canonical_form() {
        for (text, canonical) in [
            ("0", "0"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1.5Gi", "1536Mi"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("0.5Ki", "512"),
            ("0.5Mi", "512Ki"),
            ("1000000", "1M"),
            ("12e6", "12e6"),
            ("1e3", "1e3"),
            ("100e-3", "100e-3"),
            ("1E", "1E"),
            ("1E3", "1e3"),
            ("100n", "100n"),
            ("0.1n", "1n"),
            ("-1.5", "-1500m"),
            ("+5", "5"),
            (".5", "500m"),
            ("5.", "5"),
            ("9999999999999999999", "9223372036854775807"),
            ("1e400", "9223372036854775807e0"),
            ("0.1Ki", "102400m"),
            ("123456789012345678901234567890", "9223372036854775807"),
        ] {
            let quantity = Quantity::parse(text).unwrap();
            let canonical = canonical.trim_end_matches("e0");
            assert_eq!(quantity.to_string(), canonical, "{text}");
            assert_eq!(Quantity::parse(canonical).unwrap(), quantity, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for (text, error) in [
            ("", QuantityError::Format),
            ("a", QuantityError::Format),
            ("1 ", QuantityError::Format),
            ("1Gb", QuantityError::Format),
            ("1.2.3", QuantityError::Number),
            ("1ki", QuantityError::Suffix),
            ("1e", QuantityError::Suffix),
            ("1mm", QuantityError::Suffix),
        ] {
            assert_eq!(Quantity::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn values_round_up_and_sums_are_exact() {
        let tenth = Quantity::parse("100m").unwrap();
        assert_eq!((tenth.value(), tenth.milli_value()), (1, 100));
        assert_eq!([tenth; 10].into_iter().sum::<Quantity>(), Quantity::units(1));
        assert_eq!(Quantity::parse("100u").unwrap().milli_value(), 1);
        let sum = Quantity::bytes(512 << 20) + Quantity::bytes(512 << 20);
        assert_eq!(sum.to_string(), "1Gi");
        assert!(Quantity::parse("1Gi").unwrap() > Quantity::parse("1G").unwrap());
    }

    proptest! {
        #[test]
        fn canonical_text_is_stable(text in "[+-]?[0-9]{1,12}(\\.[0-9]{0,4})?(|n|u|m|k|M|G|Ki|Mi|Gi|e[0-9])") {
            let quantity = Quantity::parse(&text).unwrap();
            let again = Quantity::parse(&quantity.to_string()).unwrap();
            prop_assert_eq!(again, quantity);
            prop_assert_eq!(again.to_string(), quantity.to_string());
        }

        #[test]
        fn order_and_sum_agree_with_integers(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            let (x, y) = (Quantity::millis(a), Quantity::millis(b));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!((x + y).milli_value(), a + b);
            prop_assert_eq!((x - y).milli_value(), a - b);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-9.eEimkKMG+-]{0,40}") {
            let _ = Quantity::parse(&text);
        }
    }
}
