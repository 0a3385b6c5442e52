//! A provider that lies: about its claims, and about the bytes it holds.

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use assay_builder::client::Client;
use assay_builder::error::BuilderError;
use assay_builder::range::restore_range;
use assay_builder::verify::{Verified, verify};
use assay_core::claim::{Claim, ClaimDomain, ClaimSet, SignedClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::replica::{Encoder, Header, ReplicaKey, blocks_for};
use assay_core::secp::SecretKey;
use assay_core::slice::group::{Group, prove_group};
use assay_core::slice::{Node, OutboardBuilder};
use assay_proto::convert::wire_bytes;
use assay_proto::provider::v1 as wire;
use assay_proto::provider::v1::ingest_server::{Ingest, IngestServer};
use assay_proto::provider::v1::provider_server::{Provider, ProviderServer};
use common::{keys, wanted};
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

type Replies<T> = ReceiverStream<Result<T, Status>>;
type Lie = Box<dyn Fn(u64, Group) -> Option<Group> + Send>;

/// What it serves.
struct Held {
    claim: Claim,
    owner_key: SecretKey,
    replica: Vec<u8>,
    outboard: Vec<[u8; 64]>,
    /// Makes of every true group what is sent; `None` ends the stream.
    lie: Lie,
}

#[derive(Clone)]
struct Liar(Arc<Mutex<Held>>);

fn domain() -> ClaimDomain {
    ClaimDomain { chain_id: 31_337, provider_registry: Address([1; 20]), provider: ProviderId(1) }
}

fn receipt_key() -> SecretKey {
    SecretKey::from_bytes(&[3; 32]).unwrap()
}

fn nowhere<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not here"))
}

impl Held {
    fn new(length: usize) -> Self {
        let object: Vec<u8> = (0..length).map(|i| (i * 13 % 241) as u8).collect();
        let header = Header { object_length: length as u64, object_id: blake3::hash(&object).into(), replica_index: 0 };
        let key = ReplicaKey::derive(&keys().secret, &header.object_id, 0, ProviderId(1));
        let mut replica = Vec::new();
        let mut sink = |block: &[u8]| replica.extend_from_slice(block);
        let mut encoder = Encoder::new(key, &header);
        encoder.update(&object, &mut sink).unwrap();
        encoder.finish(&mut sink).unwrap();
        let (root, outboard) = outboard(&replica);
        let claim = Claim {
            object_id: header.object_id,
            replica_index: 0,
            root,
            object_length: length as u64,
            blocks: blocks_for(length as u64),
            tag_key_id: Hash32::ZERO,
            owner: keys().signer.address(),
        };
        Self { claim, owner_key: keys().signer, replica, outboard, lie: Box::new(|_, group| Some(group)) }
    }

    fn group(&self, number: u64) -> Group {
        let start = (number * 16_384) as usize;
        let bytes = self.replica[start..(start + 16_384).min(self.replica.len())].to_vec();
        let node = |position: u64| self.outboard.get(position as usize).copied();
        prove_group(&self.claim.root, self.replica.len() as u64, number, bytes, node).unwrap()
    }

    fn set(&self) -> SignedClaimSet {
        SignedClaimSet::sign(&domain(), 1, &ClaimSet::new(vec![self.claim.clone()]).unwrap(), &receipt_key()).unwrap()
    }
}

fn outboard(replica: &[u8]) -> (Hash32, Vec<[u8; 64]>) {
    let mut builder = OutboardBuilder::new(replica.len() as u64);
    let mut nodes: Vec<Node> = Vec::new();
    builder.update(replica, &mut nodes).unwrap();
    let root = builder.finish().unwrap();
    nodes.sort_by_key(|node| node.position);
    (root, nodes.into_iter().map(|node| node.pair).collect())
}

#[tonic::async_trait]
impl Provider for Liar {
    type IngressStream = Replies<wire::IngressReply>;
    type EgressStream = Replies<wire::EgressReply>;

    async fn describe(&self, _: Request<wire::DescribeRequest>) -> Result<Response<wire::DescribeReply>, Status> {
        Ok(Response::new(wire::DescribeReply {
            provider_id: 1,
            chain_id: domain().chain_id,
            provider_registry: wire_bytes(&domain().provider_registry.0),
            settlement: wire_bytes(&[2; 20]),
            receipt_key: wire_bytes(&receipt_key().address().0),
            ..Default::default()
        }))
    }

    async fn claims(&self, request: Request<wire::ClaimsRequest>) -> Result<Response<wire::ClaimsReply>, Status> {
        let held = self.0.lock().unwrap();
        let signature = held.owner_key.sign(&domain().claim_digest(&held.claim.hash())).unwrap();
        let claims = match request.into_inner().limit {
            0 => Vec::new(),
            _ => vec![wire::SignedClaim::new(&held.claim, &signature)],
        };
        Ok(Response::new(wire::ClaimsReply { set: Some((&held.set()).into()), claims, tag_keys: Vec::new() }))
    }

    async fn releases(&self, _: Request<wire::ReleasesRequest>) -> Result<Response<wire::ReleasesReply>, Status> {
        nowhere()
    }

    async fn challenge(&self, _: Request<wire::ChallengeRequest>) -> Result<Response<wire::ChallengeReply>, Status> {
        nowhere()
    }

    async fn seal(&self, _: Request<wire::SealRequest>) -> Result<Response<wire::SealReply>, Status> {
        nowhere()
    }

    async fn ingress(&self, _: Request<Streaming<wire::IngressFrame>>) -> Result<Response<Self::IngressStream>, Status> {
        nowhere()
    }

    async fn egress(&self, _: Request<Streaming<wire::EgressRequest>>) -> Result<Response<Self::EgressStream>, Status> {
        nowhere()
    }
}

#[tonic::async_trait]
impl Ingest for Liar {
    type RetrieveStream = Replies<wire::RetrieveFrame>;
    type RetrieveGroupsStream = Replies<wire::Group>;

    async fn propose(&self, _: Request<wire::ProposeRequest>) -> Result<Response<wire::ProposeReply>, Status> {
        nowhere()
    }

    async fn put_tag_key(&self, _: Request<wire::PutTagKeyRequest>) -> Result<Response<wire::PutTagKeyReply>, Status> {
        nowhere()
    }

    async fn upload(&self, _: Request<Streaming<wire::UploadFrame>>) -> Result<Response<wire::UploadReply>, Status> {
        nowhere()
    }

    async fn commit(&self, _: Request<wire::CommitRequest>) -> Result<Response<wire::CommitReply>, Status> {
        nowhere()
    }

    async fn retrieve(&self, _: Request<wire::RetrieveRequest>) -> Result<Response<Self::RetrieveStream>, Status> {
        nowhere()
    }

    async fn retrieve_groups(&self, request: Request<wire::RetrieveGroupsRequest>) -> Result<Response<Self::RetrieveGroupsStream>, Status> {
        let held = self.0.lock().unwrap();
        let told = request.into_inner().groups.into_iter().map_while(|number| (held.lie)(number, held.group(number)));
        let groups: Vec<_> = told.collect();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for group in groups {
                if sender.send(Ok(group.into())).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn release(&self, _: Request<wire::ReleaseRequest>) -> Result<Response<wire::ReleaseReply>, Status> {
        let set = self.0.lock().unwrap().set();
        Ok(Response::new(wire::ReleaseReply { set: Some((&set).into()), kept_until: 0 }))
    }
}

struct Served {
    liar: Liar,
    client: Client,
    serving: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn new(length: usize) -> Self {
        let liar = Liar(Arc::new(Mutex::new(Held::new(length))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let router = Server::builder().add_service(ProviderServer::new(liar.clone())).add_service(IngestServer::new(liar.clone()));
        let serving = tokio::spawn(async move { router.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap() });
        let client = Client::connect(&format!("http://{address}"), ProviderId(1)).await.unwrap();
        Self { liar, client, serving }
    }

    fn claim(&self) -> Claim {
        self.liar.0.lock().unwrap().claim.clone()
    }

    fn lies(&self, lie: impl Fn(u64, Group) -> Option<Group> + Send + 'static) {
        self.liar.0.lock().unwrap().lie = Box::new(lie);
    }

    async fn verified(&mut self) -> Verified {
        let claim = self.claim();
        verify(&mut self.client, &claim, 300).await.unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

// Defence: `verify_group` over every group. Without it any 16 KiB pass for held data.
#[tokio::test]
async fn wrong_bytes_a_wrong_path_another_group_and_a_short_stream_are_all_seen() {
    let mut served = Served::new(1_000_000).await;
    let clean = served.verified().await;
    assert_eq!((clean.groups, clean.held), (62, 62));
    assert_eq!(clean.loss_bound(), Some(0.0));

    served.lies(|number, mut group| {
        if number == 30 {
            group.bytes[5] ^= 1;
        }
        Some(group)
    });
    assert_eq!(served.verified().await, Verified { held: 61, wrong: 1, ..clean });
    served.lies(|number, mut group| {
        if number == 31 {
            group.siblings.pop();
        }
        Some(group)
    });
    assert_eq!(served.verified().await, Verified { held: 61, wrong: 1, ..clean });
    let first = Arc::new(Mutex::new(None));
    served.lies(move |_, group| Some(first.lock().unwrap().get_or_insert(group).clone()));
    assert_eq!(served.verified().await, Verified { held: 1, wrong: 61, ..clean });
    served.lies(|number, group| Some(if number == 9 { Group::default() } else { group }));
    assert_eq!(served.verified().await, Verified { held: 61, missing: 1, ..clean });
    served.lies(|number, group| (number < 50).then_some(group));
    assert_eq!(served.verified().await, Verified { held: 50, missing: 12, ..clean });
}

// Defence: groups are checked before they are decrypted. Without it a range of other bytes gets its final name.
#[tokio::test]
async fn a_range_of_wrong_bytes_leaves_no_file() {
    let mut served = Served::new(1_000_000).await;
    let directory = tempfile::tempdir().unwrap();
    let part = directory.path().join("part");
    served.lies(|number, mut group| {
        if number == 30 {
            group.bytes[5] ^= 1;
        }
        Some(group)
    });
    let claim = served.claim();
    let error = restore_range(&mut served.client, &keys().secret, &claim, 400_000..600_000, &part, &mut |_, _, _| ()).await;
    assert!(matches!(error, Err(BuilderError::BadGroup { group: 30, is_missing: false })), "{error:?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    restore_range(&mut served.client, &keys().secret, &claim, 500_000..600_000, &part, &mut |_, _, _| ()).await.unwrap();
    let expected: Vec<u8> = (500_000..600_000_usize).map(|i| (i * 13 % 241) as u8).collect();
    assert_eq!(std::fs::read(part).unwrap(), expected);
}

// Defence: the owner's signature in `Wanted`. Without it a provider puts a claim with the root of its own noise under the owner's name.
#[tokio::test]
async fn a_claim_that_the_owner_did_not_sign_is_not_found() {
    let mut served = Served::new(1000).await;
    let ours = wanted(&served.claim());
    served.client.find(&ours).await.unwrap();
    served.liar.0.lock().unwrap().owner_key = SecretKey::from_bytes(&[4; 32]).unwrap();
    assert!(matches!(served.client.find(&ours).await, Err(BuilderError::NotClaimed { .. })));
}

// Defence: the new set is read after a release. Without it the owner believes in a release that never was.
#[tokio::test]
async fn a_release_that_leaves_the_claim_in_the_set_is_noticed() {
    let mut served = Served::new(1000).await;
    let claim = served.claim();
    let error = assay_builder::release::release(&mut served.client, &keys().signer, &claim).await.unwrap_err();
    assert!(matches!(error, BuilderError::Untrusted(_)), "{error}");
}
