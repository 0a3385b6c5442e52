//! Who signs twice loses its stake on the chain, without a human: a node that holds the proof brings it to the court.

use std::path::PathBuf;
use std::time::Duration;

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use assay_chain::{BlockTag, Client, EquivocationCourt};
use assay_contracts_bindings::OracleRegistry;
use assay_core::bls::{Domain, SecretKey};
use assay_core::epoch::{Misbehaviour, Offence};
use assay_core::hash::Hash32;
use assay_core::ids::{Instance, OracleId};
use assay_core::observation::{Commit, SignedCommit};
use assay_daemon::keystore::{self, Password};
use assay_oracle::store::{SqliteStore, Store, StoredProof};
use assay_proto::oracle_convert::Message;
use assay_tests::devnet::{Devnet, Fault, OracleFault, OracleNode, Plan};
use assay_tests::report::stake_of;
use serde_json::json;

/// Of what is slashed.
const REWARD_SHARE: u128 = 10;

fn two_commits(key: &SecretKey, oracle: OracleId, instance: &Instance) -> Misbehaviour {
    let signed = |root: u8| {
        let (seeds, root, log_head) = (Hash32([1; 32]), Hash32([root; 32]), Hash32::ZERO);
        let commit = Commit { epoch: 0, oracle, seeds, secure: true, root, leaf_count: 1, log_head };
        SignedCommit { commit, signature: key.sign(Domain::Commit, &commit.digest(instance)) }
    };
    Misbehaviour::commits(signed(2), signed(3), instance)
}

/// An oracle's operator takes it out of the committee: the set after the next has it no more.
async fn leave(devnet: &Devnet, oracle: usize) {
    let OracleNode { id, operator, .. } = &devnet.oracles[oracle];
    let exit = OracleRegistry::requestExitCall { oracleId: id.0 }.abi_encode();
    let build = OracleRegistry::buildSnapshotCall { maxMembers: U256::from(256) }.abi_encode();
    for call in [exit, build] {
        let data = format!("0x{}", hex::encode(call));
        let request = json!([{ "from": operator, "to": devnet.deployment.chain.oracle_registry, "data": data }]);
        devnet.anvil().rpc("eth_sendTransaction", request).await.unwrap();
    }
    let client = Client::connect(devnet.deployment.chain.clone()).await.unwrap();
    let second = || async { Ok(client.current_set().await? == 2) };
    assert!(devnet.until(Duration::from_secs(10), second).await.unwrap(), "another set is final");
}

// Defence: `Settler::accuse`, after a restart too; without it a proof stays with the nodes, and who signed twice keeps its stake. And
// `Settler::set_with_key_of`: looked for in the newest set alone, who leaves after it signed twice keeps its stake until it may take it.
#[tokio::test(flavor = "multi_thread")]
async fn who_signed_twice_is_slashed_by_a_node_that_holds_the_proof() {
    let dir = tempfile::tempdir().unwrap();
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src").canonicalize().unwrap();
    let plan = Plan { dir: dir.path().join("net"), data, oracles: vec![OracleFault::None; 4], faults: vec![Fault::None] };
    let mut devnet = Devnet::start(&plan, |line| println!("{line}")).await.unwrap();
    let epoch = Duration::from_millis(devnet.params.epoch_ms());
    assert!(devnet.until(epoch * 4, || async { Ok(devnet.epoch(0).await?.is_some()) }).await.unwrap(), "epoch 0 is accepted");

    let client = Client::connect(devnet.deployment.chain.clone()).await.unwrap();
    let court = EquivocationCourt::connect(client.rpc(), &devnet.deployment.economy.equivocation_court).await.unwrap();
    let instance = Instance { chain_id: devnet.deployment.chain.chain_id, settlement: devnet.deployment.settlement };
    let registry = devnet.deployment.chain.oracle_registry;
    let (left, stayed, innocent) = (OracleId(2), OracleId(3), OracleId(4));
    let password = Password::from_file(&plan.dir.join("password")).unwrap();
    let held = [(1, left), (2, stayed)].map(|(node, oracle)| {
        let key = keystore::load_bls(&devnet.oracles[node].dir.join("verdict.json"), &password).unwrap();
        let proof = Message::Misbehaviour(Box::new(two_commits(&key, oracle, &instance))).encode().to_vec();
        StoredProof { epoch: 0, oracle, offence: Offence::TwoCommits, proof }
    });

    let before = stake_of(devnet.anvil(), &registry, stayed).await;
    assert_eq!(stake_of(devnet.anvil(), &registry, left).await, before);
    devnet.kill_oracle(0).await.unwrap();
    leave(&devnet, 1).await;
    let store = SqliteStore::open(&devnet.oracles[0].dir.join("data/node.sqlite")).await.unwrap();
    for proof in &held {
        store.put_proof(proof).await.unwrap();
    }
    store.pool().close().await;
    drop(store); // and with it the lock on the database
    devnet.restart_oracle(0).await.unwrap();

    for guilty in [left, stayed] {
        let is_punished = || async { Ok(court.is_punished(guilty, 0, Offence::TwoCommits, BlockTag::Finalized).await?) };
        assert!(devnet.until(epoch * 3, is_punished).await.unwrap(), "the chain knows of oracle {guilty}");
        assert_eq!(stake_of(devnet.anvil(), &registry, guilty).await, 0);
    }
    assert_eq!(stake_of(devnet.anvil(), &registry, innocent).await, before, "nobody else");
    assert!(!court.is_punished(innocent, 0, Offence::TwoCommits, BlockTag::Latest).await.unwrap());
    let accuser = devnet.oracles[0].transmitter;
    assert_eq!(devnet.balance(&accuser).await.unwrap(), 2 * before / REWARD_SHARE, "who accused is paid");
    devnet.stop().await.unwrap();
}
