//! The committee's driver with a real store and a real signing record.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use assay_core::bls::{Domain, SecretKey};
use assay_core::challenge::schedule::vrf_message;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId};
use assay_core::observation::{Commit, Reveal, Seeds, SignedCommit};
use assay_core::params::Params;
use assay_core::report::{Member, Setting};
use assay_oracle::clock::{now_ms, until_unix_ms};
use assay_oracle::committee::{Command, Committee};
use assay_oracle::frame::Frame;
use assay_oracle::peers::tls::{Members, Terms, Tls};
use assay_oracle::peers::{DeliverOutcome, Outgoing};
use assay_oracle::signer::{Protection, Signer};
use assay_oracle::store::{SqliteStore, Store};
use assay_proto::oracle_convert::{LogEntry, Message};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

const INSTANCE: Instance = Instance { chain_id: 31_337, settlement: Address([7; 20]) };
const ME: OracleId = OracleId(1);
const PEER: OracleId = OracleId(2);

fn member(oracle: OracleId, key: &SecretKey) -> Member {
    let address = Address([9; 20]);
    Member { oracle, weight: 1, key: key.public_key(), operator: address, recipient: address, network_group: 0 }
}

/// One second of an epoch without providers, closed within another.
fn setting(genesis_s: u64, members: Vec<Member>) -> Setting {
    let mut params = Params { slots: 1, slot_ms: 1_000, skew_ms: 20, ..Params::devnet() };
    (params.deadlines.commit_ms, params.deadlines.reveal_ms) = (400, 800);
    Setting {
        kinds: assay_core::challenge::Kinds::standard(),
        instance: INSTANCE,
        epoch: 0,
        genesis_s,
        params,
        token: Address([8; 20]),
        epoch_budget: 0,
        set_epoch: 1,
        members,
        providers: Vec::new(),
        ref_block: 5,
        ref_block_hash: Hash32([2; 32]),
        drand_round: 9,
    }
}

/// A peer's commit and what is behind it.
fn peers_part(key: &SecretKey) -> (SignedCommit, Reveal) {
    let seeds = Seeds { epoch: Hash32([3; 32]), slots: vec![Hash32([4; 32])], secure: true };
    let vrf = key.sign(Domain::Vrf, &vrf_message(&INSTANCE, 0, 0, &seeds.slots[0]));
    let reveal = Reveal { epoch: 0, oracle: PEER, seeds, observations: Vec::new(), vrfs: vec![vrf], facts: Vec::new(), struck: Vec::new() };
    let (seeds, root) = (reveal.seeds.digest(), reveal.root());
    let commit = Commit { epoch: 0, oracle: PEER, seeds, secure: true, root, leaf_count: 0, log_head: Hash32::ZERO };
    (SignedCommit { commit, signature: key.sign(Domain::Commit, &commit.digest(&INSTANCE)) }, reveal)
}

async fn deliver(committee: &Committee, message: Message) -> DeliverOutcome {
    committee.ask(|reply| Command::Deliver(Box::new(message), reply)).await.unwrap()
}

/// Another program's hand on the node's database: from now on, or no longer, it takes no input.
async fn execute(file: &Path, sql: &'static str) {
    let mut other = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
    other.close().await.unwrap();
}

/// Our bit-vote in the log.
async fn own_vote(store: &SqliteStore) -> Hash32 {
    loop {
        for stored in store.inputs(0).await.unwrap() {
            if let Ok(LogEntry::Received(Message::BitVote(signed))) = LogEntry::decode(&stored.message) {
                assert_eq!(signed.vote.oracle, ME);
                return signed.vote.digest(&INSTANCE);
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

// Defence: `Actor::bit_vote`. Without it the vote asked for the second time holds one reveal more, and is refused until the epoch is over.
#[tokio::test]
async fn a_vote_that_was_signed_and_could_not_be_stored_is_the_one_that_is_cast() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (SecretKey::key_gen(&[1; 32]).unwrap(), SecretKey::key_gen(&[2; 32]).unwrap());
    let setting = Arc::new(setting(now_ms() / 1_000 + 1, vec![member(ME, &ours), member(PEER, &theirs)]));
    let path = directory.path().join("protection.sqlite");
    Protection::create(&path, &ours.public_key(), &INSTANCE).await.unwrap();
    let protection = Protection::open(&path, &ours.public_key(), &INSTANCE).await.unwrap();
    let signer = Arc::new(Signer::new(ours, ME, INSTANCE, protection).unwrap());
    let file = directory.path().join("node.sqlite");
    let store = SqliteStore::open(&file).await.unwrap();
    let cancel = CancellationToken::new();
    let (certified, _handed) = mpsc::channel(1);
    let terms = Terms { instance: INSTANCE, params_hash: setting.params.hash(), oracle: ME };
    let tls = Tls::new(terms, signer.clone(), Members::default()).unwrap();
    let outgoing = Outgoing::new(ME, tls, cancel.clone());
    let (committee, actor) = Committee::start(Arc::new(store.clone()), signer.clone(), outgoing, certified, cancel.clone());
    let frame = Arc::new(Frame { setting: setting.clone(), peers: BTreeMap::new(), records: BTreeMap::new() });
    committee.ask(|done| Command::Begin(frame, done)).await.unwrap();

    let (commit, reveal) = peers_part(&theirs);
    sleep_until(until_unix_ms(setting.end_ms() + 50)).await;
    assert_eq!(deliver(&committee, Message::Commit(commit)).await, DeliverOutcome::Accepted);
    execute(&file, "CREATE TRIGGER full BEFORE INSERT ON inputs BEGIN SELECT RAISE(ABORT, 'no room'); END").await;
    let recorded = async {
        while !signer.protection().export_json().await.unwrap().contains("bit_vote") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), recorded).await.expect("the vote is recorded, then signed, then cannot be stored");
    execute(&file, "DROP TRIGGER full").await;
    assert_eq!(deliver(&committee, Message::Reveal(Box::new(reveal))).await, DeliverOutcome::Accepted, "more to vote for than before");

    let cast = timeout(Duration::from_secs(5), own_vote(&store)).await.expect("the vote is cast");
    assert!(signer.protection().export_json().await.unwrap().contains(&cast.to_string()), "as it was recorded");
    cancel.cancel();
    actor.await.unwrap();
}
