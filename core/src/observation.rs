//! What one oracle says of one provider for one epoch, the facts that prove a fault, and the commit–reveal around both.

mod counts;

use std::collections::BTreeMap;
use std::sync::LazyLock;

pub use counts::{Counts, CountsList};
pub(crate) use counts::{Tally, tallies};

use crate::abi::Words;
use crate::bls::{BlsError, Domain, PublicKey, Signature};
use crate::challenge::compact::{CompactAnswer, ProofGroup};
use crate::challenge::kinds::storage::Storage;
use crate::challenge::schedule::vrf_message;
use crate::challenge::{Challenge, Kind, Kinds, STORAGE_SAMPLES, Sample};
use crate::claim::{Claim, ClaimProof, ClaimRoot};
use crate::compact::{self, Name, Proof, TAG_KEY_BYTES, TagKey};
use crate::hash::{Hash32, keccak};
use crate::ids::{Address, Instance, OracleId, ProviderId};
use crate::merkle;
use crate::report::Setting;
use crate::secp::{self, Signature65};
use crate::slice::Slice;
use crate::spread::Threads;
use crate::transcript::PairSchedule;

/// What an oracle saw of the challenge that the whole panel watches (see [`crate::report::Ledger::watch`]).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// It did not ask, or by its own fault cannot say.
    #[default]
    None,
    /// Asked at least as often as it takes to strike out, and never answered.
    Silent(Hash32),
    /// A signed answer came.
    Answered(Hash32),
}

impl Witness {
    /// (how, digest of the challenge): 0 none, 1 silent, 2 answered.
    pub fn parts(&self) -> (u8, Hash32) {
        match self {
            Self::None => (0, Hash32::ZERO),
            Self::Silent(challenge) => (1, *challenge),
            Self::Answered(challenge) => (2, *challenge),
        }
    }

    /// The witness with these parts; `None` when there is no such.
    pub fn from_parts(how: u32, challenge: Hash32) -> Option<Self> {
        match how {
            0 if challenge.is_zero() => Some(Self::None),
            1 => Some(Self::Silent(challenge)),
            2 => Some(Self::Answered(challenge)),
            _ => None,
        }
    }
}

/// An oracle's integer summary of one provider for one epoch.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Observation {
    /// Epoch.
    pub epoch: u64,
    /// Who was measured.
    pub provider: ProviderId,
    /// Who measured.
    pub oracle: OracleId,
    /// One entry for every kind of the network, ascending.
    pub counts: CountsList,
    /// What became of the challenge that the whole panel watches.
    pub witness: Witness,
    /// Digest of an own challenge that struck out: asked again and again, never answered. Zero for none.
    pub struck: Hash32,
    /// Merkle root over the digests of all transcripts.
    pub evidence_root: Hash32,
    /// Merkle root over the digests of the revealed facts.
    pub facts_root: Hash32,
}

impl Observation {
    /// Nothing measured yet.
    pub fn empty(kinds: Kinds, epoch: u64, provider: ProviderId, oracle: OracleId) -> Self {
        Self {
            epoch,
            provider,
            oracle,
            counts: kinds.iter().map(|plug| Counts::none(plug, 0)).collect(),
            witness: Witness::None,
            struck: Hash32::ZERO,
            evidence_root: Hash32::ZERO,
            facts_root: Hash32::ZERO,
        }
    }

    /// What it says of one kind.
    pub fn of(&self, kind: Kind) -> Option<&Counts> {
        self.counts.iter().find(|counts| counts.kind == kind)
    }

    /// The words of `assay.observation.v1`, without the salt. Every list is preceded by its length.
    pub fn words(&self) -> Words {
        let bytes = self.word_bytes();
        let mut words = Words::new();
        bytes.as_chunks().0.iter().for_each(|word| words.push(&Hash32(*word)));
        words
    }

    /// One word for the panel vector of `obsRoot`.
    pub fn word(&self) -> Hash32 {
        keccak([&self.word_bytes()])
    }

    /// The leaf under a commit: salted, so that it cannot be guessed before the reveal.
    pub fn leaf(&self, salt: &Hash32) -> Hash32 {
        let once = keccak([&self.word_bytes(), salt.as_bytes()]);
        keccak([once.as_bytes()])
    }

    /// The aggregation court's compact form: what observations of one provider and epoch do not share, numbers in 8 bytes and then four
    /// words. One of other kinds than the standard ones has no such form, and what comes out hashes to something else there.
    pub fn packed(&self) -> Vec<u8> {
        let (how, challenge) = self.witness.parts();
        let counts = self.counts.numbers();
        let of_kinds = tallies(&counts).flat_map(|tally| {
            [tally.scheduled, tally.counted].into_iter().chain([tally.bad, tally.readings].into_iter().flatten().copied())
        });
        let numbers = [self.oracle.0].into_iter().chain(of_kinds).chain([u64::from(how)]);
        let mut bytes: Vec<u8> = numbers.flat_map(u64::to_be_bytes).collect();
        [challenge, self.struck, self.evidence_root, self.facts_root].iter().for_each(|hash| bytes.extend(hash.as_bytes()));
        bytes
    }

    /// Whether there is one entry for every kind, and the counts can be true at all.
    pub fn is_possible(&self, kinds: Kinds) -> bool {
        self.counts.are_of(kinds)
    }

    /// Two thousand bytes, nearly all of them zero: written in one go, because a close does so a hundred thousand times.
    fn word_bytes(&self) -> Vec<u8> {
        static TAG: LazyLock<Hash32> = LazyLock::new(|| crate::hash::tag("assay.observation.v1"));
        let (how, challenge) = self.witness.parts();
        let counts = self.counts.numbers();
        let numbers = [self.epoch, self.provider.0, self.oracle.0].into_iter().chain(counts.iter().copied()).chain([u64::from(how)]);
        let hashes = [challenge, self.struck, self.evidence_root, self.facts_root];
        let count = counts.len().saturating_add(5).saturating_add(hashes.len());
        let mut bytes = vec![0; count.saturating_mul(32)];
        let mut words = bytes.as_chunks_mut::<32>().0.iter_mut();
        [TAG.0].into_iter().zip(words.by_ref()).for_each(|(tag, word)| *word = tag);
        for (number, word) in numbers.zip(words.by_ref()) {
            if let Some(low) = word.last_chunk_mut() {
                *low = number.to_be_bytes();
            }
        }
        hashes.iter().zip(words).for_each(|(hash, word)| *word = hash.0);
        bytes
    }
}

/// How a storage fact proves a fault; the number is the reason on chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum Fault {
    /// A signed answer that does not verify.
    StorageInvalid = 1,
    /// A signed statement that a chunk is missing.
    StorageMissing = 2,
    /// No answer to a challenge that the whole panel asked again and again. The provider may still answer it on chain.
    StorageSilent = 3,
}

impl Fault {
    /// The reason number of a slash leaf.
    pub fn reason(self) -> u8 {
        self as u8
    }

    /// The words shown to people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::StorageInvalid => "signed storage answer does not verify",
            Self::StorageMissing => "provider signed that stored data is missing",
            Self::StorageSilent => "provider was silent on a storage challenge before the whole panel",
        }
    }
}

/// A claim and its place in the provider's claim set.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlacedClaim {
    /// The claim.
    pub claim: Claim,
    /// Its path to the set's root.
    pub proof: ClaimProof,
}

/// What a fact shows beside the signed answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// Nothing: the provider signed that the sample is missing.
    Missing,
    /// A chunk that does not lead to its replica's root.
    Slice {
        /// The chunk and its path, as signed.
        slice: Slice,
        /// The claim that the sample falls into.
        place: PlacedClaim,
    },
    /// A compact proof, in the payload, that does not hold.
    Compact {
        /// The tag key of the proof, unchecked: its subgroup checks cost more than all else here, so they come last.
        key: [u8; TAG_KEY_BYTES],
        /// Every claim that the proof's samples fall into, ascending by place.
        places: Vec<PlacedClaim>,
    },
}

/// A provider-signed storage answer with one sample that proves a fault. Nothing in it is believed before [`Fact::verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// The challenge.
    pub challenge: Challenge,
    /// Which of its samples is at fault; of a compact proof the first that it covers.
    pub position: u32,
    /// The answer's payload, as signed.
    pub payload: Vec<u8>,
    /// The words of the answer's slices, as signed.
    pub words: Vec<Hash32>,
    /// What proves the fault.
    pub evidence: Evidence,
    /// The provider's signature over the answer.
    pub signature: Signature65,
}

/// What the chain says of a provider at the epoch's reference block, as far as facts need it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProviderKeys {
    /// Receipt key's address.
    pub receipt_key: Address,
    /// Service class.
    pub class_id: u16,
    /// Claim set.
    pub claims: ClaimRoot,
}

/// Why a fact proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FactError {
    /// It is of another instance, or about no storage challenge.
    #[error("the fact is of another instance, or about no storage challenge")]
    Context,
    /// The oracle's VRF schedules no such challenge: another epoch, oracle, class or claim set would shift what is drawn.
    #[error("the oracle's schedule has no such challenge: it was invented")]
    NotScheduled,
    /// The position is none of the challenge's samples, or the words are not as many as them.
    #[error("the fact names no sample of the challenge")]
    Position,
    /// The claim does not cover the sample, or is not in the claim set.
    #[error("the claim does not belong to the sample")]
    Claim,
    /// The receipt key did not sign this answer.
    #[error("the answer was not signed by the provider's receipt key")]
    Signature,
    /// The signed sample verifies: there is no fault.
    #[error("the sample verifies: there is no fault")]
    NoFault,
    /// The evidence is not of what was signed.
    #[error("the evidence is not of what the provider signed")]
    Slice,
}

impl Fact {
    /// Identity of the fact within its epoch.
    pub fn digest(&self) -> Hash32 {
        let answer = crate::challenge::digest_of_words(&self.payload, &self.words);
        Words::tagged("assay.fact.v1").with(&self.challenge.digest()).with(&answer).with(&self.position).keccak()
    }

    /// Proves the fault or says why there is none: everything is recomputed from the oracle's schedule and the chain.
    ///
    /// A fact about a challenge of an earlier epoch is proven likewise, but for the schedule: it counts only while its challenge is on
    /// the watch list that everybody computes ([`crate::report::Outcome::compute`]).
    pub fn verify(&self, setting: &Setting, schedule: &PairSchedule, provider: &ProviderKeys) -> Result<Fault, FactError> {
        let challenge = &self.challenge;
        if challenge.instance != setting.instance || challenge.kind != Kind::STORAGE || challenge.chunks != STORAGE_SAMPLES {
            return Err(FactError::Context);
        }
        if !challenge.has_possible_extra() {
            return Err(FactError::Context);
        }
        if challenge.epoch > setting.epoch || (challenge.epoch == setting.epoch && !schedule.has(challenge)) {
            return Err(FactError::NotScheduled);
        }
        let answer = crate::challenge::digest_of_words(&self.payload, &self.words);
        let signed = crate::challenge::answer_signing_digest(challenge, &answer);
        if secp::recover(&signed, &self.signature) != Ok(provider.receipt_key) {
            return Err(FactError::Signature);
        }
        let statement = Statement::read(self)?;
        let claims = ClaimRoot { hash: challenge.claim_root, blocks: challenge.claim_blocks };
        match (&self.evidence, statement) {
            (Evidence::Missing, Statement::Missing) => Ok(Fault::StorageMissing),
            (Evidence::Slice { slice, place }, Statement::Slice(word, sample)) => wrong_slice(&claims, &sample, &word, slice, place),
            (Evidence::Compact { key, places }, Statement::Proof(group)) => self.wrong_proof(&claims, &group, key, places),
            _ => Err(FactError::Slice),
        }
    }

    fn wrong_proof(
        &self,
        claims: &ClaimRoot,
        group: &ProofGroup,
        key: &[u8; TAG_KEY_BYTES],
        places: &[PlacedClaim],
    ) -> Result<Fault, FactError> {
        let mut placed = Vec::with_capacity(places.len());
        for PlacedClaim { claim, proof } in places {
            let first = proof.verify(claims, claim).map_err(|_| FactError::Claim)?;
            placed.push((first, claim));
        }
        let named = |sample: &Sample| {
            let within = |(first, claim): &(u64, &Claim)| sample.block.checked_sub(*first).filter(|block| *block < claim.blocks);
            let (at, block) = placed.iter().find_map(|at| Some((at, within(at)?)))?;
            (at.1.tag_key_id == group.key).then(|| (Name::of(at.1, self.challenge.provider), block))
        };
        let terms = self.challenge.compact_terms(&group.key, group.positions, named).ok_or(FactError::Claim)?;
        let key = TagKey::from_bytes(key).ok().filter(|key| key.id() == group.key).ok_or(FactError::Claim)?;
        match Proof::from_bytes(&group.proof).is_ok_and(|proof| compact::verify(&key, &terms, &proof).is_ok()) {
            true => Err(FactError::NoFault),
            false => Ok(Fault::StorageInvalid),
        }
    }
}

/// What a provider signed about one sample.
enum Statement {
    /// It does not hold it.
    Missing,
    /// The word of its slice.
    Slice(Hash32, Sample),
    /// It is the first of those that this proof covers.
    Proof(ProofGroup),
}

impl Statement {
    fn read(fact: &Fact) -> Result<Self, FactError> {
        let samples = fact.challenge.samples();
        let position = usize::try_from(fact.position).map_err(|_| FactError::Position)?;
        let sample = *samples.get(position).ok_or(FactError::Position)?;
        let compact = match fact.payload.is_empty() {
            true => CompactAnswer::default(),
            false => CompactAnswer::parse(&fact.payload).ok_or(FactError::Position)?,
        };
        let by_slice: Vec<usize> = (0..samples.len()).filter(|position| !compact.covered().has(*position)).collect();
        // An answer by slices alone may stand on the chain, with another number of samples: what it leaves out, it states missing.
        if !fact.payload.is_empty() && fact.words.len() != by_slice.len() {
            return Err(FactError::Position);
        }
        if compact.missing.has(position) {
            return Ok(Self::Missing);
        }
        if let Some(group) = compact.group_of(position) {
            let is_first = group.positions.iter().next() == Some(position);
            return is_first.then(|| Self::Proof(group.clone())).ok_or(FactError::Position);
        }
        let at = by_slice.iter().position(|at| *at == position).ok_or(FactError::Position)?;
        Ok(match fact.words.get(at) {
            Some(word) if !word.is_zero() => Self::Slice(*word, sample),
            _ => Self::Missing,
        })
    }
}

fn wrong_slice(claims: &ClaimRoot, sample: &Sample, word: &Hash32, slice: &Slice, place: &PlacedClaim) -> Result<Fault, FactError> {
    if !slice.fits() || slice.digest() != *word {
        return Err(FactError::Slice);
    }
    let PlacedClaim { claim, proof } = place;
    let first_block = proof.verify(claims, claim).map_err(|_| FactError::Claim)?;
    let block = sample.block.checked_sub(first_block).filter(|block| *block < claim.blocks).ok_or(FactError::Claim)?;
    match crate::challenge::holds_in_replica(&claim.root, claim.blocks, block, sample.chunk, slice) {
        true => Err(FactError::NoFault),
        false => Ok(Fault::StorageInvalid),
    }
}

/// The seeds an oracle measured under: the epoch's and each slot's.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Seeds {
    /// The epoch's seed: panels.
    pub epoch: Hash32,
    /// One per slot: VRFs.
    pub slots: Vec<Hash32>,
    /// Whether every one of them comes from a beacon round, none from the fallback.
    pub secure: bool,
}

impl Seeds {
    /// The one word a commit names.
    pub fn digest(&self) -> Hash32 {
        let mut words = Words::tagged("assay.seeds.v1").with(&self.secure).with(&self.epoch);
        for seed in &self.slots {
            words.push(seed);
        }
        words.keccak()
    }
}

/// An oracle's binding to its observations, before it sees anybody else's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Commit {
    /// Epoch.
    pub epoch: u64,
    /// Who commits.
    pub oracle: OracleId,
    /// Digest of [`Seeds`].
    pub seeds: Hash32,
    /// Whether these seeds are the beacon's own.
    pub secure: bool,
    /// Merkle root over the salted observations.
    pub root: Hash32,
    /// How many there are.
    pub leaf_count: u32,
    /// Head of the oracle's own verdict log; zero until it keeps one.
    pub log_head: Hash32,
}

impl Commit {
    /// What the verdict key signs and everything later names (`assay.commit.v1`).
    pub fn digest(&self, instance: &Instance) -> Hash32 {
        Words::tagged("assay.commit.v1")
            .with_instance(instance)
            .with(&self.epoch)
            .with(&self.oracle)
            .with(&self.seeds)
            .with(&self.secure)
            .with(&self.root)
            .with(&self.leaf_count)
            .with(&self.log_head)
            .keccak()
    }
}

/// A commit and its signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedCommit {
    /// The statement.
    pub commit: Commit,
    /// By the verdict key.
    pub signature: Signature,
}

impl SignedCommit {
    /// Checks the signature.
    pub fn verify(&self, instance: &Instance, key: &PublicKey) -> Result<(), BlsError> {
        key.verify(Domain::Commit, &self.commit.digest(instance), &self.signature)
    }
}

/// One observation with the salt that hid it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaltedObservation {
    /// The values.
    pub observation: Observation,
    /// 32 random bytes.
    pub salt: Hash32,
}

/// Everything behind a commit. Not signed: the commit's root binds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reveal {
    /// Epoch.
    pub epoch: u64,
    /// Who reveals.
    pub oracle: OracleId,
    /// The seeds behind the commit's digest.
    pub seeds: Seeds,
    /// All observations, ascending by provider.
    pub observations: Vec<SaltedObservation>,
    /// The VRF of every slot.
    pub vrfs: Vec<Signature>,
    /// Proven faults, bound by the observations' facts roots.
    pub facts: Vec<Fact>,
    /// Own challenges that struck out, at most one a provider, bound by the observations' `struck`.
    pub struck: Vec<Challenge>,
}

/// Why a reveal is no reveal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RevealError {
    /// Another epoch or oracle than the commit's.
    #[error("the reveal is for another epoch or oracle than the commit")]
    Context,
    /// Its observations or seeds do not hash to what was committed.
    #[error("the reveal does not match the commit")]
    Mismatch,
    /// Observations not ascending by provider, of another epoch or oracle, of an unknown provider, with impossible counts, or with other
    /// scheduled counts than the VRFs give.
    #[error("an observation is out of order, of another epoch or oracle, impossible, or not of what the vrfs schedule")]
    Observation,
    /// Not one valid VRF for every slot.
    #[error("a slot's vrf is missing or does not verify")]
    Vrf,
    /// Too many facts, or facts that are not the committed ones.
    #[error("the facts are not the committed ones")]
    Facts,
    /// A fact that proves nothing.
    #[error("invented fact: {0}")]
    InventedFact(#[from] FactError),
    /// Challenges that struck out and are not the committed ones, not scheduled, or not counted as silent.
    #[error("a challenge that struck out is not committed to, not scheduled, or not counted as silent")]
    Struck,
}

/// A reveal that matches its commit and whose every fact is proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedReveal {
    /// The reveal.
    pub reveal: Reveal,
    /// Digest of the commit it opens.
    pub commit_digest: Hash32,
    /// What each fact proves, in the order of the reveal's facts.
    pub faults: Vec<Fault>,
}

/// The root over facts, in a commit and in a slash leaf.
pub fn facts_root<'a>(facts: impl IntoIterator<Item = &'a Hash32>) -> Hash32 {
    merkle::root(facts.into_iter().map(|digest| merkle::leaf(&Words::new().with(digest))).collect())
}

impl Reveal {
    /// The root and count that a commit to these observations names.
    pub fn root(&self) -> Hash32 {
        merkle::root(Threads::available().map(&self.observations, |salted| salted.observation.leaf(&salted.salt)))
    }

    /// Checks everything a commit and the chain allow to check.
    pub fn verify(self, commit: &Commit, setting: &Setting) -> Result<VerifiedReveal, RevealError> {
        let root = self.root();
        self.verify_under(root, commit, setting)
    }

    /// As [`Self::verify`], with the root of this very reveal.
    pub(crate) fn verify_under(self, root: Hash32, commit: &Commit, setting: &Setting) -> Result<VerifiedReveal, RevealError> {
        if self.epoch != commit.epoch || self.oracle != commit.oracle || self.epoch != setting.epoch {
            return Err(RevealError::Context);
        }
        let count = u32::try_from(self.observations.len()).map_err(|_| RevealError::Mismatch)?;
        if count != commit.leaf_count || self.seeds.digest() != commit.seeds || self.seeds.secure != commit.secure || root != commit.root {
            return Err(RevealError::Mismatch);
        }
        self.check_observations(setting.kinds)?;
        self.check_vrfs(setting)?;
        let faults = self.check_pairs(setting)?;
        let commit_digest = commit.digest(&setting.instance);
        Ok(VerifiedReveal { reveal: self, commit_digest, faults })
    }

    fn check_observations(&self, kinds: Kinds) -> Result<(), RevealError> {
        let mut previous = None;
        for SaltedObservation { observation, .. } in &self.observations {
            let ordered = previous.is_none_or(|previous| previous < observation.provider);
            if !ordered || observation.epoch != self.epoch || observation.oracle != self.oracle || !observation.counts.are_of(kinds) {
                return Err(RevealError::Observation);
            }
            previous = Some(observation.provider);
        }
        Ok(())
    }

    fn check_vrfs(&self, setting: &Setting) -> Result<(), RevealError> {
        let key = setting.member(self.oracle).ok_or(RevealError::Context)?.key;
        let slots = usize::try_from(setting.params.slots).map_err(|_| RevealError::Vrf)?;
        if self.vrfs.len() != slots || self.seeds.slots.len() != slots {
            return Err(RevealError::Vrf);
        }
        for ((slot, seed), vrf) in (0u32..).zip(&self.seeds.slots).zip(&self.vrfs) {
            let message = vrf_message(&setting.instance, self.epoch, slot, seed);
            key.verify(Domain::Vrf, &message, vrf).map_err(|_| RevealError::Vrf)?;
        }
        Ok(())
    }

    /// Everything that is said of one provider, against its schedule: what was scheduled is a function of the VRFs, never an oracle's
    /// word. Call after [`Self::check_vrfs`]. Returns what each fact proves.
    fn check_pairs(&self, setting: &Setting) -> Result<Vec<Fault>, RevealError> {
        let mut facts: BTreeMap<ProviderId, Vec<(usize, &Fact)>> = BTreeMap::new();
        for (at, fact) in self.facts.iter().enumerate() {
            facts.entry(fact.challenge.provider).or_default().push((at, fact));
        }
        let mut struck: BTreeMap<ProviderId, &Challenge> = BTreeMap::new();
        for challenge in &self.struck {
            if struck.insert(challenge.provider, challenge).is_some() {
                return Err(RevealError::Struck);
            }
        }
        let panels = setting.panels(&self.seeds.epoch);
        let check = |salted: &SaltedObservation| {
            let provider = salted.observation.provider;
            let own = facts.get(&provider).map_or(&[][..], Vec::as_slice);
            self.check_pair(setting, &panels.of(provider), &salted.observation, own, struck.get(&provider).copied())
        };
        // Each by itself, so that many can be checked at once; the first that does not hold counts.
        let parts = Threads::available().parts(&self.observations, |part| part.iter().map(check).collect::<Result<Vec<_>, _>>());
        let checked = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
        let is_observed =
            |provider: &ProviderId| self.observations.binary_search_by_key(provider, |salted| salted.observation.provider).is_ok();
        if !facts.keys().all(is_observed) {
            return Err(RevealError::Facts);
        }
        if !struck.keys().all(is_observed) {
            return Err(RevealError::Struck);
        }
        let faults: BTreeMap<usize, Fault> = checked.into_iter().flatten().flatten().collect();
        Ok(faults.into_values().collect())
    }

    fn check_pair(
        &self,
        setting: &Setting,
        panel: &[OracleId],
        observation: &Observation,
        facts: &[(usize, &Fact)],
        struck: Option<&Challenge>,
    ) -> Result<Vec<(usize, Fault)>, RevealError> {
        let terms = setting.provider(observation.provider).ok_or(RevealError::Observation)?;
        let schedule = PairSchedule::new(setting, panel, terms, self.oracle, &self.seeds, &self.vrfs).ok_or(RevealError::Observation)?;
        if tallies(&observation.counts.numbers()).any(|tally| tally.scheduled != schedule.scheduled(tally.kind)) {
            return Err(RevealError::Observation);
        }
        let limit = usize::try_from(setting.params.facts_per_provider).unwrap_or(usize::MAX);
        let digests: Vec<Hash32> = facts.iter().map(|(_, fact)| fact.digest()).collect();
        if digests.len() > limit || facts_root(&digests) != observation.facts_root {
            return Err(RevealError::Facts);
        }
        let prove = |(at, fact): &(usize, &Fact)| Ok((*at, fact.verify(setting, &schedule, &terms.keys)?));
        let faults = facts.iter().map(prove).collect::<Result<_, RevealError>>()?;
        check_struck(observation, struck, &schedule)?;
        Ok(faults)
    }
}

/// A challenge that struck out is the committed one, is on the schedule, and its samples are among the silent ones.
fn check_struck(observation: &Observation, struck: Option<&Challenge>, schedule: &PairSchedule) -> Result<(), RevealError> {
    let holds = match struck {
        None => observation.struck.is_zero(),
        Some(challenge) => {
            let numbers = observation.counts.numbers();
            let silent = tallies(&numbers).find(|tally| tally.kind == Kind::STORAGE).map_or(0, |tally| tally.bad_on(Storage::SILENT));
            challenge.digest() == observation.struck
                && challenge.kind == Kind::STORAGE
                && schedule.has(challenge)
                && silent >= u64::from(STORAGE_SAMPLES)
        }
    };
    if holds { Ok(()) } else { Err(RevealError::Struck) }
}

#[cfg(test)]
mod tests;
