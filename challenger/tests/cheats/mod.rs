//! A server that cheats in bandwidth tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use assay_core::challenge::kinds::bandwidth::Total;
use assay_core::challenge::{Answer, Kind};
use assay_core::claim::{Claim, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::Address;
use assay_core::replica::blocks_for;
use assay_core::transcript::Fate;
use assay_proto::provider::v1::provider_server::{Provider, ProviderServer};
use assay_proto::provider::v1::{self as wire, ChallengeReply};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::egress_reply::Reply as Out;
use wire::egress_request::Request as Ask;
use wire::ingress_frame::Frame;
use wire::ingress_reply::Reply as In;

/// How it cheats, in either direction.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Cheat {
    /// Receipts with invented hashes; groups that are not the stored ones. It answers rightly in the end.
    Garbage,
    /// Receipts for bytes that have not come; groups that nobody gave credit for. It answers rightly in the end.
    Ahead,
    /// Right receipts and no groups; states another total than there was.
    WrongTotal,
    /// Takes the call and never replies.
    Silent,
    /// Refuses the call.
    Refuse,
    /// Replies without end, as fast as it goes, and never answers.
    Flood,
    /// Replies larger than any honest one.
    Large,
    /// Never reads.
    Deaf,
    /// Replies without a word in them.
    Empty,
}

impl Cheat {
    pub const ALL: [Self; 9] =
        [Self::Garbage, Self::Ahead, Self::WrongTotal, Self::Silent, Self::Refuse, Self::Flood, Self::Large, Self::Deaf, Self::Empty];

    /// Whether it answers in the end.
    fn answers(self) -> bool {
        matches!(self, Self::Garbage | Self::Ahead | Self::WrongTotal)
    }

    /// A wrong total of ingress is wrong for whoever judges the answer again; what spoilt any other test is not in its answer.
    pub fn fate(self, kind: Kind) -> Fate {
        match (self, kind) {
            (Self::WrongTotal, Kind::INGRESS) => Fate::Invalid,
            _ => Fate::Silent,
        }
    }
}

pub struct Cheater {
    cheat: Cheat,
    pub claims: Arc<ClaimSet>,
    /// Bytes that the transport took from it.
    pub sent: Arc<AtomicU64>,
    /// Bytes that were sent to it.
    pub received: Arc<AtomicU64>,
}

impl Cheater {
    pub async fn serve(cheat: Cheat) -> (SocketAddr, Arc<Self>) {
        let object_length = 3_000_000;
        let claim = Claim {
            object_id: Hash32([1; 32]),
            replica_index: 0,
            root: Hash32([2; 32]),
            object_length,
            blocks: blocks_for(object_length),
            tag_key_id: Hash32::ZERO,
            owner: Address([3; 20]),
        };
        let claims = Arc::new(ClaimSet::new(vec![claim]).unwrap());
        let cheater = Arc::new(Self { cheat, claims, sent: Arc::default(), received: Arc::default() });
        let (incoming, address) = assay_daemon::grpc::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let server = tonic::transport::Server::builder().add_service(ProviderServer::from_arc(cheater.clone()));
        tokio::spawn(server.serve_with_incoming(incoming));
        (address, cheater)
    }
}

/// What it answers for in the end.
#[derive(Default)]
struct Tally {
    bytes: u64,
    hasher: blake3::Hasher,
}

impl Tally {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    fn receipt(&self) -> wire::Receipt {
        wire::Receipt { bytes: self.bytes, hash: self.hasher.finalize().as_bytes()[..16].to_vec().into() }
    }

    /// The truth, unless that is what it cheats in.
    fn answer(&self, cheat: Cheat) -> ChallengeReply {
        let hash = *self.hasher.finalize().as_bytes();
        let total = match cheat {
            Cheat::WrongTotal => Total { bytes: self.bytes + 1, hash },
            _ => Total { bytes: self.bytes, hash },
        };
        ChallengeReply::new(Answer::of_payload(total.to_payload()), None)
    }
}

type Replies<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl Provider for Cheater {
    type IngressStream = Replies<wire::IngressReply>;

    async fn ingress(&self, request: Request<Streaming<wire::IngressFrame>>) -> Result<Response<Self::IngressStream>, Status> {
        if self.cheat == Cheat::Refuse {
            return Err(Status::resource_exhausted("busy"));
        }
        let mut frames = request.into_inner();
        let (sink, replies) = mpsc::channel(32);
        let (cheat, sent, received) = (self.cheat, self.sent.clone(), self.received.clone());
        tokio::spawn(async move {
            let reply = async |reply: Option<In>, size: usize| {
                let taken = sink.send(Ok(wire::IngressReply { reply })).await;
                sent.fetch_add(size as u64, Ordering::Relaxed);
                taken.is_ok()
            };
            match cheat {
                Cheat::Deaf => return sink.closed().await,
                Cheat::Flood => while reply(Some(In::Receipt(wire::Receipt::default())), 10).await {},
                Cheat::Large => {
                    let hash = vec![0; 1 << 20].into();
                    reply(Some(In::Receipt(wire::Receipt { bytes: 1, hash })), 1 << 20).await;
                    return sink.closed().await;
                }
                _ => {}
            }
            let mut tally = Tally::default();
            while let Ok(Some(message)) = frames.message().await {
                let Some(Frame::Data(data)) = message.frame else { continue };
                received.fetch_add(data.len() as u64, Ordering::Relaxed);
                if cheat == Cheat::Silent {
                    continue;
                }
                tally.add(&data);
                let right = tally.receipt();
                match cheat {
                    Cheat::Garbage => reply(Some(In::Receipt(wire::Receipt { hash: vec![9; 16].into(), ..right })), 10).await,
                    Cheat::Ahead => reply(Some(In::Receipt(wire::Receipt { bytes: right.bytes * 2, ..right })), 10).await,
                    Cheat::WrongTotal => reply(Some(In::Receipt(right)), 10).await,
                    Cheat::Empty => reply(None, 10).await,
                    _ => true,
                };
            }
            match cheat.answers() {
                true => _ = reply(Some(In::Answer(tally.answer(cheat))), 100).await,
                false => sink.closed().await,
            }
        });
        Ok(Response::new(ReceiverStream::new(replies)))
    }

    type EgressStream = Replies<wire::EgressReply>;

    async fn egress(&self, request: Request<Streaming<wire::EgressRequest>>) -> Result<Response<Self::EgressStream>, Status> {
        if self.cheat == Cheat::Refuse {
            return Err(Status::resource_exhausted("busy"));
        }
        let mut requests = request.into_inner();
        let (sink, replies) = mpsc::channel(32);
        let (cheat, sent) = (self.cheat, self.sent.clone());
        tokio::spawn(async move {
            let reply = async |reply: Option<Out>, size: usize| {
                let taken = sink.send(Ok(wire::EgressReply { reply })).await;
                sent.fetch_add(size as u64, Ordering::Relaxed);
                taken.is_ok()
            };
            let group = |size: usize| Some(Out::Group(wire::Group { data: vec![9; size].into(), siblings: vec![8; 32 * 8].into() }));
            match cheat {
                Cheat::Deaf => return sink.closed().await,
                Cheat::Flood => while reply(group(16 * 1024), 16 * 1024).await {},
                Cheat::Large => {
                    reply(group(1 << 20), 1 << 20).await;
                    return sink.closed().await;
                }
                _ => {}
            }
            let (mut tally, mut granted) = (Tally::default(), 0);
            while let Ok(Some(message)) = requests.message().await {
                let Some(Ask::Credit(credit)) = message.request else { continue };
                granted += credit;
                match cheat {
                    Cheat::Garbage => {
                        while tally.bytes < granted {
                            tally.add(&[9; 16 * 1024]);
                            tally.add(&[8; 32 * 8]);
                            reply(group(16 * 1024), 16 * 1024).await;
                        }
                        true
                    }
                    Cheat::Ahead => {
                        for _ in 0..20 {
                            reply(Some(Out::Group(wire::Group::default())), 10).await;
                        }
                        true
                    }
                    Cheat::Empty => reply(None, 10).await,
                    _ => true,
                };
            }
            match cheat.answers() {
                true => _ = reply(Some(Out::Answer(tally.answer(cheat))), 100).await,
                false => sink.closed().await,
            }
        });
        Ok(Response::new(ReceiverStream::new(replies)))
    }

    async fn describe(&self, _: Request<wire::DescribeRequest>) -> Result<Response<wire::DescribeReply>, Status> {
        Ok(Response::new(wire::DescribeReply::default()))
    }

    async fn releases(&self, _: Request<wire::ReleasesRequest>) -> Result<Response<wire::ReleasesReply>, Status> {
        Err(Status::unavailable("it only cheats in bandwidth tests"))
    }

    async fn claims(&self, _: Request<wire::ClaimsRequest>) -> Result<Response<wire::ClaimsReply>, Status> {
        Err(Status::unavailable("it only cheats in bandwidth tests"))
    }

    async fn challenge(&self, _: Request<wire::ChallengeRequest>) -> Result<Response<ChallengeReply>, Status> {
        Err(Status::unavailable("it only cheats in bandwidth tests"))
    }

    async fn seal(&self, _: Request<wire::SealRequest>) -> Result<Response<wire::SealReply>, Status> {
        Err(Status::unavailable("it only cheats in bandwidth tests"))
    }
}
