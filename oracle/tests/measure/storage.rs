//! Compact answers, extra blocks, what is recorded of objects, and claims that leave.

use assay_core::challenge::compact::{CompactAnswer, ProofGroup, named};
use assay_core::claim::ClaimDomain;
use assay_core::compact::{Name, Powers, Prover, TagSecret};
use assay_core::observation::Evidence;
use assay_core::replica::{BLOCK_BYTES, CHUNKS_PER_BLOCK, OwnerSecret, blocks_for};
use assay_core::slice::{self, OutboardBuilder};
use assay_oracle::store::ClaimVersion;

use super::*;

/// One replica with tags, as a provider keeps it.
pub(super) struct Tagged {
    pub(super) claims: ClaimSet,
    bytes: Vec<u8>,
    tags: Vec<u8>,
    powers: Powers,
}

impl Tagged {
    /// Four blocks at provider 1.
    fn new() -> Arc<Self> {
        let object_length = 3 * BLOCK_BYTES as u64;
        let mut bytes = vec![0; blocks_for(object_length) as usize * BLOCK_BYTES];
        blake3::Hasher::new_derive_key("a replica").finalize_xof().fill(&mut bytes);
        let secret = TagSecret::derive(&OwnerSecret::new([1; 32]));
        let claim = Claim {
            object_id: Hash32([1; 32]),
            replica_index: 0,
            root: blake3::hash(&bytes).into(),
            object_length,
            blocks: blocks_for(object_length),
            tag_key_id: secret.key().id(),
            owner: Address([3; 20]),
        };
        let evaluations: Vec<_> = bytes.chunks(BLOCK_BYTES).map(|block| secret.evaluate(block).unwrap()).collect();
        let tags = secret.tags(&Name::of(&claim, ProviderId(1)), 0, &evaluations);
        let powers = Powers::reopen(&secret.powers()).unwrap();
        let claims = ClaimSet::new(vec![claim]).unwrap().with_tag_keys([secret.key()]).unwrap();
        Arc::new(Self { claims, bytes, tags, powers })
    }

    /// The answer in the form that the challenge wants; with `forged` the proof is over blocks that are none of the replica's.
    pub(super) fn answer(&self, challenge: &Challenge, forged: bool) -> Answer {
        let plan = challenge.compact_plan(&self.claims);
        if plan.is_empty() {
            let samples =
                challenge.samples().into_iter().map(|sample| Some(self.slice(sample.block * CHUNKS_PER_BLOCK + u64::from(sample.chunk))));
            return Answer { payload: vec![], samples: samples.collect() };
        }
        let mut answer = CompactAnswer::default();
        for (key, positions) in plan {
            let terms = challenge.compact_terms(&key, positions, |sample| named(&self.claims, ProviderId(1), sample)).unwrap();
            let mut prover = Prover::new();
            for item in &terms.items {
                let at = item.block as usize;
                let mut block = self.bytes[at * BLOCK_BYTES..][..BLOCK_BYTES].to_vec();
                block[0] ^= u8::from(forged);
                prover.add(item.nu, &block, &self.tags[at * 48..][..48]).unwrap();
            }
            let proof = prover.finish(&terms, &self.powers).unwrap().to_bytes();
            answer.groups.push(ProofGroup { key, positions, proof });
        }
        Answer::of_payload(answer.encode())
    }

    fn slice(&self, chunk: u64) -> Slice {
        let (total, mut nodes) = (self.bytes.len() as u64, Vec::new());
        let mut outboard = OutboardBuilder::new(total);
        outboard.update(&self.bytes, &mut nodes).unwrap();
        let root = outboard.finish().unwrap();
        let (start, length) = slice::group_range(total, chunk);
        let group = &self.bytes[start as usize..][..length as usize];
        let node = |position| nodes.iter().find(|node| node.position == position).map(|node| node.pair);
        slice::prove(&root, total, chunk, group, node).unwrap()
    }
}

async fn with_tags(storage: fn(usize) -> Reply) -> World {
    let tagged = Tagged::new();
    let host = Host { claims: tagged.claims.clone(), tagged: Some(tagged), storage, ..Host::default() };
    let mut params = params();
    params.probing.storage_timeout_ms = 10_000;
    params.deadlines.commit_ms = 12_000;
    World::ahead(params, vec![host.serve().await]).await
}

async fn audits(world: &World) -> Vec<Transcript> {
    let mut audits = world.transcripts(1).await;
    audits.retain(|transcript| transcript.challenge.kind == Kind::STORAGE);
    audits.sort_by_key(|audit| (audit.challenge.slot, audit.challenge.index));
    audits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compact_answers_are_accepted_and_what_they_prove_is_recorded_once_it_is_revealed() {
    let world = with_tags(|_| Reply::Honest).await;
    let observations = world.run().await;
    let storage = counts(&observations[0], Kind::STORAGE);
    assert_eq!((storage.counted, storage.bad.iter().sum::<u64>()), (60, 0), "{observations:?}");
    let audits = audits(&world).await;
    assert!(audits.iter().all(|audit| audit.outcome.fate() == Fate::Answered && audit.challenge.extra.len() == 1));
    assert!(audits.iter().any(|audit| audit.answer.as_ref().is_some_and(|answer| !answer.payload.is_empty())), "by a compact proof");

    let setting = &world.frame.setting;
    let due_ms = setting.end_ms() + setting.params.deadlines.reveal_ms + setting.params.skew_ms;
    assert_eq!(world.store.fold_tallies(due_ms - 1).await.unwrap(), 0);
    assert_eq!(world.store.provider_age(ProviderId(1)).await.unwrap(), None, "secret until its reveals are due");
    assert_eq!(world.store.fold_tallies(due_ms).await.unwrap(), 1);
    let seen = world.store.provider_age(ProviderId(1)).await.unwrap().unwrap();
    assert_eq!((seen.epoch, seen.samples.clean, seen.samples.bad), (0, 60, 0));
    assert!(seen.samples.last_proven_ms.is_some_and(|at_ms| (setting.start_ms()..=setting.end_ms() + 10_000).contains(&at_ms)));
}

// Defence: `check_storage` behind `judge`; without it a provider answers with 128 arbitrary bytes. And `facts_of` on compact answers: without
// them the oracle knows and cannot prove it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_compact_proof_is_a_fact_in_the_reveal() {
    let world = with_tags(|_| Reply::Forged).await;
    let reveal = world.reveal().await;
    let audits = audits(&world).await;
    let is_compact = |audit: &&Transcript| audit.answer.as_ref().is_some_and(|answer| !answer.payload.is_empty());
    let compact: Vec<&Transcript> = audits.iter().filter(is_compact).collect();
    assert!(!compact.is_empty() && compact.iter().all(|audit| audit.outcome.fate() == Fate::Invalid));
    // Facts of a reveal that verifies are proven facts.
    let proven: Vec<_> = reveal.facts.iter().filter(|fact| matches!(fact.evidence, Evidence::Compact { .. })).collect();
    assert_eq!(reveal.facts.len(), proven.len(), "slices were right");
    assert!(compact.iter().all(|audit| proven.iter().any(|fact| fact.challenge == audit.challenge)));
    let storage = counts(&reveal.observations[0].observation, Kind::STORAGE);
    assert_eq!(storage.bad_on(Storage::INVALID), 30 * compact.len() as u64, "the extra block counts for nothing");
    world.store.fold_tallies(u64::MAX / 2).await.unwrap();
    let samples = world.store.provider_age(ProviderId(1)).await.unwrap().unwrap().samples;
    assert!(samples.bad > 0 && samples.clean < 60, "{samples:?}");
}

/// A replica of one block.
fn owned(object: u8, owner: &SecretKey) -> Claim {
    Claim {
        object_id: Hash32([object; 32]),
        replica_index: 0,
        root: Hash32([object; 32]),
        object_length: 1_000,
        blocks: blocks_for(1_000),
        tag_key_id: Hash32::ZERO,
        owner: owner.address(),
    }
}

fn set_of(objects: impl IntoIterator<Item = u8>) -> ClaimSet {
    ClaimSet::new(objects.into_iter().map(|object| owned(object, &owner())).collect()).unwrap()
}

fn owner() -> SecretKey {
    SecretKey::from_bytes(&[9; 32]).unwrap()
}

// Defence: the plan of an epoch. Without it one object in a million is sampled once in a hundred years.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audits_walk_over_the_longest_unproven_objects() {
    let claims = set_of(1..=25);
    let host = Host { claims: claims.clone(), ..Host::default() };
    let world = World::ahead(params(), vec![host.serve().await]).await;
    world.run().await;
    let asked: Vec<u64> = audits(&world).await.iter().flat_map(|audit| audit.challenge.extra.clone()).collect();
    assert_eq!(asked, (0..20).collect::<Vec<u64>>(), "ten an audit, nobody's twice, all never proven: in the order of the set");
    let plans = world.store.plans(ProviderId(1), 0).await.unwrap();
    let [(0, plan)] = &plans[..] else { panic!("one plan: {plans:?}") };
    assert_eq!((plan.from_slot, plan.claims.len()), (0, 20));
}

fn release(claim: &Claim, key: &SecretKey, provider: u64) -> wire::Release {
    let domain = ClaimDomain { chain_id: instance().chain_id, provider_registry: REGISTRY, provider: ProviderId(provider) };
    let signature = key.sign(&domain.release_digest(&claim.hash())).unwrap();
    let claim = Some(wire::SignedClaim::new(claim, &Signature65([0; 65])));
    wire::Release { claim, signature: signature.0.to_vec().into(), sequence: 2 }
}

/// What became of stored chunks, when the provider had accepted claims of objects 1 to 3, has registered those of 2 and 3, and shows this.
async fn after_dropping_one(releases: Vec<wire::Release>) -> (Vec<Fate>, Hash32) {
    let (before, now) = (set_of(1..=3), set_of(2..=3));
    let host = Host { claims: now, releases, ..Host::default() };
    let world = World::ahead(params(), vec![host.serve().await]).await;
    world.store.put_claims(0, &before).await.unwrap();
    let version = ClaimVersion { epoch: 0, sequence: 1, root: before.root().hash };
    world.store.accept_claims(ProviderId(1), &version).await.unwrap();
    world.run().await;
    let fates = audits(&world).await.iter().map(|audit| audit.outcome.fate()).collect();
    (fates, world.store.accepted_claims(ProviderId(1)).await.unwrap().unwrap().root)
}

// Defence: `check_releases`; without it a provider that lost an object takes it out of its claims before an audit finds out, and is paid on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_that_vanishes_without_its_owner_is_not_let_go() {
    let dropped = owned(1, &owner());
    let (nothing, by_another, elsewhere, of_another, released) = tokio::join!(
        after_dropping_one(vec![]),
        after_dropping_one(vec![release(&dropped, &receipt_key(), 1)]),
        after_dropping_one(vec![release(&dropped, &owner(), 2)]),
        after_dropping_one(vec![release(&owned(2, &owner()), &owner(), 1)]),
        after_dropping_one(vec![release(&owned(7, &owner()), &owner(), 1), release(&dropped, &owner(), 1)]),
    );
    for (fates, accepted) in [nothing, by_another, elsewhere, of_another] {
        assert_eq!(accepted, set_of(1..=3).root().hash, "what was accepted stays");
        assert!(!fates.is_empty() && fates.iter().all(|fate| *fate == Fate::Silent), "{fates:?}");
    }
    let (fates, accepted) = released;
    assert_eq!(accepted, set_of(2..=3).root().hash);
    assert!(!fates.is_empty() && fates.iter().all(|fate| *fate == Fate::Missing), "asked and answered: {fates:?}");
}
