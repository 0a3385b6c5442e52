//! From a panel's observations to one provider's verdict. Integers only, rounding down; ties go to the larger count, then by id.

mod critical;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::abi::Words;
use crate::challenge::kinds::storage::Storage;
use crate::challenge::{Challenge, Kind, Kinds};
use crate::hash::Hash32;
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
        let dimensions: Vec<DimensionVerdict> = goals(kinds, case.class).iter().map(|goal| goal.judge(case, params)).collect();
        let outcome = dimensions.iter().map(|d| d.grade).max().unwrap_or(Grade::Inconclusive);
        let multiplier_ppm = multiplier(&dimensions, case.previous_multiplier_ppm);
        // Who could empty its claims and be paid on would do so as soon as it lost data.
        let stores_nothing = goals(kinds, case.class).iter().any(|goal| goal.is_of_storage() && goal.is_never_asked(&case.panel));
        let faults = case.faults();
        let slash_reason = case.slash_reason();
        let slash = if slash_reason.is_some() { share(case.stake, params.storage_slash_ppm) } else { 0 };
        Self {
            provider: case.provider,
            epoch: case.epoch,
            outcome,
            dimensions,
            p50_us: median_reading(&case.panel, Kind::LATENCY_ECHO),
            in_kbps: median_reading(&case.panel, Kind::INGRESS),
            out_kbps: median_reading(&case.panel, Kind::EGRESS),
            storage: storage_counts(&case.panel),
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
        let mut words = Words::tagged("assay.dimensions.v1").with(&self.watched);
        for reading in [self.p50_us, self.in_kbps, self.out_kbps] {
            words.push(&reading);
        }
        for count in [self.storage.valid, self.storage.invalid, self.storage.missing, self.storage.silent] {
            words.push(&count);
        }
        for d in &self.dimensions {
            words.push(&d.dimension.0);
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

/// An objective with the kinds that feed it.
struct Goal {
    objective: Objective,
    sources: Vec<(Kind, usize)>,
}

/// The objectives of a class by dimension.
fn goals(kinds: Kinds, class: &Class) -> Vec<Goal> {
    let mut goals: BTreeMap<Dimension, Goal> = BTreeMap::new();
    for plug in kinds.iter() {
        for objective in plug.objectives(class) {
            let goal = goals.entry(objective.dimension).or_insert_with(|| Goal { objective, sources: Vec::new() });
            goal.sources.push((plug.kind(), objective.ground));
        }
    }
    goals.into_values().collect()
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

/// A panel's reports on one dimension, by rank.
struct Ranked {
    reporting: u32,
    lenient: Option<Report>,
    median: Option<Report>,
    is_enough: bool,
}

impl Goal {
    fn judge(&self, case: &Case<'_>, params: &Params) -> DimensionVerdict {
        let ranked = self.rank(&case.panel, params);
        let judged = match self.objective.rule {
            Rule::Median => ranked.median,
            Rule::Rate | Rule::Facts => ranked.lenient,
        };
        let number = |report: Option<Report>, of: fn(Report) -> u64| report.map_or(0, of);
        let mut verdict = DimensionVerdict {
            dimension: self.objective.dimension,
            grade: Grade::Inconclusive,
            reporting: ranked.reporting,
            bad: number(judged, |report| report.bad),
            counted: number(judged, |report| report.counted),
            median_bad: number(ranked.median, |report| report.bad),
            median_counted: number(ranked.median, |report| report.counted),
            burn_ppm: 0,
            multiplier_ppm: PPM,
        };
        if self.objective.rule == Rule::Facts && !case.faults().is_empty() {
            return DimensionVerdict { grade: Grade::Fail, multiplier_ppm: 0, ..verdict };
        }
        if self.is_never_asked(&case.panel) {
            verdict.grade = Grade::Insufficient;
            return verdict;
        }
        if !ranked.is_enough || verdict.counted == 0 {
            return verdict;
        }
        if verdict.counted < self.objective.minimum {
            verdict.grade = Grade::Insufficient;
            return verdict;
        }
        verdict.burn_ppm = burn(verdict.bad, verdict.counted, self.objective.allowed_ppm);
        verdict.multiplier_ppm = multiplier_of_burn(verdict.burn_ppm);
        verdict.grade = self.grade(verdict.bad, verdict.counted, ranked.lenient, params);
        verdict
    }

    fn rank(&self, panel: &Panel<'_>, params: &Params) -> Ranked {
        let mut reports: Vec<(Report, u64)> =
            panel.seen().filter_map(|(seat, seen)| Some((self.report(seat.oracle, seen, params)?, panel.votes(seat)))).collect();
        reports.sort_unstable_by(|(a, _), (b, _)| a.order(b));
        Ranked {
            reporting: u32::try_from(reports.len()).unwrap_or(u32::MAX),
            lenient: ranked(&reports, |votes| panel.exceeds_liars(votes)),
            median: median(&reports),
            is_enough: panel.is_enough(votes_of(&reports)),
        }
    }

    fn is_of_storage(&self) -> bool {
        self.objective.rule == Rule::Facts
    }

    /// Whether the schedule asks nothing of it, of nobody: what is not asked is no fault of the panel.
    fn is_never_asked(&self, panel: &Panel<'_>) -> bool {
        let mut seen = panel.seen().peekable();
        seen.peek().is_some() && seen.all(|(_, seen)| self.sources.iter().all(|(kind, _)| seen.of(*kind).is_none_or(|c| c.scheduled == 0)))
    }

    /// An oracle's vote, if it covered enough and erred little enough itself.
    fn report(&self, oracle: OracleId, seen: &Observation, params: &Params) -> Option<Report> {
        let (mut scheduled, mut counted, mut bad) = (0u64, 0u64, 0u64);
        for (counts, ground) in self.sources.iter().filter_map(|(kind, ground)| Some((seen.of(*kind)?, *ground))) {
            scheduled = scheduled.saturating_add(counts.scheduled);
            counted = counted.saturating_add(counts.counted);
            bad = bad.saturating_add(counts.bad_on(ground));
        }
        let of_scheduled = |ppm: u64| u128::from(scheduled).saturating_mul(u128::from(ppm));
        let in_ppm = |count: u64| u128::from(count).saturating_mul(u128::from(PPM));
        let covered = in_ppm(counted) >= of_scheduled(params.probing.coverage_ppm);
        let erred = in_ppm(scheduled.saturating_sub(counted)) > of_scheduled(params.probing.oracle_error_limit_ppm);
        (counted > 0 && covered && !erred).then_some(Report { oracle, bad, counted })
    }

    fn grade(&self, bad: u64, counted: u64, lenient: Option<Report>, params: &Params) -> Grade {
        if !self.is_over(bad, counted, self.objective.allowed_ppm) {
            return Grade::Pass;
        }
        // Material: twice the allowance, or half-way from it to everything, whichever is less.
        let doubled = self.objective.allowed_ppm.saturating_mul(2);
        let halfway = PPM.saturating_add(self.objective.allowed_ppm) / 2;
        let material =
            u128::from(bad).saturating_mul(u128::from(PPM)) >= u128::from(counted).saturating_mul(u128::from(doubled.min(halfway)));
        let certain = match self.objective.rule {
            Rule::Median => lenient.is_some_and(|report| self.is_over(report.bad, report.counted, self.objective.allowed_ppm)),
            Rule::Rate | Rule::Facts => self.is_certain(bad, counted, params.design_effect_milli),
        };
        if material && certain { Grade::Fail } else { Grade::Degraded }
    }

    fn is_over(&self, bad: u64, counted: u64, ppm: u64) -> bool {
        u128::from(bad).saturating_mul(u128::from(PPM)) > u128::from(counted).saturating_mul(u128::from(ppm))
    }

    /// Whether a provider that just keeps its objective shows this many bad events with a probability below 10^-4.
    fn is_certain(&self, bad: u64, counted: u64, default_milli: u64) -> bool {
        let design = self.objective.design_effect_milli.unwrap_or(default_milli.clamp(1_000, 10_000)).max(1_000);
        let independent_bad = bad.saturating_mul(1_000).checked_div(design).unwrap_or(0);
        let independent = counted.saturating_mul(1_000).div_ceil(design);
        critical::is_significant(self.objective.allowed_ppm, independent_bad, independent)
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
    panel.seen().filter_map(|(_, seen)| seen.of(Kind::STORAGE)).fold(StorageCounts::default(), |sum, counts| {
        let [invalid, missing, silent] = [Storage::INVALID, Storage::MISSING, Storage::SILENT].map(|ground| counts.bad_on(ground));
        let valid = counts.counted.saturating_sub(invalid).saturating_sub(missing).saturating_sub(silent);
        StorageCounts {
            valid: sum.valid.saturating_add(valid),
            invalid: sum.invalid.saturating_add(invalid),
            missing: sum.missing.saturating_add(missing),
            silent: sum.silent.saturating_add(silent),
        }
    })
}

/// Median of the panel's first readings of a kind, over those who counted anything and read more than nothing.
fn median_reading(panel: &Panel<'_>, kind: Kind) -> u64 {
    let mut values: Vec<(u64, u64)> = panel
        .seen()
        .filter_map(|(seat, seen)| Some((seen.of(kind)?, panel.votes(seat))))
        .filter(|(counts, _)| counts.counted > 0 && counts.reading(0) > 0)
        .map(|(counts, votes)| (counts.reading(0), votes))
        .collect();
    values.sort_unstable();
    median(&values).unwrap_or(0)
}

#[cfg(test)]
mod tests;
