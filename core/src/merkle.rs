//! Merkle trees in OpenZeppelin's `StandardMerkleTree` form, so that a contract can open every leaf with `MerkleProof`.

use crate::abi::Words;
use crate::hash::{Hash32, keccak};
use crate::spread::Threads;

/// The longest proof accepted from outside: trees of up to 2^40 leaves.
pub const MAX_PROOF: usize = 40;

/// `keccak(keccak(abi(values)))`: hashed twice, so that no inner node can pass for a leaf.
pub fn leaf(values: &Words) -> Hash32 {
    keccak([values.keccak().as_bytes()])
}

fn parent(a: &Hash32, b: &Hash32) -> Hash32 {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    keccak([low.as_bytes(), high.as_bytes()])
}

/// A tree over leaf hashes: 2n−1 nodes, root first, the ascending leaves reversed at the end.
#[derive(Clone, Debug)]
pub struct StandardTree {
    nodes: Vec<Hash32>,
    leaves: usize,
}

impl StandardTree {
    /// Builds the tree; the order of `leaves` does not matter.
    pub fn new(leaves: Vec<Hash32>) -> Self {
        Self::on(Threads::available(), leaves)
    }

    /// As [`Self::new`], on so many threads.
    pub(crate) fn on(threads: Threads, mut leaves: Vec<Hash32>) -> Self {
        leaves.sort_unstable();
        let count = leaves.len();
        let inner = count.saturating_sub(1);
        let mut nodes = vec![Hash32::ZERO; inner];
        nodes.extend(leaves.into_iter().rev());
        // A level at a time, from the lowest: the nodes of one do not need each other, and their children stand behind them.
        let mut end = inner;
        while end > 0 {
            let start = 1usize.wrapping_shl(end.ilog2()).saturating_sub(1);
            let (upper, lower) = nodes.split_at_mut(end);
            let level = upper.get_mut(start..).unwrap_or_default();
            let child = |index: usize| index.checked_sub(end).and_then(|at| lower.get(at));
            threads.fill(level, |at| {
                let (left, right) = children(start.saturating_add(at));
                match (child(left), child(right)) {
                    (Some(a), Some(b)) => parent(a, b),
                    _ => Hash32::ZERO,
                }
            });
            end = start;
        }
        Self { nodes, leaves: count }
    }

    /// The root; the zero word for a tree without leaves.
    pub fn root(&self) -> Hash32 {
        self.nodes.first().copied().unwrap_or(Hash32::ZERO)
    }

    /// Sibling hashes from the leaf up to the root; `None` if the leaf is not in the tree.
    pub fn proof(&self, leaf: &Hash32) -> Option<Vec<Hash32>> {
        let inner = self.nodes.len().saturating_sub(self.leaves);
        // Leaves stand in descending order at the end.
        let offset = self.nodes.get(inner..)?.binary_search_by(|node| leaf.cmp(node)).ok()?;
        let mut index = inner.saturating_add(offset);
        let mut proof = Vec::new();
        while index > 0 {
            let sibling = if index % 2 == 1 { index.saturating_add(1) } else { index.saturating_sub(1) };
            proof.push(*self.nodes.get(sibling)?);
            index = index.saturating_sub(1) / 2;
        }
        Some(proof)
    }
}

fn children(index: usize) -> (usize, usize) {
    let left = index.saturating_mul(2).saturating_add(1);
    (left, left.saturating_add(1))
}

/// Whether `leaf` stands under `root`.
pub fn verify(root: &Hash32, leaf: &Hash32, proof: &[Hash32]) -> bool {
    proof.len() <= MAX_PROOF && proof.iter().fold(*leaf, |node, sibling| parent(&node, sibling)) == *root
}

/// The root over the given leaves.
pub fn root(leaves: Vec<Hash32>) -> Hash32 {
    StandardTree::new(leaves).root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_proves_and_no_other_does() {
        for count in 1..40u64 {
            let leaves: Vec<Hash32> = (0..count).map(|i| leaf(&Words::new().with(&i))).collect();
            let tree = StandardTree::new(leaves.clone());
            for hash in &leaves {
                let proof = tree.proof(hash).unwrap();
                assert!(verify(&tree.root(), hash, &proof));
                assert!(!verify(&tree.root(), &leaf(&Words::new().with(&count)), &proof));
            }
            assert_eq!(tree.proof(&leaf(&Words::new().with(&count))), None);
        }
    }

    #[test]
    fn any_number_of_threads_builds_the_same_tree() {
        for count in [0, 1, 2, 3, 1_023, 1_024, 1_025, 5_000] {
            let leaves: Vec<Hash32> = (0..count).map(|i: u64| leaf(&Words::new().with(&i))).collect();
            let [one, three] = [1, 3].map(|threads| StandardTree::on(Threads::new(threads), leaves.clone()).nodes);
            assert_eq!(one, three);
            // By the definition: every inner node is over its two children.
            for (index, node) in one.iter().enumerate().take(one.len() / 2) {
                assert_eq!(*node, parent(&one[2 * index + 1], &one[2 * index + 2]));
            }
        }
    }

    #[test]
    fn the_empty_tree_has_the_zero_root() {
        assert_eq!(root(vec![]), Hash32::ZERO);
    }
}
