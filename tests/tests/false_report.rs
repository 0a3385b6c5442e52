//! A report that more than two thirds signed and that is wrong is void without a human: an honest node proves it, and the true one takes
//! its place.

use std::path::PathBuf;
use std::time::Duration;

use assay_chain::transaction::{self, SendConfig};
use assay_chain::{AggregationCourt, BlockTag, Client, SignersCourt};
use assay_core::bls;
use assay_core::ids::OracleId;
use assay_core::merkle;
use assay_core::params::{PPM, TOKEN};
use assay_core::report::Outcome;
use assay_core::secp::SecretKey;
use assay_core::verdict::Verdict;
use assay_daemon::keystore::{self, Password};
use assay_oracle::store::{SqliteStore, Store};
use assay_proto::rest::LedgerDocument;
use assay_tests::deploy::SIGNERS_PPM;
use assay_tests::devnet::{Changes, Devnet, Fault, OracleFault, Plan};
use assay_tests::report::{signed, stake_of};

/// Time for a void between the acceptance and the last window: a node remembers no silence that may be answered for longer.
const SLASH_WINDOW_S: u64 = 90;
const FORGED_EPOCH: u64 = 1;

/// The same report with a provider paid more than all of the full price.
fn forge(honest: &LedgerDocument, devnet: &Devnet) -> Outcome {
    let mut outcome = honest.clone().into_outcome().unwrap();
    let verdict = &mut outcome.verdicts[0];
    verdict.reward = devnet.params.base_reward + TOKEN;
    let paid_more = verdict.reward - honest.verdicts[0].reward;
    let standing = outcome.ledger.providers.get_mut(&verdict.provider).unwrap();
    (standing.cumulative, standing.recipient) = (standing.cumulative + paid_more, devnet.providers[0].recipient);
    outcome.report.reward_total += paid_more;
    outcome.report.result_root = merkle::root(outcome.verdicts.iter().map(Verdict::leaf).collect());
    outcome.report.reward_root = outcome.ledger.reward_tree(&devnet.deployment.token).root();
    outcome.ledger.digest = outcome.report.digest();
    outcome
}

/// The ledger of an epoch that an oracle certified; `None` while it has not.
async fn ledger(devnet: &Devnet, epoch: u64) -> Option<LedgerDocument> {
    let response = reqwest::get(format!("{}/v1/epochs/{epoch}/ledger", devnet.oracles[0].api)).await.ok()?;
    response.error_for_status().ok()?.json().await.ok()
}

// Defence: `Settler::dispute`; without it the money of a false report moves unless a human looks. And `Settler::post` goes on when another
// report was accepted; without it the epoch of the void report stays without one.
#[tokio::test(flavor = "multi_thread")]
async fn an_honest_node_voids_a_false_report_and_the_true_one_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src").canonicalize().unwrap();
    let plan = Plan { dir: dir.path().join("net"), data, oracles: vec![OracleFault::None; 4], faults: vec![Fault::None] };
    let changes = Changes { slash_window_s: Some(SLASH_WINDOW_S), ..Changes::default() };
    let mut devnet = Devnet::start_changed(&plan, &changes, |line| println!("{line}")).await.unwrap();
    let epoch = Duration::from_millis(devnet.params.epoch_ms());
    assert!(devnet.until(epoch * 4, || async { Ok(devnet.epoch(0).await?.is_some()) }).await.unwrap(), "epoch 0 is accepted");
    // Nobody can post what comes next: the liars are faster.
    for oracle in &devnet.oracles {
        devnet.anvil().set_balance(&oracle.transmitter.to_string(), 0).await.unwrap();
    }
    assert!(devnet.until(epoch * 4, || async { Ok(ledger(&devnet, FORGED_EPOCH).await.is_some()) }).await.unwrap(), "certified");
    let honest = ledger(&devnet, FORGED_EPOCH).await.unwrap();
    let client = Client::connect(devnet.deployment.chain.clone()).await.unwrap();
    assert!(client.accepted_report(FORGED_EPOCH, BlockTag::Latest).await.unwrap().is_none(), "not posted");

    let forged = forge(&honest, &devnet);
    let digest = forged.report.digest();
    // One of the liars' nodes holds what they signed, and shows it to whoever asks by the digest.
    devnet.kill_oracle(1).await.unwrap();
    let store = SqliteStore::open(&devnet.oracles[1].dir.join("data/node.sqlite")).await.unwrap();
    store.put_candidate(&forged).await.unwrap();
    store.pool().close().await;
    drop(store); // and with it the lock on the database
    devnet.restart_oracle(1).await.unwrap();

    let password = Password::from_file(&plan.dir.join("password")).unwrap();
    let key = |i: usize| keystore::load_bls(&devnet.oracles[i].dir.join("verdict.json"), &password).unwrap();
    let liars: Vec<(usize, bls::SecretKey)> = (1..4).map(|i| (i, key(i))).collect();
    let poster = SecretKey::from_bytes(&[7; 32]).unwrap();
    devnet.anvil().set_balance(&poster.address().to_string(), 10 * TOKEN).await.unwrap();
    let call = signed(&client, &liars, &forged.report);
    transaction::send(client.rpc(), &poster, &devnet.deployment.settlement, &call, &SendConfig::default()).await.unwrap();
    let accepted = client.accepted_report(FORGED_EPOCH, BlockTag::Latest).await.unwrap();
    assert!(accepted.is_some_and(|accepted| accepted.digest.is_of(&digest)), "the chain cannot know better");
    let challenger = devnet.oracles[0].transmitter;
    devnet.anvil().set_balance(&challenger.to_string(), 10 * TOKEN).await.unwrap();

    let economy = devnet.deployment.economy;
    let aggregation = AggregationCourt::connect(client.rpc(), &economy.aggregation_court).await.unwrap();
    let is_convicted = || async { Ok(aggregation.convicted(&digest, BlockTag::Finalized).await?.is_some()) };
    assert!(devnet.until(epoch * 3, is_convicted).await.unwrap(), "the chain knows");
    assert_eq!(aggregation.convicted(&digest, BlockTag::Latest).await.unwrap(), Some(challenger));
    let true_digest = honest.report_digest;
    let is_replaced = || async {
        let accepted = client.accepted_report(FORGED_EPOCH, BlockTag::Finalized).await?;
        Ok(accepted.is_some_and(|accepted| accepted.digest.is_of(&true_digest)))
    };
    assert!(devnet.until(epoch * 3, is_replaced).await.unwrap(), "the true report takes its place");

    let registry = &devnet.deployment.chain.oracle_registry;
    let innocent = stake_of(devnet.anvil(), registry, OracleId(1)).await;
    let signers = SignersCourt::connect(client.rpc(), &economy.signers_court).await.unwrap();
    let are_punished = || async {
        let mut all = true;
        for oracle in 2..=4 {
            all &= signers.is_punished(OracleId(oracle), FORGED_EPOCH, BlockTag::Finalized).await?;
        }
        Ok(all)
    };
    assert!(devnet.until(epoch * 3, are_punished).await.unwrap(), "who signed it pays");
    let slash = innocent * u128::from(SIGNERS_PPM) / u128::from(PPM);
    for oracle in 2..=4 {
        assert_eq!(stake_of(devnet.anvil(), registry, OracleId(oracle)).await, innocent - slash);
    }
    assert_eq!(stake_of(devnet.anvil(), registry, OracleId(1)).await, innocent, "and nobody else");
    assert_eq!(devnet.balance(&challenger).await.unwrap(), 3 * slash / 10, "who proved it is paid");
    devnet.stop().await.unwrap();
}
