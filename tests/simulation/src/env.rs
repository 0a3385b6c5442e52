//! What all nodes share: time, chance, the network, the chain, and the checkers that look on.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::rc::Rc;

use assay_core::bls::SecretKey;
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::ProviderKeys;
use assay_core::params::{Params, TOKEN};
use assay_core::report::{Certificate, Member, Outcome, ProviderTerms, Setting, StoredDigest};
use assay_core::{challenge::Kinds, claim::ClaimRoot};

use crate::adversary::Adversary;
use crate::chain::{Chain, Set};
use crate::checkers::Judge;
use crate::coverage::Coverage;
use crate::memo::{Memo, ParcelId};
use crate::net::Net;
use crate::prng::Prng;

/// Something that will happen.
pub enum Event {
    /// An epoch begins.
    Begin(u64),
    /// A node's clock ticks, in one run of its process.
    Tick(OracleId, u32),
    /// A node looks at the chain.
    Poll(OracleId, u32),
    /// A node's measurements are complete.
    Observe(OracleId, u64),
    /// A sender tries again.
    Attempt(Delivery),
    /// Bytes arrive.
    Arrive(Delivery),
    /// A node asks for a missing reveal and its commit, again and again.
    Fetch(Fetch),
    /// The question arrives at a peer.
    FetchAsked(Fetch, OracleId),
    /// A peer's answer: the commit, then the reveal.
    FetchAnswered(OracleId, OracleId, [ParcelId; 2]),
    /// A node asks for an accepted report.
    ReportAsked {
        by: OracleId,
        of: OracleId,
        epoch: u64,
        digest: StoredDigest,
    },
    /// A peer's answer.
    ReportGiven {
        to: OracleId,
        certificate: Option<Rc<Certificate>>,
        outcome: Rc<Outcome>,
    },
    /// A node starts again.
    Restart(OracleId),
    /// An adversary's moment: after the end of an epoch.
    Act(OracleId, u64, u8),
    /// The next block.
    Block,
    /// A planned fault begins or ends.
    FaultBegins(usize),
    FaultEnds(usize),
}

/// One statement on its way to one peer.
#[derive(Clone, Copy)]
pub struct Delivery {
    pub from: OracleId,
    /// The run of the sender's process in which it was queued.
    pub run: u32,
    pub to: OracleId,
    pub parcel: ParcelId,
    pub attempt: u32,
    pub deadline_ms: u64,
}

#[derive(Clone)]
pub struct Fetch {
    pub by: OracleId,
    pub run: u32,
    pub epoch: u64,
    pub oracle: OracleId,
    pub commit: Hash32,
    pub from: Rc<Vec<OracleId>>,
    pub attempt: u32,
}

/// Events in order of time; of equal times in order of planning.
#[derive(Default)]
pub struct Queue {
    events: BTreeMap<(u64, u64), Event>,
    planned: u64,
}

impl Queue {
    pub fn at(&mut self, at_ms: u64, event: Event) {
        self.planned += 1;
        self.events.insert((at_ms, self.planned), event);
    }

    pub fn pop(&mut self) -> Option<(u64, Event)> {
        self.events.pop_first().map(|((at_ms, _), event)| (at_ms, event))
    }
}

/// A hash over everything that happened, and the lines themselves when somebody wants to read them.
pub struct Trace {
    hasher: blake3::Hasher,
    line: String,
    pub lines: Option<Vec<String>>,
}

impl Trace {
    pub fn new(is_kept: bool) -> Self {
        Self { hasher: blake3::Hasher::new(), line: String::new(), lines: is_kept.then(Vec::new) }
    }

    pub fn add(&mut self, at_ms: u64, what: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a string does not fail.
        let _ = write!(self.line, "{:>9}.{:03} {what}", at_ms / 1_000, at_ms % 1_000);
        self.hasher.update(self.line.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(self.line.clone());
        }
    }

    pub fn hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}

/// The frozen values of every epoch.
pub struct Frames {
    sets: Vec<Set>,
    settings: BTreeMap<u64, Rc<Setting>>,
    seed: u64,
}

impl Frames {
    pub fn new(seed: u64, sets: Vec<Set>) -> Self {
        Self { sets, settings: BTreeMap::new(), seed }
    }

    pub fn params(&self) -> &Params {
        &self.sets[0].members.params
    }

    pub fn start_ms(&self, epoch: u64) -> u64 {
        self.sets[0].members.genesis_s * 1_000 + epoch * self.params().epoch_ms()
    }

    pub fn end_ms(&self, epoch: u64) -> u64 {
        self.start_ms(epoch + 1)
    }

    pub fn valid_until_s(&self, epoch: u64) -> u64 {
        self.start_ms(epoch + 1 + self.params().valid_epochs) / 1_000
    }

    pub fn epoch_at(&self, at_ms: u64) -> Option<u64> {
        at_ms.checked_sub(self.start_ms(0)).map(|since| since / self.params().epoch_ms())
    }

    /// The epoch's setting. Its reference block is numbered like the epoch; the set is the one that is current there.
    pub fn setting(&mut self, epoch: u64) -> Rc<Setting> {
        if let Some(setting) = self.settings.get(&epoch) {
            return setting.clone();
        }
        let set = self.sets.iter().rev().find(|set| set.since_block <= epoch).unwrap_or(&self.sets[0]);
        let ref_block_hash = keccak([b"block", &self.seed.to_be_bytes(), &epoch.to_be_bytes()]);
        let drand_round = epoch + 1;
        let setting = Rc::new(Setting { epoch, ref_block: epoch, ref_block_hash, drand_round, ..(*set.members).clone() });
        self.settings.insert(epoch, setting.clone());
        setting
    }
}

/// The committee at one set, with devnet deadlines and two slots an epoch, so that a reveal has two VRFs to check and not five.
pub fn base_setting(members: Vec<Member>, providers: u64, set_epoch: u64) -> Setting {
    let params = Params { slots: 2, slot_ms: 12_500, ..Params::devnet() };
    Setting {
        instance: Instance { chain_id: 31_337, settlement: Address([7; 20]) },
        epoch: 0,
        genesis_s: 100_000,
        params,
        kinds: Kinds::standard(),
        token: Address([8; 20]),
        epoch_budget: (100 * u128::from(providers) + 10 * members.len() as u128) * TOKEN,
        set_epoch,
        members,
        providers: (1..=providers).map(provider).collect(),
        ref_block: 0,
        ref_block_hash: Hash32::ZERO,
        drand_round: 0,
    }
}

fn provider(id: u64) -> ProviderTerms {
    ProviderTerms {
        provider: ProviderId(id),
        class_id: 100,
        keys: ProviderKeys { receipt_key: Address([50; 20]), class_id: 100, claims: ClaimRoot { hash: Hash32([1; 32]), blocks: 10 } },
        stake: 1_000 * TOKEN,
        recipient: Address([200; 20]),
    }
}

pub fn member(oracle: OracleId, weight: u16, key: &SecretKey) -> Member {
    Member {
        oracle,
        weight,
        key: key.public_key(),
        operator: Address([oracle.0 as u8; 20]),
        recipient: Address([oracle.0 as u8 ^ 0xff; 20]),
        network_group: oracle.0,
    }
}

pub struct Env {
    pub now_ms: u64,
    pub prng: Prng,
    pub queue: Queue,
    pub net: Net,
    pub chain: Chain,
    pub frames: Frames,
    pub memo: Memo,
    pub trace: Trace,
    pub coverage: Coverage,
    pub judge: Judge,
    pub oracles: Vec<OracleId>,
    pub liars: BTreeMap<OracleId, Adversary>,
    /// Oracles that see the beacon late, and until when.
    pub beacon_late: BTreeMap<OracleId, u64>,
    /// What liars tell each other: commits they flood an epoch with.
    pub flood: BTreeMap<u64, Vec<(OracleId, Hash32)>>,
}

impl Env {
    /// Sends once, now. What does not arrive is tried again while the sender runs.
    pub fn send(&mut self, delivery: Delivery) {
        let delays = self.net.delays(&mut self.prng, delivery.from, delivery.to);
        if delays.is_empty() {
            self.retry(delivery);
        }
        for delay in delays {
            self.queue.at(self.now_ms + delay, Event::Arrive(delivery));
        }
    }

    /// Plans the next attempt: 50 ms, doubled each time, at most a second.
    pub fn retry(&mut self, delivery: Delivery) {
        let backoff = (50u64 << delivery.attempt.min(5)).min(1_000);
        let at_ms = self.now_ms + backoff - self.prng.below(backoff / 4 + 1);
        if at_ms < delivery.deadline_ms {
            self.queue.at(at_ms, Event::Attempt(Delivery { attempt: delivery.attempt + 1, ..delivery }));
        }
    }

    /// An oracle's reveal leaves a node.
    pub fn disclosed(&mut self, oracle: OracleId, epoch: u64) {
        let deadline_ms = self.frames.end_ms(epoch) + self.frames.params().deadlines.commit_ms;
        self.judge.disclosed_at(oracle, epoch, self.now_ms, deadline_ms);
    }

    pub fn is_honest(&self, oracle: OracleId) -> bool {
        !self.liars.contains_key(&oracle)
    }
}
