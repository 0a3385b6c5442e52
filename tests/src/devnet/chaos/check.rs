//! What became of a network under faults: the invariants, each read from the chain, the oracles' API or their disks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use assay_chain::Client;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};

use super::plan::{Event, FaultKind, disturbed, is_bearable, is_lost};
use super::{ChaosError, outboxes};
use crate::devnet::outcome::OutcomeError;
use crate::devnet::{Devnet, POOL};
use crate::record::{self, Place, Record};

/// How long an epoch's report may come after the last event, in epochs.
const PATIENCE: u32 = 4;

/// How often a kind of fault was asked for, and how often it was seen to take effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Asked for.
    pub asked: usize,
    /// Seen: a process ended by the signal, a block replaced, a byte held back, an answer changed, a clock read, a write refused.
    pub seen: usize,
}

/// What became of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Faults.
    pub faults: BTreeMap<FaultKind, Count>,
    /// Epochs with an accepted report.
    pub accepted: u64,
    /// Epochs without one whose time has passed.
    pub skipped: BTreeSet<u64>,
    /// Epochs for which no quorum could come together while a report could be accepted.
    pub lost: BTreeSet<u64>,
    /// Epochs without one that might still have it.
    pub missed: BTreeSet<u64>,
    /// (epoch, view) of accepted reports that were certified in a later view.
    pub later_views: Vec<(u64, u64)>,
    /// Honest providers whose verdict pays nothing or slashes: (epoch, provider).
    pub wronged: Vec<(u64, ProviderId)>,
    /// Epochs at whose close no more members were hit than the protocol bears.
    pub bearable: BTreeSet<u64>,
    /// Oracles that nothing happened to and whose reveal was not counted in such an epoch: (epoch, oracle).
    pub unheard: Vec<(u64, OracleId)>,
    /// Oracles that were paid for an epoch.
    pub paid: BTreeSet<(u64, OracleId)>,
    /// Those of them that do not have their own commit in the log on their disk: (epoch, oracle).
    pub unlogged: Vec<(u64, OracleId)>,
    /// Accounts that do not hold, to the wei, what the reports give them, or a pool that does not hold the rest.
    pub unpaid: Vec<String>,
    /// What some oracle still owes the chain, or a nonce that nobody used.
    pub stuck: Vec<String>,
    /// Statements that can be made once.
    pub statements: usize,
    /// Who signed two digests for one place.
    pub doubled: Vec<Place>,
}

impl Report {
    /// Kinds of faults that were asked for and never seen.
    pub fn unseen(&self) -> Vec<FaultKind> {
        self.faults.iter().filter(|(_, count)| count.seen == 0).map(|(kind, _)| *kind).collect()
    }

    /// Whether all faults occurred, every epoch has its report but those that cannot have one, nobody signed twice, everybody was paid what is due to the wei, nobody honest
    /// was slashed or left out, and nothing is stuck.
    pub fn is_sound(&self) -> bool {
        let Self { missed, skipped, lost, wronged, unheard, unlogged, unpaid, stuck, doubled, .. } = self;
        self.unseen().is_empty()
            && missed.is_empty()
            && skipped == lost
            && wronged.is_empty()
            && unheard.is_empty()
            && unlogged.is_empty()
            && unpaid.is_empty()
            && stuck.is_empty()
            && doubled.is_empty()
            && self.accepted > 0
            && !self.bearable.is_empty()
            && self.statements > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.faults {
            writeln!(f, "{:<14} asked for {:>3}, seen to take effect {:>3}", format!("{kind:?}"), count.asked, count.seen)?;
        }
        let Self { accepted, missed, skipped, lost, .. } = self;
        writeln!(f, "epochs: {accepted} accepted, without a report {missed:?}, skipped by rule {skipped:?}, without a quorum {lost:?}")?;
        writeln!(f, "(epoch, view) certified in a later view: {:?}", self.later_views)?;
        writeln!(f, "(epoch, provider) not paid or slashed: {:?}", self.wronged)?;
        writeln!(f, "undisturbed oracles whose reveal did not count in {} bearable epochs: {:?}", self.bearable.len(), self.unheard)?;
        writeln!(f, "paid oracles without their own commit on their disk: {:?}", self.unlogged)?;
        writeln!(f, "accounts that are not right to the wei: {:?}; stuck: {:?}", self.unpaid, self.stuck)?;
        write!(f, "{} statements that can be made once, made twice: {:?}", self.statements, self.doubled)
    }
}

impl Report {
    /// Waits for the reports and the money of all these epochs, stops the network, and reads what it left.
    pub(super) async fn complete(mut self, devnet: Devnet, events: &[Event], epochs: u64) -> Result<Self, ChaosError> {
        for epoch in 0..epochs {
            self.epoch(&devnet, events, epoch).await?;
        }
        let last = epochs.saturating_sub(1);
        let patience = devnet.epoch_length() * PATIENCE;
        devnet.until(patience, async || Ok(wrong_balances(&devnet, last).await?.is_empty())).await?;
        self.unpaid = wrong_balances(&devnet, last).await?;
        for oracle in &devnet.oracles {
            // Whoever still closes later epochs has new rows all the time: it must be without any once.
            let nothing_left = async || Ok(outboxes::unfinished(&oracle.dir).await.is_ok_and(|rows| rows.is_empty()));
            if !devnet.until(devnet.epoch_length() * 2, nothing_left).await? {
                let left = outboxes::unfinished(&oracle.dir).await?;
                self.stuck.push(format!("oracle {} still has {left:?}", oracle.id));
            }
            self.stuck.extend(outboxes::nonce_gap(devnet.anvil(), oracle.id, &oracle.transmitter, &oracle.dir).await?);
        }
        let instance = Instance { chain_id: devnet.deployment.chain.chain_id, settlement: devnet.deployment.settlement };
        let oracles: Vec<(OracleId, _)> = devnet.oracles.iter().map(|oracle| (oracle.id, oracle.dir.clone())).collect();
        devnet.stop().await?;
        for (oracle, dir) in &oracles {
            let logged = Record::of(dir).commits_of(*oracle).await?;
            self.unlogged.extend(self.paid.iter().filter(|(epoch, paid)| paid == oracle && !logged.contains(epoch)));
        }
        let statements = record::all_statements(&oracles, &instance).await?;
        self.statements = statements.len();
        self.doubled = statements.into_iter().filter(|(_, digests)| digests.len() > 1).map(|(place, _)| place).collect();
        Ok(self)
    }

    async fn epoch(&mut self, devnet: &Devnet, events: &[Event], epoch: u64) -> Result<(), ChaosError> {
        let epoch_ms = devnet.params.epoch_ms();
        self.lost.extend(is_lost(events, epoch, epoch_ms, devnet.params.valid_epochs).then_some(epoch));
        let decided = async || Ok(devnet.epoch(epoch).await?.is_some() || is_past(devnet, epoch).await?);
        devnet.until(devnet.epoch_length() * PATIENCE, decided).await?;
        let Some(report) = devnet.epoch(epoch).await?.and_then(|summary| summary.report) else {
            match is_past(devnet, epoch).await? {
                true => self.skipped.insert(epoch),
                false => self.missed.insert(epoch),
            };
            return Ok(());
        };
        self.accepted += 1;
        self.later_views.extend((report.view > 0).then_some((epoch, report.view)));
        let wronged = devnet.verdicts(epoch).await?.into_iter().filter(|verdict| verdict.reward == 0 || verdict.slash > 0);
        self.wronged.extend(wronged.map(|verdict| (epoch, verdict.provider)));
        self.paid.extend(report.paid_oracles.iter().map(|oracle| (epoch, *oracle)));
        if !is_bearable(events, epoch, epoch_ms, devnet.oracles.len()) {
            return Ok(());
        }
        self.bearable.insert(epoch);
        let excused = disturbed(events, epoch, epoch_ms);
        let unheard = devnet
            .oracles
            .iter()
            .enumerate()
            .filter(|(index, oracle)| !excused.contains(index) && !report.paid_oracles.contains(&oracle.id));
        self.unheard.extend(unheard.map(|(_, oracle)| (epoch, oracle.id)));
        Ok(())
    }
}

/// Whether no report of the epoch can be accepted any more, by the time of the newest block.
async fn is_past(devnet: &Devnet, epoch: u64) -> Result<bool, OutcomeError> {
    let now_s = Client::connect(devnet.deployment.chain.clone()).await?.latest().await?.timestamp_s;
    let until_s = devnet.deployment.genesis_s + (epoch + 1 + devnet.params.valid_epochs) * devnet.params.epoch_ms() / 1_000;
    Ok(now_s > until_s)
}

/// Accounts that do not hold exactly what the reports up to some epoch, at least `last`, give them: claims are cumulative, and the network
/// goes on while we look.
async fn wrong_balances(devnet: &Devnet, last: u64) -> Result<Vec<String>, OutcomeError> {
    let pool = devnet.balance(&devnet.deployment.settlement).await?;
    let mut held: BTreeMap<Address, u128> = BTreeMap::new();
    for recipient in recipients(devnet) {
        held.insert(recipient, devnet.balance(&recipient).await?);
    }
    let mut due: BTreeMap<Address, u128> = recipients(devnet).map(|recipient| (recipient, 0)).collect();
    let mut right: BTreeSet<Address> = BTreeSet::new();
    for epoch in 0.. {
        let summary = devnet.epoch(epoch).await?;
        if summary.is_none() && epoch > last {
            break;
        }
        let paid = summary.and_then(|summary| summary.report).map(|report| report.paid_oracles).unwrap_or_default();
        for oracle in devnet.oracles.iter().filter(|oracle| paid.contains(&oracle.id)) {
            *due.entry(oracle.recipient).or_default() += devnet.params.oracle_reward;
        }
        let verdicts = if paid.is_empty() { Vec::new() } else { devnet.verdicts(epoch).await? };
        for verdict in verdicts {
            let recipient = devnet.providers.iter().find(|node| node.id == verdict.provider).map(|node| node.recipient).unwrap_or_default();
            *due.entry(recipient).or_default() += verdict.reward;
        }
        if epoch >= last {
            right.extend(due.iter().filter(|(recipient, due)| held.get(recipient) == Some(due)).map(|(recipient, _)| *recipient));
        }
    }
    let wrong = held.iter().filter(|(recipient, _)| !right.contains(recipient));
    let mut wrong: Vec<String> =
        wrong.map(|(recipient, held)| format!("{recipient} holds {held}, the reports give {:?}", due.get(recipient))).collect();
    if devnet.balance(&devnet.deployment.settlement).await? == pool && held.values().sum::<u128>() + pool != POOL {
        wrong.push(format!("the pool holds {pool} after {} were paid of {POOL}", held.values().sum::<u128>()));
    }
    Ok(wrong)
}

fn recipients(devnet: &Devnet) -> impl Iterator<Item = Address> {
    devnet.oracles.iter().map(|oracle| oracle.recipient).chain(devnet.providers.iter().map(|provider| provider.recipient))
}

impl Devnet {
    /// Length of an epoch.
    pub fn epoch_length(&self) -> Duration {
        Duration::from_millis(self.params.epoch_ms())
    }
}
