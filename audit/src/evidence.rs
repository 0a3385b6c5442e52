//! One observation against its evidence: the transcripts that its signed commit binds, judged again and counted again. Pure.

use std::collections::BTreeMap;

use assay_core::challenge::compact::CompactAnswer;
use assay_core::challenge::{self, Asked, Challenge};
use assay_core::claim::ClaimSet;
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::OracleId;
use assay_core::observation::{Observation, VerifiedReveal};
use assay_core::report::{ProviderTerms, Setting};
use assay_core::transcript::{PairSchedule, Transcript, evidence_root, judge, one_of_each_ask, summarise};
use assay_proto::bundle::Bundle;

use crate::findings::plural;

/// An observation and what it is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The epoch's frozen values.
    pub setting: &'a Setting,
    /// The reveal that holds it.
    pub reveal: &'a VerifiedReveal,
    /// The observation.
    pub observation: &'a Observation,
    /// The claim sets that the API gave, by root.
    pub claims: &'a BTreeMap<Hash32, ClaimSet>,
    /// The challenge that the whole panel may have asked beside its schedule.
    pub watched: Option<&'a Challenge>,
    /// Answers with slices or compact proofs are judged again until so many of them were verified; all when none.
    pub most_proofs: Option<u64>,
    /// Orders the answers that a sample is taken from: nobody can know it while measuring.
    pub order: Hash32,
}

/// How much was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Transcripts under the evidence root.
    pub transcripts: u64,
    /// Answers among them.
    pub answers: u64,
    /// Answers judged again.
    pub judged: u64,
    /// Slices and compact proofs in all answers.
    pub proofs: u64,
    /// Of these, verified.
    pub verified: u64,
    /// Slots with a seal by the provider over exactly its unsigned answers.
    pub sealed: u64,
    /// Slots with unsigned answers.
    pub sealable: u64,
}

impl Tally {
    /// Adds another observation's.
    pub fn add(&mut self, other: &Self) {
        self.transcripts += other.transcripts;
        self.answers += other.answers;
        self.judged += other.judged;
        self.proofs += other.proofs;
        self.verified += other.verified;
        self.sealed += other.sealed;
        self.sealable += other.sealable;
    }
}

/// How an observation and its evidence go together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The transcripts give the observation.
    Supported(Tally),
    /// They are the ones it binds, and give another: the oracle contradicts itself. With what comes out differently.
    Contradicted(Tally, String),
    /// They are not the ones it binds, or not all that is needed to judge them. With what is missing.
    NotDelivered(String),
}

/// Of a challenge of an earlier epoch an oracle keeps a few asks; more are not looked at.
const MAX_UNSCHEDULED: usize = 64;

/// Compares an observation with the bundles that were delivered as its evidence.
pub fn examine(question: &Question<'_>, bundles: &[Bundle]) -> Answer {
    let Question { setting, observation, .. } = question;
    let reveal = &question.reveal.reveal;
    let Some(terms) = setting.provider(observation.provider) else { return Answer::NotDelivered("the provider is unknown".into()) };
    let panel = setting.panel(&reveal.seeds.epoch, observation.provider);
    let schedule = PairSchedule::new(setting, &panel, terms, reveal.oracle, &reveal.seeds, &reveal.vrfs);
    let Some(schedule) = schedule else { return Answer::NotDelivered("the provider's class is unknown".into()) };
    let all = one_of_each_ask(bundles.iter().flat_map(|bundle| &bundle.transcripts));
    // What the panel watches is known late in an epoch: an oracle may have asked for the parent's, for an earlier ledger's, or for none. The
    // root tells.
    let mut candidates = vec![question.watched, None];
    for transcript in all.iter().filter(|t| t.challenge.epoch < setting.epoch).take(MAX_UNSCHEDULED) {
        if !candidates.contains(&Some(&transcript.challenge)) {
            candidates.push(Some(&transcript.challenge));
        }
    }
    let bound = candidates.into_iter().find_map(|watched| {
        let kept: Vec<Transcript> =
            all.iter().copied().filter(|t| schedule.has(&t.challenge) || watched == Some(&t.challenge)).cloned().collect();
        (evidence_root(kept.iter().map(Transcript::digest)) == observation.evidence_root).then_some((kept, watched))
    });
    let Some((kept, watched)) = bound else {
        let scheduled = all.iter().filter(|t| schedule.has(&t.challenge)).count();
        return Answer::NotDelivered(format!("{} on the schedule do not give its evidence root", plural(scheduled, "transcript")));
    };
    let mut tally = Tally { transcripts: kept.len() as u64, ..Tally::default() };
    count_seals(&kept, bundles, terms, reveal.oracle, setting, &mut tally);
    let judged = judge_again(question, terms, &schedule, &kept, &mut tally);
    match judged.and_then(|()| count_again(question, terms, &schedule, &kept, watched)) {
        Ok(()) => Answer::Supported(tally),
        Err(Doubt::Missing(what)) => Answer::NotDelivered(what),
        Err(Doubt::Contradiction(what)) => Answer::Contradicted(tally, what),
    }
}

enum Doubt {
    Missing(String),
    Contradiction(String),
}

/// Judges answers as the oracle had to. Those with proofs come in an order that nobody could foresee, until the sample is full.
fn judge_again(
    question: &Question<'_>,
    terms: &ProviderTerms,
    schedule: &PairSchedule,
    kept: &[Transcript],
    tally: &mut Tally,
) -> Result<(), Doubt> {
    let mut order: Vec<&Transcript> = kept.iter().collect();
    order.sort_by_cached_key(|t| keccak([question.order.as_bytes(), t.digest().as_bytes()]));
    for transcript in order {
        check_time(schedule, transcript)?;
        let Some(answer) = &transcript.answer else { continue };
        let proofs = proofs_in(answer);
        tally.answers += 1;
        tally.proofs += proofs;
        if proofs > 0 && question.most_proofs.is_some_and(|most| tally.verified >= most) {
            continue;
        }
        let challenge = &transcript.challenge;
        let claims = question.claims.get(&challenge.claim_root);
        let needs_claims = question.setting.kinds.get(challenge.kind).is_some_and(|plug| plug.needs_claims());
        if claims.is_none() && needs_claims {
            return Err(Doubt::Missing(format!("the claim set {} was not delivered", challenge.claim_root)));
        }
        let kept_secret = schedule.slot_of(challenge).map(|slot| slot.kept(challenge.index));
        let asked = Asked { challenge, claims, kept: kept_secret };
        let outcome = judge(question.setting.kinds, &asked, answer, transcript.signature.as_ref(), &terms.keys.receipt_key);
        tally.judged += 1;
        tally.verified += proofs;
        if outcome != transcript.outcome {
            let kind = question.setting.kinds.get(challenge.kind).map_or("an unknown kind", |plug| plug.name());
            let (slot, index) = (challenge.slot, challenge.index);
            return Err(Doubt::Contradiction(format!("answer {index} of slot {slot} ({kind}) is judged otherwise than it is worth")));
        }
    }
    Ok(())
}

/// Slices and compact proofs.
fn proofs_in(answer: &challenge::Answer) -> u64 {
    let slices = answer.samples.iter().flatten().count();
    let compact = CompactAnswer::parse(&answer.payload).map_or(0, |compact| compact.groups.len());
    slices.saturating_add(compact) as u64
}

/// A first ask has the time that the schedule gives it.
fn check_time(schedule: &PairSchedule, transcript: &Transcript) -> Result<(), Doubt> {
    let challenge = &transcript.challenge;
    let scheduled = schedule.slot_of(challenge).and_then(|slot| slot.find(challenge));
    match scheduled.filter(|scheduled| transcript.strike == 0 && scheduled.at_us != transcript.scheduled_at_us) {
        Some(_) => Err(Doubt::Contradiction(format!(
            "challenge {} of slot {} has another time than its schedule",
            challenge.index, challenge.slot
        ))),
        None => Ok(()),
    }
}

fn count_again(
    question: &Question<'_>,
    terms: &ProviderTerms,
    schedule: &PairSchedule,
    kept: &[Transcript],
    watched: Option<&Challenge>,
) -> Result<(), Doubt> {
    let (said, reveal) = (question.observation, &question.reveal.reveal);
    let counted = summarise(question.setting, terms, reveal.oracle, schedule, kept, watched, &reveal.facts);
    if let Some((said, counted)) = said.counts.iter().zip(&counted.counts).find(|(said, counted)| said != counted) {
        let kind = question.setting.kinds.get(said.kind).map_or("an unknown kind", |plug| plug.name());
        let (bad, readings) = ((&said.bad, &counted.bad), (&said.readings, &counted.readings));
        return Err(Doubt::Contradiction(format!(
            "{kind}: it counts {} with {:?} bad and reads {:?}, its transcripts give {} with {:?} and {:?}",
            said.counted, bad.0, readings.0, counted.counted, bad.1, readings.1
        )));
    }
    if said.witness != counted.witness {
        return Err(Doubt::Contradiction("what it witnesses of the watched challenge is not what its transcripts say".into()));
    }
    if said.struck != counted.struck {
        return Err(Doubt::Contradiction("the challenge that struck out is not the one of its transcripts".into()));
    }
    match *said == counted {
        true => Ok(()),
        false => Err(Doubt::Contradiction("its transcripts give another observation".into())),
    }
}

/// Seals bind no observation: they are counted, and what is not sealed is the oracle's word.
fn count_seals(kept: &[Transcript], bundles: &[Bundle], terms: &ProviderTerms, oracle: OracleId, setting: &Setting, tally: &mut Tally) {
    let mut slots: BTreeMap<u32, Vec<(Hash32, Hash32)>> = BTreeMap::new();
    for transcript in kept {
        if let Some(answer) = transcript.unsigned_answer() {
            slots.entry(transcript.challenge.slot).or_default().push(answer);
        }
    }
    tally.sealable = slots.len() as u64;
    let seals = || bundles.iter().flat_map(|bundle| &bundle.seals);
    let is_sealed = |slot: u32, answers: &[(Hash32, Hash32)]| {
        seals().any(|seal| {
            let about = (seal.instance, seal.provider, seal.oracle, seal.epoch, seal.slot);
            about == (setting.instance, terms.provider, oracle, setting.epoch, slot)
                && seal.covers(answers)
                && seal.is_by(&terms.keys.receipt_key)
        })
    };
    tally.sealed = slots.iter().filter(|(slot, answers)| is_sealed(**slot, answers)).count() as u64;
}
