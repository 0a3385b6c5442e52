use super::*;
use crate::bls::{Domain, PublicKey, Signature};
use crate::challenge::kinds::storage::Storage;
use crate::challenge::{Challenge, Kind, STORAGE_SAMPLES};
use crate::epoch::tests::{counts_mut, observed, perfect_reveal, schedule, setting};
use crate::observation::{Evidence, Fact, Fault, Observation, Reveal, SaltedObservation, Witness};
use crate::params::TOKEN;
use crate::secp::Signature65;
use crate::verdict::{Dimension, Grade, REBUTTAL_EPOCHS, silence_digest};

fn compute(setting: &Setting, parent: &Ledger, oracles: u64) -> Outcome {
    let reveals: BTreeMap<OracleId, VerifiedReveal> = (1..=oracles).map(|id| (OracleId(id), observed(setting, id, 1).0)).collect();
    Outcome::compute(&Inputs { setting, view: 0, parent, bit_votes_root: Hash32::ZERO, reveals: &reveals })
}

#[test]
fn the_digest_and_message_are_those_of_the_shared_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/report.json");
    let vectors: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let report: Report = serde_json::from_value(vectors["report"].clone()).unwrap();
    assert_eq!(report.digest().to_string(), vectors["digest"].as_str().unwrap());
    let instance = Instance { chain_id: report.chain_id, settlement: report.settlement };
    let message = signing_message(&instance, report.epoch, report.view, &report.digest());
    assert_eq!(message.to_string(), vectors["message"].as_str().unwrap());
    let mut signatures = Vec::new();
    for signer in vectors["signers"].as_array().unwrap() {
        let bytes = |key: &str| crate::hash::decode_hex(signer[key].as_str().unwrap()).unwrap();
        let secret = crate::bls::SecretKey::from_bytes(&bytes("secret").try_into().unwrap()).unwrap();
        assert_eq!(secret.public_key().to_eip2537().to_vec(), bytes("publicKey256"));
        assert_eq!(secret.public_key().to_compressed().to_vec(), bytes("publicKey96"));
        let signature = secret.sign(Domain::Report, &message);
        assert_eq!(signature.to_compressed().to_vec(), bytes("signature48"));
        signatures.push(signature);
    }
    let aggregate = Signature::aggregate(&signatures).unwrap();
    assert_eq!(format!("0x{}", hex::encode(aggregate.to_eip2537())), vectors["aggregateSignature128"].as_str().unwrap());
}

#[test]
fn rewards_and_what_is_left_make_the_pool() {
    let setting = setting(4, 3);
    let outcome = compute(&setting, &Ledger::default(), 4);
    let paid: u128 = outcome.ledger.payees().map(|(_, standing)| standing.cumulative).sum();
    assert_eq!(paid, outcome.report.reward_total);
    assert!(paid <= setting.epoch_budget);
}

// Defence: `fit_budget`. Without it the contract refuses a report that would pay more than the epoch's budget.
#[test]
fn a_budget_too_small_scales_providers_and_is_never_exceeded() {
    let mut setting = setting(4, 3);
    setting.epoch_budget = 100 * TOKEN;
    let outcome = compute(&setting, &Ledger::default(), 4);
    assert!(outcome.report.reward_total <= setting.epoch_budget);
    assert_eq!(outcome.verdicts[0].reward, 20 * TOKEN);
}

#[test]
fn cumulative_rewards_continue_from_the_parent() {
    let mut setting = setting(4, 3);
    let first = compute(&setting, &Ledger::default(), 4);
    setting.epoch = 1;
    let second = compute(&setting, &first.ledger, 3);
    assert_eq!(second.report.parent_digest, first.report.digest());
    assert_eq!(second.ledger.providers[&ProviderId(1)].cumulative, 200 * TOKEN);
    assert_eq!(second.ledger.oracles[&OracleId(1)].cumulative, 20 * TOKEN);
    assert_eq!(second.ledger.oracles[&OracleId(4)].cumulative, 10 * TOKEN);
    let (standing, proof) = second.ledger.reward_proof(Payee::Oracle(OracleId(4)), &setting.token).unwrap();
    assert!(merkle::verify(&second.report.reward_root, &Payee::Oracle(OracleId(4)).leaf(&standing, &setting.token), &proof));
}

#[test]
fn observations_under_other_seeds_are_neither_counted_nor_paid() {
    let setting = setting(4, 1);
    let mut reveals: BTreeMap<OracleId, VerifiedReveal> = (1..=4).map(|id| (OracleId(id), observed(&setting, id, 1).0)).collect();
    reveals.get_mut(&OracleId(4)).unwrap().reveal.seeds.epoch = Hash32([77; 32]);
    let outcome = Outcome::compute(&Inputs {
        setting: &setting,
        view: 0,
        parent: &Ledger::default(),
        bit_votes_root: Hash32::ZERO,
        reveals: &reveals,
    });
    assert_eq!(outcome.verdicts[0].dimensions[0].reporting, 3);
    assert!(outcome.report.seed_secure, "three of four is more than two thirds");
    assert_eq!(outcome.paid_oracles.len(), 3);
    reveals.get_mut(&OracleId(3)).unwrap().reveal.seeds.slots[0] = Hash32([78; 32]);
    let outcome = Outcome::compute(&Inputs {
        setting: &setting,
        view: 0,
        parent: &Ledger::default(),
        bit_votes_root: Hash32::ZERO,
        reveals: &reveals,
    });
    assert!(!outcome.report.seed_secure, "half is not");
}

fn shared_vectors() -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/report.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn vector_bytes<const N: usize>(value: &serde_json::Value) -> [u8; N] {
    crate::hash::decode_hex(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn vector<T: serde::de::DeserializeOwned>(value: &serde_json::Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn vector_amount(value: &serde_json::Value) -> u128 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn the_proof_of_possession_is_that_of_the_shared_vectors() {
    let vectors = shared_vectors();
    let (pop, signer) = (&vectors["pop"], &vectors["signers"][0]);
    let secret = crate::bls::SecretKey::from_bytes(&vector_bytes(&signer["secret"])).unwrap();
    let key = PublicKey::from_eip2537(&vector_bytes(&signer["publicKey256"])).unwrap();
    assert_eq!(key, secret.public_key());
    let message = crate::bls::possession_message(vector(&pop["chainId"]), &vector(&pop["registry"]), &vector(&pop["operator"]), &key);
    assert_eq!(message, vector(&pop["message"]));
    let signature = Signature::from_eip2537(&vector_bytes(&pop["signature128"])).unwrap();
    assert_eq!(signature, secret.sign(Domain::ProofOfPossession, &message));
    assert_eq!(key.verify(Domain::ProofOfPossession, &message, &signature), Ok(()));
}

#[test]
fn the_reward_tree_is_that_of_the_shared_vectors() {
    let vectors = shared_vectors();
    let tree = &vectors["rewardTree"];
    let (mut ledger, mut payees) = (Ledger::default(), Vec::new());
    for leaf in tree["leaves"].as_array().unwrap() {
        let standing =
            Standing { multiplier_ppm: PPM, cumulative: vector_amount(&leaf["cumulative"]), recipient: vector(&leaf["recipient"]) };
        payees.push(match leaf["kind"].as_u64().unwrap() {
            0 => Payee::Provider(vector(&leaf["id"])),
            _ => Payee::Oracle(vector(&leaf["id"])),
        });
        match *payees.last().unwrap() {
            Payee::Provider(id) => ledger.providers.insert(id, standing),
            Payee::Oracle(id) => ledger.oracles.insert(id, standing),
        };
    }
    // Who earned nothing yet has no leaf.
    ledger.providers.insert(ProviderId(99), Standing { multiplier_ppm: PPM, cumulative: 0, recipient: Address([9; 20]) });
    let token: Address = vector(&tree["leaves"][0]["token"]);
    let root: Hash32 = vector(&tree["root"]);
    assert_eq!(ledger.reward_tree(&token).root(), root);
    for (payee, proof) in payees.into_iter().zip(tree["proofs"].as_array().unwrap()) {
        let (standing, ours) = ledger.reward_proof(payee, &token).unwrap();
        assert_eq!(ours, vector::<Vec<Hash32>>(proof), "{payee:?}");
        assert!(merkle::verify(&root, &payee.leaf(&standing, &token), &ours));
    }
    assert_eq!(ledger.reward_proof(Payee::Provider(ProviderId(99)), &token), None);
}

#[test]
fn the_slash_tree_is_that_of_the_shared_vectors() {
    let vectors = shared_vectors();
    let tree = &vectors["slashTree"];
    let leaves = tree["leaves"].as_array().unwrap();
    let mut outcome = compute(&setting(4, leaves.len() as u64), &Ledger::default(), 4);
    for (verdict, leaf) in outcome.verdicts.iter_mut().zip(leaves) {
        (verdict.provider, verdict.epoch) = (vector(&leaf["providerId"]), vector(&leaf["epoch"]));
        verdict.slash_reason = Some(match leaf["reason"].as_u64().unwrap() {
            1 => crate::observation::Fault::StorageInvalid,
            _ => crate::observation::Fault::StorageMissing,
        });
        (verdict.facts_root, verdict.slash) = (vector(&leaf["factsRoot"]), vector_amount(&leaf["amount"]));
    }
    let root: Hash32 = vector(&tree["root"]);
    assert_eq!(merkle::root(outcome.verdicts.iter().filter_map(slash_leaf).collect()), root);
    for (leaf, proof) in leaves.iter().zip(tree["proofs"].as_array().unwrap()) {
        let (verdict, ours) = outcome.slash_proof(vector(&leaf["providerId"])).unwrap();
        assert_eq!(ours, vector::<Vec<Hash32>>(proof));
        assert!(merkle::verify(&root, &slash_leaf(verdict).unwrap(), &ours));
    }
}

#[test]
fn the_claim_sets_signature_is_that_of_the_shared_vectors() {
    use crate::secp;
    let vectors = shared_vectors();
    let (claims, report) = (&vectors["claims"], &vectors["report"]);
    let domain = crate::claim::ClaimDomain {
        chain_id: vector(&report["chainId"]),
        provider_registry: vector(&claims["registry"]),
        provider: vector(&claims["providerId"]),
    };
    let root = crate::claim::ClaimRoot { hash: vector(&claims["root"]), blocks: vector(&claims["blocks"]) };
    let digest = domain.set_digest(vector(&claims["sequence"]), &root, vector(&claims["count"]));
    assert_eq!(digest, vector(&claims["digest"]));
    let key = secp::SecretKey::from_bytes(&vector_bytes(&claims["receiptSecret"])).unwrap();
    let receipt_key: Address = vector(&claims["receiptKey"]);
    assert_eq!(key.address(), receipt_key);
    let signature = Signature65(vector_bytes(&claims["signature65"]));
    assert_eq!(secp::recover(&digest, &signature), Ok(receipt_key));
    assert_eq!(key.sign(&digest), Ok(signature), "both are deterministic (RFC 6979)");
}

// Defence: `kept_schedule`. Without it an oracle that measures nothing and reveals an empty list is paid like the others.
#[test]
fn a_lazy_oracle_is_not_paid() {
    let setting = setting(4, 2);
    let mut reveals: BTreeMap<OracleId, VerifiedReveal> = (1..=4).map(|id| (OracleId(id), observed(&setting, id, 1).0)).collect();
    reveals.get_mut(&OracleId(2)).unwrap().reveal.observations.clear();
    counts_mut(&mut reveals.get_mut(&OracleId(3)).unwrap().reveal.observations[1].observation, Kind::AVAILABILITY).counted = 0;
    let inputs = Inputs { setting: &setting, view: 0, parent: &Ledger::default(), bit_votes_root: Hash32::ZERO, reveals: &reveals };
    assert_eq!(Outcome::compute(&inputs).paid_oracles, [OracleId(1), OracleId(4)].into());
}

// ---- silence ----

type Reveals = BTreeMap<OracleId, VerifiedReveal>;

/// Everybody's perfect reveals of an epoch.
fn perfect(setting: &Setting) -> Reveals {
    let verified = |id| VerifiedReveal { reveal: perfect_reveal(setting, id, 1), commit_digest: Hash32::ZERO, faults: vec![] };
    setting.members.iter().map(|member| (member.oracle, verified(member.oracle.0))).collect()
}

fn outcome_of(setting: &Setting, parent: &Ledger, reveals: &Reveals) -> Outcome {
    Outcome::compute(&Inputs { setting, view: 0, parent, bit_votes_root: Hash32::ZERO, reveals })
}

fn audit(setting: &Setting, oracle: u64) -> Challenge {
    let schedule = schedule(setting, &setting.providers[0], oracle);
    let challenges = schedule.slots().iter().flat_map(|slot| slot.challenges().map(|(_, challenge)| challenge));
    challenges.filter(|challenge| challenge.kind == Kind::STORAGE).last().unwrap()
}

/// The first provider is silent on one audit of oracle 1, which strikes out.
fn struck(setting: &Setting) -> (Reveals, Challenge) {
    let (mut reveals, challenge) = (perfect(setting), audit(setting, 1));
    let reveal = &mut reveals.get_mut(&OracleId(1)).unwrap().reveal;
    let observation = &mut reveal.observations[0].observation;
    counts_mut(observation, Kind::STORAGE).bad[Storage::SILENT] = u64::from(STORAGE_SAMPLES);
    observation.struck = challenge.digest();
    reveal.struck.push(challenge.clone());
    (reveals, challenge)
}

/// What each oracle says of the watched challenge.
fn witnessed(setting: &Setting, witnesses: &[Witness]) -> Reveals {
    let mut reveals = perfect(setting);
    for (verified, witness) in reveals.values_mut().zip(witnesses) {
        verified.reveal.observations[0].observation.witness = *witness;
    }
    reveals
}

/// An epoch in which a challenge struck out, and the setting of the next.
fn watching() -> (Setting, Ledger, Challenge) {
    let mut setting = setting(4, 2);
    let (reveals, challenge) = struck(&setting);
    let ledger = outcome_of(&setting, &Ledger::default(), &reveals).ledger;
    setting.epoch += 1;
    (setting, ledger, challenge)
}

fn entry(challenge: &Challenge, slashed_in: Option<u64>) -> BTreeMap<ProviderId, Watched> {
    [(challenge.provider, Watched { challenge: challenge.clone(), slashed_in })].into()
}

#[test]
fn what_struck_out_is_watched_from_the_next_epoch_on() {
    let (_, ledger, challenge) = watching();
    assert_eq!(ledger.watch, entry(&challenge, None));
    let setting = setting(4, 2);
    let verdicts = outcome_of(&setting, &Ledger::default(), &struck(&setting).0).verdicts;
    assert_eq!((verdicts[0].watched, verdicts[1].watched), (challenge.digest(), Hash32::ZERO));
    assert_eq!(verdicts[0].slash, 0, "nobody else has seen it yet");
}

#[test]
fn of_several_that_struck_out_the_smallest_digest_is_watched() {
    let setting = setting(4, 1);
    let (mut reveals, first) = struck(&setting);
    let second = audit(&setting, 2);
    reveals.get_mut(&OracleId(2)).unwrap().reveal.struck.push(second.clone());
    let smaller = if first.digest() < second.digest() { first } else { second };
    assert_eq!(outcome_of(&setting, &Ledger::default(), &reveals).ledger.watch, entry(&smaller, None));
}

// Defence: the extra blocks are left out of the order in `struck`. With them a liar hashes blocks of its choice until its decoy, which the provider
// answers, always comes before every real silence.
#[test]
fn extra_blocks_do_not_bring_a_decoy_to_the_front() {
    let setting = setting(4, 1);
    let (mut reveals, first) = struck(&setting);
    let second = audit(&setting, 2);
    let (real, decoy) = if first.digest() < second.digest() { (first, second) } else { (second, first) };
    let ground =
        (0..).map(|block| Challenge { extra: vec![block], ..decoy.clone() }).find(|ground| ground.digest() < real.digest()).unwrap();
    for verified in reveals.values_mut() {
        verified.reveal.struck.clear();
    }
    reveals.get_mut(&OracleId(1)).unwrap().reveal.struck.push(real.clone());
    reveals.get_mut(&OracleId(2)).unwrap().reveal.struck.push(ground);
    assert_eq!(outcome_of(&setting, &Ledger::default(), &reveals).ledger.watch, entry(&real, None));
}

// Defence: `stores_nothing` in `Verdict::judge`. Without it a provider that lost its data registers the empty set, is asked for nothing that is
// stored, and is paid on.
#[test]
fn who_stores_nothing_is_paid_nothing() {
    let setting = setting(4, 2);
    let mut reveals = perfect(&setting);
    for verified in reveals.values_mut() {
        let counts = counts_mut(&mut verified.reveal.observations[0].observation, Kind::STORAGE);
        (counts.scheduled, counts.counted) = (0, 0);
    }
    let verdicts = outcome_of(&setting, &Ledger::default(), &reveals).verdicts;
    assert_eq!((verdicts[0].reward, verdicts[0].slash), (0, 0));
    assert!(verdicts[1].reward > 0);
}

// Defence: the slash for silence in `Case::faults`. Without it a provider that deletes its data and never answers keeps its stake.
#[test]
fn silence_before_the_whole_panel_is_slashed_once_and_stays_for_the_answer_on_chain() {
    let (mut setting, ledger, challenge) = watching();
    let silent = Witness::Silent(challenge.digest());
    let outcome = outcome_of(&setting, &ledger, &witnessed(&setting, &[silent, silent, silent]));
    let verdict = &outcome.verdicts[0];
    assert_eq!((verdict.slash_reason, verdict.slash), (Some(Fault::StorageSilent), 50 * TOKEN));
    let silence = silence_digest(&challenge.digest());
    assert_eq!(verdict.facts_root, crate::observation::facts_root(&[silence]));
    assert_eq!((verdict.outcome, verdict.multiplier_ppm), (Grade::Fail, 0));
    assert_eq!(outcome.ledger.watch, entry(&challenge, Some(1)));
    assert_eq!(verdict.watched, outcome.ledger.watch[&ProviderId(1)].word());
    assert_eq!(outcome.slash_proof(ProviderId(1)).unwrap().0, verdict);

    setting.epoch += 1;
    let next = outcome_of(&setting, &outcome.ledger, &witnessed(&setting, &[silent, silent, silent, silent]));
    assert_eq!((next.verdicts[0].slash_reason, next.verdicts[0].slash), (None, 0), "one slash for one silence");
    assert_eq!(next.ledger.watch, entry(&challenge, Some(1)));
}

// Defence: `is_held`. Without it a provider answers rubbish on the chain, stays silent once more, and the next challenge pushes the one that
// it answered off the list before the rubbish is proven.
#[test]
fn a_slashed_silence_keeps_its_place_until_its_rebuttal_can_have_been_proven_wrong() {
    let (mut setting, ledger, challenge) = watching();
    let slashed = outcome_of(&setting, &ledger, &witnessed(&setting, &[Witness::Silent(challenge.digest()); 3])).ledger;
    for _ in 1..REBUTTAL_EPOCHS {
        setting.epoch += 1;
        let (again, _) = struck(&setting);
        assert_eq!(outcome_of(&setting, &slashed, &again).ledger.watch, entry(&challenge, Some(1)), "epoch {}", setting.epoch);
    }
    setting.epoch += 1;
    let (again, next) = struck(&setting);
    assert_eq!(outcome_of(&setting, &slashed, &again).ledger.watch, entry(&next, None));
    assert_eq!(outcome_of(&setting, &slashed, &perfect(&setting)).ledger.watch, BTreeMap::new());
}

// Defence: `is_refuted`. Without it one wrong rebuttal is slashed in every epoch in which one oracle cares to show it again.
#[test]
fn a_wrong_rebuttal_is_slashed_once() {
    let (mut setting, ledger, challenge) = watching();
    let slashed = outcome_of(&setting, &ledger, &witnessed(&setting, &[Witness::Silent(challenge.digest()); 3])).ledger;
    setting.epoch += 1;
    let wrong = with_fact(&setting, &challenge, Fault::StorageInvalid);
    let outcome = outcome_of(&setting, &slashed, &wrong);
    assert_eq!((outcome.verdicts[0].slash_reason, &outcome.ledger.watch), (Some(Fault::StorageInvalid), &BTreeMap::new()));
    setting.epoch += 1;
    assert_eq!(
        outcome_of(&setting, &outcome.ledger, &with_fact(&setting, &challenge, Fault::StorageInvalid)).verdicts[0].slash_reason,
        None
    );
}

// Defence: the panel in `struck`. Without it every oracle of a large committee names audits of its own, and a colluding provider's real silence
// hardly ever comes to the top.
#[test]
fn who_is_not_on_the_panel_puts_nothing_on_the_watch_list() {
    let mut setting = setting(4, 1);
    setting.params.panel_size = 2;
    let panel = setting.panel(&perfect(&setting)[&OracleId(1)].reveal.seeds.epoch, ProviderId(1));
    for id in 1..=4 {
        let mut reveals = perfect(&setting);
        let challenge = audit(&setting, id);
        reveals.get_mut(&OracleId(id)).unwrap().reveal.struck.push(challenge.clone());
        let watch = outcome_of(&setting, &Ledger::default(), &reveals).ledger.watch;
        let expected = if panel.contains(&OracleId(id)) { entry(&challenge, None) } else { BTreeMap::new() };
        assert_eq!(watch, expected, "oracle {id}");
    }
}

// Defences: the facts in `struck`, and `is_refuted` for an open entry. Without them one oracle makes three slashes of one signed "missing": it
// proves it, says that it was silence, and proves it again while the challenge is watched.
#[test]
fn what_is_proven_was_answered_and_is_slashed_once() {
    let (mut setting, ledger, challenge) = watching();
    let mut reveals = with_fact(&setting, &audit(&setting, 2), Fault::StorageMissing);
    reveals.get_mut(&OracleId(2)).unwrap().reveal.struck.push(audit(&setting, 2));
    assert_eq!(outcome_of(&setting, &Ledger::default(), &reveals).ledger.watch, BTreeMap::new());

    let proven = outcome_of(&setting, &ledger, &with_fact(&setting, &challenge, Fault::StorageMissing));
    assert_eq!((proven.verdicts[0].slash_reason, &proven.ledger.watch), (Some(Fault::StorageMissing), &BTreeMap::new()));
    setting.epoch += 1;
    let again = outcome_of(&setting, &proven.ledger, &with_fact(&setting, &challenge, Fault::StorageMissing));
    assert_eq!(again.verdicts[0].slash_reason, None);
}

// Defence: `is_stale`. Without it a provider whose watched challenge nobody can judge any more (it showed that claim set to too few) keeps it
// on the list for ever, and no other silence is ever watched.
#[test]
fn a_challenge_that_cannot_be_decided_makes_way_in_the_end() {
    let (mut setting, ledger, challenge) = watching();
    setting.epoch = challenge.epoch + REBUTTAL_EPOCHS - 1;
    assert_eq!(outcome_of(&setting, &ledger, &struck(&setting).0).ledger.watch, entry(&challenge, None));
    setting.epoch += 1;
    let (reveals, next) = struck(&setting);
    assert_eq!(outcome_of(&setting, &ledger, &perfect(&setting)).ledger.watch, entry(&challenge, None), "nothing waits for its place");
    assert_eq!(outcome_of(&setting, &ledger, &reveals).ledger.watch, entry(&next, None));
}

// Defence: `Ledger::is_bound` and the epoch in `supports`. Without them whoever serves a ledger to a node that catches up gives a provider that
// is about to register a multiplier of its choice, and the node computes other reports than everybody else from then on.
#[test]
fn a_ledger_with_accounts_under_no_root_is_not_believed() {
    let setting = setting(4, 1);
    let outcome = outcome_of(&setting, &Ledger::default(), &perfect(&setting));
    assert!(outcome.supports(&outcome.report, &setting.token));
    let mut stranger = outcome.clone();
    let nothing = Standing { multiplier_ppm: 0, cumulative: 0, ..stranger.ledger.providers[&ProviderId(1)] };
    stranger.ledger.providers.insert(ProviderId(2), nothing);
    assert!(!stranger.supports(&stranger.report, &setting.token));
    let mut shifted = outcome;
    shifted.ledger.epoch = Some(7);
    assert!(!shifted.supports(&shifted.report, &setting.token));
}

// Defence: `is_answered` and its bound. Without it a provider that answers the panel stays on the list, or one liar takes it off.
#[test]
fn more_answers_than_liars_clear_the_list_and_fewer_do_not() {
    let (mut setting, ledger, challenge) = watching();
    let (answered, silent) = (Witness::Answered(challenge.digest()), Witness::Silent(challenge.digest()));
    let cleared = outcome_of(&setting, &ledger, &witnessed(&setting, &[answered, answered]));
    assert_eq!(cleared.ledger.watch, BTreeMap::new());
    assert_eq!((cleared.verdicts[0].slash_reason, cleared.verdicts[0].watched), (None, Hash32::ZERO));

    let mut open = ledger;
    for witnesses in [[answered, silent, silent, Witness::None], [Witness::None; 4], [answered, Witness::None, silent, Witness::None]] {
        let outcome = outcome_of(&setting, &open, &witnessed(&setting, &witnesses));
        assert_eq!(outcome.ledger.watch, entry(&challenge, None), "{witnesses:?}");
        assert_eq!(outcome.verdicts[0].slash_reason, None);
        open = outcome.ledger;
        setting.epoch += 1;
    }
    let of_another = [Witness::Silent(Hash32([9; 32])); 4];
    let outcome = outcome_of(&setting, &open, &witnessed(&setting, &of_another));
    assert_eq!(outcome.verdicts[0].slash_reason, None, "witnesses of another challenge");
}

// Defence: while one challenge is open no other takes its place. Without it a second struck challenge resets the clock of the first.
#[test]
fn an_open_challenge_is_not_displaced() {
    let (setting, ledger, challenge) = watching();
    let (reveals, second) = struck(&setting);
    assert_ne!(second, challenge);
    assert_eq!(outcome_of(&setting, &ledger, &reveals).ledger.watch, entry(&challenge, None));
}

// Defence: `secure` in `Case::slash_reason`. A seed from the fallback can be ground, and with it the panel that witnesses.
#[test]
fn an_insecure_epoch_does_not_slash_silence_and_keeps_watching() {
    let (setting, ledger, challenge) = watching();
    let silent = Witness::Silent(challenge.digest());
    let mut reveals = witnessed(&setting, &[silent; 4]);
    for verified in reveals.values_mut() {
        verified.reveal.seeds.secure = false;
    }
    let outcome = outcome_of(&setting, &ledger, &reveals);
    assert_eq!((outcome.verdicts[0].slash_reason, outcome.verdicts[0].slash), (None, 0));
    assert_eq!(outcome.ledger.watch, entry(&challenge, None));
    assert_eq!(outcome.verdicts[0].multiplier_ppm, 0, "it is not paid either");
}

/// A fact about `challenge` in oracle 2's reveal, as verified.
fn with_fact(setting: &Setting, challenge: &Challenge, fault: Fault) -> Reveals {
    let mut reveals = perfect(setting);
    let verified = reveals.get_mut(&OracleId(2)).unwrap();
    verified.reveal.facts.push(Fact {
        challenge: challenge.clone(),
        position: 3,
        payload: vec![],
        words: vec![Hash32::ZERO; 30],
        evidence: Evidence::Missing,
        signature: Signature65([9; 65]),
    });
    verified.faults.push(fault);
    reveals
}

// Defence: `is_watched` in `facts_by_provider`. Without it any oracle slashes with a challenge of its choice in an epoch that is long gone.
#[test]
fn a_fact_of_an_earlier_epoch_counts_only_while_it_is_watched() {
    let (setting, ledger, challenge) = watching();
    let slashed = |ledger: &Ledger, challenge: &Challenge| {
        outcome_of(&setting, ledger, &with_fact(&setting, challenge, Fault::StorageMissing)).verdicts[0].slash_reason
    };
    assert_eq!(slashed(&ledger, &challenge), Some(Fault::StorageMissing));
    assert_eq!(slashed(&Ledger { watch: entry(&challenge, Some(0)), ..ledger.clone() }, &challenge), Some(Fault::StorageMissing));
    assert_eq!(slashed(&ledger, &Challenge { index: 7, ..challenge.clone() }), None, "another challenge of that epoch");
    assert_eq!(slashed(&Ledger { watch: BTreeMap::new(), ..ledger }, &challenge), None);
    let own = audit(&setting, 2);
    assert_eq!(slashed(&Ledger::default(), &own), Some(Fault::StorageMissing), "of this epoch: any");
}

// Defence: `watch_from_now_on` asks what was slashed for. Without it a provider gets rid of its silence by one small fault.
#[test]
fn a_slash_for_something_else_leaves_the_silence_open() {
    let (setting, ledger, challenge) = watching();
    let mut reveals = with_fact(&setting, &audit(&setting, 2), Fault::StorageInvalid);
    for verified in reveals.values_mut() {
        verified.reveal.observations[0].observation.witness = Witness::Silent(challenge.digest());
    }
    let outcome = outcome_of(&setting, &ledger, &reveals);
    assert_eq!(outcome.verdicts[0].slash_reason, Some(Fault::StorageInvalid));
    assert_eq!(outcome.ledger.watch, entry(&challenge, None));
}

// Defence: `Ledger::watches`. Without it a peer that serves an outcome adds, drops or bends entries, and who believes it computes other
// reports than everybody else.
#[test]
fn an_outcome_whose_watch_list_is_not_the_certified_one_is_not_believed() {
    let (setting, ledger, challenge) = watching();
    type Change = fn(&mut BTreeMap<ProviderId, Watched>);
    let silent = Witness::Silent(challenge.digest());
    for witnesses in [[Witness::None; 3], [silent; 3]] {
        let outcome = outcome_of(&setting, &ledger, &witnessed(&setting, &witnesses));
        assert!(outcome.supports(&outcome.report, &setting.token));
        let changes: [(&str, Change); 4] = [
            ("dropped", BTreeMap::clear),
            ("turned", |watch| watch.values_mut().for_each(|watched| watched.slashed_in = watched.slashed_in.xor(Some(3)))),
            ("bent", |watch| watch.values_mut().for_each(|watched| watched.challenge.index += 1)),
            ("added", |watch| {
                let watched = watch.values().next().unwrap().clone();
                watch.insert(ProviderId(99), watched);
            }),
        ];
        for (what, change) in changes {
            let mut bent = outcome.clone();
            change(&mut bent.ledger.watch);
            assert!(!bent.supports(&bent.report, &setting.token), "{what}");
        }
    }
}

#[test]
fn silence_on_every_audit_earns_nothing_and_one_lost_audit_does_not_fail() {
    let setting = setting(4, 1);
    let storage = |lost: u64| {
        let mut reveals = perfect(&setting);
        for verified in reveals.values_mut() {
            let counts = counts_mut(&mut verified.reveal.observations[0].observation, Kind::STORAGE);
            counts.bad[Storage::SILENT] = (lost * u64::from(STORAGE_SAMPLES)).min(counts.counted);
        }
        let verdict = outcome_of(&setting, &Ledger::default(), &reveals).verdicts.remove(0);
        let grade = verdict.dimensions.iter().find(|d| d.dimension == Dimension::STORAGE).unwrap().grade;
        (grade, verdict.multiplier_ppm, verdict.reward, verdict.slash)
    };
    assert_eq!(storage(0), (Grade::Pass, PPM, 100 * TOKEN, 0));
    assert_eq!(storage(1).0, Grade::Degraded, "one of five may be chance");
    assert_eq!(storage(5), (Grade::Fail, 0, 0, 0), "unpaid, not slashed: nobody has proven anything");
}

/// An epoch of many providers that differ: in what is said of them, in who said nothing, and in their class.
fn many(providers: u64) -> (Setting, Ledger, Reveals) {
    let mut setting = setting(4, providers);
    for terms in setting.providers.iter_mut().filter(|terms| terms.provider.0 % 97 == 5) {
        terms.class_id = 999;
    }
    let said = |oracle: u64, terms: &ProviderTerms| {
        let noise = terms.provider.0.wrapping_mul(31).wrapping_add(oracle * 17) % 23;
        let mut observation = Observation::empty(setting.kinds, setting.epoch, terms.provider, OracleId(oracle));
        for counts in &mut observation.counts {
            (counts.scheduled, counts.counted) = (20_000, 20_000 - noise);
            counts.bad.fill(noise * noise * 7);
            counts.readings.fill(30_000 + noise);
        }
        SaltedObservation { observation, salt: Hash32([1; 32]) }
    };
    let reveal = |oracle: u64| {
        let told = setting.providers.iter().filter(|terms| oracle == 1 || terms.provider.0 % 11 != oracle);
        let observations = told.map(|terms| said(oracle, terms)).collect();
        let (seeds, vrfs) = (crate::epoch::tests::seeds(&setting), vec![]);
        let reveal = Reveal { epoch: setting.epoch, oracle: OracleId(oracle), seeds, observations, vrfs, facts: vec![], struck: vec![] };
        (OracleId(oracle), VerifiedReveal { reveal, commit_digest: Hash32([oracle as u8; 32]), faults: vec![] })
    };
    let reveals = (1..=4).map(reveal).collect();
    let standing = |id: u64| Standing { multiplier_ppm: 900_000, cumulative: u128::from(id), recipient: Address([3; 20]) };
    let parent = Ledger { providers: (1..=providers).map(|id| (ProviderId(id), standing(id))).collect(), ..Ledger::default() };
    (setting, parent, reveals)
}

// Defence: results are put in the providers' order, whoever computed them. Without it oracles with other machines sign other reports.
#[test]
fn any_number_of_threads_computes_the_same_outcome() {
    let (setting, parent, reveals) = many(3_000);
    let inputs = Inputs { setting: &setting, view: 0, parent: &parent, bit_votes_root: Hash32::ZERO, reveals: &reveals };
    let (alone, _) = Outcome::compute_on(Threads::new(1), &inputs);
    assert!(alone.verdicts.len() > 2_900 && alone.verdicts.is_sorted_by_key(|verdict| verdict.provider));
    assert_eq!(alone.paid_oracles, BTreeSet::from([OracleId(1)]), "the others left somebody out");
    assert!(alone.supports(&alone.report, &setting.token));
    for threads in [2, 3, 5, 16] {
        assert_eq!(Outcome::compute_on(Threads::new(threads), &inputs).0, alone, "{threads} threads");
    }
}

#[test]
fn proofs_of_the_trees_are_those_of_the_outcome() {
    let (setting, parent, reveals) = many(700);
    let inputs = Inputs { setting: &setting, view: 0, parent: &parent, bit_votes_root: Hash32::ZERO, reveals: &reveals };
    let (outcome, trees) = Outcome::compute_with_trees(&inputs);
    for provider in [1, 5, 350, 700, 701].map(ProviderId) {
        let proven = trees.verdict_proof(&outcome, provider);
        assert_eq!(proven, outcome.verdict_proof(provider));
        assert_eq!(proven.is_some(), provider.0 % 97 != 5 && provider.0 <= 700);
        if let Some((verdict, proof)) = proven {
            assert!(merkle::verify(&outcome.report.result_root, &verdict.leaf(), &proof));
        }
        let payee = Payee::Provider(provider);
        let paid = trees.reward_proof(&outcome, payee, &setting.token);
        assert_eq!(paid, outcome.ledger.reward_proof(payee, &setting.token));
        if let Some((standing, proof)) = paid {
            assert!(merkle::verify(&outcome.report.reward_root, &payee.leaf(&standing, &setting.token), &proof));
        }
        assert_eq!(trees.slash_proof(&outcome, provider), None);
    }
    let (watched, ledger, challenge) = watching();
    let reveals = witnessed(&watched, &[Witness::Silent(challenge.digest()); 3]);
    let inputs = Inputs { setting: &watched, view: 0, parent: &ledger, bit_votes_root: Hash32::ZERO, reveals: &reveals };
    let (outcome, trees) = Outcome::compute_with_trees(&inputs);
    let slashed = trees.slash_proof(&outcome, outcome.verdicts[0].provider);
    assert!(slashed.is_some() && slashed == outcome.slash_proof(outcome.verdicts[0].provider));
}

/// Whose verdicts a node doubts that opens the report with these reveals.
fn doubted(setting: &Setting, outcome: &Outcome, reveals: &Reveals, parent: Option<&Outcome>) -> Result<Vec<ProviderId>, OpeningError> {
    let verdicts = |outcome: &Outcome| ReportVerdicts::new(outcome.report.clone(), outcome.verdicts.clone());
    let reveals = reveals.iter().map(|(oracle, verified)| (*oracle, verified.reveal.clone())).collect();
    let opened = OpenedReport::new(verdicts(outcome)?, open_panels(setting, &reveals), parent.map(verdicts).transpose()?)?;
    Ok(opened.doubtful(setting).map(|case| case.judged.verdict.provider).collect())
}

/// Two epochs of so many oracles, the first with a bad provider: in the second its multiplier follows from the parent's.
fn two_epochs(oracles: u64) -> (Setting, Outcome, Outcome, Reveals) {
    let mut setting = setting(oracles, 3);
    let mut reveals = perfect(&setting);
    for verified in reveals.values_mut() {
        let counts = counts_mut(&mut verified.reveal.observations[1].observation, Kind::AVAILABILITY);
        counts.bad[0] = counts.counted.div_ceil(20);
    }
    let first = outcome_of(&setting, &Ledger::default(), &reveals);
    assert_eq!(doubted(&setting, &first, &reveals, None), Ok(vec![]));
    setting.epoch = 1;
    let reveals = perfect(&setting);
    let second = outcome_of(&setting, &first.ledger, &reveals);
    assert!(second.verdicts[1].multiplier_ppm < PPM);
    (setting, first, second, reveals)
}

#[test]
fn what_an_honest_committee_reports_is_not_doubted() {
    // A whole set, and panels that are drawn.
    for oracles in [4, 9] {
        let (mut setting, first, second, reveals) = two_epochs(oracles);
        assert_eq!(doubted(&setting, &second, &reveals, Some(&first)), Ok(vec![]));
        setting.epoch_budget = 100 * TOKEN;
        let scaled = outcome_of(&setting, &first.ledger, &reveals);
        assert_ne!(scaled.report.result_root, second.report.result_root);
        assert_eq!(doubted(&setting, &scaled, &reveals, Some(&first)), Ok(vec![]));
    }
}

// Defence: `OpenedReport::follows`, each of its comparisons. Without one of them its number may be invented, and no court is ever asked.
#[test]
fn each_bent_number_of_a_verdict_is_doubted() {
    let bends: [fn(&mut Verdict); 8] = [
        |verdict| verdict.epoch += 1,
        |verdict| verdict.outcome = Grade::Fail,
        |verdict| verdict.multiplier_ppm += 1,
        |verdict| verdict.multiplier_ppm -= 1,
        |verdict| verdict.reward += 1,
        |verdict| verdict.slash = 1,
        |verdict| verdict.p50_us += 1,
        // All that a fact brings about, and nobody of the whole set names one.
        |verdict| {
            let storage = verdict.dimensions.iter_mut().find(|d| d.dimension == Dimension::STORAGE).unwrap();
            (storage.grade, storage.burn_ppm, storage.multiplier_ppm) = (Grade::Fail, 0, 0);
            (verdict.outcome, verdict.multiplier_ppm, verdict.reward, verdict.slash) = (Grade::Fail, 0, 0, TOKEN);
        },
    ];
    let (setting, first, second, reveals) = two_epochs(4);
    for bend in bends {
        let mut bent = second.clone();
        bend(&mut bent.verdicts[1]);
        assert_eq!(doubted(&setting, &bent, &reveals, Some(&first)), Err(OpeningError::Verdicts), "it is not under the root");
        bent.report.result_root = merkle::root(bent.verdicts.iter().map(Verdict::leaf).collect());
        assert_eq!(doubted(&setting, &bent, &reveals, Some(&first)), Ok(vec![ProviderId(2)]));
    }
    let mut impossible = reveals;
    for verified in impossible.values_mut() {
        let counts = counts_mut(&mut verified.reveal.observations[2].observation, Kind::INGRESS);
        counts.bad[0] = counts.counted + 1;
    }
    assert_eq!(doubted(&setting, &second, &impossible, Some(&first)), Err(OpeningError::Panels), "they are not under the root");
    let judged = outcome_of(&setting, &first.ledger, &impossible);
    assert_eq!(doubted(&setting, &judged, &impossible, Some(&first)), Ok(vec![ProviderId(3)]));
}

// Defence: a panel's words stand in the order of its seats. In another one the court hashes them to another leaf, and takes no case at all.
#[test]
fn a_case_shows_the_panel_and_the_verdict_under_the_reports_roots() {
    let (setting, first, second, mut reveals) = two_epochs(9);
    let mut bent = second.clone();
    bent.verdicts[1].reward += 1;
    bent.report.result_root = merkle::root(bent.verdicts.iter().map(Verdict::leaf).collect());
    let absent = *bent.panels[&ProviderId(2)].first().unwrap();
    reveals.remove(&absent);
    bent.report.obs_root = outcome_of(&setting, &first.ledger, &reveals).report.obs_root;
    let verdicts = |outcome: &Outcome| ReportVerdicts::new(outcome.report.clone(), outcome.verdicts.clone()).unwrap();
    let shown = reveals.iter().map(|(oracle, verified)| (*oracle, verified.reveal.clone())).collect();
    let opened = OpenedReport::new(verdicts(&bent), open_panels(&setting, &shown), Some(verdicts(&first))).unwrap();
    let case = opened.doubtful(&setting).find(|case| case.judged.verdict.provider == ProviderId(2)).unwrap();
    assert!(merkle::verify(&bent.report.result_root, &case.judged.verdict.leaf(), &case.judged.proof));
    assert!(merkle::verify(&bent.report.obs_root, &case.panel.leaf(), &case.panel_proof));
    let (parent, previous) = case.previous.unwrap();
    assert_eq!((parent.digest(), previous.verdict.provider), (bent.report.parent_digest, ProviderId(2)));
    assert!(merkle::verify(&parent.result_root, &previous.verdict.leaf(), &previous.proof));
    let seats: Vec<OracleId> = case.panel.seats.iter().map(|(oracle, _)| *oracle).collect();
    assert_eq!(seats, bent.panels[&ProviderId(2)]);
    assert_eq!((case.panel.present()[31], case.panel.present()[30]), (0b111_1110, 0), "seven seats, the first of them empty");
    assert_eq!(case.panel.packed().len(), 6 * 424);
}
