//! Latency: how long a round trip takes, by an echo and by a keyed hash over a stored chunk. Both count towards the same objectives.

use super::{counted, good_rtt_us};
use crate::challenge::schedule::{PairSecret, SlotTerms};
use crate::challenge::{Answer, AnswerError, Asked, Challenge, ChallengeKind, Checked, Kind, check_samples};
use crate::observation::Counts;
use crate::params::{Class, PPM, Params};
use crate::transcript::Transcript;
use crate::verdict::{Dimension, Objective, Rule};

/// The kind in its two forms. Grounds: over T50, over T95, over T99. Readings: median and 95 % quantile of answered probes, µs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Latency {
    /// An echo.
    Echo,
    /// A keyed hash over a random stored chunk: an echo proxy without the data cannot answer.
    Block,
}

/// The right answer to an echo: BLAKE3 `keyed_hash(child, "latency")`.
pub fn echo(challenge: &Challenge) -> [u8; 32] {
    *blake3::keyed_hash(&challenge.child, b"latency").as_bytes()
}

/// The payload beside a stored chunk: BLAKE3 `keyed_hash(child, chunk)`; keyed, never prefixed. Empty when the chunk is missing.
pub fn block_mac(challenge: &Challenge, chunk: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(&challenge.child, chunk).as_bytes()
}

impl ChallengeKind for Latency {
    fn kind(&self) -> Kind {
        match self {
            Self::Echo => Kind::LATENCY_ECHO,
            Self::Block => Kind::LATENCY_BLOCK,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Echo => "latency.echo",
            Self::Block => "latency.block",
        }
    }

    fn chunks(&self) -> u32 {
        match self {
            Self::Echo => 0,
            Self::Block => 1,
        }
    }

    fn arity(&self) -> (usize, usize) {
        (3, 2)
    }

    /// A Poisson process with the form's share of the rate, apart from the windows. Both together are a Poisson process of the whole rate.
    fn derive(&self, secret: &PairSecret, slot: &SlotTerms<'_>) -> Vec<u64> {
        let probing = &slot.params.probing;
        let share_ppm = match self {
            Self::Echo => PPM.saturating_sub(probing.block_share_ppm),
            Self::Block => probing.block_share_ppm,
        };
        let mean_ns_ppm = probing.latency_mean_ms.saturating_mul(1_000).saturating_mul(PPM);
        let Some(mean_us) = mean_ns_ppm.checked_div(share_ppm) else { return Vec::new() };
        let mut points = slot.poisson(&mut secret.stream(self.kind(), 0), mean_us);
        points.retain(|at_us| !slot.is_in_window(*at_us));
        points
    }

    fn verify(&self, asked: &Asked<'_>, answer: &Answer) -> Result<Checked, AnswerError> {
        if *self == Self::Echo {
            return match answer.samples.is_empty() {
                true => Ok(Checked::all_or_nothing(answer.payload == echo(asked.challenge))),
                false => Err(AnswerError::Count { got: answer.samples.len(), asked: 0 }),
            };
        }
        let checked = check_samples(asked, &answer.samples)?;
        let mac_holds = match answer.samples.first() {
            Some(Some(slice)) => answer.payload == block_mac(asked.challenge, &slice.chunk),
            _ => answer.payload.is_empty(),
        };
        Ok(if mac_holds { checked } else { Checked::all_or_nothing(false) })
    }

    fn summarise(&self, _: &Params, class: &Class, scheduled: u64, transcripts: &[&Transcript]) -> Counts {
        let rtts: Vec<Option<u64>> = counted(transcripts).map(good_rtt_us).collect();
        // Silent, invalid and missing miss every threshold; a threshold of zero is off.
        let over = |threshold_us: u64| match threshold_us {
            0 => 0,
            _ => rtts.iter().filter(|rtt_us| rtt_us.is_none_or(|rtt_us| rtt_us > threshold_us)).count() as u64,
        };
        let bad = vec![over(class.t50_us), over(class.t95_us), over(class.t99_us)];
        let counted = rtts.len() as u64;
        let mut answered_us: Vec<u64> = rtts.into_iter().flatten().collect();
        answered_us.sort_unstable();
        let readings = vec![nearest_rank(&answered_us, 50), nearest_rank(&answered_us, 95)];
        Counts { kind: self.kind(), scheduled, counted, bad, readings }
    }

    fn objectives(&self, class: &Class) -> Vec<Objective> {
        [
            (Dimension::LATENCY_P50, class.t50_us, 500_000, 30),
            (Dimension::LATENCY_P95, class.t95_us, 50_000, 90),
            (Dimension::LATENCY_P99, class.t99_us, 10_000, 459),
        ]
        .into_iter()
        .enumerate()
        .filter(|(_, (_, threshold_us, _, _))| *threshold_us > 0)
        .map(|(ground, (dimension, _, allowed_ppm, minimum))| Objective {
            dimension,
            ground,
            allowed_ppm,
            minimum,
            design_effect_milli: None,
            rule: Rule::Rate,
        })
        .collect()
    }
}

/// The value of rank ⌈percent · n / 100⌉ of ascending values; 0 of none.
fn nearest_rank(ascending: &[u64], percent: usize) -> u64 {
    let rank = ascending.len().saturating_mul(percent).div_ceil(100);
    ascending.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}
