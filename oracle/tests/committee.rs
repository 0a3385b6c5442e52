//! The committee's driver with a real store and a real signing record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
use assay_oracle::committee::{Certified, Command, Committee};
use assay_oracle::frame::Frame;
use assay_oracle::peers::tls::{Members, Terms, Tls};
use assay_oracle::peers::{DeliverOutcome, Outgoing};
use assay_oracle::signer::{Protection, Signer};
use assay_oracle::store::{SqliteStore, Store};
use assay_proto::oracle_convert::{LogEntry, Message};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

const INSTANCE: Instance = Instance { chain_id: 31_337, settlement: Address([7; 20]) };
const ME: OracleId = OracleId(1);
const PEER: OracleId = OracleId(2);

fn member(oracle: OracleId, key: &SecretKey) -> Member {
    let address = Address([9; 20]);
    Member { oracle, weight: 1, key: key.public_key(), operator: address, recipient: address, network_group: 0 }
}

/// One second of an epoch without providers, closed soon after: commits until `commit_ms`, reveals until `reveal_ms`.
fn setting(members: Vec<Member>, commit_ms: u64, reveal_ms: u64) -> Setting {
    let mut params = Params { slots: 1, slot_ms: 1_000, skew_ms: 20, ..Params::devnet() };
    (params.deadlines.commit_ms, params.deadlines.reveal_ms) = (commit_ms, reveal_ms);
    Setting {
        kinds: assay_core::challenge::Kinds::standard(),
        instance: INSTANCE,
        epoch: 0,
        genesis_s: now_ms() / 1_000 + 1,
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

/// An oracle's commit and what is behind it.
fn part(oracle: OracleId, key: &SecretKey) -> (SignedCommit, Reveal) {
    let seeds = Seeds { epoch: Hash32([3; 32]), slots: vec![Hash32([4; 32])], secure: true };
    let vrf = key.sign(Domain::Vrf, &vrf_message(&INSTANCE, 0, 0, &seeds.slots[0]));
    let reveal = Reveal { epoch: 0, oracle, seeds, observations: Vec::new(), vrfs: vec![vrf], facts: Vec::new(), struck: Vec::new() };
    let (seeds, root) = (reveal.seeds.digest(), reveal.root());
    let commit = Commit { epoch: 0, oracle, seeds, secure: true, root, leaf_count: 0, log_head: Hash32::ZERO };
    (SignedCommit { commit, signature: key.sign(Domain::Commit, &commit.digest(&INSTANCE)) }, reveal)
}

/// One of two oracles, with its epoch open.
struct Node {
    file: PathBuf,
    store: SqliteStore,
    signer: Arc<Signer>,
    committee: Committee,
    setting: Arc<Setting>,
    ours: SecretKey,
    theirs: SecretKey,
    cancel: CancellationToken,
    actor: JoinHandle<()>,
    _certified: mpsc::Receiver<Certified>,
    _directory: TempDir,
}

impl Node {
    async fn start(commit_ms: u64, reveal_ms: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (ours, theirs) = (SecretKey::key_gen(&[1; 32]).unwrap(), SecretKey::key_gen(&[2; 32]).unwrap());
        let path = directory.path().join("protection.sqlite");
        Protection::create(&path, &ours.public_key(), &INSTANCE).await.unwrap();
        let protection = Protection::open(&path, &ours.public_key(), &INSTANCE).await.unwrap();
        let signer = Arc::new(Signer::new(ours.clone(), ME, INSTANCE, protection).unwrap());
        let file = directory.path().join("node.sqlite");
        let store = SqliteStore::open(&file).await.unwrap();
        let cancel = CancellationToken::new();
        let (certified, handed) = mpsc::channel(1);
        let setting = Arc::new(setting(vec![member(ME, &ours), member(PEER, &theirs)], commit_ms, reveal_ms));
        let terms = Terms { instance: INSTANCE, params_hash: setting.params.hash(), oracle: ME };
        let tls = Tls::new(terms, signer.clone(), Members::default()).unwrap();
        let outgoing = Outgoing::new(ME, tls, cancel.clone());
        let (committee, actor) = Committee::start(Arc::new(store.clone()), signer.clone(), outgoing, certified, cancel.clone());
        let frame = Arc::new(Frame { setting: setting.clone(), peers: BTreeMap::new(), records: BTreeMap::new() });
        committee.ask(|done| Command::Begin(frame, done)).await.unwrap();
        Self { file, store, signer, committee, setting, ours, theirs, cancel, actor, _certified: handed, _directory: directory }
    }

    async fn deliver(&self, message: Message) -> DeliverOutcome {
        self.committee.ask(|reply| Command::Deliver(Box::new(message), reply)).await.unwrap()
    }

    /// From now on the database takes no input.
    async fn fill(&self) {
        execute(&self.file, "CREATE TRIGGER full BEFORE INSERT ON inputs BEGIN SELECT RAISE(ABORT, 'no room'); END").await;
    }

    /// It takes them again.
    async fn clear(&self) {
        execute(&self.file, "DROP TRIGGER full").await;
    }

    /// What we said of this kind, once it is in the log.
    async fn said<T>(&self, of: impl Fn(&Message) -> Option<T>) -> T {
        let logged = async {
            loop {
                for stored in self.store.inputs(0).await.unwrap() {
                    if let Ok(LogEntry::Received(message)) = LogEntry::decode(&stored.message)
                        && message.oracle() == Some(ME)
                        && let Some(found) = of(&message)
                    {
                        return found;
                    }
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(10), logged).await.expect("it is said")
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.actor.await.unwrap();
    }
}

/// Another program's hand on the node's database: from now on, or no longer, it takes no input.
async fn execute(file: &Path, sql: &'static str) {
    let mut other = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
    other.close().await.unwrap();
}

// Defence: `Actor::bit_vote`. Without it the vote asked for the second time holds one reveal more, and is refused until the epoch is over.
#[tokio::test]
async fn a_vote_that_was_signed_and_could_not_be_stored_is_the_one_that_is_cast() {
    let node = Node::start(400, 800).await;
    let (commit, reveal) = part(PEER, &node.theirs);
    sleep_until(until_unix_ms(node.setting.end_ms() + 50)).await;
    assert_eq!(node.deliver(Message::Commit(commit)).await, DeliverOutcome::Accepted);
    node.fill().await;
    let recorded = async {
        while !node.signer.protection().export_json().await.unwrap().contains("bit_vote") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), recorded).await.expect("the vote is recorded, then signed, then cannot be stored");
    node.clear().await;
    assert_eq!(node.deliver(Message::Reveal(Box::new(reveal))).await, DeliverOutcome::Accepted, "more to vote for than before");

    let vote = |message: &Message| if let Message::BitVote(signed) = message { Some(signed.vote.digest(&INSTANCE)) } else { None };
    let cast = node.said(vote).await;
    assert!(node.signer.protection().export_json().await.unwrap().contains(&cast.to_string()), "as it was recorded");
    node.stop().await;
}

// Defence: `Actor::deliver` applies what the log knows and the machine does not. Without it a message that the log took, and said that it
// had not, is acknowledged and never counts before a restart.
#[tokio::test]
async fn a_message_that_the_log_took_and_denied_counts_when_it_comes_again() {
    let node = Node::start(10_000, 20_000).await;
    let (commit, reveal) = part(PEER, &node.theirs);
    let message = Message::Commit(commit);
    assert!(node.store.append_input(0, now_ms(), &LogEntry::Received(message.clone()).encode()).await.unwrap());
    assert_eq!(node.deliver(message.clone()).await, DeliverOutcome::Accepted);
    assert_eq!(node.deliver(message).await, DeliverOutcome::Known);
    assert_eq!(node.deliver(Message::Reveal(Box::new(reveal))).await, DeliverOutcome::Accepted, "its commit is held");
    node.stop().await;
}

// Defence: `Running::unlogged`, and `Close` asks for its reveal until it comes back. Without them a log that fails in one moment costs the
// epoch's pay.
#[tokio::test]
async fn observations_and_a_reveal_that_the_log_did_not_take_are_said_later() {
    let node = Node::start(3_000, 20_000).await;
    let (signed, reveal) = part(ME, &node.ours);
    let verified = reveal.verify(&signed.commit, &node.setting).unwrap();
    sleep_until(until_unix_ms(node.setting.end_ms())).await;
    node.fill().await;
    assert!(node.committee.send(Command::Observed(Box::new(verified), signed.commit)).await);
    node.committee.ask(Command::Status).await.expect("the observations were offered, in vain");
    node.clear().await;
    let commit = |message: &Message| if let Message::Commit(signed) = message { Some(signed.commit) } else { None };
    assert_eq!(node.said(commit).await, signed.commit);

    node.fill().await;
    sleep_until(until_unix_ms(node.setting.end_ms() + 3_000 + 2 * 20 + 200)).await;
    node.committee.ask(Command::Status).await.expect("the reveal was asked for, in vain");
    node.clear().await;
    let shown = |message: &Message| if let Message::Reveal(reveal) = message { Some(reveal.root()) } else { None };
    assert_eq!(node.said(shown).await, signed.commit.root);
    node.stop().await;
}
