//! One chain and one beacon for all tests of this program, and oracle nodes in directories of their own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, LazyLock, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assay_core::bls::{Domain, SecretKey};
use assay_core::epoch::{Wish, wish_message};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId};
use assay_core::observation::{Commit, SignedCommit};
use assay_core::params::Params;
use assay_core::secp;
use assay_daemon::keystore::{self, Kdf, Password};
use assay_oracle::peers::tls::{Members, Terms, Tls};
use assay_oracle::signer::Protection;
use assay_proto::oracle::v1 as wire;
use assay_proto::oracle::v1::committee_client::CommitteeClient;
use assay_proto::oracle_convert::{LogEntry, Message};
use assay_tests::anvil::Anvil;
use assay_tests::beacon::{Beacon, BeaconKey, serve_beacon};
use assay_tests::binaries;
use assay_tests::deploy::{DeploySpec, Deployment, OracleSpec, deploy};
use assay_tests::process::{Process, Spec};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, query_as};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Far beyond what anything here needs: a loaded machine must not turn a test red.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const PASSWORD: &str = "correct horse";

pub struct World {
    pub deployment: Deployment,
    pub beacon: Beacon,
    pub beacon_url: String,
    _anvil: Anvil,
}

/// Chain, contracts with four oracles, and beacon. They live on a thread of their own: every test has its own runtime.
pub fn world() -> &'static World {
    static WORLD: LazyLock<World> = LazyLock::new(|| {
        let (done, built) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                done.send(World::start().await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        built.recv().unwrap()
    });
    &WORLD
}

/// The verdict key of oracle `number`.
pub fn key(number: u8) -> SecretKey {
    SecretKey::key_gen(&[number; 32]).unwrap()
}

fn transmitter(number: u8) -> secp::SecretKey {
    secp::SecretKey::from_bytes(&[number; 32]).unwrap()
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl World {
    async fn start() -> Self {
        // It ends with this process, which nothing here outlives, and nobody reads its log.
        let anvil = Anvil::start_on(assay_tests::ports::free_port().unwrap(), Path::new("/dev/null")).await.unwrap();
        let oracle = |number: u8| OracleSpec {
            key: key(number),
            operator: Address([0x10 + number; 20]),
            transmitter: transmitter(number).address(),
            recipient: Address([0x20 + number; 20]),
            // Nobody: no test needs an answer of a peer.
            endpoint: "http://127.0.0.1:1".into(),
            network_group: number.into(),
            stake: 1_000,
        };
        let params = Params::devnet();
        let spec = DeploySpec {
            oracles: (1..=4).map(oracle).collect(),
            epoch_length_s: params.epoch_ms() / 1_000,
            valid_epochs: params.valid_epochs,
            params_hash: params.hash(),
            ..DeploySpec::default()
        };
        let deployment = deploy(anvil.url(), &spec).await.unwrap();
        let beacon = Beacon::new(BeaconKey::from_seed(&[0xbe; 32]).unwrap(), now_ms() / 1_000, 1);
        let beacon_url = served(beacon.clone()).await;
        Self { deployment, beacon, beacon_url, _anvil: anvil }
    }

    pub fn instance(&self) -> Instance {
        Instance { chain_id: self.deployment.chain.chain_id, settlement: self.deployment.settlement }
    }

    /// The epoch of this moment; the first before it begins.
    fn epoch(&self) -> u64 {
        now_ms().saturating_sub(self.deployment.genesis_s * 1_000) / Params::devnet().epoch_ms()
    }
}

/// Serves a beacon as long as the runtime lives; returns its URL.
pub async fn served(beacon: Beacon) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve_beacon(listener, beacon, CancellationToken::new()));
    url
}

// ---- programs that refuse ----

/// Runs a program of ours that must refuse: exit code 1, no panic. Returns what it says from `error: ` on.
pub async fn refused(command: &mut Command) -> String {
    let ended = timeout(PATIENCE, command.stdin(Stdio::null()).kill_on_drop(true).output());
    let output = ended.await.expect("it neither works nor refuses").unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!text.contains("panicked") && !text.contains("backtrace"), "{text}");
    let at = text.find("error: ").unwrap_or_else(|| panic!("no error in: {text}"));
    assert!(at == 0 || text[..at].ends_with('\n'), "the error has a line of its own: {text}");
    text[at..].to_owned()
}

/// Runs a program of ours that must work; returns what it prints.
pub async fn works(command: &mut Command) -> String {
    let output = timeout(PATIENCE, command.stdin(Stdio::null()).kill_on_drop(true).output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn program(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(binaries::path(name));
    command.args(args);
    command
}

/// The message names the thing and the remedy.
#[track_caller]
pub fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

/// A refusal changes nothing below a directory.
#[track_caller]
pub fn assert_unchanged(dir: &Path, before: &BTreeMap<PathBuf, Vec<u8>>, message: &str) {
    let after = files(dir);
    let names = before.keys().chain(after.keys());
    let changed: Vec<_> = names.filter(|name| before.get(*name) != after.get(*name)).collect();
    assert!(changed.is_empty(), "{changed:?} changed: {message}");
}

/// Every file below a directory.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    found
}

// ---- a node ----

/// An oracle as the registry knows it, ready to be started or to be spoilt first.
pub struct Setup {
    pub dir: TempDir,
    pub config: toml::Table,
}

impl Setup {
    /// Oracle 1 to 4 with its own keys and an empty signing record.
    pub async fn new(number: u8) -> Self {
        Self::with_key(number, &key(number)).await
    }

    /// As [`Setup::new`], with another verdict key.
    pub async fn with_key(number: u8, verdict: &SecretKey) -> Self {
        let world = world();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("password"), PASSWORD).unwrap();
        let password = Password::new(PASSWORD);
        keystore::store_bls(Path::new(&path("verdict.json")), verdict, &password, Kdf::Pbkdf2).unwrap();
        keystore::store_secp(Path::new(&path("transmitter.json")), &transmitter(number), &password, Kdf::Pbkdf2).unwrap();
        Protection::create(Path::new(&path("protection.sqlite")), &verdict.public_key(), &world.instance()).await.unwrap();
        let (chain, beacon) = (&world.deployment.chain, world.beacon.config(vec![world.beacon_url.clone()]));
        let text = format!(
            "oracle_id = {number}\nparams = 'devnet'\nlisten = '127.0.0.1:0'\napi_listen = '127.0.0.1:0'\n\
             data_dir = '{data}'\nprotection_file = '{protection}'\n\
             [keys]\nverdict = '{verdict}'\ntransmitter = '{transmitter}'\npassword_file = '{password}'\n\
             [chain]\nrpc_url = '{rpc}'\nchain_id = {id}\noracle_registry = '{oracles}'\nprovider_registry = '{providers}'\nsettlement = '{settlement}'\n\
             [beacon]\nurls = ['{url}']\nchain_hash = '{hash}'\npublic_key = '{key}'\n",
            data = path("data"),
            protection = path("protection.sqlite"),
            verdict = path("verdict.json"),
            transmitter = path("transmitter.json"),
            password = path("password"),
            rpc = chain.rpc_url.first(),
            id = chain.chain_id,
            oracles = chain.oracle_registry,
            providers = chain.provider_registry,
            settlement = world.deployment.settlement,
            url = world.beacon_url,
            hash = beacon.chain_hash,
            key = beacon.public_key,
        );
        let config = text.parse().unwrap();
        Self { dir, config }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The path as messages show it.
    pub fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The node's database.
    pub fn database(&self) -> PathBuf {
        Path::new(self.config["data_dir"].as_str().unwrap()).join("node.sqlite")
    }

    /// Sets a key of the config, as in `chain.rpc_url`.
    pub fn set(&mut self, key: &str, value: impl Into<toml::Value>) -> &mut Self {
        let mut table = &mut self.config;
        let mut names = key.split('.').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                table.insert(name.to_owned(), value.into());
                break;
            }
            table = table.entry(name).or_insert_with(|| toml::Table::new().into()).as_table_mut().unwrap();
        }
        self
    }

    /// Writes the config file.
    pub fn write(&self) -> String {
        let path = self.path("oracle.toml");
        fs::write(&path, toml::to_string(&self.config).unwrap()).unwrap();
        path.display().to_string()
    }

    pub fn run(&self) -> Command {
        program("assay-oracle", &["run", "--config", &self.write()])
    }

    /// Runs the node, which must refuse to start and leave every file as it was.
    pub async fn refused(&self) -> String {
        let mut command = self.run();
        let before = files(self.dir.path());
        let message = refused(&mut command).await;
        assert_unchanged(self.dir.path(), &before, &message);
        message
    }

    /// Starts the node and waits until it is up.
    pub async fn start(&self) -> Node {
        let spec = Spec::new(binaries::path("assay-oracle"), self.path("log")).args(["run", "--config", &self.write()]).guarded();
        self.up(&spec).await
    }

    /// As [`Setup::start`], as a child whose process id is the node's, and in which a file that outgrows its limit is an error.
    pub async fn start_bare(&self) -> Node {
        let ignoring = "trap '' XFSZ; exec \"$@\"";
        let spec = Spec::new("/bin/sh", self.path("log")).args(["-c", ignoring, "sh"]).arg(binaries::path("assay-oracle").display());
        self.up(&spec.args(["run", "--config", &self.write()])).await
    }

    async fn up(&self, spec: &Spec) -> Node {
        let _ = fs::remove_file(self.path("log"));
        let mut node = Node { process: spec.start().unwrap(), log: self.path("log"), database: self.database(), client: None };
        let line = node.says(&["started", "grpc_addr="]).await;
        let addr = line.split("grpc_addr=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().to_owned();
        let number = self.config["oracle_id"].as_integer().unwrap() as u64;
        let channel = peer_of(number).channel(OracleId(number), &format!("https://{addr}")).unwrap();
        node.client = Some(CommitteeClient::new(channel));
        node
    }
}

/// Another member of the committee, as this oracle's peer.
fn peer_of(oracle: u64) -> Arc<Tls> {
    let me = if oracle == 4 { 3 } else { 4 };
    let members = Members::fixed([(OracleId(oracle), key(oracle as u8).public_key())]);
    let (instance, params_hash) = (world().instance(), Params::devnet().hash());
    Tls::new(Terms { instance, params_hash, oracle: OracleId(me) }, Arc::new(key(me as u8)), members).unwrap()
}

/// A running node.
pub struct Node {
    pub process: Process,
    log: PathBuf,
    database: PathBuf,
    client: Option<CommitteeClient<Channel>>,
}

impl Node {
    /// Waits for a line of the log with all these words.
    pub async fn says(&mut self, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| words.iter().all(|word| line.contains(word))) {
                return line.to_owned();
            }
            if let Some(status) = self.process.ended() {
                panic!("the node ended with {status}: {log}");
            }
            assert!(Instant::now() < deadline, "{words:?} is not in the log: {log}");
            sleep(POLL).await;
        }
    }

    pub async fn deliver_bytes(&self, envelope: Vec<u8>) -> Result<wire::DeliverReply, Status> {
        let mut client = self.client.clone().unwrap().max_encoding_message_size(usize::MAX);
        client.deliver(wire::DeliverRequest { envelope: envelope.into() }).await.map(tonic::Response::into_inner)
    }

    pub async fn deliver(&self, message: &Message) -> wire::DeliverReply {
        self.deliver_bytes(message.encode().to_vec()).await.unwrap()
    }

    /// Waits until the node takes messages of an epoch, by a wish of oracle 4 for view 1. Returns the epoch.
    pub async fn open_epoch(&self) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let epoch = world().epoch();
            let reply = self.deliver_bytes(wish(4, epoch, 1, &key(4)).encode().to_vec()).await;
            match reply {
                Ok(reply) if reply.outcome() == wire::Outcome::Accepted => return epoch,
                Ok(reply) => assert_eq!(reply.reason(), wire::Reason::NotYet, "{}", reply.text),
                // Before it has read a frame it knows no peer and closes the connection, at which point of the call may vary.
                Err(status) => assert!(matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown), "{status}"),
            }
            assert!(Instant::now() < deadline, "no epoch opens");
            sleep(POLL * 5).await;
        }
    }

    /// The messages of peers that are on disk.
    pub async fn stored(&self) -> Vec<Message> {
        let options = SqliteConnectOptions::new().filename(&self.database).read_only(true);
        let mut database = SqliteConnection::connect_with(&options).await.unwrap();
        let rows: Vec<(Vec<u8>,)> = query_as("SELECT message FROM inputs ORDER BY sequence").fetch_all(&mut database).await.unwrap();
        database.close().await.unwrap();
        let entries = rows.iter().map(|(bytes,)| LogEntry::decode(bytes).unwrap());
        entries.filter_map(|entry| if let LogEntry::Received(message) = entry { Some(message) } else { None }).collect()
    }

    /// The proofs of misbehaviour that are on disk.
    pub async fn proofs(&self) -> Vec<Message> {
        let options = SqliteConnectOptions::new().filename(&self.database).read_only(true);
        let mut database = SqliteConnection::connect_with(&options).await.unwrap();
        let rows: Vec<(Vec<u8>,)> =
            query_as("SELECT proof FROM misbehaviour ORDER BY epoch, oracle").fetch_all(&mut database).await.unwrap();
        database.close().await.unwrap();
        rows.iter().map(|(bytes,)| Message::decode(bytes).unwrap()).collect()
    }

    pub async fn stop(self) {
        let status = self.process.stop(PATIENCE).await.unwrap();
        assert!(status.success(), "{status}: {}", fs::read_to_string(&self.log).unwrap());
    }
}

/// The wish of an oracle for a view, signed with this key.
pub fn wish(by: u8, epoch: u64, view: u64, key: &SecretKey) -> Message {
    let oracle = OracleId(by.into());
    let digest = wish_message(&world().instance(), epoch, view, oracle);
    Message::Wish(Wish { epoch, view, oracle, signature: key.sign(Domain::ViewWish, &digest) })
}

/// The commit of an oracle to some root, signed with this key.
pub fn commit(by: u8, epoch: u64, root: u8, key: &SecretKey) -> SignedCommit {
    let (oracle, seeds, root) = (OracleId(by.into()), Hash32([1; 32]), Hash32([root; 32]));
    let commit = Commit { epoch, oracle, seeds, secure: true, root, leaf_count: 1, log_head: Hash32::ZERO };
    SignedCommit { commit, signature: key.sign(Domain::Commit, &commit.digest(&world().instance())) }
}
