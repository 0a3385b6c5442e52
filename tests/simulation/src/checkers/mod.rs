//! The invariants, each in a module of its own. They look on from outside: no node knows of them.

mod disturbances;
mod liveness;
mod misbehaviour;
mod money;
mod order;
mod pay;
mod providers;
mod reports;
mod secrecy;
mod signing;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use assay_core::epoch::{Basis, Offence};
use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use assay_core::observation::VerifiedReveal;
use assay_core::report::Outcome;
use assay_proto::oracle_convert::Message;

use crate::coverage::Branch;
use crate::disk::Kind;
use crate::env::Env;
use crate::measure::Measured;

pub use disturbances::Disturbances;
pub use liveness::at_the_end;

/// The first thing that went wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What happened.
    pub detail: String,
    /// Simulated time, ms.
    pub at_ms: u64,
}

type Held = BTreeSet<(OracleId, Hash32)>;

/// All that was said and computed in one epoch, by anybody.
#[derive(Default)]
struct Record {
    outcomes: BTreeMap<Hash32, Rc<Outcome>>,
    bases: BTreeMap<Hash32, Basis>,
    /// Bit-votes of honest oracles.
    votes: BTreeMap<OracleId, Held>,
    reveals: BTreeMap<(OracleId, Hash32), Rc<VerifiedReveal>>,
    /// At which node it is known which view who wished for.
    wishes: BTreeSet<(OracleId, u64, OracleId)>,
}

/// What the chain accepted, once it is final.
#[derive(Clone, Copy)]
pub struct Accepted {
    pub digest: Hash32,
    /// Second of its block.
    pub at_s: u64,
}

#[derive(Default)]
pub struct Judge {
    pub violations: Vec<Violation>,
    pub disturbances: Disturbances,
    pub accepted: BTreeMap<u64, Accepted>,
    /// Clocks of honest oracles, as differences from true time.
    pub clocks_ms: BTreeMap<OracleId, i64>,
    liars: BTreeSet<OracleId>,
    statements: BTreeMap<(OracleId, Kind, u64, u64), Hash32>,
    proofs: BTreeSet<(OracleId, Offence, u64)>,
    records: BTreeMap<u64, Record>,
    unallocated: u128,
}

impl Judge {
    pub fn new(liars: BTreeSet<OracleId>) -> Self {
        Self { liars, ..Self::default() }
    }

    pub fn fail(&mut self, invariant: &'static str, at_ms: u64, detail: String) {
        self.violations.push(Violation { invariant, detail, at_ms });
    }

    /// An oracle finished measuring.
    pub fn observed(&mut self, epoch: u64, oracle: OracleId, measured: &Measured) {
        let key = (oracle, measured.verified.commit_digest);
        self.record(epoch).reveals.insert(key, measured.verified.clone());
    }

    /// Somebody computed an outcome.
    pub fn computed(&mut self, outcome: &Rc<Outcome>) {
        let (epoch, digest) = (outcome.report.epoch, outcome.ledger.digest);
        let known = self.record(epoch).outcomes.entry(digest).or_insert_with(|| outcome.clone());
        if **known != **outcome {
            self.fail(reports::IDENTICAL, 0, format!("two outcomes of {epoch} with digest {digest} differ"));
        }
    }

    /// Somebody is about to tell its peers.
    pub fn said(&mut self, message: &Message) {
        match message {
            Message::Proposal(proposal) => {
                let bases = &mut self.record(proposal.epoch).bases;
                bases.entry(proposal.report_digest).or_insert_with(|| proposal.basis.clone());
            }
            Message::BitVote(signed) if !self.liars.contains(&signed.vote.oracle) => {
                let held = signed.vote.held.iter().copied().collect();
                self.record(signed.vote.epoch).votes.insert(signed.vote.oracle, held);
            }
            _ => {}
        }
    }

    /// A reveal that a node holds: the checkers recompute reports from what is on the network.
    pub fn revealed(&mut self, epoch: u64, verified: &VerifiedReveal) {
        let key = (verified.reveal.oracle, verified.commit_digest);
        self.record(epoch).reveals.entry(key).or_insert_with(|| Rc::new(verified.clone()));
    }

    /// Any outcome of an epoch over this parent.
    pub fn any_outcome(&self, epoch: u64, parent: &Hash32) -> Option<Rc<Outcome>> {
        let outcomes = &self.records.get(&epoch)?.outcomes;
        outcomes.values().find(|outcome| outcome.report.parent_digest == *parent).cloned()
    }

    /// The view in which a report was proposed.
    pub fn view_of(&self, epoch: u64, digest: &Hash32) -> Option<u64> {
        self.records.get(&epoch)?.outcomes.get(digest).map(|outcome| outcome.report.view)
    }

    fn record(&mut self, epoch: u64) -> &mut Record {
        self.records.entry(epoch).or_default()
    }

    pub fn prune(&mut self, epoch: u64) {
        let last = self.accepted.keys().next_back().copied().unwrap_or(0);
        self.records.retain(|at, _| *at >= epoch.min(last));
        self.statements.retain(|(_, _, at, _), _| *at >= epoch);
        self.proofs.retain(|(_, _, at)| *at >= epoch);
    }
}

/// Looks at what became final with the newest block.
pub fn look(env: &mut Env) {
    let block = env.chain.finalized(env.chain.head());
    let now: BTreeMap<u64, Hash32> = block.state.accepted.clone();
    reports::at_most_one(env, &now);
    for (epoch, digest) in now {
        if env.judge.accepted.contains_key(&epoch) {
            continue;
        }
        let at_s = env.chain.blocks.iter().find(|block| block.state.accepted.contains_key(&epoch)).map_or(0, |block| block.timestamp_s);
        env.trace.add(env.now_ms, format_args!("final: {epoch} {digest}"));
        env.coverage.branch(Branch::Accepted);
        let Some(outcome) = env.judge.records.get(&epoch).and_then(|record| record.outcomes.get(&digest)).cloned() else {
            env.judge.fail(reports::COMPUTED, env.now_ms, format!("nobody computed the accepted report {digest} of {epoch}"));
            env.judge.accepted.insert(epoch, Accepted { digest, at_s });
            continue;
        };
        let parent = env.judge.accepted.iter().next_back().map(|(_, accepted)| accepted.digest);
        env.judge.accepted.insert(epoch, Accepted { digest, at_s });
        if outcome.report.view > 0 {
            env.coverage.branch(Branch::LaterViewAccepted);
        }
        if !outcome.report.seed_secure {
            env.coverage.branch(Branch::InsecureReport);
        }
        let setting = env.frames.setting(epoch);
        reports::check(env, &setting, &outcome, parent);
        money::check(env, &setting, &outcome);
        let before = parent.and_then(|digest| env.judge.records.values().find_map(|record| record.outcomes.get(&digest)).cloned());
        providers::check(env, &setting, &outcome, before.as_deref());
        pay::check(env, &setting, &outcome);
    }
}
