//! Token amounts as people read and write them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Of the token, and of ether.
pub const DECIMALS: u8 = 18;
const DIGITS: usize = DECIMALS as usize;
const ONE: u128 = 10_u128.pow(DECIMALS as u32);

/// An amount in the smallest unit (or wei), written as a decimal number of whole ones: exact both ways.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Tokens(pub u128);

/// Why a text is no amount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AmountError {
    /// Signs, exponents, separators, nothing.
    #[error("expected a decimal number of tokens, like 12.5")]
    NotDecimal,
    /// Smaller than the smallest unit.
    #[error("a token has {DECIMALS} decimals, not more")]
    TooFine,
    /// More than 2^128 units.
    #[error("more tokens than there can be")]
    TooLarge,
}

impl FromStr for Tokens {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) {
            return Err(AmountError::NotDecimal);
        }
        if fraction.len() > DIGITS {
            return Err(AmountError::TooFine);
        }
        let units = |digits: &str| digits.parse::<u128>().map_err(|_| AmountError::TooLarge);
        let whole = units(whole)?.checked_mul(ONE).ok_or(AmountError::TooLarge)?;
        let fraction = units(&format!("{fraction:0<DIGITS$}"))?;
        whole.checked_add(fraction).map(Self).ok_or(AmountError::TooLarge)
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:0DIGITS$}", self.0 % ONE);
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{}", self.0 / ONE),
            fraction => write!(f, "{}.{fraction}", self.0 / ONE),
        }
    }
}

impl Serialize for Tokens {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_both_ways() {
        let cases = [
            ("0", 0),
            ("12.5", 12_500_000_000_000_000_000),
            ("0.000000000000000001", 1),
            ("340282366920938463463.374607431768211455", u128::MAX),
        ];
        for (text, units) in cases {
            assert_eq!(text.parse(), Ok(Tokens(units)), "{text}");
            assert_eq!(Tokens(units).to_string(), text);
        }
        assert_eq!("007.50".parse(), Ok(Tokens(7_500_000_000_000_000_000)));
    }

    // Defence: nothing is rounded, cut or guessed. Read leniently, "1e18" or "0.0000000000000000019" becomes another amount than was
    // written, and this turns red.
    #[test]
    fn what_is_no_exact_amount_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e18", "1,5", "1_000", " 1", "0x10", "1.2.3"] {
            assert_eq!(text.parse::<Tokens>(), Err(AmountError::NotDecimal), "{text:?}");
        }
        assert_eq!("0.0000000000000000001".parse::<Tokens>(), Err(AmountError::TooFine));
        for text in ["340282366920938463463.374607431768211456", "99999999999999999999999999999999999999999"] {
            assert_eq!(text.parse::<Tokens>(), Err(AmountError::TooLarge), "{text}");
        }
    }
}
