//! An honest provider whose answers are always right and often late, before a panel of seven.
//!
//! Schedules, summaries, facts, verdicts and the watch list are the core's; times are simulated: a round trip is exponential, and an answer
//! that takes longer than the parameters allow is silence, which is asked again as the parameters say. One answer in [`REAL_ONE_IN`] is
//! really made, signed and judged, by compact proofs or by slices as the challenge wants it; of the others the right outcome is put down,
//! since a hundred thousand proofs would take hours.

use std::collections::BTreeMap;

use assay_core::bls::{Domain, SecretKey, Signature};
use assay_core::challenge::compact::{CompactAnswer, Positions, ProofGroup, SLICES_ONE_IN, named};
use assay_core::challenge::schedule::vrf_message;
use assay_core::challenge::{Answer, Asked, Challenge, Checked, Kind, Kinds, STORAGE_SAMPLES, answer_signing_digest};
use assay_core::claim::{Claim, ClaimSet};
use assay_core::compact::{Name, Powers, Prover, TAG_BYTES, TagSecret};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::{Observation, ProviderKeys, Seeds};
use assay_core::params::{Params, TOKEN};
use assay_core::replica::{BLOCK_BYTES, CHUNKS_PER_BLOCK, OwnerSecret, blocks_for};
use assay_core::report::{Member, ProviderTerms, Setting, Watched};
use assay_core::secp;
use assay_core::slice::{self, OutboardBuilder, Slice};
use assay_core::transcript::{Outcome, PairSchedule, Transcript, facts_of, judge, struck_out, summarise};
use assay_core::verdict::{Case, Dimension, Grade, Panel, PanelKind, PanelSeat, Verdict};

const AUDITS: usize = 100_000;
const REAL_ONE_IN: usize = 1_000;
const PANEL: u64 = 7;
const PROVIDER: ProviderId = ProviderId(1);

/// Bytes of a replica with what proves them.
struct Replica {
    claim: Claim,
    bytes: Vec<u8>,
    nodes: BTreeMap<u64, [u8; 64]>,
    tags: Vec<u8>,
}

impl Replica {
    fn new(number: u8, object_length: u64, secret: Option<&TagSecret>) -> Self {
        let blocks = blocks_for(object_length);
        let mut bytes = vec![0; blocks as usize * BLOCK_BYTES];
        blake3::Hasher::new().update(&[number]).finalize_xof().fill(&mut bytes);
        let (mut builder, mut nodes) = (OutboardBuilder::new(bytes.len() as u64), vec![]);
        builder.update(&bytes, &mut nodes).unwrap();
        let claim = Claim {
            object_id: Hash32([number; 32]),
            replica_index: 0,
            root: builder.finish().unwrap(),
            object_length,
            blocks,
            tag_key_id: secret.map_or(Hash32::ZERO, |secret| secret.key().id()),
            owner: Address([number; 20]),
        };
        let tags = secret.map_or(vec![], |secret| {
            let evaluations: Vec<_> = bytes.chunks(BLOCK_BYTES).map(|block| secret.evaluate(block).unwrap()).collect();
            secret.tags(&Name::of(&claim, PROVIDER), 0, &evaluations)
        });
        Self { claim, bytes, nodes: nodes.into_iter().map(|node| (node.position, node.pair)).collect(), tags }
    }

    fn slice(&self, chunk: u64) -> Slice {
        let total = self.bytes.len() as u64;
        let (start, length) = slice::group_range(total, chunk);
        let group = &self.bytes[start as usize..][..length as usize];
        slice::prove(&self.claim.root, total, chunk, group, |position| self.nodes.get(&position).copied()).unwrap()
    }
}

/// The provider and what it is measured under.
struct World {
    replicas: Vec<Replica>,
    claims: ClaimSet,
    powers: Powers,
    receipt_key: secp::SecretKey,
    setting: Setting,
    terms: ProviderTerms,
}

fn verdict_key(oracle: u64) -> SecretKey {
    SecretKey::key_gen(&keccak([b"oracle", &oracle.to_be_bytes()[..]]).0).unwrap()
}

impl World {
    fn new() -> Self {
        let secret = TagSecret::derive(&OwnerSecret::new([1; 32]));
        let replicas =
            vec![Replica::new(1, 900_000, Some(&secret)), Replica::new(2, 500_000, Some(&secret)), Replica::new(3, 200_000, None)];
        let claims = ClaimSet::new(replicas.iter().map(|replica| replica.claim.clone()).collect()).unwrap();
        let claims = claims.with_tag_keys([secret.key()]).unwrap();
        let receipt_key = secp::SecretKey::from_bytes(&[5; 32]).unwrap();
        let keys = ProviderKeys { receipt_key: receipt_key.address(), class_id: 100, claims: claims.root() };
        let terms = ProviderTerms { provider: PROVIDER, class_id: 100, keys, stake: 1_000 * TOKEN, recipient: Address([2; 20]) };
        let powers = Powers::parse(&secret.powers(), &secret.key(), &[9; 32]).unwrap();
        Self { replicas, claims, powers, receipt_key, setting: setting(terms), terms }
    }

    fn replica(&self, block: u64) -> (&Replica, u64) {
        let (claim, block) = self.claims.locate(block).unwrap();
        (self.replicas.iter().find(|replica| replica.claim == *claim).unwrap(), block)
    }

    /// What an honest provider answers.
    fn answer(&self, challenge: &Challenge) -> Answer {
        let plan = challenge.compact_plan(&self.claims);
        let groups: Vec<_> = plan.iter().map(|(key, positions)| self.prove(challenge, *key, *positions)).collect();
        let compact = CompactAnswer { missing: Positions::default(), groups };
        let slices = challenge.samples().into_iter().enumerate().filter(|(position, _)| !compact.covered().has(*position));
        let slices = slices.map(|(_, sample)| {
            let (replica, block) = self.replica(sample.block);
            Some(replica.slice(block * CHUNKS_PER_BLOCK + u64::from(sample.chunk)))
        });
        Answer { samples: slices.collect(), payload: if plan.is_empty() { vec![] } else { compact.encode() } }
    }

    fn prove(&self, challenge: &Challenge, key: Hash32, positions: Positions) -> ProofGroup {
        let samples = challenge.samples();
        let terms = challenge.compact_terms(&key, positions, |sample| named(&self.claims, PROVIDER, sample)).unwrap();
        let mut prover = Prover::new();
        for (item, position) in terms.items.iter().zip(positions.iter()) {
            let (replica, block) = self.replica(samples[position].block);
            let at = block as usize;
            prover.add(item.nu, &replica.bytes[at * BLOCK_BYTES..][..BLOCK_BYTES], &replica.tags[at * TAG_BYTES..][..TAG_BYTES]).unwrap();
        }
        ProofGroup { key, positions, proof: prover.finish(&terms, &self.powers).unwrap().to_bytes() }
    }

    /// A right answer in time, really made and judged.
    fn judged(&self, challenge: &Challenge) -> (Outcome, Option<Answer>, Option<secp::Signature65>) {
        let answer = self.answer(challenge);
        let signature = self.receipt_key.sign(&answer_signing_digest(challenge, &answer.digest())).unwrap();
        let asked = Asked { challenge, claims: Some(&self.claims), kept: None };
        let outcome = judge(Kinds::standard(), &asked, &answer, Some(&signature), &self.receipt_key.address());
        (outcome, Some(answer), Some(signature))
    }

    fn seeds(&self, epoch: u64) -> Seeds {
        let seed = |slot: u32| keccak([b"seed", &epoch.to_be_bytes()[..], &slot.to_be_bytes()]);
        Seeds { epoch: seed(u32::MAX), slots: (0..self.setting.params.slots).map(seed).collect(), secure: true }
    }
}

/// A devnet of seven oracles with ten storage audits to a slot.
fn setting(terms: ProviderTerms) -> Setting {
    let mut params = Params::devnet();
    (params.probing.storage_audits_per_slot, params.probing.slices_one_in) = (10, SLICES_ONE_IN);
    // Only storage is looked at: the other probes need not be drawn.
    (params.probing.latency_mean_ms, params.probing.availability_mean_ms) = (1_000_000, 1_000_000);
    let member = |id: u64| Member {
        oracle: OracleId(id),
        weight: 100,
        key: verdict_key(id).public_key(),
        operator: Address([id as u8; 20]),
        recipient: Address([1; 20]),
        network_group: id,
    };
    Setting {
        instance: Instance { chain_id: 31_337, settlement: Address([7; 20]) },
        epoch: 0,
        genesis_s: 1_000,
        params,
        kinds: Kinds::standard(),
        token: Address([8; 20]),
        epoch_budget: 10_000 * TOKEN,
        set_epoch: 1,
        members: (1..=PANEL).map(member).collect(),
        providers: vec![terms],
        ref_block: 5,
        ref_block_hash: Hash32([2; 32]),
        drand_round: 9,
    }
}

/// Round trips of a slow machine.
struct Clock {
    state: blake3::OutputReader,
    mean_us: f64,
}

impl Clock {
    /// Exponential round trips, of which this share is above `limit_us`.
    fn new(late: f64, limit_us: f64) -> Self {
        let state = blake3::Hasher::new().update(b"clock").finalize_xof();
        Self { state, mean_us: limit_us / -late.ln() }
    }

    fn round_trip_us(&mut self) -> u64 {
        let mut word = [0; 8];
        self.state.fill(&mut word);
        let unit = (u64::from_le_bytes(word) >> 11) as f64 / (1u64 << 53) as f64;
        (-(1.0 - unit).ln() * self.mean_us) as u64
    }
}

/// What all epochs showed.
#[derive(Default, Debug)]
struct Shown {
    audits: usize,
    late: usize,
    real: usize,
    real_by_slices: usize,
    facts: usize,
    failed: usize,
    slashed: usize,
    watched: usize,
}

/// One run over many epochs.
struct Run<'a> {
    world: &'a World,
    clock: Clock,
    shown: Shown,
    watched: Option<Watched>,
}

impl Run<'_> {
    fn epoch(&mut self, epoch: u64) {
        let world = self.world;
        let mut setting = world.setting.clone();
        setting.epoch = epoch;
        let seeds = world.seeds(epoch);
        let panel = setting.panel(&seeds.epoch, PROVIDER);
        let open = self.watched.as_ref().filter(|watched| watched.slashed_in.is_none()).map(|watched| watched.challenge.clone());
        let (mut seen, mut struck): (Vec<Observation>, Vec<Challenge>) = (vec![], vec![]);
        for oracle in &panel {
            let schedule = PairSchedule::new(&setting, &panel, &world.terms, *oracle, &seeds, &vrfs(&setting, &seeds, *oracle)).unwrap();
            let own = self.ask_schedule(&schedule);
            struck.extend(struck_out(&own.iter().collect::<Vec<_>>(), setting.params.strikes).cloned());
            let mut all = own;
            if let Some(challenge) = &open {
                all.extend(self.ask(challenge, 0));
            }
            let facts = facts_of(&all, &world.claims, setting.params.facts_per_provider);
            self.shown.facts += facts.len();
            seen.push(summarise(&setting, &world.terms, *oracle, &schedule, &all, open.as_ref(), &facts));
        }
        let struck = struck.iter().min_by_key(|challenge| challenge.digest());
        self.judge(&setting, &seen, struck);
    }

    /// Asks everything that is scheduled of storage, each again until it is answered.
    fn ask_schedule(&mut self, schedule: &PairSchedule) -> Vec<Transcript> {
        let slot_us = self.world.setting.params.slot_ms * 1_000;
        let challenges = schedule.slots().iter().flat_map(|slot| slot.challenges());
        let storage: Vec<_> = challenges.filter(|(scheduled, _)| scheduled.kind == Kind::STORAGE).collect();
        self.shown.audits += storage.len();
        let asked = storage.iter().flat_map(|(scheduled, challenge)| {
            let asks = self.ask(challenge, u64::from(challenge.slot) * slot_us + scheduled.at_us);
            self.shown.late += usize::from(asks[0].outcome == Outcome::Silent);
            asks
        });
        asked.collect()
    }

    /// Asks one challenge from `at_us` of the epoch on until it is answered or the epoch is over.
    fn ask(&mut self, challenge: &Challenge, at_us: u64) -> Vec<Transcript> {
        let params = &self.world.setting.params;
        let times = (at_us..params.epoch_ms() * 1_000).step_by(params.reask_ms as usize * 1_000);
        let mut asks: Vec<Transcript> = Vec::new();
        for (strike, at_us) in (0u32..).zip(times) {
            let rtt_us = self.clock.round_trip_us();
            let is_late = rtt_us > params.probing.storage_timeout_ms * 1_000;
            let (outcome, answer, signature) = if is_late { (Outcome::Silent, None, None) } else { self.answered(challenge) };
            let rtt_us = (!is_late).then_some(rtt_us);
            let scheduled_at_us = at_us % (params.slot_ms * 1_000);
            let challenge = challenge.clone();
            asks.push(Transcript { challenge, strike, scheduled_at_us, slip_us: 0, rtt_us, readings: vec![], outcome, answer, signature });
            if !is_late {
                break;
            }
        }
        asks
    }

    fn answered(&mut self, challenge: &Challenge) -> (Outcome, Option<Answer>, Option<secp::Signature65>) {
        let right = Outcome::Checked(Checked { valid: STORAGE_SAMPLES, invalid: vec![], missing: vec![] });
        if self.shown.real * REAL_ONE_IN > self.shown.audits {
            return (right, None, None);
        }
        self.shown.real += 1;
        self.shown.real_by_slices += usize::from(challenge.is_for_slices());
        let judged = self.world.judged(challenge);
        assert_eq!(judged.0, right, "an honest answer to {challenge:?}");
        judged
    }

    fn judge(&mut self, setting: &Setting, seen: &[Observation], struck: Option<&Challenge>) {
        let seat = |(member, seen): (&Member, _)| PanelSeat { oracle: member.oracle, weight: member.weight, seen: Some(seen) };
        let seats: Vec<_> = setting.members.iter().zip(seen).map(seat).collect();
        let case = Case {
            epoch: setting.epoch,
            provider: PROVIDER,
            class: &setting.params.classes[0],
            stake: self.world.terms.stake,
            panel: Panel { seats: &seats, kind: PanelKind::WholeSet { total_weight: setting.total_weight() } },
            facts: &[],
            watched: self.watched.as_ref(),
            is_refuted: false,
            struck,
            secure: true,
            previous_multiplier_ppm: 1_000_000,
        };
        let verdict = Verdict::judge(&case, setting.kinds, &setting.params);
        let storage = verdict.dimensions.iter().find(|dimension| dimension.dimension == Dimension::STORAGE).unwrap();
        assert_eq!((storage.reporting, verdict.storage.invalid, verdict.storage.missing), (PANEL as u32, 0, 0));
        self.shown.failed += usize::from(storage.grade == Grade::Fail);
        let is_slashed = verdict.slash > 0 || verdict.slash_reason.is_some() || !verdict.facts_root.is_zero();
        self.shown.slashed += usize::from(is_slashed);
        self.watched = case.watch_from_now_on();
        self.shown.watched += usize::from(self.watched.is_some());
    }
}

fn vrfs(setting: &Setting, seeds: &Seeds, oracle: OracleId) -> Vec<Signature> {
    let message = |(slot, seed)| vrf_message(&setting.instance, setting.epoch, slot, seed);
    (0..).zip(&seeds.slots).map(|slot| verdict_key(oracle.0).sign(Domain::Vrf, &message(slot))).collect()
}

/// A hundred thousand audits of a provider that is late with this share of its answers.
fn run(late: f64) -> Shown {
    let world = World::new();
    let limit_us = world.setting.params.probing.storage_timeout_ms as f64 * 1_000.0;
    let mut run = Run { world: &world, clock: Clock::new(late, limit_us), shown: Shown::default(), watched: None };
    for epoch in 0.. {
        if run.shown.audits >= AUDITS {
            break;
        }
        run.epoch(epoch);
    }
    println!("{late}: {:?}", run.shown);
    let share = run.shown.late as f64 / run.shown.audits as f64;
    assert!((share - late).abs() < 0.01 && run.shown.real >= AUDITS / REAL_ONE_IN && run.shown.real_by_slices > 0, "{:?}", run.shown);
    run.shown
}

// Defence: only a signed answer is invalid or missing, and silence within the class's allowance is none of both. Were a late answer taken
// for a wrong one, a slow machine would be slashed as a thief.
#[test]
fn an_honest_provider_that_is_a_little_slow_neither_fails_nor_is_slashed() {
    let shown = run(0.03);
    assert_eq!((shown.facts, shown.slashed, shown.failed), (0, 0, 0), "{shown:?}");
}

// Defence: a silent challenge stays open and is asked again, and all but the possible liars must be without an answer. Were the first silence
// final, the watch list would slash this provider; as it is, it is only paid less.
#[test]
fn an_honest_provider_that_is_very_slow_is_paid_less_and_never_slashed() {
    let shown = run(0.4);
    assert_eq!((shown.facts, shown.slashed), (0, 0), "{shown:?}");
    assert!(shown.watched > 0 && shown.failed > 0, "slow enough to strike out and to fail by its rate: {shown:?}");
}
