//! Walks encoded protobuf without taking memory and limits how many messages it holds.

use std::ops::RangeInclusive;

use super::{MAX_FACT_BYTES, MAX_MESSAGE_BYTES, MIN_FACT_BYTES};
use crate::convert::{ConvertError, malformed};

/// The fields of a message that are messages themselves, and how many bytes each of these may have.
pub(super) struct Shape(&'static [(u64, &'static Shape)], RangeInclusive<usize>);

const fn shape(fields: &'static [(u64, &'static Shape)]) -> Shape {
    Shape(fields, 0..=MAX_MESSAGE_BYTES)
}

const LEAF: Shape = shape(&[]);
const SIGNED_COMMIT: Shape = shape(&[(1, &LEAF)]);
/// A decoded fact takes hundreds of bytes, however few it had on the wire.
const FACT: Shape = Shape(&[(1, &LEAF), (4, &SLICE_EVIDENCE), (5, &COMPACT_EVIDENCE)], MIN_FACT_BYTES..=MAX_FACT_BYTES);
const SLICE_EVIDENCE: Shape = shape(&[(1, &LEAF), (2, &PLACED_CLAIM)]);
const COMPACT_EVIDENCE: Shape = shape(&[(2, &PLACED_CLAIM)]);
const PLACED_CLAIM: Shape = shape(&[(1, &LEAF), (2, &LEAF)]);
const CHALLENGE: Shape = Shape(&[], 96..=512);
pub(super) const REVEAL: Shape = shape(&[(3, &LEAF), (4, &LEAF), (6, &FACT), (7, &CHALLENGE)]);
const BIT_VOTE: Shape = shape(&[(3, &LEAF)]);
const SIGNED_BIT_VOTE: Shape = shape(&[(1, &BIT_VOTE)]);
const PROPOSAL: Shape = shape(&[(4, &SIGNED_COMMIT), (5, &SIGNED_BIT_VOTE)]);
const CERTIFICATE: Shape = shape(&[(1, &LEAF)]);
const TWO_COMMITS: Shape = shape(&[(1, &SIGNED_COMMIT), (2, &SIGNED_COMMIT)]);
const TWO_BIT_VOTES: Shape = shape(&[(1, &SIGNED_BIT_VOTE), (2, &SIGNED_BIT_VOTE)]);
const TWO_REPORTS: Shape = shape(&[(1, &LEAF), (2, &LEAF)]);
const FALSE_OBSERVATION: Shape = shape(&[(1, &SIGNED_COMMIT), (2, &REVEAL)]);
const MISBEHAVIOUR: Shape = shape(&[(1, &TWO_COMMITS), (2, &TWO_BIT_VOTES), (3, &TWO_REPORTS), (4, &FALSE_OBSERVATION)]);
pub(super) const ENVELOPE: Shape = shape(&[
    (1, &SIGNED_COMMIT),
    (2, &REVEAL),
    (3, &SIGNED_BIT_VOTE),
    (4, &PROPOSAL),
    (5, &LEAF),
    (6, &LEAF),
    (7, &CERTIFICATE),
    (8, &MISBEHAVIOUR),
]);
const OWN: Shape = shape(&[(1, &REVEAL), (2, &LEAF)]);
pub(super) const LOG_ENTRY: Shape = shape(&[(1, &ENVELOPE), (2, &OWN)]);

/// Every message that honest nodes send in numbers carries a hash or a signature.
const LEAST_BYTES_EACH: usize = 32;
const FREE: usize = 64;

/// Refuses what is too long, is no protobuf, or holds more messages than its length pays for.
pub(super) fn check(bytes: &[u8], shape: &Shape) -> Result<(), ConvertError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(ConvertError { field: "envelope", problem: "too long" });
    }
    let mut left = FREE + bytes.len() / LEAST_BYTES_EACH;
    walk(bytes, shape, &mut left)
}

fn walk(mut bytes: &[u8], shape: &Shape, left: &mut usize) -> Result<(), ConvertError> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match key & 7 {
            0 => drop(varint(&mut bytes)?),
            1 => drop(take(&mut bytes, 8)?),
            5 => drop(take(&mut bytes, 4)?),
            2 => {
                let length = varint(&mut bytes)?;
                let inner = take(&mut bytes, length)?;
                if let Some((_, shape)) = shape.0.iter().find(|(field, _)| *field == key >> 3) {
                    *left = left.checked_sub(1).ok_or(ConvertError { field: "envelope", problem: "too many messages for its length" })?;
                    if !shape.1.contains(&inner.len()) {
                        return Err(ConvertError { field: "facts", problem: "one of them too short or too long" });
                    }
                    walk(inner, shape, left)?;
                }
            }
            _ => return Err(malformed("envelope")),
        }
    }
    Ok(())
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], ConvertError> {
    let length = usize::try_from(length).map_err(|_| malformed("envelope"))?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(malformed("envelope"))?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, ConvertError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(malformed("envelope"))?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed("envelope"))
}
