//! From transcripts to the integers of an observation.

use std::collections::BTreeSet;

use super::{Outcome, PairSchedule, Transcript, evidence_root};
use crate::challenge::{Challenge, Kind};
use crate::hash::Hash32;
use crate::ids::OracleId;
use crate::observation::{Fact, Observation, Witness, facts_root};
use crate::report::{ProviderTerms, Setting};

/// One oracle's summary of one provider for one epoch.
///
/// - The oracle's own errors are never counted, and neither is what is scheduled and has no transcript.
/// - First asks alone are counted: a later answer to an open challenge clears nothing but the strikes.
/// - Transcripts that are not on the schedule, and repeated ones, are left out.
///
/// `watched` is the challenge that the whole panel asks, if there is one. The counts are always possible ones
/// ([`crate::observation::Reveal::verify`] refuses impossible ones).
pub fn summarise(
    setting: &Setting,
    terms: &ProviderTerms,
    oracle: OracleId,
    schedule: &PairSchedule,
    transcripts: &[Transcript],
    watched: Option<&Challenge>,
    facts: &[Fact],
) -> Observation {
    let mut seen = BTreeSet::new();
    let kept: Vec<&Transcript> = transcripts
        .iter()
        .filter(|t| schedule.has(&t.challenge) || watched == Some(&t.challenge))
        .filter(|t| seen.insert((t.challenge.epoch, t.challenge.oracle, t.challenge.slot, t.challenge.index, t.strike)))
        .collect();
    let own: Vec<&Transcript> = kept.iter().copied().filter(|t| watched != Some(&t.challenge)).collect();
    let mut observation = Observation::empty(setting.kinds, setting.epoch, terms.provider, oracle);
    if let Some(class) = setting.params.class(terms.class_id) {
        observation.counts = setting
            .kinds
            .iter()
            .map(|plug| {
                let first: Vec<&Transcript> = own.iter().copied().filter(|t| t.challenge.kind == plug.kind() && t.strike == 0).collect();
                plug.summarise(&setting.params, class, schedule.scheduled(plug.kind()), &first)
            })
            .collect();
    }
    observation.witness = watched.map_or(Witness::None, |watched| witness(watched, &kept, setting.params.strikes));
    observation.struck = struck_out(&own, setting.params.strikes).map_or(Hash32::ZERO, Challenge::digest);
    observation.evidence_root = evidence_root(kept.iter().map(|t| t.digest()));
    let digests: Vec<Hash32> = facts.iter().filter(|fact| fact.challenge.provider == terms.provider).map(Fact::digest).collect();
    observation.facts_root = facts_root(&digests);
    observation
}

/// An own storage challenge that was asked at least `strikes` times and never answered: the one with the smallest digest, its extra blocks left aside.
///
/// The choice is a function of the transcripts alone, so that a restart reveals what was committed.
pub fn struck_out<'a>(transcripts: &[&'a Transcript], strikes: u32) -> Option<&'a Challenge> {
    let asked_first = transcripts.iter().filter(|t| t.strike == 0 && t.challenge.kind == Kind::STORAGE && t.outcome == Outcome::Silent);
    asked_first
        .map(|t| &t.challenge)
        .filter(|challenge| is_struck_out(challenge, transcripts, strikes))
        .min_by_key(|c| (c.without_extra().digest(), c.digest()))
}

fn is_struck_out(challenge: &Challenge, transcripts: &[&Transcript], strikes: u32) -> bool {
    let asks = || transcripts.iter().filter(|t| t.challenge == *challenge);
    let silent = asks().filter(|t| t.outcome == Outcome::Silent).count();
    let answered = asks().any(|t| matches!(t.outcome, Outcome::Checked(_)));
    !answered && u32::try_from(silent).is_ok_and(|silent| silent >= strikes)
}

fn witness(watched: &Challenge, transcripts: &[&Transcript], strikes: u32) -> Witness {
    let digest = watched.digest();
    let answered = transcripts.iter().any(|t| t.challenge == *watched && matches!(t.outcome, Outcome::Checked(_)));
    match answered {
        true => Witness::Answered(digest),
        false if is_struck_out(watched, transcripts, strikes) => Witness::Silent(digest),
        false => Witness::None,
    }
}
