//! A node's disk: what survives a kill, and faults before or after every effect.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use assay_core::hash::Hash32;
use assay_core::report::{Outcome, StoredDigest};
use bytes::Bytes;

/// An effect that leaves the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// An input is appended to the log.
    Append,
    /// A statement is recorded before it is signed.
    Protect,
    /// An outcome is kept before its report is signed.
    Candidate,
    /// A certified outcome is stored.
    Outcome,
    /// A statement of our own, signed already, is appended.
    Log,
    /// A statement is handed to the network.
    Send,
}

/// When a fault strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    Before,
    /// It took effect; the caller never learns.
    After,
}

/// What strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blow {
    /// The process ends.
    Kill,
    /// The call fails.
    Error,
}

/// A blow that waits for its effect.
struct Armed {
    op: Op,
    when: When,
    blow: Blow,
    /// So many such effects pass unharmed.
    skip: u32,
}

/// Why an effect did not return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    Killed,
    /// The disk failed; the node goes on.
    Failed,
    /// The signing record names another digest.
    Refused,
}

/// What can be signed once only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Commit,
    BitVote,
    Report,
}

/// A certified epoch as it is stored.
#[derive(Clone)]
pub struct Certified {
    pub certificate: Bytes,
    pub outcome: Rc<Outcome>,
}

#[derive(Default)]
pub struct Disk {
    inputs: BTreeMap<u64, Vec<(u64, Bytes)>>,
    known: BTreeSet<(u64, [u8; 32])>,
    protection: BTreeMap<(Kind, u64, u64), Hash32>,
    candidates: BTreeMap<(u64, Hash32), Rc<Outcome>>,
    outcomes: BTreeMap<u64, Certified>,
    armed: Option<Armed>,
    /// No write succeeds.
    pub full: bool,
    /// A fault struck since this was last asked.
    pub struck: bool,
}

impl Disk {
    /// Such an effect is struck, once, after `skip` of them.
    pub fn arm(&mut self, op: Op, when: When, blow: Blow, skip: u32) {
        self.armed = Some(Armed { op, when, blow, skip });
    }

    pub fn disarm(&mut self) {
        self.armed = None;
    }

    /// The moment before or after an effect.
    pub fn moment(&mut self, op: Op, when: When) -> Result<(), Stop> {
        if self.full && op != Op::Send && when == When::Before {
            return Err(Stop::Failed);
        }
        let Some(armed) = self.armed.as_mut().filter(|armed| armed.op == op && armed.when == when) else { return Ok(()) };
        if armed.skip > 0 {
            armed.skip -= 1;
            return Ok(());
        }
        let stop = if armed.blow == Blow::Kill { Stop::Killed } else { Stop::Failed };
        self.armed = None;
        self.struck = true;
        Err(stop)
    }

    /// Appends an input; `false` when it was there.
    pub fn append(&mut self, epoch: u64, received_ms: u64, entry: &Bytes, digest: [u8; 32]) -> Result<bool, Stop> {
        self.moment(Op::Append, When::Before)?;
        let is_new = self.known.insert((epoch, digest));
        if is_new {
            self.inputs.entry(epoch).or_default().push((received_ms, entry.clone()));
        }
        self.moment(Op::Append, When::After)?;
        Ok(is_new)
    }

    /// A statement of our own, between the moments of its own.
    pub fn log(&mut self, epoch: u64, now_ms: u64, entry: &Bytes, digest: [u8; 32]) -> Result<(), Stop> {
        self.moment(Op::Log, When::Before)?;
        self.append(epoch, now_ms, entry, digest)?;
        self.moment(Op::Log, When::After)
    }

    pub fn is_logged(&self, epoch: u64, digest: [u8; 32]) -> bool {
        self.known.contains(&(epoch, digest))
    }

    pub fn inputs(&self, epoch: u64) -> Vec<(u64, Bytes)> {
        self.inputs.get(&epoch).cloned().unwrap_or_default()
    }

    /// Checks and records in one call, as the signer does.
    pub fn protect(&mut self, kind: Kind, epoch: u64, view: u64, digest: &Hash32) -> Result<(), Stop> {
        self.moment(Op::Protect, When::Before)?;
        match self.protection.get(&(kind, epoch, view)) {
            Some(recorded) if recorded == digest => Ok(()),
            Some(_) => Err(Stop::Refused),
            None => {
                self.protection.insert((kind, epoch, view), *digest);
                self.moment(Op::Protect, When::After)
            }
        }
    }

    pub fn put_candidate(&mut self, outcome: &Rc<Outcome>) -> Result<(), Stop> {
        self.moment(Op::Candidate, When::Before)?;
        self.candidates.insert((outcome.report.epoch, outcome.ledger.digest), outcome.clone());
        self.moment(Op::Candidate, When::After)
    }

    pub fn put_outcome(&mut self, epoch: u64, certified: Certified) -> Result<(), Stop> {
        self.moment(Op::Outcome, When::Before)?;
        self.outcomes.insert(epoch, certified);
        self.moment(Op::Outcome, When::After)
    }

    /// A report signed or certified here.
    pub fn reported(&self, epoch: u64, digest: &StoredDigest) -> Option<Rc<Outcome>> {
        let certified = self.outcomes.get(&epoch).map(|certified| &certified.outcome);
        let kept = self.candidates.range((epoch, Hash32::ZERO)..=(epoch, Hash32([0xff; 32]))).map(|(_, outcome)| outcome);
        certified.into_iter().chain(kept).find(|outcome| digest.is_of(&outcome.ledger.digest)).cloned()
    }

    pub fn certified(&self) -> impl Iterator<Item = (u64, &Certified)> {
        self.outcomes.iter().map(|(epoch, certified)| (*epoch, certified))
    }

    /// Forgets epochs before this one.
    pub fn prune(&mut self, epoch: u64) {
        self.inputs.retain(|at, _| *at >= epoch);
        self.known.retain(|(at, _)| *at >= epoch);
        self.protection.retain(|(_, at, _), _| *at >= epoch);
        self.candidates.retain(|(at, _), _| *at >= epoch);
        self.outcomes.retain(|at, _| *at >= epoch);
    }
}
