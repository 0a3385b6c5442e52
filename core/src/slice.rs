//! Slices of a BLAKE3 tree: one 1 KiB chunk and the chaining values that lead from it to the ordinary hash.
//!
//! The tree is the one of the BLAKE3 specification, section 2.1: over `n` chunks the left subtree holds the largest power of two below `n`.
//! The outboard keeps the parents above 16 KiB groups in pre-order without a length header: the file form of bao-tree's `PreOrderOutboard`.
//! Where many bytes are to be proven, whole groups are ([`group`]).

pub mod group;

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use thiserror::Error;

use crate::hash::{Hash32, keccak};

/// Bytes of a BLAKE3 chunk.
pub const CHUNK_BYTES: u64 = 1024;
/// Bytes of an outboard group: 16 chunks.
pub const GROUP_BYTES: u64 = 16_384;
/// Bytes of one outboard node: the left and the right chaining value.
pub const NODE_BYTES: u64 = 64;
/// The longest path of any tree: 2^64 bytes are 2^54 chunks.
pub const MAX_SIBLINGS: usize = 54;

const CHUNKS_PER_GROUP: u64 = 16;

/// A chaining value of the tree.
pub type Cv = [u8; 32];

/// One chunk and its siblings, from the chunk's own up to the root's child.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Slice {
    /// The chunk's bytes: 1,024, fewer only at the end of data of another length.
    pub chunk: Vec<u8>,
    /// Chaining values of the siblings, the chunk's first.
    pub siblings: Vec<Cv>,
}

/// Why a slice does not prove its chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SliceError {
    /// The chunk's index lies behind the data.
    #[error("chunk {index} is outside of {chunks} chunks")]
    OutOfRange {
        /// The index asked for.
        index: u64,
        /// Chunks of the data.
        chunks: u64,
    },
    /// The chunk is longer or shorter than the data's length allows.
    #[error("the chunk has {found} bytes instead of {expected}")]
    ChunkLength {
        /// Bytes given.
        found: usize,
        /// Bytes due.
        expected: u64,
    },
    /// The path is longer or shorter than the data's length allows.
    #[error("the slice has {found} siblings instead of {expected}")]
    SiblingCount {
        /// Siblings given.
        found: usize,
        /// Siblings due.
        expected: usize,
    },
    /// Everything has the right size, but it does not hash to the root.
    #[error("the slice does not lead to the root")]
    WrongRoot,
}

/// The prover cannot give the slice: bytes or parents are absent or do not lead to the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the data is missing or damaged")]
pub struct Missing;

/// The builder of an outboard was given another number of bytes than announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the data has not the {announced} bytes that were announced")]
pub struct WrongLength {
    /// Bytes announced at the start.
    pub announced: u64,
}

impl Slice {
    /// Whether it is no larger than the wire takes: nothing is judged that could not be passed on.
    pub fn fits(&self) -> bool {
        self.siblings.len() <= MAX_SIBLINGS && self.chunk.len() as u64 <= CHUNK_BYTES
    }

    /// `keccak(keccak(chunk) ‖ siblings)`: the word that stands for the slice in an answer's digest (`docs/protocol.md`, Challenge).
    ///
    /// The chunk is hashed by itself, so that nobody can move the border between chunk and siblings and pass a right answer off as a wrong one.
    pub fn digest(&self) -> Hash32 {
        keccak([keccak([&self.chunk]).as_bytes(), self.siblings.as_flattened()])
    }
}

/// Checks that `slice` is chunk `chunk_index` of data that has `total_bytes` bytes and the BLAKE3 hash `root`.
pub fn verify(root: &Hash32, total_bytes: u64, chunk_index: u64, slice: &Slice) -> Result<(), SliceError> {
    let chunks = chunk_count(total_bytes);
    if chunk_index >= chunks {
        return Err(SliceError::OutOfRange { index: chunk_index, chunks });
    }
    let start = chunk_index.saturating_mul(CHUNK_BYTES);
    let expected = total_bytes.saturating_sub(start).min(CHUNK_BYTES);
    let found = slice.chunk.len();
    if found as u64 != expected {
        return Err(SliceError::ChunkLength { found, expected });
    }
    let path = descent(chunk_index, chunks);
    if slice.siblings.len() != path.len() {
        return Err(SliceError::SiblingCount { found: slice.siblings.len(), expected: path.len() });
    }
    match computed_root(slice, start, &path) == *root {
        true => Ok(()),
        false => Err(SliceError::WrongRoot),
    }
}

fn computed_root(slice: &Slice, start: u64, path: &[Side]) -> Hash32 {
    if path.is_empty() {
        return blake3::hash(&slice.chunk).into();
    }
    climb(subtree_cv(&slice.chunk, start), &slice.siblings, path)
}

/// The root above `cv`, whose path from the root is `path`; not for an empty one.
fn climb(mut cv: Cv, siblings: &[Cv], path: &[Side]) -> Hash32 {
    for (level, (sibling, side)) in siblings.iter().zip(path.iter().rev()).enumerate() {
        let (left, right) = match side {
            Side::Left => (&cv, sibling),
            Side::Right => (sibling, &cv),
        };
        cv = merge(left, right, level.saturating_add(1) == path.len());
    }
    Hash32(cv)
}

/// On which side of each parent the chunk lies, from the root down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Left,
    Right,
}

fn descent(mut index: u64, mut count: u64) -> Vec<Side> {
    let mut path = Vec::new();
    while count > 1 {
        let left = left_count(count);
        if index < left {
            path.push(Side::Left);
            count = left;
        } else {
            path.push(Side::Right);
            index = index.saturating_sub(left);
            count = count.saturating_sub(left);
        }
    }
    path
}

/// Leaves of the left subtree: the largest power of two below `count`, which is at least 2.
fn left_count(count: u64) -> u64 {
    count.div_ceil(2).checked_next_power_of_two().unwrap_or(1 << 63)
}

fn chunk_count(total_bytes: u64) -> u64 {
    total_bytes.div_ceil(CHUNK_BYTES).max(1)
}

/// Groups of data of that length: at least one.
pub fn group_count(total_bytes: u64) -> u64 {
    total_bytes.div_ceil(GROUP_BYTES).max(1)
}

/// Bytes of the outboard of data of that length.
pub fn outboard_bytes(total_bytes: u64) -> u64 {
    group_count(total_bytes).saturating_sub(1).saturating_mul(NODE_BYTES)
}

/// The byte range of the group that holds a chunk: (start, length). The length is 0 behind the data.
pub fn group_range(total_bytes: u64, chunk_index: u64) -> (u64, u64) {
    let start = (chunk_index / CHUNKS_PER_GROUP).saturating_mul(GROUP_BYTES);
    (start, total_bytes.saturating_sub(start).min(GROUP_BYTES))
}

fn subtree_cv(bytes: &[u8], offset: u64) -> Cv {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(offset);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

fn merge(left: &Cv, right: &Cv, is_root: bool) -> Cv {
    match is_root {
        true => *merge_subtrees_root(left, right, Mode::Hash).as_bytes(),
        false => merge_subtrees_non_root(left, right, Mode::Hash),
    }
}

/// Makes the slice of one chunk from its 16 KiB group (see [`group_range`]) and the outboard.
///
/// `node` gives the outboard node at a pre-order position, `None` when it cannot be read; it is asked O(log n) times.
/// The result is verified before it is returned, so that a damaged group, a damaged outboard and absent bytes are all [`Missing`],
/// never a slice that fails at the verifier.
pub fn prove(
    root: &Hash32,
    total_bytes: u64,
    chunk_index: u64,
    group: &[u8],
    mut node: impl FnMut(u64) -> Option<[u8; 64]>,
) -> Result<Slice, Missing> {
    let (group_start, group_bytes) = group_range(total_bytes, chunk_index);
    if chunk_index >= chunk_count(total_bytes) || group.len() as u64 != group_bytes {
        return Err(Missing);
    }
    let mut from_root = siblings_above_group(chunk_index / CHUNKS_PER_GROUP, group_count(total_bytes), &mut node)?;
    let chunk = descend_in_group(group, group_start, chunk_index % CHUNKS_PER_GROUP, &mut from_root)?;
    from_root.reverse();
    let slice = Slice { chunk: chunk.to_vec(), siblings: from_root };
    verify(root, total_bytes, chunk_index, &slice).map_err(|_| Missing)?;
    Ok(slice)
}

fn siblings_above_group(group: u64, groups: u64, node: &mut impl FnMut(u64) -> Option<[u8; 64]>) -> Result<Vec<Cv>, Missing> {
    let mut siblings = Vec::new();
    let (mut position, mut count) = (0_u64, groups);
    for side in descent(group, groups) {
        let pair = node(position).ok_or(Missing)?;
        let (left_cv, right_cv) = split_pair(&pair);
        let left = left_count(count);
        match side {
            Side::Left => {
                siblings.push(right_cv);
                position = position.saturating_add(1);
                count = left;
            }
            Side::Right => {
                siblings.push(left_cv);
                position = position.saturating_add(left);
                count = count.saturating_sub(left);
            }
        }
    }
    Ok(siblings)
}

fn descend_in_group<'a>(group: &'a [u8], group_start: u64, index_in_group: u64, siblings: &mut Vec<Cv>) -> Result<&'a [u8], Missing> {
    let (mut bytes, mut start, mut count) = (group, group_start, chunk_count(group.len() as u64));
    for side in descent(index_in_group, count) {
        let left = left_count(count);
        let left_bytes = left.saturating_mul(CHUNK_BYTES);
        let middle = usize::try_from(left_bytes).map_err(|_| Missing)?;
        let (left_half, right_half) = bytes.split_at_checked(middle).ok_or(Missing)?;
        let right_start = start.saturating_add(left_bytes);
        match side {
            Side::Left => {
                siblings.push(subtree_cv(right_half, right_start));
                bytes = left_half;
                count = left;
            }
            Side::Right => {
                siblings.push(subtree_cv(left_half, start));
                bytes = right_half;
                start = right_start;
                count = count.saturating_sub(left);
            }
        }
    }
    Ok(bytes)
}

fn split_pair(pair: &[u8; 64]) -> (Cv, Cv) {
    let (mut left, mut right) = ([0; 32], [0; 32]);
    let (first, second) = pair.split_at(32);
    left.copy_from_slice(first);
    right.copy_from_slice(second);
    (left, right)
}

/// One outboard node: `pair` belongs at byte `position · 64` of the outboard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    /// Index in pre-order.
    pub position: u64,
    /// Left and right chaining value.
    pub pair: [u8; 64],
}

/// Hashes data of a known length in one pass and gives out its outboard nodes as they are complete. Memory: O(log n).
pub struct OutboardBuilder {
    total_bytes: u64,
    groups: u64,
    consumed: u64,
    finished_groups: u64,
    group: Hasher,
    /// Finished subtrees from the left: (first group, chaining value).
    subtrees: Vec<(u64, Cv)>,
}

impl OutboardBuilder {
    /// For data of exactly `total_bytes` bytes.
    pub fn new(total_bytes: u64) -> Self {
        Self { total_bytes, groups: group_count(total_bytes), consumed: 0, finished_groups: 0, group: Hasher::new(), subtrees: Vec::new() }
    }

    /// Takes the next bytes, of any number, and appends the nodes that they complete to `nodes`.
    pub fn update(&mut self, mut bytes: &[u8], nodes: &mut Vec<Node>) -> Result<(), WrongLength> {
        if self.total_bytes.saturating_sub(self.consumed) < bytes.len() as u64 {
            return Err(self.wrong_length());
        }
        while !bytes.is_empty() {
            let room = GROUP_BYTES.saturating_sub(self.consumed % GROUP_BYTES);
            let take = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
            let (now, later) = bytes.split_at_checked(take).ok_or(self.wrong_length())?;
            self.group.update(now);
            self.consumed = self.consumed.saturating_add(now.len() as u64);
            bytes = later;
            if self.consumed.is_multiple_of(GROUP_BYTES) || self.consumed == self.total_bytes {
                self.finish_group(nodes);
            }
        }
        Ok(())
    }

    /// The root: the plain BLAKE3 hash of all bytes.
    pub fn finish(self) -> Result<Hash32, WrongLength> {
        if self.consumed != self.total_bytes {
            return Err(self.wrong_length());
        }
        match self.subtrees.first() {
            Some((_, cv)) => Ok(Hash32(*cv)),
            None => Ok(blake3::hash(&[]).into()),
        }
    }

    fn finish_group(&mut self, nodes: &mut Vec<Node>) {
        let cv = match self.groups {
            1 => *self.group.finalize().as_bytes(),
            _ => self.group.finalize_non_root(),
        };
        self.subtrees.push((self.finished_groups, cv));
        self.finished_groups = self.finished_groups.saturating_add(1);
        self.group = Hasher::new();
        if self.consumed < self.total_bytes {
            self.group.set_input_offset(self.consumed);
        }
        let is_last = self.finished_groups == self.groups;
        let mut merges = match is_last {
            true => u32::MAX,
            false => self.finished_groups.trailing_zeros(),
        };
        while merges > 0 && self.subtrees.len() > 1 {
            self.merge_last_two(nodes);
            merges = merges.saturating_sub(1);
        }
    }

    fn merge_last_two(&mut self, nodes: &mut Vec<Node>) {
        let (Some((_, right)), Some((first, left))) = (self.subtrees.pop(), self.subtrees.pop()) else {
            return;
        };
        let end = self.finished_groups;
        let mut pair = [0; 64];
        let (head, tail) = pair.split_at_mut(32);
        head.copy_from_slice(&left);
        tail.copy_from_slice(&right);
        nodes.push(Node { position: position_of(first, end, self.groups), pair });
        self.subtrees.push((first, merge(&left, &right, first == 0 && end == self.groups)));
    }

    fn wrong_length(&self) -> WrongLength {
        WrongLength { announced: self.total_bytes }
    }
}

/// Pre-order index of the parent over the groups `first..end`. A subtree of `n` groups has `n − 1` parents.
fn position_of(first: u64, end: u64, groups: u64) -> u64 {
    let (mut position, mut start, mut count) = (0_u64, 0_u64, groups);
    while (start, start.saturating_add(count)) != (first, end) && count > 1 {
        let left = left_count(count);
        let middle = start.saturating_add(left);
        if first < middle {
            position = position.saturating_add(1);
            count = left;
        } else {
            position = position.saturating_add(left);
            start = middle;
            count = count.saturating_sub(left);
        }
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;
    use bao_tree::io::outboard::PreOrderOutboard;
    use bao_tree::io::sync::CreateOutboard;
    use proptest::prelude::*;

    const SIZES: &[usize] = &[
        0, 1, 1023, 1024, 1025, 2048, 3072, 16_383, 16_384, 16_385, 32_768, 32_769, 49_152, 65_535, 65_537, 126_976, 253_952, 380_928,
        1_048_576, 1_142_784,
    ];

    fn data(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(b"slice").finalize_xof().fill(&mut bytes);
        bytes
    }

    fn outboard(bytes: &[u8], step: usize) -> (Hash32, Vec<u8>) {
        let total = bytes.len() as u64;
        let mut builder = OutboardBuilder::new(total);
        let mut nodes = Vec::new();
        for part in bytes.chunks(step) {
            builder.update(part, &mut nodes).unwrap();
        }
        let mut file = vec![0; outboard_bytes(total) as usize];
        assert_eq!(nodes.len() as u64 * NODE_BYTES, outboard_bytes(total));
        for node in nodes {
            let at = (node.position * NODE_BYTES) as usize;
            assert_eq!(file[at..at + 64], [0; 64], "a position is written once");
            file[at..at + 64].copy_from_slice(&node.pair);
        }
        (builder.finish().unwrap(), file)
    }

    fn prove_from(bytes: &[u8], file: &[u8], root: &Hash32, total: u64, index: u64) -> Result<Slice, Missing> {
        let (start, length) = group_range(total, index);
        let group = bytes.get(start as usize..(start + length) as usize).ok_or(Missing)?;
        prove(root, total, index, group, |position| file.get((position * 64) as usize..)?.first_chunk::<64>().copied())
    }

    #[test]
    fn root_and_outboard_agree_with_blake3_and_bao_tree() {
        for &size in SIZES {
            let bytes = data(size);
            for step in [1000, 16_384, 126_976] {
                let (root, file) = outboard(&bytes, step);
                assert_eq!(root, blake3::hash(&bytes).into(), "{size} in steps of {step}");
                let block = bao_tree::BlockSize::from_chunk_log(4);
                let theirs = PreOrderOutboard::<Vec<u8>>::create(std::io::Cursor::new(&bytes), block).unwrap();
                assert_eq!(theirs.root, blake3::hash(&bytes));
                assert_eq!(file, theirs.data, "{size} in steps of {step}");
            }
        }
    }

    #[test]
    fn every_chunk_proves_and_only_at_its_own_place() {
        for &size in SIZES {
            let bytes = data(size);
            let total = size as u64;
            let (root, file) = outboard(&bytes, 16_384);
            let chunks = chunk_count(total);
            for index in (0..chunks).filter(|i| *i < 40 || i % 97 == 0 || *i + 2 >= chunks) {
                let slice = prove_from(&bytes, &file, &root, total, index).unwrap();
                assert_eq!(verify(&root, total, index, &slice), Ok(()), "{size} chunk {index}");
                for other in [index ^ 1, index ^ 16, index + 1].into_iter().filter(|other| *other != index) {
                    assert!(verify(&root, total, other, &slice).is_err(), "{size} chunk {index} as {other}");
                }
            }
            assert_eq!(prove_from(&bytes, &file, &root, total, chunks), Err(Missing));
        }
    }

    #[test]
    fn hostile_sizes_are_errors() {
        let bytes = data(126_976);
        let (root, file) = outboard(&bytes, 16_384);
        let slice = prove_from(&bytes, &file, &root, 126_976, 5).unwrap();
        let with = |change: fn(&mut Slice)| {
            let mut changed = slice.clone();
            change(&mut changed);
            verify(&root, 126_976, 5, &changed).unwrap_err()
        };
        assert!(matches!(with(|s| s.chunk.push(0)), SliceError::ChunkLength { .. }));
        assert!(matches!(with(|s| s.chunk.clear()), SliceError::ChunkLength { .. }));
        assert!(matches!(with(|s| s.siblings.push([0; 32])), SliceError::SiblingCount { .. }));
        assert!(matches!(with(|s| s.siblings.truncate(3)), SliceError::SiblingCount { .. }));
        assert!(matches!(with(|s| s.chunk[7] ^= 1), SliceError::WrongRoot));
        assert!(matches!(verify(&root, 126_976, 124, &slice), Err(SliceError::OutOfRange { .. })));
        assert!(verify(&root, u64::MAX, u64::MAX, &slice).is_err());
        assert!(verify(&root, u64::MAX, (u64::MAX - 1) / 1024, &slice).is_err());
        assert!(descent((1 << 54) - 1, 1 << 54).len() <= MAX_SIBLINGS);
    }

    #[test]
    fn a_damaged_group_or_outboard_is_missing() {
        let bytes = data(253_952);
        let (root, file) = outboard(&bytes, 16_384);
        let mut damaged = bytes.clone();
        damaged[20_000] ^= 1;
        for chunk in 16..32 {
            assert_eq!(prove_from(&damaged, &file, &root, 253_952, chunk), Err(Missing));
        }
        assert!(prove_from(&damaged, &file, &root, 253_952, 15).is_ok());
        let mut damaged_file = file.clone();
        damaged_file[3] ^= 1;
        assert_eq!(prove_from(&bytes, &damaged_file, &root, 253_952, 247), Err(Missing));
        assert_eq!(prove_from(&bytes, &file[..64], &root, 253_952, 0), Err(Missing));
    }

    #[test]
    fn the_builder_pins_the_length() {
        let mut nodes = Vec::new();
        let mut builder = OutboardBuilder::new(10);
        assert!(builder.update(&[0; 11], &mut nodes).is_err());
        builder.update(&[0; 9], &mut nodes).unwrap();
        assert!(builder.finish().is_err());
    }

    proptest! {
        #[test]
        fn no_flipped_bit_verifies(size in 1_usize..200_000, at in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>()) {
            let bytes = data(size);
            let (root, file) = outboard(&bytes, 16_384);
            let index = at.index(chunk_count(size as u64) as usize) as u64;
            let mut slice = prove_from(&bytes, &file, &root, size as u64, index).unwrap();
            let chunk_bits = slice.chunk.len() * 8;
            let bit = bit.index(chunk_bits + slice.siblings.len() * 256);
            match bit < chunk_bits {
                true => slice.chunk[bit / 8] ^= 1 << (bit % 8),
                false => slice.siblings[(bit - chunk_bits) / 256][(bit - chunk_bits) % 256 / 8] ^= 1 << (bit % 8),
            }
            prop_assert_eq!(verify(&root, size as u64, index, &slice), Err(SliceError::WrongRoot));
        }

        #[test]
        fn arbitrary_slices_never_panic(
            total in any::<u64>(), index in any::<u64>(),
            chunk in prop::collection::vec(any::<u8>(), 0..1100), siblings in prop::collection::vec(any::<Cv>(), 0..60),
        ) {
            let slice = Slice { chunk, siblings };
            let _ = verify(&Hash32::ZERO, total, index % chunk_count(total), &slice);
            let _ = verify(&Hash32::ZERO, total, index, &slice);
            let _ = prove(&Hash32::ZERO, total, index, &slice.chunk, |_| Some([7; 64]));
        }
    }
}
