//! Oracles that lie. They run the same state machine, so that they know what an honest member knows, and bend what leaves them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use assay_core::bls::Domain;
use assay_core::epoch::{Basis, BitVote, Proposal, SignedBitVote, counted_commits};
use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use assay_core::observation::{Commit, Reveal, SignedCommit};
use assay_core::report::{Certificate, Inputs, Outcome, Report, signing_message};
use assay_proto::oracle_convert::{MAX_MESSAGE_BYTES, Message};
use bytes::Bytes;

use crate::chain::Submission;
use crate::coverage::listed;
use crate::env::{Env, Event};
use crate::measure::{Bend, Measured, commit_to, measure};
use crate::memo::ParcelId;
use crate::node::Node;

listed! {
    /// What a dishonest oracle does.
    Adversary {
        /// Says nothing at all.
        Mute,
        /// Neither proposes nor signs.
        SilentLeader,
        /// Proposes two reports in one view.
        EquivocatingLeader,
        /// Leaves out a counted commit, or every vote for it that it can.
        CensoringLeader,
        /// Proposes a digest that nobody can recompute.
        InvalidLeader,
        /// Fills its proposal with commits of its own, after two others.
        CommitStuffer,
        /// Shows everybody two other commits, and votes for all of them.
        CommitFlood,
        /// Signs two commits and shows each to one half.
        TwoCommits,
        /// Reveals something else than it committed to.
        PartialReveal,
        /// Shows its reveal to some.
        SelectiveReveal,
        /// Reveals when others vote already.
        LateReveal,
        /// Measures nothing and copies the first reveal it sees.
        Copycat,
        /// Hides its commit and reveal from one.
        WithheldCommit,
        /// Signs two reports in one view.
        DoubleSigner,
        /// Votes for nothing before some, for commits that do not exist before others, and for one of them many times before the rest.
        FalseBitVote,
        /// Sends rubbish, cut and oversized messages.
        Garbage,
        /// Says again what others said.
        Replayer,
        /// Wishes for later views all the time.
        EarlyWisher,
        /// Reports that everything was bad.
        LiarBad,
        /// Reports that everything was perfect.
        LiarGood,
        /// Says that a provider was silent, and goes on saying so.
        FalseSilence,
        /// Asks nothing.
        Lazy,
        /// Keeps certificates to itself and posts them at once.
        PrivatePoster,
        /// Answers for reports it bent.
        FalseArchivist,
        /// Posts reports that nobody signed.
        Forger,
    }
}

impl Adversary {
    /// How it bends its observations.
    pub(crate) fn bend(self) -> Bend {
        match self {
            Self::LiarBad => Bend::AllBad,
            Self::LiarGood => Bend::AllGood,
            Self::FalseSilence => Bend::FalseSilence,
            Self::Lazy => Bend::Lazy,
            _ => Bend::Honest,
        }
    }
}

type Sent = Vec<(OracleId, ParcelId)>;

/// Who gets what instead of the statement.
pub fn distort(node: &mut Node, env: &mut Env, epoch: u64, parcel: ParcelId, message: &Message) -> Sent {
    let Some(adversary) = node.adversary else { return Vec::new() };
    let peers: Vec<OracleId> =
        env.frames.setting(epoch).members.iter().map(|member| member.oracle).filter(|oracle| *oracle != node.id).collect();
    let all = |parcel: ParcelId| -> Sent { peers.iter().map(|peer| (*peer, parcel)).collect() };
    let split = |a: ParcelId, b: ParcelId| -> Sent {
        peers.iter().enumerate().map(|(at, peer)| (*peer, if at % 2 == 0 { a } else { b })).collect()
    };
    let bent = match (adversary, message) {
        (Adversary::Mute, _) => Some(Vec::new()),
        (Adversary::SilentLeader, Message::Proposal(_) | Message::Signature(_) | Message::Certificate(_)) => Some(Vec::new()),
        (Adversary::EquivocatingLeader, Message::Proposal(proposal)) => {
            second_proposal(node, env, proposal).map(|second| {
                let second = env.memo.encode(&second);
                // Each gets both, half of them the second first.
                [split(parcel, second), split(second, parcel)].concat()
            })
        }
        (Adversary::CensoringLeader, Message::Proposal(proposal)) => {
            censored(node, env, proposal).map(|censored| all(env.memo.encode(&censored)))
        }
        (Adversary::InvalidLeader, Message::Proposal(proposal)) => {
            let digest = env.prng.hash32();
            let invalid = signed_proposal(node, env, proposal, proposal.basis.clone(), digest);
            Some(all(env.memo.encode(&invalid)))
        }
        (Adversary::CommitStuffer, Message::Proposal(proposal)) => {
            stuffed(node, env, proposal).map(|stuffed| all(env.memo.encode(&stuffed)))
        }
        (Adversary::CommitStuffer, Message::Commit(signed)) => {
            let (a, b) = (variant(node, env, &signed.commit, 1), variant(node, env, &signed.commit, 2));
            let (a, b) = (env.memo.encode(&Message::Commit(a)), env.memo.encode(&Message::Commit(b)));
            Some([all(a), all(b)].concat())
        }
        (Adversary::CommitFlood, Message::Commit(signed)) => {
            let mut sent = all(parcel);
            sent.clear();
            for (at, peer) in (0u64..).zip(&peers) {
                for commit in [variant(node, env, &signed.commit, 10 + 2 * at), variant(node, env, &signed.commit, 11 + 2 * at)] {
                    let digest = commit.commit.digest(&env.frames.setting(epoch).instance);
                    env.flood.entry(epoch).or_default().push((node.id, digest));
                    sent.push((*peer, env.memo.encode(&Message::Commit(commit))));
                }
            }
            Some(sent)
        }
        (Adversary::CommitFlood, Message::BitVote(signed)) => {
            let limit = 2 * env.frames.setting(epoch).members.len();
            let mut held = env.flood.get(&epoch).cloned().unwrap_or_default();
            held.sort_unstable();
            held.dedup();
            held.truncate(limit);
            let vote = voted(node, env, BitVote { held, ..signed.vote.clone() });
            Some(all(env.memo.encode(&vote)))
        }
        (Adversary::TwoCommits, Message::Commit(signed)) => {
            let second = Message::Commit(variant(node, env, &signed.commit, 1));
            Some(split(parcel, env.memo.encode(&second)))
        }
        (Adversary::PartialReveal, Message::Reveal(reveal)) => {
            let mut partial: Reveal = (**reveal).clone();
            if partial.observations.pop().is_none() {
                partial.vrfs.reverse();
            }
            Some(all(env.memo.encode(&Message::Reveal(Box::new(partial)))))
        }
        (Adversary::SelectiveReveal, Message::Reveal(_)) => {
            let share = env.prng.below(peers.len() as u64 + 1) as usize;
            Some(all(parcel).into_iter().take(share).collect())
        }
        (Adversary::LateReveal, Message::Reveal(_)) => {
            let at_ms = env.frames.end_ms(epoch) + env.frames.params().deadlines.reveal_ms + env.prng.between(100, 1_500);
            env.queue.at(at_ms, Event::Act(node.id, epoch, LATE));
            Some(Vec::new())
        }
        (Adversary::WithheldCommit, Message::Commit(_) | Message::Reveal(_)) => Some(all(parcel).into_iter().skip(1).collect()),
        (Adversary::DoubleSigner, Message::Signature(signed)) => {
            let digest = env.prng.hash32();
            node.sign_report(env, epoch, signed.view, digest).ok().map(|second| split(parcel, env.memo.encode(&Message::Signature(second))))
        }
        (Adversary::FalseBitVote, Message::BitVote(signed)) => {
            let nothing = voted(node, env, BitVote { held: vec![], ..signed.vote.clone() });
            let invented = peers.iter().map(|peer| (*peer, env.prng.hash32())).collect();
            let invented = voted(node, env, BitVote { held: invented, ..signed.vote.clone() });
            let stuffed = peers.iter().filter(|peer| env.is_honest(**peer)).take(1).map(|peer| (*peer, Hash32([7; 32])));
            let held = stuffed.flat_map(|key| vec![key; 2 * peers.len()]).collect();
            let stuffed = voted(node, env, BitVote { held, ..signed.vote.clone() });
            let said = [nothing, invented, stuffed].map(|message| env.memo.encode(&message));
            Some(peers.iter().zip(said.into_iter().cycle()).map(|(peer, parcel)| (*peer, parcel)).collect())
        }
        (Adversary::Garbage, Message::Commit(_)) => Some([all(parcel), garbage(env, epoch, parcel, &peers)].concat()),
        (Adversary::Replayer, _) => {
            let old = env.prng.below(parcel as u64 + 1) as ParcelId;
            Some([all(parcel), all(old)].concat())
        }
        (Adversary::EarlyWisher, Message::Commit(_)) => {
            for (step, after_ms) in (1u8..).zip([100, 4_300, 6_100, 7_000]) {
                env.queue.at(env.frames.end_ms(epoch) + after_ms, Event::Act(node.id, epoch, step));
            }
            None
        }
        (Adversary::PrivatePoster, Message::Certificate(_)) => Some(Vec::new()),
        (Adversary::Forger, Message::Signature(_)) => {
            env.queue.at(env.now_ms, Event::Act(node.id, epoch, FORGE));
            None
        }
        (Adversary::LiarBad | Adversary::LiarGood | Adversary::FalseSilence | Adversary::Lazy, Message::Reveal(_)) => Some(all(parcel)),
        _ => None,
    };
    if bent.is_some() {
        env.coverage.adversary(adversary);
    }
    bent.unwrap_or_else(|| all(parcel))
}

const LATE: u8 = 50;
const FORGE: u8 = 51;

/// A moment that the adversary planned.
pub fn act(node: &mut Node, env: &mut Env, epoch: u64, step: u8) {
    let peers: Vec<OracleId> = env.frames.setting(epoch).members.iter().map(|member| member.oracle).collect();
    let Some(running) = node.running.get(&epoch) else { return };
    let parcel = match step {
        LATE => {
            let own = running.close.reveals().find(|verified| verified.reveal.oracle == node.id);
            let Some(own) = own else { return };
            env.memo.encode(&Message::Reveal(Box::new(own.reveal.clone())))
        }
        FORGE => {
            let Some(forged) = forged(node, env, epoch) else { return };
            env.coverage.adversary(Adversary::Forger);
            for report in misplaced(env, &forged.report) {
                let certificate = Certificate { report, ..forged.clone() };
                env.chain.submit(Submission { by: node.id, certificate: Rc::new(certificate) });
            }
            env.chain.submit(Submission { by: node.id, certificate: Rc::new(forged.clone()) });
            env.memo.encode(&Message::Certificate(Box::new(forged)))
        }
        step => {
            env.coverage.adversary(Adversary::EarlyWisher);
            let view = u64::from(step) + env.prng.below(3);
            let wish = node.sign_wish(env, epoch, view);
            env.memo.encode(&Message::Wish(wish))
        }
    };
    for peer in peers {
        node.send_to(env, epoch, peer, parcel);
    }
}

/// What an adversary does when it hears something. The copycat waits for the first honest reveal and gives it out as its own.
pub fn overhear(node: &mut Node, env: &mut Env, epoch: u64, message: &Message) {
    let Message::Reveal(reveal) = message else { return };
    let Some(running) = node.running.get(&epoch) else { return };
    if node.adversary != Some(Adversary::Copycat) || running.observed || !env.is_honest(reveal.oracle) {
        return;
    }
    let setting = running.setting.clone();
    let Some(own) = measure(&setting, node.id, &node.key, &reveal.seeds, None, &mut env.prng, Bend::Lazy) else { return };
    let Some(copied) = copy(&setting, &own, reveal) else { return };
    env.coverage.adversary(Adversary::Copycat);
    // Signed and shown at once, whatever the state machine thinks of the hour.
    let digest = copied.commit.digest(&setting.instance);
    let signed = SignedCommit { commit: copied.commit, signature: node.key.sign(Domain::Commit, &digest) };
    let commit = env.memo.encode(&Message::Commit(signed));
    let shown = env.memo.encode(&Message::Reveal(Box::new(copied.verified.reveal.clone())));
    if let Some(running) = node.running.get_mut(&epoch) {
        running.observed = true;
    }
    for member in &setting.members {
        node.send_to(env, epoch, member.oracle, commit);
        node.send_to(env, epoch, member.oracle, shown);
    }
}

fn copy(setting: &assay_core::report::Setting, own: &Measured, seen: &Reveal) -> Option<Measured> {
    let mut reveal = own.verified.reveal.clone();
    for salted in &mut reveal.observations {
        let provider = salted.observation.provider;
        let source = seen.observations.iter().find(|other| other.observation.provider == provider);
        for counts in &mut salted.observation.counts {
            let copied = source.and_then(|other| other.observation.of(counts.kind));
            counts.counted = counts.scheduled;
            if let Some(copied) = copied {
                counts.readings.clone_from(&copied.readings);
                counts.bad = copied.bad.iter().map(|bad| (*bad).min(counts.counted)).collect();
            }
        }
    }
    crate::measure::sealed(setting, reveal)
}

/// The same observations under another log head: another commit.
fn variant(node: &Node, env: &mut Env, commit: &Commit, number: u64) -> SignedCommit {
    let mut head = [0; 32];
    head[24..].copy_from_slice(&number.to_be_bytes());
    let commit = Commit { log_head: Hash32(head), ..*commit };
    let digest = commit.digest(&env.frames.setting(commit.epoch).instance);
    SignedCommit { commit, signature: node.key.sign(Domain::Commit, &digest) }
}

fn voted(node: &Node, env: &mut Env, vote: BitVote) -> Message {
    let digest = vote.digest(&env.frames.setting(vote.epoch).instance);
    Message::BitVote(SignedBitVote { signature: node.key.sign(Domain::BitVote, &digest), vote })
}

fn signed_proposal(node: &Node, env: &mut Env, like: &Proposal, basis: Basis, report_digest: Hash32) -> Message {
    let message = signing_message(&env.frames.setting(like.epoch).instance, like.epoch, like.view, &report_digest);
    let signature = node.key.sign(Domain::Report, &message);
    Message::Proposal(Box::new(Proposal { basis, report_digest, signature, ..like.clone() }))
}

/// A valid proposal over another basis.
fn rebuilt(node: &Node, env: &mut Env, like: &Proposal, basis: Basis) -> Option<Message> {
    let running = node.running.get(&like.epoch)?;
    let mut reveals = BTreeMap::new();
    for (oracle, digest) in basis.included(&running.setting) {
        reveals.insert(oracle, running.close.reveal(oracle, &digest)?.clone());
    }
    let outcome = Outcome::compute(&Inputs {
        setting: &running.setting,
        view: like.view,
        parent: running.ledger.as_ref()?,
        bit_votes_root: basis.bit_votes_root(&running.setting.instance),
        reveals: &reveals,
    });
    env.judge.computed(&Rc::new(outcome.clone()));
    let proposal = signed_proposal(node, env, like, basis, outcome.ledger.digest);
    env.judge.said(&proposal);
    Some(proposal)
}

fn second_proposal(node: &Node, env: &mut Env, first: &Proposal) -> Option<Message> {
    let setting = env.frames.setting(first.epoch);
    let mut basis = first.basis.clone();
    basis.bit_votes.pop();
    let voters: Vec<OracleId> = basis.bit_votes.iter().map(|signed| signed.vote.oracle).collect();
    env.judge.said(&Message::Proposal(Box::new(first.clone())));
    if setting.is_quorum(setting.weight_of(&voters)) {
        return rebuilt(node, env, first, basis);
    }
    let digest = env.prng.hash32();
    Some(signed_proposal(node, env, first, first.basis.clone(), digest))
}

/// Drops as many votes for an honest victim as a quorum can spare; in every second epoch its commit too.
fn censored(node: &Node, env: &mut Env, first: &Proposal) -> Option<Message> {
    let setting = env.frames.setting(first.epoch);
    let victim = setting.members.iter().map(|member| member.oracle).find(|oracle| env.is_honest(*oracle))?;
    let mut basis = first.basis.clone();
    for voter in first.basis.bit_votes.iter().filter(|signed| signed.vote.held.iter().any(|(oracle, _)| *oracle == victim)) {
        let without: Vec<SignedBitVote> =
            basis.bit_votes.iter().filter(|signed| signed.vote.oracle != voter.vote.oracle).cloned().collect();
        let weight = setting.weight_of(without.iter().map(|signed| &signed.vote.oracle));
        if setting.is_quorum(weight) {
            basis.bit_votes = without;
        }
    }
    let counted = counted_commits(&setting, basis.bit_votes.iter());
    let is_counted = counted.iter().any(|(oracle, _)| *oracle == victim);
    if !is_counted || first.epoch.is_multiple_of(2) {
        basis.commits.retain(|signed| signed.commit.oracle != victim);
    }
    rebuilt(node, env, first, basis)
}

/// As many commits of its own as a proposal may carry.
fn stuffed(node: &Node, env: &mut Env, first: &Proposal) -> Option<Message> {
    let setting = env.frames.setting(first.epoch);
    let running = node.running.get(&first.epoch)?;
    let own = running.close.reveals().find(|verified| verified.reveal.oracle == node.id)?;
    let own = commit_to(&own.reveal);
    let mut commits: BTreeMap<(OracleId, Hash32), SignedCommit> = BTreeMap::new();
    let counted = counted_commits(&setting, first.basis.bit_votes.iter());
    for signed in &first.basis.commits {
        let key = (signed.commit.oracle, signed.commit.digest(&setting.instance));
        if signed.commit.oracle != node.id || counted.contains(&key) {
            commits.insert(key, *signed);
        }
    }
    for number in 100.. {
        if commits.len() >= 2 * setting.members.len() {
            break;
        }
        let signed = variant(node, env, &own, number);
        commits.insert((node.id, signed.commit.digest(&setting.instance)), signed);
    }
    let basis = Basis { commits: commits.into_values().collect(), bit_votes: first.basis.bit_votes.clone() };
    rebuilt(node, env, first, basis)
}

/// A certificate that claims everybody's signature.
fn forged(node: &mut Node, env: &mut Env, epoch: u64) -> Option<Certificate> {
    let setting = env.frames.setting(epoch);
    let posted = node.running.get(&epoch)?.parent?;
    let outcome = env.judge.any_outcome(epoch, &posted)?;
    let mut report = outcome.report.clone();
    report.reward_total += 1;
    let signed = node.sign_report(env, epoch, report.view, report.digest()).ok()?;
    let mut signers = [0; 32];
    // Half of the time its own bit only, so that weight is what is missing.
    let bits: BTreeSet<usize> = match env.prng.chance(500) {
        true => (0..setting.members.len()).collect(),
        false => setting.members.iter().position(|member| member.oracle == node.id).into_iter().collect(),
    };
    for bit in bits {
        signers[bit / 8] |= 1 << (bit % 8);
    }
    Some(Certificate { report, signers, signature: signed.signature })
}

/// The same report over another parent, of the next epoch, and one whose time is over.
fn misplaced(env: &mut Env, report: &Report) -> Vec<Report> {
    let orphan = Report { parent_digest: env.prng.hash32(), ..report.clone() };
    let epoch_s = env.frames.params().epoch_ms() / 1_000;
    let moved = |epoch: u64| Report { epoch, valid_until: report.valid_until + epoch * epoch_s - report.epoch * epoch_s, ..report.clone() };
    let mut all = vec![orphan];
    // The last epoch whose end is behind us: there is one when reports are late.
    let now_ms = env.now_ms;
    let newest = env.frames.epoch_at(now_ms).and_then(|epoch| epoch.checked_sub(1));
    all.extend(newest.filter(|epoch| *epoch > report.epoch).map(moved));
    all.extend(report.epoch.checked_sub(5).map(moved));
    all
}

fn garbage(env: &mut Env, epoch: u64, parcel: ParcelId, peers: &[OracleId]) -> Sent {
    let whole = env.memo.parcel(parcel).bytes.clone();
    let cut = whole.slice(..whole.len() / 2);
    let mut flipped = whole.to_vec();
    let bit = env.prng.below(8 * flipped.len() as u64) as usize;
    flipped[bit / 8] ^= 1 << (bit % 8);
    let noise: Vec<u8> = (0..env.prng.between(1, 300)).map(|_| env.prng.below(256) as u8).collect();
    let mut sent = Vec::new();
    for bytes in [cut, Bytes::from(flipped), Bytes::from(noise)] {
        let rubbish = env.memo.bytes(bytes, epoch);
        sent.extend(peers.iter().map(|peer| (*peer, rubbish)));
    }
    if env.prng.chance(50) {
        let oversized = env.memo.bytes(Bytes::from(vec![0; MAX_MESSAGE_BYTES + 1]), epoch);
        sent.extend(peers.iter().map(|peer| (*peer, oversized)));
    }
    sent
}
