//! Random panels with the verdict that the production code gives, and the words that a dispute shows for it on chain. Shared by the
//! vectors here and by the comparison with the contract (`tests/tests/judgement.rs`).
#![allow(dead_code)] // each of the two uses a part of it

use assay_core::abi::Words;
use assay_core::challenge::{Challenge, Kind, Kinds, Stream};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::merkle;
use assay_core::observation::{Counts, Fault, Observation, Witness};
use assay_core::params::{PPM, Params, TOKEN};
use assay_core::report::Watched;
use assay_core::verdict::{Case, Panel, PanelKind, PanelSeat, ProvenFact, Verdict};

pub const CLASS: u16 = 100;

/// One provider's epoch, and what the production code says of it.
pub struct Judgement {
    pub params: Params,
    /// The committee set, ascending: id and weight.
    pub members: Vec<(u64, u16)>,
    /// The panel, ascending, with what its members say.
    pub seats: Vec<(OracleId, Option<Observation>)>,
    pub secure: bool,
    /// The multiplier of the parent report's verdict; none for the first report.
    pub previous_ppm: Option<u64>,
    pub verdict: Verdict,
}

/// How numbers are drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// As a network counts them.
    Usual,
    /// Around thresholds, in ties, and at the ends of 64 bits.
    Wild,
}

/// A panel of `sizes` seats, of a committee that is no larger or some members larger.
pub fn judgement(seed: u64, spread: Spread, sizes: (u64, u64)) -> Judgement {
    let stream = &mut Stream::new(&[b"assay judgement cases", &seed.to_be_bytes()]);
    let (epoch, provider) = (stream.below(1_000), ProviderId(1 + stream.below(1_000)));
    let seats = sizes.0 + stream.below(sizes.1 - sizes.0 + 1);
    let others = if stream.below(2) == 0 { 0 } else { 1 + stream.below(5) };
    let members = members(stream, seats + others);
    of_committee(stream, spread, (epoch, provider), members, seats)
}

/// A panel of so many seats of this committee.
pub fn of_committee(
    stream: &mut Stream,
    spread: Spread,
    (epoch, provider): (u64, ProviderId),
    members: Vec<(u64, u16)>,
    seats: u64,
) -> Judgement {
    let params = params(stream, spread);
    let mut drawn: Vec<u64> = members.iter().map(|(id, _)| *id).collect();
    while drawn.len() as u64 > seats {
        let left_out = stream.below(drawn.len() as u64) as usize;
        drawn.remove(left_out);
    }
    let challenge = challenge(epoch, provider);
    let (is_idle, is_watched) = (stream.below(12) == 0, stream.below(4) == 0);
    let mood = stream.below(4);
    let mut seats: Vec<(OracleId, Option<Observation>)> = drawn
        .iter()
        .map(|id| {
            let seen = (stream.below(8) > 0).then(|| {
                let mut seen = observation(stream, spread, (epoch, provider, OracleId(*id)), is_idle, mood);
                if is_watched && stream.below(8) > 0 {
                    seen.witness = Witness::Silent(challenge.digest());
                }
                seen
            });
            (OracleId(*id), seen)
        })
        .collect();
    let facts = facts(stream, &mut seats);
    let secure = stream.below(8) > 0;
    let previous_ppm = (stream.below(4) > 0).then(|| [PPM, 0, stream.below(PPM + 1)][stream.below(3) as usize]);
    let watched = is_watched.then(|| Watched { challenge, slashed_in: (stream.below(4) == 0).then_some(epoch.saturating_sub(1)) });
    let verdict = verdict(&params, &members, &seats, (epoch, provider), &facts, watched.as_ref(), secure, previous_ppm);
    Judgement { params, members, seats, secure, previous_ppm, verdict }
}

#[allow(clippy::too_many_arguments)]
fn verdict(
    params: &Params,
    members: &[(u64, u16)],
    seats: &[(OracleId, Option<Observation>)],
    (epoch, provider): (u64, ProviderId),
    facts: &[ProvenFact],
    watched: Option<&Watched>,
    secure: bool,
    previous_ppm: Option<u64>,
) -> Verdict {
    let weight = |oracle: OracleId| members.iter().find(|(id, _)| *id == oracle.0).map_or(0, |(_, weight)| *weight);
    let panel: Vec<PanelSeat<'_>> =
        seats.iter().map(|(oracle, seen)| PanelSeat { oracle: *oracle, weight: weight(*oracle), seen: seen.as_ref() }).collect();
    let total_weight = members.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let kind = if seats.len() == members.len() { PanelKind::WholeSet { total_weight } } else { PanelKind::Drawn };
    let case = Case {
        epoch,
        provider,
        class: params.class(CLASS).unwrap(),
        stake: 1_000 * TOKEN,
        panel: Panel { seats: &panel, kind },
        facts,
        watched,
        is_refuted: false,
        struck: None,
        secure,
        previous_multiplier_ppm: previous_ppm.unwrap_or(PPM),
    };
    Verdict::judge(&case, Kinds::standard(), params)
}

fn params(stream: &mut Stream, spread: Spread) -> Params {
    let mut params = Params { panel_size: 64, ..Params::devnet() };
    let other = params.classes[0].clone();
    let class = &mut params.classes[0];
    class.t99_us = 400_000;
    if spread == Spread::Wild {
        let mut maybe_off = |value: &mut u64| *value = if stream.below(5) == 0 { 0 } else { *value };
        [&mut class.t50_us, &mut class.t95_us, &mut class.t99_us, &mut class.floor_in_kbps, &mut class.floor_out_kbps]
            .into_iter()
            .for_each(&mut maybe_off);
        class.availability_ppm = [990_000, 999_000, 999_999, 0, 400_000, stream.below(PPM)][stream.below(6) as usize];
        class.weight_ppm = [PPM, 1_500_000, stream.below(5 * PPM), u64::MAX][stream.below(4) as usize];
        params.base_reward = [100 * TOKEN, u128::MAX, u128::from(stream.word())][stream.below(3) as usize];
        params.design_effect_milli = [0, 1_000, 2_000, 3_333, 10_000, 50_000][stream.below(6) as usize];
        params.probing.coverage_ppm = [800_000, 0, PPM, stream.below(PPM)][stream.below(4) as usize];
        params.probing.oracle_error_limit_ppm = [200_000, 0, PPM, stream.below(PPM)][stream.below(4) as usize];
    }
    // Another class before it, and one with the same number behind it, which does not count.
    params.classes.insert(0, assay_core::params::Class { id: CLASS - 1, ..other.clone() });
    params.classes.push(assay_core::params::Class { weight_ppm: 1, ..other });
    params
}

fn members(stream: &mut Stream, count: u64) -> Vec<(u64, u16)> {
    let is_equal = stream.below(3) == 0;
    let mut id = 0;
    (0..count)
        .map(|_| {
            id += 1 + stream.below(3);
            let weight = if is_equal { u16::MAX } else { 1 + stream.below(u64::from(u16::MAX)) as u16 };
            (id, weight)
        })
        .collect()
}

fn challenge(epoch: u64, provider: ProviderId) -> Challenge {
    Challenge {
        instance: Instance { chain_id: 31_337, settlement: Address([7; 20]) },
        epoch: epoch.saturating_sub(1),
        slot: 0,
        oracle: OracleId(1),
        provider,
        kind: Kind::STORAGE,
        index: 0,
        class_id: CLASS,
        claim_root: Hash32::ZERO,
        claim_blocks: 9,
        chunks: 30,
        slices_one_in: 2,
        extra: vec![],
        child: [5; 32],
    }
}

/// Some revealed facts: their oracles' observations name them.
fn facts(stream: &mut Stream, seats: &mut [(OracleId, Option<Observation>)]) -> Vec<ProvenFact> {
    if stream.below(6) > 0 {
        return vec![];
    }
    let mut facts = vec![];
    for (oracle, seen) in seats.iter_mut() {
        let Some(seen) = seen.as_mut().filter(|_| stream.below(3) == 0) else { continue };
        let digest = keccak([b"fact", &oracle.0.to_be_bytes()]);
        seen.facts_root = assay_core::observation::facts_root([&digest]);
        facts.push(ProvenFact { fault: Fault::StorageInvalid, digest });
    }
    facts
}

fn observation(stream: &mut Stream, spread: Spread, of: (u64, ProviderId, OracleId), is_idle: bool, mood: u64) -> Observation {
    let mut seen = Observation::empty(Kinds::standard(), of.0, of.1, of.2);
    seen.evidence_root = Hash32(std::array::from_fn(|_| stream.below(256) as u8));
    seen.counts = Kinds::standard()
        .iter()
        .map(|plug| {
            let mut counts = Counts::none(plug, 0);
            if is_idle && plug.kind() == Kind::STORAGE {
                return counts;
            }
            counts.counted = counted(stream, spread, plug.kind());
            counts.scheduled = match stream.below(8) {
                0 => counts.counted.saturating_add(stream.below(1 + counts.counted / 2)),
                _ => counts.counted,
            };
            for bad in &mut counts.bad {
                *bad = bad_of(stream, spread, counts.counted, mood);
            }
            for reading in &mut counts.readings {
                *reading = stream.below(50_000);
            }
            counts
        })
        .collect();
    seen
}

fn counted(stream: &mut Stream, spread: Spread, kind: Kind) -> u64 {
    match (spread, stream.below(8)) {
        (Spread::Wild, 0) => 0,
        (Spread::Wild, 1) => u64::MAX - stream.below(3),
        (Spread::Wild, 2) => 1 << stream.below(64),
        (Spread::Wild, 3..=5) => 1 + stream.below(1_500),
        _ if kind == Kind::INGRESS || kind == Kind::EGRESS => 20_000,
        _ if kind == Kind::STORAGE => 150,
        _ => 120 + stream.below(80),
    }
}

fn bad_of(stream: &mut Stream, spread: Spread, counted: u64, mood: u64) -> u64 {
    // A provider is good, near its thresholds, bad, or seen differently by everybody.
    let ppm = match (mood, spread) {
        (0, _) => 0,
        (1, _) => [500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 500_000, 750_000][stream.below(11) as usize],
        (2, Spread::Usual) => 900_000,
        _ => stream.below(PPM + 1),
    };
    let near = u64::try_from(u128::from(counted) * u128::from(ppm) / u128::from(PPM)).unwrap();
    (near + stream.below(2)).min(counted)
}

impl Judgement {
    /// The words behind the params hash.
    pub fn params_words(&self) -> Vec<u8> {
        self.params.words().as_bytes().to_vec()
    }

    /// Bit `i`: seat `i` has an observation.
    pub fn present(&self) -> u64 {
        self.seats.iter().enumerate().filter(|(_, (_, seen))| seen.is_some()).map(|(seat, _)| 1 << seat).sum()
    }

    /// The present observations in the contract's compact form: numbers of 8 bytes, then four words.
    pub fn packed(&self) -> Vec<u8> {
        self.seats.iter().filter_map(|(_, seen)| seen.as_ref()).flat_map(Observation::packed).collect()
    }

    /// The leaf of `obsRoot`.
    pub fn panel_leaf(&self) -> Hash32 {
        let mut vector = Words::new();
        for (_, seen) in &self.seats {
            vector.push(&seen.as_ref().map_or(Hash32::ZERO, Observation::word));
        }
        merkle::leaf(&Words::new().with(&self.verdict.provider).with(&vector.keccak()))
    }

    /// The words behind the result leaf's `dimensions`, without their tag.
    pub fn dimensions(&self) -> Vec<u8> {
        self.verdict.dimensions_bytes()
    }
}
