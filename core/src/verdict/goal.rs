//! From a panel's numbers on one dimension to a grade.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Dimension, DimensionVerdict, Grade, Objective, Panel, Rule, burn, critical, median, multiplier_of_burn, ranked, votes_of};
use crate::challenge::{Kind, Kinds};
use crate::ids::OracleId;
use crate::observation::{Observation, Tally, tallies};
use crate::params::{Class, PPM, Params};

/// An objective with the kinds that feed it.
pub(super) struct Goal {
    objective: Objective,
    sources: Vec<(Kind, usize)>,
}

/// The objectives of a class by dimension.
pub(crate) struct Goals(pub(super) Vec<Goal>);

impl Goals {
    pub(crate) fn of(kinds: Kinds, class: &Class) -> Self {
        let mut goals: BTreeMap<Dimension, Goal> = BTreeMap::new();
        for plug in kinds.iter() {
            for objective in plug.objectives(class) {
                let goal = goals.entry(objective.dimension).or_insert_with(|| Goal { objective, sources: Vec::new() });
                goal.sources.push((plug.kind(), objective.ground));
            }
        }
        Self(goals.into_values().collect())
    }
}

/// What one oracle told of the provider, unpacked once for all dimensions.
pub(super) struct Told {
    oracle: OracleId,
    pub(super) votes: u64,
    numbers: Vec<u64>,
}

impl Told {
    pub(super) fn new(votes: u64, oracle: OracleId, seen: &Observation) -> Self {
        Self { oracle, votes, numbers: seen.counts.numbers() }
    }

    pub(super) fn of(&self, kind: Kind) -> Option<Tally<'_>> {
        tallies(&self.numbers).find(|tally| tally.kind == kind)
    }
}

/// One oracle's numbers for one dimension.
#[derive(Clone, Copy)]
pub(super) struct Report {
    pub(super) oracle: OracleId,
    pub(super) bad: u64,
    pub(super) counted: u64,
}

impl Report {
    /// Orders by bad / counted; of equal ratios the one that rests on more comes first, so that no thin report stands in its place.
    pub(super) fn order(&self, other: &Self) -> Ordering {
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
    pub(super) fn judge(&self, panel: &Panel<'_>, told: &[Told], is_faulty: bool, params: &Params) -> DimensionVerdict {
        let ranked = self.rank(panel, told, params);
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
        if self.objective.rule == Rule::Facts && is_faulty {
            return DimensionVerdict { grade: Grade::Fail, multiplier_ppm: 0, ..verdict };
        }
        if self.is_never_asked(told) {
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

    fn rank(&self, panel: &Panel<'_>, told: &[Told], params: &Params) -> Ranked {
        let mut reports: Vec<(Report, u64)> = told.iter().filter_map(|told| Some((self.report(told, params)?, told.votes))).collect();
        reports.sort_unstable_by(|(a, _), (b, _)| a.order(b));
        Ranked {
            reporting: u32::try_from(reports.len()).unwrap_or(u32::MAX),
            lenient: ranked(&reports, |votes| panel.exceeds_liars(votes)),
            median: median(&reports),
            is_enough: panel.is_enough(votes_of(&reports)),
        }
    }

    pub(super) fn is_of_storage(&self) -> bool {
        self.objective.rule == Rule::Facts
    }

    /// Whether the schedule asks nothing of it, of nobody: what is not asked is no fault of the panel.
    pub(super) fn is_never_asked(&self, told: &[Told]) -> bool {
        let asked_nothing = |told: &Told| self.sources.iter().all(|(kind, _)| told.of(*kind).is_none_or(|tally| tally.scheduled == 0));
        !told.is_empty() && told.iter().all(asked_nothing)
    }

    /// An oracle's vote, if it covered enough and erred little enough itself.
    fn report(&self, told: &Told, params: &Params) -> Option<Report> {
        let (mut scheduled, mut counted, mut bad) = (0u64, 0u64, 0u64);
        for (tally, ground) in self.sources.iter().filter_map(|(kind, ground)| Some((told.of(*kind)?, *ground))) {
            scheduled = scheduled.saturating_add(tally.scheduled);
            counted = counted.saturating_add(tally.counted);
            bad = bad.saturating_add(tally.bad_on(ground));
        }
        let of_scheduled = |ppm: u64| u128::from(scheduled).saturating_mul(u128::from(ppm));
        let in_ppm = |count: u64| u128::from(count).saturating_mul(u128::from(PPM));
        let covered = in_ppm(counted) >= of_scheduled(params.probing.coverage_ppm);
        let erred = in_ppm(scheduled.saturating_sub(counted)) > of_scheduled(params.probing.oracle_error_limit_ppm);
        (counted > 0 && covered && !erred).then_some(Report { oracle: told.oracle, bad, counted })
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
