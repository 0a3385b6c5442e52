//! Filecoin's proof of data possession (FilOzone/pdp): five leaves of 32 bytes a day, each with its path in a Merkle tree of SHA-256 cut to
//! 254 bits.
//!
//! Left out: the expansion of 127 bytes to 128 before hashing, and the index from a leaf to one of many pieces. As Curio does, the prover
//! keeps the tree's upper part and hashes a segment again for its lower one.

use assay_core::hash::{Hash32, keccak};
use sha2::{Digest as _, Sha256};

/// Bytes of a leaf and of every node.
pub const LEAF_BYTES: u64 = 32;
/// Leaves of one proving period, which is a day.
pub const SAMPLES_A_DAY: u64 = 5;
/// Bytes that are hashed again for a proof.
pub const SEGMENT_BYTES: u64 = 16_384;

const SEGMENT_LEAVES: u64 = SEGMENT_BYTES / LEAF_BYTES;

/// A leaf or a hash.
pub type Node = [u8; 32];

/// The tree over a power of two of leaves, from the segments' roots up.
pub struct Tree {
    /// The segments' roots first, the root last.
    levels: Vec<Vec<Node>>,
}

/// One leaf and its siblings up to the root's child.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// The 32 bytes asked for.
    pub leaf: Node,
    /// From the leaf's own upwards.
    pub siblings: Vec<Node>,
}

impl Proof {
    /// Bytes of leaf and path.
    pub fn size(&self) -> usize {
        (1 + self.siblings.len()) * size_of::<Node>()
    }
}

/// The leaves that a period asks for: `keccak256(seed, set, number) mod leaves`.
pub fn indices(seed: &Hash32, set: u64, samples: u64, leaves: u64) -> Vec<u64> {
    let index = |number: u64| {
        let hash = keccak([&seed.0[..], &[0; 24], &set.to_be_bytes(), &number.to_be_bytes()]);
        let words = hash.0.as_chunks::<8>().0.iter().map(|word| u128::from(u64::from_be_bytes(*word)));
        words.fold(0, |rest, word| ((rest << 64) | word) % u128::from(leaves.max(1))) as u64
    };
    (0..samples).map(index).collect()
}

impl Tree {
    /// The tree of whole segments, a power of two of them. `segment` gives the bytes of a segment by its number.
    pub fn build(segments: u64, segment: impl Fn(u64) -> Vec<u8>) -> Self {
        assert!(segments.is_power_of_two(), "the tree is over a power of two of segments");
        let roots = (0..segments).map(|number| top(levels_of(leaves_of(&segment(number)))));
        Self { levels: levels_of(roots.collect()) }
    }

    /// The root.
    pub fn root(&self) -> Node {
        top(self.levels.clone())
    }

    /// The proof of a leaf, from the bytes of its segment.
    pub fn prove(&self, leaf: u64, segment: &[u8]) -> Proof {
        let within = levels_of(leaves_of(segment));
        let mut siblings = siblings(&within, leaf % SEGMENT_LEAVES);
        siblings.extend(self::siblings(&self.levels, leaf / SEGMENT_LEAVES));
        Proof { leaf: within[0][(leaf % SEGMENT_LEAVES) as usize], siblings }
    }

    /// Bytes that the prover keeps beside the data.
    pub fn bytes(&self) -> usize {
        self.levels.iter().map(|level| size_of_val(level.as_slice())).sum()
    }
}

/// Whether `proof` is of leaf `index` below `root`, in a tree of this many leaves.
pub fn verify(root: &Node, leaves: u64, index: u64, proof: &Proof) -> bool {
    let depth = leaves.max(1).ilog2() as usize;
    let climbed = proof.siblings.iter().enumerate().fold(proof.leaf, |node, (level, sibling)| match (index >> level) & 1 {
        0 => parent(&node, sibling),
        _ => parent(sibling, &node),
    });
    index < leaves && proof.siblings.len() == depth && climbed == *root
}

fn parent(left: &Node, right: &Node) -> Node {
    let mut hash: Node = Sha256::new().chain_update(left).chain_update(right).finalize().into();
    hash[31] &= 0x3f;
    hash
}

fn leaves_of(segment: &[u8]) -> Vec<Node> {
    segment.as_chunks::<32>().0.to_vec()
}

fn levels_of(lowest: Vec<Node>) -> Vec<Vec<Node>> {
    let mut levels = vec![lowest];
    while let Some(level) = levels.last().filter(|level| level.len() > 1) {
        levels.push(level.as_chunks::<2>().0.iter().map(|[left, right]| parent(left, right)).collect());
    }
    levels
}

fn top(mut levels: Vec<Vec<Node>>) -> Node {
    levels.pop().and_then(|level| level.first().copied()).unwrap_or_default()
}

fn siblings(levels: &[Vec<Node>], index: u64) -> Vec<Node> {
    let below_root = levels.iter().filter(|level| level.len() > 1);
    below_root.enumerate().map(|(level, nodes)| nodes[((index >> level) ^ 1) as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENTS: u64 = 8;
    const LEAVES: u64 = SEGMENTS * SEGMENT_LEAVES;

    fn segment(number: u64) -> Vec<u8> {
        let mut bytes = vec![0; SEGMENT_BYTES as usize];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn proof(tree: &Tree, index: u64) -> Proof {
        tree.prove(index, &segment(index / SEGMENT_LEAVES))
    }

    #[test]
    fn honest_leaves_stand() {
        let tree = Tree::build(SEGMENTS, segment);
        for index in indices(&Hash32([7; 32]), 1, 30, LEAVES).into_iter().chain([0, LEAVES - 1]) {
            let proof = proof(&tree, index);
            assert!(verify(&tree.root(), LEAVES, index, &proof));
            assert!(!verify(&tree.root(), LEAVES, index ^ 1, &proof), "the same proof for another leaf");
            assert!(!verify(&tree.root(), LEAVES * 2, index, &proof), "a longer tree");
        }
    }

    #[test]
    fn a_flipped_bit_of_leaf_or_path_is_refused() {
        let tree = Tree::build(SEGMENTS, segment);
        let honest = proof(&tree, 1_234);
        let mut leaf = honest.clone();
        leaf.leaf[5] ^= 1;
        assert!(!verify(&tree.root(), LEAVES, 1_234, &leaf));
        for at in 0..honest.siblings.len() {
            let mut path = honest.clone();
            path.siblings[at][31] ^= 1;
            assert!(!verify(&tree.root(), LEAVES, 1_234, &path), "sibling {at}");
        }
        let mut lost = segment(1_234 / SEGMENT_LEAVES);
        lost[3] ^= 1;
        assert!(!verify(&tree.root(), LEAVES, 1_234, &tree.prove(1_234, &lost)), "damaged data");
    }

    #[test]
    fn indices_are_uniform_and_follow_the_seed() {
        let drawn: Vec<u64> = (0..2_000u64).flat_map(|day| indices(&keccak([&day.to_be_bytes()]), 1, SAMPLES_A_DAY, 10)).collect();
        for value in 0..10 {
            let count = drawn.iter().filter(|drawn| **drawn == value).count();
            assert!((850..1_150).contains(&count), "{value}: {count} of 10,000");
        }
        assert_ne!(indices(&Hash32([1; 32]), 1, 5, 1 << 40), indices(&Hash32([2; 32]), 1, 5, 1 << 40));
    }
}
