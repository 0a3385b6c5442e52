//! From stored evidence to what is committed to.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use assay_challenger::convert::decode_bundle;
use assay_core::bls::Signature;
use assay_core::challenge::Challenge;
use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use assay_core::observation::{Commit, Fact, Reveal, SaltedObservation, Seeds, VerifiedReveal};
use assay_core::transcript::{Outcome, PairSchedule, Transcript, facts_of, summarise};
use tracing::info;

use super::subject::Subject;
use super::{MeasureError, Measurer};
use crate::frame::Frame;

impl Measurer {
    /// Reads the evidence back and turns it into observations: what was stored is what is committed to.
    pub(super) async fn compile(
        &self,
        frame: &Frame,
        seeds: Seeds,
        vrfs: Vec<Signature>,
        subjects: impl Iterator<Item = &Subject>,
    ) -> Result<(VerifiedReveal, Commit), MeasureError> {
        let setting = &frame.setting;
        let (epoch, me) = (setting.epoch, self.signer.oracle());
        let panels = setting.panels(&seeds.epoch);
        let mut observations = Vec::new();
        let (mut facts, mut struck) = (Vec::new(), Vec::new());
        for subject in subjects {
            let terms = &subject.terms;
            let panel = panels.of(terms.provider);
            let Some(schedule) = PairSchedule::new(setting, &panel, terms, me, &seeds, &vrfs) else { continue };
            let watched = subject.watched();
            let transcripts = self.transcripts(epoch, terms.provider, &schedule, watched).await?;
            let rebuttal = self.rebuttal(subject, setting.kinds, setting.ref_block).await?;
            let mut own_facts = proven(subject, epoch, rebuttal.as_slice(), &transcripts, setting.params.facts_per_provider);
            let mut observation = summarise(setting, terms, me, &schedule, &transcripts, watched, &own_facts);
            if let Some(bend) = &self.bend {
                bend(&mut observation, &mut own_facts);
            }
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
        Ok(merge(transcripts))
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

/// One transcript of each ask, in order. After a restart in the middle of a slot the probes before it are stored a second time, as lost:
/// what was measured stays.
fn merge(transcripts: Vec<Transcript>) -> Vec<Transcript> {
    let mut by_ask = BTreeMap::new();
    for transcript in transcripts {
        let challenge = &transcript.challenge;
        match by_ask.entry((challenge.epoch, challenge.slot, challenge.oracle, challenge.index, transcript.strike)) {
            Entry::Vacant(free) => {
                free.insert(transcript);
            }
            Entry::Occupied(mut kept) if is_lost(kept.get()) => {
                kept.insert(transcript);
            }
            Entry::Occupied(_) => {}
        }
    }
    by_ask.into_values().collect()
}

fn is_lost(transcript: &Transcript) -> bool {
    matches!(transcript.outcome, Outcome::OracleError(_))
}

fn random_salt() -> Result<Hash32, MeasureError> {
    let mut salt = [0; 32];
    getrandom::fill(&mut salt).map_err(MeasureError::Randomness)?;
    Ok(Hash32(salt))
}

#[cfg(test)]
pub(super) mod tests {
    use assay_core::challenge::{Checked, Kind};
    use assay_core::ids::{Address, Instance, OracleId};
    use assay_core::transcript::OracleFault;

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

    // Defence: the guard in `merge`; when the first that is read stays, whatever it is, a restart strikes out what was measured before.
    #[test]
    fn a_probe_that_a_restart_lost_does_not_strike_out_what_was_measured() {
        let lost = transcript(1, Outcome::OracleError(OracleFault::SendSlip));
        let silent = transcript(1, Outcome::Silent);
        let checked = transcript(1, Outcome::Checked(Checked { valid: 1, invalid: vec![], missing: vec![] }));
        assert_eq!(merge(vec![lost.clone(), silent.clone()]), std::slice::from_ref(&silent));
        assert_eq!(merge(vec![silent.clone(), lost.clone()]), std::slice::from_ref(&silent));
        assert_eq!(merge(vec![silent.clone(), checked]), std::slice::from_ref(&silent), "of two measurements the first");
        assert_eq!(merge(vec![transcript(2, Outcome::Silent), lost.clone()]), [lost, transcript(2, Outcome::Silent)]);
        let again = Transcript { strike: 1, ..silent.clone() };
        assert_eq!(merge(vec![again.clone(), silent.clone()]), [silent, again], "each ask is one of its own");
    }
}
