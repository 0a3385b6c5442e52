//! An object of 1 GiB whose bytes are made anew whenever they are needed, and what its owner and its provider keep of it.

use assay_core::challenge::compact::SLICES_ONE_IN;
use assay_core::challenge::{Challenge, Kind, STORAGE_SAMPLES, Sample};
use assay_core::claim::{Claim, ClaimSet};
use assay_core::compact::{Name, Powers, Proof, Prover, TAG_BYTES, TagKey, TagSecret, Terms};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::replica::{BLOCK_BYTES, CHUNKS_PER_BLOCK, OwnerSecret, blocks_for};
use assay_core::slice::{self, GROUP_BYTES, OutboardBuilder, Slice};

/// Bytes of the object.
pub const OBJECT_BYTES: u64 = 1 << 30;

const PROVIDER: ProviderId = ProviderId(7);

pub struct Object {
    pub secret: TagSecret,
    pub key: TagKey,
    pub powers: Powers,
    pub claims: ClaimSet,
    claim: Claim,
    nodes: Vec<[u8; 64]>,
}

impl Object {
    pub fn new() -> Self {
        let blocks = blocks_for(OBJECT_BYTES);
        let total_bytes = blocks * BLOCK_BYTES as u64;
        let (mut builder, mut found) = (OutboardBuilder::new(total_bytes), vec![]);
        for start in (0..total_bytes).step_by(GROUP_BYTES as usize) {
            builder.update(&bytes(start, GROUP_BYTES.min(total_bytes - start)), &mut found).unwrap();
        }
        let mut nodes = vec![[0; 64]; found.len()];
        found.iter().for_each(|node| nodes[node.position as usize] = node.pair);
        let secret = TagSecret::derive(&OwnerSecret::new([3; 32]));
        let key = secret.key();
        let powers = Powers::parse(&secret.powers(), &key, &[4; 32]).unwrap();
        let claim = Claim {
            object_id: Hash32([1; 32]),
            replica_index: 0,
            root: builder.finish().unwrap(),
            object_length: OBJECT_BYTES,
            blocks,
            tag_key_id: key.id(),
            owner: Address([2; 20]),
        };
        let claims = ClaimSet::new(vec![claim.clone()]).unwrap().with_tag_keys([key.clone()]).unwrap();
        Self { secret, key, powers, claims, claim, nodes }
    }

    pub fn root(&self) -> Hash32 {
        self.claim.root
    }

    pub fn blocks(&self) -> u64 {
        self.claim.blocks
    }

    /// Bytes of the replica.
    pub fn bytes(&self) -> u64 {
        self.claim.bytes()
    }

    /// Bytes of the outboard.
    pub fn outboard_bytes(&self) -> u64 {
        size_of_val(self.nodes.as_slice()) as u64
    }

    pub fn name(&self) -> Name {
        Name::of(&self.claim, PROVIDER)
    }

    /// An audit of it, as an oracle asks it.
    pub fn challenge(&self, number: u32) -> Challenge {
        Challenge {
            instance: Instance { chain_id: 31_337, settlement: Address([0xaa; 20]) },
            epoch: 1,
            slot: 0,
            oracle: OracleId(1),
            provider: PROVIDER,
            kind: Kind::STORAGE,
            index: number,
            class_id: 100,
            claim_root: self.claims.root().hash,
            claim_blocks: self.claims.root().blocks,
            chunks: STORAGE_SAMPLES,
            slices_one_in: SLICES_ONE_IN,
            extra: Vec::new(),
            child: keccak([b"bench audit", &number.to_be_bytes()[..]]).0,
        }
    }

    /// What an audit's compact proof has to prove.
    pub fn terms(&self, challenge: &Challenge) -> Terms {
        let blocks = challenge.samples().into_iter().map(|sample| (self.name(), sample.block));
        Terms::draw(&challenge.seed(), &self.key.id(), blocks)
    }

    /// A block and its tag.
    pub fn tagged_block(&self, block: u64) -> (Vec<u8>, [u8; TAG_BYTES]) {
        let bytes = bytes(block * BLOCK_BYTES as u64, BLOCK_BYTES as u64);
        let evaluation = self.secret.evaluate(&bytes).unwrap();
        let tag = self.secret.tags(&self.name(), block, &[evaluation]).try_into().unwrap();
        (bytes, tag)
    }

    /// Answers an audit, from blocks and tags in the order of its samples.
    pub fn prove(&self, terms: &Terms, blocks: &[(Vec<u8>, [u8; TAG_BYTES])]) -> Proof {
        let mut prover = Prover::new();
        for (item, (block, tag)) in terms.items.iter().zip(blocks) {
            prover.add(item.nu, block, tag).unwrap();
        }
        prover.finish(terms, &self.powers).unwrap()
    }

    /// The number in the replica of a sample's chunk, and its group's bytes.
    pub fn group_of(&self, sample: &Sample) -> (u64, Vec<u8>) {
        let chunk = sample.block * CHUNKS_PER_BLOCK + u64::from(sample.chunk);
        let (start, length) = slice::group_range(self.bytes(), chunk);
        (chunk, bytes(start, length))
    }

    /// The slice of a chunk, from its group's bytes.
    pub fn slice(&self, chunk: u64, group: &[u8]) -> Slice {
        let node = |position: u64| self.nodes.get(position as usize).copied();
        slice::prove(&self.root(), self.bytes(), chunk, group, node).unwrap()
    }

    pub fn verify_slice(&self, chunk: u64, slice: &Slice) -> bool {
        slice::verify(&self.root(), self.bytes(), chunk, slice).is_ok()
    }
}

/// The replica's bytes there: they look random and cost little.
pub fn bytes(start: u64, length: u64) -> Vec<u8> {
    let first = start / 8;
    let words = (first..(start + length).div_ceil(8)).flat_map(|word| mixed(word).to_le_bytes());
    words.skip((start % 8) as usize).take(length as usize).collect()
}

/// SplitMix64's output function.
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
