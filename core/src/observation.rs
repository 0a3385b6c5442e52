//! What one oracle says of one provider for one epoch, the facts that prove a fault, and the commit–reveal around both.

use crate::abi::Words;
use crate::bls::{BlsError, Domain, PublicKey, Signature};
use crate::challenge::schedule::{PairSecret, vrf_message};
use crate::challenge::{Challenge, Kind, Sample};
use crate::claim::{Claim, ClaimProof, ClaimRoot};
use crate::hash::Hash32;
use crate::ids::{Address, Instance, OracleId, ProviderId};
use crate::merkle;
use crate::params::Params;
use crate::secp::{self, Signature65};
use crate::slice::Slice;
use crate::transcript::ScheduledCounts;

/// Good and bad events of one dimension.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Events that were counted.
    pub counted: u64,
    /// Counted events that missed the objective.
    pub bad: u64,
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
    /// Availability probes scheduled (retries are part of their probe).
    pub availability_scheduled: u64,
    /// Availability probes; bad = unanswered with all retries.
    pub availability: Tally,
    /// Latency probes scheduled.
    pub latency_scheduled: u64,
    /// Latency probes that were counted (a timeout counts).
    pub latency_counted: u64,
    /// Of these, slower than the class's T50 or unanswered.
    pub over_t50: u64,
    /// Slower than T95 or unanswered.
    pub over_t95: u64,
    /// Slower than T99 or unanswered.
    pub over_t99: u64,
    /// Median round trip of answered probes, µs; 0 when none was answered. For reading only.
    pub p50_us: u64,
    /// 95 % quantile of answered probes, µs; 0 when none was answered. For reading only.
    pub p95_us: u64,
    /// Storage samples asked for.
    pub storage_scheduled: u64,
    /// Samples that verified.
    pub storage_valid: u64,
    /// Samples whose signed answer does not verify.
    pub storage_invalid: u64,
    /// Samples that the provider stated missing.
    pub storage_missing: u64,
    /// Samples without a valid signed answer in time.
    pub storage_silent: u64,
    /// Samples lost by the oracle's own fault.
    pub storage_oracle_error: u64,
    /// Merkle root over the digests of all transcripts.
    pub evidence_root: Hash32,
    /// Merkle root over the digests of the revealed facts.
    pub facts_root: Hash32,
}

impl Observation {
    /// Nothing measured yet.
    pub fn empty(epoch: u64, provider: ProviderId, oracle: OracleId) -> Self {
        Self {
            epoch,
            provider,
            oracle,
            availability_scheduled: 0,
            availability: Tally::default(),
            latency_scheduled: 0,
            latency_counted: 0,
            over_t50: 0,
            over_t95: 0,
            over_t99: 0,
            p50_us: 0,
            p95_us: 0,
            storage_scheduled: 0,
            storage_valid: 0,
            storage_invalid: 0,
            storage_missing: 0,
            storage_silent: 0,
            storage_oracle_error: 0,
            evidence_root: Hash32::ZERO,
            facts_root: Hash32::ZERO,
        }
    }

    /// The words of `assay.observation.v1`, without the salt.
    pub fn words(&self) -> Words {
        let mut words = Words::tagged("assay.observation.v1").with(&self.epoch).with(&self.provider).with(&self.oracle);
        for value in [
            self.availability_scheduled,
            self.availability.counted,
            self.availability.bad,
            self.latency_scheduled,
            self.latency_counted,
            self.over_t50,
            self.over_t95,
            self.over_t99,
            self.p50_us,
            self.p95_us,
            self.storage_scheduled,
            self.storage_valid,
            self.storage_invalid,
            self.storage_missing,
            self.storage_silent,
            self.storage_oracle_error,
        ] {
            words.push(&value);
        }
        words.with(&self.evidence_root).with(&self.facts_root)
    }

    /// One word for the panel vector of `obsRoot`.
    pub fn word(&self) -> Hash32 {
        self.words().keccak()
    }

    /// The leaf under a commit: salted, so that it cannot be guessed before the reveal.
    pub fn leaf(&self, salt: &Hash32) -> Hash32 {
        merkle::leaf(&self.words().with(salt))
    }

    /// Whether the counts can be true at all.
    fn is_consistent(&self) -> bool {
        self.availability.bad <= self.availability.counted
            && self.availability.counted <= self.availability_scheduled
            && self.latency_counted <= self.latency_scheduled
            && [self.over_t50, self.over_t95, self.over_t99].iter().all(|over| *over <= self.latency_counted)
            && [self.storage_valid, self.storage_invalid, self.storage_missing, self.storage_silent, self.storage_oracle_error]
                .iter()
                .try_fold(0u64, |sum, part| sum.checked_add(*part))
                == Some(self.storage_scheduled)
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
        }
    }
}

/// A provider-signed storage answer with one sample that proves a fault. Nothing in it is believed before [`Fact::verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// The challenge.
    pub challenge: Challenge,
    /// Which of its samples is at fault.
    pub position: u32,
    /// The words of all samples, as signed.
    pub words: Vec<Hash32>,
    /// The failing chunk and path; `None` for a missing one.
    pub slice: Option<Slice>,
    /// The claim the sample falls into.
    pub claim: Claim,
    /// Its place in the claim set.
    pub proof: ClaimProof,
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
    /// It names another epoch, oracle, provider, instance, class or claim set: each shifts what is drawn, so none may be chosen.
    #[error("the fact is about another epoch, oracle, provider, class or claim set")]
    Context,
    /// The oracle's VRF schedules no such challenge.
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
    /// The slice is not the one that was signed.
    #[error("the slice is not the one that the provider signed")]
    Slice,
}

impl Fact {
    /// Identity of the fact within its epoch.
    pub fn digest(&self) -> Hash32 {
        let answer = crate::challenge::answer_digest_of(&self.words);
        Words::tagged("assay.fact.v1").with(&self.challenge.digest()).with(&answer).with(&self.position).keccak()
    }

    /// Proves the fault or says why there is none: everything is recomputed from the oracle's VRF and the chain.
    pub fn verify(
        &self,
        instance: &Instance,
        epoch: u64,
        oracle: OracleId,
        provider: &ProviderKeys,
        vrf: &Signature,
        params: &Params,
    ) -> Result<Fault, FactError> {
        let challenge = &self.challenge;
        if challenge.instance != *instance
            || challenge.epoch != epoch
            || challenge.oracle != oracle
            || challenge.class_id != provider.class_id
            || challenge.claim_root != provider.claims.hash
            || challenge.claim_blocks != provider.claims.blocks
        {
            return Err(FactError::Context);
        }
        let pair = PairSecret::new(vrf, challenge.provider);
        let scheduled = pair.schedule(params).into_iter().any(|s| s.index == challenge.index && s.kind == Kind::Storage);
        if challenge.kind != Kind::Storage || !scheduled || pair.child(challenge.index) != challenge.child {
            return Err(FactError::NotScheduled);
        }
        let samples = challenge.samples();
        let position = usize::try_from(self.position).map_err(|_| FactError::Position)?;
        let (sample, word) = match (samples.get(position), self.words.get(position)) {
            (Some(sample), Some(word)) if self.words.len() == samples.len() => (sample, word),
            _ => return Err(FactError::Position),
        };
        let answer = crate::challenge::answer_digest_of(&self.words);
        let signed = crate::challenge::answer_signing_digest(challenge, &answer);
        if secp::recover(&signed, &self.signature) != Ok(provider.receipt_key) {
            return Err(FactError::Signature);
        }
        self.fault_of(sample, word, &provider.claims)
    }

    fn fault_of(&self, sample: &Sample, word: &Hash32, claims: &ClaimRoot) -> Result<Fault, FactError> {
        let Some(slice) = &self.slice else {
            return if word.is_zero() { Ok(Fault::StorageMissing) } else { Err(FactError::Slice) };
        };
        if slice.digest() != *word {
            return Err(FactError::Slice);
        }
        let first_block = self.proof.verify(claims, &self.claim).map_err(|_| FactError::Claim)?;
        let block = sample.block.checked_sub(first_block).filter(|block| *block < self.claim.blocks).ok_or(FactError::Claim)?;
        if crate::challenge::holds_in_replica(&self.claim.root, self.claim.blocks, block, sample.chunk, slice) {
            return Err(FactError::NoFault);
        }
        Ok(Fault::StorageInvalid)
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
        merkle::root(self.observations.iter().map(|salted| salted.observation.leaf(&salted.salt)).collect())
    }

    /// Checks everything a commit and the chain allow to check.
    ///
    /// `provider` gives a provider's keys at the epoch's reference block, `None` for an unknown one.
    pub fn verify(
        self,
        commit: &Commit,
        instance: &Instance,
        key: &PublicKey,
        params: &Params,
        provider: impl Fn(ProviderId) -> Option<ProviderKeys>,
    ) -> Result<VerifiedReveal, RevealError> {
        if self.epoch != commit.epoch || self.oracle != commit.oracle {
            return Err(RevealError::Context);
        }
        let count = u32::try_from(self.observations.len()).map_err(|_| RevealError::Mismatch)?;
        if count != commit.leaf_count
            || self.seeds.digest() != commit.seeds
            || self.seeds.secure != commit.secure
            || self.root() != commit.root
        {
            return Err(RevealError::Mismatch);
        }
        self.check_observations()?;
        self.check_vrfs(instance, key, params)?;
        self.check_scheduled(params, &provider)?;
        let faults = self.check_facts(instance, params, provider)?;
        let commit_digest = commit.digest(instance);
        Ok(VerifiedReveal { reveal: self, commit_digest, faults })
    }

    fn check_observations(&self) -> Result<(), RevealError> {
        let mut previous = None;
        for SaltedObservation { observation, .. } in &self.observations {
            let ordered = previous.is_none_or(|previous| previous < observation.provider);
            if !ordered || observation.epoch != self.epoch || observation.oracle != self.oracle || !observation.is_consistent() {
                return Err(RevealError::Observation);
            }
            previous = Some(observation.provider);
        }
        Ok(())
    }

    fn check_vrfs(&self, instance: &Instance, key: &PublicKey, params: &Params) -> Result<(), RevealError> {
        let slots = usize::try_from(params.slots).map_err(|_| RevealError::Vrf)?;
        if self.vrfs.len() != slots || self.seeds.slots.len() != slots {
            return Err(RevealError::Vrf);
        }
        for ((slot, seed), vrf) in (0u32..).zip(&self.seeds.slots).zip(&self.vrfs) {
            let message = vrf_message(instance, self.epoch, slot, seed);
            key.verify(Domain::Vrf, &message, vrf).map_err(|_| RevealError::Vrf)?;
        }
        Ok(())
    }

    /// What was scheduled is a function of the VRFs, never an oracle's word: coverage is judged by it. Call after [`Self::check_vrfs`].
    fn check_scheduled(&self, params: &Params, provider: impl Fn(ProviderId) -> Option<ProviderKeys>) -> Result<(), RevealError> {
        for SaltedObservation { observation, .. } in &self.observations {
            let keys = provider(observation.provider).ok_or(RevealError::Observation)?;
            let stated = ScheduledCounts {
                availability: observation.availability_scheduled,
                latency: observation.latency_scheduled,
                storage_samples: observation.storage_scheduled,
            };
            if stated != ScheduledCounts::of(&self.vrfs, observation.provider, keys.claims.blocks, params) {
                return Err(RevealError::Observation);
            }
        }
        Ok(())
    }

    fn check_facts(
        &self,
        instance: &Instance,
        params: &Params,
        provider: impl Fn(ProviderId) -> Option<ProviderKeys>,
    ) -> Result<Vec<Fault>, RevealError> {
        let limit = usize::try_from(params.facts_per_provider).unwrap_or(usize::MAX);
        for SaltedObservation { observation, .. } in &self.observations {
            let digests: Vec<Hash32> =
                self.facts.iter().filter(|fact| fact.challenge.provider == observation.provider).map(Fact::digest).collect();
            if digests.len() > limit || facts_root(&digests) != observation.facts_root {
                return Err(RevealError::Facts);
            }
        }
        let mut faults = Vec::with_capacity(self.facts.len());
        for fact in &self.facts {
            let about = fact.challenge.provider;
            let observed = self.observations.iter().any(|salted| salted.observation.provider == about);
            let keys = provider(about).filter(|_| observed).ok_or(RevealError::Facts)?;
            let slot = usize::try_from(fact.challenge.slot).map_err(|_| RevealError::Facts)?;
            let vrf = self.vrfs.get(slot).ok_or(RevealError::Facts)?;
            faults.push(fact.verify(instance, self.epoch, self.oracle, &keys, vrf, params)?);
        }
        Ok(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::Checked;
    use crate::epoch::tests::{observed, secret, setting};
    use crate::report::Setting;
    use crate::transcript::{OracleFault, Outcome, Transcript, is_asked, summarise};

    /// Commits to the reveal as it stands, so that only what is behind the root can be wrong.
    fn verify(setting: &Setting, reveal: Reveal, known: bool) -> Result<VerifiedReveal, RevealError> {
        let commit = Commit {
            epoch: reveal.epoch,
            oracle: reveal.oracle,
            seeds: reveal.seeds.digest(),
            secure: reveal.seeds.secure,
            root: reveal.root(),
            leaf_count: reveal.observations.len() as u32,
            log_head: Hash32::ZERO,
        };
        let keys = |provider| setting.provider(provider).filter(|_| known).map(|terms| terms.keys);
        let key = secret(reveal.oracle.0).public_key();
        reveal.verify(&commit, &setting.instance, &key, &setting.params, keys)
    }

    // Defence: `check_scheduled`. Without it an oracle states a schedule of one probe, keeps full "coverage" of it and its vote, or states
    // that probes were never scheduled which it would rather not report.
    #[test]
    fn scheduled_counts_other_than_the_vrfs_are_refused() {
        let setting = setting(4, 3);
        let honest = observed(&setting, 1, 1).0.reveal;
        assert!(verify(&setting, honest.clone(), true).is_ok());
        let lies: [fn(&mut Observation); 7] = [
            |o| (o.latency_scheduled, o.latency_counted) = (1, 1),
            |o| o.latency_scheduled += 1,
            |o| (o.availability_scheduled, o.availability.counted) = (o.availability_scheduled - 1, o.availability.counted - 1),
            |o| o.availability_scheduled += 1,
            |o| (o.storage_scheduled, o.storage_valid) = (0, 0),
            |o| (o.storage_scheduled, o.storage_valid) = (o.storage_scheduled + 30, o.storage_valid + 30),
            |o| (o.storage_scheduled, o.storage_silent) = (o.storage_scheduled + 30, 30),
        ];
        for (number, lie) in lies.into_iter().enumerate() {
            for at in 0..honest.observations.len() {
                let mut reveal = honest.clone();
                lie(&mut reveal.observations[at].observation);
                assert!(reveal.observations[at].observation.is_consistent(), "lie {number} is a possible count");
                assert_eq!(verify(&setting, reveal, true).unwrap_err(), RevealError::Observation, "lie {number} about {at}");
            }
        }
    }

    // Defence: the `ok_or` of `check_scheduled`. Without it an oracle is believed about a provider that the chain does not know.
    #[test]
    fn an_observation_of_an_unknown_provider_is_refused() {
        let setting = setting(4, 1);
        let reveal = observed(&setting, 1, 1).0.reveal;
        assert_eq!(verify(&setting, reveal, false).unwrap_err(), RevealError::Observation);
    }

    // Defence: the schedule is counted by the same `is_asked` rule on both sides. Otherwise honest reveals are refused.
    #[test]
    fn whatever_became_of_its_probes_an_honest_summary_states_the_schedule() {
        for claim_blocks in [0, 10] {
            let mut setting = setting(4, 1);
            setting.providers[0].keys.claims.blocks = claim_blocks;
            let terms = setting.providers[0];
            let mut reveal = observed(&setting, 1, 1).0.reveal;
            let scheduled = ScheduledCounts::of(&reveal.vrfs, terms.provider, claim_blocks, &setting.params);
            for kept in [0, 1, 2, 5] {
                let transcripts = transcripts(&setting, &reveal.vrfs, kept);
                let class = setting.params.class(terms.class_id).unwrap();
                let observation = summarise(setting.epoch, terms.provider, reveal.oracle, class, &scheduled, &transcripts, &[]);
                reveal.observations[0].observation = observation;
                assert!(verify(&setting, reveal.clone(), true).is_ok(), "{claim_blocks} blocks, {kept} of 5 kept");
            }
        }
    }

    /// Transcripts of `kept` of every five probes that are asked, each twice, with every outcome there is.
    fn transcripts(setting: &Setting, vrfs: &[Signature], kept: usize) -> Vec<Transcript> {
        let terms = setting.providers[0];
        let claims = terms.keys.claims;
        let mut transcripts = Vec::new();
        for (slot, vrf) in (0u32..).zip(vrfs) {
            let pair = PairSecret::new(vrf, terms.provider);
            for (number, probe) in pair.schedule(&setting.params).into_iter().filter(|p| is_asked(p.kind, claims.blocks)).enumerate() {
                let challenge = Challenge {
                    instance: setting.instance,
                    epoch: setting.epoch,
                    slot,
                    oracle: OracleId(1),
                    provider: terms.provider,
                    kind: probe.kind,
                    index: probe.index,
                    class_id: terms.class_id,
                    claim_root: claims.hash,
                    claim_blocks: claims.blocks,
                    child: pair.child(probe.index),
                };
                let asked = probe.kind.samples().max(1) as u32;
                let outcome = match number % 4 {
                    0 => Outcome::Silent,
                    1 => Outcome::OracleError(OracleFault::Stall),
                    2 => Outcome::Checked(Checked { valid: asked, invalid: vec![], missing: vec![] }),
                    _ => Outcome::Checked(Checked { valid: asked - 1, invalid: vec![], missing: vec![0] }),
                };
                let transcript = Transcript {
                    challenge,
                    scheduled_at_us: probe.at_us,
                    slip_us: 0,
                    rtt_us: Some(900),
                    attempts: vec![],
                    outcome,
                    answer: None,
                    signature: None,
                };
                if number % 5 < kept {
                    transcripts.extend([transcript.clone(), transcript]);
                }
            }
        }
        transcripts
    }
}
