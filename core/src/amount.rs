//! Token amounts as decimal strings: JSON numbers lose digits above 2^53.

use serde::{Deserialize, Deserializer, Serializer};

/// Writes the amount in decimal digits.
pub fn serialize<S: Serializer>(amount: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

/// Reads decimal digits.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| serde::de::Error::custom("expected an amount in the token's smallest unit, as a decimal string"))
}
