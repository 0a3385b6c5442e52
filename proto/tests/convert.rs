//! What comes in is what went out, and hostile messages are errors.

use assay_core::challenge::{Answer, BlockAnswer, Challenge, Kind};
use assay_core::claim::{Claim, ClaimRoot, SignedClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::secp::Signature65;
use assay_core::slice::Slice;
use assay_proto::provider::v1 as wire;
use assay_proto::provider::v1::challenge_reply::Answer as WireAnswer;

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
    for kind in Kind::ALL {
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
            child: [11; 32],
        };
        assert_eq!(Challenge::try_from(wire::ChallengeRequest::from(&challenge)), Ok(challenge));
    }
}

#[test]
fn answers_survive_the_wire() {
    let answers = [
        (Answer::Echo([7; 32]), None),
        (Answer::Block(None), None),
        (Answer::Block(Some(BlockAnswer { mac: [1; 32], slice: slice() })), None),
        (Answer::Storage(vec![None, Some(slice()), None]), Some(Signature65([9; 65]))),
    ];
    for (answer, signature) in answers {
        let reply = wire::ChallengeReply::new(answer.clone(), signature.as_ref());
        assert_eq!(reply.parse(), Ok((answer, signature)));
    }
}

#[test]
fn hostile_answers_are_errors() {
    let reply = |answer| wire::ChallengeReply { answer: Some(answer), signature: vec![9; 65].into() };
    let block = |mac: usize, chunk: usize, siblings: usize| {
        let slice = wire::Slice { chunk: vec![0; chunk].into(), siblings: vec![0; siblings].into() };
        reply(WireAnswer::Block(wire::BlockAnswer { mac: vec![0; mac].into(), slice: Some(slice) }))
    };
    assert!(block(32, 1024, 64).parse().is_ok());
    for (mac, chunk, siblings) in [(31, 1024, 64), (0, 1024, 64), (32, 1025, 64), (32, 1024, 63), (32, 1024, 55 * 32)] {
        assert!(block(mac, chunk, siblings).parse().is_err(), "{mac} {chunk} {siblings}");
    }
    let mac_alone = wire::BlockAnswer { mac: vec![0; 32].into(), slice: None };
    assert!(reply(WireAnswer::Block(mac_alone)).parse().is_err());
    assert!(reply(WireAnswer::Echo(vec![0; 33].into())).parse().is_err());
    let many = wire::StorageAnswer { samples: vec![wire::StorageSample::default(); 65] };
    assert!(reply(WireAnswer::Storage(many)).parse().is_err());
    let unsigned = WireAnswer::Storage(wire::StorageAnswer::default());
    assert!(wire::ChallengeReply { answer: Some(unsigned), signature: Vec::new().into() }.parse().is_err());
    assert!(wire::ChallengeReply::default().parse().is_err());
}
