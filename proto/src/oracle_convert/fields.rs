//! Fields that many messages have.

use assay_core::bls::Signature;
use assay_core::hash::Hash32;
use bytes::Bytes;

use crate::convert::{ConvertError, hash, malformed, wire_bytes};

pub(super) fn bls(bytes: &[u8], field: &'static str) -> Result<Signature, ConvertError> {
    Signature::from_slice(bytes).map_err(|_| malformed(field))
}

pub(super) fn bls_bytes(signature: &Signature) -> Bytes {
    wire_bytes(&signature.to_compressed())
}

pub(super) fn amount(bytes: &[u8], field: &'static str) -> Result<u128, ConvertError> {
    bytes.try_into().map(u128::from_be_bytes).map_err(|_| malformed(field))
}

pub(super) fn amount_bytes(amount: u128) -> Bytes {
    wire_bytes(&amount.to_be_bytes())
}

pub(super) fn at_most<T>(list: &[T], most: usize, field: &'static str) -> Result<(), ConvertError> {
    match list.len() <= most {
        true => Ok(()),
        false => Err(ConvertError { field, problem: "too long" }),
    }
}

/// `N`-byte values, concatenated.
pub(super) fn concatenated<const N: usize>(bytes: &[u8], most: usize, field: &'static str) -> Result<Vec<[u8; N]>, ConvertError> {
    let (values, rest) = bytes.as_chunks::<N>();
    at_most(values, most, field)?;
    match rest.is_empty() {
        true => Ok(values.to_vec()),
        false => Err(malformed(field)),
    }
}

pub(super) fn hashes(bytes: &[u8], most: usize, field: &'static str) -> Result<Vec<Hash32>, ConvertError> {
    Ok(concatenated::<32>(bytes, most, field)?.into_iter().map(Hash32).collect())
}

pub(super) fn hash_bytes(hashes: &[Hash32]) -> Bytes {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

pub(super) fn all<W, C: TryFrom<W, Error = ConvertError>>(list: Vec<W>, most: usize, field: &'static str) -> Result<Vec<C>, ConvertError> {
    at_most(&list, most, field)?;
    list.into_iter().map(TryInto::try_into).collect()
}

/// Exactly 32 bytes, or none for the zero hash; zero bytes are refused, so that there is one encoding.
pub(super) fn hash_or_zero(bytes: &[u8], field: &'static str) -> Result<Hash32, ConvertError> {
    match bytes.is_empty() {
        true => Ok(Hash32::ZERO),
        false => hash(bytes, field).and_then(|hash| if hash.is_zero() { Err(malformed(field)) } else { Ok(hash) }),
    }
}

pub(super) fn bytes_unless_zero(hash: &Hash32) -> Bytes {
    match hash.is_zero() {
        true => Bytes::new(),
        false => wire_bytes(&hash.0),
    }
}
