//! The two bandwidth streams over real gRPC, by hand.

mod common;

use std::sync::Arc;
use std::time::Duration;

use assay_core::challenge::egress::{GroupPlace, credit_of, groups};
use assay_core::challenge::kinds::bandwidth::Total;
use assay_core::challenge::{Answer, Challenge, Kind};
use assay_core::claim::ClaimSet;
use assay_core::hash::Hash32;
use assay_core::slice::GROUP_BYTES;
use assay_core::slice::group::{Group, verify_group};
use assay_proto::convert::wire_bytes;
use assay_proto::provider::v1 as wire;
use common::*;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use wire::egress_reply::Reply as Out;
use wire::egress_request::Request as Ask;
use wire::ingress_frame::Frame;
use wire::ingress_reply::Reply as In;

/// Nothing here takes that long.
const PATIENCE: Duration = Duration::from_secs(20);

struct Ingress {
    sender: Option<mpsc::Sender<wire::IngressFrame>>,
    replies: Streaming<wire::IngressReply>,
}

impl Ingress {
    async fn begin(node: &Node, challenge: &Challenge) -> Result<Self, Status> {
        Self::begin_with(node, Frame::Challenge(challenge.into())).await
    }

    async fn begin_with(node: &Node, first: Frame) -> Result<Self, Status> {
        let (sender, frames) = mpsc::channel(4);
        sender.send(wire::IngressFrame { frame: Some(first) }).await.unwrap();
        let replies = node.provider.clone().ingress(ReceiverStream::new(frames)).await?.into_inner();
        Ok(Self { sender: Some(sender), replies })
    }

    async fn send(&mut self, data: Vec<u8>) {
        // The provider may have ended the stream.
        let _ = self.sender.as_ref().unwrap().send(wire::IngressFrame { frame: Some(Frame::Data(data.into())) }).await;
    }

    async fn reply(&mut self) -> Result<In, Status> {
        let message = timeout(PATIENCE, self.replies.message()).await.expect("no reply");
        Ok(message?.expect("the stream ended").reply.unwrap())
    }

    /// Sends one frame and takes its receipt.
    async fn exchange(&mut self, data: Vec<u8>) -> wire::Receipt {
        self.send(data).await;
        match self.reply().await.unwrap() {
            In::Receipt(receipt) => receipt,
            In::Answer(_) => panic!("no answer was due"),
        }
    }

    async fn end(mut self) -> Answer {
        self.sender = None;
        match self.reply().await.unwrap() {
            In::Answer(reply) => reply.parse().unwrap().0,
            In::Receipt(_) => panic!("no receipt was due"),
        }
    }
}

struct Egress {
    sender: Option<mpsc::Sender<wire::EgressRequest>>,
    replies: Streaming<wire::EgressReply>,
    places: Box<dyn Iterator<Item = GroupPlace>>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Egress {
    async fn begin(node: &Node, challenge: &Challenge, set: &ClaimSet) -> Result<Self, Status> {
        let (sender, requests) = mpsc::channel(4);
        sender.send(wire::EgressRequest { request: Some(Ask::Challenge(challenge.into())) }).await.unwrap();
        let replies = node.provider.clone().egress(ReceiverStream::new(requests)).await?.into_inner();
        let places = Box::new(groups(challenge, Arc::new(set.clone())));
        Ok(Self { sender: Some(sender), replies, places, hasher: blake3::Hasher::new(), bytes: 0 })
    }

    async fn grant(&self, credit: u64) {
        self.sender.as_ref().unwrap().send(wire::EgressRequest { request: Some(Ask::Credit(credit)) }).await.unwrap();
    }

    async fn reply(&mut self) -> Result<Out, Status> {
        let message = timeout(PATIENCE, self.replies.message()).await.expect("no reply");
        Ok(message?.expect("the stream ended").reply.unwrap())
    }

    /// The next group and its place.
    async fn group(&mut self) -> (GroupPlace, Group) {
        let Out::Group(group) = self.reply().await.unwrap() else { panic!("no answer was due") };
        let group = Group::try_from(group).unwrap();
        self.hasher.update(&group.bytes).update(group.siblings.as_flattened());
        self.bytes += group.size();
        (self.places.next().unwrap(), group)
    }

    async fn end(mut self) -> (Answer, Total) {
        self.sender = None;
        let Out::Answer(reply) = self.reply().await.unwrap() else { panic!("no group was due") };
        let total = Total { bytes: self.bytes, hash: *self.hasher.finalize().as_bytes() };
        (reply.parse().unwrap().0, total)
    }
}

async fn seal(node: &Node, given: &[(Challenge, Answer)]) -> Result<wire::SealReply, Status> {
    let digests = given.iter().map(|(challenge, answer)| wire::AnswerDigest {
        challenge_digest: wire_bytes(&challenge.digest().0),
        answer_digest: wire_bytes(&answer.digest().0),
    });
    let request = wire::SealRequest {
        chain_id: instance().chain_id,
        settlement: wire_bytes(&instance().settlement.0),
        epoch: 3,
        slot: 2,
        oracle_id: 5,
        provider_id: PROVIDER.0,
        answers: digests.collect(),
    };
    Ok(node.provider.clone().seal(request).await?.into_inner())
}

#[tokio::test]
async fn every_frame_is_acknowledged_and_all_are_answered_for_and_sealed() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(&config(directory.path())).await;
    let challenge = challenge(Kind::INGRESS, 1, &ClaimSet::default());
    let mut ingress = Ingress::begin(&node, &challenge).await.unwrap();
    let mut all = Vec::new();
    for length in [1, 4096, FRAME, 77] {
        let frame: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
        all.extend_from_slice(&frame);
        let receipt = ingress.exchange(frame).await;
        assert_eq!((receipt.bytes, &receipt.hash[..]), (all.len() as u64, &blake3::hash(&all).as_bytes()[..16]));
    }
    let answer = ingress.end().await;
    let total = Total { bytes: all.len() as u64, hash: *blake3::hash(&all).as_bytes() };
    assert_eq!(Total::from_payload(&answer.payload), Some(total));
    assert_eq!(seal(&node, &[(challenge.clone(), answer)]).await.unwrap().count, 1);
    let other = Answer::of_payload(Total { bytes: 1, ..total }.to_payload());
    assert_eq!(seal(&node, &[(challenge, other)]).await.unwrap_err().code(), Code::FailedPrecondition);
    node.stop().await;
}

#[tokio::test]
async fn groups_come_in_order_as_far_as_credit_goes() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replicas = [Replica::new("one", 1_000_000), Replica::new("two", 10)];
    for replica in &replicas {
        node.store(replica).await;
    }
    let set = set(&replicas.iter().collect::<Vec<_>>());
    let challenge = challenge(Kind::EGRESS, 1, &set);
    let mut egress = Egress::begin(&node, &challenge, &set).await.unwrap();
    let (mut granted, mut used) = (0, 0);
    for credit in [1, 40_000, 13_000, 300_000, 5_000, 5_000, 5_000, 5_000] {
        egress.grant(credit).await;
        granted += credit;
        while used < granted {
            let (place, group) = egress.group().await;
            assert_eq!(verify_group(&place.root, place.total_bytes, place.group, &group), Ok(()));
            used += credit_of(&group);
        }
    }
    // What was sent beyond its credit is made up for: nothing more was on its way.
    let (answer, total) = egress.end().await;
    assert!(used < granted + GROUP_BYTES + 1_000);
    assert_eq!(Total::from_payload(&answer.payload), Some(total));
    assert_eq!(seal(&node, &[(challenge, answer)]).await.unwrap().count, 1);
    node.stop().await;
}

// Defence: `Replica::group` proves what it reads, and a missing group's price; without them wrong groups come, or empty ones without end.
#[tokio::test]
async fn damaged_groups_are_empty_and_use_up_credit() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::new("damaged", 1_000_000);
    node.store(&replica).await;
    let path = directory.path().join("replicas").join(format!("{}.replica", hex::encode(replica.claim.root.0)));
    let half = replica.bytes.len() / 2 / GROUP_BYTES as usize * GROUP_BYTES as usize;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..half].fill(0);
    std::fs::write(&path, bytes).unwrap();

    let set = set(&[&replica]);
    let mut egress = Egress::begin(&node, &challenge(Kind::EGRESS, 1, &set), &set).await.unwrap();
    egress.grant(4 << 20).await;
    let (mut used, mut missing, mut whole) = (0, 0, 0);
    while used < 4 << 20 {
        let (place, group) = egress.group().await;
        match place.group * GROUP_BYTES < half as u64 {
            true => assert_eq!(group, Group::default()),
            false => assert_eq!(verify_group(&place.root, place.total_bytes, place.group, &group), Ok(())),
        }
        missing += u64::from(group.bytes.is_empty());
        whole += u64::from(!group.bytes.is_empty());
        used += credit_of(&group);
    }
    assert!(missing > 20 && whole > 20, "{missing} missing, {whole} whole");
    let (answer, total) = egress.end().await;
    assert_eq!(Total::from_payload(&answer.payload), Some(total));
    node.stop().await;
}

#[tokio::test]
async fn what_is_not_a_test_of_ours_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::new("one", 1000);
    node.store(&replica).await;
    let set = set(&[&replica]);
    let (good_in, good_out) = (challenge(Kind::INGRESS, 0, &set), challenge(Kind::EGRESS, 0, &set));
    let ingress = async |challenge: Challenge| Ingress::begin(&node, &challenge).await.err().map(|status| status.code());
    let egress = async |challenge: Challenge| Egress::begin(&node, &challenge, &set).await.err().map(|status| status.code());
    let refused = Some(Code::FailedPrecondition);
    assert_eq!(ingress(good_out.clone()).await, refused, "the other direction");
    assert_eq!(egress(good_in.clone()).await, refused, "the other direction");
    assert_eq!(ingress(Challenge { provider: assay_core::ids::ProviderId(8), ..good_in.clone() }).await, refused);
    assert_eq!(egress(Challenge { claim_root: Hash32([1; 32]), ..good_out.clone() }).await, refused);
    assert_eq!(egress(Challenge { claim_blocks: 0, ..good_out.clone() }).await, refused);
    let unnamed = Ingress::begin_with(&node, Frame::Data(vec![1].into())).await;
    assert_eq!(unnamed.err().unwrap().code(), Code::InvalidArgument, "bytes before a challenge");

    let mut twice = Ingress::begin(&node, &good_in).await.unwrap();
    let again = wire::IngressFrame { frame: Some(Frame::Challenge((&good_in).into())) };
    twice.sender.as_ref().unwrap().send(again).await.unwrap();
    assert_eq!(twice.reply().await.unwrap_err().code(), Code::InvalidArgument, "a second challenge");
    let mut large = Ingress::begin(&node, &good_in).await.unwrap();
    large.send(vec![0; FRAME + 1]).await;
    assert_eq!(large.reply().await.unwrap_err().code(), Code::InvalidArgument, "a frame above 256 KiB");
    node.stop().await;
}

// Defence: each of the limits; one taken out lets its part of this test wait for ever, or be served.
#[tokio::test]
async fn streams_are_bounded_in_number_bytes_and_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path());
    let limits = &mut config.limits;
    (limits.bandwidth_streams, limits.bandwidth_bytes) = (2, 100_000);
    (limits.bandwidth_idle_ms, limits.bandwidth_stream_ms) = (500, 1_500);
    let mut node = Node::start(&config).await;
    let replica = Replica::new("one", 1_000_000);
    node.store(&replica).await;
    let set = set(&[&replica]);
    let (good_in, good_out) = (challenge(Kind::INGRESS, 0, &set), challenge(Kind::EGRESS, 0, &set));

    let mut one = Ingress::begin(&node, &good_in).await.unwrap();
    let mut two = Egress::begin(&node, &good_out, &set).await.unwrap();
    assert_eq!(Ingress::begin(&node, &good_in).await.err().unwrap().code(), Code::ResourceExhausted, "a third");
    assert_eq!(one.reply().await.unwrap_err().code(), Code::DeadlineExceeded, "idle");
    assert_eq!(two.reply().await.unwrap_err().code(), Code::DeadlineExceeded, "idle");

    let mut greedy = Egress::begin(&node, &good_out, &set).await.unwrap();
    greedy.grant(u64::MAX).await;
    greedy.grant(u64::MAX).await;
    let ended = loop {
        match greedy.reply().await {
            Ok(Out::Group(group)) => greedy.bytes += group.data.len() as u64,
            Ok(Out::Answer(_)) => panic!("the stream was not closed"),
            Err(status) => break status,
        }
    };
    assert!(ended.code() == Code::ResourceExhausted && greedy.bytes < 1 << 20, "{ended} after {} bytes", greedy.bytes);

    let mut slow = Ingress::begin(&node, &good_in).await.unwrap();
    let ended = loop {
        slow.send(vec![1; 10]).await;
        match slow.reply().await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::DeadlineExceeded, "it lasts too long");
    let mut long = Ingress::begin(&node, &good_in).await.unwrap();
    long.send(vec![0; 100_000]).await;
    assert!(matches!(long.reply().await, Ok(In::Receipt(_))));
    long.send(vec![0; 1]).await;
    assert_eq!(long.reply().await.unwrap_err().code(), Code::ResourceExhausted, "too many bytes");
    // All of them have given their place back.
    let last = Ingress::begin(&node, &good_in).await.unwrap();
    assert_eq!(Total::from_payload(&last.end().await.payload).unwrap().bytes, 0);
    node.stop().await;
}
