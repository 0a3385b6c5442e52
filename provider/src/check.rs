//! The check of a whole upload, in one pass and constant memory. It blocks.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use assay_core::claim::Claim;
use assay_core::compact::{Name, Powers, TAG_BYTES, TagCheck, TagKey};
use assay_core::hash::Hash32;
use assay_core::replica::BLOCK_BYTES;
use assay_core::slice::{NODE_BYTES, OutboardBuilder};

use crate::error::StoreError;
use crate::files::{Files, upload_bytes};
use crate::replica::tag_record;

/// Tags that are read at a time.
const TAGS_AT_A_TIME: usize = 4096;

/// What tags are checked against.
pub struct TagTerms {
    /// The claim's tag key.
    pub key: TagKey,
    /// The key's powers.
    pub powers: Arc<Powers>,
    /// The claim's tag name.
    pub name: Name,
}

impl Files {
    /// Checks an upload against its claim, writes the outboard and the tags' records, and makes everything durable. What is not the claimed
    /// replica, or has a wrong tag, is discarded, so that the builder starts again.
    pub fn check(&self, claim_hash: &Hash32, claim: &Claim, terms: Option<&TagTerms>) -> Result<(), StoreError> {
        let (found, expected) = (self.received(claim_hash, claim)?, upload_bytes(claim));
        if found < expected {
            return Err(StoreError::Incomplete { found, expected });
        }
        let checked = match terms {
            None => self.check_replica(claim_hash, claim, None),
            Some(terms) => self.check_with_tags(claim_hash, claim, terms),
        };
        if matches!(checked, Err(StoreError::WrongRoot { .. } | StoreError::BadTags(_))) {
            self.discard(claim_hash)?;
        }
        checked
    }

    fn check_with_tags(&self, claim_hash: &Hash32, claim: &Claim, terms: &TagTerms) -> Result<(), StoreError> {
        // Only now that everything is here: who knows the seed before can make wrong tags pass.
        let mut tags = TagCheck::new(&terms.key, &terms.powers, terms.name, &random_seed()?);
        self.check_replica(claim_hash, claim, Some(&mut tags))?;
        let from = File::open(self.tags_part(claim_hash))?;
        let mut records = File::create(self.staged_tags(claim_hash))?;
        let mut at = 0;
        while at < claim.blocks {
            let count = usize::try_from(claim.blocks - at).unwrap_or(usize::MAX).min(TAGS_AT_A_TIME);
            let mut bytes = vec![0; count * TAG_BYTES];
            from.read_exact_at(&mut bytes, at * TAG_BYTES as u64)?;
            tags.tags(&bytes).map_err(StoreError::BadTags)?;
            let (each, _) = bytes.as_chunks::<TAG_BYTES>();
            let batch: Vec<u8> = (at..).zip(each).flat_map(|(block, tag)| tag_record(&claim.root, block, tag)).collect();
            records.write_all(&batch)?;
            at += count as u64;
        }
        tags.finish().map_err(StoreError::BadTags)?;
        Ok(records.sync_all()?)
    }

    fn check_replica(&self, claim_hash: &Hash32, claim: &Claim, mut tags: Option<&mut TagCheck<'_>>) -> Result<(), StoreError> {
        let data = File::open(self.part(claim_hash))?;
        let outboard = File::create(self.staged_outboard(claim_hash))?;
        let root = write_outboard(&data, &outboard, claim.blocks, |block| match &mut tags {
            Some(tags) => tags.block(block).map_err(StoreError::BadTags),
            None => Ok(()),
        })?;
        if root != claim.root {
            return Err(StoreError::WrongRoot { expected: claim.root, found: root });
        }
        data.sync_all()?;
        Ok(outboard.sync_all()?)
    }
}

/// Reads a replica once, writes its outboard and shows every block. Gives the root.
pub fn write_outboard(
    data: &File,
    outboard: &File,
    blocks: u64,
    mut each: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<Hash32, StoreError> {
    let mut builder = OutboardBuilder::new(blocks.saturating_mul(BLOCK_BYTES as u64));
    let mut block = vec![0; BLOCK_BYTES];
    let mut nodes = Vec::new();
    for number in 0..blocks {
        data.read_exact_at(&mut block, number * BLOCK_BYTES as u64)?;
        builder.update(&block, &mut nodes).map_err(io::Error::other)?;
        for node in nodes.drain(..) {
            outboard.write_all_at(&node.pair, node.position * NODE_BYTES)?;
        }
        each(&block)?;
    }
    Ok(builder.finish().map_err(io::Error::other)?)
}

/// 32 bytes that nobody knew before.
pub fn random_seed() -> Result<[u8; 32], StoreError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| StoreError::Io(io::Error::other(error.to_string())))?;
    Ok(seed)
}
