//! From a certificate to an accepted report, as the node's settler does it: parents, posting in stages, and reports it missed.

use std::rc::Rc;

use assay_core::epoch::Input;
use assay_core::hash::Hash32;
use assay_core::report::{Certificate, Ledger, Outcome, StoredDigest};

use crate::adversary::Adversary;
use crate::chain::Submission;
use crate::coverage::Branch;
use crate::disk::{Certified, Stop};
use crate::env::{Env, Event};
use crate::node::Node;

/// Reports followed until they are final.
const KEPT_POSTINGS: usize = 64;

/// An epoch of which this node knows the report.
pub struct Posting {
    certificate: Rc<Certificate>,
    outcome: Rc<Outcome>,
    stage: u64,
    certified_ms: u64,
    /// When it was last put into the pool: the outbox gives it up after a while and tries again.
    sent_ms: Option<u64>,
    done: bool,
}

/// A transaction that is in no block so long after it was sent is sent again.
const RESEND_MS: u64 = 4_000;

impl Posting {
    pub fn new(certificate: Rc<Certificate>, outcome: Rc<Outcome>, stage: u64, certified_ms: u64) -> Self {
        Self { certificate, outcome, stage, certified_ms, sent_ms: None, done: false }
    }
}

/// What the final chain says.
struct Decided {
    last: Option<(u64, StoredDigest)>,
    final_s: u64,
}

impl Node {
    pub fn poll(&mut self, env: &mut Env) -> Result<(), Stop> {
        let Some(view) = self.rpc.look(&env.chain) else { return Ok(()) };
        let decided = Decided { last: view.finalized.state.last, final_s: view.finalized.timestamp_s };
        let latest = view.latest.state.clone();
        let finalized = view.finalized.state.clone();
        self.decide_parents(env, &decided)?;
        let now = self.local_ms(env);
        let stage_ms = env.frames.params().transmit_stage_ms;
        let is_private = self.adversary == Some(Adversary::PrivatePoster);
        for (epoch, posting) in self.postings.iter_mut().filter(|(_, posting)| !posting.done) {
            if let Some(accepted) = finalized.accepted.get(epoch) {
                posting.done = true;
                env.trace.add(env.now_ms, format_args!("{} sees {epoch} final: {accepted}", self.id));
                continue;
            }
            let due_ms = if is_private { 0 } else { posting.certified_ms + posting.stage * stage_ms };
            let is_expired = now / 1_000 > posting.certificate.report.valid_until;
            posting.done = is_expired;
            let is_sent = posting.sent_ms.is_some_and(|sent_ms| now < sent_ms + RESEND_MS);
            if is_expired || now < due_ms || is_sent || latest.accepted.contains_key(epoch) {
                continue;
            }
            posting.sent_ms = Some(now);
            env.trace.add(env.now_ms, format_args!("{} posts {epoch}: {}", self.id, posting.outcome.ledger.digest));
            env.chain.submit(Submission { by: self.id, certificate: posting.certificate.clone() });
        }
        while self.postings.len() > KEPT_POSTINGS {
            self.postings.pop_first();
        }
        Ok(())
    }

    /// Tells open epochs that the chain decided them, and what each must follow.
    fn decide_parents(&mut self, env: &mut Env, decided: &Decided) -> Result<(), Stop> {
        let open: Vec<(u64, Option<Hash32>)> =
            self.running.iter().filter(|(_, r)| !r.close.is_settled()).map(|(epoch, running)| (*epoch, running.parent)).collect();
        let now = self.local_ms(env);
        for (epoch, parent) in open {
            let is_over = decided.last.is_some_and(|(last, _)| last >= epoch) || decided.final_s > env.frames.valid_until_s(epoch);
            if is_over {
                self.apply(env, epoch, now, Input::Settled)?;
                continue;
            }
            let follows = match (decided.last, epoch.checked_sub(1)) {
                (Some((last, _)), Some(before)) if last == before => true,
                (_, Some(before)) => decided.final_s > env.frames.valid_until_s(before),
                (_, None) => true,
            };
            let digest = decided.last.map_or(StoredDigest(Hash32::ZERO), |(_, digest)| digest);
            if !follows || parent.is_some_and(|parent| digest.is_of(&parent)) {
                continue;
            }
            let ledger = match decided.last {
                None => Some(Ledger::default()),
                Some((last, digest)) => self.disk.reported(last, &digest).map(|outcome| outcome.ledger.clone()),
            };
            match ledger {
                Some(ledger) => self.follow(env, epoch, now, ledger)?,
                None => self.ask_report(env, decided.last),
            }
        }
        Ok(())
    }

    fn follow(&mut self, env: &mut Env, epoch: u64, now: u64, ledger: Ledger) -> Result<(), Stop> {
        let Some(running) = self.running.get_mut(&epoch) else { return Ok(()) };
        if running.parent.replace(ledger.digest).is_some() {
            env.coverage.branch(Branch::ParentChanged);
        }
        running.ledger = Some(Rc::new(ledger.clone()));
        env.trace.add(env.now_ms, format_args!("{} follows {} in {epoch}", self.id, ledger.digest));
        self.apply(env, epoch, now, Input::Parent(Box::new(ledger)))
    }

    /// An accepted report that it neither signed nor received: the members of its epoch are asked.
    fn ask_report(&mut self, env: &mut Env, last: Option<(u64, StoredDigest)>) {
        let Some((epoch, digest)) = last else { return };
        for of in env.frames.setting(epoch).members.iter().map(|member| member.oracle).filter(|of| *of != self.id) {
            if let Some(delay) = env.net.delays(&mut env.prng, self.id, of).first() {
                env.queue.at(env.now_ms + delay, Event::ReportAsked { by: self.id, of, epoch, digest });
            }
        }
    }

    /// A peer asks for a report that was signed or certified here.
    pub fn give_report(&self, env: &mut Env, by: assay_core::ids::OracleId, epoch: u64, digest: &StoredDigest) {
        let Some(mut outcome) = self.disk.reported(epoch, digest).filter(|_| self.up) else { return };
        if self.adversary == Some(Adversary::FalseArchivist) {
            env.coverage.adversary(Adversary::FalseArchivist);
            let mut bent = (*outcome).clone();
            for standing in bent.ledger.oracles.values_mut() {
                standing.cumulative += 1;
            }
            outcome = Rc::new(bent);
        }
        if let Some(delay) = env.net.delays(&mut env.prng, self.id, by).first() {
            env.queue.at(env.now_ms + delay, Event::ReportGiven { to: by, certificate: None, outcome });
        }
    }

    /// A peer's report is believed only if everything in it stands under the digest that the chain names.
    pub fn take_report(&mut self, env: &mut Env, certificate: Option<&Certificate>, outcome: &Rc<Outcome>) -> Result<(), Stop> {
        let epoch = outcome.report.epoch;
        let setting = env.frames.setting(epoch);
        let last = self.rpc.look(&env.chain).and_then(|view| view.finalized.state.last);
        let is_asked = last.is_some_and(|(at, digest)| at == epoch && digest.is_of(&outcome.report.digest()));
        let stands =
            outcome.supports(&outcome.report, &setting.token) && certificate.is_none_or(|certificate| certificate.verify(&setting).is_ok());
        if !is_asked || !stands {
            if !stands {
                env.coverage.branch(Branch::FalseReportRefused);
            }
            return Ok(());
        }
        env.coverage.branch(Branch::ReportFetched);
        self.disk.put_candidate(outcome)?;
        if let Some(certificate) = certificate {
            let bytes = assay_proto::oracle_convert::encode_certificate(certificate);
            self.disk.put_outcome(epoch, Certified { certificate: bytes, outcome: outcome.clone() })?;
        }
        Ok(())
    }
}
