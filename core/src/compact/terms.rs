//! What a challenge asks of one tag key: blocks, their coefficients, and the place at which the sum is opened.

use ark_bls12_381::Fr;
use ark_ff::PrimeField;

use super::{Name, coefficient, field};
use crate::challenge::Stream;
use crate::hash::{Hash32, tag};

/// One sampled block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// The replica's tag name.
    pub name: Name,
    /// The block's number in the replica.
    pub block: u64,
    /// The block's random coefficient.
    pub nu: u128,
}

/// The blocks of one tag key in a challenge. A block that was sampled twice is there twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// In the order of the sampled positions.
    pub items: Vec<Item>,
    r: Fr,
}

impl Terms {
    /// Draws the coefficients and the place for blocks in the order of the sampled positions.
    pub fn draw(seed: &Hash32, key_id: &Hash32, blocks: impl Iterator<Item = (Name, u64)>) -> Self {
        let mut stream = Stream::new(&[&tag("assay.compact.v1").0, &seed.0, &key_id.0]);
        let items = blocks.map(|(name, block)| Item { name, block, nu: coefficient(&mut stream) }).collect();
        let wide: Vec<u8> = (0..8).flat_map(|_| stream.word().to_be_bytes()).collect();
        Self { items, r: Fr::from_be_bytes_mod_order(&wide) }
    }

    /// The place at which the sum is opened, 32 bytes, big-endian.
    pub fn r(&self) -> [u8; 32] {
        field::to_big_endian(self.r)
    }

    pub(super) fn place(&self) -> Fr {
        self.r
    }
}
