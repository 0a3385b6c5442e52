//! When an oracle asks a provider what: a function of one slot's VRF and the provider's id.
//!
//! Integers only, so that every auditor on every machine derives the same microsecond.

use super::window::Window;
use super::{Kind, Kinds, Stream};
use crate::abi::Words;
use crate::bls::Signature;
use crate::hash::Hash32;
use crate::ids::{Instance, OracleId, ProviderId};
use crate::params::{Class, Params};

/// Most probes of one kind in one slot: a bound on work, far above any sensible mean.
const MAX_POINTS: usize = 100_000;

/// What the oracle's verdict key signs to obtain a slot's VRF (`assay.vrf.v1`).
pub fn vrf_message(instance: &Instance, epoch: u64, slot: u32, seed: &Hash32) -> Hash32 {
    Words::tagged("assay.vrf.v1").with_instance(instance).with(&epoch).with(&slot).with(seed).keccak()
}

/// The secret of one (oracle, epoch, slot, provider): all its challenges follow from it.
#[derive(Clone)]
pub struct PairSecret([u8; 32]);

impl PairSecret {
    /// `p = keyed_hash(BLAKE3(vrf), provider id)`.
    pub fn new(vrf: &Signature, provider: ProviderId) -> Self {
        let key = blake3::hash(&vrf.to_compressed());
        Self(*blake3::keyed_hash(key.as_bytes(), &provider.0.to_le_bytes()).as_bytes())
    }

    /// The secret that challenge `index` carries; it reveals nothing of any other's.
    pub fn child(&self, index: u32) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, &index.to_le_bytes()).as_bytes()
    }

    /// The half of a challenge's secret that is never sent: what it draws, the provider cannot know before it has received it.
    pub fn kept(&self, index: u32) -> [u8; 32] {
        let [a, b, c, d] = index.to_le_bytes();
        *blake3::keyed_hash(&self.0, &[a, b, c, d, b'k']).as_bytes()
    }

    /// A kind's own stream; `part` tells apart the streams of one kind.
    pub fn stream(&self, kind: Kind, part: u8) -> Stream {
        Stream::new(&[b"assay.schedule.v1", &self.0, &[kind.0, part]])
    }

    /// The slot's challenges in order of time, numbered from 0.
    pub fn schedule(&self, kinds: Kinds, slot: &SlotTerms<'_>) -> Vec<Scheduled> {
        let mut points: Vec<(u64, Kind)> = kinds
            .iter()
            .flat_map(|plug| plug.derive(self, slot).into_iter().take(MAX_POINTS).map(|at_us| (at_us, plug.kind())))
            .collect();
        points.sort_unstable();
        (0u32..).zip(points).map(|(index, (at_us, kind))| Scheduled { index, kind, at_us }).collect()
    }
}

/// What everybody knows of one slot of one provider.
#[derive(Clone, Copy, Debug)]
pub struct SlotTerms<'a> {
    /// The protocol's parameters.
    pub params: &'a Params,
    /// The provider's service class.
    pub class: &'a Class,
    /// Who asks.
    pub oracle: OracleId,
    /// The panel's bandwidth windows on the provider.
    pub windows: &'a [Window],
}

impl SlotTerms<'_> {
    /// Length of the slot.
    pub fn slot_us(&self) -> u64 {
        self.params.slot_ms.saturating_mul(1_000)
    }

    /// Whether somebody's bandwidth window is open on the provider then, or about to open.
    pub fn is_in_window(&self, at_us: u64) -> bool {
        let guard_us = self.params.bandwidth.guard_ms.saturating_mul(1_000);
        self.windows.iter().any(|window| window.covers(at_us, guard_us))
    }

    /// The points of a Poisson process over the slot.
    pub fn poisson(&self, stream: &mut Stream, mean_us: u64) -> Vec<u64> {
        poisson(stream, self.slot_us(), mean_us)
    }
}

/// One probe of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scheduled {
    /// Its number in the slot.
    pub index: u32,
    /// What it asks.
    pub kind: Kind,
    /// When, in microseconds from the slot's start.
    pub at_us: u64,
}

/// Points of a Poisson process below `until_us`.
fn poisson(stream: &mut Stream, until_us: u64, mean_us: u64) -> Vec<u64> {
    let mut points = Vec::new();
    let mut at_us = exponential(stream.word(), mean_us);
    while at_us < until_us && points.len() < MAX_POINTS {
        points.push(at_us);
        // A gap is at least a microsecond, so that the loop always ends.
        at_us = at_us.saturating_add(exponential(stream.word(), mean_us).max(1));
    }
    points
}

/// −ln(u / 2^64) · mean, rounded down, for a uniform word u (0 counts as 1).
fn exponential(word: u64, mean: u64) -> u64 {
    // ln 2 in 0.32 fixed point.
    const LN2_Q32: u128 = 2_977_044_471;
    let halvings = minus_log2_q32(word.max(1));
    let nats = u128::from(halvings).saturating_mul(LN2_Q32) >> 32;
    u64::try_from(nats.saturating_mul(u128::from(mean)) >> 32).unwrap_or(u64::MAX)
}

/// −log2(u / 2^64) in 32.32 fixed point, by repeated squaring of the mantissa.
fn minus_log2_q32(word: u64) -> u64 {
    let zeros = word.leading_zeros();
    // Mantissa in [1, 2) with 63 fractional bits.
    let mut mantissa = word.checked_shl(zeros).unwrap_or(0);
    let mut fraction = 0u64;
    for bit in (0..32).rev() {
        let square = u128::from(mantissa).saturating_mul(u128::from(mantissa)) >> 63;
        if square >> 64 != 0 {
            fraction |= 1 << bit;
            mantissa = u64::try_from(square >> 1).unwrap_or(u64::MAX);
        } else {
            mantissa = u64::try_from(square).unwrap_or(u64::MAX);
        }
    }
    // word = 2^(63 − zeros) · mantissa, so −log2(word / 2^64) = zeros + 1 − log2(mantissa).
    (u64::from(zeros).saturating_add(1) << 32).saturating_sub(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bls::{Domain, SecretKey};

    fn pair(seed: u8, provider: u64) -> PairSecret {
        let vrf = SecretKey::key_gen(&[seed; 32]).unwrap().sign(Domain::Vrf, &Hash32::ZERO);
        PairSecret::new(&vrf, ProviderId(provider))
    }

    #[test]
    fn the_fixed_point_logarithm_agrees_with_floating_point() {
        for word in [1, 2, 3, 1 << 20, (1 << 63) - 1, 1 << 63, u64::MAX, 0x1234_5678_9abc_def0] {
            let exact = 64.0 - (word as f64).log2();
            let ours = minus_log2_q32(word) as f64 / 4_294_967_296.0;
            assert!((exact - ours).abs() < 1e-6, "{word}: {exact} {ours}");
        }
    }

    #[test]
    fn gaps_have_the_mean_and_the_memorylessness_of_a_poisson_process() {
        let mut stream = Stream::new(&[b"gaps"]);
        let gaps: Vec<f64> = (0..50_000).map(|_| exponential(stream.word(), 1_000_000) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((mean / 1e6 - 1.0).abs() < 0.02, "{mean}");
        let beyond = gaps.iter().filter(|gap| **gap > 2e6).count() as f64 / gaps.len() as f64;
        assert!((beyond - (-2f64).exp()).abs() < 0.006, "{beyond}");
    }

    fn schedule(pair: &PairSecret, windows: &[Window]) -> Vec<Scheduled> {
        let params = Params::devnet();
        pair.schedule(Kinds::standard(), &SlotTerms { params: &params, class: &params.classes[0], oracle: OracleId(1), windows })
    }

    #[test]
    fn a_schedule_is_ordered_numbered_and_of_the_asked_for_rates() {
        let (mut latency, mut blocks, mut availability) = (0, 0, 0);
        for seed in 1..=200 {
            let schedule = schedule(&pair(seed, 7), &[]);
            assert!(schedule.windows(2).all(|w| w[0].at_us <= w[1].at_us && w[0].index + 1 == w[1].index));
            assert_eq!(schedule.iter().filter(|s| s.kind == Kind::STORAGE).count(), 1);
            latency += schedule.iter().filter(|s| matches!(s.kind, Kind::LATENCY_ECHO | Kind::LATENCY_BLOCK)).count();
            blocks += schedule.iter().filter(|s| s.kind == Kind::LATENCY_BLOCK).count();
            availability += schedule.iter().filter(|s| s.kind == Kind::AVAILABILITY).count();
        }
        assert!(latency as f64 / 1_000.0 >= 6.0, "at least six a second");
        assert!((0.18..0.22).contains(&(blocks as f64 / latency as f64)));
        assert!((0.9..1.1).contains(&(availability as f64 / 1_000.0)));
    }

    // Defence: `is_in_window` in latency's and storage's `derive`. Without it a provider's latency is judged while an oracle fills its line.
    #[test]
    fn nothing_that_a_window_would_disturb_is_scheduled_into_one() {
        let window = |oracle, start_us| Window { oracle: OracleId(oracle), start_us, end_us: start_us + 1_000_000 };
        let windows = [window(1, 600_000), window(2, 3_000_000)];
        let guard_us = Params::devnet().bandwidth.guard_ms * 1_000;
        for seed in 1..=100 {
            for probe in schedule(&pair(seed, 7), &windows) {
                let inside = windows.iter().any(|w| w.start_us - guard_us <= probe.at_us && probe.at_us < w.end_us);
                match probe.kind {
                    Kind::INGRESS | Kind::EGRESS => assert_eq!(probe.at_us, 600_000, "its own window's start"),
                    Kind::AVAILABILITY => {}
                    kind => assert!(!inside, "{kind:?} at {}", probe.at_us),
                }
            }
        }
    }

    #[test]
    fn a_pair_secret_serves_one_provider_and_one_vrf() {
        assert_ne!(schedule(&pair(1, 1), &[]), schedule(&pair(1, 2), &[]));
        assert_ne!(schedule(&pair(1, 1), &[]), schedule(&pair(2, 1), &[]));
        assert_ne!(pair(1, 1).child(0), pair(1, 1).child(1));
        assert_ne!(pair(1, 1).child(0), pair(1, 1).kept(0), "what is sent does not give away what is kept");
    }
}
