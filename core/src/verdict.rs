//! From a panel's observations to one provider's verdict. Integers only, rounding down; ties go to the larger count, then by id.

mod critical;
mod goal;

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use critical::TABLES as CRITICAL_COUNTS;
pub(crate) use goal::Goals;
use goal::Told;

use crate::abi::{Word, Words};
use crate::challenge::kinds::storage::Storage;
use crate::challenge::{Challenge, Kind, Kinds};
use crate::hash::{Hash32, keccak};
use crate::ids::{OracleId, ProviderId};
use crate::observation::{Fault, Observation, Witness};
use crate::panel::faulty;
use crate::params::{Class, PPM, Params};
use crate::report::Watched;

/// A dimension's or an epoch's grade; the number is its ABI form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Grade {
    /// The objective was kept.
    Pass = 1,
    /// Too few probes: the multiplier stays as it was.
    Insufficient = 2,
    /// Too few oracles: neither pays more nor punishes.
    Inconclusive = 3,
    /// Missed, but neither materially nor with certainty.
    Degraded = 4,
    /// Missed materially and with certainty, or a proven fault.
    Fail = 5,
}

/// What is judged: a number that kinds of challenges contribute to, with a name for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Dimension(pub u8);

impl Dimension {
    /// Probes answered.
    pub const AVAILABILITY: Self = Self(1);
    /// Probes within T50.
    pub const LATENCY_P50: Self = Self(2);
    /// Probes within T95.
    pub const LATENCY_P95: Self = Self(3);
    /// Probes within T99.
    pub const LATENCY_P99: Self = Self(4);
    /// Stored data proved.
    pub const STORAGE: Self = Self(5);
    /// The floor towards the provider.
    pub const BANDWIDTH_IN: Self = Self(6);
    /// The floor from the provider.
    pub const BANDWIDTH_OUT: Self = Self(7);

    const NAMES: [(Self, &'static str); 7] = [
        (Self::AVAILABILITY, "availability"),
        (Self::LATENCY_P50, "latency_p50"),
        (Self::LATENCY_P95, "latency_p95"),
        (Self::LATENCY_P99, "latency_p99"),
        (Self::STORAGE, "storage"),
        (Self::BANDWIDTH_IN, "bandwidth_in"),
        (Self::BANDWIDTH_OUT, "bandwidth_out"),
    ];
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(dimension, _)| dimension == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "dimension_{}", self.0),
        }
    }
}

impl Serialize for Dimension {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dimension {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = Self::NAMES.iter().find(|(_, known)| *known == name).map(|(dimension, _)| *dimension);
        let numbered = || name.strip_prefix("dimension_").and_then(|number| number.parse().ok()).map(Self);
        known.or_else(numbered).ok_or_else(|| serde::de::Error::custom("unknown dimension"))
    }
}

/// How the panel's numbers of a dimension become a grade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// A share of bad events, by the rank that punishes; certain by the binomial test.
    Rate,
    /// One test of each oracle, by the median; certain when the rank that punishes says so too.
    Median,
    /// A proven fact decides; without one it is a rate.
    Facts,
}

/// What a class promises about one kind: the kind's ground and how much of it is allowed. Objectives of several kinds with the same
/// dimension are one, over the sum of their counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Objective {
    /// What is judged.
    pub dimension: Dimension,
    /// Which of the kind's grounds is bad here.
    pub ground: usize,
    /// Allowed share of bad events, ppm.
    pub allowed_ppm: u64,
    /// Fewest raw events to judge by.
    pub minimum: u64,
    /// Design effect of this kind's events in thousandths, where it is known; otherwise the parameters' one.
    pub design_effect_milli: Option<u64>,
    /// How it is graded.
    pub rule: Rule,
}

/// One dimension of one provider's epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DimensionVerdict {
    /// Which one.
    pub dimension: Dimension,
    /// Its grade.
    pub grade: Grade,
    /// Oracles that reported with enough coverage.
    pub reporting: u32,
    /// Bad events by the rank that punishes (rank f+1, the most lenient that a liar cannot move; see [`Panel`]).
    pub bad: u64,
    /// Counted events by that rank.
    pub counted: u64,
    /// Bad events by the median, which is published.
    pub median_bad: u64,
    /// Counted events by the median.
    pub median_counted: u64,
    /// Error budget burnt, ppm (1000000 = exactly the budget).
    pub burn_ppm: u64,
    /// What this dimension alone would pay, ppm.
    pub multiplier_ppm: u64,
}

/// One provider's epoch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Provider.
    pub provider: ProviderId,
    /// Epoch.
    pub epoch: u64,
    /// The worst grade over all dimensions.
    pub outcome: Grade,
    /// All dimensions of the class.
    pub dimensions: Vec<DimensionVerdict>,
    /// Median of the panel's median round trips, µs.
    pub p50_us: u64,
    /// Median of the panel's tests towards the provider, kbit/s; at most what was offered.
    pub in_kbps: u64,
    /// Median of the panel's tests from the provider, kbit/s; at most what was offered.
    pub out_kbps: u64,
    /// Storage samples over the panel: valid, invalid, missing, silent.
    pub storage: StorageCounts,
    /// Share of the base reward that is paid, ppm.
    pub multiplier_ppm: u64,
    /// Reward for this epoch, smallest unit.
    #[serde(with = "crate::amount")]
    pub reward: u128,
    /// Slash for this epoch, smallest unit.
    #[serde(with = "crate::amount")]
    pub slash: u128,
    /// Why, when slashed.
    pub slash_reason: Option<Fault>,
    /// Root over the digests of all proven facts, or of the one silence ([`silence_digest`]); zero without any.
    pub facts_root: Hash32,
    /// The provider's entry on the watch list from now on ([`Watched::word`]); zero for none.
    pub watched: Hash32,
}

/// The fact that a slash for silence names (`assay.silence.v1`): the contract recomputes it when the provider answers there.
pub fn silence_digest(challenge: &Hash32) -> Hash32 {
    Words::tagged("assay.silence.v1").with(challenge).keccak()
}

/// Sums over the panel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StorageCounts {
    /// Verified.
    pub valid: u64,
    /// Signed and wrong.
    pub invalid: u64,
    /// Signed as missing.
    pub missing: u64,
    /// Without a valid answer in time.
    pub silent: u64,
}

/// A provider's fault with the fact's digest: the only thing that slashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ProvenFact {
    /// What it proves.
    pub fault: Fault,
    /// Digest of the fact.
    pub digest: Hash32,
}

/// A panel member and what it says.
#[derive(Clone, Copy, Debug)]
pub struct PanelSeat<'a> {
    /// The member.
    pub oracle: OracleId,
    /// Its weight in the committee set.
    pub weight: u16,
    /// Its included observation.
    pub seen: Option<&'a Observation>,
}

/// How the members of a panel rank (design section 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PanelKind {
    /// Drawn by weight, so that a seat stands for as much weight as any other: every seat counts one.
    Drawn,
    /// Every member of the committee set sits on it: a seat counts its weight.
    WholeSet {
        /// Sum of the set's weights.
        total_weight: u64,
    },
}

/// The panel of one provider, ascending by oracle.
///
/// Reports are sorted from the most lenient and their votes summed up. With f = ⌊(k−1)/3⌋ of k seats, or f = 1/3 of the set's weight:
///
/// - The report that punishes is the first at which the sum exceeds f. Liars with no more than f cannot reach it from below, and cannot
///   push it up to themselves either, since honest reports are more than f.
/// - The median is the first at which the sum reaches half of all reporting votes (the lower one of two).
/// - Enough report when there are 2f + 1 seats, or more than 2/3 of the set's weight.
///
/// With equal weights and k = 3f + 1 both kinds give the same ranks.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    /// The seats.
    pub seats: &'a [PanelSeat<'a>],
    /// How they rank.
    pub kind: PanelKind,
}

impl<'a> Panel<'a> {
    /// What a seat's report counts.
    fn votes(&self, seat: &PanelSeat<'_>) -> u64 {
        match self.kind {
            PanelKind::Drawn => 1,
            PanelKind::WholeSet { .. } => u64::from(seat.weight),
        }
    }

    /// Whether so many votes are more than all liars may have.
    fn exceeds_liars(&self, votes: u64) -> bool {
        match self.kind {
            PanelKind::Drawn => usize::try_from(votes).is_ok_and(|votes| votes > faulty(self.seats.len())),
            PanelKind::WholeSet { total_weight } => u128::from(votes).saturating_mul(3) > u128::from(total_weight),
        }
    }

    /// Whether so many reporting votes are enough to judge by.
    fn is_enough(&self, votes: u64) -> bool {
        match self.kind {
            PanelKind::Drawn => usize::try_from(votes).is_ok_and(|votes| votes > faulty(self.seats.len()).saturating_mul(2)),
            PanelKind::WholeSet { total_weight } => u128::from(votes).saturating_mul(3) > u128::from(total_weight).saturating_mul(2),
        }
    }

    /// Whether so many votes leave no more than liars may have: k − f seats, or more than 2/3 of the set's weight.
    fn is_all_but_liars(&self, votes: u64) -> bool {
        match self.kind {
            PanelKind::Drawn => {
                let honest = self.seats.len().saturating_sub(faulty(self.seats.len()));
                usize::try_from(votes).is_ok_and(|votes| votes > 0 && votes >= honest)
            }
            PanelKind::WholeSet { .. } => self.is_enough(votes),
        }
    }

    /// Included observations with their seats.
    fn seen(&self) -> impl Iterator<Item = (&'a PanelSeat<'a>, &'a Observation)> {
        self.seats.iter().filter_map(|seat| Some((seat, seat.seen?)))
    }
}

/// The first of ascending (value, votes) at which the sum of votes satisfies `at`.
fn ranked<T: Copy>(ascending: &[(T, u64)], at: impl Fn(u64) -> bool) -> Option<T> {
    let mut sum = 0u64;
    ascending.iter().find_map(|(value, votes)| {
        sum = sum.saturating_add(*votes);
        at(sum).then_some(*value)
    })
}

/// The lower median of ascending (value, votes).
fn median<T: Copy>(ascending: &[(T, u64)]) -> Option<T> {
    let all = votes_of(ascending);
    ranked(ascending, |sum| sum.saturating_mul(2) >= all)
}

fn votes_of<T>(values: &[(T, u64)]) -> u64 {
    values.iter().fold(0, |sum, (_, votes)| sum.saturating_add(*votes))
}

/// All that a verdict is a function of.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Epoch.
    pub epoch: u64,
    /// Provider.
    pub provider: ProviderId,
    /// Its class.
    pub class: &'a Class,
    /// Its stake at the reference block.
    pub stake: u128,
    /// The panel.
    pub panel: Panel<'a>,
    /// Facts proven in included reveals.
    pub facts: &'a [ProvenFact],
    /// The provider's entry on the parent's watch list.
    pub watched: Option<&'a Watched>,
    /// Among the facts is one about the entry's challenge.
    pub is_refuted: bool,
    /// A challenge that takes the entry's place once it is free: it struck out in an included reveal.
    pub struck: Option<&'a Challenge>,
    /// Whether the epoch's seed came from the beacon: without it nothing is slashed.
    pub secure: bool,
    /// Multiplier of the last epoch, ppm.
    pub previous_multiplier_ppm: u64,
}

/// How many epochs a slashed silence stays on the watch list: long enough for the slash window (72 h in epochs of a day), for the rebuttal's
/// block to become final, and for reports that come late.
pub const REBUTTAL_EPOCHS: u64 = 8;

impl<'a> Case<'a> {
    /// The challenge that the whole panel had to ask.
    fn open(&self) -> Option<&'a Challenge> {
        self.watched.filter(|watched| !watched.is_slashed()).map(|watched| &watched.challenge)
    }

    /// What is held against the provider: proven facts, or else the silence of the watched challenge. Sorted, each once.
    fn faults(&self) -> Vec<ProvenFact> {
        let mut faults = self.facts.to_vec();
        faults.sort_unstable();
        faults.dedup();
        if faults.is_empty()
            && let Some(challenge) = self.open().filter(|challenge| self.is_witnessed(challenge))
        {
            faults.push(ProvenFact { fault: Fault::StorageSilent, digest: silence_digest(&challenge.digest()) });
        }
        faults
    }

    /// What slashes: nothing without the beacon's own seeds.
    fn slash_reason(&self) -> Option<Fault> {
        self.faults().first().map(|fact| fact.fault).filter(|_| self.secure)
    }

    /// Whether all members but those who may lie witness silence: then no more than these had an answer.
    fn is_witnessed(&self, challenge: &Challenge) -> bool {
        self.panel.is_all_but_liars(self.votes_of(Witness::Silent(challenge.digest())))
    }

    /// Whether more members than may lie had an answer.
    fn is_answered(&self, challenge: &Challenge) -> bool {
        self.panel.exceeds_liars(self.votes_of(Witness::Answered(challenge.digest())))
    }

    fn votes_of(&self, witness: Witness) -> u64 {
        self.panel.seen().filter(|(_, seen)| seen.witness == witness).fold(0, |sum, (seat, _)| sum.saturating_add(self.panel.votes(seat)))
    }

    /// Whether a slashed entry still keeps its place. Were it given up earlier, a provider could answer rubbish on the chain and let the next
    /// silence push the challenge off the list before anybody can prove the rubbish.
    fn is_held(&self, slashed: &Watched) -> bool {
        slashed.slashed_in.is_some_and(|epoch| self.epoch < epoch.saturating_add(REBUTTAL_EPOCHS))
    }

    fn is_stale(&self, challenge: &Challenge) -> bool {
        self.epoch >= challenge.epoch.saturating_add(REBUTTAL_EPOCHS)
    }

    /// The provider's entry from now on. An open one stays until it is answered or its silence is slashed; a slashed one stays for
    /// [`REBUTTAL_EPOCHS`], for what may be answered on chain, or until a wrong answer there was proven.
    pub fn watch_from_now_on(&self) -> Option<Watched> {
        let struck = || self.struck.map(|challenge| Watched { challenge: challenge.clone(), slashed_in: None });
        match (self.open(), self.watched) {
            (Some(challenge), _) if self.is_answered(challenge) => None,
            (Some(_), _) if self.is_refuted && self.secure => None,
            // Nobody can decide it, because too few ever held its claims, say: another one that struck out is worth more.
            (Some(challenge), _) if self.struck.is_some() && self.is_stale(challenge) => struck(),
            (Some(challenge), _) => {
                let is_slashed = self.slash_reason() == Some(Fault::StorageSilent);
                Some(Watched { challenge: challenge.clone(), slashed_in: is_slashed.then_some(self.epoch) })
            }
            // Answered on the chain, wrongly, and slashed for that: once is enough.
            (None, Some(_)) if self.is_refuted && self.secure => struck(),
            (None, Some(slashed)) if self.is_held(slashed) => Some(slashed.clone()),
            (None, _) => struck(),
        }
    }
}

impl Verdict {
    /// Judges one provider (design section 7).
    pub fn judge(case: &Case<'_>, kinds: Kinds, params: &Params) -> Self {
        Self::by(&Goals::of(kinds, case.class), case, params)
    }

    /// As [`Self::judge`], with the goals of the provider's class.
    pub(crate) fn by(goals: &Goals, case: &Case<'_>, params: &Params) -> Self {
        let told: Vec<Told> = case.panel.seen().map(|(seat, seen)| Told::new(case.panel.votes(seat), seat.oracle, seen)).collect();
        let faults = case.faults();
        let dimensions: Vec<DimensionVerdict> =
            goals.0.iter().map(|goal| goal.judge(&case.panel, &told, !faults.is_empty(), params)).collect();
        let outcome = dimensions.iter().map(|d| d.grade).max().unwrap_or(Grade::Inconclusive);
        let multiplier_ppm = multiplier(&dimensions, case.previous_multiplier_ppm);
        // Who could empty its claims and be paid on would do so as soon as it lost data.
        let stores_nothing = goals.0.iter().any(|goal| goal.is_of_storage() && goal.is_never_asked(&told));
        let slash_reason = case.slash_reason();
        let slash = if slash_reason.is_some() { share(case.stake, params.storage_slash_ppm) } else { 0 };
        Self {
            provider: case.provider,
            epoch: case.epoch,
            outcome,
            dimensions,
            p50_us: median_reading(&told, Kind::LATENCY_ECHO),
            in_kbps: median_reading(&told, Kind::INGRESS),
            out_kbps: median_reading(&told, Kind::EGRESS),
            storage: storage_counts(&told),
            multiplier_ppm,
            reward: if stores_nothing { 0 } else { share(share(params.base_reward, case.class.weight_ppm), multiplier_ppm) },
            slash,
            slash_reason,
            facts_root: crate::observation::facts_root(faults.iter().map(|fact| &fact.digest)),
            watched: case.watch_from_now_on().map_or(Hash32::ZERO, |watched| watched.word()),
        }
    }

    /// One word over all dimensions, for the result leaf.
    pub fn dimensions_word(&self) -> Hash32 {
        static TAG: LazyLock<Hash32> = LazyLock::new(|| crate::hash::tag("assay.dimensions.v1"));
        keccak([TAG.as_bytes(), &self.dimensions_bytes()])
    }

    /// The words behind [`Self::dimensions_word`] without their tag: whoever disputes the verdict on chain shows them.
    pub fn dimensions_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.dimensions.len().saturating_add(1).saturating_mul(9 * 32));
        let mut put = |word: &dyn Word| bytes.extend_from_slice(&word.word());
        put(&self.watched);
        for value in [self.p50_us, self.in_kbps, self.out_kbps] {
            put(&value);
        }
        for count in [self.storage.valid, self.storage.invalid, self.storage.missing, self.storage.silent] {
            put(&count);
        }
        for d in &self.dimensions {
            put(&d.dimension.0);
            put(&(d.grade as u8));
            put(&d.reporting);
            for value in [d.bad, d.counted, d.median_bad, d.median_counted, d.burn_ppm, d.multiplier_ppm] {
                put(&value);
            }
        }
        bytes
    }

    /// Whether a fact or a witnessed silence failed it: alone such a failure of stored data burns nothing.
    pub fn states_fault(&self) -> bool {
        let storage = self.dimensions.iter().find(|d| d.dimension == Dimension::STORAGE);
        storage.is_some_and(|d| d.grade == Grade::Fail && d.burn_ppm == 0)
    }

    /// The leaf under `resultRoot`.
    pub fn leaf(&self) -> Hash32 {
        crate::merkle::leaf(
            &Words::new()
                .with(&self.provider)
                .with(&self.epoch)
                .with(&(self.outcome as u8))
                .with(&self.multiplier_ppm)
                .with(&self.reward)
                .with(&self.slash)
                .with(&self.dimensions_word()),
        )
    }
}

/// `amount · ppm / 10^6`, rounded down, without overflow for any amount.
pub fn share(amount: u128, ppm: u64) -> u128 {
    const MILLION: u128 = PPM as u128;
    let (whole, rest) = (amount / MILLION, amount % MILLION);
    whole.saturating_mul(u128::from(ppm)).saturating_add(rest.saturating_mul(u128::from(ppm)) / MILLION)
}

/// Error budget burnt: (bad / counted) / allowed, in ppm, rounded down.
fn burn(bad: u64, counted: u64, allowed_ppm: u64) -> u64 {
    let spent = u128::from(bad).saturating_mul(u128::from(PPM)).saturating_mul(u128::from(PPM));
    let budget = u128::from(counted).saturating_mul(u128::from(allowed_ppm));
    spent.checked_div(budget).map_or(u64::MAX, |burn| u64::try_from(burn).unwrap_or(u64::MAX))
}

/// m(b): 1 up to b = 1, 0.5 at 2, 0 at 5, linear between.
pub fn multiplier_of_burn(burn_ppm: u64) -> u64 {
    match burn_ppm {
        0..=1_000_000 => PPM,
        1_000_001..=2_000_000 => PPM.saturating_mul(3).saturating_sub(burn_ppm) / 2,
        2_000_001..=5_000_000 => PPM.saturating_mul(5).saturating_sub(burn_ppm) / 6,
        _ => 0,
    }
}

/// The minimum over conclusive dimensions; falls at once, rises by half the gap, and never rises while a dimension is undecided.
fn multiplier(dimensions: &[DimensionVerdict], previous_ppm: u64) -> u64 {
    let undecided = |d: &DimensionVerdict| matches!(d.grade, Grade::Insufficient | Grade::Inconclusive);
    match dimensions.iter().filter(|d| !undecided(d)).map(|d| d.multiplier_ppm).min() {
        Some(own) if own <= previous_ppm => own,
        Some(own) if !dimensions.iter().any(undecided) => previous_ppm.saturating_add(own.saturating_sub(previous_ppm).div_ceil(2)),
        _ => previous_ppm,
    }
}

fn storage_counts(told: &[Told]) -> StorageCounts {
    told.iter().filter_map(|told| told.of(Kind::STORAGE)).fold(StorageCounts::default(), |sum, tally| {
        let [invalid, missing, silent] = [Storage::INVALID, Storage::MISSING, Storage::SILENT].map(|ground| tally.bad_on(ground));
        let valid = tally.counted.saturating_sub(invalid).saturating_sub(missing).saturating_sub(silent);
        StorageCounts {
            valid: sum.valid.saturating_add(valid),
            invalid: sum.invalid.saturating_add(invalid),
            missing: sum.missing.saturating_add(missing),
            silent: sum.silent.saturating_add(silent),
        }
    })
}

/// Median of the panel's first readings of a kind, over those who counted anything and read more than nothing.
fn median_reading(told: &[Told], kind: Kind) -> u64 {
    let mut values: Vec<(u64, u64)> = told
        .iter()
        .filter_map(|told| Some((told.of(kind)?, told.votes)))
        .filter(|(tally, _)| tally.counted > 0 && tally.reading(0) > 0)
        .map(|(tally, votes)| (tally.reading(0), votes))
        .collect();
    values.sort_unstable();
    median(&values).unwrap_or(0)
}

#[cfg(test)]
mod tests;
