//! A provider on loopback and a builder's and an oracle's hand movements.

#![allow(dead_code)]

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::OnceLock;

use assay_core::challenge::compact::SLICES_ONE_IN;
use assay_core::challenge::{Answer, Asked, Challenge, Checked, Kind, Kinds};
use assay_core::claim::{Claim, ClaimDomain, ClaimSet, SignedClaimSet};
use assay_core::compact::{Name, TagKey, TagSecret};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::replica::{BLOCK_BYTES, Encoder, Header, OwnerSecret, ReplicaKey, blocks_for};
use assay_core::secp::{SecretKey, Signature65};
use assay_proto::convert;
use assay_proto::provider::v1 as wire;
use assay_proto::provider::v1::ingest_client::IngestClient;
use assay_proto::provider::v1::provider_client::ProviderClient;
use assay_provider::app::{self, Running};
use assay_provider::config::{Config, Limits, Scrub};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

pub const PROVIDER: ProviderId = ProviderId(7);
pub const FRAME: usize = 256 * 1024;

pub fn receipt_key() -> SecretKey {
    SecretKey::from_bytes(&[0x21; 32]).unwrap()
}

pub fn builder_key() -> SecretKey {
    SecretKey::from_bytes(&[0x42; 32]).unwrap()
}

pub fn instance() -> Instance {
    Instance { chain_id: 31_337, settlement: Address([0xaa; 20]) }
}

pub fn domain() -> ClaimDomain {
    ClaimDomain { chain_id: 31_337, provider_registry: Address([0xbb; 20]), provider: PROVIDER }
}

pub fn config(data_dir: &Path) -> Config {
    Config {
        provider_id: PROVIDER,
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: data_dir.to_owned(),
        keystore: data_dir.join("unused"),
        password_file: data_dir.join("unused"),
        chain_id: 31_337,
        provider_registry: domain().provider_registry,
        settlement: instance().settlement,
        limits: Limits::default(),
        // Tests read by themselves.
        scrub: Scrub { every_s: 0, ..Scrub::default() },
        telemetry: Default::default(),
    }
}

/// Somebody who calls a provider.
pub struct Hands {
    pub provider: ProviderClient<Channel>,
    pub ingest: IngestClient<Channel>,
}

/// A provider in this process, and somebody who calls it.
pub struct Node {
    hands: Hands,
    running: Running,
    shutdown: CancellationToken,
}

impl Deref for Node {
    type Target = Hands;

    fn deref(&self) -> &Hands {
        &self.hands
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Hands {
        &mut self.hands
    }
}

impl Node {
    pub async fn start(config: &Config) -> Self {
        let shutdown = CancellationToken::new();
        let running = app::start(config, receipt_key(), shutdown.clone()).await.unwrap();
        Self { hands: Hands::connect(&running.address.to_string()).await, running, shutdown }
    }

    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    pub async fn stop(self) {
        drop(self.hands);
        self.shutdown.cancel();
        self.running.wait().await.unwrap();
    }
}

impl Hands {
    pub async fn connect(address: &str) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { provider: ProviderClient::new(channel.clone()), ingest: IngestClient::new(channel) }
    }

    pub async fn propose(&mut self, replica: &Replica) -> Result<wire::ProposeReply, Status> {
        let signature = builder_key().sign(&domain().claim_digest(&replica.claim.hash())).unwrap();
        self.propose_signed(replica, &signature).await
    }

    pub async fn propose_signed(&mut self, replica: &Replica, signature: &Signature65) -> Result<wire::ProposeReply, Status> {
        let claim = Some(wire::SignedClaim::new(&replica.claim, signature));
        let reply = self.ingest.propose(wire::ProposeRequest { provider_id: PROVIDER.0, claim }).await?;
        Ok(reply.into_inner())
    }

    pub async fn upload(&mut self, replica: &Replica, from: u64, to: u64) -> Result<u64, Status> {
        let frames = replica.frames(from, to);
        Ok(self.ingest.upload(tokio_stream::iter(frames)).await?.into_inner().received_bytes)
    }

    pub async fn commit(&mut self, replica: &Replica) -> Result<SignedClaimSet, Status> {
        let claim_hash = convert::wire_bytes(&replica.claim.hash().0);
        let reply = self.ingest.commit(wire::CommitRequest { claim_hash }).await?.into_inner();
        Ok(reply.set.unwrap().try_into().unwrap())
    }

    pub async fn store(&mut self, replica: &Replica) -> SignedClaimSet {
        assert_eq!(self.propose(replica).await.unwrap().received_bytes, 0);
        let total = replica.upload().len() as u64;
        assert_eq!(self.upload(replica, 0, total).await.unwrap(), total);
        self.commit(replica).await.unwrap()
    }

    pub async fn put_tag_key(&mut self, owner: &TagOwner) -> Result<(), Status> {
        self.put(&owner.key.to_bytes(), &owner.powers).await
    }

    pub async fn put(&mut self, key: &[u8], powers: &[u8]) -> Result<(), Status> {
        let request = wire::PutTagKeyRequest { key: convert::wire_bytes(key), powers: convert::wire_bytes(powers) };
        self.ingest.put_tag_key(request).await.map(|_| ())
    }

    /// Everything that is left to do for a replica, whatever was done before.
    pub async fn finish(&mut self, replica: &Replica) -> Result<SignedClaimSet, Status> {
        let there = self.propose(replica).await?;
        if there.needs_tag_key {
            self.put_tag_key(tag_owner()).await?;
        }
        let total = replica.upload().len() as u64;
        if !there.committed && there.received_bytes < total {
            self.upload(replica, there.received_bytes, total).await?;
        }
        self.commit(replica).await
    }

    pub async fn release(&mut self, replica: &Replica) -> Result<wire::ReleaseReply, Status> {
        let signature = builder_key().sign(&domain().release_digest(&replica.claim.hash())).unwrap();
        self.release_signed(replica, &signature).await
    }

    pub async fn release_signed(&mut self, replica: &Replica, signature: &Signature65) -> Result<wire::ReleaseReply, Status> {
        let claim_hash = convert::wire_bytes(&replica.claim.hash().0);
        let request = wire::ReleaseRequest { claim_hash, signature: convert::wire_bytes(&signature.0) };
        Ok(self.ingest.release(request).await?.into_inner())
    }

    pub async fn describe(&mut self) -> wire::DescribeReply {
        self.provider.describe(wire::DescribeRequest {}).await.unwrap().into_inner()
    }

    pub async fn ask(&mut self, challenge: &Challenge) -> Result<(Answer, Option<Signature65>), Status> {
        let request = wire::ChallengeRequest::from(challenge);
        Ok(self.provider.challenge(request).await?.into_inner().parse().unwrap())
    }
}

pub struct Replica {
    pub claim: Claim,
    pub bytes: Vec<u8>,
    pub object: Vec<u8>,
    /// Empty without a tag key.
    pub tags: Vec<u8>,
}

/// An owner's tag key with its powers.
pub struct TagOwner {
    pub secret: TagSecret,
    pub key: TagKey,
    pub powers: Vec<u8>,
}

impl TagOwner {
    pub fn new(seed: u8) -> Self {
        let secret = TagSecret::derive(&OwnerSecret::new([seed; 32]));
        let (key, powers) = (secret.key(), secret.powers());
        Self { secret, key, powers }
    }
}

/// The one that most tests need.
pub fn tag_owner() -> &'static TagOwner {
    static OWNER: OnceLock<TagOwner> = OnceLock::new();
    OWNER.get_or_init(|| TagOwner::new(3))
}

impl Replica {
    pub fn new(seed: &str, length: usize) -> Self {
        let mut object = vec![0; length];
        blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut object);
        let object_id = Hash32::from(blake3::hash(&object));
        let header = Header { object_length: length as u64, object_id, replica_index: 0 };
        let key = ReplicaKey::derive(&OwnerSecret::new([3; 32]), &object_id, 0, PROVIDER);
        let mut bytes = Vec::new();
        let mut sink = |block: &[u8]| bytes.extend_from_slice(block);
        let mut encoder = Encoder::new(key, &header);
        encoder.update(&object, &mut sink).unwrap();
        encoder.finish(&mut sink).unwrap();
        let claim = Claim {
            object_id,
            replica_index: 0,
            root: blake3::hash(&bytes).into(),
            object_length: length as u64,
            blocks: blocks_for(length as u64),
            tag_key_id: Hash32::ZERO,
            owner: builder_key().address(),
        };
        Self { claim, bytes, object, tags: Vec::new() }
    }

    /// With tags.
    pub fn tagged(seed: &str, length: usize) -> Self {
        Self::tagged_by(tag_owner(), seed, length)
    }

    pub fn tagged_by(owner: &TagOwner, seed: &str, length: usize) -> Self {
        let mut replica = Self::new(seed, length);
        replica.claim.tag_key_id = owner.key.id();
        let evaluations: Vec<_> = replica.bytes.chunks(BLOCK_BYTES).map(|block| owner.secret.evaluate(block).unwrap()).collect();
        replica.tags = owner.secret.tags(&Name::of(&replica.claim, PROVIDER), 0, &evaluations);
        replica
    }

    /// The replica, then its tags.
    pub fn upload(&self) -> Vec<u8> {
        [&self.bytes[..], &self.tags].concat()
    }

    /// A file of the stored replica.
    pub fn file(&self, data_dir: &Path, extension: &str) -> std::path::PathBuf {
        data_dir.join("replicas").join(format!("{}.{extension}", hex::encode(self.claim.root.0)))
    }

    pub fn frames(&self, from: u64, to: u64) -> Vec<wire::UploadFrame> {
        let claim_hash = convert::wire_bytes(&self.claim.hash().0);
        let upload = self.upload();
        let parts = upload[from as usize..to as usize].chunks(FRAME).enumerate();
        let frame = |(i, part): (usize, &[u8])| wire::UploadFrame {
            claim_hash: claim_hash.clone(),
            offset: from + (i * FRAME) as u64,
            data: part.to_vec().into(),
        };
        parts.map(frame).collect()
    }
}

pub fn set(replicas: &[&Replica]) -> ClaimSet {
    let set = ClaimSet::new(replicas.iter().map(|replica| replica.claim.clone()).collect()).unwrap();
    match replicas.iter().any(|replica| !replica.tags.is_empty()) {
        true => set.with_tag_keys([tag_owner().key.clone()]).unwrap(),
        false => set,
    }
}

pub fn challenge(kind: Kind, index: u32, set: &ClaimSet) -> Challenge {
    Challenge {
        instance: instance(),
        epoch: 3,
        slot: 2,
        oracle: OracleId(5),
        provider: PROVIDER,
        kind,
        index,
        class_id: 100,
        claim_root: set.root().hash,
        claim_blocks: set.root().blocks,
        chunks: Kinds::standard().get(kind).unwrap().chunks(),
        slices_one_in: if kind == Kind::STORAGE { SLICES_ONE_IN } else { 0 },
        extra: vec![],
        child: *blake3::hash(&index.to_le_bytes()).as_bytes(),
    }
}

/// The first storage challenge that is answered in this mode.
pub fn storage_challenge(set: &ClaimSet, by_slices: bool) -> Challenge {
    let mut every = (0..).map(|index| challenge(Kind::STORAGE, index, set));
    every.find(|challenge| challenge.compact_plan(set).is_empty() == by_slices).unwrap()
}

/// The kinds that one call answers.
pub const UNARY: [Kind; 4] = [Kind::AVAILABILITY, Kind::LATENCY_ECHO, Kind::LATENCY_BLOCK, Kind::STORAGE];

pub fn check(challenge: &Challenge, set: &ClaimSet, answer: &Answer) -> Checked {
    let asked = Asked { challenge, claims: Some(set), kept: None };
    Kinds::standard().get(challenge.kind).unwrap().verify(&asked, answer).unwrap()
}
