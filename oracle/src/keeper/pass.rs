//! One pass: read what is due, try each transaction out, say what it earns, send it.

use std::collections::BTreeSet;

use assay_chain::command::CommandError;
use assay_chain::keeper::{Action, Keeper, Trial};
use assay_chain::market::Market;
use assay_chain::transaction::{SendConfig, TransactionError};
use assay_chain::{AcceptedReport, BlockTag, ChainError, Client, EpochState, SettlementConfig};
use assay_core::report::Outcome;
use assay_core::secp::SecretKey;
use tokio_util::sync::CancellationToken;

use super::KeeperError;
use super::api;
use super::due::{Batch, Reading, skipped};
use super::show::{Row, State, Summary, offered};
use crate::rest::{Apis, Asked};
use crate::settle::bookings::Bookings;

/// A batch is tried out so often before it is left for the next pass.
const TRIALS: usize = 6;

/// Who does what is due.
pub(super) struct Worker {
    pub(super) client: Client,
    pub(super) keeper: Keeper,
    pub(super) settlement: SettlementConfig,
    pub(super) apis: Apis,
    pub(super) key: SecretKey,
    pub(super) send: SendConfig,
    pub(super) min_tip: u128,
    pub(super) look_back: u64,
    pub(super) dry_run: bool,
    pub(super) bookings: Option<Bookings>,
    /// Epochs of which the finalized chain leaves nothing to do.
    pub(super) done: BTreeSet<u64>,
    /// The last accepted epoch: when it goes back, a court voided reports.
    pub(super) last: Option<u64>,
    pub(super) cancel: CancellationToken,
}

/// A batch that was tried out with the gas that it is sent with.
struct Tried {
    batch: Batch,
    trial: Trial,
    gas: u64,
    max_cost_wei: u128,
}

/// What an epoch asks for: its verified ledger, and which of its windows are open.
struct Open {
    outcome: Outcome,
    rewards: bool,
    slashes: bool,
    refunds: bool,
}

impl Worker {
    /// Everything is read and checked before anything is sent: an API that lies stops the pass.
    pub(super) async fn pass(&mut self, mut say: impl FnMut(&str) -> Result<(), KeeperError>) -> Result<Summary, KeeperError> {
        let mut summary = Summary { dry_run: self.dry_run, ..Summary::default() };
        let batches = self.look(&mut summary).await?;
        if !batches.is_empty() {
            summary.tariffs = self.tariffs().await?;
            summary.holds = self.keeper.balance().await?;
            say(&offered(&summary))?;
        }
        for batch in batches {
            if self.cancel.is_cancelled() {
                break;
            }
            let Some(tried) = self.prepare(batch, &mut summary).await? else { continue };
            let mut row = Row::of(&tried.batch, &tried.trial, tried.gas, tried.max_cost_wei);
            say(&row.announced())?;
            row.state = self.carry_out(&tried).await?;
            say(&row.reported())?;
            summary.rows.push(row);
        }
        Ok(summary)
    }

    async fn tariffs(&self) -> Result<Vec<(Action, assay_chain::keeper::Tariff)>, ChainError> {
        let mut tariffs = Vec::new();
        for action in Action::ALL {
            tariffs.push((action, self.keeper.tariff(action).await?));
        }
        Ok(tariffs)
    }

    /// What is due, the newest epoch first: its claims hold those of all before.
    async fn look(&mut self, summary: &mut Summary) -> Result<Vec<Batch>, KeeperError> {
        let last = self.client.last_accepted(BlockTag::Finalized).await?.map(|last| last.epoch);
        if last < self.last {
            self.done.clear();
        }
        self.last = last;
        let now_s = self.client.latest().await?.timestamp_s;
        let present = now_s.saturating_sub(self.settlement.genesis_s) / self.settlement.epoch_length_s.max(1);
        let market = match &mut self.bookings {
            Some(bookings) => Some(bookings.read(self.client.rpc(), present).await?),
            None => None,
        };
        // Epochs behind the last report matter for what they leave out.
        let accepted = last.map(|last| last.saturating_sub(self.look_back)..=last).into_iter().flatten();
        let left_out = present.saturating_sub(self.look_back)..present;
        let epochs: BTreeSet<u64> = accepted.chain(left_out).filter(|epoch| !self.done.contains(epoch)).collect();
        let (mut batches, mut claims_seen) = (Vec::new(), false);
        for epoch in epochs.into_iter().rev() {
            match self.client.accepted_report(epoch, BlockTag::Finalized).await? {
                Some(accepted) => batches.extend(self.accepted(epoch, &accepted, now_s, market.as_ref(), &mut claims_seen, summary).await?),
                None => batches.extend(self.left_out(epoch, market.as_ref()).await?),
            }
        }
        Ok(batches)
    }

    async fn accepted(
        &mut self,
        epoch: u64,
        accepted: &AcceptedReport,
        now_s: u64,
        market: Option<&Market>,
        claims_seen: &mut bool,
        summary: &mut Summary,
    ) -> Result<Vec<Batch>, KeeperError> {
        let Some(open) = self.open(epoch, accepted, now_s, market, summary).await? else { return Ok(Vec::new()) };
        let claims = open.rewards && !*claims_seen;
        *claims_seen |= open.rewards;
        let due = self.due(&open, claims, market, BlockTag::Latest).await?;
        let complete = open.rewards && open.slashes;
        if due.is_empty() && complete && self.due(&open, claims, market, BlockTag::Finalized).await?.is_empty() {
            self.done.insert(epoch);
        }
        Ok(due)
    }

    /// The epoch's ledger when one of its windows is open; `None` when there is nothing to do yet, or no API knows the epoch.
    async fn open(
        &self,
        epoch: u64,
        accepted: &AcceptedReport,
        now_s: u64,
        market: Option<&Market>,
        summary: &mut Summary,
    ) -> Result<Option<Open>, KeeperError> {
        let is_past = |window_s: u64| now_s >= accepted.accepted_at_s.saturating_add(window_s);
        let (rewards, slashes) = (is_past(self.settlement.reward_window_s), is_past(self.settlement.slash_window_s));
        if !rewards && !slashes {
            return Ok(None);
        }
        let outcome = match api::ledger(&self.apis, epoch, accepted, &self.keeper.token).await? {
            Asked::Told(outcome, notes) => {
                summary.notes.extend(notes);
                outcome
            }
            Asked::Unknown => {
                summary.notes.push(format!("epoch {epoch}: no API given has its ledger; name another oracle's with --api"));
                return Ok(None);
            }
        };
        match self.client.matures_at_s(&outcome.report, BlockTag::Latest).await {
            Ok(Some(matures_at_s)) => {
                let refunds = market.is_some_and(|market| now_s >= matures_at_s.saturating_add(market.unsettled_delay_s));
                Ok(Some(Open { outcome, rewards, slashes, refunds }))
            }
            Ok(None) => {
                summary.notes.push(format!("epoch {epoch}: a court holds its report; nothing of it is due until that is over"));
                Ok(None)
            }
            Err(ChainError::Refused { reason, .. }) => {
                summary.notes.push(format!("epoch {epoch}: its report is not in force on the newest block: {reason}"));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn due(&self, open: &Open, claims: bool, market: Option<&Market>, at: BlockTag) -> Result<Vec<Batch>, ChainError> {
        let reading = Reading { client: &self.client, token: &self.keeper.token, outcome: &open.outcome, at };
        let mut batches = Vec::new();
        if open.slashes {
            batches.extend(reading.slashes().await?);
        }
        if claims {
            batches.extend(reading.claims().await?);
        }
        if open.rewards
            && let (Some(bookings), Some(market)) = (&self.bookings, market)
        {
            batches.extend(reading.bookings(bookings, market, open.refunds).await?);
        }
        Ok(batches)
    }

    /// An epoch without a report.
    async fn left_out(&mut self, epoch: u64, market: Option<&Market>) -> Result<Vec<Batch>, ChainError> {
        let (Some(bookings), Some(market)) = (&self.bookings, market) else { return Ok(Vec::new()) };
        if self.client.epoch_state(epoch, BlockTag::Finalized).await? != EpochState::Skipped {
            return Ok(Vec::new());
        }
        let due = skipped(bookings, market, epoch, BlockTag::Latest).await?;
        if due.is_empty() && skipped(bookings, market, epoch, BlockTag::Finalized).await?.is_empty() {
            self.done.insert(epoch);
        }
        Ok(due)
    }

    /// Runs a batch on the newest block until every item of it works with the gas that it is sent with. What is refused goes into the
    /// summary; `None` when nothing is left.
    async fn prepare(&self, mut batch: Batch, summary: &mut Summary) -> Result<Option<Tried>, KeeperError> {
        let (sender, to) = (self.key.address(), batch.to(&self.keeper));
        let mut gas = None;
        for _ in 0..TRIALS {
            let trial = match self.keeper.try_out(&sender, &to, &batch.calldata(), gas).await {
                Ok(trial) => trial,
                Err(CommandError::Refused { reason, .. }) => {
                    let reason = self.reason(&batch).await.unwrap_or(reason);
                    summary.refused.push(format!("epoch {}: {}: {reason}", batch.epoch, batch.what()));
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            match gas {
                Some(gas) if trial.skipped.is_empty() => {
                    if trial.tip < self.min_tip {
                        summary.refused.push(format!("epoch {}: {}: its tip is below --min-tip", batch.epoch, batch.what()));
                        return Ok(None);
                    }
                    let max_cost_wei = self.keeper.price(&sender, gas, &self.send).await?;
                    return Ok(Some(Tried { batch, trial, gas, max_cost_wei }));
                }
                // Enough for all of the batch, and not enough for each item.
                Some(less) => gas = Some(less.saturating_mul(2)),
                None if trial.skipped.is_empty() => gas = Some(self.with_margin(trial.gas)),
                None => {
                    for (place, reason) in trial.skipped.iter().rev() {
                        let name = batch.take(*place).unwrap_or_default();
                        summary.refused.push(format!("epoch {}: {name}: {reason}", batch.epoch));
                    }
                    if batch.len() == 0 {
                        return Ok(None);
                    }
                }
            }
        }
        summary.refused.push(format!("epoch {}: {}: the chain changes too fast to try it out", batch.epoch, batch.what()));
        Ok(None)
    }

    fn with_margin(&self, gas: u64) -> u64 {
        gas.saturating_add(gas.saturating_mul(self.send.gas_margin_percent) / 100)
    }

    /// What the settlement itself says of a batch's first item.
    async fn reason(&self, batch: &Batch) -> Option<String> {
        let first = batch.first_by_itself()?;
        match self.keeper.try_out(&self.key.address(), &self.keeper.settlement, &first, None).await {
            Err(CommandError::Refused { reason, .. }) => Some(reason),
            _ => None,
        }
    }

    async fn carry_out(&self, tried: &Tried) -> Result<State, KeeperError> {
        if self.dry_run {
            return Ok(State::Announced);
        }
        let (to, calldata) = (tried.batch.to(&self.keeper), tried.batch.calldata());
        match self.keeper.send(&self.key, &to, &calldata, tried.gas, &self.send).await {
            Ok(mined) => {
                let tx_hash = mined.tx_hash;
                let kept = self.keeper.kept(mined);
                kept.map(State::Sent).map_err(|source| KeeperError::Unread { what: tried.batch.what(), tx_hash, source: Box::new(source) })
            }
            Err(TransactionError::Reverted { tx_hash, .. }) => Ok(State::TooLate(tx_hash)),
            Err(source) => Err(KeeperError::Send { what: tried.batch.what(), source: Box::new(source) }),
        }
    }
}
