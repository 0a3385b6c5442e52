//! Another node that signs with our key.
//!
//! Two nodes on one key sign two things where one is allowed, and are slashed. The signing record keeps one process from it; this keeps two
//! from it that have a record each: a second node by mistake, or one whose record came from a backup. Whatever our key signed and our record
//! does not know was signed elsewhere. It shows in what peers send, and in what they answer when they are asked what they hold of us.
//!
//! Two that start in the same moment are not told apart before both have spoken.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use assay_core::ids::OracleId;
use assay_proto::oracle_convert::{LogEntry, Message};
use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::now_ms;
use crate::frame::Frame;
use crate::peers::Outgoing;
use crate::signer::{ProtectionError, Signer, Statement, StatementKind};
use crate::store::{Store, StoreError};
use crate::view::View;

/// Peers are asked so often in an epoch: some times while it closes, on every network.
const ROUNDS_OF_AN_EPOCH: u64 = 8;
const SHORTEST_ROUND: Duration = Duration::from_secs(1);
/// A restart waits so long for the first peers' word, and goes on without it.
const FIRST_WORD: Duration = Duration::from_secs(2);
/// Larger inputs of the log are reveals and proposals, which state nothing of ours that a smaller one does not.
pub const MAX_STATEMENT_BYTES: usize = 32 * 1024;

/// Why this node must not sign.
#[derive(Debug, thiserror::Error)]
pub enum DoppelgangerError {
    /// Somebody else signs with our key.
    #[error(
        "another node signs with this node's key: {peer} shows a {kind} of epoch {epoch}, view {view}, that the signing record here does \
         not know. This node has stopped signing. Look for a second node with this key, and for a signing record that came from a backup. \
         To go on: stop the other node, merge its record (`assay-oracle protection export` there, `protection import` here), start again. \
         If its record is lost for good, make sure that it will never run again and give up what it may have signed: \
         `assay-oracle protection prune --through {through}`"
    )]
    Found {
        /// Who showed it.
        peer: String,
        /// What was signed.
        kind: StatementKind,
        /// Epoch.
        epoch: u64,
        /// View.
        view: u64,
        /// The epoch that runs: what was signed up to it is given up.
        through: u64,
    },
    /// The record does not hold what the log says that we signed.
    #[error(
        "the signing record is older than the node's log: it lacks the {kind} of epoch {epoch}, view {view}. It was restored from a backup, \
         or belongs to another data_dir: put the newest record back, or import its last export"
    )]
    OldRecord {
        /// What was signed.
        kind: StatementKind,
        /// Epoch.
        epoch: u64,
        /// View.
        view: u64,
    },
    /// The record could not be read.
    #[error(transparent)]
    Protection(#[from] ProtectionError),
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Compares what is said in our name with our record.
pub struct Doppelganger {
    signer: Arc<Signer>,
    epoch_ms: u64,
    /// From which epoch on the record may sign.
    signs_from: u64,
    /// The last epoch in which peers told us what they hold of us.
    answered: AtomicU64,
    found: watch::Sender<Option<(String, Statement)>>,
}

impl Doppelganger {
    /// Takes the signer's record into use. The signer is silent until [`Self::first_word`].
    pub async fn watch(signer: Arc<Signer>, running: Option<u64>, epoch_ms: u64) -> Result<Self, ProtectionError> {
        signer.fall_silent();
        let signs_from = signer.protection().resume(now_ms(), running, epoch_ms).await?;
        Ok(Self { signer, epoch_ms, signs_from, answered: AtomicU64::new(0), found: watch::channel(None).0 })
    }

    /// Refuses a record that lacks what the log of these epochs says that we signed.
    pub async fn check_log(&self, store: &dyn Store, epochs: RangeInclusive<u64>) -> Result<(), DoppelgangerError> {
        for epoch in epochs {
            for stored in store.small_inputs(epoch, MAX_STATEMENT_BYTES).await? {
                let Ok(LogEntry::Received(message)) = LogEntry::decode(&stored.message) else { continue };
                if message.oracle() != Some(self.signer.oracle()) {
                    continue;
                }
                for statement in self.signer.statements_in(&message) {
                    if self.signer.is_foreign(&statement).await? {
                        let Statement { kind, epoch, view, .. } = statement;
                        return Err(DoppelgangerError::OldRecord { kind, epoch, view });
                    }
                }
            }
        }
        Ok(())
    }

    /// Lets the signer speak, once enough peers have said what they hold of us or time is short; whoever listens first is silent in the
    /// epochs that it listens through. `frame` is the running epoch's, none before genesis or when the chain cannot be read.
    pub async fn first_word(&self, outgoing: &Outgoing, frame: Option<&Frame>) {
        if let Some(frame) = frame {
            let _ = tokio::time::timeout(FIRST_WORD, self.ask(outgoing, frame, true)).await;
        }
        if !self.is_found() {
            self.signer.speak_from(self.signs_from);
        }
        if let Some(frame) = frame.filter(|frame| !self.signer.speaks_in(frame.setting.epoch)) {
            info!(running = frame.setting.epoch, signs_from = self.signs_from, "listening for another node with this key before signing");
        }
    }

    /// Whether we speak in an epoch that begins. Whoever listened and was answered by too few puts it off: it may have been deaf.
    pub async fn speaks_in(&self, epoch: u64) -> bool {
        let listened = epoch != self.signs_from || epoch == 0 || self.answered.load(Ordering::SeqCst).saturating_add(1) >= epoch;
        if !listened && self.signer.speaks_in(epoch) {
            warn!(epoch, "too few peers answered to know whether another node signs with this key: listening for another epoch");
            self.put_off(epoch.saturating_add(1)).await;
        }
        self.signer.speaks_in(epoch)
    }

    async fn put_off(&self, epoch: u64) {
        self.signer.speak_from(epoch);
        if let Err(error) = self.signer.protection().put_off(epoch).await {
            warn!(%error, "a restart would not listen as long");
        }
    }

    /// Whether another node was found. From then on nothing is signed.
    pub fn is_found(&self) -> bool {
        self.found.borrow().is_some()
    }

    /// Reads a message for what our key signed elsewhere.
    pub async fn hear(&self, peer: &str, message: &Message) {
        for statement in self.signer.statements_in(message) {
            match self.signer.is_foreign(&statement).await {
                Ok(false) => {}
                Ok(true) => {
                    self.signer.fall_silent();
                    error!(peer, kind = %statement.kind, epoch = statement.epoch, view = statement.view, "signed with our key, and not here");
                    self.found.send_if_modified(|found| found.is_none().then(|| *found = Some((peer.to_owned(), statement))).is_some());
                }
                Err(error) => warn!(%error, "a statement in our name cannot be compared with the signing record"),
            }
        }
    }

    /// Asks the members of an epoch what they hold of us. `briefly`: until more than a third of the others' weight has answered.
    async fn ask(&self, outgoing: &Outgoing, frame: &Frame, briefly: bool) {
        let setting = &frame.setting;
        let since = setting.epoch.saturating_sub(setting.params.valid_epochs);
        let weights = || setting.members.iter().filter(|member| member.oracle != self.signer.oracle());
        let all: u128 = weights().map(|member| u128::from(member.weight)).sum();
        let mut answered = 0u128;
        let mut answers = outgoing.fetch_statements(&frame.peers, since);
        while let Some((peer, statements)) = answers.next().await {
            for message in &statements {
                self.hear(&format!("oracle {peer}"), message).await;
            }
            answered =
                answered.saturating_add(weights().find(|member| member.oracle == peer).map_or(0, |member| u128::from(member.weight)));
            if briefly && answered.saturating_mul(3) > all {
                break;
            }
        }
        if all == 0 || answered.saturating_mul(3) > all {
            self.answered.fetch_max(setting.epoch, Ordering::SeqCst);
        }
    }

    /// Keeps asking, and keeps the record's sign of life. Ends with the token, or with what was found.
    pub async fn run(&self, outgoing: Outgoing, view: Arc<View>, cancel: CancellationToken) -> Result<(), DoppelgangerError> {
        let round = Duration::from_millis(self.epoch_ms / ROUNDS_OF_AN_EPOCH).max(SHORTEST_ROUND);
        let mut found = self.found.subscribe();
        let rounds = async {
            let mut round = tokio::time::interval(round);
            loop {
                round.tick().await;
                if let Err(error) = self.signer.protection().alive(now_ms()).await {
                    warn!(%error, "a restart will listen before it signs");
                }
                if let Some(frame) = view.newest_frame() {
                    self.ask(&outgoing, &frame, false).await;
                }
            }
        };
        tokio::select! {
            () = cancel.cancelled() => Ok(()),
            () = rounds => Ok(()),
            Ok(found) = found.wait_for(Option::is_some) => {
                let Some((peer, Statement { kind, epoch, view: of_view, .. })) = found.clone() else { return Ok(()) };
                let through = view.newest_frame().map_or(epoch, |frame| frame.setting.epoch.max(epoch));
                Err(DoppelgangerError::Found { peer, kind, epoch, view: of_view, through })
            }
        }
    }
}

/// Which oracle's, for people.
pub fn named(oracle: Option<OracleId>) -> String {
    oracle.map_or_else(|| "a peer".to_owned(), |oracle| format!("a message in the name of oracle {oracle}"))
}
