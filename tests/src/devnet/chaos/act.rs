//! Lets a fault happen to a running network, and sees whether it did.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::ChaosError;
use super::check::Count;
use super::plan::{Act, Event, FaultKind};
use crate::anvil::{Anvil, AnvilError};
use crate::devnet::{Devnet, OracleNode, Spoilers};
use crate::mesh::Conditions;
use crate::rpc_proxy::Lie;

/// Blocks that a reorganisation replaces.
const REORG_DEPTH: u64 = 1;
/// A slow member's links: longer than any honest one, and short enough for every deadline.
const SLOW: Duration = Duration::from_millis(400);
/// How far a lying RPC is behind, in blocks of a second: more than the two to the last final block.
const BEHIND_BLOCKS: u64 = 8;
/// Within what a request may take.
const DELAYED: Duration = Duration::from_secs(3);
const NONCES_TOO_MANY: u64 = 3;
/// Within the 250 ms that two honest clocks may differ by.
const NEAR_MS: i64 = 200;
const FAR_MS: i64 = 5_000;
/// Beyond the log, which has to say what is wrong.
const FILE_BYTES: u64 = 64 * 1024;
/// What every message about a full disk tells the operator.
const REMEDY: &str = "free space";

/// Applies events, and counts what was asked for and what took effect.
#[derive(Default)]
pub(super) struct Injector {
    counts: BTreeMap<FaultKind, Count>,
    conditions: Conditions,
    /// What had been seen when a fault began.
    before: BTreeMap<(FaultKind, Vec<usize>), u64>,
}

/// What a fault does to its member.
enum Means {
    Process,
    Chain,
    Network,
    Rpc(Lie),
    Clock(i64),
    Disk,
}

fn means(kind: FaultKind) -> Means {
    match kind {
        FaultKind::Kill => Means::Process,
        FaultKind::Reorg => Means::Chain,
        FaultKind::Deaf | FaultKind::Slow | FaultKind::MinoritySplit | FaultKind::MajoritySplit | FaultKind::LongSplit => Means::Network,
        FaultKind::HeadHeld => Means::Rpc(Lie::HeadHeld(BEHIND_BLOCKS)),
        FaultKind::OldAnswers => Means::Rpc(Lie::OldAnswers(BEHIND_BLOCKS)),
        FaultKind::NewestFinal => Means::Rpc(Lie::NewestFinal),
        FaultKind::Dropped => Means::Rpc(Lie::Dropped),
        FaultKind::Delayed => Means::Rpc(Lie::Delayed(DELAYED)),
        FaultKind::WrongNonce => Means::Rpc(Lie::WrongNonce(NONCES_TOO_MANY)),
        FaultKind::NoReceipt => Means::Rpc(Lie::NoReceipt),
        FaultKind::ClockFast => Means::Clock(NEAR_MS),
        FaultKind::ClockSlow => Means::Clock(-NEAR_MS),
        FaultKind::ClockAhead => Means::Clock(FAR_MS),
        FaultKind::ClockBehind => Means::Clock(-FAR_MS),
        FaultKind::DiskFull => Means::Disk,
    }
}

impl Injector {
    pub(super) fn into_counts(self) -> BTreeMap<FaultKind, Count> {
        self.counts
    }

    /// Lets a fault begin or end. What lasts is looked at when it ends: it was seen if something felt it meanwhile.
    pub(super) async fn happen(&mut self, devnet: &mut Devnet, event: &Event) -> Result<(), ChaosError> {
        let begins = event.act == Act::Begin;
        let means = means(event.kind);
        let seen = match (&means, event.act) {
            (Means::Process, Act::Begin) => kill(devnet, &event.members).await?,
            (Means::Process, Act::End) => {
                restart(devnet, &event.members).await?;
                false
            }
            (Means::Chain, _) => reorganise(devnet.anvil()).await?,
            (_, Act::Begin) => {
                self.before.insert((event.kind, event.members.clone()), felt(devnet, event)?);
                false
            }
            (_, Act::End) => self
                .before
                .remove(&(event.kind, event.members.clone()))
                .is_some_and(|before| felt(devnet, event).is_ok_and(|now| now > before)),
        };
        match means {
            Means::Process | Means::Chain => {}
            Means::Network => {
                self.change_network(event.kind, begins, &event.members);
                if let Some(mesh) = devnet.mesh() {
                    mesh.set(&self.conditions);
                }
            }
            Means::Rpc(lie) => change_rpcs(devnet, event, lie),
            Means::Clock(ms) => {
                for spoilers in hit(devnet, event) {
                    spoilers.clock.set_offset_ms(if begins { ms } else { 0 })?;
                }
            }
            Means::Disk => {
                for oracle in each(devnet, &event.members) {
                    let limit = begins.then(|| FILE_BYTES + logs(oracle).map(|log| log.len() as u64).max().unwrap_or(0));
                    oracle.process.as_ref().map_or(Ok(()), |process| process.limit_files(limit))?;
                }
            }
        }
        let count = self.counts.entry(event.kind).or_default();
        count.asked += usize::from(begins);
        count.seen += usize::from(seen);
        Ok(())
    }

    fn change_network(&mut self, kind: FaultKind, begins: bool, members: &[usize]) {
        let Conditions { deaf, slow, delay, apart } = &mut self.conditions;
        *delay = SLOW;
        let who = match kind {
            FaultKind::Deaf => deaf,
            FaultKind::Slow => slow,
            _ => apart,
        };
        let members: BTreeSet<usize> = members.iter().copied().collect();
        *who = if begins { &*who | &members } else { &*who - &members };
    }
}

fn each<'a>(devnet: &'a Devnet, members: &'a [usize]) -> impl Iterator<Item = &'a OracleNode> {
    members.iter().filter_map(|index| devnet.oracles.get(*index))
}

/// Everybody's, when the fault names nobody: then the first with an occasion lies.
fn change_rpcs(devnet: &Devnet, event: &Event, lie: Lie) {
    let first = Arc::new(OnceLock::new());
    for spoilers in hit(devnet, event) {
        match event.act {
            Act::Begin if event.members.is_empty() => spoilers.rpc.set_for_first(lie, &first),
            Act::Begin => spoilers.rpc.set(Some(lie)),
            Act::End if event.members.is_empty() => spoilers.rpc.end_for_first(lie),
            Act::End => spoilers.rpc.set(None),
        }
    }
}

/// What stands between the victims of a fault and their surroundings.
fn hit<'a>(devnet: &'a Devnet, event: &'a Event) -> impl Iterator<Item = &'a Spoilers> {
    let is_hit = |index: &usize| event.members.is_empty() || event.members.contains(index);
    devnet.oracles.iter().enumerate().filter(move |(index, _)| is_hit(index)).filter_map(|(_, oracle)| oracle.spoilers.as_ref())
}

/// How often a fault was felt so far: chunks held back, answers changed, shifted times read, writes refused.
fn felt(devnet: &Devnet, event: &Event) -> Result<u64, ChaosError> {
    let is_hit = |index: usize| event.members.contains(&index);
    Ok(match means(event.kind) {
        Means::Process | Means::Chain => 0,
        Means::Network => devnet.mesh().map_or(0, |mesh| match event.kind {
            FaultKind::Deaf | FaultKind::Slow => mesh.felt(|_, to| is_hit(to)),
            _ => mesh.felt(|from, to| is_hit(from) != is_hit(to)),
        }),
        Means::Rpc(_) => hit(devnet, event).map(|spoilers| spoilers.rpc.told()).sum(),
        Means::Clock(_) => hit(devnet, event).map(|spoilers| spoilers.clock.reads()).sum::<Result<_, _>>()?,
        Means::Disk => each(devnet, &event.members).flat_map(logs).map(|log| log.matches(REMEDY).count() as u64).sum(),
    })
}

/// What an oracle has logged.
fn logs(oracle: &OracleNode) -> impl Iterator<Item = String> {
    oracle.logs.iter().filter_map(|log| fs::read_to_string(log).ok())
}

async fn kill(devnet: &mut Devnet, members: &[usize]) -> Result<bool, ChaosError> {
    let mut all = true;
    for index in members {
        let ended = devnet.kill_oracle(*index).await?;
        all &= ended.is_some_and(|status| status.signal() == Some(Signal::KILL.as_raw()));
    }
    Ok(all)
}

async fn restart(devnet: &mut Devnet, members: &[usize]) -> Result<(), ChaosError> {
    for index in members {
        devnet.restart_oracle(*index).await?;
    }
    Ok(())
}

/// Replaces the newest blocks; whether another block now stands where the newest was.
async fn reorganise(anvil: &Anvil) -> Result<bool, AnvilError> {
    let newest = anvil.rpc("eth_getBlockByNumber", json!(["latest", false])).await?;
    anvil.reorg(REORG_DEPTH).await?;
    let replaced = anvil.rpc("eth_getBlockByNumber", json!([newest.get("number"), false])).await?;
    anvil.set_clock().await?;
    let hash = |block: &Value| block.get("hash").cloned();
    Ok(hash(&newest).is_some() && hash(&newest) != hash(&replaced))
}
