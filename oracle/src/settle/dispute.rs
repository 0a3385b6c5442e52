//! Accepted reports with a wrong verdict, brought to the court that voids them, and then to the one that slashes who signed.
//!
//! Anyone may, and the challenger is paid, so that every node can: one after the other, each after a look whether it is done. What is behind
//! a report that this node did not compute itself comes from its log and from peers, and counts when it hashes to what the chain accepted.

use std::collections::BTreeMap;
use std::mem::discriminant;

use assay_chain::{Acceptance, AcceptedReport, AggregationCourt, BlockTag, SignersCourt, SubmittedReport, calls};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, OracleId};
use assay_core::observation::Reveal;
use assay_core::report::{OpenedReport, Outcome, ReportVerdicts, Setting, StoredDigest, open_panels};
use tracing::{info, warn};

use super::{Posting, SettleError, Settler};
use crate::clock::now_ms;
use crate::closing::{Closing, all_reveals};
use crate::dispute::{Next, Wrong, first_wrong, parent_epoch};
use crate::frame::Frame;
use crate::store::StoredInput;

/// Reports are looked for so far back after a start: a restart does not forget one.
const LOOK_BACK: u64 = 64;
/// What did not help is sent again after so long, and peers are asked again for what is behind a report; they twice as late each time.
const AGAIN_MS: u64 = 5_000;
/// Such a pause doubles so often: to ten minutes.
const DOUBLINGS: u32 = 7;
/// How long a review is not looked at while it runs.
const REVIEW_POLL_MS: u64 = 60_000;

/// What this node knows of accepted reports.
pub(super) struct Disputer {
    aggregation: Address,
    signers: Option<Address>,
    courts: Option<Courts>,
    /// By the digest.
    open: BTreeMap<Hash32, Pursuit>,
    /// The first final block that was not searched for acceptances.
    from_block: Option<u64>,
}

#[derive(Clone)]
struct Courts {
    aggregation: AggregationCourt,
    signers: Option<SignersCourt>,
}

/// A report of which something may be due.
struct Pursuit {
    acceptance: Acceptance,
    stage: Stage,
    /// From when on it waits for this node's turn, unix ms.
    since_ms: u64,
    /// It is not looked at before, unix ms.
    rests_until_ms: u64,
}

enum Stage {
    /// It stands, and so many times nobody had what is behind it.
    Unexamined(u32),
    /// It stands, and the court says that it is wrong.
    Wrong(Dispute),
    /// It is convicted, and this comes next.
    Convicted(Box<SubmittedReport>, Next),
}

/// What voids a report.
struct Dispute {
    calldata: Vec<u8>,
    /// Who takes turns.
    members: Vec<OracleId>,
}

/// What came of looking at a report that stands.
enum Examined {
    Sound,
    Wrong(Dispute),
    /// Nobody who was asked has what is behind it.
    Hidden,
}

impl Disputer {
    pub(super) fn new(aggregation: Address, signers: Option<Address>) -> Self {
        Self { aggregation, signers, courts: None, open: BTreeMap::new(), from_block: None }
    }
}

impl Settler {
    /// Looks at every accepted report that this node did not compute itself, and does what is due for those that are wrong.
    pub(super) async fn dispute(&self, disputer: &mut Disputer, postings: &BTreeMap<u64, Posting>) -> Result<(), SettleError> {
        self.find_accepted(disputer, postings).await?;
        if disputer.open.is_empty() {
            return Ok(());
        }
        let courts = self.courts(disputer).await?;
        let (mut over, mut failed) = (Vec::new(), None);
        for (digest, pursuit) in &mut disputer.open {
            match self.pursue(&courts, pursuit).await {
                Ok(true) => {}
                Ok(false) => over.push(*digest),
                // The others may go on.
                Err(error) => {
                    pursuit.rests_until_ms = now_ms().saturating_add(AGAIN_MS);
                    failed = Some(error);
                }
            }
        }
        for digest in over {
            disputer.open.remove(&digest);
        }
        failed.map_or(Ok(()), Err)
    }

    async fn courts(&self, disputer: &mut Disputer) -> Result<Courts, SettleError> {
        if let Some(courts) = &disputer.courts {
            return Ok(courts.clone());
        }
        let signers = match &disputer.signers {
            Some(address) => Some(SignersCourt::connect(self.client.rpc(), address).await?),
            None => None,
        };
        let courts = Courts { aggregation: AggregationCourt::connect(self.client.rpc(), &disputer.aggregation).await?, signers };
        disputer.courts = Some(courts.clone());
        Ok(courts)
    }

    /// Reads acceptances in blocks that became final since the last look.
    async fn find_accepted(&self, disputer: &mut Disputer, postings: &BTreeMap<u64, Posting>) -> Result<(), SettleError> {
        let last = self.client.finalized().await?.number;
        let from_block = match disputer.from_block {
            Some(from_block) => from_block,
            None => {
                let oldest = self.frames.epoch_at(now_ms()).unwrap_or(0).saturating_sub(LOOK_BACK);
                let start_s = self.frames.start_ms(oldest) / 1_000;
                self.client.last_block_at_or_before(start_s).await?.map_or(0, |block| block.number)
            }
        };
        if from_block > last {
            return Ok(());
        }
        for acceptance in self.client.acceptances(None, from_block..=last).await? {
            let is_own = |posting: &Posting| posting.is_own && posting.outcome.ledger.digest == acceptance.digest;
            if !postings.get(&acceptance.epoch).is_some_and(is_own) {
                let pursuit = Pursuit { acceptance, stage: Stage::Unexamined(0), since_ms: now_ms(), rests_until_ms: 0 };
                disputer.open.entry(acceptance.digest).or_insert(pursuit);
            }
        }
        disputer.from_block = Some(last.saturating_add(1));
        Ok(())
    }

    /// Does what is due for a report; `false` when nothing of it can be due any more.
    async fn pursue(&self, courts: &Courts, pursuit: &mut Pursuit) -> Result<bool, SettleError> {
        let Acceptance { epoch, digest, .. } = pursuit.acceptance;
        if now_ms() < pursuit.rests_until_ms {
            return Ok(true);
        }
        let stands = |accepted: &AcceptedReport| accepted.digest.is_of(&digest);
        // Looked at first: one that was convicted before it was posted stands all the same.
        let Some(accepted) = self.client.accepted_report(epoch, BlockTag::Latest).await?.filter(stands) else {
            if courts.aggregation.convicted(&digest, BlockTag::Finalized).await?.is_some() {
                return self.follow(courts, pursuit).await;
            }
            if courts.aggregation.convicted(&digest, BlockTag::Latest).await?.is_some() {
                return Ok(true);
            }
            // Gone without a conviction, once that is final.
            return Ok(self.client.accepted_report(epoch, BlockTag::Finalized).await?.is_some_and(|accepted| stands(&accepted)));
        };
        let settlement = self.frames.settlement();
        let final_at_s = accepted.accepted_at_s.saturating_add(settlement.reward_window_s.max(settlement.slash_window_s));
        if self.client.latest().await?.timestamp_s >= final_at_s {
            return Ok(false);
        }
        match &pursuit.stage {
            Stage::Unexamined(tries) => match self.examine(courts, epoch, &digest).await? {
                Examined::Sound => return Ok(false),
                Examined::Hidden => {
                    pursuit.rests_until_ms = now_ms().saturating_add(AGAIN_MS << tries.min(&DOUBLINGS));
                    pursuit.stage = Stage::Unexamined(tries.saturating_add(1));
                }
                Examined::Wrong(dispute) => (pursuit.stage, pursuit.since_ms) = (Stage::Wrong(dispute), now_ms()),
            },
            Stage::Wrong(dispute) if now_ms() >= pursuit.since_ms.saturating_add(self.turn_ms(epoch, &dispute.members)) => {
                // An intent never changes, and after a restart more may be shown than before.
                let intent = format!("dispute/{epoch}/{digest}/{}", keccak([&dispute.calldata]));
                self.send(&intent, &courts.aggregation.address, dispute.calldata.clone()).await?;
                pursuit.rests_until_ms = now_ms().saturating_add(AGAIN_MS);
            }
            Stage::Wrong(_) => {}
            // A reorganisation took the conviction back.
            Stage::Convicted(..) => pursuit.stage = Stage::Unexamined(0),
        }
        Ok(true)
    }

    /// Has the signers of a convicted report slashed; `false` once all are, for good.
    async fn follow(&self, courts: &Courts, pursuit: &mut Pursuit) -> Result<bool, SettleError> {
        let Acceptance { epoch, digest, .. } = pursuit.acceptance;
        let Some(court) = &courts.signers else { return Ok(false) };
        let (submitted, before) = match &pursuit.stage {
            Stage::Convicted(submitted, before) => (submitted.clone(), Some(before)),
            _ => match self.client.submitted_report(&pursuit.acceptance).await? {
                Some(submitted) => (Box::new(submitted), None),
                None => {
                    warn!(epoch, %digest, "a convicted report came through an unknown contract: its signers are left to others");
                    return Ok(false);
                }
            },
        };
        let next = Next::of(&self.client, court, &submitted, BlockTag::Latest).await?;
        if matches!(next, Next::Done | Next::Cancelled) {
            let is_final = Next::of(&self.client, court, &submitted, BlockTag::Finalized).await? == next;
            pursuit.stage = Stage::Convicted(submitted, next);
            return Ok(!is_final);
        }
        if before.is_none_or(|before| discriminant(before) != discriminant(&next)) {
            info!(epoch, %digest, ?next, "a report was proven wrong");
            pursuit.since_ms = now_ms();
        }
        if let Next::Wait(until_s) = next {
            let left_ms = until_s.saturating_mul(1_000).saturating_sub(now_ms());
            pursuit.rests_until_ms = now_ms().saturating_add(left_ms.min(REVIEW_POLL_MS));
            pursuit.stage = Stage::Convicted(submitted, next);
            return Ok(true);
        }
        let set = self.client.set_oracles(submitted.report.set_epoch).await?;
        if now_ms() >= pursuit.since_ms.saturating_add(self.turn_ms(epoch, &set)) {
            let kind = if next == Next::Open { "review" } else { "signers" };
            for (part, calldata) in next.calls(&submitted, &courts.aggregation.address).into_iter().enumerate() {
                self.send(&format!("{kind}/{epoch}/{digest}/{part}"), &court.address, calldata).await?;
            }
            pursuit.rests_until_ms = now_ms().saturating_add(AGAIN_MS);
        }
        pursuit.stage = Stage::Convicted(submitted, next);
        Ok(true)
    }

    /// Judges a report that stands again.
    async fn examine(&self, courts: &Courts, epoch: u64, digest: &Hash32) -> Result<Examined, SettleError> {
        let frame = self.frames.read(epoch).await?;
        let Some(verdicts) = self.verdicts(&frame, epoch, digest).await? else {
            warn!(epoch, %digest, "nobody shows the verdicts of an accepted report");
            return Ok(Examined::Hidden);
        };
        let report = verdicts.report().clone();
        let Some(parent_epoch) = parent_epoch(&self.client, &report).await? else { return Ok(Examined::Hidden) };
        let parent = match report.parent_digest.is_zero() {
            true => None,
            // Without it the court would not know what the multipliers began with.
            false => match self.verdicts(&frame, parent_epoch, &report.parent_digest).await? {
                Some(parent) => Some(parent),
                None => return Ok(Examined::Hidden),
            },
        };
        let (inputs, setting) = (self.store.inputs(epoch).await?, frame.setting.clone());
        // Every signature in the log is a curve point.
        let opening = tokio::task::spawn_blocking(move || open(verdicts, parent, &inputs, &setting)).await;
        let Some(opened) = opening.unwrap_or_default() else {
            warn!(epoch, %digest, "the observations of an accepted report are not those that were revealed here");
            return Ok(Examined::Hidden);
        };
        let Some(Wrong { case, mismatch }) = first_wrong(&courts.aggregation, &opened, &frame.setting).await? else {
            return Ok(Examined::Sound);
        };
        warn!(epoch, %digest, provider = %case.judged.verdict.provider, %mismatch, "the chain accepted a report with a wrong verdict");
        let members = frame.setting.members.iter().map(|member| member.oracle).collect();
        Ok(Examined::Wrong(Dispute { calldata: calls::dispute_verdict(&report, parent_epoch, &case), members }))
    }

    /// The verdicts of a report, from the store or from a peer.
    async fn verdicts(&self, frame: &Frame, epoch: u64, digest: &Hash32) -> Result<Option<ReportVerdicts>, SettleError> {
        let stored = StoredDigest::of(digest);
        let read = |outcome: &Outcome| {
            let verdicts = ReportVerdicts::new(outcome.report.clone(), outcome.verdicts.clone());
            verdicts.ok().filter(|_| outcome.report.digest() == *digest)
        };
        if let Some(known) = self.store.reported(epoch, &stored).await? {
            return Ok(read(&known));
        }
        let peers = frame.peers.clone().into_iter().collect();
        let found = self.outgoing.fetch_report(peers, epoch, stored, |_, outcome| read(outcome).is_some()).await;
        Ok(found.and_then(|(_, outcome)| read(&outcome)))
    }
}

/// The report with the panels that it was computed from: those of its proposal, or else of all that was revealed here.
fn open(verdicts: ReportVerdicts, parent: Option<ReportVerdicts>, inputs: &[StoredInput], setting: &Setting) -> Option<OpenedReport> {
    let included = Closing::read(verdicts.report(), inputs, Some(setting)).reveals;
    let included: BTreeMap<OracleId, Reveal> = included.into_iter().map(|opened| (opened.reveal.oracle, opened.reveal)).collect();
    let opened = |reveals| OpenedReport::new(verdicts.clone(), open_panels(setting, &reveals), parent.clone()).ok();
    opened(included).or_else(|| opened(all_reveals(verdicts.report().epoch, inputs)))
}
