//! An owner, its replicas and an honest provider, for the tests of `core::compact`.
#![allow(dead_code)] // Every test file uses another part.

use std::sync::OnceLock;

use assay_core::claim::Claim;
use assay_core::compact::{Name, Powers, Proof, Prover, TAG_BYTES, TagKey, TagSecret, Terms};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, ProviderId};
use assay_core::replica::{BLOCK_BYTES, OwnerSecret, blocks_for};

pub const SEED: [u8; 32] = [0x5e; 32];

pub fn word(label: &str) -> Hash32 {
    keccak([b"assay vector ", label.as_bytes()])
}

/// Someone with a tag secret. Making the powers takes half a second, so a test file makes them once.
pub struct Owner {
    pub secret: TagSecret,
    pub key: TagKey,
    pub power_bytes: Vec<u8>,
    pub powers: Powers,
}

impl Owner {
    pub fn new(byte: u8) -> Self {
        let secret = TagSecret::derive(&OwnerSecret::new([byte; 32]));
        let (key, power_bytes) = (secret.key(), secret.powers());
        let powers = Powers::parse(&power_bytes, &key, &SEED).unwrap();
        Self { secret, key, power_bytes, powers }
    }
}

pub fn owner() -> &'static Owner {
    static OWNER: OnceLock<Owner> = OnceLock::new();
    OWNER.get_or_init(|| Owner::new(1))
}

pub fn other_owner() -> &'static Owner {
    static OWNER: OnceLock<Owner> = OnceLock::new();
    OWNER.get_or_init(|| Owner::new(2))
}

/// The first bytes of BLAKE3's extended output over the text.
pub fn block(text: &str) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK_BYTES];
    blake3::Hasher::new().update(text.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[derive(Clone)]
pub struct Replica {
    pub claim: Claim,
    pub name: Name,
    pub blocks: Vec<Vec<u8>>,
    pub tags: Vec<u8>,
}

impl Replica {
    pub fn tag(&self, block: u64) -> &[u8] {
        self.tags.chunks(TAG_BYTES).nth(block as usize).unwrap()
    }
}

pub const PROVIDER: ProviderId = ProviderId(9);

pub fn claim(owner: &Owner, label: &str, blocks: usize) -> Claim {
    let object_length = (blocks * BLOCK_BYTES - 64) as u64;
    assert_eq!(blocks_for(object_length), blocks as u64);
    Claim {
        object_id: word(&format!("object {label}")),
        replica_index: 0,
        root: word(&format!("root {label}")),
        object_length,
        blocks: blocks as u64,
        tag_key_id: owner.key.id(),
        owner: Address([7; 20]),
    }
}

/// A tagged replica of those blocks.
pub fn tagged(owner: &Owner, label: &str, blocks: Vec<Vec<u8>>) -> Replica {
    let claim = claim(owner, label, blocks.len());
    let name = Name::of(&claim, PROVIDER);
    let evaluations: Vec<_> = blocks.iter().map(|block| owner.secret.evaluate(block).unwrap()).collect();
    let tags = owner.secret.tags(&name, 0, &evaluations);
    Replica { claim, name, blocks, tags }
}

/// A replica of blocks with the contents `{label} {number}`.
pub fn replica(owner: &Owner, label: &str, blocks: usize) -> Replica {
    tagged(owner, label, (0..blocks).map(|number| block(&format!("{label} {number}"))).collect())
}

/// The terms for blocks given as (replica, block).
pub fn terms(owner: &Owner, seed: &str, replicas: &[Replica], blocks: &[(usize, u64)]) -> Terms {
    Terms::draw(&word(seed), &owner.key.id(), blocks.iter().map(|(at, block)| (replicas[*at].name, *block)))
}

/// What an honest provider of these replicas answers.
pub fn prove(owner: &Owner, terms: &Terms, replicas: &[Replica]) -> Proof {
    let mut prover = Prover::new();
    for item in &terms.items {
        let replica = replicas.iter().find(|replica| replica.name == item.name).unwrap();
        prover.add(item.nu, &replica.blocks[item.block as usize], replica.tag(item.block)).unwrap();
    }
    prover.finish(terms, &owner.powers).unwrap()
}

/// Asserts that the check refuses for that reason, and says by what it went wrong otherwise.
#[macro_export]
macro_rules! refused {
    ($result:expr, $($error:tt)+) => {
        match $result {
            Ok(_) => panic!("accepted what must be refused"),
            Err(error) => assert!(matches!(error, $($error)+), "refused for another reason: {error}"),
        }
    };
}
