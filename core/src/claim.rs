//! Claims: which replicas a provider says it stores. `docs/protocol.md`, "Replica and claim".

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::abi::Words;
use crate::compact::TagKey;
use crate::hash::Hash32;
use crate::ids::{Address, ProviderId};
use crate::replica::{blocks_for, replica_bytes};
use crate::secp::{self, SecpError, SecretKey, Signature65};

/// The most claims of one provider.
pub const MAX_CLAIMS: usize = 1_000_000;
/// The most tag keys that the claims of one provider may name: whoever reads a set checks each of them.
pub const MAX_TAG_KEYS: usize = 1_024;
/// The depth of a tree of that many claims.
pub const MAX_DEPTH: usize = 20;

/// One replica at one provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// BLAKE3 of the object's plain bytes.
    pub object_id: Hash32,
    /// Which of the owner's replicas this is.
    pub replica_index: u64,
    /// BLAKE3 of the encrypted replica.
    pub root: Hash32,
    /// Bytes of the object.
    pub object_length: u64,
    /// Blocks of the replica: `blocks_for(object_length)`.
    pub blocks: u64,
    /// The key of the compact proofs' tags, zero without tags.
    pub tag_key_id: Hash32,
    /// The builder's address: whose signature stands under the claim.
    pub owner: Address,
}

/// Why a claim or a list of claims is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ClaimError {
    /// The block count does not follow from the length.
    #[error("claim {claim} has {found} blocks, its length asks for {expected}")]
    Blocks {
        /// Hash of the claim.
        claim: Hash32,
        /// Blocks given.
        found: u64,
        /// Blocks due.
        expected: u64,
    },
    /// More bytes than a 64-bit size can say.
    #[error("claim {claim} is too large")]
    TooLarge {
        /// Hash of the claim.
        claim: Hash32,
    },
    /// More than [`MAX_CLAIMS`].
    #[error("{found} claims are more than {MAX_CLAIMS}")]
    TooMany {
        /// Claims given.
        found: usize,
    },
    /// Two claims name the same replica root: one copy cannot serve two claims.
    #[error("replica {root} is claimed twice")]
    Twice {
        /// The replica's root.
        root: Hash32,
    },
    /// A claim names a tag key that was not given.
    #[error("tag key {id} is named by a claim and was not given")]
    TagKey {
        /// Its id.
        id: Hash32,
    },
    /// More than [`MAX_TAG_KEYS`].
    #[error("{found} tag keys are more than {MAX_TAG_KEYS}")]
    TooManyTagKeys {
        /// Tag keys named.
        found: usize,
    },
    /// The sum of all blocks does not fit.
    #[error("the claims have more blocks than a 64-bit count")]
    TooManyBlocks,
}

impl Claim {
    /// `claimHash` of `docs/protocol.md`.
    pub fn hash(&self) -> Hash32 {
        Words::tagged("assay.replica.v1")
            .with(&self.object_id)
            .with(&self.replica_index)
            .with(&self.root)
            .with(&self.object_length)
            .with(&self.blocks)
            .with(&self.tag_key_id)
            .with(&self.owner)
            .keccak()
    }

    /// Bytes of the stored replica. Meaningful after [`Claim::check`].
    pub fn bytes(&self) -> u64 {
        replica_bytes(self.blocks).unwrap_or(u64::MAX)
    }

    /// Checks that the block count follows from the length.
    pub fn check(&self) -> Result<(), ClaimError> {
        let expected = blocks_for(self.object_length);
        if self.blocks != expected {
            return Err(ClaimError::Blocks { claim: self.hash(), found: self.blocks, expected });
        }
        match replica_bytes(self.blocks) {
            Some(_) => Ok(()),
            None => Err(ClaimError::TooLarge { claim: self.hash() }),
        }
    }
}

/// Root of a Merkle-sum tree: (hash, blocks). The empty set has the zero hash and no blocks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimRoot {
    /// The node's hash.
    pub hash: Hash32,
    /// Blocks below the node.
    pub blocks: u64,
}

impl ClaimRoot {
    fn leaf(claim_hash: Hash32, blocks: u64) -> Self {
        let hash = Words::tagged("assay.claimleaf.v1").with(&claim_hash).with(&blocks).keccak();
        Self { hash, blocks }
    }

    fn inner(left: &Self, right: &Self) -> Option<Self> {
        let hash = Words::tagged("assay.claimnode.v1").with(&left.hash).with(&left.blocks).with(&right.hash).with(&right.blocks).keccak();
        Some(Self { hash, blocks: left.blocks.checked_add(right.blocks)? })
    }
}

/// All claims of one provider in the order of their hashes, with the blocks that precede each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClaimSet {
    claims: Vec<Entry>,
    root: ClaimRoot,
    tag_keys: BTreeMap<Hash32, TagKey>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    hash: Hash32,
    /// Global number of the first block behind this claim.
    end: u64,
    claim: Claim,
}

impl ClaimSet {
    /// Checks every claim and sorts them.
    pub fn new(claims: Vec<Claim>) -> Result<Self, ClaimError> {
        if claims.len() > MAX_CLAIMS {
            return Err(ClaimError::TooMany { found: claims.len() });
        }
        refuse_double_roots(&claims)?;
        let mut entries = Vec::with_capacity(claims.len());
        for claim in claims {
            claim.check()?;
            entries.push(Entry { hash: claim.hash(), end: 0, claim });
        }
        entries.sort_unstable_by_key(|entry| entry.hash);
        let mut end = 0_u64;
        for entry in &mut entries {
            end = end.checked_add(entry.claim.blocks).ok_or(ClaimError::TooManyBlocks)?;
            entry.end = end;
        }
        let mut set = Self { claims: entries, root: ClaimRoot::default(), tag_keys: BTreeMap::new() };
        set.root = set.levels()?.last().and_then(|level| level.first()).copied().unwrap_or_default();
        Ok(set)
    }

    /// Adds the tag keys that the claims name; each binds itself by its id. Others are passed over.
    pub fn with_tag_keys(mut self, keys: impl IntoIterator<Item = TagKey>) -> Result<Self, ClaimError> {
        let named: BTreeSet<_> = self.claims().map(|claim| claim.tag_key_id).filter(|id| !id.is_zero()).collect();
        if named.len() > MAX_TAG_KEYS {
            return Err(ClaimError::TooManyTagKeys { found: named.len() });
        }
        self.tag_keys = keys.into_iter().map(|key| (key.id(), key)).filter(|(id, _)| named.contains(id)).collect();
        match named.iter().find(|id| !self.tag_keys.contains_key(id)) {
            Some(id) => Err(ClaimError::TagKey { id: *id }),
            None => Ok(self),
        }
    }

    /// A tag key by its id.
    pub fn tag_key(&self, id: &Hash32) -> Option<&TagKey> {
        self.tag_keys.get(id)
    }

    /// All tag keys that the claims name, ascending by id, when they were given.
    pub fn tag_keys(&self) -> impl Iterator<Item = &TagKey> {
        self.tag_keys.values()
    }

    /// The root that is registered on chain.
    pub fn root(&self) -> ClaimRoot {
        self.root
    }

    /// How many claims there are.
    pub fn len(&self) -> usize {
        self.claims.len()
    }

    /// Whether nothing is claimed.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// The claims in order of their hashes.
    pub fn claims(&self) -> impl ExactSizeIterator<Item = &Claim> {
        self.claims.iter().map(|entry| &entry.claim)
    }

    /// The claim that holds a global block and the block's number inside its replica; `None` behind the last.
    pub fn locate(&self, global_block: u64) -> Option<(&Claim, u64)> {
        let entry = self.claims.get(self.index_of_block(global_block))?;
        let start = entry.end.checked_sub(entry.claim.blocks)?;
        Some((&entry.claim, global_block.checked_sub(start)?))
    }

    /// The place in the set of the claim that holds a global block; `len()` behind the last.
    pub fn index_of_block(&self, global_block: u64) -> usize {
        self.claims.partition_point(|entry| entry.end <= global_block)
    }

    /// The place in the set of a claim by its hash.
    pub fn index_of(&self, claim_hash: &Hash32) -> Option<usize> {
        self.claims.binary_search_by_key(claim_hash, |entry| entry.hash).ok()
    }

    /// The proof that claim number `index` belongs to [`ClaimSet::root`]; `None` behind the last. Costs one pass over the tree.
    pub fn proof(&self, index: usize) -> Option<ClaimProof> {
        if index >= self.claims.len() {
            return None;
        }
        let mut steps = Vec::new();
        let mut at = index;
        for level in self.levels().ok()? {
            let is_left = at.is_multiple_of(2);
            let sibling = match is_left {
                true => at.checked_add(1),
                false => at.checked_sub(1),
            };
            if let Some(node) = sibling.and_then(|sibling| level.get(sibling)) {
                steps.push(ProofStep { sibling_is_left: !is_left, sibling: *node });
            }
            at /= 2;
        }
        Some(ClaimProof { steps })
    }

    /// The tree from its leaves to its root.
    fn levels(&self) -> Result<Vec<Vec<ClaimRoot>>, ClaimError> {
        let leaves: Vec<_> = self.claims.iter().map(|entry| ClaimRoot::leaf(entry.hash, entry.claim.blocks)).collect();
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let mut above = Vec::with_capacity(level.len().div_ceil(2));
            for pair in level.chunks(2) {
                above.push(match pair {
                    [left, right] => ClaimRoot::inner(left, right).ok_or(ClaimError::TooManyBlocks)?,
                    [odd, ..] => *odd,
                    [] => continue,
                });
            }
            levels.push(above);
        }
        Ok(levels)
    }
}

fn refuse_double_roots(claims: &[Claim]) -> Result<(), ClaimError> {
    let mut roots: Vec<_> = claims.iter().map(|claim| claim.root).collect();
    roots.sort_unstable();
    match roots.windows(2).find(|pair| matches!(pair, [a, b] if a == b)).and_then(<[_]>::first) {
        Some(root) => Err(ClaimError::Twice { root: *root }),
        None => Ok(()),
    }
}

/// One step from a claim to the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProofStep {
    /// Whether the sibling stands before the node.
    pub sibling_is_left: bool,
    /// The sibling's hash and blocks.
    pub sibling: ClaimRoot,
}

/// The path from one claim to the set's root. It also pins the claim's global blocks, so that a fact can name them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimProof {
    /// From the claim upwards; at most [`MAX_DEPTH`].
    pub steps: Vec<ProofStep>,
}

/// Why a claim does not belong to a root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ClaimProofError {
    /// The claim itself is inconsistent.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// More than [`MAX_DEPTH`] steps.
    #[error("{found} steps are more than {MAX_DEPTH}")]
    TooDeep {
        /// Steps given.
        found: usize,
    },
    /// The path leads elsewhere.
    #[error("the claim does not lead to the root")]
    WrongRoot,
}

impl ClaimProof {
    /// The global number of the claim's first block, when `claim` belongs to the set with that root.
    pub fn verify(&self, root: &ClaimRoot, claim: &Claim) -> Result<u64, ClaimProofError> {
        claim.check()?;
        if self.steps.len() > MAX_DEPTH {
            return Err(ClaimProofError::TooDeep { found: self.steps.len() });
        }
        let mut node = ClaimRoot::leaf(claim.hash(), claim.blocks);
        let mut start = 0_u64;
        for step in &self.steps {
            let (left, right) = match step.sibling_is_left {
                true => (&step.sibling, &node),
                false => (&node, &step.sibling),
            };
            if step.sibling_is_left {
                start = start.checked_add(step.sibling.blocks).ok_or(ClaimProofError::WrongRoot)?;
            }
            node = ClaimRoot::inner(left, right).ok_or(ClaimProofError::WrongRoot)?;
        }
        match node == *root {
            true => Ok(start),
            false => Err(ClaimProofError::WrongRoot),
        }
    }
}

/// What every signature about claims is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClaimDomain {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Address of `ProviderRegistry`.
    pub provider_registry: Address,
    /// The provider that claims.
    pub provider: ProviderId,
}

impl ClaimDomain {
    /// What the provider's receipt key signs under a claim set (`assay.claims.v1`).
    pub fn set_digest(&self, sequence: u64, root: &ClaimRoot, count: u64) -> Hash32 {
        self.words("assay.claims.v1").with(&sequence).with(&root.hash).with(&root.blocks).with(&count).keccak()
    }

    /// What the builder's key signs under one claim (`assay.claim.v1`).
    pub fn claim_digest(&self, claim_hash: &Hash32) -> Hash32 {
        self.words("assay.claim.v1").with(claim_hash).keccak()
    }

    /// What the owner's key signs to give a claim up (`assay.release.v1`).
    pub fn release_digest(&self, claim_hash: &Hash32) -> Hash32 {
        self.words("assay.release.v1").with(claim_hash).keccak()
    }

    fn words(&self, tag: &str) -> Words {
        Words::tagged(tag).with(&self.chain_id).with(&self.provider_registry).with(&self.provider)
    }
}

/// A claim set as its provider signed it; [`SignedClaimSet::is_by`] tells whether the signature is worth anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedClaimSet {
    /// From 1, one more for every change.
    pub sequence: u64,
    /// Root and blocks of the set.
    pub root: ClaimRoot,
    /// Claims in the set.
    pub count: u64,
    /// By the provider's receipt key.
    pub signature: Signature65,
}

impl SignedClaimSet {
    /// Signs a set as number `sequence`.
    pub fn sign(domain: &ClaimDomain, sequence: u64, set: &ClaimSet, key: &SecretKey) -> Result<Self, SecpError> {
        let (root, count) = (set.root(), set.len() as u64);
        let signature = key.sign(&domain.set_digest(sequence, &root, count))?;
        Ok(Self { sequence, root, count, signature })
    }

    /// Whether `receipt_key` signed this for that chain, registry and provider.
    pub fn is_by(&self, receipt_key: &Address, domain: &ClaimDomain) -> bool {
        let digest = domain.set_digest(self.sequence, &self.root, self.count);
        secp::recover(&digest, &self.signature) == Ok(*receipt_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(i: u64) -> Claim {
        let word = |label: &str| Hash32::from(blake3::hash(format!("{label} {i}").as_bytes()));
        let object_length = i * 100_003;
        Claim {
            object_id: word("object"),
            replica_index: i % 3,
            root: word("root"),
            object_length,
            blocks: blocks_for(object_length),
            tag_key_id: Hash32::ZERO,
            owner: Address([i as u8 + 1; 20]),
        }
    }

    fn set(count: u64) -> ClaimSet {
        ClaimSet::new((0..count).map(claim).collect()).unwrap()
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    #[serde(rename_all = "camelCase")]
    struct Vectors {
        chain_id: u64,
        provider_registry: Address,
        provider: ProviderId,
        sequence: u64,
        sets: Vec<SetVector>,
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    #[serde(rename_all = "camelCase")]
    struct SetVector {
        claims: Vec<Claim>,
        claim_hashes: Vec<Hash32>,
        claim_digests: Vec<Hash32>,
        proofs: Vec<ClaimProof>,
        first_blocks: Vec<u64>,
        root: ClaimRoot,
        set_digest: Hash32,
    }

    fn computed() -> Vectors {
        let domain = ClaimDomain { chain_id: 31_337, provider_registry: Address([0x11; 20]), provider: ProviderId(7) };
        let sequence = 3;
        let sets = [0, 1, 2, 3, 5, 8].map(|count| {
            let set = set(count);
            let claims: Vec<_> = set.claims().cloned().collect();
            let proofs: Vec<_> = (0..claims.len()).map(|i| set.proof(i).unwrap()).collect();
            SetVector {
                claim_hashes: claims.iter().map(Claim::hash).collect(),
                claim_digests: claims.iter().map(|claim| domain.claim_digest(&claim.hash())).collect(),
                first_blocks: proofs.iter().zip(&claims).map(|(p, c)| p.verify(&set.root(), c).unwrap()).collect(),
                proofs,
                claims,
                root: set.root(),
                set_digest: domain.set_digest(sequence, &set.root(), count),
            }
        });
        let ClaimDomain { chain_id, provider_registry, provider } = domain;
        Vectors { chain_id, provider_registry, provider, sequence, sets: sets.into() }
    }

    #[test]
    fn golden_vectors() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/claim.json");
        let computed = computed();
        if std::env::var_os("REGENERATE_VECTORS").is_some() {
            std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
            std::fs::write(path, serde_json::to_string_pretty(&computed).unwrap() + "\n").unwrap();
        }
        let committed: Vectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(committed, computed);
    }

    #[test]
    fn every_block_is_located_and_proved() {
        for count in [1, 2, 3, 4, 5, 6, 7, 17] {
            let set = set(count);
            let mut global = 0;
            for (index, claim) in set.claims().enumerate() {
                let start = set.proof(index).unwrap().verify(&set.root(), claim).unwrap();
                assert_eq!(start, global);
                for block in 0..claim.blocks {
                    assert_eq!(set.locate(global), Some((claim, block)));
                    assert_eq!(set.index_of_block(global), index);
                    global += 1;
                }
            }
            assert_eq!(global, set.root().blocks);
            assert_eq!(set.locate(global), None);
            assert_eq!(set.locate(u64::MAX), None);
            assert!(set.proof(set.len()).is_none());
        }
    }

    #[test]
    fn a_signature_is_bound_to_set_and_provider() {
        let domain = ClaimDomain { chain_id: 1, provider_registry: Address([2; 20]), provider: ProviderId(3) };
        let key = SecretKey::from_bytes(&[5; 32]).unwrap();
        let signed = SignedClaimSet::sign(&domain, 1, &set(3), &key).unwrap();
        assert!(signed.is_by(&key.address(), &domain));
        assert!(!signed.is_by(&key.address(), &ClaimDomain { provider: ProviderId(4), ..domain }));
        assert!(!SignedClaimSet { count: 4, ..signed.clone() }.is_by(&key.address(), &domain));
        assert!(!SignedClaimSet { sequence: 2, ..signed }.is_by(&key.address(), &domain));
    }

    #[test]
    fn the_order_of_the_input_does_not_matter() {
        let reversed = ClaimSet::new((0..9).rev().map(claim).collect()).unwrap();
        assert_eq!(reversed, set(9));
        assert_eq!(ClaimSet::new(Vec::new()).unwrap().root(), ClaimRoot::default());
    }

    #[test]
    fn bad_claims_are_refused() {
        let mut wrong = claim(4);
        wrong.blocks += 1;
        assert!(matches!(ClaimSet::new(vec![wrong]), Err(ClaimError::Blocks { .. })));
        let mut twice = claim(4);
        twice.owner = Address([0xee; 20]);
        assert!(matches!(ClaimSet::new(vec![claim(4), twice]), Err(ClaimError::Twice { .. })));
        let huge = Claim { object_length: u64::MAX, blocks: blocks_for(u64::MAX), ..claim(1) };
        assert!(matches!(huge.check(), Err(ClaimError::TooLarge { .. })));
    }

    #[test]
    fn proofs_do_not_stretch() {
        let set = set(6);
        let claims: Vec<_> = set.claims().cloned().collect();
        let proof = set.proof(2).unwrap();
        assert!(proof.verify(&set.root(), &claims[2]).is_ok());
        assert!(proof.verify(&set.root(), &claims[3]).is_err());
        let mut deep = proof.clone();
        deep.steps = vec![deep.steps[0]; 21];
        assert!(deep.verify(&set.root(), &claims[2]).is_err());
        let mut inflated = proof.clone();
        inflated.steps[0].sibling.blocks = u64::MAX;
        assert!(inflated.verify(&set.root(), &claims[2]).is_err());
        let other = ClaimRoot { blocks: set.root().blocks + 1, ..set.root() };
        assert!(proof.verify(&other, &claims[2]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn changed_steps_never_prove(count in 1_u64..40, which in any::<prop::sample::Index>(), step in any::<prop::sample::Index>(), blocks in 1_u64..1000) {
            let set = set(count);
            let index = which.index(set.len());
            let claim = set.claims().nth(index).unwrap();
            let mut proof = set.proof(index).unwrap();
            prop_assume!(!proof.steps.is_empty());
            let at = step.index(proof.steps.len());
            proof.steps[at].sibling.blocks += blocks;
            prop_assert!(proof.verify(&set.root(), claim).is_err());
        }
    }
}
