//! Replicas in and out over real gRPC.

mod common;

use assay_core::challenge::Kind;
use assay_core::claim::SignedClaimSet;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_proto::convert::wire_bytes;
use assay_proto::provider::v1 as wire;
use common::*;
use tonic::Code;

async fn retrieve(node: &mut Node, root: &Hash32, offset: u64, length: u64) -> Result<Vec<u8>, tonic::Status> {
    let request = wire::RetrieveRequest { root: wire_bytes(&root.0), offset, length };
    let mut frames = node.ingest.retrieve(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(frame) = frames.message().await? {
        assert_eq!(frame.offset, offset + bytes.len() as u64);
        bytes.extend_from_slice(&frame.data);
    }
    Ok(bytes)
}

#[tokio::test]
async fn what_is_stored_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::new("back", 2_000_000);
    node.store(&replica).await;
    let (root, size) = (replica.claim.root, replica.bytes.len() as u64);
    assert_eq!(retrieve(&mut node, &root, 0, 0).await.unwrap(), replica.bytes);
    assert_eq!(retrieve(&mut node, &root, 1000, 300_000).await.unwrap(), replica.bytes[1000..301_000]);
    assert_eq!(retrieve(&mut node, &root, size, 0).await.unwrap(), b"");
    for (offset, length) in [(size + 1, 0), (1, size), (u64::MAX, u64::MAX)] {
        assert_eq!(retrieve(&mut node, &root, offset, length).await.unwrap_err().code(), Code::OutOfRange);
    }
    assert_eq!(retrieve(&mut node, &Hash32([1; 32]), 0, 0).await.unwrap_err().code(), Code::NotFound);
    node.stop().await;
}

#[tokio::test]
async fn an_interrupted_upload_goes_on_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::new("resumed", 3_000_000);
    let size = replica.bytes.len() as u64;
    node.propose(&replica).await.unwrap();
    node.upload(&replica, 0, FRAME as u64 * 3).await.unwrap();
    assert_eq!(node.commit(&replica).await.unwrap_err().code(), Code::FailedPrecondition);

    // A stream that breaks in the middle: the frame at a wrong offset ends it.
    let mut broken = replica.frames(FRAME as u64 * 3, FRAME as u64 * 6);
    broken[2].offset += 1;
    assert_eq!(node.ingest.upload(tokio_stream::iter(broken)).await.unwrap_err().code(), Code::OutOfRange);
    node.stop().await;

    let mut node = Node::start(&config(directory.path())).await;
    let there = node.propose(&replica).await.unwrap();
    assert_eq!((there.received_bytes, there.committed), (FRAME as u64 * 5, false));
    node.upload(&replica, there.received_bytes, size).await.unwrap();
    assert_eq!(node.commit(&replica).await.unwrap().sequence, 1);
    node.stop().await;
}

#[tokio::test]
async fn repeating_everything_is_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::new("again", 1000);
    let first = node.store(&replica).await;
    let again = node.propose(&replica).await.unwrap();
    assert_eq!((again.received_bytes, again.committed), (replica.bytes.len() as u64, true));
    assert_eq!(node.commit(&replica).await.unwrap(), first);
    node.stop().await;
}

#[tokio::test]
async fn wrong_bytes_are_refused_and_may_be_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let good = Replica::new("good", 200_000);
    let mut bad = Replica::new("good", 200_000);
    bad.bytes[77_777] ^= 1;
    node.propose(&good).await.unwrap();
    let size = good.bytes.len() as u64;
    node.upload(&bad, 0, size).await.unwrap();
    let status = node.commit(&good).await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss, "{status}");
    let newest = node.provider.describe(wire::DescribeRequest {}).await.unwrap().into_inner().newest;
    assert_eq!(newest, None, "nothing was signed");
    node.store(&good).await;
    node.stop().await;
}

#[tokio::test]
async fn bad_proposals_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut limited = config(directory.path());
    limited.limits.capacity_bytes = 126_976 * 3;
    let mut node = Node::start(&limited).await;
    let replica = Replica::new("one", 1000);
    let hash = replica.claim.hash();

    let foreign = builder_key().sign(&assay_core::claim::ClaimDomain { provider: ProviderId(8), ..domain() }.claim_digest(&hash)).unwrap();
    assert_eq!(node.propose_signed(&replica, &foreign).await.unwrap_err().code(), Code::PermissionDenied);
    let mut wrong_blocks = Replica::new("one", 1000);
    wrong_blocks.claim.blocks = 2;
    assert_eq!(node.propose(&wrong_blocks).await.unwrap_err().code(), Code::InvalidArgument);
    let mut huge = Replica::new("one", 1000);
    huge.claim.object_length = u64::MAX;
    huge.claim.blocks = assay_core::replica::blocks_for(u64::MAX);
    assert_eq!(node.propose(&huge).await.unwrap_err().code(), Code::InvalidArgument);
    let large = Replica::new("large", 126_976 * 3);
    assert_eq!(node.propose(&large).await.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(node.commit(&replica).await.unwrap_err().code(), Code::NotFound);

    node.store(&replica).await;
    let mut twice = Replica::new("one", 1000);
    twice.claim.replica_index = 1;
    assert_eq!(node.propose(&twice).await.unwrap_err().code(), Code::AlreadyExists, "one copy, one claim");
    node.stop().await;

    limited.limits.owners = vec![Address([9; 20])];
    let mut node = Node::start(&limited).await;
    let other = Replica::new("other", 1000);
    assert_eq!(node.propose(&other).await.unwrap_err().code(), Code::PermissionDenied);
    node.stop().await;
}

#[tokio::test]
async fn two_claims_on_one_root_cannot_both_commit() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let first = Replica::new("same", 1000);
    let mut second = Replica::new("same", 1000);
    second.claim.replica_index = 1;
    let size = first.bytes.len() as u64;
    for replica in [&first, &second] {
        node.propose(replica).await.unwrap();
        node.upload(replica, 0, size).await.unwrap();
    }
    node.commit(&first).await.unwrap();
    assert_eq!(node.commit(&second).await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(retrieve(&mut node, &first.claim.root, 0, 0).await.unwrap(), first.bytes);
    node.stop().await;
}

#[tokio::test]
async fn oversize_and_overlong_frames_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::new("frames", 1_000_000);
    node.propose(&replica).await.unwrap();
    let frame = |offset: u64, length: usize| wire::UploadFrame {
        claim_hash: wire_bytes(&replica.claim.hash().0),
        offset,
        data: vec![0; length].into(),
    };
    let mut code = async |frames: Vec<wire::UploadFrame>| node.ingest.upload(tokio_stream::iter(frames)).await.unwrap_err().code();
    assert_eq!(code(vec![frame(0, FRAME + 1)]).await, Code::InvalidArgument);
    assert_eq!(code(vec![frame(0, FRAME * 4)]).await, Code::OutOfRange, "above the decode limit");
    assert_eq!(code(vec![frame(5, 10)]).await, Code::OutOfRange);
    assert_eq!(code(Vec::new()).await, Code::InvalidArgument);
    let mut overlong: Vec<_> = (0..5).map(|i| frame(i * FRAME as u64, FRAME)).collect();
    overlong.truncate(5);
    assert_eq!(code(overlong).await, Code::InvalidArgument, "longer than the claim");
    node.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_claims_and_pages_list_them() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replicas: Vec<_> = (0..5).map(|i| Replica::new(&format!("kept {i}"), 50_000 * i)).collect();
    for replica in &replicas {
        node.store(replica).await;
    }
    node.stop().await;

    let mut node = Node::start(&config(directory.path())).await;
    let set = set(&replicas.iter().collect::<Vec<_>>());
    let challenge = challenge(Kind::STORAGE, 0, &set);
    assert!(check(&challenge, &set, &node.ask(&challenge).await.unwrap().0).all_valid());

    let mut listed = Vec::new();
    for offset in [0, 2, 4] {
        let reply =
            node.provider.claims(wire::ClaimsRequest { sequence: 0, offset, limit: 2, ..Default::default() }).await.unwrap().into_inner();
        let signed = SignedClaimSet::try_from(reply.set.unwrap()).unwrap();
        assert_eq!((signed.sequence, signed.root), (5, set.root()));
        assert!(signed.is_by(&receipt_key().address(), &domain()));
        listed.extend(reply.claims.into_iter().map(|claim| claim.parse().unwrap()));
    }
    let expected: Vec<_> = set.claims().cloned().collect();
    assert_eq!(listed.iter().map(|(claim, _)| claim.clone()).collect::<Vec<_>>(), expected);
    for (claim, signature) in listed {
        let digest = domain().claim_digest(&claim.hash());
        assert_eq!(assay_core::secp::recover(&digest, &signature), Ok(claim.owner));
    }
    let early =
        node.provider.claims(wire::ClaimsRequest { sequence: 2, offset: 0, limit: 10, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!((early.claims.len(), early.set.unwrap().count), (2, 2));
    let none = node.provider.claims(wire::ClaimsRequest { sequence: 9, offset: 0, limit: 10, ..Default::default() }).await.unwrap_err();
    assert_eq!(none.code(), Code::NotFound);
    node.stop().await;
}

// Defences: no bound on how many versions lie behind the newest, and what is asked for stays in `Store::cached`. With either gone any uploader
// makes an honest provider silent on the claims that an epoch is measured on.
#[tokio::test]
async fn versions_of_strangers_push_out_no_claim_set() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let mine = Replica::new("mine", 100_000);
    node.store(&mine).await;
    let set = set(&[&mine]);
    for stranger in 0..260 {
        node.store(&Replica::new(&format!("stranger {stranger}"), 10)).await;
    }
    let challenge = challenge(Kind::STORAGE, 0, &set);
    assert!(check(&challenge, &set, &node.ask(&challenge).await.unwrap().0).all_valid());
    node.stop().await;
}

#[tokio::test]
async fn a_crash_between_files_and_claim_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::new("crash", 300_000);
    node.propose(&replica).await.unwrap();
    node.upload(&replica, 0, replica.bytes.len() as u64).await.unwrap();
    node.stop().await;
    let part = directory.path().join("incoming").join(format!("{}.part", hex::encode(replica.claim.hash().0)));
    let kept = directory.path().join("replicas").join(format!("{}.replica", hex::encode(replica.claim.root.0)));
    std::fs::rename(&part, &kept).unwrap();

    let mut node = Node::start(&config(directory.path())).await;
    assert_eq!(node.propose(&replica).await.unwrap().received_bytes, replica.bytes.len() as u64);
    node.commit(&replica).await.unwrap();
    assert!(kept.exists() && !part.exists());
    node.stop().await;
}

#[tokio::test]
async fn abandoned_uploads_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::new("abandoned", 300_000);
    node.propose(&replica).await.unwrap();
    node.upload(&replica, 0, 100_000).await.unwrap();
    node.stop().await;
    let mut impatient = config(directory.path());
    impatient.limits.proposal_ttl_s = 0;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let node = Node::start(&impatient).await;
    assert_eq!(std::fs::read_dir(directory.path().join("incoming")).unwrap().count(), 0);
    node.stop().await;
}

#[tokio::test]
async fn a_data_directory_belongs_to_one_process_and_one_provider() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(&config(directory.path())).await;
    let token = tokio_util::sync::CancellationToken::new();
    let second = assay_provider::app::start(&config(directory.path()), receipt_key(), token.clone()).await;
    assert!(second.err().unwrap().to_string().contains("used by another process"));
    node.stop().await;
    let mut other = config(directory.path());
    other.provider_id = ProviderId(8);
    let refused = assay_provider::app::start(&other, receipt_key(), token).await;
    assert!(refused.err().unwrap().to_string().contains("of provider 7"));
}
