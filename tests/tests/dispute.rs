//! A committee of which more than two thirds lie: whoever has the data proves it, the report is void, and who signed it pays.

use std::collections::BTreeMap;
use std::process::Output;

use assay_chain::transaction::{self, SendConfig};
use assay_chain::{AggregationCourt, BlockTag, SignersCourt, calls};
use assay_core::bls::Domain;
use assay_core::challenge::{Kind, Kinds};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, OracleId, ProviderId};
use assay_core::observation::{Commit, Counts, Observation, Reveal, SaltedObservation, Seeds, SignedCommit, VerifiedReveal};
use assay_core::params::{PPM, Params, TOKEN};
use assay_core::report::{Inputs, Ledger, OpenedReport, Outcome, ReportVerdicts, Setting, open_panels};
use assay_core::secp::SecretKey;
use assay_core::verdict::Verdict;
use assay_daemon::keystore::{self, Kdf, Password};
use assay_proto::rest::{BeaconChain, HexBytes, LedgerDocument, Network, ObservationsPage, RevealDocument};
use assay_tests::binaries::{self, json_of, refusal};
use assay_tests::deploy::{DeploySpec, ProviderSpec, REVIEW_S, SIGNERS_PPM};
use assay_tests::report::{SignedChain, oracle, stake_of};
use axum::extract::{Path, Query};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// One more than a panel has seats, so that panels are drawn.
const ORACLES: u8 = 8;
/// Of them, who lie.
const LIARS: usize = 6;
const STEADY: ProviderId = ProviderId(1);
/// Bad in epoch 0, so that it is paid less in epoch 1.
const SHAKY: ProviderId = ProviderId(2);

fn provider(i: u8) -> ProviderSpec {
    ProviderSpec {
        operator: Address([0x40 + i; 20]),
        receipt_key: Address([0x50 + i; 20]),
        recipient: Address([0x60 + i; 20]),
        endpoint: format!("http://127.0.0.1:{}", 8000 + u16::from(i)),
        class_id: 100,
        region: 1,
        stake: 100 * TOKEN,
    }
}

/// What an oracle saw of a provider: everything well, but for a fiftieth of its availability if it is bad.
fn seen(epoch: u64, provider: ProviderId, oracle: OracleId, is_bad: bool) -> Observation {
    let mut seen = Observation::empty(Kinds::standard(), epoch, provider, oracle);
    seen.counts = Kinds::standard()
        .iter()
        .map(|plug| {
            let mut counts = Counts { counted: 150, ..Counts::none(plug, 150) };
            if is_bad && counts.kind == Kind::AVAILABILITY {
                counts.bad[0] = 3;
            }
            counts
        })
        .collect();
    seen
}

/// An honestly computed epoch and the reveals behind it.
struct Epoch {
    outcome: Outcome,
    reveals: BTreeMap<OracleId, (SignedCommit, VerifiedReveal)>,
}

/// A chain with everybody registered, and key files of two who are none of them.
struct World {
    chain: SignedChain,
    params: Params,
    dir: tempfile::TempDir,
    challenger: Address,
    other: Address,
}

impl World {
    async fn new() -> Self {
        let params = Params::devnet();
        let chain = SignedChain::start(DeploySpec {
            oracles: (1..=ORACLES).map(oracle).collect(),
            providers: [1, 2].map(provider).to_vec(),
            params_hash: params.hash(),
            epoch_budget: 1_000 * TOKEN,
            pool: 10_000 * TOKEN,
            reward_window_s: 600,
            slash_window_s: 1_200,
            ..DeploySpec::default()
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("password"), "correct horse").unwrap();
        let password = Password::from_file(&dir.path().join("password")).unwrap();
        let account = |name: &str| keystore::create_secp(&dir.path().join(name), &password, Kdf::Pbkdf2).unwrap().address();
        let (challenger, other) = (account("challenger"), account("other"));
        for account in [&challenger, &other] {
            chain.anvil.set_balance(&account.to_string(), 10 * TOKEN).await.unwrap();
        }
        Self { chain, params, dir, challenger, other }
    }

    /// The setting that the chain has now.
    async fn setting(&self, epoch: u64) -> Setting {
        let client = &self.chain.client;
        let registry = client.registry_at(client.latest().await.unwrap().number).await.unwrap();
        let (instance, config) = (client.instance().unwrap(), client.settlement_config().await.unwrap());
        registry.setting(epoch, instance, &config, &self.params, Kinds::standard(), 1)
    }

    /// What an honest committee computes of an epoch in which these providers are bad.
    async fn epoch(&self, epoch: u64, parent: &Ledger, bad: &[ProviderId]) -> Epoch {
        let setting = self.setting(epoch).await;
        let reveal = |oracle: OracleId| {
            let observed = |provider: &ProviderId| SaltedObservation {
                observation: seen(epoch, *provider, oracle, bad.contains(provider)),
                salt: Hash32([9; 32]),
            };
            let seeds = Seeds { epoch: Hash32([3; 32]), slots: vec![Hash32([4; 32]); self.params.slots as usize], secure: true };
            let observations = [STEADY, SHAKY].iter().map(observed).collect();
            Reveal { epoch, oracle, seeds, observations, vrfs: vec![], facts: vec![], struck: vec![] }
        };
        let signed = |spec: &assay_tests::deploy::OracleSpec, reveal: &Reveal| {
            let (root, seeds, log_head) = (reveal.root(), reveal.seeds.digest(), Hash32::ZERO);
            let commit = Commit { epoch, oracle: reveal.oracle, seeds, secure: true, root, leaf_count: 2, log_head };
            SignedCommit { commit, signature: spec.key.sign(Domain::Commit, &commit.digest(&setting.instance)) }
        };
        let reveals: BTreeMap<OracleId, (SignedCommit, VerifiedReveal)> = (1..)
            .map(OracleId)
            .zip(&self.chain.spec.oracles)
            .map(|(oracle, spec)| {
                let reveal = reveal(oracle);
                let signed = signed(spec, &reveal);
                (oracle, (signed, VerifiedReveal { reveal, commit_digest: signed.commit.digest(&setting.instance), faults: vec![] }))
            })
            .collect();
        let counted = reveals.iter().map(|(oracle, (_, verified))| (*oracle, verified.clone())).collect();
        let inputs = Inputs { setting: &setting, view: 0, parent, bit_votes_root: Hash32::ZERO, reveals: &counted };
        Epoch { outcome: Outcome::compute(&inputs), reveals }
    }

    /// Epoch 0 accepted with verdicts on these providers, and epoch 1 as it would honestly be.
    async fn two_epochs(&self, judged: &[ProviderId]) -> (Epoch, Epoch) {
        let mut first = self.epoch(0, &Ledger::default(), &[SHAKY]).await;
        first.outcome.verdicts.retain(|verdict| judged.contains(&verdict.provider));
        rehash(&mut first.outcome, &self.chain.deployment.token);
        self.chain.until_epoch(1).await;
        self.chain.accept(&first.outcome.report).await;
        let second = self.epoch(1, &first.outcome.ledger, &[]).await;
        self.chain.until_epoch(2).await;
        (first, second)
    }

    async fn dispute(&self, who: &str, epoch: u64, apis: &[&str], more: &[&str]) -> Output {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let (key, password, epoch) = (path(who), path("password"), epoch.to_string());
        let deployment = &self.chain.deployment;
        let addresses = [deployment.settlement, deployment.economy.aggregation_court, deployment.economy.signers_court];
        let [settlement, aggregation, signers] = addresses.map(|address| address.to_string());
        let place = ["dispute", "--epoch", &epoch, "--rpc", self.chain.anvil.url(), "--settlement", &settlement];
        let courts = ["--aggregation-court", &aggregation, "--signers-court", &signers, "--key", &key, "--password-file", &password];
        let apis: Vec<&str> = apis.iter().flat_map(|api| ["--api", api]).collect();
        let arguments = [&place[..], &courts, &apis, more].concat();
        tokio::process::Command::new(binaries::path("assay-oracle")).args(arguments).output().await.unwrap()
    }

    /// What `--json` prints of the challenger's call.
    async fn call(&self, epoch: u64, apis: &[&str], more: &[&str]) -> Value {
        json_of(&self.dispute("challenger", epoch, apis, &[more, &["--json"]].concat()).await)
    }

    /// What an oracle's API says that holds these epochs, the last one's observations with them.
    fn told(&self, epochs: &[&Epoch]) -> Told {
        let last = epochs.last().unwrap();
        let page = |provider: ProviderId| ObservationsPage {
            epoch: last.outcome.report.epoch,
            report_digest: last.outcome.ledger.digest,
            data_digest: last.outcome.report.data_digest,
            complete: true,
            reveals: last
                .reveals
                .values()
                .map(|(signed, verified)| RevealDocument::new(signed, verified.commit_digest, &verified.reveal, |of| of == provider))
                .collect(),
            next: (provider == STEADY).then_some(STEADY),
        };
        Told {
            network: self.network(),
            ledgers: epochs.iter().map(|epoch| (epoch.outcome.report.epoch, LedgerDocument::from(&epoch.outcome))).collect(),
            pages: BTreeMap::from([(0, page(STEADY)), (STEADY.0, page(SHAKY))]),
        }
    }

    fn network(&self) -> Network {
        let chain = &self.chain.deployment.chain;
        let beacon = BeaconChain {
            public_key: HexBytes::default(),
            genesis_time: 0,
            period: 1,
            chain_hash: Hash32::ZERO,
            group_hash: HexBytes::default(),
            beacon_id: String::new(),
        };
        Network {
            chain_id: chain.chain_id,
            settlement: self.chain.deployment.settlement,
            oracle_registry: chain.oracle_registry,
            provider_registry: chain.provider_registry,
            beacon,
            preset: Some("devnet".to_owned()),
            params: self.params.clone(),
        }
    }

    async fn stakes(&self) -> Vec<u128> {
        let mut stakes = Vec::new();
        for oracle in 1..=ORACLES {
            stakes.push(stake_of(&self.chain.anvil, &self.chain.deployment.chain.oracle_registry, OracleId(oracle.into())).await);
        }
        stakes
    }
}

/// The same epoch with one verdict bent, and everything over it rehashed.
fn forged(honest: &Epoch, provider: ProviderId, bend: impl Fn(&mut Verdict), token: &Address) -> Epoch {
    let mut outcome = honest.outcome.clone();
    let verdict = outcome.verdicts.iter_mut().find(|verdict| verdict.provider == provider).unwrap();
    let before = verdict.reward;
    bend(verdict);
    let (reward, multiplier_ppm) = (verdict.reward, verdict.multiplier_ppm);
    let standing = outcome.ledger.providers.get_mut(&provider).unwrap();
    (standing.cumulative, standing.multiplier_ppm) = (standing.cumulative - before + reward, multiplier_ppm);
    outcome.report.reward_total = outcome.report.reward_total - before + reward;
    rehash(&mut outcome, token);
    Epoch { outcome, reveals: honest.reveals.clone() }
}

fn rehash(outcome: &mut Outcome, token: &Address) {
    outcome.report.result_root = assay_core::merkle::root(outcome.verdicts.iter().map(Verdict::leaf).collect());
    outcome.report.reward_root = outcome.ledger.reward_tree(token).root();
    outcome.ledger.digest = outcome.report.digest();
}

/// What an API says.
#[derive(Clone)]
struct Told {
    network: Network,
    ledgers: BTreeMap<u64, LedgerDocument>,
    /// Of the observations, by `after`.
    pages: BTreeMap<u64, ObservationsPage>,
}

impl Told {
    /// Serves it until the test ends.
    async fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let found = |document: Option<Value>| document.map(axum::Json).ok_or(axum::http::StatusCode::NOT_FOUND);
        let Self { network, ledgers, pages } = self;
        let ledger = async move |Path(epoch): Path<u64>| found(ledgers.get(&epoch).map(|ledger| json!(ledger)));
        let page = async move |Query(asked): Query<BTreeMap<String, String>>| {
            let after: u64 = asked["after"].parse().unwrap();
            found(pages.get(&after).map(|page| json!(page)))
        };
        let router = axum::Router::new()
            .route("/v1/network", axum::routing::get(async move || axum::Json(network)))
            .route("/v1/epochs/{epoch}/ledger", axum::routing::get(ledger))
            .route("/v1/epochs/{epoch}/observations", axum::routing::get(page));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_report_is_void_its_signers_pay_and_the_challenger_is_paid() {
    let world = World::new().await;
    let chain = &world.chain;
    let (first, second) = world.two_epochs(&[STEADY, SHAKY]).await;
    assert_eq!(second.outcome.ledger.providers[&SHAKY].multiplier_ppm, 750_000, "half of the gap");
    // It would follow from some multiplier before, and not from the one that the parent states.
    let full = |verdict: &mut Verdict| (verdict.multiplier_ppm, verdict.reward) = (PPM, world.params.base_reward);
    let lie = forged(&second, SHAKY, full, &chain.deployment.token);
    chain.accept_by(&lie.outcome.report, LIARS).await;
    chain.anvil.mine(3).await.unwrap();
    let digest = lie.outcome.ledger.digest;
    let told = world.told(&[&first, &lie]);
    let truth = told.clone().serve().await;

    // Defence: all verdicts stand under the accepted report; without it the court is shown what nobody signed.
    let mut bent = told.clone();
    bent.ledgers.get_mut(&1).unwrap().verdicts[0].reward += 1;
    let liar = bent.serve().await;
    let refused = refusal(&world.dispute("challenger", 1, &[&liar], &[]).await);
    assert!(
        refused.contains(&format!("the API at {liar} lies")) && refused.contains("do not stand under the accepted report"),
        "{refused}"
    );
    // Defence: the observations give the report's panels; without it a verdict is held against what nobody observed.
    let mut bent = told.clone();
    bent.pages.get_mut(&0).unwrap().reveals[0].observations[0].observation.evidence_root = Hash32([1; 32]);
    let bent = bent.serve().await;
    let refused = refusal(&world.dispute("challenger", 1, &[&bent], &[]).await);
    assert!(refused.contains(&format!("the API at {bent} does not give")) && refused.contains("do not give the panels"), "{refused}");
    // Defence: the parameters are those of the report; without it panels of another size are drawn.
    let mut other = told.clone();
    other.network.params.panel_size += 1;
    let refused = refusal(&world.dispute("challenger", 1, &[&other.serve().await], &[]).await);
    assert!(refused.contains("lies: its parameters are not those"), "{refused}");
    // Defence: a parent that is not shown is missed; without it this very report would pass for a sound one.
    let mut orphan = told.clone();
    orphan.ledgers.remove(&0);
    let refused = refusal(&world.dispute("challenger", 1, &[&orphan.serve().await], &[]).await);
    assert!(refused.contains("it has no ledger of epoch 0, the parent's"), "{refused}");
    let nobody = refusal(&world.dispute("challenger", 1, &[], &[]).await);
    assert!(nobody.contains("name an oracle's API with --api"), "{nobody}");
    let future = refusal(&world.dispute("challenger", 2, &[&truth], &[]).await);
    assert!(future.contains("no report of epoch 2 was accepted in a final block"), "{future}");
    assert_eq!(chain.sent(&world.challenger).await, json!("0x0"));

    // Defence: a dry run sends nothing. One API that lies is passed over and named when another one tells the truth.
    let dry = world.call(1, &[&liar, &truth], &["--dry-run"]).await;
    assert_eq!((&dry["state"], &dry["provider"], &dry["mismatch"]), (&json!("wrong"), &json!(SHAKY), &json!("Multiplier")), "{dry}");
    assert!(dry["notes"][0].as_str().unwrap().contains("lies") && dry["sent"]["dryRun"] == json!(true), "{dry}");
    assert_eq!(chain.sent(&world.challenger).await, json!("0x0"));

    let done = world.call(1, &[&truth], &[]).await;
    assert_eq!((&done["state"], chain.sent(&world.challenger).await), (&json!("wrong"), json!("0x1")), "{done}");
    assert_eq!(chain.client.accepted_report(1, BlockTag::Latest).await.unwrap(), None, "void");
    assert!(chain.client.accepted_report(0, BlockTag::Latest).await.unwrap().is_some(), "and its parent is not");
    let aggregation = AggregationCourt::connect(chain.client.rpc(), &chain.deployment.economy.aggregation_court).await.unwrap();
    assert_eq!(aggregation.convicted(&digest, BlockTag::Latest).await.unwrap(), Some(world.challenger));

    // Defence: who did not prove it is not paid for the next steps; without it a second challenger sends for the first one's reward.
    let late = json_of(&world.dispute("other", 1, &[&truth], &["--json"]).await);
    assert_eq!((&late["state"], chain.sent(&world.other).await), (&json!("anothers"), json!("0x0")), "{late}");

    let opened = world.call(1, &[], &[]).await;
    assert_eq!((&opened["state"], chain.sent(&world.challenger).await), (&json!("reviewOpened"), json!("0x2")), "{opened}");
    let signers = SignersCourt::connect(chain.client.rpc(), &chain.deployment.economy.signers_court).await.unwrap();
    let until_s = signers.review(&digest, BlockTag::Latest).await.unwrap().unwrap().until_s;
    // Defence: nothing is sent before the review is over; without it gas is paid for a refusal.
    let waiting = world.call(1, &[], &[]).await;
    assert_eq!((&waiting["state"], &waiting["nextAt"]), (&json!("reviewRuns"), &json!(until_s)), "{waiting}");
    assert_eq!(chain.sent(&world.challenger).await, json!("0x2"));

    let before = world.stakes().await;
    chain.until(until_s + REVIEW_S).await;
    let slashed = world.call(1, &[], &[]).await;
    assert_eq!((&slashed["state"], chain.sent(&world.challenger).await), (&json!("signersSlashed"), json!("0x3")), "{slashed}");
    let slash = before[0] * u128::from(SIGNERS_PPM) / u128::from(PPM);
    let expected: Vec<u128> = before.iter().enumerate().map(|(i, stake)| if i < LIARS { stake - slash } else { *stake }).collect();
    assert_eq!(world.stakes().await, expected, "who signed, and nobody else");
    assert_eq!(chain.balance(&world.challenger).await, LIARS as u128 * slash / 10);

    // Defence: what is done is looked up; without it the same is sent again, for nothing.
    let over = world.call(1, &[], &[]).await;
    assert_eq!((&over["state"], chain.sent(&world.challenger).await), (&json!("done"), json!("0x3")), "{over}");
    let text = world.dispute("other", 1, &[], &[]).await;
    assert!(String::from_utf8_lossy(&text.stdout).contains("everybody who signed it was slashed"), "{text:?}");
    assert_eq!(chain.sent(&world.other).await, json!("0x0"));
}

// Defence: the court's view is asked before anything is sent. Without it a dispute is made of what only this command does not know: what a
// provider's multiplier was when the parent has no verdict on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_sound_report_is_not_disputed() {
    let world = World::new().await;
    let (first, second) = world.two_epochs(&[STEADY]).await;
    assert_eq!(second.outcome.ledger.providers[&SHAKY].multiplier_ppm, 750_000, "it was away for an epoch, and had failed before");
    // Scaled down as by a budget: the court cannot know better.
    let scaled = forged(&second, STEADY, |verdict| verdict.reward /= 3, &world.chain.deployment.token);
    world.chain.accept(&scaled.outcome.report).await;
    world.chain.anvil.mine(3).await.unwrap();
    let truth = world.told(&[&first, &scaled]).serve().await;
    let sound = world.call(1, &[&truth], &[]).await;
    assert_eq!((&sound["state"], world.chain.sent(&world.challenger).await), (&json!("sound"), json!("0x0")), "{sound}");
    assert!(world.chain.client.accepted_report(1, BlockTag::Latest).await.unwrap().is_some());
}

// Defence: whether a report stands is looked at before whether it is convicted; without it liars prove their own report wrong before they
// post it, and nobody voids it.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_was_convicted_before_it_was_posted_is_void_all_the_same() {
    let world = World::new().await;
    let chain = &world.chain;
    let (first, second) = world.two_epochs(&[STEADY, SHAKY]).await;
    let lie = forged(&second, STEADY, |verdict| verdict.reward += 1, &chain.deployment.token);
    let verdicts = |epoch: &Epoch| ReportVerdicts::new(epoch.outcome.report.clone(), epoch.outcome.verdicts.clone()).unwrap();
    let reveals = lie.reveals.iter().map(|(oracle, (_, verified))| (*oracle, verified.reveal.clone())).collect();
    let setting = world.setting(1).await;
    let opened = OpenedReport::new(verdicts(&lie), open_panels(&setting, &reveals), Some(verdicts(&first))).unwrap();
    let case = opened.doubtful(&setting).next().unwrap();
    let liar = SecretKey::from_bytes(&[8; 32]).unwrap();
    chain.anvil.set_balance(&liar.address().to_string(), 10 * TOKEN).await.unwrap();
    let (court, call) = (chain.deployment.economy.aggregation_court, calls::dispute_verdict(&lie.outcome.report, 0, &case));
    transaction::send(chain.client.rpc(), &liar, &court, &call, &SendConfig::default()).await.unwrap();
    let aggregation = AggregationCourt::connect(chain.client.rpc(), &court).await.unwrap();
    assert_eq!(aggregation.convicted(&lie.outcome.ledger.digest, BlockTag::Latest).await.unwrap(), Some(liar.address()));

    chain.accept_by(&lie.outcome.report, LIARS).await;
    chain.anvil.mine(3).await.unwrap();
    assert!(chain.client.accepted_report(1, BlockTag::Latest).await.unwrap().is_some(), "the settlement knows of no conviction");
    let truth = world.told(&[&first, &lie]).serve().await;
    let done = world.call(1, &[&truth], &[]).await;
    assert_eq!((&done["state"], &done["mismatch"]), (&json!("wrong"), &json!("Reward")), "{done}");
    assert_eq!(chain.client.accepted_report(1, BlockTag::Latest).await.unwrap(), None, "void");
}
