use assay_core::abi::Words;
use assay_core::bls::Signature;
use assay_core::claim::{Claim, ClaimSet};
use assay_core::epoch::{Proposal, verify_proposal};
use assay_core::hash::{Hash32, decode_hex};
use assay_core::ids::{Address, OracleId, ProviderId};
use assay_core::merkle;
use assay_core::observation::{Commit, Observation, Seeds};
use assay_core::params::TOKEN;
use assay_core::report::{Certificate, Ledger, Report};
use assay_core::verdict::Verdict;
use assay_proto::rest::{BeaconRounds, ClaimsPage, EvidenceList, LedgerDocument, Network, ObservationsPage, ProposalDocument};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::world::{EPOCH, OFFENDER, World, bundle, certified, setting};
use crate::store::{CertifiedEpoch, EvidenceBundle, Store};

fn as_<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

/// The words of a leaf hash to it, and it stands under the root.
fn assert_proven(answer: &Value, root: &Hash32) {
    let words: Vec<Hash32> = as_(&answer["leaf"]["words"]);
    let leaf = merkle::leaf(&words.iter().fold(Words::new(), Words::with));
    assert_eq!(as_::<Hash32>(&answer["leaf"]["hash"]), leaf);
    assert_eq!(answer["leaf"]["types"].as_array().unwrap().len(), words.len());
    assert!(merkle::verify(root, &leaf, &as_::<Vec<Hash32>>(&answer["proof"])));
}

/// Every amount, at any depth, is a string of digits.
fn assert_amounts(value: &Value) {
    const AMOUNTS: [&str; 9] =
        ["reward", "slash", "stake", "cumulative", "cumulative_reward", "amount", "rewardTotal", "slashTotal", "reward_total"];
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if AMOUNTS.contains(&name.as_str()) {
                    assert!(field.as_str().is_some_and(|text| text.parse::<u128>().is_ok()), "{name}: {field}");
                }
                assert_amounts(field);
            }
        }
        Value::Array(items) => items.iter().for_each(assert_amounts),
        _ => {}
    }
}

#[tokio::test]
async fn health_is_ok_or_says_why_not() {
    let world = World::start().await;
    let health = world.read("/healthz").await;
    assert_eq!(health["status"], "ok");
    assert_eq!((&health["epoch"], &health["phase"]), (&json!(EPOCH + 1), &json!("measuring")));
    assert_eq!((&health["last_certified"], &health["last_accepted"]), (&json!(EPOCH), &Value::Null));

    world.view.health.lock().unwrap().problems.insert("chain".into(), "the node is 40 blocks behind".into());
    let answer = world.get("/healthz").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unwell"));
    assert!(answer.text.contains("chain: the node is 40 blocks behind"));
    assert_eq!(answer.json()["status"], "unwell");

    world.view.health.lock().unwrap().problems.clear();
    world.store.pool().close().await;
    let answer = world.get("/healthz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["problems"]["store"].is_string() && !answer.text.contains(world.path().to_str().unwrap()));
    assert_eq!(world.refused("/v1/epochs").await, (500, "internal".to_owned()));
}

#[tokio::test]
async fn providers_carry_terms_verdict_and_the_bound_of_loss() {
    let world = World::start().await;
    let list = world.read("/v1/providers").await;
    assert_amounts(&list);
    let ids: Vec<u64> = list["items"].as_array().unwrap().iter().map(|item| as_(&item["id"])).collect();
    assert_eq!((ids, &list["next"]), (vec![1, 2, 3, 4], &Value::Null));

    let first = world.read("/v1/providers/1").await;
    assert_eq!(first, list["items"][0]);
    assert_eq!(first["stake"], (1_000 * TOKEN).to_string());
    assert_eq!((&first["endpoint"], &first["class_id"]), (&json!("http://provider-1:7000"), &json!(100)));
    assert_eq!(as_::<Verdict>(&first["last_verdict"]), world.outcome.verdicts[0]);
    assert_eq!(first["p50_us"], 920, "the median of 910, 920, 930");
    // Three included oracles with 150 samples each: 3 / 450.
    let clean = json!({ "epochs": 1, "valid": 450, "faulty": 0, "silent": 0, "loss_upper_bound_95_ppm": 6_667 });
    assert_eq!(first["storage"], clean);
    assert_eq!(first["cumulative_reward"], world.outcome.verdicts[0].reward.to_string());

    let offender = world.read("/v1/providers/3").await;
    assert_eq!((&offender["storage"]["faulty"], &offender["storage"]["loss_upper_bound_95_ppm"]), (&json!(1), &Value::Null));
    let newcomer = world.read("/v1/providers/4").await;
    assert_eq!((&newcomer["last_verdict"], &newcomer["p50_us"], &newcomer["cumulative_reward"]), (&Value::Null, &Value::Null, &json!("0")));

    let page = world.read("/v1/providers?limit=2&after=1").await;
    assert_eq!((as_::<u64>(&page["items"][0]["id"]), &page["next"]), (2, &json!(3)));
    assert_eq!(world.read("/v1/providers?after=4").await, json!({ "items": [], "next": null }));
    assert_eq!(world.refused("/v1/providers/5").await, (404, "not_found".to_owned()));
    for bad in [
        "/v1/providers/0",
        "/v1/providers/x",
        "/v1/providers/-1",
        "/v1/providers/1?x=1",
        "/v1/providers?limit=0",
        "/v1/providers?limit=1001",
    ] {
        assert_eq!(world.refused(bad).await, (400, "bad_request".to_owned()), "{bad}");
    }
}

#[tokio::test]
async fn the_bound_of_loss_sums_epochs() {
    let world = World::start().await;
    let next = setting(EPOCH + 1);
    let (certificate, outcome) = certified(&next, &world.outcome.ledger);
    world.put(EPOCH + 1, &certificate, &outcome).await;
    world.view.settings.lock().unwrap().insert(EPOCH + 1, next.into());
    assert_eq!(world.read("/v1/providers/1").await["storage"]["valid"], 450, "the next epoch is not revealed yet");
    world.set_now(world.reveals_due_ms() + world.setting.params.epoch_ms());
    let provider = world.read("/v1/providers/1").await;
    assert_eq!((&provider["storage"]["epochs"], &provider["storage"]["valid"]), (&json!(2), &json!(900)));
    assert_eq!(provider["last_verdict"]["epoch"], EPOCH + 1);
    assert_eq!(provider["cumulative_reward"], outcome.ledger.providers[&ProviderId(1)].cumulative.to_string());
    assert_eq!(world.read("/v1/epochs?limit=1").await, json!({ "epochs": [EPOCH + 1] }));
}

#[tokio::test]
async fn an_epoch_goes_from_future_to_accepted() {
    let world = World::start().await;
    let path = format!("/v1/epochs/{EPOCH}");
    let certified = world.read(&path).await;
    assert_amounts(&certified);
    assert_eq!((&certified["state"], &certified["accepted"]), (&json!("certified"), &Value::Null));
    let report = &certified["report"];
    assert_eq!(as_::<Hash32>(&report["digest"]), world.outcome.report.digest());
    assert_eq!((&report["view"], &report["secure"]), (&json!(1), &json!(true)));
    assert_eq!((&report["signer_bits"], &report["signers"]), (&json!([0, 1, 2]), &json!([10, 20, 30])));
    assert_eq!((&report["signed_weight"], &report["total_weight"]), (&json!(300), &json!(400)));
    assert_eq!(report["paid_oracles"], json!([10, 20, 30]));
    assert_eq!(certified["times"]["end_ms"], world.setting.end_ms());
    assert_eq!(certified["times"]["readable_ms"], world.reveals_due_ms());

    world.accept(EPOCH, world.outcome.ledger.digest).await;
    let accepted = world.read(&path).await;
    assert_eq!(
        (&accepted["state"], &accepted["accepted"]["gas_used"], &accepted["accepted"]["block_number"]),
        (&json!("accepted"), &json!(187_000), &json!(41))
    );
    assert_eq!(as_::<Hash32>(&accepted["accepted"]["tx_hash"]), Hash32([77; 32]));

    for (now_ms, state) in
        [(world.setting.start_ms() - 1, "future"), (world.setting.start_ms(), "measuring"), (world.reveals_due_ms() - 1, "measuring")]
    {
        world.set_now(now_ms);
        let early = world.read(&path).await;
        assert_eq!((&early["state"], &early["report"], &early["accepted"]), (&json!(state), &Value::Null, &Value::Null));
    }

    let later = setting(EPOCH + 1);
    world.set_now(later.end_ms() + 60_000);
    world.view.settings.lock().unwrap().insert(EPOCH + 1, later.into());
    assert_eq!(world.read(&format!("/v1/epochs/{}", EPOCH + 1)).await["state"], "closing");
    assert_eq!(world.refused(&format!("/v1/epochs/{}/verdicts", EPOCH + 1)).await, (404, "not_found".to_owned()));
    assert_eq!(world.refused("/v1/epochs/12345").await, (404, "not_found".to_owned()));
    for bad in ["/v1/epochs/x", "/v1/epochs/-1", "/v1/epochs/7?limit=1", "/v1/epochs?limit=x", "/v1/epochs?after=1"] {
        assert_eq!(world.refused(bad).await, (400, "bad_request".to_owned()), "{bad}");
    }
}

#[tokio::test]
async fn verdicts_come_in_pages_and_each_with_its_proof() {
    let world = World::start().await;
    let page = world.read(&format!("/v1/epochs/{EPOCH}/verdicts?limit=2")).await;
    assert_amounts(&page);
    assert_eq!((&page["next"], as_::<Hash32>(&page["report_digest"])), (&json!(2), world.outcome.ledger.digest));
    let mut verdicts: Vec<Verdict> = as_(&page["items"]);
    let rest = world.read(&format!("/v1/epochs/{EPOCH}/verdicts?limit=2&after=2")).await;
    verdicts.extend(as_::<Vec<Verdict>>(&rest["items"]));
    assert_eq!((&verdicts, &rest["next"]), (&world.outcome.verdicts, &Value::Null));

    for verdict in &world.outcome.verdicts {
        let proven = world.read(&format!("/v1/verdicts/{}/{EPOCH}", verdict.provider)).await;
        assert_amounts(&proven);
        assert_eq!(&as_::<Verdict>(&proven["verdict"]), verdict);
        assert_eq!(as_::<Report>(&proven["report"]), world.outcome.report);
        assert_eq!(as_::<Vec<OracleId>>(&proven["panel"]), world.outcome.panels[&verdict.provider]);
        assert_eq!(as_::<Hash32>(&proven["leaf"]["hash"]), verdict.leaf());
        assert_proven(&proven, &world.outcome.report.result_root);
    }
    let bare = world.read(&format!("/v1/verdicts/1/{EPOCH}?claim=1")).await;
    let keys: Vec<&String> = bare.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["leaf", "proof", "report_digest", "verdict"]);

    assert_eq!(world.refused(&format!("/v1/verdicts/4/{EPOCH}")).await, (404, "not_found".to_owned()));
    assert_eq!(world.refused("/v1/verdicts/1/999").await, (404, "not_found".to_owned()));
    for bad in ["/v1/verdicts/0/7", "/v1/verdicts/1/x", "/v1/verdicts/1/7?claim=yes", "/v1/verdicts/%ff/7"] {
        assert_eq!(world.refused(bad).await, (400, "bad_request".to_owned()), "{bad}");
    }
}

#[tokio::test]
async fn a_report_can_be_checked_and_posted_from_its_json() {
    let world = World::start().await;
    let answer = world.read(&format!("/v1/epochs/{EPOCH}/report")).await;
    assert_amounts(&answer);
    let report: Report = as_(&answer["report"]);
    assert_eq!(report.digest(), as_::<Hash32>(&answer["digest"]));
    assert!(answer["report"]["parentDigest"].is_string() && answer["report"]["rewardTotal"].is_string());
    let bytes = |value: &Value| decode_hex(value.as_str().unwrap()).unwrap();
    let mut signers: [u8; 32] = bytes(&answer["signers"]).try_into().unwrap();
    assert_eq!(signers[31], 0b111, "a big-endian uint256");
    signers.reverse();
    let padded: [u8; 128] = bytes(&answer["signature"]["eip2537"]).try_into().unwrap();
    let signature = Signature::from_eip2537(&padded).unwrap();
    assert_eq!(Signature::from_slice(&bytes(&answer["signature"]["compressed"])).unwrap(), signature);
    assert_eq!(Certificate { report, signers, signature }.verify(&world.setting), Ok(300));
}

#[tokio::test]
async fn rewards_are_ready_to_claim_once_the_report_is_accepted() {
    let world = World::start().await;
    assert_eq!(world.refused("/v1/rewards/provider/1").await, (404, "not_found".to_owned()));
    world.accept(EPOCH, world.outcome.ledger.digest).await;
    // A later epoch is certified and revealed, but not accepted: nobody can claim under it.
    let next = setting(EPOCH + 1);
    let (certificate, outcome) = certified(&next, &world.outcome.ledger);
    world.put(EPOCH + 1, &certificate, &outcome).await;
    world.view.settings.lock().unwrap().insert(EPOCH + 1, next.into());
    world.set_now(world.reveals_due_ms() + world.setting.params.epoch_ms());

    let claim = world.read("/v1/rewards/provider/1").await;
    assert_amounts(&claim);
    assert_eq!((&claim["kind"], &claim["id"], &claim["epoch"]), (&json!(0), &json!(1), &json!(EPOCH)));
    assert_eq!(as_::<Address>(&claim["recipient"]), Address([201; 20]));
    assert_eq!(claim["cumulative"], world.outcome.verdicts[0].reward.to_string());
    assert_eq!(as_::<Report>(&claim["report"]), world.outcome.report);
    assert_proven(&claim, &world.outcome.report.reward_root);
    let oracle = world.read("/v1/rewards/oracle/20").await;
    assert_eq!((&oracle["kind"], as_::<Address>(&oracle["recipient"])), (&json!(1), Address([102; 20])));
    assert_proven(&oracle, &world.outcome.report.reward_root);

    world.accept(EPOCH + 1, outcome.ledger.digest).await;
    let claim = world.read("/v1/rewards/provider/1").await;
    assert_eq!((&claim["epoch"], as_::<Hash32>(&claim["report_digest"])), (&json!(EPOCH + 1), outcome.ledger.digest));
    assert_eq!(claim["cumulative"], outcome.ledger.providers[&ProviderId(1)].cumulative.to_string());
    assert_proven(&claim, &outcome.report.reward_root);

    for missing in ["/v1/rewards/oracle/40", "/v1/rewards/provider/3", "/v1/rewards/provider/99"] {
        assert_eq!(world.refused(missing).await, (404, "not_found".to_owned()), "{missing}");
    }
    for bad in ["/v1/rewards/builder/1", "/v1/rewards/oracle/0", "/v1/rewards/oracle/x", "/v1/rewards/oracle/10?claim=1"] {
        assert_eq!(world.refused(bad).await, (400, "bad_request".to_owned()), "{bad}");
    }
}

#[tokio::test]
async fn another_report_than_ours_was_accepted() {
    let world = World::start().await;
    world.accept(EPOCH, Hash32([1; 32])).await;
    assert_eq!(world.refused("/v1/rewards/provider/1").await, (404, "not_found".to_owned()));
    assert_eq!(as_::<Hash32>(&world.read(&format!("/v1/epochs/{EPOCH}")).await["accepted"]["digest"]), Hash32([1; 32]));
}

#[tokio::test]
async fn slashes_are_ready_to_execute() {
    let world = World::start().await;
    let slash = world.read(&format!("/v1/slashes/{OFFENDER}/{EPOCH}")).await;
    assert_amounts(&slash);
    let verdict = &world.outcome.verdicts[2];
    assert!(verdict.slash > 0);
    assert_eq!((&slash["provider_id"], &slash["reason"], &slash["amount"]), (&json!(3), &json!(1), &json!(verdict.slash.to_string())));
    assert_eq!(as_::<Hash32>(&slash["facts_root"]), verdict.facts_root);
    assert_eq!(as_::<Report>(&slash["report"]), world.outcome.report);
    assert_proven(&slash, &world.outcome.report.slash_root);
    for missing in [format!("/v1/slashes/1/{EPOCH}"), format!("/v1/slashes/9/{EPOCH}"), "/v1/slashes/3/99".to_owned()] {
        assert_eq!(world.refused(&missing).await, (404, "not_found".to_owned()), "{missing}");
    }
    assert_eq!(world.refused("/v1/slashes/x/7").await, (400, "bad_request".to_owned()));
}

#[tokio::test]
async fn the_roots_recompute_from_the_observations() {
    let world = World::start().await;
    let path = format!("/v1/epochs/{EPOCH}/observations");
    let all = world.read(&path).await;
    assert_eq!((&all["complete"], &all["next"]), (&json!(true), &Value::Null));
    let reveals = all["reveals"].as_array().unwrap();
    assert_eq!(reveals.iter().map(|reveal| as_(&reveal["oracle"])).collect::<Vec<u64>>(), [10, 20, 30], "40 is not included");

    let mut data = Vec::new();
    let mut words = std::collections::BTreeMap::<ProviderId, Vec<Hash32>>::new();
    for reveal in reveals {
        let commit: Commit = as_(&reveal["commit"]);
        let digest = commit.digest(&world.setting.instance);
        assert_eq!(as_::<Hash32>(&reveal["commit_digest"]), digest);
        assert_eq!(as_::<Seeds>(&reveal["seeds"]).digest(), commit.seeds);
        assert_eq!(reveal["vrfs"].as_array().unwrap().len(), world.setting.params.slots as usize);
        let member = world.setting.member(commit.oracle).unwrap();
        let signature = Signature::from_slice(&decode_hex(reveal["commit_signature"].as_str().unwrap()).unwrap()).unwrap();
        assert!(member.key.verify(assay_core::bls::Domain::Commit, &digest, &signature).is_ok());
        let mut leaves = Vec::new();
        for salted in reveal["observations"].as_array().unwrap() {
            let observation: Observation = as_(&salted["observation"]);
            leaves.push(observation.leaf(&as_(&salted["salt"])));
            words.entry(observation.provider).or_default().push(observation.word());
        }
        assert_eq!(merkle::root(leaves), commit.root);
        data.push(merkle::leaf(&Words::new().with(&commit.oracle).with(&digest)));
    }
    assert_eq!(merkle::root(data), world.outcome.report.data_digest);
    let vectors = words.into_iter().map(|(provider, mut seen)| {
        seen.push(Hash32::ZERO); // oracle 40, absent
        merkle::leaf(&Words::new().with(&provider).with(&seen.iter().fold(Words::new(), Words::with).keccak()))
    });
    assert_eq!(merkle::root(vectors.collect()), world.outcome.report.obs_root);

    let fact = &reveals[1]["facts"][0];
    assert_eq!(
        (&fact["fault"], &fact["challenge"]["provider"], &fact["challenge"]["kind"]),
        (&json!("StorageInvalid"), &json!(3), &json!(4))
    );
    let slice = &fact["evidence"]["slice"]["slice"];
    assert_eq!((fact["words"].as_array().unwrap().len(), slice["chunk"].as_str().unwrap().len()), (30, 2 + 2_048));

    let mut after = 0;
    for provider in 1..=3u64 {
        let page = world.read(&format!("{path}?limit=1&after={after}")).await;
        let of_page: Vec<u64> = page["reveals"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|reveal| reveal["observations"].as_array().unwrap())
            .map(|salted| as_(&salted["observation"]["provider"]))
            .collect();
        assert_eq!(of_page, [provider; 3]);
        assert_eq!(page["reveals"][1]["facts"].as_array().unwrap().len(), usize::from(provider == 3));
        after = page["next"].as_u64().unwrap_or(0);
    }
    assert_eq!(after, 0, "the last page has no next");

    assert_eq!(world.refused(&format!("{path}?limit=x")).await, (400, "bad_request".to_owned()));
    // Long past, when the setting is forgotten, what is included is still known: the log has it.
    *world.view.settings.lock().unwrap() = [(EPOCH + 3, setting(EPOCH + 3).into())].into();
    world.view.health.lock().unwrap().epoch = EPOCH + 3;
    assert_eq!(world.read(&path).await, all);
}

#[tokio::test]
async fn a_node_without_the_proposal_says_so() {
    let world = World::start().await;
    let next = setting(EPOCH + 1);
    let (certificate, outcome) = certified(&next, &world.outcome.ledger);
    world.put(EPOCH + 1, &certificate, &outcome).await;
    world.view.settings.lock().unwrap().insert(EPOCH + 1, next.into());
    world.set_now(world.reveals_due_ms() + world.setting.params.epoch_ms());
    assert_eq!(world.refused(&format!("/v1/epochs/{}/proposal", EPOCH + 1)).await, (404, "not_found".to_owned()));
    let observations: ObservationsPage = as_(&world.read(&format!("/v1/epochs/{}/observations", EPOCH + 1)).await);
    assert!(!observations.complete && observations.reveals.is_empty());
}

// Defence: another proposal's reveals in `Closing::read`. Without them an honest node holds what is behind a false report, and shows it to
// nobody who would prove it.
#[tokio::test]
async fn the_reveals_behind_a_report_that_was_never_proposed_here_are_shown() {
    let world = World::start().await;
    let (mut certificate, mut outcome) = (world.certificate.clone(), world.outcome.clone());
    outcome.verdicts[0].reward += 1;
    outcome.report.result_root = merkle::root(outcome.verdicts.iter().map(Verdict::leaf).collect());
    outcome.ledger.digest = outcome.report.digest();
    certificate.report = outcome.report.clone();
    world.put(EPOCH, &certificate, &outcome).await;
    assert_eq!(world.refused(&format!("/v1/epochs/{EPOCH}/proposal")).await, (404, "not_found".to_owned()));
    let observations: ObservationsPage = as_(&world.read(&format!("/v1/epochs/{EPOCH}/observations")).await);
    assert_eq!(observations.report_digest, outcome.ledger.digest);
    assert!(observations.complete, "all that the report counts");
    assert_eq!(observations.reveals.iter().map(|reveal| reveal.oracle.0).collect::<Vec<_>>(), [10, 20, 30]);
}

#[tokio::test]
async fn an_auditors_documents_survive_the_wire() {
    let world = World::start().await;
    let network: Network = as_(&world.read("/v1/network").await);
    assert_eq!((network.chain_id, network.params.hash()), (31_337, world.setting.params.hash()));

    let proposal: ProposalDocument = as_(&world.read(&format!("/v1/epochs/{EPOCH}/proposal")).await);
    let proposal = Proposal::try_from(&proposal).unwrap();
    assert_eq!((proposal.leader, proposal.report_digest), (OracleId(10), world.outcome.ledger.digest));
    let proposal = verify_proposal(&world.setting, OracleId(10), proposal).unwrap().into_inner();
    assert_eq!(proposal.basis.included(&world.setting).into_keys().collect::<Vec<_>>(), [10, 20, 30].map(OracleId));

    let ledger: LedgerDocument = as_(&world.read(&format!("/v1/epochs/{EPOCH}/ledger")).await);
    assert_eq!(ledger.providers[&OFFENDER].recipient, None, "it has earned nothing");
    let outcome = ledger.into_outcome().unwrap();
    assert!(outcome.supports(&world.outcome.report, &world.setting.token));

    let beacon: BeaconRounds = as_(&world.read(&format!("/v1/epochs/{EPOCH}/beacon")).await);
    let start_s = world.setting.start_ms() / 1_000;
    assert_eq!(beacon.rounds.iter().map(|round| round.round - start_s).collect::<Vec<_>>(), [0, 0, 5, 10, 15, 20]);
    assert_eq!(beacon.rounds.iter().map(|round| round.signature.is_some()).collect::<Vec<_>>(), [true, true, true, false, true, true]);
}

#[tokio::test]
async fn a_claim_set_is_served_by_its_root_in_pages() {
    let world = World::start().await;
    let claim = |number: u8| Claim {
        object_id: Hash32([number; 32]),
        replica_index: 0,
        root: Hash32([0x40 + number; 32]),
        object_length: 5,
        blocks: 1,
        tag_key_id: Hash32::ZERO,
        owner: Address([1; 20]),
    };
    let set = ClaimSet::new((1..=3).map(claim).collect()).unwrap();
    world.store.put_claims(EPOCH, &set).await.unwrap();
    let root = set.root().hash;
    let mut found = Vec::new();
    for (after, next) in [(0, Some(2)), (2, None)] {
        let page: ClaimsPage = as_(&world.read(&format!("/v1/claims/{root}?limit=2&after={after}")).await);
        assert_eq!((page.root, page.count, page.next), (set.root(), 3, next));
        found.extend(page.items);
    }
    assert_eq!(ClaimSet::new(found), Ok(set));
    assert_eq!(world.refused(&format!("/v1/claims/{}", Hash32([1; 32]))).await, (404, "not_found".to_owned()));
    assert_eq!(world.refused("/v1/claims/x").await, (400, "bad_request".to_owned()));
}

#[tokio::test]
async fn another_oracles_evidence_comes_through() {
    let world = World::start().await;
    let bundles = vec![Bytes::from_static(b"first"), Bytes::from_static(b"second")];
    world.view.peers.lock().unwrap().insert(OracleId(20), bundles.clone());
    let path = format!("/v1/epochs/{EPOCH}/evidence/1");
    let list: EvidenceList = as_(&world.read(&format!("{path}?oracle=20")).await);
    assert_eq!((list.oracle, list.bundles.len()), (OracleId(20), 2));
    let second = list.bundles[1];
    assert_eq!((second.digest, second.bytes), (Hash32::from(blake3::hash(&bundles[1])), 6));
    let asked = format!("/v1/evidence/{}?oracle=20&epoch={EPOCH}&provider=1", second.digest);
    assert_eq!(world.get(&asked).await.text, "second");
    assert_eq!(world.refused(&format!("/v1/evidence/{}", second.digest)).await, (404, "not_found".to_owned()));
    assert_eq!(world.refused(&format!("/v1/evidence/{}?oracle=20", second.digest)).await, (400, "bad_request".to_owned()));
    // Its own evidence needs no peer.
    for own in [path.clone(), format!("{path}?oracle=10")] {
        let list: EvidenceList = as_(&world.read(&own).await);
        assert_eq!((list.oracle, list.bundles[0].digest), (OracleId(10), bundle(EPOCH).digest));
    }
    assert_eq!(world.refused(&format!("{path}?oracle=30")).await, (503, "peer_unavailable".to_owned()));
}

#[tokio::test]
async fn evidence_is_served_by_its_digest() {
    let world = World::start().await;
    let evidence = bundle(EPOCH);
    let answer = world.get(&format!("/v1/evidence/{}", evidence.digest)).await;
    assert_eq!((answer.status, answer.text.as_bytes()), (200, evidence.bundle.as_slice()));
    assert_eq!(answer.headers["content-type"], "application/x-protobuf");
    assert_eq!(world.refused(&format!("/v1/evidence/{}", Hash32([1; 32]))).await, (404, "not_found".to_owned()));
    for bad in ["/v1/evidence/0x12", "/v1/evidence/xyz"] {
        assert_eq!(world.refused(bad).await, (400, "bad_request".to_owned()), "{bad}");
    }
    let damaged = EvidenceBundle { digest: Hash32([2; 32]), ..evidence };
    world.store.put_evidence(&damaged).await.unwrap();
    assert_eq!(world.refused(&format!("/v1/evidence/{}", damaged.digest)).await, (500, "internal".to_owned()));
}

#[tokio::test]
async fn a_certificate_of_another_report_is_our_own_fault() {
    let world = World::start().await;
    let (other, _) = certified(&setting(EPOCH), &Ledger { digest: Hash32([1; 32]), ..Ledger::default() });
    world.put(EPOCH, &other, &world.outcome).await;
    assert_eq!(world.refused(&format!("/v1/epochs/{EPOCH}/report")).await, (500, "internal".to_owned()));
    let garbage = CertifiedEpoch { certificate: vec![0xff; 9], outcome: world.outcome.clone() };
    world.store.put_outcome(EPOCH, &garbage).await.unwrap();
    let answer = world.get(&format!("/v1/epochs/{EPOCH}/report")).await;
    assert_eq!((answer.status, answer.code().as_str()), (500, "internal"));
    assert!(!answer.text.contains("certificate"), "details are for the log");
}

#[tokio::test]
async fn a_newer_certificate_is_seen_and_an_accepted_epoch_is_kept() {
    let world = World::start().await;
    let path = format!("/v1/epochs/{EPOCH}/report");
    assert_eq!(as_::<Hash32>(&world.read(&path).await["digest"]), world.outcome.ledger.digest);
    let (certificate, outcome) = certified(&setting(EPOCH), &Ledger { digest: Hash32([1; 32]), ..Ledger::default() });
    world.put(EPOCH, &certificate, &outcome).await;
    world.set_now(world.reveals_due_ms() + 1_000);
    assert_eq!(as_::<Hash32>(&world.read(&path).await["digest"]), outcome.ledger.digest);
}
