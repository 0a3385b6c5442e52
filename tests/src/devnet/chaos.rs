//! A network under faults: members are killed, unreachable or slow, and the chain is reorganised, all at times that a seed gives.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assay_core::challenge::Stream;
use assay_core::ids::{Instance, OracleId, ProviderId};
use tokio::time::sleep;

use super::outcome::OutcomeError;
use super::{Changes, Devnet, DevnetError, Fault, OracleFault, Plan};
use crate::anvil::AnvilError;
use crate::process::ProcessError;
use crate::proxy::Faults;
use crate::record::{self, Place, RecordError};

const MEMBERS: usize = 7;
/// A slow member's links: longer than any honest one, and short enough for every deadline.
const SLOW: Duration = Duration::from_millis(400);
/// Blocks that a reorganisation replaces.
const REORG_DEPTH: u64 = 1;
/// How long an epoch's report may come after the epoch, in epochs.
const PATIENCE: u32 = 4;

/// What happens to the network.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Event {
    /// A member's process is ended as by a power cut.
    Kill(usize),
    /// It is started again.
    Restart(usize),
    /// Nothing reaches this member, though it still speaks.
    Deafen(usize),
    /// Every message to it takes longer.
    Slow(usize),
    /// Its line is as it was.
    Heal(usize),
    /// The chain's last blocks are replaced.
    Reorg,
}

/// What a run is like.
#[derive(Clone, Copy, Debug)]
pub struct Chaos {
    /// Where all times and choices come from.
    pub seed: u64,
    /// Epochs.
    pub epochs: u64,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The network.
    #[error(transparent)]
    Devnet(#[from] DevnetError),
    /// A process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The chain.
    #[error(transparent)]
    Anvil(#[from] AnvilError),
    /// The API.
    #[error(transparent)]
    Outcome(#[from] OutcomeError),
    /// What oracles left on disk.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What became of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Events that happened.
    pub events: usize,
    /// Epochs without an accepted report.
    pub missed: BTreeSet<u64>,
    /// (epoch, view) of accepted reports that were certified in a later view.
    pub later_views: Vec<(u64, u64)>,
    /// Honest providers that were not paid, or were slashed: (epoch, provider).
    pub wronged: Vec<(u64, ProviderId)>,
    /// Statements that can be made once, and those that were made twice.
    pub statements: usize,
    /// Who signed two digests for one place.
    pub doubled: Vec<Place>,
}

impl Report {
    /// Whether every epoch has its report, nobody signed twice, and every honest provider was paid and none slashed.
    pub fn is_sound(&self) -> bool {
        self.missed.is_empty() && self.doubled.is_empty() && self.wronged.is_empty() && self.statements > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, missed, later_views, wronged, statements, doubled } = self;
        writeln!(f, "{events} faults; (epoch, view) certified in a later view: {later_views:?}")?;
        writeln!(f, "epochs without a report: {missed:?}; (epoch, provider) not paid or slashed: {wronged:?}")?;
        write!(f, "{statements} statements that can be made once, made twice: {doubled:?}")
    }
}

impl Chaos {
    /// All events in order of time, by milliseconds after genesis. In every epoch one member is killed somewhere and started again, one is
    /// slow, and around the close two are deaf, or in every third epoch three: then no quorum is to be had until they hear again.
    pub fn events(&self, members: usize, epoch_ms: u64) -> Vec<(u64, Event)> {
        let mut stream = Stream::new(&[b"assay.chaos.v1", &self.seed.to_be_bytes()]);
        let mut below = |bound: u64| stream.below(bound.max(1));
        let mut events = Vec::new();
        for epoch in 0..self.epochs {
            let (start, end) = (epoch * epoch_ms, (epoch + 1) * epoch_ms);
            let mut order: Vec<usize> = (0..members).collect();
            for at in 0..members {
                let swap = at + usize::try_from(below((members - at) as u64)).unwrap_or(0);
                order.swap(at, swap);
            }
            let deaf = if epoch % 3 == 2 { 3 } else { 2 };
            let from = end + 500 + below(4_000);
            for member in order.iter().take(deaf) {
                events.push((from, Event::Deafen(*member)));
                events.push((from + 3_000 + below(4_000), Event::Heal(*member)));
            }
            if let Some(member) = order.get(deaf) {
                events.push((start + 2_000, Event::Slow(*member)));
                events.push((end + 12_000, Event::Heal(*member)));
            }
            if let Some(member) = order.get(deaf + 1) {
                let at = start + 12_000 + below(epoch_ms / 2);
                events.push((at, Event::Kill(*member)));
                events.push((at + 1_000 + below(4_000), Event::Restart(*member)));
            }
            events.push((start + 13_000 + below(epoch_ms / 2), Event::Reorg));
        }
        events.sort();
        events
    }

    /// Starts seven oracles and two honest providers in `dir`, runs the events, stops everything, and says what became of it.
    pub async fn run_in(&self, dir: &Path, mut say: impl FnMut(&str)) -> Result<Report, ChaosError> {
        let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
        let plan = Plan { dir: dir.to_path_buf(), data, oracles: vec![OracleFault::None; MEMBERS], faults: vec![Fault::None; 2] };
        let changes = Changes { oracle_lines: true, ..Changes::default() };
        let mut devnet = Devnet::start_changed(&plan, &changes, &mut say).await?;
        let epoch_ms = devnet.params.epoch_ms();
        let genesis = UNIX_EPOCH + Duration::from_secs(devnet.deployment.genesis_s);
        let mut report = Report::default();
        for (at_ms, event) in self.events(devnet.oracles.len(), epoch_ms) {
            // A time of the plan, not a wait for something to happen.
            let due = genesis + Duration::from_millis(at_ms);
            sleep(due.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO)).await;
            say(&format!("epoch {:>2}, {:>4.1} s: {event:?}", at_ms / epoch_ms, (at_ms % epoch_ms) as f64 / 1_000.0));
            devnet.happen(&event).await?;
            report.events += 1;
        }
        for epoch in 0..self.epochs {
            devnet.until(Duration::from_millis(epoch_ms) * PATIENCE, async || Ok(devnet.epoch(epoch).await?.is_some())).await?;
            let Some(accepted) = devnet.epoch(epoch).await? else {
                report.missed.insert(epoch);
                continue;
            };
            report.later_views.extend(accepted.report.map(|report| (epoch, report.view)).filter(|(_, view)| *view > 0));
            let wronged = devnet.verdicts(epoch).await?.into_iter().filter(|verdict| verdict.reward == 0 || verdict.slash > 0);
            report.wronged.extend(wronged.map(|verdict| (epoch, verdict.provider)));
        }
        let instance = Instance { chain_id: devnet.deployment.chain.chain_id, settlement: devnet.deployment.settlement };
        let oracles: Vec<(OracleId, _)> = devnet.oracles.iter().map(|oracle| (oracle.id, oracle.dir.clone())).collect();
        devnet.stop().await?;
        let statements = record::all_statements(&oracles, &instance).await?;
        report.statements = statements.len();
        report.doubled = statements.into_iter().filter(|(_, digests)| digests.len() > 1).map(|(place, _)| place).collect();
        Ok(report)
    }
}

impl Devnet {
    async fn happen(&mut self, event: &Event) -> Result<(), ChaosError> {
        let line = |index: &usize, faults| {
            if let Some(line) = self.oracles.get(*index).and_then(|oracle| oracle.line.as_ref()) {
                line.set(faults);
            }
        };
        match event {
            Event::Kill(index) => self.kill_oracle(*index).await?,
            Event::Restart(index) => self.restart_oracle(*index).await?,
            Event::Deafen(index) => line(index, Faults { blackhole: true, ..Faults::default() }),
            Event::Slow(index) => line(index, Faults { round_trip_delay: SLOW, ..Faults::default() }),
            Event::Heal(index) => line(index, Faults::default()),
            Event::Reorg => {
                self.anvil().reorg(REORG_DEPTH).await?;
                self.anvil().set_clock().await?;
            }
        }
        Ok(())
    }
}
