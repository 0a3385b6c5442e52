//! How far a lying third moves what is published, in standard deviations σ of honest reports.
//!
//! Every epoch 2f + 1 honest oracles report N(μ, σ) and f lie. They know μ and σ and decide together, but a commit binds them before they
//! see a number, and all timely reveals are included: so a play is fixed beforehand (so many liars report the highest number, so many the
//! lowest, the others stay away) and the worst of all plays counts. Under OCR's rule a lying leader sees all honest reports first and then
//! chooses which 2f + 1 are published ([`assay_tests::baseline::ocr`]). Both see the same draws. A bias is the mean of (published −
//! honest mean) / σ: on average the honest mean is μ, and it takes the luck of the draw out of the difference. In theory the two are, for
//! n = 7, the fourth and the fifth of five normal order statistics, 0.495 and 1.163; for n = 31 the sixteenth and the last of
//! twenty-one, 0.63 and 1.89.
//!
//! The number that punishes (rank f + 1 from the most lenient) has a stricter promise: whatever liars play, it is no more lenient than
//! the most lenient honest report, and no harsher than the median of the honest reports alone. Its figure is the largest breach of that
//! over all epochs and plays, so it is 0 or there is a bug.

use assay_core::challenge::Kinds;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::observation::Observation;
use assay_core::params::{Class, Params, TOKEN};
use assay_core::verdict::{Case, Dimension, Panel, PanelKind, PanelSeat, Verdict};
use assay_tests::baseline::ocr;

use crate::fixture::{Seen, observation};
use crate::harness::{Estimate, Random};
use crate::table::Table;

/// A panel of 3f + 1 of which f lie, and where its figures go.
struct Committee {
    liars: usize,
    epochs: usize,
    key: &'static str,
    what: &'static str,
    punishing_key: &'static str,
    ocr_key: &'static str,
    ocr_what: &'static str,
}

const COMMITTEES: [Committee; 2] = [
    Committee {
        liars: 2,
        epochs: 100_000,
        key: "epoch.bias_sigma_n7",
        what: "2 liars of 7 move the published median by, worst of all plays under commit and reveal",
        punishing_key: "epoch.bias_punishing_sigma_n7",
        ocr_key: "baseline.ocr_bias_sigma_n7",
        ocr_what: "OCR's rule: a lying leader chooses 5 of the same 7 reports after seeing them",
    },
    Committee {
        liars: 10,
        epochs: 5_000,
        key: "epoch.bias_sigma_n31",
        what: "10 liars of 31 move the published median by, worst of all plays under commit and reveal",
        punishing_key: "epoch.bias_punishing_sigma_n31",
        ocr_key: "baseline.ocr_bias_sigma_n31",
        ocr_what: "OCR's rule: a lying leader chooses 21 of the same 31 reports after seeing them",
    },
];

/// Honest reports, both as a round trip in µs and as slow probes of [`PROBES`]: far from 0 and with a grain far below σ.
const MEAN: f64 = 500_000.0;
const SIGMA: f64 = 20_000.0;
const PROBES: u64 = 1_000_000;

/// How many liars report the highest number and how many the lowest; the others stay away.
#[derive(Clone, Copy)]
struct Play {
    highest: usize,
    lowest: usize,
    absent: usize,
}

impl Committee {
    fn honest(&self) -> usize {
        2 * self.liars + 1
    }

    fn plays(&self) -> Vec<Play> {
        let liars = self.liars;
        let with = |highest: usize| (0..=liars - highest).map(move |lowest| Play { highest, lowest, absent: liars - highest - lowest });
        (0..=liars).flat_map(with).collect()
    }

    /// Puts its figures, and gives the largest breach of the punishing rank's promise, in σ.
    fn measure(&self, table: &mut Table) -> f64 {
        let (params, mut random) = (Params::devnet(), Random::new(7));
        let class = params.classes.first().unwrap();
        let plays = self.plays();
        let mut moved: Vec<Vec<f64>> = vec![vec![]; plays.len()];
        let (mut ocr_moved, mut breach) = (Vec::new(), 0u64);
        for _ in 0..self.epochs {
            let draw = |_| (MEAN + SIGMA * random.normal()).round().clamp(0.0, PROBES as f64) as u64;
            let honest: Vec<u64> = (0..self.honest()).map(draw).collect();
            let honest_mean = honest.iter().sum::<u64>() as f64 / honest.len() as f64;
            for (play, moved) in plays.iter().zip(&mut moved) {
                let numbers = numbers(&honest, *play, class, &params);
                moved.push((numbers.published as f64 - honest_mean) / SIGMA);
                breach = breach.max(beyond_honest(numbers.punishing, honest.clone()));
            }
            let all = [honest, vec![PROBES; self.liars]].concat();
            ocr_moved.push((ocr::highest_by_leader(&all, self.honest()).unwrap() as f64 - honest_mean) / SIGMA);
        }
        let mean = |moved: &Vec<f64>| moved.iter().sum::<f64>() / moved.len() as f64;
        let worst = moved.iter().max_by(|a, b| mean(a).abs().total_cmp(&mean(b).abs())).map(|moved| Estimate::mean(moved)).unwrap();
        let size = if worst.value < 0.0 { worst.map(|bias| -bias) } else { worst };
        table.put(self.key, size, "σ", self.what);
        table.put(self.ocr_key, Estimate::mean(&ocr_moved), "σ", self.ocr_what);
        let breach = breach as f64 / SIGMA;
        let what = "the punishing rank f+1 leaves the honest reports (lowest to median) by, largest of all plays";
        table.put_exact(self.punishing_key, breach, "σ", what);
        breach
    }
}

pub fn measure(table: &mut Table) {
    let breaches = COMMITTEES.map(|committee| committee.measure(table));
    let largest = breaches.into_iter().fold(0.0, f64::max);
    table.put_exact("epoch.bias_punish_sigma", largest, "σ", "the same, the larger of both committees");
}

/// What a verdict says in numbers.
struct Numbers {
    /// Median of the panel's medians, µs.
    published: u64,
    /// Slow probes by rank f + 1.
    punishing: u64,
}

/// Judges one provider by the core's own rules.
fn numbers(honest: &[u64], play: Play, class: &Class, params: &Params) -> Numbers {
    // Zero is the sign of no answer at all.
    let lies = [(play.highest, Some(PROBES)), (play.lowest, Some(1)), (play.absent, None)];
    let lies = lies.into_iter().flat_map(|(liars, said)| std::iter::repeat_n(said, liars));
    let said: Vec<Option<Observation>> =
        (1..).zip(honest.iter().copied().map(Some).chain(lies)).map(|(id, said)| Some(report(id, said?))).collect();
    let seats: Vec<PanelSeat<'_>> =
        (1..).zip(&said).map(|(id, said)| PanelSeat { oracle: OracleId(id), weight: 1, seen: said.as_ref() }).collect();
    let case = Case {
        epoch: 0,
        provider: ProviderId(1),
        class,
        stake: TOKEN,
        panel: Panel { seats: &seats, kind: PanelKind::Drawn },
        facts: &[],
        watched: None,
        is_refuted: false,
        struck: None,
        secure: true,
        previous_multiplier_ppm: 0,
    };
    let verdict = Verdict::judge(&case, Kinds::standard(), params);
    let slow = verdict.dimensions.iter().find(|dimension| dimension.dimension == Dimension::LATENCY_P95).unwrap();
    assert!(slow.counted == PROBES && verdict.p50_us > 0, "nothing was judged");
    Numbers { published: verdict.p50_us, punishing: slow.bad }
}

fn report(oracle: u64, number: u64) -> Observation {
    let seen = Seen { unavailable: 0, latency: (PROBES, PROBES), over: (PROBES, number), p50_us: number };
    observation(ProviderId(1), OracleId(oracle), &seen)
}

/// How far outside the honest reports, from the most lenient to their median.
fn beyond_honest(punishing: u64, mut honest: Vec<u64>) -> u64 {
    honest.sort_unstable();
    punishing.saturating_sub(honest[honest.len() / 2]).max(honest[0].saturating_sub(punishing))
}
