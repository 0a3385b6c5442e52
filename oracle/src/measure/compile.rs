//! From stored evidence to what is committed to.

use assay_challenger::convert::decode_bundle;
use assay_core::bls::Signature;
use assay_core::challenge::Challenge;
use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use assay_core::observation::{Commit, Fact, Reveal, SaltedObservation, Seeds, VerifiedReveal};
use assay_core::transcript::{PairSchedule, Transcript, facts_of, one_of_each_ask, summarise};
use assay_proto::oracle_convert::{MAX_MESSAGE_BYTES, encoded_fact_bytes};
use tracing::info;

use super::subject::Subject;
use super::tally::tally;
use super::{MeasureError, Measurer};
use crate::frame::Frame;

impl Measurer {
    /// Reads the evidence back and turns it into observations: what was stored is what is committed to.
    pub(super) async fn compile(
        &self,
        frame: &Frame,
        seeds: Seeds,
        vrfs: Vec<Signature>,
        subjects: impl ExactSizeIterator<Item = &Subject>,
    ) -> Result<(VerifiedReveal, Commit), MeasureError> {
        let setting = &frame.setting;
        let (epoch, me) = (setting.epoch, self.signer.oracle());
        let panels = setting.panels(&seeds.epoch);
        let (mut observations, mut tallies) = (Vec::new(), Vec::new());
        let (mut facts, mut struck) = (Vec::new(), Vec::new());
        let mut budget = Budget::new(FACTS_BYTES, subjects.len());
        for subject in subjects {
            let terms = &subject.terms;
            let panel = panels.of(terms.provider);
            let Some(schedule) = PairSchedule::new(setting, &panel, terms, me, &seeds, &vrfs) else { continue };
            let watched = subject.watched();
            let transcripts = self.transcripts(epoch, terms.provider, &schedule, watched).await?;
            let rebuttal = self.rebuttal(subject, setting.ref_block).await?;
            budget.open();
            let mut own_facts = proven(subject, epoch, rebuttal.as_slice(), &transcripts, setting.params.facts_per_provider);
            own_facts.retain(|fact| budget.takes(encoded_fact_bytes(fact)));
            let mut observation = summarise(setting, terms, me, &schedule, &transcripts, watched, &own_facts);
            if let Some(bend) = &self.bend {
                bend(&mut observation, &mut own_facts);
            }
            tallies.extend(subject.claims.get().map(|claims| tally(setting, terms.provider, claims, &transcripts)));
            struck.extend(transcripts.iter().map(|t| &t.challenge).find(|challenge| challenge.digest() == observation.struck).cloned());
            observations.push(SaltedObservation { observation, salt: random_salt()? });
            facts.extend(own_facts);
        }
        observations.sort_by_key(|salted| salted.observation.provider);
        let reveal = Reveal { epoch, oracle: me, seeds, observations, vrfs, facts, struck };
        let commit = Commit {
            epoch,
            oracle: me,
            seeds: reveal.seeds.digest(),
            secure: reveal.seeds.secure,
            root: reveal.root(),
            leaf_count: u32::try_from(reveal.observations.len()).unwrap_or(u32::MAX),
            log_head: Hash32::ZERO,
        };
        let verified = reveal.verify(&commit, setting)?;
        self.keep_tallies(setting, &tallies).await?;
        // Nothing that was measured: it is secret until the reveals.
        info!(epoch, providers = verified.reveal.observations.len(), "measured");
        Ok((verified, commit))
    }

    /// What is stored of the provider under these VRFs, and of the challenge that its panel watches. A restart may have changed a slot's
    /// seed: what was asked under the other one is on no schedule that we reveal.
    pub(super) async fn transcripts(
        &self,
        epoch: u64,
        provider: ProviderId,
        schedule: &PairSchedule,
        watched: Option<&Challenge>,
    ) -> Result<Vec<Transcript>, MeasureError> {
        let mut transcripts = Vec::new();
        for bundle in self.store.evidence_about(epoch, provider).await? {
            transcripts.extend(decode_bundle(&bundle.bundle).map_err(|_| MeasureError::Evidence { epoch })?.transcripts);
        }
        transcripts.retain(|transcript| schedule.has(&transcript.challenge) || watched == Some(&transcript.challenge));
        Ok(one_of_each_ask(transcripts))
    }
}

/// Bytes of all facts of a reveal: what is left of the largest message is for 4,096 observations and as many struck challenges.
const FACTS_BYTES: usize = MAX_MESSAGE_BYTES / 4 * 3;

/// Room for facts, shared out: every provider adds an equal part, and what it leaves goes to those after it. A reveal that is too large is
/// read by nobody, and one fact is enough to slash: better to let some go than to lose the epoch.
struct Budget {
    part: usize,
    left: usize,
}

impl Budget {
    fn new(bytes: usize, providers: usize) -> Self {
        Self { part: bytes / providers.max(1), left: 0 }
    }

    /// The next provider's part is added.
    fn open(&mut self) {
        self.left += self.part;
    }

    /// Whether there is room; if so it is taken.
    fn takes(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// What the transcripts prove, each under the claims that its challenge names: first what was rebutted on the chain, then the challenge
/// that was watched, then our own.
fn proven(subject: &Subject, epoch: u64, rebuttal: &[Transcript], transcripts: &[Transcript], limit: u32) -> Vec<Fact> {
    // They are in order of their challenges' epochs.
    let (watched, own) = transcripts.split_at(transcripts.partition_point(|transcript| transcript.challenge.epoch < epoch));
    let mut facts = Vec::new();
    for transcripts in [rebuttal, watched, own] {
        let claims = transcripts.first().and_then(|transcript| subject.claims_of(&transcript.challenge));
        facts.extend(claims.iter().flat_map(|claims| facts_of(transcripts, claims, limit)));
    }
    facts.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    facts
}

fn random_salt() -> Result<Hash32, MeasureError> {
    let mut salt = [0; 32];
    getrandom::fill(&mut salt).map_err(MeasureError::Randomness)?;
    Ok(Hash32(salt))
}

#[cfg(test)]
pub(super) mod tests {
    use assay_core::challenge::Kind;
    use assay_core::ids::{Address, Instance, OracleId};
    use assay_core::transcript::Outcome;

    use super::*;

    /// Of an echo's first ask.
    pub(in super::super) fn transcript(index: u32, outcome: Outcome) -> Transcript {
        let challenge = Challenge {
            instance: Instance { chain_id: 1, settlement: Address([2; 20]) },
            epoch: 3,
            slot: 4,
            oracle: OracleId(5),
            provider: ProviderId(6),
            kind: Kind::LATENCY_ECHO,
            index,
            class_id: 100,
            claim_root: Hash32::ZERO,
            claim_blocks: 0,
            chunks: 0,
            slices_one_in: 0,
            extra: vec![],
            child: [7; 32],
        };
        Transcript {
            challenge,
            strike: 0,
            scheduled_at_us: 0,
            slip_us: 0,
            rtt_us: None,
            readings: vec![],
            outcome,
            answer: None,
            signature: None,
        }
    }

    // Defence: `Budget`. Without it some hundred cheap providers that sign wrong answers make every honest reveal too large to be sent, and
    // nobody is judged or slashed.
    #[test]
    fn facts_of_any_number_of_providers_fit_a_reveal_and_few_are_all_kept() {
        let fact = 5_000;
        for providers in [1, 6, 600, 4_096] {
            let mut budget = Budget::new(FACTS_BYTES, providers);
            let kept: Vec<usize> = (0..providers)
                .map(|_| {
                    budget.open();
                    (0..4).filter(|_| budget.takes(fact)).count()
                })
                .collect();
            let all: usize = kept.iter().sum();
            assert!(all * fact <= FACTS_BYTES, "{providers}");
            assert!(providers > 600 || all == providers * 4, "{providers}: {all}");
            assert!(kept.iter().filter(|facts| **facts > 0).count() * 2 > providers, "{providers}: most are proven");
        }
        let mut after_honest_ones = Budget::new(FACTS_BYTES, 4_096);
        (0..2).for_each(|_| after_honest_ones.open());
        assert!(after_honest_ones.takes(fact), "what others leave is there");
    }
}
