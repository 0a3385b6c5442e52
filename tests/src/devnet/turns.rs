//! A provider that is away half of the time: an unmodified process, stopped and started again.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use super::start::run_provider;
use super::{AWAY_TURN, ProviderNode};
use crate::process::Process;

/// The task that owns the process and takes the turns. Dropping it ends both.
#[derive(Debug)]
pub struct Turns {
    task: JoinHandle<Option<Process>>,
    end: DropGuard,
}

impl Turns {
    /// Stops taking turns and hands back the process, if it is up.
    pub async fn end(self) -> Option<Process> {
        drop(self.end);
        self.task.await.ok().flatten()
    }
}

impl ProviderNode {
    /// From `from` on: up for a turn, then down for one.
    pub(super) fn take_turns(&mut self, from: SystemTime, log: PathBuf) {
        let Some(process) = self.process.take() else { return };
        let (data_dir, cancel) = (self.data_dir.clone(), CancellationToken::new());
        let task = tokio::spawn(take_turns(process, from, data_dir, log, cancel.clone()));
        self.turns = Some(Turns { task, end: cancel.drop_guard() });
    }
}

async fn take_turns(process: Process, from: SystemTime, data_dir: PathBuf, log: PathBuf, cancel: CancellationToken) -> Option<Process> {
    let mut process = Some(process);
    for turn in 1u32.. {
        // A deadline of the plan, not a wait for an event: the fault itself is a matter of time.
        let due = from + AWAY_TURN * turn;
        let left = due.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO);
        if cancel.run_until_cancelled(sleep(left)).await.is_none() {
            break;
        }
        process = match process.take() {
            Some(up) => {
                if let Err(error) = up.kill().await {
                    warn!(%error, "the provider that is to be away cannot be ended");
                }
                None
            }
            None => start(&data_dir, &log),
        };
    }
    process
}

fn start(data_dir: &Path, log: &Path) -> Option<Process> {
    run_provider(data_dir, log).inspect_err(|error| warn!(%error, "the provider that was away cannot be started")).ok()
}
