//! What comes in is what went out, and hostile messages are errors.

use assay_core::challenge::{Answer, Challenge, Kind, Kinds, MAX_CHUNKS};
use assay_core::claim::{Claim, ClaimRoot, SignedClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::secp::Signature65;
use assay_core::slice::Slice;
use assay_proto::provider::v1 as wire;

fn slice() -> Slice {
    Slice { chunk: vec![1; 1024], siblings: vec![[2; 32], [3; 32]] }
}

#[test]
fn messages_survive_the_wire() {
    let claim = Claim {
        object_id: Hash32([1; 32]),
        replica_index: u64::MAX,
        root: Hash32([2; 32]),
        object_length: 5,
        blocks: 1,
        tag_key_id: Hash32([3; 32]),
        owner: Address([4; 20]),
    };
    for claim in [claim.clone(), Claim { tag_key_id: Hash32::ZERO, ..claim }] {
        assert_eq!(Claim::try_from(wire::Claim::from(&claim)), Ok(claim.clone()));
        let signed = wire::SignedClaim::new(&claim, &Signature65([9; 65]));
        assert_eq!(signed.parse(), Ok((claim, Signature65([9; 65]))));
    }
    let root = ClaimRoot { hash: Hash32([1; 32]), blocks: 3 };
    let set = SignedClaimSet { sequence: 2, root, count: 1, signature: Signature65([9; 65]) };
    assert_eq!(SignedClaimSet::try_from(wire::SignedClaimSet::from(&set)), Ok(set));
    for (kind, chunks) in Kinds::standard().iter().map(|plug| (plug.kind(), plug.chunks())).chain([(Kind(200), MAX_CHUNKS)]) {
        let challenge = Challenge {
            instance: Instance { chain_id: 1, settlement: Address([2; 20]) },
            epoch: 3,
            slot: 4,
            oracle: OracleId(5),
            provider: ProviderId(6),
            kind,
            index: 7,
            class_id: 8,
            claim_root: Hash32([9; 32]),
            claim_blocks: 10,
            chunks,
            slices_one_in: 0,
            extra: vec![],
            child: [11; 32],
        };
        assert_eq!(Challenge::try_from(wire::ChallengeRequest::from(&challenge)), Ok(challenge));
    }
}

#[test]
fn hostile_challenges_are_errors() {
    let request = wire::ChallengeRequest {
        settlement: vec![2; 20].into(),
        kind: 1,
        claim_root: vec![9; 32].into(),
        child: vec![11; 32].into(),
        ..Default::default()
    };
    assert!(Challenge::try_from(request.clone()).is_ok());
    type Change = fn(&mut wire::ChallengeRequest);
    let changes: [(&str, Change); 7] = [
        ("kind", |request| request.kind = 0),
        ("kind", |request| request.kind = 256),
        ("class_id", |request| request.class_id = 65_536),
        ("chunks", |request| request.chunks = MAX_CHUNKS + 1),
        ("settlement", |request| request.settlement = vec![2; 21].into()),
        ("claim_root", |request| request.claim_root = vec![2; 31].into()),
        ("child", |request| request.child = Vec::new().into()),
    ];
    for (field, change) in changes {
        let mut hostile = request.clone();
        change(&mut hostile);
        assert_eq!(Challenge::try_from(hostile).unwrap_err().field, field);
    }
}

#[test]
fn answers_survive_the_wire() {
    let answers = [
        (Answer::of_payload([7; 32]), None),
        (Answer::default(), None),
        (Answer { payload: vec![], samples: vec![None] }, None),
        (Answer { payload: vec![1; 32], samples: vec![Some(slice())] }, None),
        (Answer { payload: vec![], samples: vec![None, Some(slice()), None] }, Some(Signature65([9; 65]))),
        (Answer::of_payload(vec![5; Answer::MAX_PAYLOAD_BYTES]), None),
    ];
    for (answer, signature) in answers {
        let reply = wire::ChallengeReply::new(answer.clone(), signature.as_ref());
        assert_eq!(reply.parse(), Ok((answer, signature)));
    }
}

// Defence: the bounds in `ChallengeReply::parse` and `Slice::try_from`. Without them one answer takes as much memory as a provider likes.
#[test]
fn hostile_answers_are_errors() {
    let sample = |chunk: usize, siblings: usize| wire::Sample {
        slice: Some(wire::Slice { chunk: vec![0; chunk].into(), siblings: vec![0; siblings].into() }),
    };
    let reply = |samples| wire::ChallengeReply { payload: vec![1; 32].into(), samples, signature: vec![9; 65].into() };
    assert!(reply(vec![sample(1024, 54 * 32)]).parse().is_ok());
    for (chunk, siblings) in [(1025, 64), (1024, 63), (1024, 55 * 32)] {
        assert!(reply(vec![sample(chunk, siblings)]).parse().is_err(), "{chunk} {siblings}");
    }
    let most = vec![wire::Sample::default(); MAX_CHUNKS as usize];
    assert!(reply(most.clone()).parse().is_ok());
    assert_eq!(reply([most, vec![wire::Sample::default()]].concat()).parse().unwrap_err().field, "samples");
    let long = wire::ChallengeReply { payload: vec![0; Answer::MAX_PAYLOAD_BYTES + 1].into(), ..Default::default() };
    assert_eq!(long.parse().unwrap_err().field, "payload");
    for length in [1, 64, 66] {
        let badly_signed = wire::ChallengeReply { signature: vec![9; length].into(), ..Default::default() };
        assert_eq!(badly_signed.parse().unwrap_err().field, "signature");
    }
}
