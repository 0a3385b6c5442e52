//! What a storage challenge is answered with: slices and compact proofs over the blocks on disk. Everything here blocks.
//!
//! What is gone or does not lead to its root is stated missing. An error of the system is none of that: a signed "missing" is slashed, and
//! whoever fills our table of open files must not bring it about. Nothing is proven that was not checked against its root before, and no
//! proof is given out that does not verify: a wrong one is slashed too.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use assay_core::challenge::compact::{CompactAnswer, Positions, ProofGroup, named};
use assay_core::challenge::kinds::locality;
use assay_core::challenge::{Answer, Challenge, Sample};
use assay_core::claim::{Claim, ClaimSet};
use assay_core::compact::{Powers, Prover, TAG_BYTES, Terms, verify};
use assay_core::hash::Hash32;
use assay_core::replica::CHUNKS_PER_BLOCK;
use assay_core::slice::Slice;
use tracing::warn;

use crate::error::StoreError;
use crate::files::Files;
use crate::index::Block;
use crate::replica::{Replica, Tags, present};
use crate::store::Found;

/// Powers of tag keys by the keys' ids.
pub type PowersByKey = BTreeMap<Hash32, Arc<Powers>>;

/// Replicas and tags that one answer needs, each opened once; `None` where the file is gone.
struct Opened<'a> {
    files: &'a Files,
    replicas: HashMap<Hash32, Option<Replica>>,
    tags: HashMap<Hash32, Option<Tags>>,
    found: Found,
}

impl<'a> Opened<'a> {
    fn new(files: &'a Files) -> Self {
        Self { files, replicas: HashMap::new(), tags: HashMap::new(), found: Found::default() }
    }

    fn slice(&mut self, set: &ClaimSet, sample: &Sample) -> io::Result<Option<Slice>> {
        let Some((claim, block)) = set.locate(sample.block) else { return Ok(None) };
        let chunk = block.saturating_mul(CHUNKS_PER_BLOCK).saturating_add(u64::from(sample.chunk));
        let slice = match self.replica(claim)? {
            Some(replica) => replica.slice(chunk)?,
            None => None,
        };
        if slice.is_none() {
            self.lost(claim, block);
        }
        Ok(slice)
    }

    /// A block and its tag.
    fn block(&mut self, set: &ClaimSet, sample: &Sample) -> io::Result<Option<TaggedBlock>> {
        let Some((claim, block)) = set.locate(sample.block) else { return Ok(None) };
        let bytes = match self.replica(claim)? {
            Some(replica) => replica.block(block)?,
            None => None,
        };
        let tag = match self.tags(claim)? {
            Some(tags) => tags.tag(block)?,
            None => None,
        };
        let Some((bytes, tag)) = bytes.zip(tag) else {
            self.lost(claim, block);
            return Ok(None);
        };
        self.found.whole.push(Block { root: claim.root, block });
        Ok(Some(TaggedBlock { bytes, tag }))
    }

    fn replica(&mut self, claim: &Claim) -> io::Result<Option<&Replica>> {
        let replica = match self.replicas.entry(claim.root) {
            Entry::Occupied(replica) => replica.into_mut(),
            Entry::Vacant(free) => free.insert(present(self.files.open_replica(&claim.root, claim.bytes()))?),
        };
        Ok(replica.as_ref())
    }

    fn tags(&mut self, claim: &Claim) -> io::Result<Option<&Tags>> {
        let tags = match self.tags.entry(claim.root) {
            Entry::Occupied(tags) => tags.into_mut(),
            Entry::Vacant(free) => free.insert(present(self.files.open_tags(&claim.root))?),
        };
        Ok(tags.as_ref())
    }

    fn lost(&mut self, claim: &Claim, block: u64) {
        warn!(replica = %claim.root, block, "a stored block is missing or damaged");
        self.found.damaged.push(Block { root: claim.root, block });
    }
}

/// Reads the slice of every sample; `None` where it is missing.
pub fn read_slices(files: &Files, set: &ClaimSet, samples: &[Sample]) -> io::Result<(Vec<Option<Slice>>, Found)> {
    let mut opened = Opened::new(files);
    let slices = samples.iter().map(|sample| opened.slice(set, sample)).collect::<io::Result<_>>()?;
    Ok((slices, opened.found))
}

/// Walks a chain of dependent reads.
pub fn read_chain(files: &Files, set: &ClaimSet, challenge: &Challenge) -> io::Result<(Vec<Option<Slice>>, Found)> {
    let mut opened = Opened::new(files);
    let slices = locality::walk(challenge, |sample| opened.slice(set, sample))?;
    Ok((slices, opened.found))
}

struct TaggedBlock {
    bytes: Vec<u8>,
    tag: [u8; TAG_BYTES],
}

/// Everything of a compact answer that had to be read, ready to be proven.
pub struct Gathered {
    missing: Positions,
    groups: Vec<Group>,
    samples: Vec<Option<Slice>>,
}

struct Group {
    key: Hash32,
    positions: Positions,
    terms: Terms,
    prover: Prover,
}

/// Reads what a challenge asks for whose plan is not empty: at most 40 blocks are held at a time.
pub fn gather(files: &Files, set: &ClaimSet, challenge: &Challenge) -> Result<(Gathered, Found), StoreError> {
    let plan = challenge.compact_plan(set);
    let samples = challenge.samples();
    let mut opened = Opened::new(files);
    let mut gathered = Gathered { missing: Positions::default(), groups: Vec::new(), samples: Vec::new() };
    let mut planned = Positions::default();
    for (key, positions) in plan {
        planned = planned.and(positions);
        let mut blocks = Vec::new();
        let mut there = Positions::default();
        for (position, sample) in samples.iter().enumerate().filter(|(position, _)| positions.has(*position)) {
            match opened.block(set, sample)? {
                Some(block) => {
                    there.insert(position);
                    blocks.push(block);
                }
                None => gathered.missing.insert(position),
            }
        }
        if !there.is_empty() {
            gathered.groups.push(gather_group(set, challenge, key, there, &blocks)?);
        }
    }
    for (_, sample) in samples.iter().enumerate().filter(|(position, _)| !planned.has(*position)) {
        gathered.samples.push(opened.slice(set, sample)?);
    }
    Ok((gathered, opened.found))
}

fn gather_group(
    set: &ClaimSet,
    challenge: &Challenge,
    key: Hash32,
    positions: Positions,
    blocks: &[TaggedBlock],
) -> Result<Group, StoreError> {
    let terms = challenge.compact_terms(&key, positions, |sample| named(set, challenge.provider, sample));
    let terms = terms.ok_or(StoreError::Damaged("claims"))?;
    let mut prover = Prover::new();
    for (item, block) in terms.items.iter().zip(blocks) {
        prover.add(item.nu, &block.bytes, &block.tag).map_err(StoreError::OwnProof)?;
    }
    Ok(Group { key, positions, terms, prover })
}

impl Gathered {
    /// The tag keys under which something is proven.
    pub fn keys(&self) -> Vec<Hash32> {
        self.groups.iter().map(|group| group.key).collect()
    }

    /// The answer. Takes about a tenth of a second of a core for each key; `powers` must hold all of [`Self::keys`].
    pub fn prove(self, set: &ClaimSet, powers: &PowersByKey) -> Result<Answer, StoreError> {
        let mut groups = Vec::with_capacity(self.groups.len());
        for group in self.groups {
            let powers = powers.get(&group.key).ok_or(StoreError::NoTagKey(group.key))?;
            let key = set.tag_key(&group.key).ok_or(StoreError::NoTagKey(group.key))?;
            let proof = group.prover.finish(&group.terms, powers).map_err(StoreError::OwnProof)?;
            verify(key, &group.terms, &proof).map_err(StoreError::OwnProof)?;
            groups.push(ProofGroup { key: group.key, positions: group.positions, proof: proof.to_bytes() });
        }
        let payload = CompactAnswer { missing: self.missing, groups }.encode();
        Ok(Answer { payload, samples: self.samples })
    }
}
