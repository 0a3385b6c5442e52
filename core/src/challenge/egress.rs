//! What an egress test sends: groups of the drawn blocks, in an order that both sides derive.

use std::sync::Arc;

use super::Challenge;
use crate::claim::ClaimSet;
use crate::hash::Hash32;
use crate::replica::BLOCK_BYTES;
use crate::slice::GROUP_BYTES;
use crate::slice::group::Group;

/// Where a group lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupPlace {
    /// Root of its replica.
    pub root: Hash32,
    /// Bytes of the replica.
    pub total_bytes: u64,
    /// Its number in the replica.
    pub group: u64,
}

/// Every group that holds a byte of the first drawn block, then of the second, and so on without end.
///
/// `claims` is the set that the challenge names. Empty when nothing is claimed; with another set it may end.
pub fn groups(challenge: &Challenge, claims: Arc<ClaimSet>) -> impl Iterator<Item = GroupPlace> + Send + use<> {
    challenge.draws().map_while(move |sample| groups_of_block(&claims, sample.block)).flatten()
}

fn groups_of_block(claims: &ClaimSet, global_block: u64) -> Option<impl Iterator<Item = GroupPlace> + Send + use<>> {
    let (claim, block) = claims.locate(global_block)?;
    let (root, total_bytes) = (claim.root, claim.bytes());
    let block_bytes = BLOCK_BYTES as u64;
    let start = block.checked_mul(block_bytes)?;
    let last = start.checked_add(block_bytes)?.checked_sub(1)?;
    Some((start / GROUP_BYTES..=last / GROUP_BYTES).map(move |group| GroupPlace { root, total_bytes, group }))
}

/// What a group takes from the credit. A missing one takes as much as a whole one's bytes, so that a provider that holds nothing runs out of
/// credit, too.
pub fn credit_of(group: &Group) -> u64 {
    if group.bytes.is_empty() { GROUP_BYTES } else { group.size() }
}
