//! One world: its oracles, its chain, its plan of faults, and the loop over its events.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use assay_core::beacon::fallback_seed;
use assay_core::bls::SecretKey;
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::OracleId;
use assay_core::observation::Seeds;
use assay_core::report::Setting;
use assay_proto::oracle_convert::Message;

use crate::adversary::{self, Adversary};
use crate::chain::{Chain, Revert, Rpc, Set};
use crate::checkers::{self, Judge};
use crate::coverage::{Branch, Coverage};
use crate::env::{Env, Event, Fetch, Frames, Queue, Trace, base_setting, member};
use crate::faults::{Fault, Scope};
use crate::memo::Memo;
use crate::net::Net;
use crate::node::{Node, POLL_MS, TICK_MS};
use crate::prng::Prng;
use crate::run::{Config, Liars, Strike};

/// Epochs that nodes keep open for their peers.
const KEPT_EPOCHS: usize = 8;
/// Epochs kept on disk and by the checkers.
const KEPT_ON_DISK: u64 = 16;
/// Simulated time after the end of the last epoch.
const AFTERMATH_MS: u64 = 40_000;

/// A fault, when, and whom it strikes.
struct Planned {
    fault: Fault,
    from_ms: u64,
    to_ms: u64,
    victims: Vec<OracleId>,
    skip: u32,
}

pub struct World {
    pub env: Env,
    nodes: BTreeMap<OracleId, Node>,
    plan: Vec<Planned>,
    pub config: Config,
    pub oracles: u64,
    block_ms: u64,
    calm_from: u64,
}

impl World {
    pub fn new(config: Config) -> Self {
        let mut prng = Prng::new(config.seed, "world");
        let oracles = config.size(&mut prng);
        let ids: Vec<OracleId> = (1..=oracles).map(OracleId).collect();
        let keys: BTreeMap<OracleId, SecretKey> =
            ids.iter().filter_map(|id| Some((*id, SecretKey::key_gen(&keccak([b"key", &id.0.to_be_bytes()]).0).ok()?))).collect();
        let is_weighted = prng.chance(300);
        let weights: BTreeMap<OracleId, u16> =
            ids.iter().map(|id| (*id, if is_weighted && !config.is_unweighted { 100 * prng.between(1, 3) as u16 } else { 100 })).collect();
        let sets = sets(&config, &mut prng, &ids, &keys, &weights);
        let liars = liars(&config, &mut prng, &sets);
        let block_ms = 1_000 * prng.between(1, 2);
        let finality = prng.between(2, 4) as usize;
        let genesis_s = sets[0].members.genesis_s;
        let mut judge = Judge::new(liars.keys().copied().collect());
        let mut nodes = BTreeMap::new();
        for id in &ids {
            let offset_ms = prng.between(0, 250) as i64 - 125;
            judge.clocks_ms.insert(*id, offset_ms);
            nodes.insert(*id, Node::new(*id, keys[id].clone(), liars.get(id).copied(), offset_ms));
        }
        let mut env = Env {
            now_ms: genesis_s * 1_000,
            prng: Prng::new(config.seed, "events"),
            queue: Queue::default(),
            net: Net::default(),
            chain: Chain::new(genesis_s, finality, sets.clone()),
            frames: Frames::new(config.seed, sets),
            memo: Memo::default(),
            trace: Trace::new(config.is_traced),
            coverage: Coverage::default(),
            judge,
            oracles: ids,
            liars,
            beacon_late: BTreeMap::new(),
            flood: BTreeMap::new(),
        };
        let calm_from = config.epochs.saturating_sub(config.calm_epochs);
        let mut plan = plan(&mut prng, &mut env, &config.faults, calm_from);
        plan.extend(config.script.iter().map(scripted));
        let mut world = Self { env, nodes, plan, config, oracles, block_ms, calm_from };
        world.schedule();
        world
    }

    fn schedule(&mut self) {
        let queue = &mut self.env.queue;
        for (at, planned) in self.plan.iter().enumerate() {
            queue.at(planned.from_ms, Event::FaultBegins(at));
            queue.at(planned.to_ms, Event::FaultEnds(at));
        }
        let start_ms = self.env.now_ms;
        queue.at(start_ms, Event::Begin(0));
        queue.at(start_ms + self.block_ms, Event::Block);
        for id in &self.env.oracles {
            queue.at(start_ms + self.env.prng.below(TICK_MS), Event::Tick(*id, 0));
            queue.at(start_ms + self.env.prng.below(POLL_MS), Event::Poll(*id, 0));
        }
    }

    /// Runs to the end, or to the first violation.
    pub fn run(&mut self) {
        let end_ms = self.env.frames.end_ms(self.config.epochs.saturating_sub(1)) + AFTERMATH_MS;
        while let Some((at_ms, event)) = self.env.queue.pop() {
            if at_ms > end_ms || !self.env.judge.violations.is_empty() {
                break;
            }
            self.env.now_ms = at_ms.max(self.env.now_ms);
            self.event(event);
        }
        if self.env.judge.violations.is_empty() && self.config.is_live() {
            checkers::at_the_end(&mut self.env, self.config.epochs, self.calm_from, self.block_ms, self.config.loses_none);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Begin(epoch) => self.begin(epoch),
            Event::Tick(id, run) => self.at(id, run, |node, env| {
                node.tick(env);
                env.queue.at(env.now_ms + TICK_MS, Event::Tick(id, run));
            }),
            Event::Poll(id, run) => self.at(id, run, |node, env| {
                let result = node.poll(env);
                node.survive(env, result);
                env.queue.at(env.now_ms + POLL_MS, Event::Poll(id, run));
            }),
            Event::Observe(id, epoch) => self.with(id, |node, env| node.observe(env, epoch)),
            Event::Attempt(delivery) => self.at(delivery.from, delivery.run, |_, env| env.send(delivery)),
            Event::Arrive(delivery) => {
                let mut is_done = false;
                self.with(delivery.to, |node, env| is_done = node.up && node.deliver(env, delivery.from, delivery.parcel));
                // The reply may be lost like everything else.
                let is_heard = is_done && !self.env.net.delays(&mut self.env.prng, delivery.to, delivery.from).is_empty();
                if !is_heard {
                    self.env.retry(delivery);
                }
            }
            Event::Fetch(fetch) => self.at(fetch.by, fetch.run, |node, env| ask(node, env, fetch)),
            Event::FetchAsked(fetch, of) => self.with(of, |node, env| answer(node, env, &fetch)),
            Event::FetchAnswered(to, from, parcels) => self.with(to, |node, env| {
                for parcel in parcels {
                    if node.up {
                        node.deliver(env, from, parcel);
                    }
                }
            }),
            Event::ReportAsked { by, of, epoch, digest } => self.with(of, |node, env| node.give_report(env, by, epoch, &digest)),
            Event::ReportGiven { to, certificate, outcome } => self.with(to, |node, env| {
                if node.up {
                    let result = node.take_report(env, certificate.as_deref(), &outcome);
                    node.survive(env, result);
                }
            }),
            Event::Restart(id) => self.with(id, Node::restart),
            Event::Act(id, epoch, step) => self.with(id, |node, env| adversary::act(node, env, epoch, step)),
            Event::Block => self.block(),
            Event::FaultBegins(at) => self.fault_begins(at),
            Event::FaultEnds(at) => self.fault_ends(at),
        }
    }

    fn with(&mut self, id: OracleId, what: impl FnOnce(&mut Node, &mut Env)) {
        if let Some(node) = self.nodes.get_mut(&id) {
            what(node, &mut self.env);
        }
    }

    /// Only while the same run of the process lasts.
    fn at(&mut self, id: OracleId, run: u32, what: impl FnOnce(&mut Node, &mut Env)) {
        self.with(id, |node, env| {
            if node.up && node.run == run {
                what(node, env);
            }
        });
    }

    fn begin(&mut self, epoch: u64) {
        let env = &mut self.env;
        if epoch + 1 < self.config.epochs {
            env.queue.at(env.frames.start_ms(epoch + 1), Event::Begin(epoch + 1));
        }
        if epoch > 0 && env.frames.setting(epoch).set_epoch != env.frames.setting(epoch - 1).set_epoch {
            env.coverage.branch(Branch::SetChanged);
        }
        let end_ms = env.frames.end_ms(epoch);
        for node in self.nodes.values_mut() {
            node.begin(env, epoch);
            while node.running.len() > KEPT_EPOCHS {
                node.running.pop_first();
            }
            node.disk.prune(epoch.saturating_sub(KEPT_ON_DISK));
            env.queue.at(end_ms + env.prng.between(130, 300), Event::Observe(node.id, epoch));
        }
        env.memo.prune(epoch.saturating_sub(KEPT_EPOCHS as u64));
        env.judge.prune(epoch.saturating_sub(KEPT_ON_DISK));
        env.flood.retain(|at, _| *at + 1 >= epoch);
    }

    fn block(&mut self) {
        let env = &mut self.env;
        env.chain.mine(env.now_ms / 1_000);
        for (by, epoch, digest) in env.chain.mined.clone() {
            env.trace.add(env.now_ms, format_args!("mined: {epoch} {digest} by {by}"));
            let view = env.judge.view_of(epoch, &digest);
            let setting = env.frames.setting(epoch);
            let leader = view.and_then(|view| assay_core::epoch::Close::new((*setting).clone(), None).leader(view));
            if leader.is_some_and(|leader| leader != by) {
                env.coverage.branch(Branch::PostedByFollower);
            }
        }
        for (by, epoch, revert) in env.chain.reverts.clone() {
            env.trace.add(env.now_ms, format_args!("reverted: {epoch} by {by}: {revert:?}"));
            env.judge.refused(by, epoch, revert, env.now_ms);
            env.coverage.branch(match revert {
                Revert::EpochAlreadySettled => Branch::ChainRefusedSettled,
                Revert::WrongParent => Branch::ChainRefusedParent,
                Revert::ReportExpired => Branch::ChainRefusedExpired,
                _ => Branch::ChainRefusedCertificate,
            });
        }
        checkers::look(env);
        let stall_ms = self.plan.iter().filter(|p| p.fault == Fault::ChainStall && p.from_ms <= env.now_ms && env.now_ms < p.to_ms);
        let next_ms = stall_ms.map(|planned| planned.to_ms).max().unwrap_or(env.now_ms) + self.block_ms;
        env.queue.at(next_ms, Event::Block);
    }

    fn fault_begins(&mut self, at: usize) {
        let Planned { fault, from_ms, to_ms, ref victims, skip } = self.plan[at];
        let env = &mut self.env;
        env.trace.add(env.now_ms, format_args!("fault {} on {victims:?} until {to_ms}", fault.name()));
        match fault.scope() {
            // What was under way is disturbed a little longer.
            Scope::Network => env.judge.disturbances.network(from_ms, to_ms + 2_000),
            Scope::Chain => env.judge.disturbances.chain(from_ms, to_ms + 5_000),
            Scope::Node if fault.is_slight() => victims.iter().for_each(|id| env.judge.disturbances.stumble(*id, from_ms, to_ms + 2_000)),
            Scope::Node | Scope::Beacon => victims.iter().for_each(|id| env.judge.disturbances.node(*id, from_ms, to_ms + 2_000)),
        }
        // A fault that waits for an effect counts when it strikes.
        if fault.blow().is_none() {
            env.coverage.fault(fault);
        }
        match fault {
            Fault::Loss => env.net.loss_permille = env.prng.between(50, 600),
            Fault::Delay => env.net.late_ms = env.prng.between(200, 4_000),
            Fault::Duplication => env.net.doubled_permille = 500,
            Fault::Reordering => env.net.jitter_ms = 800,
            Fault::MinorityPartition | Fault::MajorityPartition | Fault::Isolation => {
                env.net.sides = victims.iter().map(|id| (*id, 1)).collect();
            }
            Fault::LinkCut => {
                for pair in victims.windows(2) {
                    env.net.cut.insert((pair[0], pair[1]));
                }
            }
            Fault::Reorg => {
                let depth = env.prng.between(1, env.chain.finality as u64 - 1) as usize;
                for epoch in env.chain.reorganise(depth) {
                    env.coverage.branch(Branch::AcceptedUndone);
                    env.trace.add(env.now_ms, format_args!("undone: {epoch}"));
                }
            }
            Fault::TransactionsLost => env.chain.pool.clear(),
            Fault::ChainStall => {}
            Fault::BeaconLateForSome | Fault::BeaconLateForAll => env.beacon_late.extend(victims.iter().map(|id| (*id, to_ms))),
            _ => {
                for id in victims.clone() {
                    let node = self.nodes.get_mut(&id);
                    if let Some(node) = node {
                        strike(node, &mut self.env, fault, to_ms, skip);
                    }
                }
            }
        }
    }

    fn fault_ends(&mut self, at: usize) {
        let Planned { fault, ref victims, .. } = self.plan[at];
        let net = &mut self.env.net;
        match fault {
            Fault::Loss => net.loss_permille = 0,
            Fault::Delay => net.late_ms = 0,
            Fault::Duplication => net.doubled_permille = 0,
            Fault::Reordering => net.jitter_ms = 0,
            Fault::MinorityPartition | Fault::MajorityPartition | Fault::Isolation => net.sides.clear(),
            Fault::LinkCut => net.cut.clear(),
            Fault::BeaconLateForSome | Fault::BeaconLateForAll => {
                for id in victims {
                    self.env.beacon_late.remove(id);
                }
            }
            _ => {}
        }
        for id in victims {
            let Some(node) = self.nodes.get_mut(id) else { continue };
            if fault.blow().is_some() {
                node.disk.disarm();
                if std::mem::take(&mut node.disk.struck) {
                    self.env.coverage.fault(fault);
                }
            }
            match fault {
                Fault::DiskFull => node.disk.full = false,
                Fault::RpcLag | Fault::RpcFrozen | Fault::RpcLies | Fault::RpcDenies | Fault::RpcDown => node.rpc = Rpc::Honest,
                _ => {}
            }
        }
    }
}

fn strike(node: &mut Node, env: &mut Env, fault: Fault, to_ms: u64, skip: u32) {
    if let Some((op, when, blow)) = fault.blow() {
        node.disk.struck = false;
        node.disk.arm(op, when, blow, skip);
        return;
    }
    match fault {
        Fault::Kill => node.kill(env, to_ms.saturating_sub(env.now_ms).max(50)),
        Fault::DiskFull => node.disk.full = true,
        Fault::ClockStep => {
            node.offset_ms = env.prng.between(0, 250) as i64 - 125;
            env.judge.clocks_ms.insert(node.id, node.offset_ms);
        }
        Fault::RpcLag => node.rpc = Rpc::Lags(env.prng.between(2, 12) as usize),
        Fault::RpcFrozen => node.rpc = Rpc::Frozen(env.chain.head()),
        Fault::RpcLies => node.rpc = Rpc::Lies,
        Fault::RpcDenies => node.rpc = Rpc::Denies,
        Fault::RpcDown => node.rpc = Rpc::Down,
        _ => {}
    }
}

/// Asks all who say that they hold a reveal and its commit, until they came.
fn ask(node: &Node, env: &mut Env, fetch: Fetch) {
    if node.running.get(&fetch.epoch).is_none_or(|r| r.close.is_settled() || r.close.reveal(fetch.oracle, &fetch.commit).is_some()) {
        return;
    }
    for of in fetch.from.iter().copied().filter(|of| *of != node.id) {
        if let Some(delay) = env.net.delays(&mut env.prng, node.id, of).first() {
            env.queue.at(env.now_ms + delay, Event::FetchAsked(fetch.clone(), of));
        }
    }
    let backoff = (50u64 << fetch.attempt.min(8)).min(10_000);
    env.queue.at(env.now_ms + backoff, Event::Fetch(Fetch { attempt: fetch.attempt + 1, ..fetch }));
}

fn answer(node: &Node, env: &mut Env, fetch: &Fetch) {
    if node.adversary == Some(Adversary::Mute) {
        return;
    }
    let Some((commit, reveal)) = node.shown(fetch.epoch, fetch.oracle, &fetch.commit).filter(|_| node.up) else { return };
    env.disclosed(reveal.oracle, fetch.epoch);
    // One reply to one question: whoever asked asks again if it is lost.
    let parcels = [Message::Commit(commit), Message::Reveal(Box::new(reveal))].map(|message| env.memo.encode(&message));
    let Some(delay) = env.net.delays(&mut env.prng, node.id, fetch.by).first().copied() else { return };
    env.queue.at(env.now_ms + delay, Event::FetchAnswered(fetch.by, node.id, parcels));
}

/// The seeds that an oracle measures an epoch under: the beacon's, or the fallback for rounds that it sees late.
pub fn seeds(env: &mut Env, setting: &Setting, oracle: OracleId) -> Seeds {
    let is_late = env.beacon_late.contains_key(&oracle);
    let round = |slot: u64| keccak([b"beacon", &setting.epoch.to_be_bytes(), &slot.to_be_bytes()]);
    let mut previous = Hash32::ZERO;
    let mut slots = Vec::new();
    for slot in 0..u64::from(setting.params.slots) {
        let seed = if is_late { fallback_seed(&previous, &setting.ref_block_hash) } else { round(slot) };
        previous = seed;
        slots.push(seed);
    }
    if is_late {
        env.coverage.branch(Branch::FallbackSeed);
    }
    Seeds { epoch: slots.first().copied().unwrap_or(Hash32::ZERO), slots, secure: !is_late }
}

/// One set for the whole run, or a second one from some epoch on.
fn sets(
    config: &Config,
    prng: &mut Prng,
    ids: &[OracleId],
    keys: &BTreeMap<OracleId, SecretKey>,
    weights: &BTreeMap<OracleId, u16>,
) -> Vec<Set> {
    let of = |ids: &[OracleId], set_epoch| {
        let members = ids.iter().map(|id| member(*id, weights[id], &keys[id])).collect();
        Rc::new(base_setting(members, config.providers, set_epoch))
    };
    let first = Set { set_epoch: 1, since_block: 0, since_s: 0, members: of(ids, 1) };
    if ids.len() < 5 || config.epochs < 8 || !prng.chance(400) {
        return vec![first];
    }
    // Somebody joins, somebody leaves, and all others stay.
    let (before, after) = (of(&ids[..ids.len() - 1], 1), of(&ids[1..], 2));
    let since_block = prng.between(2, config.epochs / 2);
    let since_s = before.genesis_s + since_block * before.params.epoch_ms() / 1_000;
    vec![Set { members: before, ..first }, Set { set_epoch: 2, since_block, since_s, members: after }]
}

/// Who lies: less than a third of weight in every set, or as much as the run asks for.
fn liars(config: &Config, prng: &mut Prng, sets: &[Set]) -> BTreeMap<OracleId, Adversary> {
    if let Liars::These(liars) = &config.liars {
        return liars.iter().map(|(id, adversary)| (OracleId(*id), *adversary)).collect();
    }
    let mut ids: Vec<OracleId> = sets[0].members.members.iter().map(|member| member.oracle).collect();
    prng.shuffle(&mut ids);
    let mut liars = BTreeMap::new();
    for id in ids {
        let adversary = match &config.liars {
            Liars::None | Liars::These(_) => break,
            Liars::Some => prng.pick(Adversary::ALL),
            Liars::All(adversary) | Liars::Beyond(adversary, _) => *adversary,
        };
        let weight = |set: &Set| set.members.weight_of(liars.keys().chain([&id]));
        let is_allowed = match &config.liars {
            Liars::Beyond(_, permille) => sets.iter().all(|set| 1_000 * weight(set) <= permille * set.members.total_weight()),
            _ => sets.iter().all(|set| 3 * weight(set) < set.members.total_weight()),
        };
        if is_allowed {
            liars.insert(id, adversary);
        }
    }
    liars
}

/// Faults before the calm: about half of all epochs are left in peace.
fn plan(prng: &mut Prng, env: &mut Env, faults: &[Fault], calm_from: u64) -> Vec<Planned> {
    if faults.is_empty() {
        return Vec::new();
    }
    let honest: Vec<OracleId> = env.oracles.iter().copied().filter(|id| env.is_honest(*id)).collect();
    let mut plan = Vec::new();
    for epoch in 0..calm_from {
        let count = if prng.chance(450) { 0 } else { prng.between(1, 4) };
        for _ in 0..count {
            let fault = prng.pick(faults);
            let end_ms = env.frames.end_ms(epoch);
            let (from_ms, length_ms) = match fault.scope() {
                Scope::Beacon => (end_ms - prng.between(5_000, 20_000), 0),
                _ => (end_ms.saturating_sub(2_000) + prng.between(0, 12_000), prng.between(500, 12_000)),
            };
            let to_ms = if fault.scope() == Scope::Beacon { end_ms + 1_000 } else { from_ms + length_ms };
            plan.push(Planned { fault, from_ms, to_ms, victims: victims(prng, env, fault, &honest), skip: 0 });
        }
    }
    plan
}

fn scripted(strike: &Strike) -> Planned {
    let Strike { fault, from_ms, to_ms, ref victims, skip } = *strike;
    Planned { fault, from_ms, to_ms, victims: victims.iter().map(|id| OracleId(*id)).collect(), skip }
}

fn victims(prng: &mut Prng, env: &mut Env, fault: Fault, honest: &[OracleId]) -> Vec<OracleId> {
    let mut all = if fault.scope() == Scope::Network { env.oracles.clone() } else { honest.to_vec() };
    prng.shuffle(&mut all);
    let third = (all.len() as u64 - 1) / 3;
    let count = match fault {
        Fault::MinorityPartition => third.max(1),
        Fault::MajorityPartition => all.len() as u64 / 2,
        Fault::LinkCut => prng.between(2, all.len() as u64),
        Fault::BeaconLateForAll => all.len() as u64,
        Fault::Isolation => 1,
        // Mostly one or two; now and then everybody.
        _ if prng.chance(100) => all.len() as u64,
        _ => prng.between(1, third.max(1)),
    };
    all.truncate(count as usize);
    if fault.scope() == Scope::Chain {
        all.clear();
    }
    all.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}
