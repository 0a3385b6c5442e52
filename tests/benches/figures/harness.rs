//! How things are measured.
//!
//! Warm-up first; then samples of equal work, each long enough for the clock, of which the median counts; its 95 % interval is a seeded
//! bootstrap, so that the same samples always give the same interval. A ratio is measured in pairs, ours and the yardstick turn by turn
//! with changing precedence, so that a machine that slows down slows both, and it is the median of the pairs' ratios. Outliers are
//! counted by Tukey's fences and stay in: the median does not mind them, the reader should.
//!
//! The method is criterion's, the code is not: criterion measures one function after the other and compares with an earlier run. On a
//! shared machine the time between the two is the larger part of such a difference, and it has no interval for a ratio.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Resamples behind an interval.
const RESAMPLES: usize = 2_000;

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Samples, or pairs of them.
    pub samples: usize,
    /// The least time of one sample: calls are repeated until they fill it.
    pub sample: Duration,
    /// Calls are repeated for at least this long before the first sample.
    pub warm_up: Duration,
}

impl Plan {
    /// For calls of microseconds that only compute.
    pub const SHORT: Self = Self { samples: 301, sample: Duration::from_millis(5), warm_up: Duration::from_millis(300) };
}

/// A statistic of samples.
#[derive(Clone, Copy)]
pub struct Estimate {
    pub value: f64,
    /// Ends of the 95 % interval.
    pub low: f64,
    pub high: f64,
    pub samples: usize,
    /// Samples beyond 1.5 interquartile ranges outside the quartiles.
    pub mild: usize,
    /// Of these, beyond 3.
    pub severe: usize,
}

impl Estimate {
    /// The median.
    pub fn median(samples: &[f64]) -> Self {
        Self::new(samples, |drawn| {
            let middle = drawn.len() / 2;
            *drawn.select_nth_unstable_by(middle, f64::total_cmp).1
        })
    }

    /// The mean, where a mean is what is asked for.
    pub fn mean(samples: &[f64]) -> Self {
        Self::new(samples, |drawn| drawn.iter().sum::<f64>() / drawn.len() as f64)
    }

    fn new(samples: &[f64], statistic: impl Fn(&mut [f64]) -> f64) -> Self {
        let mut random = Random::new(samples.len() as u64);
        let mut drawn = samples.to_vec();
        let value = statistic(&mut drawn);
        let mut resampled: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                drawn.fill_with(|| samples[random.below(samples.len())]);
                statistic(&mut drawn)
            })
            .collect();
        resampled.sort_by(f64::total_cmp);
        let (low, high) = (quantile(&resampled, 0.025), quantile(&resampled, 0.975));
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (first, third) = (quantile(&sorted, 0.25), quantile(&sorted, 0.75));
        let beyond = |ranges: f64| {
            let reach = ranges * (third - first);
            sorted.iter().filter(|sample| **sample < first - reach || **sample > third + reach).count()
        };
        Self { value, low, high, samples: samples.len(), mild: beyond(1.5), severe: beyond(3.0) }
    }

    /// The same in another unit; `scale` must be monotone.
    pub fn map(self, scale: impl Fn(f64) -> f64) -> Self {
        let (one, other) = (scale(self.low), scale(self.high));
        Self { value: scale(self.value), low: one.min(other), high: one.max(other), ..self }
    }
}

/// Linear between the two nearest of ascending values.
fn quantile(ascending: &[f64], share: f64) -> f64 {
    let place = share * (ascending.len() - 1) as f64;
    let (below, above) = (ascending[place.floor() as usize], ascending[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// Two things measured turn by turn.
pub struct Pair {
    /// Seconds of one call of ours.
    pub ours: Estimate,
    /// Seconds of one call of the yardstick.
    pub theirs: Estimate,
    /// Ours over the yardstick's, in time.
    pub ratio: Estimate,
}

/// Measures two calls in pairs. A call returns whether it succeeded.
pub fn pair(plan: Plan, ours: impl Fn() -> bool, theirs: impl Fn() -> bool) -> Pair {
    let (our_rounds, their_rounds) = (rounds(plan, &ours), rounds(plan, &theirs));
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for number in 0..plan.samples {
        // Who begins changes, so that neither always follows the other.
        if number % 2 == 0 {
            our_times.push(timed(our_rounds, &ours));
        }
        their_times.push(timed(their_rounds, &theirs));
        if number % 2 == 1 {
            our_times.push(timed(our_rounds, &ours));
        }
    }
    let ratios: Vec<f64> = our_times.iter().zip(&their_times).map(|(ours, theirs)| ours / theirs).collect();
    Pair { ours: Estimate::median(&our_times), theirs: Estimate::median(&their_times), ratio: Estimate::median(&ratios) }
}

/// Seconds of one call, measured by itself.
pub fn alone(plan: Plan, call: impl Fn() -> bool) -> Estimate {
    let rounds = rounds(plan, &call);
    let times: Vec<f64> = (0..plan.samples).map(|_| timed(rounds, &call)).collect();
    Estimate::median(&times)
}

/// Warms up and finds how many calls fill a sample.
fn rounds(plan: Plan, call: &impl Fn() -> bool) -> u32 {
    let mut rounds = 1;
    let warm = Instant::now() + plan.warm_up;
    loop {
        let fills = timed(rounds, call) * f64::from(rounds) >= plan.sample.as_secs_f64();
        if fills && Instant::now() >= warm {
            return rounds;
        }
        if !fills {
            rounds *= 2;
        }
    }
}

/// Mean seconds of a call over `rounds` calls. Every call must succeed: a failure may be quicker.
fn timed(rounds: u32, call: &impl Fn() -> bool) -> f64 {
    let start = Instant::now();
    let succeeded = (0..rounds).filter(|_| black_box(call())).count();
    let elapsed = start.elapsed();
    assert_eq!(succeeded, rounds as usize, "a measured call failed");
    elapsed.as_secs_f64() / f64::from(rounds)
}

/// SplitMix64: small, seeded, the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform below `bound`; its bias of 2^-64 · bound is far below what is read here.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.word()) * bound as u128) >> 64) as usize
    }

    /// In (0, 1].
    fn unit(&mut self) -> f64 {
        ((self.word() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}
