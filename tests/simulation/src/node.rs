//! One oracle: the production state machine in a synchronous shell.
//!
//! The order of effects is that of the node's driver: an input is on disk before it is applied; a statement is recorded before it is
//! signed, logged before it is sent; a restart replays the log through the same code and says again what it had said.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use assay_core::bls::{Domain, SecretKey};
use assay_core::epoch::{BitVote, Close, Effect, Input, ReportSignature, SignedBitVote, Wish, wish_message};
use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use assay_core::observation::{Commit, Reveal, SignedCommit};
use assay_core::report::{Certificate, Ledger, Outcome, Setting, signing_message};
use assay_proto::oracle_convert::{LogEntry, Message, decode_certificate, encode_certificate};
use bytes::Bytes;

use crate::adversary::{self, Adversary};
use crate::chain::Rpc;
use crate::coverage::Branch;
use crate::disk::{Certified, Disk, Kind, Op, Stop, When};
use crate::env::{Delivery, Env, Event, Fetch};
use crate::measure::{Bend, Measured, measure};
use crate::memo::{ParcelId, Refusal};
use crate::settle::Posting;

pub const TICK_MS: u64 = 100;
pub const POLL_MS: u64 = 500;
/// Behind all who were there when a report was certified.
pub const LATE_STAGE: u64 = 4;

/// How soon observations are offered again to a log that did not take them.
const LOG_AGAIN_MS: u64 = 250;

/// Observations of an epoch while they are not known to be in the log.
struct Unlogged {
    measured: Measured,
    entry: Bytes,
    asked_ms: u64,
}

/// An open epoch.
pub struct Running {
    pub setting: Rc<Setting>,
    pub close: Close,
    pub parent: Option<Hash32>,
    pub ledger: Option<Rc<Ledger>>,
    pub observed: bool,
    unlogged: Option<Unlogged>,
    /// What the state machine wanted to sign in each view, in this run of the process.
    decided: BTreeMap<u64, Hash32>,
    bit_vote: Option<SignedBitVote>,
    logged: BTreeSet<[u8; 32]>,
}

pub struct Node {
    pub id: OracleId,
    pub key: SecretKey,
    pub adversary: Option<Adversary>,
    pub disk: Disk,
    pub up: bool,
    /// Counts the runs of the process.
    pub run: u32,
    /// Its clock's difference from true time.
    pub offset_ms: i64,
    pub rpc: Rpc,
    pub running: BTreeMap<u64, Running>,
    pub postings: BTreeMap<u64, Posting>,
    /// A restarted node measures from the running epoch on.
    pub measures_from: u64,
}

impl Node {
    pub fn new(id: OracleId, key: SecretKey, adversary: Option<Adversary>, offset_ms: i64) -> Self {
        Self {
            id,
            key,
            adversary,
            disk: Disk::default(),
            up: true,
            run: 0,
            offset_ms,
            rpc: Rpc::Honest,
            running: BTreeMap::new(),
            postings: BTreeMap::new(),
            measures_from: 0,
        }
    }

    /// The time on its own clock.
    pub fn local_ms(&self, env: &Env) -> u64 {
        env.now_ms.saturating_add_signed(self.offset_ms)
    }

    /// Ends the process: all that is not on disk is gone.
    pub fn kill(&mut self, env: &mut Env, down_ms: u64) {
        if !self.up {
            return;
        }
        env.trace.add(env.now_ms, format_args!("{} killed", self.id));
        self.up = false;
        self.run += 1;
        self.running.clear();
        self.postings.clear();
        env.queue.at(env.now_ms + down_ms, Event::Restart(self.id));
    }

    pub fn survive(&mut self, env: &mut Env, result: Result<(), Stop>) {
        if result == Err(Stop::Killed) {
            let down_ms = env.prng.between(200, 6_000);
            env.judge.disturbances.node(self.id, env.now_ms, env.now_ms + down_ms);
            self.kill(env, down_ms);
        }
    }

    /// Starts again: reopens what may still be closing, follows its certified reports, measures from now on.
    pub fn restart(&mut self, env: &mut Env) {
        self.up = true;
        env.trace.add(env.now_ms, format_args!("{} starts again", self.id));
        let Some(current) = env.frames.epoch_at(self.local_ms(env)) else { return };
        self.measures_from = current;
        let certified: Vec<(u64, Certified)> = self.disk.certified().map(|(epoch, certified)| (epoch, certified.clone())).collect();
        for (epoch, certified) in certified {
            let Ok(certificate) = decode_certificate(&certified.certificate) else { continue };
            let posting = Posting::new(Rc::new(certificate), certified.outcome, LATE_STAGE, self.local_ms(env));
            self.postings.insert(epoch, posting);
        }
        for epoch in current.saturating_sub(env.frames.params().valid_epochs)..=current {
            self.begin(env, epoch);
        }
        env.queue.at(env.now_ms + 1, Event::Tick(self.id, self.run));
        env.queue.at(env.now_ms + 2, Event::Poll(self.id, self.run));
    }

    /// Opens an epoch and replays what is stored of it.
    pub fn begin(&mut self, env: &mut Env, epoch: u64) {
        if !self.up || self.running.contains_key(&epoch) {
            return;
        }
        let result = self.try_begin(env, epoch);
        self.survive(env, result);
    }

    fn try_begin(&mut self, env: &mut Env, epoch: u64) -> Result<(), Stop> {
        let setting = env.frames.setting(epoch);
        let close = Close::new((*setting).clone(), Some(self.id));
        let inputs = self.disk.inputs(epoch);
        let logged = inputs.iter().map(|(_, entry)| *blake3::hash(entry).as_bytes()).collect();
        let running = Running {
            setting,
            close,
            parent: None,
            ledger: None,
            observed: false,
            unlogged: None,
            decided: BTreeMap::new(),
            bit_vote: None,
            logged,
        };
        self.running.insert(epoch, running);
        if !inputs.is_empty() {
            env.coverage.branch(Branch::Replayed);
        }
        let mut own = Vec::new();
        for (received_ms, entry) in &inputs {
            let Ok(entry) = LogEntry::decode(entry) else {
                env.judge.fail("a log can be replayed", env.now_ms, format!("{} epoch {epoch}: an entry does not parse", self.id));
                continue;
            };
            let Some(running) = self.running.get_mut(&epoch) else { return Ok(()) };
            let input = match entry {
                LogEntry::Own(reveal, commit) => {
                    running.observed = true;
                    reveal.verify(&commit, &running.setting).ok().map(|verified| Input::Observed(Box::new(verified), commit))
                }
                LogEntry::Received(message) => {
                    let parcel = env.memo.encode(&message);
                    if message.oracle() == Some(self.id) {
                        own.push((parcel, message));
                    }
                    env.memo.verify(parcel, &running.setting, &running.close).ok()
                }
            };
            if let Some(input) = input {
                self.apply(env, epoch, *received_ms, input)?;
            }
        }
        let now = self.local_ms(env);
        self.apply(env, epoch, now, Input::Tick)?;
        for (parcel, message) in own {
            self.broadcast(env, epoch, parcel, &message);
        }
        Ok(())
    }

    pub fn tick(&mut self, env: &mut Env) {
        let now = self.local_ms(env);
        // Before its end an epoch has nothing to decide by time.
        let open = self.running.iter().filter(|(_, running)| !running.close.is_settled() && now >= running.setting.end_ms());
        for epoch in open.map(|(epoch, _)| *epoch).collect::<Vec<_>>() {
            let result = self.log_observations(env, epoch).and_then(|()| self.apply(env, epoch, now, Input::Tick));
            self.survive(env, result);
        }
    }

    /// Measures the epoch that is over, once.
    pub fn observe(&mut self, env: &mut Env, epoch: u64) {
        let is_due = self.up && epoch >= self.measures_from && self.adversary != Some(Adversary::Copycat);
        let Some(running) = self.running.get(&epoch).filter(|running| is_due && !running.observed) else { return };
        let setting = running.setting.clone();
        if setting.member(self.id).is_none() {
            return;
        }
        let seeds = crate::world::seeds(env, &setting, self.id);
        // The newest report that it knows tells which challenges the panel watches.
        let look = self.rpc.look(&env.chain).and_then(|view| view.finalized.state.last);
        let watch = look.and_then(|(at, digest)| self.disk.reported(at, &digest));
        let bend = self.adversary.map_or(Bend::Honest, Adversary::bend);
        let ledger = watch.as_ref().map(|outcome| &outcome.ledger);
        let Some(measured) = measure(&setting, self.id, &self.key, &seeds, ledger, &mut env.prng, bend) else { return };
        let result = self.observed(env, epoch, &measured);
        self.survive(env, result);
    }

    pub fn observed(&mut self, env: &mut Env, epoch: u64, measured: &Measured) -> Result<(), Stop> {
        let Some(running) = self.running.get_mut(&epoch).filter(|running| !running.observed) else { return Ok(()) };
        running.observed = true;
        let entry = LogEntry::Own(Box::new(measured.verified.reveal.clone()), measured.commit).encode();
        running.unlogged = Some(Unlogged { measured: measured.clone(), entry, asked_ms: 0 });
        env.judge.observed(epoch, self.id, measured);
        self.log_observations(env, epoch)
    }

    /// Applies our observations once they are in the log; a log that failed is asked again.
    fn log_observations(&mut self, env: &mut Env, epoch: u64) -> Result<(), Stop> {
        let now = self.local_ms(env);
        let Some(running) = self.running.get_mut(&epoch) else { return Ok(()) };
        let Some(unlogged) = running.unlogged.take_if(|unlogged| now >= unlogged.asked_ms + LOG_AGAIN_MS) else { return Ok(()) };
        let digest = *blake3::hash(&unlogged.entry).as_bytes();
        match self.disk.append(epoch, now, &unlogged.entry, digest) {
            Ok(_) => {
                let Measured { verified, commit } = unlogged.measured;
                self.apply(env, epoch, now, Input::Observed(Box::new((*verified).clone()), commit))
            }
            Err(Stop::Killed) => Err(Stop::Killed),
            Err(_) => {
                env.coverage.branch(Branch::AskedAgain);
                running.unlogged = Some(Unlogged { asked_ms: now, ..unlogged });
                Ok(())
            }
        }
    }

    /// A peer's bytes arrive. Returns whether the sender is done with them.
    pub fn deliver(&mut self, env: &mut Env, from: OracleId, parcel: ParcelId) -> bool {
        let Some(message) = env.memo.parcel(parcel).message.clone() else {
            env.coverage.branch(Branch::BytesRefused);
            return true;
        };
        let epoch = message.epoch();
        adversary::overhear(self, env, epoch, &message);
        let Some(running) = self.running.get(&epoch) else { return false };
        let input = match env.memo.verify(parcel, &running.setting, &running.close) {
            Ok(input) => input,
            Err(Refusal::NotYet) => {
                env.coverage.branch(Branch::RevealWithoutCommit);
                return false;
            }
            Err(Refusal::ForGood) => {
                env.coverage.branch(Branch::StatementRefused);
                return true;
            }
        };
        if let Input::Reveal(verified) = &input {
            env.judge.revealed(epoch, verified);
        }
        for proof in running.close.misbehaviour(&input) {
            env.coverage.branch(Branch::MisbehaviourProven);
            env.judge.proven(&proof, &running.setting, env.now_ms);
        }
        if !running.close.is_news(&input) {
            env.coverage.branch(Branch::NoNews);
            return true;
        }
        let now = self.local_ms(env);
        let (entry, digest) = (env.memo.parcel(parcel).entry.clone(), env.memo.parcel(parcel).entry_digest);
        env.trace.add(env.now_ms, format_args!("{} takes {} of {epoch} from {from}", self.id, message.name()));
        let result = match self.disk.append(epoch, now, &entry, digest) {
            Ok(is_new) => {
                if !is_new {
                    env.coverage.branch(Branch::KnownToTheLogAlone);
                }
                self.apply(env, epoch, now, input).map(|()| true)
            }
            Err(Stop::Killed) => Err(Stop::Killed),
            Err(_) => Ok(false),
        };
        self.survive(env, result.map(|_| ()));
        result == Ok(true)
    }

    /// Steps, and does what follows; our own signatures are inputs of their own.
    pub fn apply(&mut self, env: &mut Env, epoch: u64, now: u64, input: Input) -> Result<(), Stop> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(running) = self.running.get_mut(&epoch) else { return Ok(()) };
            let is_wish = matches!(input, Input::Wish(_));
            if let Input::Wish(wish) = &input {
                env.judge.wished(epoch, wish.get().view, wish.get().oracle, self.id);
            }
            let view = running.close.view();
            let effects = running.close.step(now, input);
            if running.close.view() > view {
                env.coverage.branch(Branch::ViewChanged);
                env.judge.entered(&running.setting, running.close.view(), self.id, env.now_ms);
                env.trace.add(env.now_ms, format_args!("{} enters view {} of {epoch}", self.id, running.close.view()));
            }
            for effect in effects {
                if is_wish && matches!(effect, Effect::SignWish { .. }) {
                    env.coverage.branch(Branch::WishAmplified);
                }
                match self.effect(env, epoch, now, effect) {
                    Ok(own) => inputs.extend(own),
                    Err(Stop::Killed) => return Err(Stop::Killed),
                    Err(Stop::Refused) => env.coverage.branch(Branch::RefusedByProtection),
                    Err(Stop::Failed) => env.coverage.branch(Branch::AskedAgain),
                }
            }
        }
        Ok(())
    }

    fn effect(&mut self, env: &mut Env, epoch: u64, now: u64, effect: Effect) -> Result<Option<Input>, Stop> {
        let (message, assembled) = match effect {
            Effect::SignCommit(commit) => (Message::Commit(self.sign_commit(env, commit)?), None),
            Effect::SendReveal(verified) => {
                env.disclosed(self.id, epoch);
                let message = Message::Reveal(Box::new(verified.reveal.clone()));
                let parcel = env.memo.encode(&message);
                env.memo.note_reveal(parcel, &verified);
                (message, Some(Input::Reveal(verified)))
            }
            Effect::SignBitVote(vote) => (Message::BitVote(self.bit_vote(env, epoch, vote)?), None),
            Effect::SignReport { view, outcome } => {
                let outcome: Rc<Outcome> = Rc::from(outcome);
                let digest = outcome.ledger.digest;
                if let Some(running) = self.running.get_mut(&epoch) {
                    env.judge.decided(self.id, view, running.decided.entry(view).or_insert(digest), &digest, env.now_ms);
                }
                self.disk.put_candidate(&outcome)?;
                env.judge.computed(&outcome);
                (Message::Signature(self.sign_report(env, epoch, view, digest)?), None)
            }
            Effect::SignWish { view } => (Message::Wish(self.sign_wish(env, epoch, view)), None),
            // Checked below as its receivers will check it.
            Effect::SendProposal(proposal) => (Message::Proposal(Box::new(proposal.into_inner())), None),
            Effect::FetchReveal { oracle, commit, from } => {
                env.coverage.branch(Branch::RevealFetched);
                if self.running.get(&epoch).is_some_and(|running| running.close.commit(oracle, &commit).is_none()) {
                    env.coverage.branch(Branch::CommitFetched);
                }
                let fetch = Fetch { by: self.id, run: self.run, epoch, oracle, commit, from: Rc::new(from), attempt: 0 };
                env.queue.at(env.now_ms, Event::Fetch(fetch));
                return Ok(None);
            }
            Effect::Certified(certificate, outcome) => {
                let digest = outcome.ledger.digest;
                self.hand_over(env, epoch, *certificate, *outcome)?;
                return Ok(Some(Input::HandedOver(digest)));
            }
        };
        let Some(running) = self.running.get(&epoch) else { return Ok(None) };
        let parcel = env.memo.encode(&message);
        // Our own message is an input like any other.
        let Ok(input) = assembled.map_or_else(|| env.memo.verify(parcel, &running.setting, &running.close), Ok) else {
            env.judge.fail("own statements verify", env.now_ms, format!("{}: {}", self.id, message.name()));
            return Ok(None);
        };
        // Write before speak.
        let digest = env.memo.parcel(parcel).entry_digest;
        if !running.logged.contains(&digest) {
            let entry = env.memo.parcel(parcel).entry.clone();
            self.disk.log(epoch, now, &entry, digest)?;
        }
        self.disk.moment(Op::Send, When::Before)?;
        self.broadcast(env, epoch, parcel, &message);
        self.disk.moment(Op::Send, When::After)?;
        Ok(Some(input))
    }

    fn hand_over(&mut self, env: &mut Env, epoch: u64, certificate: Certificate, outcome: Outcome) -> Result<(), Stop> {
        let outcome = Rc::new(outcome);
        let certified = Certified { certificate: encode_certificate(&certificate), outcome: outcome.clone() };
        self.disk.put_outcome(epoch, certified)?;
        env.judge.computed(&outcome);
        env.trace.add(
            env.now_ms,
            format_args!("{} holds a certificate of {epoch}, view {}, {}", self.id, certificate.report.view, outcome.ledger.digest),
        );
        let message = Message::Certificate(Box::new(certificate.clone()));
        let parcel = env.memo.encode(&message);
        self.broadcast(env, epoch, parcel, &message);
        let Some(running) = self.running.get(&epoch) else { return Ok(()) };
        let transmitters = running.close.transmitters();
        let place = transmitters.iter().position(|oracle| *oracle == self.id).unwrap_or(transmitters.len());
        let stage = u64::from((place + 1).ilog2());
        let posting = Posting::new(Rc::new(certificate), outcome, stage, self.local_ms(env));
        self.postings.insert(epoch, posting);
        Ok(())
    }

    /// To every peer; what a liar makes of it goes its own ways.
    pub fn broadcast(&mut self, env: &mut Env, epoch: u64, parcel: ParcelId, message: &Message) {
        env.judge.said(message);
        if message.oracle() == Some(self.id) {
            let is_logged = self.disk.is_logged(epoch, env.memo.parcel(parcel).entry_digest);
            env.judge.left(self.id, message.name(), is_logged, env.now_ms);
        }
        if self.adversary.is_some() {
            for (to, parcel) in adversary::distort(self, env, epoch, parcel, message) {
                self.send_to(env, epoch, to, parcel);
            }
            return;
        }
        env.trace.add(env.now_ms, format_args!("{} says {} of {epoch}", self.id, message.name()));
        let setting = env.frames.setting(epoch);
        for member in &setting.members {
            self.send_to(env, epoch, member.oracle, parcel);
        }
    }

    pub fn send_to(&self, env: &mut Env, epoch: u64, to: OracleId, parcel: ParcelId) {
        if to != self.id {
            let deadline_ms = env.frames.valid_until_s(epoch) * 1_000;
            env.send(Delivery { from: self.id, run: self.run, to, parcel, attempt: 0, deadline_ms });
        }
    }

    fn protect(&mut self, env: &mut Env, kind: Kind, epoch: u64, view: u64, digest: &Hash32) -> Result<(), Stop> {
        if self.adversary.is_some() {
            return Ok(());
        }
        self.disk.protect(kind, epoch, view, digest)?;
        env.judge.signed(self.id, kind, epoch, view, digest, env.now_ms);
        Ok(())
    }

    fn sign_commit(&mut self, env: &mut Env, commit: Commit) -> Result<SignedCommit, Stop> {
        let instance = env.frames.setting(commit.epoch).instance;
        let digest = commit.digest(&instance);
        self.protect(env, Kind::Commit, commit.epoch, 0, &digest)?;
        Ok(SignedCommit { commit, signature: self.key.sign(Domain::Commit, &digest) })
    }

    /// Its one bit-vote of the epoch.
    fn bit_vote(&mut self, env: &mut Env, epoch: u64, vote: BitVote) -> Result<SignedBitVote, Stop> {
        if let Some(signed) = self.running.get(&epoch).and_then(|running| running.bit_vote.clone()) {
            return Ok(signed);
        }
        let digest = vote.digest(&env.frames.setting(epoch).instance);
        self.protect(env, Kind::BitVote, epoch, 0, &digest)?;
        let signed = SignedBitVote { signature: self.key.sign(Domain::BitVote, &digest), vote };
        if let Some(running) = self.running.get_mut(&epoch) {
            running.bit_vote = Some(signed.clone());
        }
        Ok(signed)
    }

    pub fn sign_report(&mut self, env: &mut Env, epoch: u64, view: u64, digest: Hash32) -> Result<ReportSignature, Stop> {
        self.protect(env, Kind::Report, epoch, view, &digest)?;
        let message = signing_message(&env.frames.setting(epoch).instance, epoch, view, &digest);
        Ok(ReportSignature { epoch, view, oracle: self.id, digest, signature: self.key.sign(Domain::Report, &message) })
    }

    pub fn sign_wish(&self, env: &mut Env, epoch: u64, view: u64) -> Wish {
        let message = wish_message(&env.frames.setting(epoch).instance, epoch, view, self.id);
        Wish { epoch, view, oracle: self.id, signature: self.key.sign(Domain::ViewWish, &message) }
    }

    /// A commit and its reveal that this node may show.
    pub fn shown(&self, epoch: u64, oracle: OracleId, commit: &Hash32) -> Option<(SignedCommit, Reveal)> {
        let close = &self.running.get(&epoch)?.close;
        Some((*close.commit(oracle, commit)?, close.reveal(oracle, commit)?.reveal.clone()))
    }
}
