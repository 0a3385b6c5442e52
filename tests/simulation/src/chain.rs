//! The chain: blocks, reorganisations above finality, and the settlement contract's rules of acceptance.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use assay_core::bls::{Domain, PublicKey};
use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use assay_core::report::{Certificate, Setting, StoredDigest, signing_message};

/// Why the contract refuses a report, by the name of its error.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Revert {
    WrongContext,
    EpochNotOver,
    WrongValidUntil,
    ReportExpired,
    EpochAlreadySettled,
    EarlierEpochOpen,
    WrongParent,
    BudgetExceeded,
    WrongSet,
    QuorumNotReached,
    InvalidCertificate,
}

/// What the contract stores.
#[derive(Clone, Default, Debug)]
pub struct State {
    /// Epoch and stored digest of the last accepted report.
    pub last: Option<(u64, StoredDigest)>,
    /// Full digests, which events tell.
    pub accepted: BTreeMap<u64, Hash32>,
}

#[derive(Clone, Debug)]
pub struct Block {
    pub timestamp_s: u64,
    pub state: State,
}

/// A report on its way into a block.
#[derive(Clone)]
pub struct Submission {
    pub by: OracleId,
    pub certificate: Rc<Certificate>,
}

/// A committee set in the registry.
#[derive(Clone)]
pub struct Set {
    pub set_epoch: u64,
    /// First block and second at which it is current; a report's reference block tells which set is its own.
    pub since_block: u64,
    pub since_s: u64,
    pub members: Rc<Setting>,
}

pub struct Chain {
    pub blocks: Vec<Block>,
    /// Blocks on top that make one final.
    pub finality: usize,
    /// The highest block that ever was final: it stays.
    final_height: usize,
    pub pool: Vec<Submission>,
    pub sets: Vec<Set>,
    genesis_s: u64,
    /// Certificates whose aggregate was checked: a pairing each, the same for every node that posts it.
    checked: BTreeMap<(Hash32, [u8; 32], [u8; 48]), bool>,
    /// Epochs settled in each block that is not final, to know who was first.
    pub reverts: Vec<(OracleId, u64, Revert)>,
    pub mined: Vec<(OracleId, u64, Hash32)>,
}

impl Chain {
    pub fn new(genesis_s: u64, finality: usize, sets: Vec<Set>) -> Self {
        let first = Block { timestamp_s: genesis_s.saturating_sub(60), state: State::default() };
        Self {
            blocks: vec![first],
            finality,
            final_height: 0,
            pool: Vec::new(),
            sets,
            genesis_s,
            checked: BTreeMap::new(),
            reverts: Vec::new(),
            mined: Vec::new(),
        }
    }

    pub fn head(&self) -> usize {
        self.blocks.len() - 1
    }

    /// The newest final block as seen from `head`.
    pub fn finalized(&self, head: usize) -> &Block {
        let own = head.saturating_sub(self.finality);
        &self.blocks[if head == self.head() { own.max(self.final_height) } else { own }]
    }

    pub fn submit(&mut self, submission: Submission) {
        self.pool.push(submission);
    }

    /// Makes a block out of the pool. Every submission is executed once; the contract takes it or reverts.
    pub fn mine(&mut self, now_s: u64) {
        let previous = &self.blocks[self.head()];
        let timestamp_s = now_s.max(previous.timestamp_s + 1);
        let mut state = previous.state.clone();
        self.reverts.clear();
        self.mined.clear();
        for submission in std::mem::take(&mut self.pool) {
            let epoch = submission.certificate.report.epoch;
            match self.execute(&mut state, timestamp_s, &submission.certificate) {
                Ok(digest) => self.mined.push((submission.by, epoch, digest)),
                Err(revert) => self.reverts.push((submission.by, epoch, revert)),
            }
        }
        self.blocks.push(Block { timestamp_s, state });
        self.final_height = self.final_height.max(self.head().saturating_sub(self.finality));
    }

    /// Drops blocks above finality. Returns the epochs whose acceptance is undone.
    pub fn reorganise(&mut self, depth: usize) -> BTreeSet<u64> {
        let depth = depth.min(self.head() - self.final_height);
        let before: BTreeSet<u64> = self.blocks[self.head()].state.accepted.keys().copied().collect();
        self.blocks.truncate(self.blocks.len() - depth);
        let after = &self.blocks[self.head()].state.accepted;
        before.into_iter().filter(|epoch| !after.contains_key(epoch)).collect()
    }

    /// `SlaSettlement.submitReport`.
    fn execute(&mut self, state: &mut State, timestamp_s: u64, certificate: &Certificate) -> Result<Hash32, Revert> {
        let report = &certificate.report;
        let own = self.sets[0].members.clone();
        if report.chain_id != own.instance.chain_id
            || report.settlement != own.instance.settlement
            || report.params_hash != own.params.hash()
        {
            return Err(Revert::WrongContext);
        }
        let length_s = own.params.epoch_ms() / 1_000;
        let ends_at = self.genesis_s + (report.epoch + 1) * length_s;
        let predecessor_until = self.genesis_s + (report.epoch + own.params.valid_epochs) * length_s;
        let valid_until = predecessor_until + length_s;
        if timestamp_s < ends_at {
            return Err(Revert::EpochNotOver);
        }
        if report.valid_until != valid_until {
            return Err(Revert::WrongValidUntil);
        }
        if timestamp_s > valid_until {
            return Err(Revert::ReportExpired);
        }
        let next = state.last.map_or(0, |(epoch, _)| epoch + 1);
        if report.epoch < next {
            return Err(Revert::EpochAlreadySettled);
        }
        if report.epoch != next && timestamp_s <= predecessor_until {
            return Err(Revert::EarlierEpochOpen);
        }
        let follows = match &state.last {
            None => report.parent_digest.is_zero(),
            Some((_, stored)) => stored.is_of(&report.parent_digest),
        };
        if !follows {
            return Err(Revert::WrongParent);
        }
        if report.reward_total > own.epoch_budget {
            return Err(Revert::BudgetExceeded);
        }
        let set = self.set_of(certificate, timestamp_s)?;
        let digest = report.digest();
        self.check(certificate, &digest, &set.members)?;
        state.last = Some((report.epoch, StoredDigest::of(&digest)));
        state.accepted.insert(report.epoch, digest);
        Ok(digest)
    }

    /// `_checkCertificate` and `_headerBefore`: the current set, or the one before if the report was under way when that one came.
    fn set_of(&self, certificate: &Certificate, timestamp_s: u64) -> Result<Set, Revert> {
        let report = &certificate.report;
        let current = self.sets.iter().rev().find(|set| set.since_s <= timestamp_s).ok_or(Revert::WrongSet)?;
        if report.set_epoch == current.set_epoch {
            return Ok(current.clone());
        }
        let length_s = current.members.params.epoch_ms() / 1_000;
        let starts_at = self.genesis_s + report.epoch * length_s;
        let is_under_way = report.ref_block < current.since_block && starts_at < current.since_s + length_s;
        let before = self.sets.iter().find(|set| set.set_epoch + 1 == current.set_epoch);
        before.filter(|set| report.set_epoch == set.set_epoch && is_under_way).cloned().ok_or(Revert::WrongSet)
    }

    /// Weight by the contract's own arithmetic, then the aggregate.
    fn check(&mut self, certificate: &Certificate, digest: &Hash32, setting: &Setting) -> Result<(), Revert> {
        let (mut signed, mut total, mut keys) = (0u64, 0u64, Vec::new());
        for (at, member) in setting.members.iter().enumerate() {
            total += u64::from(member.weight);
            if certificate.signers[at / 8] & (1 << (at % 8)) != 0 {
                signed += u64::from(member.weight);
                keys.push(member.key);
            }
        }
        if keys.is_empty() || certificate.signer_bits().any(|bit| bit >= setting.members.len()) {
            return Err(Revert::InvalidCertificate);
        }
        if 3 * signed <= 2 * total {
            return Err(Revert::QuorumNotReached);
        }
        let key = (*digest, certificate.signers, certificate.signature.to_compressed());
        let report = &certificate.report;
        let holds = self.checked.entry(key).or_insert_with(|| {
            let message = signing_message(&setting.instance, report.epoch, report.view, digest);
            PublicKey::aggregate(&keys).is_ok_and(|key| key.verify(Domain::Report, &message, &certificate.signature).is_ok())
        });
        if *holds { Ok(()) } else { Err(Revert::InvalidCertificate) }
    }
}

/// What one oracle's RPC endpoint shows of the chain.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Rpc {
    #[default]
    Honest,
    /// So many blocks behind.
    Lags(usize),
    /// Stands still at this height.
    Frozen(usize),
    /// Calls the newest block final.
    Lies,
    /// Denies the last accepted report, in a later time.
    Denies,
    Down,
}

/// A look at the chain through an endpoint.
pub struct View {
    pub latest: Block,
    pub finalized: Block,
}

/// So much later a denying endpoint claims it is: the epoch it denies would be over, the next would not.
const DENIED_S: u64 = 55;

impl Rpc {
    pub fn look(&self, chain: &Chain) -> Option<View> {
        let head = match self {
            Self::Honest | Self::Lies | Self::Denies => chain.head(),
            Self::Lags(blocks) => chain.head().saturating_sub(*blocks),
            Self::Frozen(height) => chain.head().min(*height),
            Self::Down => return None,
        };
        let latest = chain.blocks[head].clone();
        let finalized = match self {
            Self::Lies => latest.clone(),
            Self::Denies => denied(chain.finalized(head)),
            _ => chain.finalized(head).clone(),
        };
        Some(View { latest, finalized })
    }
}

fn denied(block: &Block) -> Block {
    let mut state = block.state.clone();
    state.accepted.pop_last();
    state.last = state.accepted.last_key_value().map(|(epoch, digest)| (*epoch, StoredDigest::of(digest)));
    let timestamp_s = block.timestamp_s + DENIED_S;
    Block { timestamp_s, state }
}
