//! A network under faults: members are killed, cut off, slowed down, lied to by their chain, put out of time or out of disk, and the chain
//! is reorganised, all at times that a seed gives. What each kind is, and what must hold at the end: `docs/CHAOS.md`.

mod act;
pub mod check;
mod outboxes;
pub mod plan;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::sleep;

use super::outcome::OutcomeError;
use super::{Changes, Devnet, DevnetError, Fault, OracleFault, Plan};
use crate::anvil::AnvilError;
use crate::clock::ClockError;
use crate::process::ProcessError;
use crate::record::RecordError;
use act::Injector;
use check::Report;
use outboxes::OutboxError;
use plan::{Draw, FaultKind};

/// Oracles of a run: five are the smallest quorum.
pub const MEMBERS: usize = 7;

/// What a run is like.
#[derive(Clone, Debug)]
pub struct Chaos {
    /// Where all times and choices come from.
    pub seed: u64,
    /// Epochs.
    pub epochs: u64,
    /// Which faults.
    pub kinds: BTreeSet<FaultKind>,
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
    /// A clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The API.
    #[error(transparent)]
    Outcome(#[from] OutcomeError),
    /// An outbox.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// What oracles left on disk.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Chaos {
    /// Starts seven oracles and two honest providers in `dir`, lets the faults happen, stops everything, and says what became of it.
    pub async fn run_in(&self, dir: &Path, mut say: impl FnMut(&str)) -> Result<Report, ChaosError> {
        let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
        let plan = Plan { dir: dir.to_path_buf(), data, oracles: vec![OracleFault::None; MEMBERS], faults: vec![Fault::None; 2] };
        let changes = Changes { spoilers: true, ..Changes::default() };
        let mut devnet = Devnet::start_changed(&plan, &changes, &mut say).await?;
        let epoch_ms = devnet.params.epoch_ms();
        let genesis = UNIX_EPOCH + Duration::from_secs(devnet.deployment.genesis_s);
        let (valid_epochs, members) = (devnet.params.valid_epochs, devnet.oracles.len());
        let events = Draw { seed: self.seed, epochs: self.epochs, epoch_ms, valid_epochs, members, kinds: &self.kinds }.events();
        let mut injector = Injector::default();
        for event in &events {
            // A time of the plan, not a wait for something to happen.
            let due = genesis + Duration::from_millis(event.at_ms);
            sleep(due.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO)).await;
            let members: Vec<String> = event.members.iter().map(|index| (index + 1).to_string()).collect();
            let at = format!("epoch {:>2}, {:>4.1} s", event.at_ms / epoch_ms, (event.at_ms % epoch_ms) as f64 / 1_000.0);
            say(&format!("{at}: {:?} {:?} {}", event.act, event.kind, members.join(" ")));
            injector.happen(&mut devnet, event).await?;
        }
        let report = Report { faults: injector.into_counts(), ..Report::default() };
        report.complete(devnet, &events, self.epochs).await
    }
}
