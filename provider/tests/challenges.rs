//! Every kind of challenge over real gRPC, checked with core's own verifier.

mod common;

use std::os::unix::fs::FileExt;

use assay_core::challenge::{Answer, Challenge, Kind, answer_signing_digest, seal_digest, seal_leaf};
use assay_core::claim::ClaimSet;
use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::merkle::StandardTree;
use assay_core::secp::{Signature65, recover};
use assay_proto::convert::wire_bytes;
use assay_proto::provider::v1 as wire;
use common::*;
use tonic::Code;

#[tokio::test]
async fn every_kind_verifies() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let (one, two) = (Replica::new("one", 3_000_000), Replica::new("two", 10));
    node.store(&one).await;
    let signed = node.store(&two).await;
    let set = set(&[&one, &two]);
    assert_eq!((signed.sequence, signed.root, signed.count), (2, set.root(), 2));
    assert!(signed.is_by(&receipt_key().address(), &domain()));

    for kind in UNARY {
        for index in 0..10 {
            let challenge = challenge(kind, index, &set);
            let (answer, signature) = node.ask(&challenge).await.unwrap();
            let checked = check(&challenge, &set, &answer);
            assert!(checked.all_valid(), "{kind:?}: {checked:?}");
            assert_eq!(checked.valid as usize, challenge.samples().len().max(1));
            assert_eq!(signature.is_some(), kind == Kind::STORAGE);
            if let Some(signature) = signature {
                let digest = answer_signing_digest(&challenge, &answer.digest());
                assert_eq!(recover(&digest, &signature), Ok(receipt_key().address()));
            }
        }
    }
    let chain = challenge(Kind::LOCALITY, 0, &set);
    let (answer, signature) = node.ask(&chain).await.unwrap();
    assert_eq!((check(&chain, &set, &answer).valid, signature), (16, None));
    let greedy = Challenge { chunks: 64, ..challenge(Kind::STORAGE, 0, &set) };
    assert_eq!(node.ask(&greedy).await.unwrap_err().code(), Code::InvalidArgument, "more than its kind asks for");
    node.stop().await;
}

#[tokio::test]
async fn overwritten_bytes_are_missing_and_the_rest_is_valid() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::new("damaged", 1_000_000);
    node.store(&replica).await;
    let set = set(&[&replica]);

    let path = directory.path().join("replicas").join(format!("{}.replica", hex::encode(replica.claim.root.0)));
    let half = replica.bytes.len() as u64 / 2;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&vec![0; half as usize], 0).unwrap();

    let (mut missing, mut valid) = (0, 0);
    for index in 0..20 {
        let challenge = challenge(Kind::STORAGE, index, &set);
        let (answer, signature) = node.ask(&challenge).await.unwrap();
        let checked = check(&challenge, &set, &answer);
        assert!(checked.invalid.is_empty());
        for (position, sample) in challenge.samples().iter().enumerate() {
            let chunk = sample.block * 124 + u64::from(sample.chunk);
            let group_start = chunk / 16 * 16 * 1024;
            let is_missing = checked.missing.contains(&(position as u32));
            assert_eq!(is_missing, group_start < half, "chunk {chunk}");
        }
        missing += checked.missing.len();
        valid += checked.valid;
        let digest = answer_signing_digest(&challenge, &answer.digest());
        assert_eq!(recover(&digest, &signature.unwrap()), Ok(receipt_key().address()), "a missing chunk is stated with a signature");
    }
    assert!(missing > 100 && valid > 100, "{missing} missing, {valid} valid");

    std::fs::remove_file(&path).unwrap();
    let challenge = challenge(Kind::LATENCY_BLOCK, 0, &set);
    assert_eq!(node.ask(&challenge).await.unwrap().0, Answer { payload: vec![], samples: vec![None] });
    node.stop().await;
}

#[tokio::test]
async fn a_challenge_for_somebody_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::new("one", 1000);
    node.store(&replica).await;
    let good = challenge(Kind::STORAGE, 0, &set(&[&replica]));
    let mut refuse = async |change: fn(&mut wire::ChallengeRequest), code: Code, text: &str| {
        let mut request = wire::ChallengeRequest::from(&good);
        change(&mut request);
        let status = node.provider.challenge(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(text), "{status}");
    };
    refuse(|r| r.provider_id = 8, Code::FailedPrecondition, "this is provider 7").await;
    refuse(|r| r.chain_id = 1, Code::FailedPrecondition, "another chain").await;
    refuse(|r| r.settlement = vec![1; 20].into(), Code::FailedPrecondition, "another chain").await;
    refuse(|r| r.claim_root = vec![1; 32].into(), Code::FailedPrecondition, "is not known here").await;
    refuse(|r| r.claim_blocks += 1, Code::FailedPrecondition, "is not known here").await;
    refuse(|r| r.claim_blocks = u64::MAX, Code::FailedPrecondition, "is not known here").await;
    refuse(|r| r.claim_blocks = 0, Code::FailedPrecondition, "nothing is claimed").await;
    refuse(|r| (r.kind, r.chunks) = (5, 0), Code::FailedPrecondition, "kind 5").await;
    refuse(|r| r.kind = 0, Code::InvalidArgument, "kind").await;
    refuse(|r| r.kind = 256, Code::InvalidArgument, "kind").await;
    refuse(|r| r.chunks = 65, Code::InvalidArgument, "chunks").await;
    refuse(|r| r.class_id = 70_000, Code::InvalidArgument, "class_id").await;
    refuse(|r| r.child = vec![1; 31].into(), Code::InvalidArgument, "child").await;
    refuse(|r| r.settlement = vec![1; 21].into(), Code::InvalidArgument, "settlement").await;
    node.stop().await;
}

#[tokio::test]
async fn earlier_claim_sets_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replicas: Vec<_> = (0..12).map(|i| Replica::new(&format!("object {i}"), 100 + i)).collect();
    let mut sets = Vec::new();
    for (i, replica) in replicas.iter().enumerate() {
        node.store(replica).await;
        sets.push(set(&replicas[..=i].iter().collect::<Vec<_>>()));
    }
    let every: Vec<_> = sets.iter().chain(sets.iter().rev()).collect();
    for set in every {
        let challenge = challenge(Kind::STORAGE, 1, set);
        assert!(check(&challenge, set, &node.ask(&challenge).await.unwrap().0).all_valid());
    }
    node.stop().await;
}

fn seal_request(answers: &[(Hash32, Hash32)]) -> wire::SealRequest {
    let answer = |(challenge, answer): &(Hash32, Hash32)| wire::AnswerDigest {
        challenge_digest: wire_bytes(&challenge.0),
        answer_digest: wire_bytes(&answer.0),
    };
    wire::SealRequest {
        chain_id: instance().chain_id,
        settlement: wire_bytes(&instance().settlement.0),
        epoch: 3,
        slot: 2,
        oracle_id: 5,
        provider_id: 7,
        answers: answers.iter().map(answer).collect(),
    }
}

#[tokio::test]
async fn a_seal_stands_for_answers_that_were_given_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::new("sealed", 500_000);
    node.store(&replica).await;
    let set = set(&[&replica]);
    let mut given = Vec::new();
    for kind in [Kind::AVAILABILITY, Kind::LATENCY_ECHO, Kind::LATENCY_BLOCK] {
        for index in 0..5 {
            let challenge = challenge(kind, index, &set);
            given.push((challenge.digest(), node.ask(&challenge).await.unwrap().0.digest()));
        }
    }
    let reply = node.provider.seal(seal_request(&given)).await.unwrap().into_inner();
    let root = StandardTree::new(given.iter().map(|(c, a)| seal_leaf(c, a)).collect()).root();
    assert_eq!((reply.answers_root, reply.count), (wire_bytes(&root.0), 15));
    let digest = seal_digest(&instance(), ProviderId(7), OracleId(5), 3, 2, 15, &root);
    let signature = Signature65::from_slice(&reply.signature).unwrap();
    assert_eq!(recover(&digest, &signature), Ok(receipt_key().address()));

    let mut refuse = async |request: wire::SealRequest, code: Code| {
        let status = node.provider.seal(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
    };
    refuse(seal_request(&[]), Code::InvalidArgument).await;
    refuse(seal_request(&[given[0], given[0]]), Code::InvalidArgument).await;
    refuse(seal_request(&[(given[0].0, given[1].1)]), Code::FailedPrecondition).await;
    refuse(wire::SealRequest { slot: 3, ..seal_request(&given) }, Code::FailedPrecondition).await;
    refuse(wire::SealRequest { epoch: 4, ..seal_request(&given) }, Code::FailedPrecondition).await;
    refuse(wire::SealRequest { oracle_id: 6, ..seal_request(&given) }, Code::FailedPrecondition).await;
    refuse(wire::SealRequest { provider_id: 6, ..seal_request(&given) }, Code::FailedPrecondition).await;
    refuse(wire::SealRequest { chain_id: 6, ..seal_request(&given) }, Code::FailedPrecondition).await;
    let storage = challenge(Kind::STORAGE, 0, &set);
    let answered = node.ask(&storage).await.unwrap().0.digest();
    let mut refuse = async |request: wire::SealRequest, code: Code| {
        assert_eq!(node.provider.seal(request).await.unwrap_err().code(), code);
    };
    refuse(seal_request(&[(storage.digest(), answered)]), Code::FailedPrecondition).await;
    node.stop().await;
}

#[tokio::test]
async fn an_unregistered_provider_only_describes_itself() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path());
    config.provider_id = ProviderId(0);
    let mut node = Node::start(&config).await;
    let described = node.provider.describe(wire::DescribeRequest {}).await.unwrap().into_inner();
    assert_eq!(described.receipt_key, wire_bytes(&receipt_key().address().0));
    assert_eq!((described.provider_id, described.newest), (0, None));
    let status = node.ask(&challenge(Kind::AVAILABILITY, 0, &ClaimSet::default())).await.unwrap_err();
    assert!(status.message().contains("not registered"));
    assert_eq!(node.propose(&Replica::new("x", 1)).await.unwrap_err().code(), Code::FailedPrecondition);
    node.stop().await;
}

#[tokio::test]
async fn oversize_requests_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let mut request = wire::ChallengeRequest::from(&challenge(Kind::AVAILABILITY, 0, &ClaimSet::default()));
    request.child = vec![0; 2 << 20].into();
    let status = node.provider.challenge(request).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    let many = vec![(Hash32::ZERO, Hash32::ZERO); 9000];
    assert_eq!(node.provider.seal(seal_request(&many)).await.unwrap_err().code(), Code::InvalidArgument);
    node.stop().await;
}
