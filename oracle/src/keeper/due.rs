//! What one transaction does of what is due, and how an accepted report proves it.

use std::sync::Arc;

use assay_chain::calls::{self, DueClaim, DueSlash};
use assay_chain::keeper::{Action, Keeper};
use assay_chain::market::{BookingId, Market};
use assay_chain::tokens::Tokens;
use assay_chain::{BlockTag, ChainError, ClaimKind, Client};
use assay_core::abi::Words;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::merkle::{self, StandardTree};
use assay_core::observation::Fault;
use assay_core::report::{Outcome, Payee, Report, slash_leaf};
use assay_core::verdict::Verdict;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::settle::bookings::{AT_ONCE, Bookings};

/// Claims in one transaction: each takes some 100,000 gas.
const CLAIMS_AT_ONCE: usize = 40;
/// Slashes in one transaction.
const SLASHES_AT_ONCE: usize = 40;
/// Requests in flight at once.
const CONCURRENCY: usize = 16;

/// What one transaction does.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// Of the report.
    pub(super) epoch: u64,
    work: Work,
}

#[derive(Clone, Debug)]
enum Work {
    /// Each with what it pays.
    Claims(Arc<Report>, Vec<(DueClaim, u128)>),
    Slashes(Arc<Report>, Vec<DueSlash>),
    /// Of one provider.
    Bookings(Arc<Report>, Arc<Proven>, Vec<BookingId>),
    /// An epoch without a report: the builder's money comes back. Nobody pays for it.
    Skipped(Address, BookingId),
    /// A report without a verdict, long after: the same.
    Unsettled(Address, Arc<Report>, BookingId),
}

/// A verdict that stands under a report.
#[derive(Clone, Debug)]
struct Proven {
    verdict: Verdict,
    proof: Vec<Hash32>,
}

impl Batch {
    /// What the keeper pays for; nothing for what is sent to the market itself.
    pub(super) fn action(&self) -> Option<Action> {
        match self.work {
            Work::Claims(..) => Some(Action::Claim),
            Work::Slashes(..) => Some(Action::Slash),
            Work::Bookings(..) => Some(Action::Booking),
            Work::Skipped(..) | Work::Unsettled(..) => None,
        }
    }

    /// Where it is sent.
    pub(super) fn to(&self, keeper: &Keeper) -> Address {
        match self.work {
            Work::Skipped(market, _) | Work::Unsettled(market, ..) => market,
            _ => keeper.address,
        }
    }

    pub(super) fn calldata(&self) -> Vec<u8> {
        match &self.work {
            Work::Claims(report, claims) => calls::claim_many(report, claims.iter().map(|(claim, _)| claim)),
            Work::Slashes(report, slashes) => calls::slash_many(report, slashes),
            Work::Bookings(report, proven, ids) => calls::keep_bookings(ids, report, &proven.verdict, &proven.proof),
            Work::Skipped(_, id) => calls::settle_skipped(*id, self.epoch),
            Work::Unsettled(_, report, id) => calls::refund_unsettled(*id, report),
        }
    }

    /// Its first item without the keeper, to learn why a whole batch is refused: the keeper says no more than that nothing was done.
    pub(super) fn first_by_itself(&self) -> Option<Vec<u8>> {
        match &self.work {
            Work::Claims(report, claims) => {
                let (claim, _) = claims.first()?;
                Some(calls::claim(report, claim.kind, claim.id, &claim.recipient, claim.cumulative, &claim.proof))
            }
            Work::Slashes(report, slashes) => {
                let slash = slashes.first()?;
                Some(calls::execute_slash(report, slash.provider, slash.reason, &slash.facts_root, slash.amount, &slash.proof))
            }
            _ => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.work {
            Work::Claims(_, claims) => claims.len(),
            Work::Slashes(_, slashes) => slashes.len(),
            Work::Bookings(_, _, ids) => ids.len(),
            Work::Skipped(..) | Work::Unsettled(..) => 1,
        }
    }

    /// In words.
    pub(super) fn what(&self) -> String {
        match &self.work {
            Work::Claims(_, claims) => {
                let amount = claims.iter().fold(0_u128, |sum, (_, due)| sum.saturating_add(*due));
                format!("claim {} tokens for {}", Tokens(amount), counted(claims.len(), "account"))
            }
            Work::Slashes(_, slashes) => format!("slash {}", counted(slashes.len(), "provider")),
            Work::Bookings(_, proven, ids) => format!("settle {} with provider {}", counted(ids.len(), "booking"), proven.verdict.provider),
            Work::Skipped(_, id) => format!("refund booking {}: the epoch has no report", id.0),
            Work::Unsettled(_, _, id) => format!("refund booking {}: the report says nothing of its provider", id.0),
        }
    }

    /// Takes out the item at a place; its name.
    pub(super) fn take(&mut self, place: usize) -> Option<String> {
        match &mut self.work {
            Work::Claims(_, claims) if place < claims.len() => {
                let (claim, _) = claims.remove(place);
                Some(match claim.kind {
                    ClaimKind::Provider => format!("claim of provider {}", claim.id),
                    ClaimKind::Oracle => format!("claim of oracle {}", claim.id),
                })
            }
            Work::Slashes(_, slashes) if place < slashes.len() => Some(format!("slash of provider {}", slashes.remove(place).provider)),
            _ => None,
        }
    }
}

fn counted(count: usize, of: &str) -> String {
    if count == 1 { format!("1 {of}") } else { format!("{count} {of}s") }
}

/// A verified epoch, read against the chain as of some block.
pub(super) struct Reading<'a> {
    pub(super) client: &'a Client,
    pub(super) token: &'a Address,
    pub(super) outcome: &'a Outcome,
    pub(super) at: BlockTag,
}

impl Reading<'_> {
    fn report(&self) -> Arc<Report> {
        Arc::new(self.outcome.report.clone())
    }

    fn batches<T>(&self, items: Vec<T>, at_once: usize, work: impl Fn(Arc<Report>, Vec<T>) -> Work) -> Vec<Batch> {
        let report = self.report();
        let mut items = items.into_iter();
        let chunks = std::iter::from_fn(|| {
            let chunk: Vec<T> = items.by_ref().take(at_once).collect();
            (!chunk.is_empty()).then_some(chunk)
        });
        chunks.map(|chunk| Batch { epoch: report.epoch, work: work(report.clone(), chunk) }).collect()
    }

    /// Rewards that are not all paid.
    pub(super) async fn claims(&self) -> Result<Vec<Batch>, ChainError> {
        let payees = self.outcome.ledger.payees();
        let reads: Vec<_> = payees.map(|(payee, standing)| self.unpaid(payee, standing.recipient, standing.cumulative)).collect();
        let mut open: Vec<(DueClaim, u128)> =
            stream::iter(reads).buffered(CONCURRENCY).try_filter_map(async |claim| Ok(claim)).try_collect().await?;
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let tree = self.outcome.ledger.reward_tree(self.token);
        for (claim, _) in &mut open {
            claim.proof = tree.proof(&self.reward_leaf(claim)).unwrap_or_default();
        }
        Ok(self.batches(open, CLAIMS_AT_ONCE, Work::Claims))
    }

    async fn unpaid(&self, payee: Payee, recipient: Address, cumulative: u128) -> Result<Option<(DueClaim, u128)>, ChainError> {
        let (number, id) = payee.kind_and_id();
        let kind = if number == 0 { ClaimKind::Provider } else { ClaimKind::Oracle };
        let due = cumulative.saturating_sub(self.client.claimed(kind, id, self.at).await?);
        Ok((due > 0).then(|| (DueClaim { kind, id, recipient, cumulative, proof: Vec::new() }, due)))
    }

    fn reward_leaf(&self, claim: &DueClaim) -> Hash32 {
        let words = Words::new().with(&claim.kind.as_u8()).with(&claim.id).with(&claim.recipient);
        merkle::leaf(&words.with(self.token).with(&claim.cumulative))
    }

    /// Slashes that are neither executed nor rebutted. Under a seed that is not the beacon's the contract slashes nobody.
    pub(super) async fn slashes(&self) -> Result<Vec<Batch>, ChainError> {
        if !self.outcome.report.seed_secure {
            return Ok(Vec::new());
        }
        let tree = StandardTree::new(self.outcome.verdicts.iter().filter_map(slash_leaf).collect());
        let mut open = Vec::new();
        for verdict in &self.outcome.verdicts {
            let Some(reason) = verdict.slash_reason else { continue };
            let Some(proof) = slash_leaf(verdict).and_then(|leaf| tree.proof(&leaf)) else { continue };
            if self.client.slash_executed(verdict.provider, verdict.epoch, self.at).await? {
                continue;
            }
            // The provider answered on chain while it could.
            if reason == Fault::StorageSilent && self.client.rebutted(verdict.provider, verdict.epoch, self.at).await? {
                continue;
            }
            let (provider, facts_root, amount) = (verdict.provider, verdict.facts_root, verdict.slash);
            open.push(DueSlash { provider, reason: reason.reason(), facts_root, amount, proof });
        }
        Ok(self.batches(open, SLASHES_AT_ONCE, Work::Slashes))
    }

    /// Bookings that the verdicts decide, and when refunds are due those of providers without one.
    pub(super) async fn bookings(&self, bookings: &Bookings, market: &Market, refunds_are_due: bool) -> Result<Vec<Batch>, ChainError> {
        let report = self.report();
        let open = bookings.unsettled(market, report.epoch, self.at).await?;
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let tree = StandardTree::new(self.outcome.verdicts.iter().map(Verdict::leaf).collect());
        let mut batches = Vec::new();
        for (provider, ids) in open {
            match self.proven(&tree, provider) {
                Some(proven) => {
                    let proven = Arc::new(proven);
                    batches.extend(self.batches(ids, AT_ONCE, |report, ids| Work::Bookings(report, proven.clone(), ids)));
                }
                None if refunds_are_due => {
                    let refund = |id| Batch { epoch: report.epoch, work: Work::Unsettled(market.address, report.clone(), id) };
                    batches.extend(ids.into_iter().map(refund));
                }
                None => {}
            }
        }
        Ok(batches)
    }

    fn proven(&self, tree: &StandardTree, provider: ProviderId) -> Option<Proven> {
        let verdict = self.outcome.verdicts.iter().find(|verdict| verdict.provider == provider)?;
        Some(Proven { verdict: verdict.clone(), proof: tree.proof(&verdict.leaf())? })
    }
}

/// Bookings of an epoch that can have no report any more.
pub(super) async fn skipped(bookings: &Bookings, market: &Market, epoch: u64, at: BlockTag) -> Result<Vec<Batch>, ChainError> {
    let open = bookings.unsettled(market, epoch, at).await?;
    let refund = |id| Batch { epoch, work: Work::Skipped(market.address, id) };
    Ok(open.into_values().flatten().map(refund).collect())
}
