//! The commands that move money: real binaries, real contracts, a real chain.

use std::process::Output;

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use assay_chain::market::BookingId;
use assay_chain::transaction::{self, SendConfig};
use assay_chain::{BlockTag, calls};
use assay_contracts_bindings::TestToken;
use assay_core::abi::Words;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::merkle::{self, StandardTree};
use assay_core::params::TOKEN;
use assay_core::report::Report;
use assay_core::secp::SecretKey;
use assay_core::verdict::{Grade, StorageCounts, Verdict};
use assay_daemon::keystore::{self, Kdf, Password};
use assay_tests::anvil::CHAIN_ID;
use assay_tests::binaries::{self, json_of, refusal};
use assay_tests::deploy::{DeploySpec, MARGIN_PPM};
use assay_tests::report::{SignedChain, oracle};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const PROVIDER: ProviderId = ProviderId(1);
/// Of the full price, what the verdict pays.
const MULTIPLIER_PPM: u64 = 600_000;
const REWARD: u128 = 7 * TOKEN + 1;

/// A chain with all contracts, a committee, and nobody else; key files for an operator and a builder.
struct World {
    chain: SignedChain,
    dir: tempfile::TempDir,
    operator: SecretKey,
    builder: Address,
}

impl World {
    async fn new() -> Self {
        let spec = DeploySpec {
            oracles: (1..=4).map(oracle).collect(),
            params_hash: Hash32([9; 32]),
            epoch_budget: 1_000 * TOKEN,
            pool: 10_000 * TOKEN,
            ..DeploySpec::default()
        };
        let chain = SignedChain::start(spec).await;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("password"), "correct horse").unwrap();
        let password = Password::from_file(&dir.path().join("password")).unwrap();
        let operator = keystore::create_secp(&dir.path().join("operator.json"), &password, Kdf::Pbkdf2).unwrap();
        let mut world = Self { chain, dir, operator, builder: Address([0; 20]) };
        world.init().await;
        world
    }

    async fn init(&mut self) {
        let (data, password) = (self.path("provider"), self.path("password"));
        let (registry, settlement) =
            (self.chain.deployment.chain.provider_registry.to_string(), self.chain.deployment.settlement.to_string());
        let chain_id = CHAIN_ID.to_string();
        let init = ["init", "--data-dir", &data, "--password-file", &password, "--chain-id", &chain_id, "--fast-kdf"];
        succeed("assay-provider", &[&init[..], &["--provider-registry", &registry, "--settlement", &settlement]].concat()).await;
        let keys = self.path("keys");
        let keygen = ["keygen", "--keys", &keys, "--password-file", &password, "--i-understand", "--fast-kdf", "--json"];
        let made = succeed("assay-builder", &keygen).await;
        self.builder = Address::from_hex(made["address"].as_str().unwrap()).unwrap();
        for account in [self.operator.address(), self.builder] {
            self.chain.anvil.set_balance(&account.to_string(), 10 * TOKEN).await.unwrap();
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// A command of the operator's, with what all of them take.
    async fn provider(&self, arguments: &[&str]) -> Output {
        let (config, key, password) = (self.path("provider/provider.toml"), self.path("operator.json"), self.path("password"));
        let common = ["--config", &config, "--rpc", self.chain.anvil.url(), "--key", &key, "--password-file", &password, "--json"];
        run("assay-provider", &[arguments, &common].concat()).await
    }

    /// The same after the registration.
    async fn registered(&self, arguments: &[&str]) -> Output {
        self.provider(&[arguments, &["--provider-id", "1"]].concat()).await
    }

    async fn in_market(&self, arguments: &[&str]) -> Output {
        let market = self.chain.market.address.to_string();
        self.registered(&[arguments, &["--market", &market]].concat()).await
    }

    async fn builder(&self, arguments: &[&str]) -> Output {
        let (market, keys, password) = (self.chain.market.address.to_string(), self.path("keys"), self.path("password"));
        let common = ["--rpc", self.chain.anvil.url(), "--market", &market, "--keys", &keys, "--password-file", &password, "--json"];
        run("assay-builder", &[arguments, &common].concat()).await
    }

    /// A builder's command that needs no key.
    async fn look(&self, arguments: &[&str]) -> Value {
        let market = self.chain.market.address.to_string();
        json_of(&run("assay-builder", &[arguments, &["--rpc", self.chain.anvil.url(), "--market", &market, "--json"]].concat()).await)
    }

    async fn money(&self) -> Value {
        let (market, config) = (self.chain.market.address.to_string(), self.path("provider/provider.toml"));
        let common = ["--config", &config, "--rpc", self.chain.anvil.url(), "--market", &market, "--provider-id", "1", "--json"];
        json_of(&run("assay-provider", &[&["money"], &common[..]].concat()).await)
    }

    async fn mint(&self, to: &Address, amount: u128) {
        let call = TestToken::mintCall { to: alloy_primitives::Address::from(to.0), amount: U256::from(amount) }.abi_encode();
        self.send(&self.chain.deployment.token, call).await;
    }

    async fn send(&self, to: &Address, call: Vec<u8>) {
        transaction::send(self.chain.client.rpc(), &self.operator, to, &call, &SendConfig::default()).await.unwrap();
    }

    /// A report of this epoch with one verdict and one reward, accepted and past its window.
    async fn accepted(&self, epoch: u64) -> Report {
        let rewards = StandardTree::new(vec![self.reward_leaf(REWARD)]);
        let report = Report {
            result_root: StandardTree::new(vec![verdict(epoch).leaf()]).root(),
            reward_root: rewards.root(),
            reward_total: REWARD,
            ..self.chain.report(epoch).await
        };
        // The epoch before has no report, and must be past having one.
        self.chain.until_epoch(epoch + self.chain.spec.valid_epochs).await;
        self.chain.accept(&report).await;
        let accepted = self.chain.client.accepted_report(epoch, BlockTag::Latest).await.unwrap().unwrap();
        self.chain.until(accepted.accepted_at_s + self.chain.spec.slash_window_s).await;
        self.chain.anvil.mine(3).await.unwrap();
        report
    }

    fn reward_leaf(&self, cumulative: u128) -> Hash32 {
        let words =
            Words::new().with(&0_u8).with(&PROVIDER).with(&self.operator.address()).with(&self.chain.deployment.token).with(&cumulative);
        merkle::leaf(&words)
    }

    /// An oracle's API that says this of provider 1's rewards.
    async fn api(&self, report: &Report, cumulative: u128) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let told = json!({
            "report": report, "kind": 0, "id": 1, "recipient": self.operator.address(), "cumulative": cumulative.to_string(), "proof": [],
        });
        let router = axum::Router::new().route("/v1/rewards/provider/1", axum::routing::get(async move || axum::Json(told)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }
}

fn verdict(epoch: u64) -> Verdict {
    Verdict {
        provider: PROVIDER,
        epoch,
        outcome: Grade::Degraded,
        dimensions: Vec::new(),
        p50_us: 0,
        in_kbps: 0,
        out_kbps: 0,
        storage: StorageCounts::default(),
        multiplier_ppm: MULTIPLIER_PPM,
        reward: REWARD,
        slash: 0,
        slash_reason: None,
        facts_root: Hash32::ZERO,
        watched: Hash32::ZERO,
    }
}

async fn run(binary: &str, arguments: &[&str]) -> Output {
    tokio::process::Command::new(binaries::path(binary)).args(arguments).output().await.unwrap()
}

async fn succeed(binary: &str, arguments: &[&str]) -> Value {
    json_of(&run(binary, arguments).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn capacity_is_offered_booked_settled_paid_and_given_back() {
    let world = World::new().await;
    let operator = world.operator.address();
    let register = ["register", "--endpoint", "http://127.0.0.1:9300", "--class", "100", "--region", "7", "--stake", "100.5"];

    // Defence: all steps are run before the first is sent; without it the approval goes out for a registration that fails.
    let poor = refusal(&world.provider(&register).await);
    assert!(poor.contains("get more tokens") && poor.contains("100.5 tokens are needed") && poor.contains("Nothing was sent"), "{poor}");
    assert_eq!(world.chain.sent(&operator).await, json!("0x0"));
    world.mint(&operator, 200 * TOKEN).await;

    // Defence: a dry run sends nothing; without it this account has two transactions more and a stake.
    let nonce = world.chain.sent(&operator).await;
    let dry = json_of(&world.provider(&[&register[..], &["--dry-run"]].concat()).await);
    assert_eq!((dry["dryRun"].as_bool(), dry["transactions"].as_array().map(Vec::len)), (Some(true), Some(2)));
    assert!(dry["transactions"][1]["gas"].as_u64().unwrap() > 100_000 && dry["from"] == json!(operator), "{dry}");
    assert_eq!((world.chain.sent(&operator).await, world.chain.balance(&operator).await), (nonce, 200 * TOKEN));

    let made = json_of(&world.provider(&register).await);
    assert_eq!(made["providerId"], json!(1), "{made}");
    assert_eq!(world.chain.balance(&operator).await, 200 * TOKEN - 100 * TOKEN - TOKEN / 2);
    json_of(&world.registered(&["stake", "add", "--amount", "9.5"]).await);
    let greedy = refusal(&world.registered(&["capacity", "--gib", "111"]).await);
    assert!(greedy.contains("the stake is 110 tokens, and 111 tokens are needed: add stake, or promise less"), "{greedy}");
    json_of(&world.registered(&["capacity", "--gib", "110"]).await);
    json_of(&world.in_market(&["list", "--gib", "50", "--price", "0.25"]).await);

    // The builder.
    world.mint(&world.builder, 100 * TOKEN).await;
    let area = ["--class", "100", "--region", "7"];
    let quoted = world.look(&[&["quote", "--gib", "10", "--epochs", "3"], &area[..]].concat()).await;
    assert_eq!((quoted["total"].as_str(), quoted["dearest"].as_str()), (Some("7.5"), Some("0.25")), "{quoted}");
    let book = [&["book", "--gib", "10", "--epochs", "3"], &area[..]].concat();
    let stingy = refusal(&world.builder(&[&book[..], &["--max-price", "0.2"]].concat()).await);
    assert!(stingy.contains("fewer than 10 GiB are offered at 0.2 tokens or less"), "{stingy}");
    let stingy = refusal(&world.builder(&[&book[..], &["--max-price", "0.2", "--provider", "1", "--dry-run"]].concat()).await);
    assert!(stingy.contains("the provider asks 0.25 tokens per GiB and epoch, more than your maximum of 0.2 tokens"), "{stingy}");
    let booked = json_of(&world.builder(&[&book[..], &["--max-price", "0.25"]].concat()).await);
    assert_eq!((&booked["bookings"], booked["escrow"].as_str()), (&json!([1]), Some("7.5")), "{booked}");
    // Defence: exactly the escrow is approved; with an endless allowance this is not zero.
    assert_eq!(world.chain.market.allowance(&world.builder, &world.chain.market.address).await.unwrap(), U256::ZERO);
    json_of(&world.builder(&["extend", "--booking", "1", "--epochs", "1", "--max-price", "0.25"]).await);
    assert_eq!(world.chain.balance(&world.builder).await, 90 * TOKEN);

    // One bad epoch.
    let epochs = world.chain.market.booking(BookingId(1), BlockTag::Latest).await.unwrap().epochs();
    assert_eq!(epochs.end - epochs.start, 4);
    let bound = refusal(&world.registered(&["exit"]).await);
    assert!(bound.contains("bookings bind the provider until unix time") && bound.contains("unlist"), "{bound}");
    let report = world.accepted(epochs.start).await;
    let settle = calls::settle_bookings(&[BookingId(1)], &report, &verdict(epochs.start), &[]);
    world.send(&world.chain.market.address, settle).await;
    world.chain.anvil.mine(3).await.unwrap();
    let credit = world.look(&["credit", "show", "--builder", &world.builder.to_string()]).await;
    assert_eq!((credit["credit"].as_str(), credit["bookings"][0]["final"].as_bool()), (Some("1"), Some(true)), "40 % of 2.5: {credit}");
    json_of(&world.builder(&["credit", "withdraw"]).await);
    assert_eq!(world.chain.balance(&world.builder).await, 91 * TOKEN);
    let nothing = refusal(&world.builder(&["credit", "withdraw"]).await);
    assert!(nothing.contains("nothing to withdraw"), "{nothing}");

    // The provider's pay: of bookings and of the pool.
    let earned = 15 * TOKEN / 10 * (1_000_000 - u128::from(MARGIN_PPM)) / 1_000_000;
    let before = world.chain.balance(&operator).await;
    // Defence: a reward must stand under the accepted report's root; without it a false amount is signed and sent.
    let lie = world.api(&report, REWARD + 1).await;
    let refused = refusal(&world.registered(&["claim", "--api", &lie]).await);
    assert!(refused.contains("does not stand under the report"), "{refused}");
    // Defence: the report must be the accepted one; without it anybody's report and root pass.
    let other = Report { reward_root: world.reward_leaf(REWARD + 1), ..report.clone() };
    let lie = world.api(&other, REWARD + 1).await;
    let refused = refusal(&world.registered(&["claim", "--api", &lie]).await);
    assert!(refused.contains("has not accepted this report"), "{refused}");
    let api = world.api(&report, REWARD).await;
    let claimed = json_of(&world.in_market(&["claim", "--api", &api]).await);
    assert_eq!((claimed["rewards"].as_str(), claimed["earnings"].as_str()), (Some("7.000000000000000001"), Some("1.35")), "{claimed}");
    assert_eq!(world.chain.balance(&operator).await - before, REWARD + earned);
    let nothing = refusal(&world.in_market(&["claim", "--api", &api]).await);
    assert!(nothing.contains("nothing is left to claim"), "{nothing}");

    // And out.
    json_of(&world.in_market(&["unlist"]).await);
    let none = refusal(&world.builder(&[&book[..], &["--max-price", "1", "--provider", "1"]].concat()).await);
    assert!(none.contains("10 GiB were asked for, 0 are to be had"), "{none}");
    world.chain.until_epoch(epochs.end + world.chain.spec.valid_epochs + 10).await;
    json_of(&world.registered(&["exit"]).await);
    let bonded = refusal(&world.registered(&["stake", "withdraw"]).await);
    assert!(bonded.contains("the stake is bonded until unix time"), "{bonded}");
    world.chain.until(world.chain.client.latest().await.unwrap().timestamp_s + 3_600).await;
    let before = world.chain.balance(&operator).await;
    json_of(&world.registered(&["stake", "withdraw"]).await);
    assert_eq!(world.chain.balance(&operator).await - before, 110 * TOKEN);
    let gone = refusal(&world.registered(&["exit"]).await);
    assert!(gone.contains("that is for ever"), "{gone}");
    let money = world.money().await;
    assert_eq!(
        (money["active"].as_bool(), money["stake"].as_str(), money["claimable"].as_str()),
        (Some(false), Some("0"), Some("0")),
        "{money}"
    );
}

/// A node's config with the operator's account as its transmitter.
fn oracle_config(world: &World) -> String {
    let (dir, chain, zero) = (world.dir.path().display(), &world.chain.deployment.chain, Hash32::ZERO);
    let config = format!(
        "oracle_id = 1\nparams = \"devnet\"\nlisten = \"127.0.0.1:1\"\napi_listen = \"127.0.0.1:2\"\ndata_dir = \"{dir}/data\"\n\
         protection_file = \"{dir}/protection.sqlite\"\n\n\
         [keys]\nverdict = \"{dir}/verdict.json\"\ntransmitter = \"{dir}/operator.json\"\npassword_file = \"{dir}/password\"\n\n\
         [chain]\nrpc_url = \"{}\"\nchain_id = {}\noracle_registry = \"{}\"\nprovider_registry = \"{}\"\nsettlement = \"{}\"\n\n\
         [beacon]\nurls = [\"http://127.0.0.1:3\"]\nchain_hash = \"{zero}\"\npublic_key = \"00\"\n",
        chain.rpc_url.first(),
        chain.chain_id,
        chain.oracle_registry,
        chain.provider_registry,
        world.chain.deployment.settlement,
    );
    let path = world.path("oracle.toml");
    std::fs::write(&path, config).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oracle_draws_anybodys_rewards_once_for_their_recipient() {
    let world = World::new().await;
    let operator = world.operator.address();
    let report = world.accepted(0).await;
    let (config, api) = (oracle_config(&world), world.api(&report, REWARD).await);
    let claim = ["claim", "--config", &config, "--for", "provider", "1", "--api", &api, "--json"];

    let nonce = world.chain.sent(&operator).await;
    let dry = succeed("assay-oracle", &[&claim[..], &["--dry-run"]].concat()).await;
    assert_eq!((dry["dryRun"].as_bool(), dry["rewards"].as_str()), (Some(true), Some("7.000000000000000001")), "{dry}");
    assert_eq!((world.chain.sent(&operator).await, world.chain.balance(&operator).await), (nonce, 0), "a dry run sends nothing");

    succeed("assay-oracle", &claim).await;
    assert_eq!(world.chain.balance(&operator).await, REWARD);
    // Defence: what the chain has paid is looked up first; without it a second claim is sent for nothing.
    let again = refusal(&run("assay-oracle", &claim).await);
    assert!(again.contains("nothing is left to claim"), "{again}");

    let own = ["claim", "--config", &config, "--for", "oracle", "1", "--api", &api];
    let unknown = refusal(&run("assay-oracle", &own).await);
    assert!(unknown.contains("nothing is left to claim"), "{unknown}");
    let nobody = ["claim", "--config", &config, "--api", "http://127.0.0.1:1"];
    let down = refusal(&run("assay-oracle", &nobody).await);
    assert!(down.contains("set --api to the base URL of an oracle that runs"), "{down}");
}
