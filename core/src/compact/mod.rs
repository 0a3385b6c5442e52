//! Compact proofs: 128 bytes show that a provider holds any number of sampled blocks. `docs/protocol.md`, "Compact proofs".
//!
//! Shacham-Waters tags over blocks that are read as polynomials, opened at one point as KZG does. The owner makes a tag of 48 bytes for
//! every block ([`TagSecret`]), the provider checks all tags once ([`TagCheck`]) and answers challenges ([`Prover`]), and whoever has the
//! 192-byte [`TagKey`] verifies ([`verify`]) without a byte of the data.
//!
//! Whoever knows the tag secret can forge proofs. So a compact proof says nothing to somebody who does not trust the owner.

mod field;
mod fold;
mod ingest;
mod key;
mod powers;
mod prove;
mod terms;
mod verify;

pub use ingest::TagCheck;
pub use key::{Evaluation, Name, TagKey, TagSecret};
pub use powers::Powers;
pub use prove::{Proof, Prover};
pub use terms::{Item, Terms};
pub use verify::{statement, verify, verify_batch};

use crate::bls::BlsError;
use crate::challenge::Stream;
use crate::curve::{Affine, Point};
use crate::replica::BLOCK_BYTES;

/// Scalars of a block.
pub const SCALARS: usize = 4096;
/// Bytes of a scalar, little-endian.
pub const SCALAR_BYTES: usize = 31;
/// Bytes of a block's tag: a compressed point.
pub const TAG_BYTES: usize = 48;
/// Bytes of a proof, over however many blocks.
pub const PROOF_BYTES: usize = 128;
/// Bytes of a tag key: two compressed points.
pub const TAG_KEY_BYTES: usize = 192;
/// Bytes of a key's powers: 4,096 compressed points.
pub const POWERS_BYTES: usize = SCALARS * TAG_BYTES;
/// The domain separation tag of the hash to G1 (RFC 9380).
pub const TAG_DST: &[u8] = b"ASSAY-V1-TAG_BLS12381G1_XMD:SHA-256_SSWU_RO_";

/// Why tags, keys or proofs are refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CompactError {
    /// Bytes of another length than the format's.
    #[error("{what} has {expected} bytes, not {found}")]
    Length {
        /// What was read.
        what: &'static str,
        /// Bytes due; of a list, of each member.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// No canonical point of the right group, or infinity where there may be none.
    #[error("{what} is refused: {source}")]
    Point {
        /// What was read.
        what: &'static str,
        /// What is wrong with the point.
        source: BlsError,
    },
    /// A scalar at or above the group order.
    #[error("{what} is not a scalar below the group order")]
    Scalar {
        /// What was read.
        what: &'static str,
    },
    /// Nothing to check.
    #[error("there are no {what}: an empty check would pass for anybody")]
    Empty {
        /// What is missing.
        what: &'static str,
    },
    /// Tags for more or fewer blocks than there are, or blocks for more or fewer items.
    #[error("{expected} {what} are due, not {found}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many are due.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// The powers are not of the tag key's secret.
    #[error("the powers do not belong to the tag key: do not store anything under this key")]
    Powers,
    /// At least one tag is not of its block: proofs that hit it would fail.
    #[error("the tags do not belong to these blocks under this key and name: refuse the replica")]
    Tags,
    /// The proof does not stand.
    #[error("the compact proof does not verify")]
    Proof,
}

/// `H(name, block)`: the point that binds a tag to its replica and place.
fn block_point(name: &Name, block: u64) -> Point {
    let mut message = [0; 40];
    for (to, from) in message.iter_mut().zip(name.0.0.into_iter().chain(block.to_be_bytes())) {
        *to = from;
    }
    Point::hash(&message, TAG_DST)
}

/// The next 128 random bits of a stream, the first word on top.
fn coefficient(stream: &mut Stream) -> u128 {
    let (high, low) = (stream.word(), stream.word());
    u128::from(high) << 64 | u128::from(low)
}

/// Exactly `N` bytes.
fn sized<'a, const N: usize>(what: &'static str, bytes: &'a [u8]) -> Result<&'a [u8; N], CompactError> {
    bytes.try_into().map_err(|_| CompactError::Length { what, expected: N, found: bytes.len() })
}

/// A point of the subgroup, which may be infinity.
fn point(what: &'static str, bytes: &[u8]) -> Result<Affine, CompactError> {
    Affine::from_compressed(sized(what, bytes)?).map_err(|source| CompactError::Point { what, source })
}

/// A point of the subgroup other than infinity.
fn finite_point(what: &'static str, bytes: &[u8]) -> Result<Affine, CompactError> {
    let point = point(what, bytes)?;
    match point.is_infinity() {
        true => Err(CompactError::Point { what, source: BlsError::Infinity }),
        false => Ok(point),
    }
}

fn check_block(block: &[u8]) -> Result<(), CompactError> {
    match block.len() {
        BLOCK_BYTES => Ok(()),
        found => Err(CompactError::Length { what: "a block", expected: BLOCK_BYTES, found }),
    }
}
