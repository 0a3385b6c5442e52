//! From transcripts to the integers of an observation.

use std::collections::BTreeSet;

use super::{Outcome, Transcript, evidence_root};
use crate::bls::Signature;
use crate::challenge::schedule::{PairSecret, Scheduled};
use crate::challenge::{Checked, Kind, STORAGE_SAMPLES};
use crate::hash::Hash32;
use crate::ids::{OracleId, ProviderId};
use crate::observation::{Fact, Observation, Tally, facts_root};
use crate::params::{Class, Params};

/// How much the schedules of an epoch ask of one provider.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ScheduledCounts {
    /// Availability probes.
    pub availability: u64,
    /// Latency probes of both kinds.
    pub latency: u64,
    /// Samples of all storage audits.
    pub storage_samples: u64,
}

impl ScheduledCounts {
    /// Counts what the oracle's VRFs schedule. A provider without claims is asked for no stored chunk.
    pub fn of(vrfs: &[Signature], provider: ProviderId, claim_blocks: u64, params: &Params) -> Self {
        let schedules = vrfs.iter().flat_map(|vrf| PairSecret::new(vrf, provider).schedule(params));
        Self::count(schedules.filter(|probe| is_asked(probe.kind, claim_blocks)))
    }

    fn count(probes: impl Iterator<Item = Scheduled>) -> Self {
        let mut counts = Self::default();
        for probe in probes {
            counts.add(probe.kind);
        }
        counts
    }

    fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Availability => increment(&mut self.availability, 1),
            Kind::LatencyEcho | Kind::LatencyBlock => increment(&mut self.latency, 1),
            Kind::Storage => increment(&mut self.storage_samples, STORAGE_SAMPLES),
        }
    }
}

/// Whether a probe of this kind can be asked of a provider with that many claimed blocks.
pub fn is_asked(kind: Kind, claim_blocks: u64) -> bool {
    claim_blocks > 0 || kind.samples() == 0
}

fn increment(count: &mut u64, by: usize) {
    *count = count.saturating_add(by as u64);
}

/// One oracle's summary of one provider for one epoch.
///
/// - The oracle's own errors are never counted; scheduled storage samples without any transcript are its own errors too.
/// - A latency probe that is silent, invalid or missing misses every threshold; a threshold of zero is off.
/// - Transcripts of another epoch, oracle or provider, and repeated ones, are left out.
///
/// The counts are always possible ones ([`crate::observation::Reveal::verify`] refuses impossible ones).
pub fn summarise(
    epoch: u64,
    provider: ProviderId,
    oracle: OracleId,
    class: &Class,
    scheduled: &ScheduledCounts,
    transcripts: &[Transcript],
    facts: &[Fact],
) -> Observation {
    let mut seen = BTreeSet::new();
    let own: Vec<&Transcript> = transcripts
        .iter()
        .filter(|t| t.challenge.epoch == epoch && t.challenge.provider == provider && t.challenge.oracle == oracle)
        .filter(|t| seen.insert((t.challenge.slot, t.challenge.index)))
        .collect();
    let of_kinds = |kinds: &[Kind]| own.iter().copied().filter(|t| kinds.contains(&t.challenge.kind)).collect::<Vec<_>>();

    let mut observation = Observation::empty(epoch, provider, oracle);
    add_availability(&mut observation, &of_kinds(&[Kind::Availability]), scheduled.availability);
    add_latency(&mut observation, class, &of_kinds(&[Kind::LatencyEcho, Kind::LatencyBlock]), scheduled.latency);
    add_storage(&mut observation, &of_kinds(&[Kind::Storage]), scheduled.storage_samples);
    observation.evidence_root = evidence_root(own.iter().map(|t| t.digest()));
    let digests: Vec<Hash32> = facts.iter().filter(|fact| fact.challenge.provider == provider).map(Fact::digest).collect();
    observation.facts_root = facts_root(&digests);
    observation
}

/// The round trip of an answer in which everything verified.
fn good_rtt_us(transcript: &Transcript) -> Option<u64> {
    match &transcript.outcome {
        Outcome::Checked(checked) if checked.all_valid() => transcript.rtt_us,
        _ => None,
    }
}

fn is_counted(transcript: &Transcript) -> bool {
    !matches!(transcript.outcome, Outcome::OracleError(_))
}

fn add_availability(observation: &mut Observation, probes: &[&Transcript], scheduled: u64) {
    let mut tally = Tally::default();
    for probe in probes.iter().filter(|probe| is_counted(probe)) {
        increment(&mut tally.counted, 1);
        increment(&mut tally.bad, usize::from(good_rtt_us(probe).is_none()));
    }
    observation.availability = tally;
    observation.availability_scheduled = scheduled.max(probes.len() as u64);
}

fn add_latency(observation: &mut Observation, class: &Class, probes: &[&Transcript], scheduled: u64) {
    let counted: Vec<Option<u64>> = probes.iter().filter(|probe| is_counted(probe)).map(|probe| good_rtt_us(probe)).collect();
    let over = |threshold_us: u64| match threshold_us {
        0 => 0,
        _ => counted.iter().filter(|rtt_us| rtt_us.is_none_or(|rtt_us| rtt_us > threshold_us)).count() as u64,
    };
    observation.over_t50 = over(class.t50_us);
    observation.over_t95 = over(class.t95_us);
    observation.over_t99 = over(class.t99_us);
    observation.latency_counted = counted.len() as u64;
    observation.latency_scheduled = scheduled.max(probes.len() as u64);
    let mut rtts_us: Vec<u64> = counted.into_iter().flatten().collect();
    rtts_us.sort_unstable();
    observation.p50_us = nearest_rank(&rtts_us, 50);
    observation.p95_us = nearest_rank(&rtts_us, 95);
}

/// The value of rank ⌈percent · n / 100⌉ of ascending values; 0 of none.
fn nearest_rank(ascending: &[u64], percent: usize) -> u64 {
    let rank = ascending.len().saturating_mul(percent).div_ceil(100);
    ascending.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

fn add_storage(observation: &mut Observation, audits: &[&Transcript], scheduled: u64) {
    let samples = STORAGE_SAMPLES;
    for audit in audits {
        match &audit.outcome {
            Outcome::Checked(Checked { valid, invalid, missing }) => {
                observation.storage_valid = observation.storage_valid.saturating_add(u64::from(*valid));
                increment(&mut observation.storage_invalid, invalid.len());
                increment(&mut observation.storage_missing, missing.len());
            }
            Outcome::Silent => increment(&mut observation.storage_silent, samples),
            Outcome::OracleError(_) => increment(&mut observation.storage_oracle_error, samples),
        }
    }
    let known = [
        observation.storage_valid,
        observation.storage_invalid,
        observation.storage_missing,
        observation.storage_silent,
        observation.storage_oracle_error,
    ]
    .iter()
    .fold(0u64, |sum, part| sum.saturating_add(*part));
    observation.storage_scheduled = scheduled.max(known);
    let unaccounted = observation.storage_scheduled.saturating_sub(known);
    observation.storage_oracle_error = observation.storage_oracle_error.saturating_add(unaccounted);
}
