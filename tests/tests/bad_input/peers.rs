//! What strangers and broken peers deliver to a running oracle.

use assay_core::epoch::Misbehaviour;
use assay_core::ids::OracleId;
use assay_core::observation::SignedCommit;
use assay_proto::oracle::v1::{Outcome, Reason};
use assay_proto::oracle_convert::{MAX_MESSAGE_BYTES, Message};
use tonic::Code;

use crate::world::{Node, Setup, commit, key, wish, world};

/// After whatever was refused, the node still takes an honest message, and that is all that it stored.
async fn still_takes_messages(node: Node, epoch: u64) {
    let honest = wish(2, epoch, 3, &key(2));
    let reply = node.deliver(&honest).await;
    assert_eq!(reply.outcome(), Outcome::Accepted, "{}", reply.text);
    assert_eq!(node.deliver(&honest).await.outcome(), Outcome::Known);
    let theirs: Vec<_> = node.stored().await.into_iter().filter(|message| message.oracle() != Some(OracleId(1))).collect();
    assert_eq!(theirs, [wish(4, epoch, 1, &key(4)), honest], "nothing that was refused is kept");
    node.stop().await;
}

// Defence: the verification before `append_input` in the committee's driver, here and below.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_a_bad_signature() {
    let setup = Setup::new(1).await;
    let node = setup.start().await;
    let epoch = node.open_epoch().await;
    let reply = node.deliver(&wish(2, epoch, 2, &key(3))).await;
    assert_eq!((reply.outcome(), reply.reason()), (Outcome::Refused, Reason::BadSignature));
    assert!(reply.text.contains("verify"), "{}", reply.text);
    still_takes_messages(node, epoch).await;
}

// Defence: `Misbehaviour::verify` before `keep_proof`, and the proofs that `deliver` finds by itself.
#[tokio::test(flavor = "multi_thread")]
async fn two_commits_of_a_peer_are_kept_as_a_proof_and_an_invented_proof_is_not() {
    let setup = Setup::new(1).await;
    let node = setup.start().await;
    let epoch = node.open_epoch().await;
    let instance = world().instance();
    let of = |by: u8, signer: u8| [7, 8].map(|root| commit(by, epoch, root, &key(signer)));
    let proof = |[a, b]: [SignedCommit; 2]| Message::Misbehaviour(Box::new(Misbehaviour::commits(a, b, &instance)));

    let reply = node.deliver(&proof(of(3, 2))).await;
    assert_eq!((reply.outcome(), reply.reason()), (Outcome::Refused, Reason::Invalid), "signed with another member's key");
    assert_eq!(node.proofs().await, []);

    // Found by itself, and told by a peer.
    for signed in of(2, 2) {
        assert_eq!(node.deliver(&Message::Commit(signed)).await.outcome(), Outcome::Accepted);
    }
    assert_eq!(node.proofs().await, [proof(of(2, 2))]);
    assert_eq!(node.deliver(&proof(of(2, 2))).await.outcome(), Outcome::Known);
    assert_eq!(node.deliver(&proof(of(3, 3))).await.outcome(), Outcome::Accepted);
    assert_eq!(node.proofs().await, [proof(of(2, 2)), proof(of(3, 3))]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_from_a_stranger() {
    let setup = Setup::new(1).await;
    let node = setup.start().await;
    let epoch = node.open_epoch().await;
    let reply = node.deliver(&wish(99, epoch, 2, &key(99))).await;
    assert_eq!((reply.outcome(), reply.reason()), (Outcome::Refused, Reason::Stranger));
    assert_eq!(reply.text, "oracle 99 is not in the committee");
    still_takes_messages(node, epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_another_epoch() {
    let setup = Setup::new(1).await;
    let node = setup.start().await;
    let epoch = node.open_epoch().await;
    // Perhaps it opens later: the sender may come again, and nothing is kept meanwhile.
    let reply = node.deliver(&wish(2, epoch + 1_000, 2, &key(2))).await;
    assert_eq!((reply.outcome(), reply.reason()), (Outcome::Refused, Reason::NotYet));
    assert_eq!(reply.text, format!("epoch {} is not open here", epoch + 1_000));
    // Signed for another epoch, and said of this one.
    let Message::Wish(mut moved) = wish(2, epoch + 1, 2, &key(2)) else { panic!("a wish") };
    moved.epoch = epoch;
    let reply = node.deliver(&Message::Wish(moved)).await;
    assert_eq!((reply.outcome(), reply.reason()), (Outcome::Refused, Reason::BadSignature));
    still_takes_messages(node, epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_or_unreadable_message() {
    let setup = Setup::new(1).await;
    let node = setup.start().await;
    let epoch = node.open_epoch().await;
    let refusal = node.deliver_bytes(vec![0; MAX_MESSAGE_BYTES + 1]).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().contains(&MAX_MESSAGE_BYTES.to_string()), "{}", refusal.message());
    // Larger than the transport reads: refused before it is in memory.
    let refusal = node.deliver_bytes(vec![0; 4 * MAX_MESSAGE_BYTES]).await.unwrap_err();
    assert!(matches!(refusal.code(), Code::OutOfRange | Code::ResourceExhausted | Code::Cancelled | Code::Internal), "{refusal}");
    for garbage in [vec![], b"garbage".to_vec(), vec![0xff; 5_000]] {
        assert_eq!(node.deliver_bytes(garbage).await.unwrap_err().code(), Code::InvalidArgument);
    }
    still_takes_messages(node, epoch).await;
}
