//! From a panel's observations to one provider's verdict. Integers only, rounding down; ties go to the larger count, then by id.

mod critical;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::abi::Words;
use crate::hash::Hash32;
use crate::ids::{OracleId, ProviderId};
use crate::observation::{Fault, Observation};
use crate::panel::faulty;
use crate::params::{Class, PPM, Params};

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

/// What is judged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Dimension {
    /// Probes answered.
    Availability = 1,
    /// Probes within T50.
    LatencyP50 = 2,
    /// Probes within T95.
    LatencyP95 = 3,
    /// Probes within T99.
    LatencyP99 = 4,
    /// Stored data proved.
    Storage = 5,
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
    /// Root over the digests of all proven facts; zero without any.
    pub facts_root: Hash32,
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
    /// Whether the epoch's seed came from the beacon: without it nothing is slashed.
    pub secure: bool,
    /// Multiplier of the last epoch, ppm.
    pub previous_multiplier_ppm: u64,
}

impl Verdict {
    /// Judges one provider (design section 7).
    pub fn judge(case: &Case<'_>, params: &Params) -> Self {
        let mut dimensions: Vec<DimensionVerdict> =
            objectives(case.class).into_iter().map(|objective| objective.judge(&case.panel, params)).collect();
        let storage = storage_counts(&case.panel);
        dimensions.push(judge_storage(case, &storage));
        let outcome = dimensions.iter().map(|d| d.grade).max().unwrap_or(Grade::Inconclusive);
        let multiplier_ppm = multiplier(&dimensions, case.previous_multiplier_ppm);
        let mut facts: Vec<ProvenFact> = case.facts.to_vec();
        facts.sort_unstable();
        facts.dedup();
        let slash_reason = facts.first().map(|fact| fact.fault).filter(|_| case.secure);
        let slash = if slash_reason.is_some() { share(case.stake, params.storage_slash_ppm) } else { 0 };
        Self {
            provider: case.provider,
            epoch: case.epoch,
            outcome,
            dimensions,
            p50_us: median_p50(&case.panel),
            storage,
            multiplier_ppm,
            reward: share(share(params.base_reward, case.class.weight_ppm), multiplier_ppm),
            slash,
            slash_reason,
            facts_root: crate::observation::facts_root(facts.iter().map(|fact| &fact.digest)),
        }
    }

    /// One word over all dimensions, for the result leaf.
    pub fn dimensions_word(&self) -> Hash32 {
        let mut words = Words::tagged("assay.dimensions.v1").with(&self.p50_us);
        for count in [self.storage.valid, self.storage.invalid, self.storage.missing, self.storage.silent] {
            words.push(&count);
        }
        for d in &self.dimensions {
            words.push(&(d.dimension as u8));
            words.push(&(d.grade as u8));
            words.push(&d.reporting);
            for value in [d.bad, d.counted, d.median_bad, d.median_counted, d.burn_ppm, d.multiplier_ppm] {
                words.push(&value);
            }
        }
        words.keccak()
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

/// A ratio objective of a class.
struct Objective {
    dimension: Dimension,
    /// Allowed share of bad events, ppm.
    allowed_ppm: u64,
    /// Fewest raw probes to judge by.
    minimum: u64,
}

fn objectives(class: &Class) -> Vec<Objective> {
    let latency = [
        (Dimension::LatencyP50, class.t50_us, 500_000, 30),
        (Dimension::LatencyP95, class.t95_us, 50_000, 90),
        (Dimension::LatencyP99, class.t99_us, 10_000, 459),
    ];
    let availability =
        Objective { dimension: Dimension::Availability, allowed_ppm: PPM.saturating_sub(class.availability_ppm), minimum: 1 };
    let kept = latency.into_iter().filter(|(_, threshold, _, _)| *threshold > 0);
    std::iter::once(availability)
        .chain(kept.map(|(dimension, _, allowed_ppm, minimum)| Objective { dimension, allowed_ppm, minimum }))
        .collect()
}

/// One oracle's numbers for one dimension.
#[derive(Clone, Copy)]
struct Report {
    oracle: OracleId,
    bad: u64,
    counted: u64,
}

impl Report {
    /// Orders by bad / counted; of equal ratios the one that rests on more comes first, so that no thin report stands in its place.
    fn order(&self, other: &Self) -> Ordering {
        let mine = u128::from(self.bad).saturating_mul(u128::from(other.counted));
        let theirs = u128::from(other.bad).saturating_mul(u128::from(self.counted));
        mine.cmp(&theirs).then(other.counted.cmp(&self.counted)).then(self.oracle.cmp(&other.oracle))
    }
}

impl Objective {
    fn judge(&self, panel: &Panel<'_>, params: &Params) -> DimensionVerdict {
        let mut reports: Vec<(Report, u64)> =
            panel.seen().filter_map(|(seat, seen)| Some((self.report(seat.oracle, seen, params)?, panel.votes(seat)))).collect();
        reports.sort_unstable_by(|(a, _), (b, _)| a.order(b));
        let reporting = u32::try_from(reports.len()).unwrap_or(u32::MAX);
        let lenient = ranked(&reports, |votes| panel.exceeds_liars(votes));
        let median = median(&reports);
        let mut verdict = DimensionVerdict {
            dimension: self.dimension,
            grade: Grade::Inconclusive,
            reporting,
            bad: lenient.map_or(0, |report| report.bad),
            counted: lenient.map_or(0, |report| report.counted),
            median_bad: median.map_or(0, |report| report.bad),
            median_counted: median.map_or(0, |report| report.counted),
            burn_ppm: 0,
            multiplier_ppm: PPM,
        };
        if !panel.is_enough(votes_of(&reports)) || verdict.counted == 0 {
            return verdict;
        }
        if verdict.counted < self.minimum {
            verdict.grade = Grade::Insufficient;
            return verdict;
        }
        verdict.burn_ppm = burn(verdict.bad, verdict.counted, self.allowed_ppm);
        verdict.multiplier_ppm = multiplier_of_burn(verdict.burn_ppm);
        verdict.grade = self.grade(verdict.bad, verdict.counted, params);
        verdict
    }

    /// An oracle's vote, if it covered enough and erred little enough itself.
    fn report(&self, oracle: OracleId, seen: &Observation, params: &Params) -> Option<Report> {
        let (scheduled, counted, bad) = match self.dimension {
            Dimension::Availability => (seen.availability_scheduled, seen.availability.counted, seen.availability.bad),
            Dimension::LatencyP50 => (seen.latency_scheduled, seen.latency_counted, seen.over_t50),
            Dimension::LatencyP95 => (seen.latency_scheduled, seen.latency_counted, seen.over_t95),
            Dimension::LatencyP99 => (seen.latency_scheduled, seen.latency_counted, seen.over_t99),
            Dimension::Storage => return None,
        };
        let of_scheduled = |ppm: u64| u128::from(scheduled).saturating_mul(u128::from(ppm));
        let in_ppm = |count: u64| u128::from(count).saturating_mul(u128::from(PPM));
        let covered = in_ppm(counted) >= of_scheduled(params.probing.coverage_ppm);
        let erred = in_ppm(scheduled.saturating_sub(counted)) > of_scheduled(params.probing.oracle_error_limit_ppm);
        (counted > 0 && covered && !erred).then_some(Report { oracle, bad, counted })
    }

    fn grade(&self, bad: u64, counted: u64, params: &Params) -> Grade {
        let share = u128::from(bad).saturating_mul(u128::from(PPM));
        let at = |ppm: u64| u128::from(counted).saturating_mul(u128::from(ppm));
        if share <= at(self.allowed_ppm) {
            return Grade::Pass;
        }
        // Material: twice the allowance, or half-way from it to everything, whichever is less.
        let doubled = self.allowed_ppm.saturating_mul(2);
        let halfway = PPM.saturating_add(self.allowed_ppm) / 2;
        let material = share >= at(doubled.min(halfway));
        if material && self.is_certain(bad, counted, params.design_effect_milli) { Grade::Fail } else { Grade::Degraded }
    }

    /// Whether a provider that just keeps its objective shows this many bad events with a probability below 10^-4.
    fn is_certain(&self, bad: u64, counted: u64, design_effect_milli: u64) -> bool {
        let design = design_effect_milli.clamp(1_000, 10_000);
        let independent_bad = bad.saturating_mul(1_000).checked_div(design).unwrap_or(0);
        let independent = counted.saturating_mul(1_000).div_ceil(design);
        critical::is_significant(self.allowed_ppm, independent_bad, independent)
    }
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

fn storage_counts(panel: &Panel<'_>) -> StorageCounts {
    panel.seen().fold(StorageCounts::default(), |sum, (_, seen)| StorageCounts {
        valid: sum.valid.saturating_add(seen.storage_valid),
        invalid: sum.invalid.saturating_add(seen.storage_invalid),
        missing: sum.missing.saturating_add(seen.storage_missing),
        silent: sum.silent.saturating_add(seen.storage_silent),
    })
}

/// Facts are a union: one proven fact is enough, an unproven one counts for nothing.
fn judge_storage(case: &Case<'_>, counts: &StorageCounts) -> DimensionVerdict {
    let reporting = case.panel.seen().filter(|(_, seen)| seen.storage_valid > 0).count();
    let failed = !case.facts.is_empty();
    let enough = reporting > faulty(case.panel.seats.len());
    let counted = counts.valid.saturating_add(counts.invalid).saturating_add(counts.missing);
    let bad = counts.invalid.saturating_add(counts.missing);
    DimensionVerdict {
        dimension: Dimension::Storage,
        grade: if failed {
            Grade::Fail
        } else if enough {
            Grade::Pass
        } else {
            Grade::Insufficient
        },
        reporting: u32::try_from(reporting).unwrap_or(u32::MAX),
        bad,
        counted,
        median_bad: bad,
        median_counted: counted,
        burn_ppm: 0,
        multiplier_ppm: if failed { 0 } else { PPM },
    }
}

fn median_p50(panel: &Panel<'_>) -> u64 {
    let mut values: Vec<(u64, u64)> =
        panel.seen().filter(|(_, seen)| seen.p50_us > 0).map(|(seat, seen)| (seen.p50_us, panel.votes(seat))).collect();
    values.sort_unstable();
    median(&values).unwrap_or(0)
}

#[cfg(test)]
mod tests;
