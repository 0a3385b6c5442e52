//! How far a lying third moves what is published, in standard deviations σ of honest reports.
//!
//! Every epoch five honest oracles report N(μ, σ) and two lie. They know μ and σ and decide together, but a commit binds them before they
//! see a number, and all timely reveals are included: so a play is fixed beforehand (each liar reports the highest number, the lowest, or
//! stays away) and the worst of all plays counts. Under OCR's rule a lying leader sees the five first and then chooses which five of the
//! seven are published ([`assay_tests::baseline::ocr`]). Both see the same draws. A bias is the mean of (published − honest mean) / σ: on
//! average the honest mean is μ, and it takes the luck of the draw out of the difference. In theory the two are the fourth and the fifth
//! of five normal order statistics: 0.495 and 1.163.
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

const EPOCHS: usize = 100_000;
const HONEST: usize = 5;
const LIARS: usize = 2;
/// 2f + 1 of seven.
const QUORUM: usize = 5;
/// Honest reports, both as a round trip in µs and as slow probes of [`PROBES`]: far from 0 and with a grain far below σ.
const MEAN: f64 = 500_000.0;
const SIGMA: f64 = 20_000.0;
const PROBES: u64 = 1_000_000;

/// What a liar does.
#[derive(Clone, Copy)]
enum Lie {
    Highest,
    Lowest,
    Absent,
}

const PLAYS: [[Lie; LIARS]; 6] = [
    [Lie::Highest, Lie::Highest],
    [Lie::Highest, Lie::Lowest],
    [Lie::Highest, Lie::Absent],
    [Lie::Lowest, Lie::Lowest],
    [Lie::Lowest, Lie::Absent],
    [Lie::Absent, Lie::Absent],
];

pub fn measure(table: &mut Table) {
    let (params, mut random) = (Params::devnet(), Random::new(7));
    let class = params.classes.first().unwrap();
    let mut moved: [Vec<f64>; PLAYS.len()] = Default::default();
    let (mut ocr_moved, mut breach) = (Vec::new(), 0u64);
    for _ in 0..EPOCHS {
        let honest: [u64; HONEST] = std::array::from_fn(|_| (MEAN + SIGMA * random.normal()).round().clamp(0.0, PROBES as f64) as u64);
        let honest_mean = honest.iter().sum::<u64>() as f64 / HONEST as f64;
        for (play, moved) in PLAYS.iter().zip(&mut moved) {
            let numbers = numbers(&honest, play, class, &params);
            moved.push((numbers.published as f64 - honest_mean) / SIGMA);
            breach = breach.max(beyond_honest(numbers.punishing, honest));
        }
        let all = [&honest[..], &[PROBES; LIARS]].concat();
        ocr_moved.push((ocr::highest_by_leader(&all, QUORUM).unwrap() as f64 - honest_mean) / SIGMA);
    }
    let mean = |moved: &Vec<f64>| moved.iter().sum::<f64>() / moved.len() as f64;
    let worst = moved.iter().max_by(|a, b| mean(a).abs().total_cmp(&mean(b).abs())).map(|moved| Estimate::mean(moved)).unwrap();
    let size = if worst.value < 0.0 { worst.map(|bias| -bias) } else { worst };
    table.put("epoch.bias_sigma_n7", size, "σ", "2 liars of 7 move the published median by, worst of all plays under commit and reveal");
    table.put(
        "baseline.ocr_bias_sigma_n7",
        Estimate::mean(&ocr_moved),
        "σ",
        "OCR's rule: a lying leader chooses 5 of the same 7 reports after seeing them",
    );
    let breach = breach as f64 / SIGMA;
    table.put_exact(
        "epoch.bias_punishing_sigma_n7",
        breach,
        "σ",
        "the punishing rank f+1 leaves the honest reports (lowest to median) by, largest of all plays",
    );
}

/// What a verdict says in numbers.
struct Numbers {
    /// Median of the panel's medians, µs.
    published: u64,
    /// Slow probes by rank f + 1.
    punishing: u64,
}

/// Judges one provider by the core's own rules.
fn numbers(honest: &[u64; HONEST], play: &[Lie; LIARS], class: &Class, params: &Params) -> Numbers {
    let lies = play.iter().map(|lie| match lie {
        Lie::Highest => Some(PROBES),
        // Zero is the sign of no answer at all.
        Lie::Lowest => Some(1),
        Lie::Absent => None,
    });
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
fn beyond_honest(punishing: u64, mut honest: [u64; HONEST]) -> u64 {
    honest.sort_unstable();
    punishing.saturating_sub(honest[HONEST / 2]).max(honest[0].saturating_sub(punishing))
}
