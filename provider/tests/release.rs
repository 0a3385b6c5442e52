//! Claims that their owners give up.

mod common;

use std::path::Path;
use std::time::Duration;

use assay_core::claim::SignedClaimSet;
use assay_proto::provider::v1 as wire;
use common::*;
use tonic::Code;

async fn releases(node: &mut Node, after_sequence: u64) -> Vec<wire::Release> {
    node.provider.releases(wire::ReleasesRequest { after_sequence, limit: 10 }).await.unwrap().into_inner().releases
}

// Defence: `expect_owner`. Without it anybody makes a provider drop what it is paid to keep.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_needs_the_owners_signature_and_its_repetition_is_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let (kept, given_up) = (Replica::new("kept", 1000), Replica::new("given up", 2000));
    node.store(&kept).await;
    assert_eq!(node.release(&given_up).await.unwrap_err().code(), Code::NotFound);
    node.store(&given_up).await;

    let digest = domain().release_digest(&given_up.claim.hash());
    let claim_digest = domain().claim_digest(&given_up.claim.hash());
    let other_domain = assay_core::claim::ClaimDomain { chain_id: 1, ..domain() }.release_digest(&given_up.claim.hash());
    for wrong in [
        receipt_key().sign(&digest).unwrap(),
        builder_key().sign(&claim_digest).unwrap(),
        builder_key().sign(&other_domain).unwrap(),
        builder_key().sign(&domain().release_digest(&kept.claim.hash())).unwrap(),
    ] {
        assert_eq!(node.release_signed(&given_up, &wrong).await.unwrap_err().code(), Code::PermissionDenied);
    }
    assert_eq!(node.describe().await.newest.unwrap().sequence, 2);

    let reply = node.release(&given_up).await.unwrap();
    let signed = SignedClaimSet::try_from(reply.set.clone().unwrap()).unwrap();
    assert_eq!((signed.sequence, signed.count, signed.root), (3, 1, set(&[&kept]).root()));
    assert!(signed.is_by(&receipt_key().address(), &domain()));
    assert_eq!(node.release(&given_up).await.unwrap(), reply);
    let wrong = receipt_key().sign(&digest).unwrap();
    assert_eq!(node.release_signed(&given_up, &wrong).await.unwrap_err().code(), Code::PermissionDenied);

    let listed = releases(&mut node, 0).await;
    assert_eq!((listed.len(), listed[0].sequence), (1, 3));
    assert_eq!(listed[0].claim.clone().unwrap().parse().unwrap().0, given_up.claim);
    assert_eq!((releases(&mut node, 2).await.len(), releases(&mut node, 3).await.len()), (1, 0));
    for (sequence, count) in [(1, 1), (2, 2), (3, 1)] {
        let page =
            node.provider.claims(wire::ClaimsRequest { sequence, offset: 0, limit: 10, ..Default::default() }).await.unwrap().into_inner();
        assert_eq!(page.claims.len(), count, "version {sequence}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn released_data_is_answered_for_until_the_grace_is_over_and_then_refused_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let (kept, given_up) = (Replica::tagged("kept", 500_000), Replica::tagged("given up", 500_000));
    node.finish(&kept).await.unwrap();
    node.finish(&given_up).await.unwrap();
    let (both, one) = (set(&[&kept, &given_up]), set(&[&kept]));
    node.release(&given_up).await.unwrap();
    node.stop().await;

    let mut node = Node::start(&config(directory.path())).await;
    for set in [&both, &one] {
        let challenge = storage_challenge(set, false);
        assert!(check(&challenge, set, &node.ask(&challenge).await.unwrap().0).all_valid(), "within the grace");
    }
    node.stop().await;

    let mut impatient = config(directory.path());
    impatient.limits.release_grace_s = 0;
    let mut node = Node::start(&impatient).await;
    for extension in ["replica", "outboard", "tags"] {
        assert!(!given_up.file(directory.path(), extension).exists());
        assert!(kept.file(directory.path(), extension).exists());
    }
    // Defence: `has_purged`. Without it whoever asks for an old version gets a signed "missing" of what was removed by right.
    let status = node.ask(&storage_challenge(&both, false)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    let challenge = storage_challenge(&one, false);
    assert!(check(&challenge, &one, &node.ask(&challenge).await.unwrap().0).all_valid());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_provider_removes_released_data_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let mut short = config(directory.path());
    short.limits.release_grace_s = 1;
    short.limits.challenge_timeout_ms = 500;
    let mut node = Node::start(&short).await;
    let replica = Replica::new("short", 1000);
    node.store(&replica).await;
    let set = set(&[&replica]);
    let reply = node.release(&replica).await.unwrap();
    assert_eq!((reply.set.unwrap().count, node.describe().await.newest.unwrap().sequence), (0, 2));
    assert!(replica.file(directory.path(), "replica").exists());
    assert!(gone(&replica.file(directory.path(), "replica")).await);
    assert_eq!(node.ask(&storage_challenge(&set, true)).await.unwrap_err().code(), Code::FailedPrecondition);
    node.stop().await;
}

async fn gone(path: &Path) -> bool {
    for _ in 0..200 {
        if !path.exists() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

// Defence: `StoreError::Released`. Without it the old release, which everybody can read, is sent again and drops the new claim.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_release_cannot_be_replayed_against_a_new_claim_on_the_same_data() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let (plain, tagged) = (Replica::new("again", 300_000), Replica::tagged("again", 300_000));
    assert_eq!(plain.claim.root, tagged.claim.root);
    node.store(&plain).await;
    assert_eq!(node.propose(&tagged).await.unwrap_err().code(), Code::AlreadyExists);
    node.release(&plain).await.unwrap();
    let status = node.propose(&plain).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");

    assert_eq!(node.finish(&tagged).await.unwrap().sequence, 3, "another claim on the released root");
    node.release(&plain).await.unwrap();
    assert_eq!(node.describe().await.newest.unwrap().sequence, 3);
    for set in [set(&[&plain]), set(&[&tagged])] {
        let challenge = storage_challenge(&set, set.tag_keys().next().is_none());
        assert!(check(&challenge, &set, &node.ask(&challenge).await.unwrap().0).all_valid());
    }
    node.stop().await;
    let mut impatient = config(directory.path());
    impatient.limits.release_grace_s = 0;
    let mut node = Node::start(&impatient).await;
    let set = set(&[&tagged]);
    let challenge = storage_challenge(&set, false);
    assert!(check(&challenge, &set, &node.ask(&challenge).await.unwrap().0).all_valid(), "the other claim's data stays");
    node.stop().await;
}
