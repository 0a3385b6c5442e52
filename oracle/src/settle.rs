//! From a certificate to money: posting, following the chain's decisions, claims and slashes.
//!
//! Only final blocks move state here. Every transaction is an intent of the outbox, so a restart neither loses nor doubles one.

mod accuse;
pub(crate) mod bookings;
mod dispute;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use assay_chain::outbox::{Outbox, OutboxError, State};
use assay_chain::{BlockTag, ChainError, ClaimKind, Client, calls};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, OracleId};
use assay_core::observation::Fault;
use assay_core::report::{Certificate, Ledger, Outcome, Payee, StoredDigest};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use assay_proto::oracle_convert::{decode_certificate, encode_certificate};

use accuse::Accuser;
use bookings::Bookings;
use dispute::Disputer;

use crate::committee::{Certified, Command, Committee};
use crate::frame::Frames;
use crate::peers::Outgoing;
use crate::store::{AcceptedEpoch, CertifiedEpoch, Store, StoreError};
use crate::view::View;

/// Reports followed until their money has moved.
const KEPT_POSTINGS: u32 = 64;
/// Behind all who were there when the report was certified.
const LATE_STAGE: u64 = 4;

/// The `[settle]` table of the oracle's config.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettleConfig {
    /// Between two looks at the chain.
    pub poll_ms: u64,
    /// Whose rewards this node claims: its own, or everybody's (anybody may; the recipient is paid in any case).
    pub claim: ClaimFor,
    /// The capacity market whose bookings this node settles by the reports; none without it.
    pub market: Option<Address>,
    /// The court to which this node brings members that signed twice, and is paid for it; without it proofs are kept and passed on.
    pub equivocation_court: Option<Address>,
    /// The court to which this node brings accepted reports with a wrong verdict, so that they are void; without it they are only warned of.
    pub aggregation_court: Option<Address>,
    /// The court that slashes who signed such a report, after a review; of what is slashed the challenger is paid.
    pub signers_court: Option<Address>,
}

/// Whose rewards a node claims.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimFor {
    /// The oracle's own.
    Own,
    /// Every payee's.
    All,
    /// None: somebody else claims.
    None,
}

impl Default for SettleConfig {
    fn default() -> Self {
        Self { poll_ms: 1_000, claim: ClaimFor::Own, market: None, equivocation_court: None, aggregation_court: None, signers_court: None }
    }
}

/// Why settling stumbled; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The outbox.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Follows the chain and acts on it.
pub struct Settler {
    /// The chain.
    pub client: Client,
    /// Our transactions.
    pub outbox: Outbox,
    /// What was certified and accepted.
    pub store: Arc<dyn Store>,
    /// The committee's actor.
    pub committee: Committee,
    /// Peers, for reports that we missed.
    pub outgoing: Outgoing,
    /// Epoch arithmetic.
    pub frames: Frames,
    /// What readers see of the node.
    pub view: Arc<View>,
    /// Who we are.
    pub me: OracleId,
    /// Settings.
    pub config: SettleConfig,
}

/// An epoch of which this node knows the report.
struct Posting {
    certificate: Certificate,
    outcome: Outcome,
    /// Our place among those who post, and when the first may.
    stage: u64,
    certified_ms: u64,
    accepted_at_s: Option<u64>,
    done: bool,
    /// No booking waits for it any more.
    booked: bool,
    /// This run of the node computed it: it is no other one's word.
    is_own: bool,
    /// The chain accepted another report of its epoch.
    outdone: bool,
}

impl Settler {
    /// Runs until cancelled.
    pub async fn run(self, mut certified: mpsc::Receiver<Certified>, cancel: CancellationToken) {
        let mut postings = match self.unfinished().await {
            Ok(postings) => postings,
            Err(error) => {
                warn!(%error, "stored reports cannot be read: only new ones are settled");
                BTreeMap::new()
            }
        };
        let mut bookings = self.config.market.map(Bookings::new);
        let mut accuser = self.config.equivocation_court.map(Accuser::new);
        let mut disputer = self.config.aggregation_court.map(|court| Disputer::new(court, self.config.signers_court));
        let mut poll = tokio::time::interval(Duration::from_millis(self.config.poll_ms.max(100)));
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                handed = certified.recv() => match handed {
                    Some(handed) => { postings.insert(handed.certificate.report.epoch, self.posting(handed)); }
                    None => return,
                },
                _ = poll.tick() => {}
            }
            let mut looked = self.look(&mut postings).await;
            if let Some(bookings) = &mut bookings
                && looked.is_ok()
            {
                looked = self.settle_bookings(bookings, &mut postings).await;
            }
            if let Some(accuser) = &mut accuser
                && looked.is_ok()
            {
                looked = self.accuse(accuser).await;
            }
            if let Some(disputer) = &mut disputer
                && looked.is_ok()
            {
                looked = self.dispute(disputer, &postings).await;
            }
            if let Err(error) = &looked {
                warn!(%error, "settling: will be tried again");
            }
            self.view.problem("settlement", looked.err().map(|error| error.to_string()));
            self.view.problem("transactions", self.outbox.alert());
        }
    }

    fn posting(&self, handed: Certified) -> Posting {
        let place = handed.transmitters.iter().position(|oracle| *oracle == self.me).unwrap_or(handed.transmitters.len());
        Posting {
            certificate: handed.certificate,
            outcome: handed.outcome,
            stage: stage_of(place),
            certified_ms: crate::clock::now_ms(),
            accepted_at_s: None,
            done: false,
            booked: false,
            is_own: true,
            outdone: false,
        }
    }

    /// Reports of earlier runs whose money may not have moved yet: a restart loses no claim and no slash.
    async fn unfinished(&self) -> Result<BTreeMap<u64, Posting>, SettleError> {
        let mut postings = BTreeMap::new();
        for epoch in self.store.certified_epochs(KEPT_POSTINGS).await? {
            let Some(certified) = self.store.outcome(epoch).await? else { continue };
            let Ok(certificate) = decode_certificate(&certified.certificate) else { continue };
            let certified_ms = crate::clock::now_ms();
            let posting = Posting {
                certificate,
                outcome: certified.outcome,
                stage: LATE_STAGE,
                certified_ms,
                accepted_at_s: None,
                done: false,
                booked: false,
                is_own: false,
                outdone: false,
            };
            postings.insert(epoch, posting);
        }
        Ok(postings)
    }

    async fn look(&self, postings: &mut BTreeMap<u64, Posting>) -> Result<(), SettleError> {
        // The next epoch waits for a report, and nothing waits for the money of earlier ones.
        for (epoch, posting) in postings.iter_mut().filter(|(_, posting)| !posting.done && posting.accepted_at_s.is_none()) {
            self.post(*epoch, posting).await?;
        }
        self.decide_parents().await?;
        let latest = self.client.latest().await?;
        for (epoch, posting) in postings.iter_mut().filter(|(_, posting)| !posting.done) {
            let Some(accepted_at_s) = posting.accepted_at_s else { continue };
            let my_turn = self.my_turn_s(posting);
            let settlement = self.frames.settlement();
            let since = latest.timestamp_s.saturating_sub(accepted_at_s);
            let rewards = since >= settlement.reward_window_s.saturating_add(my_turn);
            let slashes = since >= settlement.slash_window_s.saturating_add(my_turn);
            let claimed = rewards && self.claim(*epoch, posting).await?;
            let slashed = slashes && self.slash(*epoch, posting).await?;
            posting.done = claimed && slashed;
        }
        while postings.len() > KEPT_POSTINGS as usize {
            postings.pop_first();
        }
        Ok(())
    }

    /// Seconds after the first who may: most of what anybody may send is done by then.
    fn my_turn_s(&self, posting: &Posting) -> u64 {
        posting.stage.saturating_mul(self.frames.params().transmit_stage_ms) / 1_000
    }

    /// Tells the committee which epochs the chain has decided, and what each open one must follow.
    async fn decide_parents(&self) -> Result<(), SettleError> {
        let Some(open) = self.committee.ask(Command::Open).await else { return Ok(()) };
        if open.is_empty() {
            return Ok(());
        }
        let last = self.client.last_accepted(BlockTag::Finalized).await?;
        if let Some(status) = self.committee.ask(Command::Status).await {
            self.view.note(status, last.as_ref().map(|last| last.epoch));
        }
        let chain_s = self.client.finalized().await?.timestamp_s;
        for (epoch, parent) in open {
            let decided = last.as_ref().is_some_and(|last| last.epoch >= epoch) || chain_s > self.frames.valid_until_s(epoch);
            if decided {
                self.committee.send(Command::Settled(epoch)).await;
                continue;
            }
            let follows = match (&last, epoch.checked_sub(1)) {
                (Some(last), Some(before)) if last.epoch == before => true,
                (_, Some(before)) => chain_s > self.frames.valid_until_s(before),
                (_, None) => true,
            };
            let digest = last.as_ref().map_or(StoredDigest(Hash32::ZERO), |last| last.digest);
            if follows && !parent.is_some_and(|parent| digest.is_of(&parent)) {
                let ledger = match &last {
                    None => Some(Ledger::default()),
                    Some(last) => self.ledger(last.epoch, &last.digest).await?,
                };
                match ledger {
                    Some(ledger) => {
                        self.committee.send(Command::Parent(epoch, Box::new(ledger))).await;
                    }
                    None => warn!(epoch, ?digest, "the accepted report is not known here yet"),
                }
            }
        }
        Ok(())
    }

    /// The ledger behind an accepted report: we signed it, or a peer did. The digest on the chain is the proof.
    async fn ledger(&self, epoch: u64, digest: &StoredDigest) -> Result<Option<Ledger>, SettleError> {
        if let Some(known) = self.store.reported(epoch, digest).await? {
            return Ok(Some(known.ledger));
        }
        let frame = self.frames.read(epoch).await?;
        let peers = frame.peers.clone().into_iter().collect();
        let stands = |certificate: Option<&Certificate>, outcome: &Outcome| {
            outcome.supports(&outcome.report, &frame.setting.token)
                && certificate.is_none_or(|certificate| certificate.verify(&frame.setting).is_ok())
        };
        let Some((certificate, outcome)) = self.outgoing.fetch_report(peers, epoch, *digest, stands).await else { return Ok(None) };
        let ledger = outcome.ledger.clone();
        self.store.put_candidate(&outcome).await?;
        if let Some(certificate) = certificate {
            let certified = CertifiedEpoch { certificate: encode_certificate(&certificate).to_vec(), outcome };
            self.store.put_outcome(epoch, &certified).await?;
        }
        Ok(Some(ledger))
    }

    /// Posts when it is our turn and nobody has; records what the chain accepted once that is final.
    async fn post(&self, epoch: u64, posting: &mut Posting) -> Result<(), SettleError> {
        let expired = crate::clock::now_ms() / 1_000 > posting.certificate.report.valid_until;
        if let Some(accepted) = self.client.accepted_report(epoch, BlockTag::Finalized).await? {
            if accepted.digest.is_of(&posting.outcome.ledger.digest) {
                // Recorded first: what fails is tried again.
                self.record(epoch, posting.certificate.report.ref_block).await?;
                posting.accepted_at_s = Some(accepted.accepted_at_s);
            } else {
                if !std::mem::replace(&mut posting.outdone, true) {
                    warn!(epoch, digest = ?accepted.digest, "the chain accepted another report of this epoch than we certified");
                }
                // A court may void it, and ours takes its place.
                posting.done = expired;
            }
            return Ok(());
        }
        let due_ms = posting.certified_ms.saturating_add(posting.stage.saturating_mul(self.frames.params().transmit_stage_ms));
        posting.done = expired;
        if expired || crate::clock::now_ms() < due_ms || self.client.accepted_report(epoch, BlockTag::Latest).await?.is_some() {
            return Ok(());
        }
        let report = &posting.certificate.report;
        let calldata = calls::submit_report(report, &posting.certificate.signers_word(), &posting.certificate.signature);
        let intent = format!("report/{epoch}/{}", report.digest());
        self.send(&intent, &self.frames.instance().settlement, calldata).await
    }

    async fn record(&self, epoch: u64, from_block: u64) -> Result<(), SettleError> {
        if let Some(event) = self.client.report_accepted(epoch, from_block).await? {
            info!(epoch, tx = %event.tx_hash, block = event.block_number, gas = event.gas_used, "accepted and final");
            let (digest, tx_hash) = (event.digest, event.tx_hash);
            self.store
                .put_accepted(&AcceptedEpoch { epoch, digest, tx_hash, block_number: event.block_number, gas_used: event.gas_used })
                .await?;
        }
        Ok(())
    }

    /// Claims what is ours to claim; true once nothing is left.
    async fn claim(&self, epoch: u64, posting: &Posting) -> Result<bool, SettleError> {
        let mut settled = true;
        let ledger = &posting.outcome.ledger;
        for (payee, standing) in ledger.payees() {
            let wanted = match self.config.claim {
                ClaimFor::None => false,
                ClaimFor::Own => payee == Payee::Oracle(self.me),
                ClaimFor::All => true,
            };
            let (number, id) = payee.kind_and_id();
            let kind = if number == 0 { ClaimKind::Provider } else { ClaimKind::Oracle };
            if !wanted || self.client.claimed(kind, id, BlockTag::Latest).await? >= standing.cumulative {
                continue;
            }
            settled = false;
            let Some((standing, proof)) = ledger.reward_proof(payee, &self.frames.settlement().token) else { continue };
            let calldata = calls::claim(&posting.outcome.report, kind, id, &standing.recipient, standing.cumulative, &proof);
            self.outbox.enqueue(&format!("claim/{epoch}/{number}/{id}"), self.frames.instance().settlement, calldata).await?;
        }
        Ok(settled)
    }

    /// How long this node lets others of these members send first what any of them may, ms: one, two, four and so on at a time, beginning with
    /// another one in each epoch.
    fn turn_ms(&self, epoch: u64, members: &[OracleId]) -> u64 {
        let place = members.iter().position(|member| *member == self.me);
        turn_of(place, members.len(), epoch).saturating_mul(self.frames.params().transmit_stage_ms)
    }

    /// Enqueues what is due. When it reverted and is due all the same, whatever was faster is gone.
    async fn send(&self, intent: &str, to: &Address, calldata: Vec<u8>) -> Result<(), SettleError> {
        match self.outbox.status(intent).await? {
            None => info!(intent, "sending"),
            Some(status) if status.state == State::Reverted => {
                self.outbox.retry(intent).await?;
            }
            Some(_) => {}
        }
        self.outbox.enqueue(intent, *to, calldata).await?;
        Ok(())
    }

    /// Executes the report's slashes; true once all are.
    async fn slash(&self, epoch: u64, posting: &Posting) -> Result<bool, SettleError> {
        let mut settled = true;
        for verdict in &posting.outcome.verdicts {
            let Some(reason) = verdict.slash_reason else { continue };
            if self.client.slash_executed(verdict.provider, epoch, BlockTag::Latest).await? {
                continue;
            }
            // The contract would refuse it: the provider answered there while it could.
            if reason == Fault::StorageSilent && self.client.rebutted(verdict.provider, epoch, BlockTag::Latest).await? {
                continue;
            }
            settled = false;
            let Some((verdict, proof)) = posting.outcome.slash_proof(verdict.provider) else { continue };
            info!(epoch, provider = %verdict.provider, reason = reason.describe(), "slashing");
            let calldata = calls::execute_slash(
                &posting.outcome.report,
                verdict.provider,
                reason.reason(),
                &verdict.facts_root,
                verdict.slash,
                &proof,
            );
            self.outbox.enqueue(&format!("slash/{epoch}/{}", verdict.provider), self.frames.instance().settlement, calldata).await?;
        }
        Ok(settled)
    }
}

/// Stages of 1, 2, 4, 8 … transmitters.
fn stage_of(place: usize) -> u64 {
    u64::from(usize::BITS.saturating_sub(place.saturating_add(1).leading_zeros()).saturating_sub(1))
}

/// The stage in which a member acts, by its place among so many; a stranger comes after all of them.
fn turn_of(place: Option<usize>, count: usize, epoch: u64) -> u64 {
    let shift = usize::try_from(epoch).unwrap_or(0);
    stage_of(place.map_or(count, |place| place.wrapping_add(shift) % count.max(1)))
}

#[cfg(test)]
mod tests {
    use super::{stage_of, turn_of};

    // Defence: members take turns. With one stage for all, every node pays for what one of them does.
    #[test]
    fn one_member_is_first_in_each_epoch_and_another_one_in_the_next() {
        let turns = |epoch| (0..4).map(|place| turn_of(Some(place), 4, epoch)).collect::<Vec<_>>();
        assert_eq!((turns(0), turns(1)), (vec![0, 1, 1, 2], vec![1, 1, 2, 0]));
        assert_eq!(turn_of(None, 4, 0), 2, "a stranger");
    }

    #[test]
    fn stages_double() {
        assert_eq!((0..8).map(stage_of).collect::<Vec<_>>(), [0, 1, 1, 2, 2, 2, 2, 3]);
    }
}
