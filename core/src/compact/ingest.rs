//! The provider's check of a whole replica's tags, before it answers for them.

use super::fold::Fold;
use super::{CompactError, Name, Powers, TAG_BYTES, TagKey, block_point, check_block, coefficient, finite_point};
use crate::challenge::Stream;
use crate::curve::{Sum, Width, g2, pairings_cancel};
use crate::hash::tag;

/// Checks all tags of one replica by one random sum. Takes blocks and tags in their order, each from block 0 on, in any mixture.
///
/// Holds about 3 MB, however long the replica is.
pub struct TagCheck<'a> {
    key: &'a TagKey,
    powers: &'a Powers,
    name: Name,
    fold: Fold,
    blocks: usize,
    /// Both streams give the same coefficients, one as the blocks come and one as the tags come.
    of_blocks: Stream,
    of_tags: Stream,
    sigmas: Sum,
    hashes: Sum,
    tags: u64,
}

impl<'a> TagCheck<'a> {
    /// `seed` is 32 random bytes, drawn after all blocks and tags were received: who knows it before can make bad tags pass.
    pub fn new(key: &'a TagKey, powers: &'a Powers, name: Name, seed: &[u8; 32]) -> Self {
        let stream = || Stream::new(&[&tag("assay.ingest.v1").0, seed, &key.id().0, &name.0.0]);
        Self {
            key,
            powers,
            name,
            fold: Fold::new(),
            blocks: 0,
            of_blocks: stream(),
            of_tags: stream(),
            sigmas: Sum::new(Width::Short),
            hashes: Sum::new(Width::Short),
            tags: 0,
        }
    }

    /// Takes the next block.
    pub fn block(&mut self, block: &[u8]) -> Result<(), CompactError> {
        check_block(block)?;
        self.fold.add(coefficient(&mut self.of_blocks), block);
        self.blocks = self.blocks.saturating_add(1);
        Ok(())
    }

    /// Takes the next tags, 48 bytes each.
    pub fn tags(&mut self, tags: &[u8]) -> Result<(), CompactError> {
        for tag in tags.chunks(TAG_BYTES) {
            let sigma = finite_point("a tag", tag)?;
            let rho = coefficient(&mut self.of_tags).to_le_bytes();
            self.sigmas.add(sigma.point(), &rho);
            self.hashes.add(block_point(&self.name, self.tags), &rho);
            self.tags = self.tags.saturating_add(1);
        }
        Ok(())
    }

    /// Whether every tag is of its block: `e(Σ ρ sigma, g2) = e(Σ ρ H + F(alpha) · g1, v)`.
    pub fn finish(self) -> Result<(), CompactError> {
        let tags = usize::try_from(self.tags).unwrap_or(usize::MAX);
        if tags != self.blocks {
            return Err(CompactError::Count { what: "tags", expected: self.blocks, found: tags });
        }
        if tags == 0 {
            return Err(CompactError::Empty { what: "tags" });
        }
        let due = self.hashes.total().plus(&self.powers.commit(&self.fold.total()));
        match pairings_cancel(&[(self.sigmas.total().negated(), &g2()), (due, self.key.v())]) {
            true => Ok(()),
            false => Err(CompactError::Tags),
        }
    }
}
