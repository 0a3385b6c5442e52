//! The committee's driver: one actor that owns every open epoch's [`Close`].
//!
//! An input is on disk before it is applied, and applied before anything it causes is sent. After a restart the stored inputs are
//! replayed; what they cause is done again, which the signer and the peers make harmless.

mod proofs;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use assay_core::epoch::{
    BitVote, Close, Effect, Input, MessageError, Offence, SignedBitVote, verify_bit_vote, verify_commit, verify_signature, verify_wish,
};
use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use assay_core::observation::{Commit, Reveal, RevealError, SignedCommit, VerifiedReveal};
use assay_core::report::{Certificate, CertificateError, Ledger, Outcome};
use assay_daemon::persistence::{Write, durable};
use assay_proto::oracle_convert::{LogEntry, Message, encode_certificate};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::now_ms;
use crate::frame::Frame;
use crate::peers::{DeliverOutcome, Outgoing, Refusal};
use crate::signer::{Signer, SignerError};
use crate::store::{CertifiedEpoch, Store, StoreError, StoredInput};

/// How often time itself is an input.
const TICK: Duration = Duration::from_millis(50);
/// How soon observations are offered again to a log that did not take them.
const LOG_AGAIN_MS: u64 = 250;
/// Commands waiting for the actor.
const QUEUE: usize = 1_024;
/// Epochs kept in memory for peers that ask.
const KEPT_EPOCHS: usize = 8;

/// Something for the actor to do.
pub enum Command {
    /// An epoch begins.
    Begin(Arc<Frame>, oneshot::Sender<()>),
    /// Our measurements of an epoch are complete.
    Observed(Box<VerifiedReveal>, Commit),
    /// A peer's message.
    Deliver(Box<Message>, oneshot::Sender<DeliverOutcome>),
    /// A commit and the reveal that opens it.
    Opened(u64, OracleId, Hash32, oneshot::Sender<Option<(SignedCommit, Reveal)>>),
    /// The report that an epoch's must follow is decided.
    Parent(u64, Box<Ledger>),
    /// The chain has decided the epoch.
    Settled(u64),
    /// Epochs that the chain has not decided, and whether each knows its parent.
    Open(oneshot::Sender<Vec<(u64, Option<Hash32>)>>),
    /// A node's summary, for health.
    Status(oneshot::Sender<Status>),
}

/// What the actor is busy with.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The newest open epoch.
    pub epoch: Option<u64>,
    /// Its view.
    pub view: u64,
    /// The newest epoch with a certificate.
    pub last_certified: Option<u64>,
}

/// An epoch's certified report, for whoever posts it.
pub struct Certified {
    /// The frozen values.
    pub frame: Arc<Frame>,
    /// The certificate.
    pub certificate: Certificate,
    /// Everything under its roots.
    pub outcome: Outcome,
    /// In which order members post.
    pub transmitters: Vec<OracleId>,
}

/// Why an effect could not be done.
#[derive(Debug, thiserror::Error)]
enum DriveError {
    #[error(transparent)]
    Signer(#[from] SignerError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("our own message does not verify: {0}")]
    Own(#[from] MessageError),
}

/// A handle on the actor.
#[derive(Clone)]
pub struct Committee {
    commands: mpsc::Sender<Command>,
}

impl Committee {
    /// Starts the actor. Certified reports go to `certified`.
    pub fn start(
        store: Arc<dyn Store>,
        signer: Arc<Signer>,
        outgoing: Outgoing,
        certified: mpsc::Sender<Certified>,
        cancel: CancellationToken,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (commands, queue) = mpsc::channel(QUEUE);
        let actor = Actor { store, signer, outgoing, certified, running: BTreeMap::new() };
        (Self { commands }, tokio::spawn(actor.run(queue, cancel)))
    }

    /// Hands over a command; `false` when the actor has stopped.
    pub async fn send(&self, command: Command) -> bool {
        self.commands.send(command).await.is_ok()
    }

    /// Asks the actor; `None` when it has stopped.
    pub async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// Our observations of an epoch while they are not known to be in the log.
struct Unlogged {
    reveal: VerifiedReveal,
    commit: Commit,
    entry: Bytes,
    /// When the log was last asked to take them.
    asked_ms: u64,
}

struct Running {
    frame: Arc<Frame>,
    close: Close,
    parent: Option<Hash32>,
    /// We observed the epoch: once, in the log or on the way there.
    observed: bool,
    unlogged: Option<Unlogged>,
    /// What we signed as our bit-vote.
    bit_vote: Option<SignedBitVote>,
    /// Digests of what the log held when the epoch was opened: the replay asks for our own part of it again.
    logged: HashSet<[u8; 32]>,
    /// Whose misbehaviour is proven here: the first proof of its kind is enough.
    proven: BTreeSet<(OracleId, Offence)>,
}

struct Actor {
    store: Arc<dyn Store>,
    signer: Arc<Signer>,
    outgoing: Outgoing,
    certified: mpsc::Sender<Certified>,
    running: BTreeMap<u64, Running>,
}

impl Actor {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => {
                    let open: Vec<u64> = self.running.iter().filter(|(_, r)| !r.close.is_settled()).map(|(epoch, _)| *epoch).collect();
                    for epoch in open {
                        self.log_observations(epoch).await;
                        self.apply(epoch, now_ms(), Input::Tick).await;
                    }
                }
                command = queue.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => return,
                },
            }
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Begin(frame, done) => {
                self.begin(frame).await;
                // A caller that gave up waiting is no error, here and below.
                let _ = done.send(());
            }
            Command::Observed(reveal, commit) => self.observed(*reveal, commit).await,
            Command::Deliver(message, reply) => {
                let outcome = self.deliver(*message).await;
                let _ = reply.send(outcome);
            }
            Command::Opened(epoch, oracle, digest, reply) => {
                let opened = |running: &Running| {
                    let (commit, verified) = (running.close.commit(oracle, &digest)?, running.close.reveal(oracle, &digest)?);
                    Some((*commit, verified.reveal.clone()))
                };
                let _ = reply.send(self.running.get(&epoch).and_then(opened));
            }
            Command::Parent(epoch, ledger) => {
                if let Some(running) = self.running.get_mut(&epoch) {
                    running.parent = Some(ledger.digest);
                    self.apply(epoch, now_ms(), Input::Parent(ledger)).await;
                }
            }
            Command::Settled(epoch) => self.apply(epoch, now_ms(), Input::Settled).await,
            Command::Open(reply) => {
                let open = self.running.iter().filter(|(_, r)| !r.close.is_settled());
                let _ = reply.send(open.map(|(epoch, running)| (*epoch, running.parent)).collect());
            }
            Command::Status(reply) => {
                let newest = self.running.iter().next_back();
                let _ = reply.send(Status {
                    epoch: newest.map(|(epoch, _)| *epoch),
                    view: newest.map_or(0, |(_, running)| running.close.view()),
                    last_certified: self.running.iter().rev().find(|(_, r)| r.close.certificate().is_some()).map(|(epoch, _)| *epoch),
                });
            }
        }
    }

    /// Opens an epoch and replays what is stored of it.
    async fn begin(&mut self, frame: Arc<Frame>) {
        let epoch = frame.setting.epoch;
        if self.running.contains_key(&epoch) {
            return;
        }
        // Who listens first follows the epoch as one who stands beside it.
        let me = self.signer.speaks_in(epoch).then(|| self.signer.oracle());
        let close = Close::new(frame.setting.as_ref().clone(), me);
        let proven = self.proven(epoch).await;
        let running =
            Running { frame, close, parent: None, observed: false, unlogged: None, bit_vote: None, logged: HashSet::new(), proven };
        self.running.insert(epoch, running);
        match self.store.inputs(epoch).await {
            Ok(inputs) => {
                if let Some(running) = self.running.get_mut(&epoch) {
                    running.logged = inputs.iter().map(|stored| *blake3::hash(&stored.message).as_bytes()).collect();
                }
                for stored in &inputs {
                    self.replay(epoch, stored.received_ms, &stored.message).await;
                }
                self.apply(epoch, now_ms(), Input::Tick).await;
                self.repeat_own(epoch, &inputs);
            }
            Err(error) => error!(%error, epoch, "stored inputs cannot be read: taking part without them"),
        }
        while self.running.len() > KEPT_EPOCHS {
            self.running.pop_first();
        }
    }

    async fn replay(&mut self, epoch: u64, received_ms: u64, bytes: &[u8]) {
        let input = match LogEntry::decode(bytes) {
            Ok(LogEntry::Own(reveal, commit)) => {
                if let Some(running) = self.running.get_mut(&epoch) {
                    running.observed = true;
                }
                self.open_own(epoch, *reveal, commit)
            }
            Ok(LogEntry::Received(message)) => self.verify(epoch, &message).ok(),
            Err(error) => {
                error!(%error, epoch, "a stored input does not parse");
                None
            }
        };
        if let Some(input) = input {
            self.apply(epoch, received_ms, input).await;
        }
    }

    /// Says again what we had said: a peer may have missed it when we stopped.
    fn repeat_own(&self, epoch: u64, inputs: &[StoredInput]) {
        for stored in inputs {
            if let Ok(LogEntry::Received(message)) = LogEntry::decode(&stored.message)
                && message.oracle() == Some(self.signer.oracle())
            {
                self.broadcast(epoch, &message);
            }
        }
    }

    fn open_own(&self, epoch: u64, reveal: Reveal, commit: Commit) -> Option<Input> {
        let setting = &self.running.get(&epoch)?.frame.setting;
        let verified = reveal.verify(&commit, setting).ok()?;
        Some(Input::Observed(Box::new(verified), commit))
    }

    async fn observed(&mut self, reveal: VerifiedReveal, commit: Commit) {
        let epoch = commit.epoch;
        let entry = LogEntry::Own(Box::new(reveal.reveal.clone()), commit).encode();
        // Only the first set of observations of an epoch is ever committed to: a restart must not measure twice.
        let Some(running) = self.running.get_mut(&epoch).filter(|running| !running.observed) else { return };
        running.observed = true;
        running.unlogged = Some(Unlogged { reveal, commit, entry, asked_ms: 0 });
        self.log_observations(epoch).await;
    }

    /// Applies our observations once they are in the log. A log that failed is asked again: perhaps it took them and could not say so.
    async fn log_observations(&mut self, epoch: u64) {
        let now = now_ms();
        let Some(running) = self.running.get_mut(&epoch) else { return };
        let Some(unlogged) = running.unlogged.take_if(|unlogged| now >= unlogged.asked_ms.saturating_add(LOG_AGAIN_MS)) else { return };
        match durable(Write::OBSERVATION, self.store.append_input(epoch, now, &unlogged.entry)).await {
            Ok(_) => self.apply(epoch, now, Input::Observed(Box::new(unlogged.reveal), unlogged.commit)).await,
            Err(error) => {
                error!(%error, epoch, "observations could not be stored: trying again");
                running.unlogged = Some(Unlogged { asked_ms: now, ..unlogged });
            }
        }
    }

    async fn deliver(&mut self, message: Message) -> DeliverOutcome {
        let epoch = message.epoch();
        if !self.running.contains_key(&epoch) {
            return DeliverOutcome::Refused(Refusal::later(&format!("epoch {epoch} is not open here")));
        }
        if let Message::Misbehaviour(proof) = message {
            return self.accuse(epoch, *proof).await;
        }
        let input = match self.verify(epoch, &message) {
            Ok(input) => input,
            Err(refusal) => {
                self.false_observation(epoch, &message).await;
                return DeliverOutcome::Refused(refusal);
            }
        };
        for proof in self.running.get(&epoch).map(|running| running.close.misbehaviour(&input)).unwrap_or_default() {
            self.keep_proof(epoch, proof).await;
        }
        if !self.running.get(&epoch).is_some_and(|running| running.close.is_news(&input)) {
            return DeliverOutcome::Known;
        }
        let now = now_ms();
        let entry = LogEntry::Received(message).encode();
        match durable(Write::RECEIVED, self.store.append_input(epoch, now, &entry)).await {
            // News that the log knows: it took them when it said that it failed.
            Ok(_) => {
                self.apply(epoch, now, input).await;
                DeliverOutcome::Accepted
            }
            Err(error) => {
                error!(%error, epoch, "a message could not be stored and is not acknowledged");
                DeliverOutcome::Refused(Refusal::later("it cannot be stored here now"))
            }
        }
    }

    /// Checks a message against its epoch's committee.
    fn verify(&self, epoch: u64, message: &Message) -> Result<Input, Refusal> {
        let running = self.running.get(&epoch).ok_or_else(|| Refusal::later("the epoch is not open here"))?;
        let setting = &running.frame.setting;
        let refused = |error: MessageError| Refusal::from(error);
        Ok(match message {
            Message::Commit(signed) => Input::Commit(verify_commit(setting, *signed).map_err(refused)?),
            Message::Reveal(reveal) => Input::Reveal(Box::new(running.close.open((**reveal).clone()).map_err(|error| match error {
                // Perhaps its commit is still on the way.
                RevealError::Mismatch => Refusal::later("no commit with this root is held"),
                error => Refusal::invalid(error.to_string()),
            })?)),
            Message::BitVote(signed) => Input::BitVote(verify_bit_vote(setting, signed.clone()).map_err(refused)?),
            Message::Proposal(proposal) => Input::Proposal(Box::new(running.close.verify_proposal((**proposal).clone()).map_err(refused)?)),
            Message::Signature(signed) => Input::Signature(verify_signature(setting, *signed).map_err(refused)?),
            Message::Wish(wish) => Input::Wish(verify_wish(setting, *wish).map_err(refused)?),
            Message::Certificate(certificate) => {
                certificate.verify(setting).map_err(|error: CertificateError| Refusal::invalid(error.to_string()))?;
                Input::Certificate(certificate.clone())
            }
            Message::Misbehaviour(_) => return Err(Refusal::invalid("a proof changes nothing in an epoch's close".into())),
        })
    }

    /// Steps, and does what follows; our own signatures are inputs of their own.
    async fn apply(&mut self, epoch: u64, now: u64, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(running) = self.running.get_mut(&epoch) else { return };
            for effect in running.close.step(now, input) {
                match self.effect(epoch, now, effect).await {
                    Ok(own) => inputs.extend(own),
                    Err(error) => error!(%error, epoch, "not signed and not sent"),
                }
            }
        }
    }

    async fn effect(&mut self, epoch: u64, now: u64, effect: Effect) -> Result<Option<Input>, DriveError> {
        // Our own message is an input like any other. What the machine put together itself need not be verified again.
        let (message, assembled) = match effect {
            Effect::SignCommit(commit) => (Message::Commit(self.signer.sign_commit(commit).await?), None),
            Effect::SendReveal(verified) => (Message::Reveal(Box::new(verified.reveal.clone())), Some(Input::Reveal(verified))),
            Effect::SignBitVote(vote) => (Message::BitVote(self.bit_vote(epoch, vote).await?), None),
            Effect::SignReport { view, outcome } => {
                self.store.put_candidate(&outcome).await?;
                (Message::Signature(self.signer.sign_report(epoch, view, outcome.ledger.digest).await?), None)
            }
            Effect::SignWish { view } => (Message::Wish(self.signer.sign_wish(epoch, view)), None),
            Effect::SendProposal(proposal) => (Message::Proposal(Box::new(proposal.get().clone())), Some(Input::Proposal(proposal))),
            Effect::FetchReveal { oracle, commit, from } => {
                self.fetch_reveal(epoch, oracle, commit, from);
                return Ok(None);
            }
            Effect::Certified(certificate, outcome) => {
                let digest = outcome.ledger.digest;
                self.hand_over(epoch, *certificate, *outcome).await?;
                return Ok(Some(Input::HandedOver(digest)));
            }
        };
        let input = match assembled.map_or_else(|| self.verify(epoch, &message), Ok) {
            Ok(input) => input,
            Err(refusal) => {
                warn!(epoch, refusal = %refusal.text, "our own message is refused by our own rules");
                return Ok(None);
            }
        };
        // Write before speak.
        let entry = LogEntry::Received(message.clone()).encode();
        let is_logged = |running: &Running| running.logged.contains(blake3::hash(&entry).as_bytes());
        if !self.running.get(&epoch).is_some_and(is_logged) {
            durable(Write::STATEMENT, self.store.append_input(epoch, now, &entry)).await?;
        }
        self.broadcast(epoch, &message);
        Ok(Some(input))
    }

    /// Our one bit-vote of the epoch. If it could not be stored when it was signed, then it is the one to store and to send now, whatever
    /// came in since: protection would refuse another.
    async fn bit_vote(&mut self, epoch: u64, vote: BitVote) -> Result<SignedBitVote, SignerError> {
        if let Some(signed) = self.running.get(&epoch).and_then(|running| running.bit_vote.clone()) {
            return Ok(signed);
        }
        let signed = self.signer.sign_bit_vote(vote).await?;
        if let Some(running) = self.running.get_mut(&epoch) {
            running.bit_vote = Some(signed.clone());
        }
        Ok(signed)
    }

    fn broadcast(&self, epoch: u64, message: &Message) {
        let Some(running) = self.running.get(&epoch) else { return };
        let setting = &running.frame.setting;
        // Of no use to anybody once the report can no longer be accepted.
        self.outgoing.broadcast(&running.frame.peers, message, setting.valid_until_s().saturating_mul(1_000));
    }

    fn fetch_reveal(&self, epoch: u64, oracle: OracleId, commit: Hash32, from: Vec<OracleId>) {
        let Some(running) = self.running.get(&epoch) else { return };
        let peers: Vec<(OracleId, String)> =
            from.into_iter().filter_map(|peer| Some((peer, running.frame.peers.get(&peer)?.clone()))).collect();
        info!(epoch, %oracle, "fetching a reveal that counts and that is missing here, or its commit");
        self.outgoing.fetch_reveal(peers, epoch, oracle, commit);
    }

    async fn hand_over(&self, epoch: u64, certificate: Certificate, outcome: Outcome) -> Result<(), DriveError> {
        let certified = CertifiedEpoch { certificate: encode_certificate(&certificate).to_vec(), outcome: outcome.clone() };
        self.store.put_outcome(epoch, &certified).await?;
        info!(epoch, view = certificate.report.view, digest = %certificate.report.digest(), signers = certificate.signer_bits().count(), "certified");
        self.broadcast(epoch, &Message::Certificate(Box::new(certificate.clone())));
        if let Some(running) = self.running.get(&epoch) {
            let transmitters = running.close.transmitters();
            let handed = Certified { frame: running.frame.clone(), certificate, outcome, transmitters };
            if self.certified.send(handed).await.is_err() {
                warn!(epoch, "nobody posts the report: the node is stopping");
            }
        }
        Ok(())
    }
}
