//! Resource quantities: `500m`, `1Gi`, `2e3` (V-19).
//!
//! A quantity is an exact number of nano-units with the notation it was written in. Parsing rounds away from zero to
//! nano-units and caps the magnitude at 2^63-1, printing gives the canonical form, both as upstream does.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANOS_PER_UNIT: i128 = 1_000_000_000;
const NANOS_PER_MILLI: i128 = 1_000_000;
/// The largest magnitude a quantity can hold: 2^63-1 units.
const NANOS_MAX: i128 = (i64::MAX as i128) * NANOS_PER_UNIT;
/// Digits of a mantissa that are kept exactly; all further ones only decide the rounding.
const DIGITS_MAX: usize = 37;

/// The family of suffixes in which a quantity is printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Notation {
    /// `n`, `u`, `m`, none, `k`, `M`, `G`, `T`, `P`, `E`.
    #[default]
    DecimalSi,
    /// `Ki`, `Mi`, `Gi`, `Ti`, `Pi`, `Ei`.
    BinarySi,
    /// `e3`, `E-6`.
    DecimalExponent,
}

/// An amount of a resource, exact to a billionth of its unit.
///
/// Two quantities are equal if their amounts are, whatever their notation: `1Gi` = `1024Mi`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    notation: Notation,
}

/// Why a text is not a quantity; the texts are upstream's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuantityError {
    /// The text does not have the shape number-suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number is not one.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The letters are no known suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// How much one unit of a suffix is.
enum Scale {
    Decimal(i64),
    Binary(u32),
}

impl Quantity {
    /// Nothing at all.
    pub const ZERO: Self = Self { nanos: 0, notation: Notation::DecimalSi };

    /// Whole units, printed with decimal suffixes.
    pub const fn from_units(units: i64) -> Self {
        Self { nanos: units as i128 * NANOS_PER_UNIT, notation: Notation::DecimalSi }
    }

    /// Thousandths of a unit, printed with decimal suffixes: millicores.
    pub const fn from_millis(millis: i64) -> Self {
        Self { nanos: millis as i128 * NANOS_PER_MILLI, notation: Notation::DecimalSi }
    }

    /// Whole units, printed with binary suffixes: bytes.
    pub const fn from_bytes(bytes: i64) -> Self {
        Self { nanos: bytes as i128 * NANOS_PER_UNIT, notation: Notation::BinarySi }
    }

    /// Reads a quantity.
    ///
    /// # Errors
    /// [`QuantityError`] with upstream's text.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let parts = split(text)?;
        let (scale, notation) = interpret_suffix(parts.suffix).ok_or(QuantityError::Suffix)?;
        let (mut mantissa, mut exponent, inexact) = mantissa_of(parts.whole, parts.fraction);
        if let Scale::Binary(bits) = scale {
            mantissa = mantissa.saturating_mul(1_i128 << bits);
        } else if let Scale::Decimal(power) = scale {
            exponent = exponent.saturating_add(power);
        }
        let magnitude = scale_up(mantissa, exponent.saturating_add(9), inexact).min(NANOS_MAX);
        Ok(Self { nanos: if parts.negative { -magnitude } else { magnitude }, notation })
    }

    /// The notation in which it prints.
    pub fn notation(&self) -> Notation {
        self.notation
    }

    /// Whole units, rounded away from zero: bytes, or cores.
    pub fn units(&self) -> i64 {
        i64::try_from(divide_away_from_zero(self.nanos, NANOS_PER_UNIT)).unwrap_or(i64::MAX)
    }

    /// Thousandths of a unit, rounded away from zero and capped: millicores.
    pub fn millis(&self) -> i64 {
        let millis = divide_away_from_zero(self.nanos, NANOS_PER_MILLI);
        millis.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// The same amount rounded away from zero to thousandths, as resource lists are (V-19).
    #[must_use]
    pub fn rounded_to_millis(self) -> Self {
        Self { nanos: divide_away_from_zero(self.nanos, NANOS_PER_MILLI) * NANOS_PER_MILLI, ..self }
    }

    /// True for a whole number of units.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANOS_PER_UNIT == 0
    }

    /// True for nothing at all.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// True for less than nothing.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// True for more than nothing.
    pub fn is_positive(&self) -> bool {
        self.nanos > 0
    }

    fn with(self, nanos: i128, other: Self) -> Self {
        let notation = if self.is_zero() { other.notation } else { self.notation };
        Self { nanos: nanos.clamp(-NANOS_MAX, NANOS_MAX), notation }
    }
}

struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    let (negative, unsigned) = match text.as_bytes().first() {
        None => return Err(QuantityError::Format),
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        Some(_) => (false, text),
    };
    let whole_len = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = unsigned.split_at(whole_len);
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count()),
        None => ("", rest),
    };
    let letters = suffix.bytes().take_while(|b| b"eEinumkKMGTP".contains(b)).count();
    let exponent = suffix[letters..].strip_prefix(['+', '-']).unwrap_or(&suffix[letters..]);
    if !exponent.bytes().all(|b| b.is_ascii_digit()) {
        return Err(QuantityError::Format);
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err(if suffix.is_empty() { QuantityError::Format } else { QuantityError::Numeric });
    }
    Ok(Parts { negative, whole, fraction, suffix })
}

fn interpret_suffix(suffix: &str) -> Option<(Scale, Notation)> {
    let decimal = |power| Some((Scale::Decimal(power), Notation::DecimalSi));
    let binary = |bits| Some((Scale::Binary(bits), Notation::BinarySi));
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
        other => {
            let power = other.strip_prefix(['e', 'E'])?.parse::<i64>().ok()?;
            Some((Scale::Decimal(power), Notation::DecimalExponent))
        }
    }
}

/// The digits as an integer, the power of ten it is to be multiplied with, and whether digits that count were cut off.
fn mantissa_of(whole: &str, fraction: &str) -> (i128, i64, bool) {
    let mut mantissa = 0_i128;
    let mut exponent = 0_i64;
    let mut inexact = false;
    let mut kept = 0;
    let digits = whole.bytes().map(|b| (b, false)).chain(fraction.bytes().map(|b| (b, true)));
    for (byte, in_fraction) in digits {
        if kept < DIGITS_MAX {
            mantissa = mantissa * 10 + i128::from(byte - b'0');
            kept += usize::from(mantissa != 0);
            exponent -= i64::from(in_fraction);
        } else {
            inexact |= byte != b'0';
            exponent += i64::from(!in_fraction);
        }
    }
    (mantissa, exponent, inexact)
}

/// `mantissa * 10^exponent`, rounded up, saturating.
fn scale_up(mantissa: i128, exponent: i64, inexact: bool) -> i128 {
    if mantissa == 0 {
        return 0;
    }
    match u32::try_from(exponent.unsigned_abs()).ok().and_then(|power| 10_i128.checked_pow(power)) {
        Some(factor) if exponent >= 0 => mantissa.saturating_mul(factor),
        Some(divisor) => mantissa / divisor + i128::from(mantissa % divisor != 0 || inexact),
        None if exponent >= 0 => i128::MAX,
        None => 1,
    }
}

fn divide_away_from_zero(value: i128, divisor: i128) -> i128 {
    value / divisor + if value % divisor == 0 { 0 } else { value.signum() }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that needs none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let at_least_a_kibi = self.nanos.abs() >= 1024 * NANOS_PER_UNIT;
        if self.notation == Notation::BinarySi && at_least_a_kibi && self.is_whole() {
            let (mut number, mut power) = (self.nanos / NANOS_PER_UNIT, 0);
            while number % 1024 == 0 {
                number /= 1024;
                power += 1;
            }
            return write!(f, "{number}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]);
        }
        let (mut number, mut power) = (self.nanos, 0_usize);
        while number % 1000 == 0 {
            number /= 1000;
            power += 1;
        }
        if self.notation == Notation::DecimalExponent {
            let exponent = power as i64 * 3 - 9;
            return if exponent == 0 { write!(f, "{number}") } else { write!(f, "{number}e{exponent}") };
        }
        write!(f, "{number}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][power])
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

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with(self.nanos + other.nanos, other)
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.with(self.nanos - other.nanos, other)
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

impl Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self { nanos: -self.nanos, ..self }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    /// From a string or a bare number, as the wire allows.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text,
            serde_json::Value::Number(number) => number.to_string(),
            _ => return Err(serde::de::Error::custom(QuantityError::Format)),
        };
        Self::parse(text.trim()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Quantity::parse(text).map_or_else(|error| format!("error: {error}"), |quantity| quantity.to_string())
    }

    #[test]
    fn prints_the_canonical_form() {
        for (input, expected) in [
            ("0", "0"),
            ("0Gi", "0"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1023Mi", "1023Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("1Ki", "1Ki"),
            ("1025", "1025"),
            ("1000", "1k"),
            ("100k", "100k"),
            ("1500k", "1500k"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e2", "1200"),
            ("1E", "1E"),
            ("1Ei", "1Ei"),
            ("-1.5", "-1500m"),
            ("+1", "1"),
            (".5", "500m"),
            ("1.", "1"),
            ("0.1Ki", "102400m"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("-0.1n", "-1n"),
            ("100000000000000000000000", "9223372036854775807"),
            ("1e9999", "9223372036854775807"),
            ("1e-9999", "1e-9"),
            ("1.0000000000000000000000000000000000000000000000001", "1000000001n"),
        ] {
            assert_eq!(canonical(input), expected, "{input}");
        }
    }

    #[test]
    fn refuses_what_upstream_refuses_with_its_texts() {
        for (input, expected) in [
            ("", QuantityError::Format),
            ("1Gb", QuantityError::Format),
            ("1GiB", QuantityError::Format),
            ("abc", QuantityError::Format),
            ("1 Gi", QuantityError::Format),
            ("1,5", QuantityError::Format),
            ("1.2.3", QuantityError::Format),
            ("-", QuantityError::Format),
            ("Mi", QuantityError::Numeric),
            ("1kk", QuantityError::Suffix),
            ("1K", QuantityError::Suffix),
            ("1mi", QuantityError::Suffix),
            ("1e", QuantityError::Suffix),
        ] {
            assert_eq!(Quantity::parse(input), Err(expected), "{input}");
        }
    }

    #[test]
    fn compares_and_counts_by_amount_and_not_by_notation() {
        let parse = |text| Quantity::parse(text).expect("a quantity");
        assert_eq!(parse("1Gi"), parse("1024Mi"));
        assert!(parse("1G") < parse("1Gi"));
        assert_eq!((parse("1Gi") + parse("1Gi")).to_string(), "2Gi");
        assert_eq!((parse("0") + parse("1Gi")).to_string(), "1Gi");
        assert_eq!((parse("1") - parse("250m")).to_string(), "750m");
        assert_eq!(parse("100m").units(), 1);
        assert_eq!(parse("1.0001").millis(), 1001);
        assert_eq!(parse("1u").rounded_to_millis().to_string(), "1m");
    }

    #[test]
    fn printing_and_reading_again_changes_nothing() {
        for mantissa in [1_i64, 7, 10, 999, 1000, 1001, 1023, 1024, 1025, 1_048_576, 123_456_789] {
            for suffix in ["n", "u", "m", "", "k", "M", "Ki", "Mi", "Gi", "e-3", "e0", "e6"] {
                let quantity = Quantity::parse(&format!("{mantissa}{suffix}")).expect("a quantity");
                let printed = quantity.to_string();
                let again = Quantity::parse(&printed).expect("a quantity");
                assert_eq!((again, again.to_string()), (quantity, printed.clone()), "{mantissa}{suffix} as {printed}");
            }
        }
    }
}
