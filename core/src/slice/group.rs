//! Whole 16 KiB groups with the chaining values that lead from them to the root: a chunk's proof costs as much as the chunk, a group's
//! next to nothing.

use thiserror::Error;

use super::{Cv, GROUP_BYTES, Missing, climb, descent, group_count, siblings_above_group, subtree_cv};
use crate::hash::Hash32;

/// Bytes of a chaining value.
const CV_BYTES: u64 = 32;

/// One group and its siblings, from the group's own up to the root's child.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Group {
    /// The group's bytes: 16,384, fewer only at the end of data of another length.
    pub bytes: Vec<u8>,
    /// Chaining values of the siblings, the group's first.
    pub siblings: Vec<Cv>,
}

impl Group {
    /// Bytes and siblings together.
    pub fn size(&self) -> u64 {
        (self.bytes.len() as u64).saturating_add((self.siblings.len() as u64).saturating_mul(CV_BYTES))
    }
}

/// Bytes or siblings are of another number than the data's length allows, or do not hash to the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the group does not lead to the root")]
pub struct WrongGroup;

/// Bytes of a group of data of that length: 0 behind the data.
pub fn group_bytes(total_bytes: u64, group_index: u64) -> u64 {
    total_bytes.saturating_sub(group_index.saturating_mul(GROUP_BYTES)).min(GROUP_BYTES)
}

/// Checks that `group` is group `group_index` of data that has `total_bytes` bytes and the BLAKE3 hash `root`.
pub fn verify_group(root: &Hash32, total_bytes: u64, group_index: u64, group: &Group) -> Result<(), WrongGroup> {
    let groups = group_count(total_bytes);
    if group_index >= groups || group.bytes.len() as u64 != group_bytes(total_bytes, group_index) {
        return Err(WrongGroup);
    }
    let path = descent(group_index, groups);
    if group.siblings.len() != path.len() {
        return Err(WrongGroup);
    }
    let computed = match path.is_empty() {
        true => blake3::hash(&group.bytes).into(),
        false => climb(subtree_cv(&group.bytes, group_index.saturating_mul(GROUP_BYTES)), &group.siblings, &path),
    };
    if computed == *root { Ok(()) } else { Err(WrongGroup) }
}

/// Adds the siblings to a group's bytes.
///
/// `node` gives the outboard node at a pre-order position, `None` when it cannot be read; it is asked O(log n) times.
/// The result is verified before it is returned: damaged bytes, a damaged outboard and absent bytes are all [`Missing`], never a group
/// that fails at the verifier.
pub fn prove_group(
    root: &Hash32,
    total_bytes: u64,
    group_index: u64,
    bytes: Vec<u8>,
    mut node: impl FnMut(u64) -> Option<[u8; 64]>,
) -> Result<Group, Missing> {
    let groups = group_count(total_bytes);
    if group_index >= groups {
        return Err(Missing);
    }
    let mut siblings = siblings_above_group(group_index, groups, &mut node)?;
    siblings.reverse();
    let group = Group { bytes, siblings };
    verify_group(root, total_bytes, group_index, &group).map_err(|_| Missing)?;
    Ok(group)
}
