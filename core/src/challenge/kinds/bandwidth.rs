//! Bandwidth: whether a provider's line carries the class's floor, each way, in a window that is the tester's alone.
//!
//! Ingress sends unpredictable bytes and counts what the provider acknowledges with the running BLAKE3 hash of all it has received:
//! nobody can acknowledge what has not arrived. Egress asks for stored blocks with their proofs: nothing that grows from a short seed.
//! One test is one oracle's word; the median of 2f + 1 or more judges.

use super::counted;
use crate::challenge::schedule::{PairSecret, SlotTerms};
use crate::challenge::{Answer, AnswerError, Asked, ChallengeKind, Checked, Kind};
use crate::observation::Counts;
use crate::params::{Class, Params};
use crate::transcript::{Outcome, Reading, Transcript};
use crate::verdict::{Dimension, Objective, Rule};

/// Slices behind the ramp that a rate needs.
const MIN_SLICES: usize = 2;
/// Share of the floor that may be missing, ppm.
const ALLOWED_SHORTFALL_PPM: u64 = 50_000;
/// The most bytes of one test that anybody hashes again: 1 GiB, a second at 8 Gbit/s.
pub const MAX_TEST_BYTES: u64 = 1 << 30;

/// The kind in its two directions, as the provider sees them. Counts are kbit/s of the class's floor, once a test; ground: the shortfall;
/// reading: the rate, kbit/s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bandwidth {
    /// From the oracle to the provider.
    Ingress,
    /// From the provider to the oracle.
    Egress,
}

/// What a provider states at a test's end: how many bytes there were, and their BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Total {
    /// Bytes received (ingress) or sent (egress).
    pub bytes: u64,
    /// BLAKE3 of all of them in order.
    pub hash: [u8; 32],
}

impl Total {
    /// `bytes` as u64 BE ‖ `hash`: the payload of the answer.
    pub fn to_payload(self) -> Vec<u8> {
        [&self.bytes.to_be_bytes()[..], &self.hash].concat()
    }

    /// Reads a payload of exactly 40 bytes.
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let (bytes, hash) = payload.split_first_chunk::<8>()?;
        Some(Self { bytes: u64::from_be_bytes(*bytes), hash: hash.try_into().ok()? })
    }
}

/// The unpredictable bytes of an ingress test: the BLAKE3 XOF keyed by the half of the challenge's secret that is never sent.
pub fn ingress_bytes(kept: &[u8; 32]) -> blake3::OutputReader {
    blake3::Hasher::new_keyed(kept).update(b"assay.ingress.v1").finalize_xof()
}

impl Bandwidth {
    /// The class's floor, kbit/s; 0 for none.
    pub fn floor_kbps(self, class: &Class) -> u64 {
        match self {
            Self::Ingress => class.floor_in_kbps,
            Self::Egress => class.floor_out_kbps,
        }
    }

    fn holds(self, total: &Total, asked: &Asked<'_>) -> Result<bool, AnswerError> {
        if total.bytes > MAX_TEST_BYTES {
            return Ok(false);
        }
        match self {
            Self::Ingress => Ok(hash_of_ingress(&asked.kept.ok_or(AnswerError::Secret)?, total.bytes) == total.hash),
            // The bytes were checked as they came and are not kept; the provider's statement bounds what may be counted.
            Self::Egress => Ok(true),
        }
    }
}

fn hash_of_ingress(kept: &[u8; 32], bytes: u64) -> [u8; 32] {
    let mut source = ingress_bytes(kept);
    let mut hasher = blake3::Hasher::new();
    let mut buffer = [0u8; 16 * 1024];
    let mut left = bytes;
    while left > 0 {
        let take = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let (now, _) = buffer.split_at_mut(take);
        source.fill(now);
        hasher.update(now);
        left = left.saturating_sub(take as u64);
    }
    *hasher.finalize().as_bytes()
}

/// The rate of one test: the median of its 100 ms slices behind the ramp, kbit/s, but never more than all bytes behind the ramp over all
/// the time; `None` when there are too few slices. The bound is for a provider that times its receipts: close to a slice's border a few bytes
/// make a fast slice, and all slices together do not.
///
/// A reading is (time of the last acknowledged byte, all bytes acknowledged by then), one at every slice's end; a slice that the oracle
/// itself spoilt has no reading at its end, so that it melts into the next.
pub fn rate_kbps(readings: &[Reading], ramp_us: u64) -> Option<u64> {
    let points: Vec<(u64, u64)> = readings.iter().filter_map(|reading| Some((reading.at_us, reading.value?))).collect();
    let mut slices: Vec<u64> = points
        .windows(2)
        .filter_map(|pair| match pair {
            [from, to] if from.0 >= ramp_us => kbps(from, to),
            _ => None,
        })
        .collect();
    slices.sort_unstable();
    let middle = slices.len().saturating_sub(1) / 2;
    let median = slices.get(middle).copied().filter(|_| slices.len() >= MIN_SLICES)?;
    let from = points.iter().find(|(at_us, _)| *at_us >= ramp_us)?;
    Some(median.min(kbps(from, points.last()?)?))
}

fn kbps((from_us, before): &(u64, u64), (to_us, after): &(u64, u64)) -> Option<u64> {
    let bits = u128::from(after.saturating_sub(*before)).saturating_mul(8_000);
    let rate = bits.checked_div(u128::from(to_us.saturating_sub(*from_us)))?;
    Some(u64::try_from(rate).unwrap_or(u64::MAX))
}

impl ChallengeKind for Bandwidth {
    fn kind(&self) -> Kind {
        match self {
            Self::Ingress => Kind::INGRESS,
            Self::Egress => Kind::EGRESS,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Ingress => "bandwidth.in",
            Self::Egress => "bandwidth.out",
        }
    }

    fn needs_claims(&self) -> bool {
        *self == Self::Egress
    }

    fn weight(&self, class: &Class) -> u64 {
        self.floor_kbps(class)
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    /// At the start of the oracle's own window.
    fn derive(&self, _: &PairSecret, slot: &SlotTerms<'_>) -> Vec<u64> {
        if self.floor_kbps(slot.class) == 0 {
            return Vec::new();
        }
        slot.windows.iter().filter(|window| window.oracle == slot.oracle).map(|window| window.start_us).collect()
    }

    fn verify(&self, asked: &Asked<'_>, answer: &Answer) -> Result<Checked, AnswerError> {
        if !answer.samples.is_empty() {
            return Err(AnswerError::Count { got: answer.samples.len(), asked: 0 });
        }
        let total = Total::from_payload(&answer.payload).ok_or(AnswerError::Payload)?;
        Ok(Checked::all_or_nothing(self.holds(&total, asked)?))
    }

    fn summarise(&self, params: &Params, class: &Class, scheduled: u64, transcripts: &[&Transcript]) -> Counts {
        let floor = self.floor_kbps(class);
        let mut counts = Counts { kind: self.kind(), scheduled, counted: 0, bad: vec![0], readings: vec![0] };
        let (mut shortfall, mut rates) = (0u64, Vec::new());
        for test in counted(transcripts) {
            let rate = test_rate_kbps(test, params);
            rates.push(rate);
            shortfall = shortfall.saturating_add(floor.saturating_sub(rate));
            counts.counted = counts.counted.saturating_add(floor);
        }
        rates.sort_unstable();
        counts.bad = vec![shortfall];
        counts.readings = vec![rates.get(rates.len().saturating_sub(1) / 2).copied().unwrap_or(0)];
        counts
    }

    fn objectives(&self, class: &Class) -> Vec<Objective> {
        let dimension = match self {
            Self::Ingress => Dimension::BANDWIDTH_IN,
            Self::Egress => Dimension::BANDWIDTH_OUT,
        };
        match self.floor_kbps(class) {
            0 => Vec::new(),
            _ => vec![Objective {
                dimension,
                ground: 0,
                allowed_ppm: ALLOWED_SHORTFALL_PPM,
                minimum: 1,
                design_effect_milli: None,
                rule: Rule::Median,
            }],
        }
    }
}

/// A test's rate; 0 for one that was not answered, does not verify, or counts more than the provider states.
fn test_rate_kbps(test: &Transcript, params: &Params) -> u64 {
    let (Outcome::Checked(checked), Some(answer)) = (&test.outcome, &test.answer) else { return 0 };
    let Some(total) = Total::from_payload(&answer.payload).filter(|_| checked.all_valid()) else { return 0 };
    let last = test.readings.iter().filter_map(|reading| reading.value).max().unwrap_or(0);
    match last <= total.bytes {
        true => rate_kbps(&test.readings, params.bandwidth.ramp_ms.saturating_mul(1_000)).unwrap_or(0),
        false => 0,
    }
}

#[cfg(test)]
mod tests;
