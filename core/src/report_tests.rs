use super::*;
use crate::challenge::Kind;
use crate::epoch::tests::{counts_mut, observed, setting};
use crate::ids::ProviderId;
use crate::params::TOKEN;

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
    use crate::secp::{self, Signature65};
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
