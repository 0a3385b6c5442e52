//! A stranger's keeper: a real binary, real contracts, a real chain, and APIs that tell the truth or do not.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;

use assay_chain::market::BookingId;
use assay_chain::{BlockTag, ClaimKind};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, OracleId, ProviderId};
use assay_core::merkle;
use assay_core::observation::Fault;
use assay_core::params::TOKEN;
use assay_core::report::{Ledger, Outcome, Report, Standing, slash_leaf};
use assay_core::verdict::{Grade, StorageCounts, Verdict};
use assay_daemon::keystore::{self, Kdf, Password};
use assay_proto::rest::LedgerDocument;
use assay_tests::binaries::{self, json_of, refusal};
use assay_tests::deploy::{BOOKING_TIP, CLAIM_TIP, DeploySpec, KEEPER_FUNDS, Offer, ProviderSpec, SLASH_TIP, open_market};
use assay_tests::report::{SignedChain, oracle};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const HONEST: ProviderId = ProviderId(1);
const FAULTY: ProviderId = ProviderId(2);
/// Of the full price, what the verdict on the honest one pays.
const MULTIPLIER_PPM: u64 = 600_000;
const REWARD: u128 = 7 * TOKEN + 1;
const ORACLE_REWARD: u128 = TOKEN;
const ORACLES: u8 = 4;
const STAKE: u128 = 100 * TOKEN;
const SLASH: u128 = 20 * TOKEN;
const PRICE: u128 = TOKEN;
const BOOKED_GIB: u64 = 10;

fn provider(i: u8) -> ProviderSpec {
    ProviderSpec {
        operator: Address([0x40 + i; 20]),
        receipt_key: Address([0x50 + i; 20]),
        recipient: Address([0x60 + i; 20]),
        endpoint: format!("http://127.0.0.1:{}", 8000 + u16::from(i)),
        class_id: 100,
        region: 1,
        stake: STAKE,
    }
}

/// A chain with everybody registered, a booking of two epochs, and a key file of somebody who is none of them.
struct World {
    chain: SignedChain,
    dir: tempfile::TempDir,
    stranger: Address,
}

impl World {
    async fn new() -> Self {
        let spec = DeploySpec {
            oracles: (1..=ORACLES).map(oracle).collect(),
            providers: [1, 2].map(provider).to_vec(),
            params_hash: Hash32([9; 32]),
            epoch_budget: 1_000 * TOKEN,
            pool: 10_000 * TOKEN,
            ..DeploySpec::default()
        };
        let chain = SignedChain::start(spec).await;
        let offer = Offer { provider: HONEST, operator: provider(1).operator, gib: 50, price: PRICE, booked_gib: BOOKED_GIB };
        open_market(&chain.deployment, &[offer], &Address([0x70; 20]), 100 * TOKEN, 2).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("password"), "correct horse").unwrap();
        let password = Password::from_file(&dir.path().join("password")).unwrap();
        let stranger = keystore::create_secp(&dir.path().join("stranger.json"), &password, Kdf::Pbkdf2).unwrap().address();
        chain.anvil.set_balance(&stranger.to_string(), 10 * TOKEN).await.unwrap();
        Self { chain, dir, stranger }
    }

    /// What the committee says of an epoch: one provider is paid, one is slashed.
    async fn outcome(&self, epoch: u64) -> Outcome {
        let verdicts =
            vec![verdict(HONEST, epoch, MULTIPLIER_PPM, REWARD, None), verdict(FAULTY, epoch, 0, 0, Some(Fault::StorageMissing))];
        let earned = |cumulative, recipient, multiplier_ppm| Standing { multiplier_ppm, cumulative, recipient };
        let mut ledger = Ledger {
            digest: Hash32::ZERO,
            epoch: Some(epoch),
            providers: BTreeMap::from([
                (HONEST, earned(REWARD, provider(1).recipient, MULTIPLIER_PPM)),
                (FAULTY, earned(0, Address::default(), 0)),
            ]),
            oracles: (1..=ORACLES).map(|i| (OracleId(i.into()), earned(ORACLE_REWARD, oracle(i).recipient, 1_000_000))).collect(),
            watch: BTreeMap::new(),
        };
        let report = Report {
            result_root: merkle::root(verdicts.iter().map(Verdict::leaf).collect()),
            reward_root: ledger.reward_tree(&self.chain.deployment.token).root(),
            slash_root: merkle::root(verdicts.iter().filter_map(slash_leaf).collect()),
            reward_total: REWARD + u128::from(ORACLES) * ORACLE_REWARD,
            slash_total: SLASH,
            ..self.chain.report(epoch).await
        };
        ledger.digest = report.digest();
        Outcome { report, verdicts, panels: BTreeMap::new(), paid_oracles: BTreeSet::new(), ledger }
    }

    async fn keep(&self, apis: &[&str], more: &[&str]) -> Output {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let (keeper, key, password) = (self.chain.deployment.economy.keeper.to_string(), path("stranger.json"), path("password"));
        let place = ["keeper", "--rpc", self.chain.anvil.url(), "--keeper", &keeper, "--key", &key, "--password-file", &password, "--once"];
        let apis: Vec<&str> = apis.iter().flat_map(|api| ["--api", api]).collect();
        let arguments = [&place[..], &apis, more].concat();
        tokio::process::Command::new(binaries::path("assay-oracle")).args(arguments).output().await.unwrap()
    }

    /// Transactions that the stranger sent.
    async fn sent(&self) -> Value {
        self.chain.sent(&self.stranger).await
    }
}

fn verdict(provider: ProviderId, epoch: u64, multiplier_ppm: u64, reward: u128, slash_reason: Option<Fault>) -> Verdict {
    Verdict {
        provider,
        epoch,
        outcome: if slash_reason.is_some() { Grade::Fail } else { Grade::Degraded },
        dimensions: Vec::new(),
        p50_us: 0,
        in_kbps: 0,
        out_kbps: 0,
        storage: StorageCounts::default(),
        multiplier_ppm,
        reward,
        slash: if slash_reason.is_some() { SLASH } else { 0 },
        slash_reason,
        facts_root: if slash_reason.is_some() { Hash32([5; 32]) } else { Hash32::ZERO },
        watched: Hash32::ZERO,
    }
}

/// An oracle's API that gives this ledger of this epoch and knows no other.
async fn api(epoch: u64, ledger: LedgerDocument) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let route = axum::routing::get(async move || axum::Json(ledger));
    let router = axum::Router::new().route(&format!("/v1/epochs/{epoch}/ledger"), route);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_does_what_is_due_for_tips_and_believes_no_api() {
    let world = World::new().await;
    let epochs = world.chain.market.booking(BookingId(1), BlockTag::Latest).await.unwrap().epochs();
    let epoch = epochs.start;
    world.chain.until_epoch(epoch + world.chain.spec.valid_epochs).await;
    let outcome = world.outcome(epoch).await;
    world.chain.accept(&outcome.report).await;
    // The second booked epoch has no report, and can have none any more.
    world.chain.until_epoch(epochs.end + world.chain.spec.valid_epochs + 1).await;
    world.chain.anvil.mine(3).await.unwrap();
    let truth = api(epoch, LedgerDocument::from(&outcome)).await;

    // Defence: all of a ledger stands under the accepted report; without it the false amount is proven wrongly, sent and refused.
    let mut ledger = LedgerDocument::from(&outcome);
    ledger.providers.get_mut(&HONEST).unwrap().cumulative += 1;
    let lie = api(epoch, ledger).await;
    let refused = refusal(&world.keep(&[&lie], &[]).await);
    assert!(refused.contains(&format!("the API at {lie} lies")) && refused.contains("does not stand under the report"), "{refused}");
    // Defence: the report is the one that the chain accepted; without it anybody's report vouches for anybody's ledger.
    let mut other = outcome.clone();
    other.ledger.providers.get_mut(&HONEST).unwrap().cumulative += 1;
    other.report.reward_root = other.ledger.reward_tree(&world.chain.deployment.token).root();
    other.ledger.digest = other.report.digest();
    let forgery = api(epoch, LedgerDocument::from(&other)).await;
    let refused = refusal(&world.keep(&[&forgery], &[]).await);
    assert!(refused.contains("another report than the finalized chain accepted") && refused.contains("set --api"), "{refused}");
    let down = refusal(&world.keep(&["http://127.0.0.1:1"], &[]).await);
    assert!(down.contains("set --api to the base URL of an oracle that runs"), "{down}");
    assert_eq!(world.sent().await, json!("0x0"));

    // Defence: a dry run sends nothing. One API that lies is passed over and named when another one tells the truth.
    let dry = json_of(&world.keep(&[&lie, &truth], &["--dry-run", "--json"]).await);
    assert!(dry["notes"][0].as_str().unwrap().contains("lies"), "{dry}");
    assert_eq!(dry["transactions"].as_array().unwrap().len(), 4, "a slash, claims, a booking and a refund: {dry}");
    assert_eq!((world.sent().await, world.chain.balance(&world.stranger).await), (json!("0x0"), 0));

    let kept = json_of(&world.keep(&[&truth], &["--json"]).await);
    let tips = SLASH_TIP + (1 + u128::from(ORACLES)) * CLAIM_TIP + BOOKING_TIP;
    assert_eq!((&kept["tip"], &dry["tip"]), (&json!("1.55"), &json!("1.55")), "as announced: {kept}");
    assert_eq!((&kept["refused"], world.sent().await), (&json!([]), json!("0x4")), "{kept}");
    assert_eq!(world.chain.balance(&world.stranger).await, tips);
    assert_eq!(world.chain.balance(&world.chain.deployment.economy.keeper).await, KEEPER_FUNDS - tips);
    assert_eq!(world.chain.balance(&provider(1).recipient).await, REWARD);
    for i in 1..=ORACLES {
        assert_eq!(world.chain.balance(&oracle(i).recipient).await, ORACLE_REWARD);
        assert_eq!(world.chain.client.claimed(ClaimKind::Oracle, i.into(), BlockTag::Latest).await.unwrap(), ORACLE_REWARD);
    }
    assert!(world.chain.client.slash_executed(FAULTY, epoch, BlockTag::Latest).await.unwrap());
    assert_eq!(world.chain.market.stake_of(FAULTY, BlockTag::Latest).await.unwrap().0, STAKE - SLASH);
    let booking = world.chain.market.booking(BookingId(1), BlockTag::Latest).await.unwrap();
    let full = PRICE * u128::from(BOOKED_GIB);
    assert_eq!((booking.escrow, booking.credit), (0, full * 4 / 10 + full), "one bad epoch, and one without a report");

    // Defence: what is done is looked up; without it the second run sends the same again, for nothing.
    let again = world.keep(&[&truth], &[]).await;
    assert!(String::from_utf8_lossy(&again.stdout).contains("Nothing is due."), "{}", String::from_utf8_lossy(&again.stdout));
    assert_eq!((again.status.code(), world.sent().await), (Some(0), json!("0x4")));
}
