//! Attacks on the transport, over real connections on loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use assay_core::bls::SecretKey;
use assay_core::challenge::Kinds;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance};
use assay_core::params::Params;
use assay_core::report::{Member, Setting};
use assay_proto::oracle::v1 as wire;
use assay_proto::oracle::v1::committee_client::CommitteeClient;
use async_trait::async_trait;
use bytes::Bytes;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::super::tests::{PATIENCE, key, next, recorder, stopping, terms, tls, until, up, wish};
use super::super::{DeliverOutcome, Inbox, Message};
use super::connections::Direction;
use super::credentials::{certify, issue, key_of};
use super::gate::{FORGERIES, HANDSHAKES_PER_ADDRESS};
use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

// ---- a stranger's tools ----

/// Believes every server.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Shows whatever it was given.
#[derive(Debug)]
struct Shows(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

fn address(endpoint: &str) -> SocketAddr {
    endpoint.strip_prefix("https://").unwrap().parse().unwrap()
}

/// Connects with a certificate, or none, and asks for a first byte of HTTP/2.
async fn knock(endpoint: &str, shown: Option<CertifiedKey>) -> std::io::Result<u8> {
    knock_with(endpoint, showing(shown)).await.map(|(first, _)| first)
}

fn showing(shown: Option<CertifiedKey>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_client_cert_resolver(Arc::new(Shows(shown.map(Arc::new))));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

async fn knock_with(endpoint: &str, config: Arc<ClientConfig>) -> std::io::Result<(u8, Option<HandshakeKind>)> {
    let knocking = async {
        let stream = TcpStream::connect(address(endpoint)).await?;
        let mut stream = TlsConnector::from(config).connect(ServerName::try_from("assay").unwrap(), stream).await?;
        stream.write_all(PREFACE).await?;
        stream.flush().await?;
        let first = stream.read_u8().await?;
        Ok((first, stream.get_ref().1.handshake_kind()))
    };
    tokio::time::timeout(PATIENCE, knocking).await.expect("neither an answer nor an end")
}

fn later(seconds: u64) -> u64 {
    now_s() + seconds
}

/// A certificate that only says what it is told to say.
fn made_up(terms: &Terms, verdict: &SecretKey, not_after_s: u64) -> CertifiedKey {
    certify(terms, verdict, not_after_s, key_of(&[42; 32]).unwrap()).unwrap()
}

fn client(tls: &Arc<Tls>, oracle: u64, endpoint: &str) -> CommitteeClient<Channel> {
    CommitteeClient::new(tls.channel(OracleId(oracle), endpoint).unwrap())
}

async fn deliver(client: &CommitteeClient<Channel>, view: u64) -> Result<wire::Outcome, Status> {
    let request = wire::DeliverRequest { envelope: wish(view).encode() };
    let call = async { client.clone().deliver(request).await };
    tokio::time::timeout(PATIENCE, call).await.expect("no reply").map(|reply| reply.into_inner().outcome())
}

/// Delivers until it is accepted: a connection that is just being closed may take a call along.
async fn delivered(client: &CommitteeClient<Channel>, view: u64) {
    let accepted = async {
        while deliver(client, view).await.ok() != Some(wire::Outcome::Accepted) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, accepted).await.expect("never accepted");
}

/// A committee of these oracles with these keys.
fn setting(epoch: u64, members: &[(u64, &SecretKey)]) -> Setting {
    let member = |(oracle, key): &(u64, &SecretKey)| Member {
        oracle: OracleId(*oracle),
        weight: 1,
        key: key.public_key(),
        operator: Address([1; 20]),
        recipient: Address([2; 20]),
        network_group: *oracle,
    };
    Setting {
        instance: terms(1).instance,
        epoch,
        genesis_s: 1_000,
        params: Params::devnet(),
        kinds: Kinds::standard(),
        token: Address([8; 20]),
        epoch_budget: 0,
        set_epoch: 1,
        members: members.iter().map(member).collect(),
        providers: vec![],
        ref_block: 5,
        ref_block_hash: Hash32([2; 32]),
        drand_round: 9,
    }
}

/// An oracle that reads frames: it keeps its connections with the members.
fn follower(oracle: u64, members: &Members, stop: &CancellationToken) -> Arc<Tls> {
    let tls = Tls::new(terms(oracle), Arc::new(key(oracle)), members.clone()).unwrap();
    let (kept, stop) = (tls.clone(), stop.clone());
    tokio::spawn(async move { kept.keep(stop).await });
    tls
}

fn complaint(tls: &Tls, about: u64) -> Option<String> {
    tls.complaints.lock().unwrap().get(&OracleId(about)).map(|(text, _)| text.clone())
}

// ---- who gets in ----

// Defence: client certificates are mandatory, and a connection without one is nobody's (`Tls::peer`); without both a stranger needs none.
#[tokio::test]
async fn a_stranger_without_a_certificate_gets_nothing() {
    let (stop, _guard) = stopping();
    let (inbox, mut got) = recorder();
    let oracle = tls(2);
    let endpoint = up(oracle.clone(), inbox, &stop);
    assert!(knock(&endpoint, None).await.is_err());
    assert!(knock(&endpoint, Some(issue(&terms(1), &key(1), now_s()).unwrap())).await.is_ok(), "a member is let in");
    // Without TLS there is nothing to talk to.
    let plain = CommitteeClient::connect(endpoint.replace("https", "http")).await;
    let spoken = match plain {
        Ok(mut client) => client.deliver(wire::DeliverRequest { envelope: wish(1).encode() }).await.is_ok(),
        Err(_) => false,
    };
    assert!(!spoken && got.try_recv().is_err());
}

// Defence: `Verifier::verify`, in its single steps; without it a self-signed certificate of anybody is as good as a member's.
#[tokio::test]
async fn a_stranger_with_a_certificate_of_its_own_gets_nothing() {
    let (stop, _guard) = stopping();
    let endpoint = up(tls(2), LowViews, &stop);
    // In its own name, in a member's name, and with some other X.509.
    assert!(knock(&endpoint, Some(made_up(&terms(99), &key(99), later(60)))).await.is_err());
    assert!(knock(&endpoint, Some(made_up(&terms(1), &key(99), later(60)))).await.is_err());
    let other = CertifiedKey::new(vec![vec![0x30; 5_000].into()], key_of(&[1; 32]).unwrap());
    assert!(knock(&endpoint, Some(other)).await.is_err());
    let twice = issue(&terms(1), &key(1), now_s()).unwrap();
    let chain = CertifiedKey::new([twice.cert.clone(), twice.cert].concat(), twice.key);
    assert!(knock(&endpoint, Some(chain)).await.is_err(), "one certificate is all there is");
}

// Defence: the TLS handshake's signature, and the TLS key among the words that are bound. Without either a certificate is as good as
// its key to whoever saw it.
#[tokio::test]
async fn a_members_certificate_with_another_tls_key_gets_nothing() {
    let (stop, _guard) = stopping();
    let endpoint = up(tls(2), LowViews, &stop);
    let seen = issue(&terms(1), &key(1), now_s()).unwrap();
    let replayed = CertifiedKey::new(seen.cert.clone(), key_of(&[42; 32]).unwrap());
    assert!(knock(&endpoint, Some(replayed)).await.is_err());
    // The verdict key's signature moved to a certificate of another TLS key, which signs it properly.
    let verifier = Verifier::new(terms(2), Members::fixed([(OracleId(1), key(1).public_key())]));
    struct Copied(SecretKey, [u8; 32]);
    impl VerdictKey for Copied {
        fn bind(&self, binding: &Binding) -> assay_core::bls::Signature {
            self.0.bind(&Binding { tls_key: self.1, ..*binding })
        }
    }
    let theirs = Certificate::parse(&seen.cert[0]).unwrap().binding;
    let copied = certificate(&terms(1), &Copied(key(1), theirs.tls_key), theirs.not_after_s, &[42; 32]).unwrap();
    assert_eq!(verifier.verify(&copied, None, now_s()), Err(Refused::Unbound(OracleId(1))));
    // Not signed by its own TLS key.
    let mut unsigned = seen.cert[0].to_vec();
    *unsigned.last_mut().unwrap() ^= 1;
    assert_eq!(verifier.verify(&unsigned, None, now_s()), Err(Refused::SelfSignature));
}

// Defence: the comparisons in `Verifier::verify` and `agrees`; without one of them what it names is accepted.
#[test]
fn a_binding_for_another_network_oracle_or_time_is_refused() {
    let verifier = Verifier::new(terms(2), Members::fixed((1..=9).map(|id| (OracleId(id), key(id).public_key()))));
    let now_s = 1_800_000_000;
    let shown = |terms: Terms, not_after_s: u64| certificate(&terms, &key(1), not_after_s, &[3; 32]).unwrap();
    let verify = |der: &[u8], expected| verifier.verify(der, expected, now_s).map(|peer| peer.oracle);
    assert_eq!(verify(&shown(terms(1), now_s), Some(OracleId(1))), Ok(OracleId(1)));
    assert_eq!(verify(&shown(terms(1), now_s + LIFETIME_S), None), Ok(OracleId(1)));
    for instance in [Instance { chain_id: 1, ..terms(1).instance }, Instance { settlement: Address([8; 20]), ..terms(1).instance }] {
        assert_eq!(verify(&shown(Terms { instance, ..terms(1) }, now_s), None), Err(Refused::Instance));
    }
    assert_eq!(verify(&shown(terms(3), now_s), None), Err(Refused::Unbound(OracleId(3))), "in another member's name");
    assert_eq!(verify(&shown(terms(10), now_s), None), Err(Refused::Stranger(OracleId(10))));
    let other = Refused::Other { expected: OracleId(3), found: OracleId(1) };
    assert_eq!(verify(&shown(terms(1), now_s), Some(OracleId(3))), Err(other));
    for not_after_s in [0, now_s - 1, now_s + LIFETIME_S + SKEW_S + 1, u64::MAX] {
        assert_eq!(verify(&shown(terms(1), not_after_s), None), Err(Refused::Time { not_after_s, now_s }));
    }
    let params_hash = Hash32([6; 32]);
    let peer = verifier.verify(&shown(Terms { params_hash, ..terms(1) }, now_s), None, now_s).unwrap();
    let differs = Refused::Params { oracle: OracleId(1), theirs: params_hash, ours: Hash32([5; 32]) };
    assert_eq!(verifier.agrees(&peer), Err(differs));
}

// Defence: `agrees` on both sides, and on the calling side only after the handshake. Without it oracles of other parameters talk; called
// earlier, one of the two never learns why they do not.
#[tokio::test]
async fn other_parameters_are_refused_and_both_sides_say_why() {
    let (stop, _guard) = stopping();
    let server = tls(2);
    let endpoint = up(server.clone(), LowViews, &stop);
    let members = server.members.clone();
    let caller = Tls::new(Terms { params_hash: Hash32([6; 32]), ..terms(1) }, Arc::new(key(1)), members).unwrap();
    assert!(deliver(&client(&caller, 2, &endpoint), 1).await.is_err());
    let (five, six) = (Hash32([5; 32]), Hash32([6; 32]));
    let said = |peer: u64, theirs, ours| format!("peer {peer} runs other parameters: its digest {theirs}, ours {ours}");
    until(|| complaint(&server, 1).is_some()).await;
    assert!(complaint(&server, 1).unwrap().starts_with(&said(1, six, five)));
    assert!(complaint(&caller, 2).unwrap().starts_with(&said(2, five, six)));
    assert_eq!(server.connections.count(OracleId(1), Direction::Incoming), 0);
}

// Defence: `expected` in the calling side's verifier; without it whoever takes over an endpoint is heard as the oracle registered there.
#[tokio::test]
async fn another_oracle_at_the_endpoint_is_not_talked_to() {
    let (stop, _guard) = stopping();
    let (inbox, mut got) = recorder();
    let endpoint = up(tls(2), inbox, &stop);
    let caller = tls(1);
    assert!(deliver(&client(&caller, 3, &endpoint), 1).await.is_err());
    assert_eq!(complaint(&caller, 3).unwrap(), "oracle 2 answers where oracle 3 is registered");
    assert!(deliver(&client(&caller, 2, &endpoint), 1).await.is_ok());
    assert_eq!(next(&mut got).await, wish(1));
    assert!(got.try_recv().is_err());
}

// ---- what changes while it runs ----

// Defence: `close_fallen`, and `retain` in `Members::admit`; without them who was a member once is heard for ever.
#[tokio::test]
async fn a_member_that_left_is_shut_out_when_its_last_epoch_is_over() {
    let (stop, _guard) = stopping();
    let (one, two) = (key(1), key(2));
    let members = Members::default();
    let server = follower(2, &members, &stop);
    let endpoint = up(server.clone(), LowViews, &stop);
    let leaver = client(&tls(1), 2, &endpoint);
    assert!(deliver(&leaver, 1).await.is_err(), "no frame was read yet");
    members.admit(&setting(7, &[(1, &one), (2, &two)]));
    delivered(&leaver, 2).await;
    let valid = Params::devnet().valid_epochs;
    for epoch in 8..=7 + valid {
        members.admit(&setting(epoch, &[(2, &two)]));
        assert_eq!(deliver(&leaver, epoch).await.unwrap(), wire::Outcome::Accepted, "its last report may still be open");
    }
    assert_eq!(server.connections.count(OracleId(1), Direction::Incoming), 1);
    members.admit(&setting(8 + valid, &[(2, &two)]));
    until(|| server.connections.count(OracleId(1), Direction::Incoming) == 0).await;
    assert!(deliver(&leaver, 99).await.is_err());
    assert!(knock(&endpoint, Some(issue(&terms(1), &one, now_s()).unwrap())).await.is_err());
}

// Defence: `Members::stands` asks for the key, not the id; without it a key that was replaced, perhaps because it was stolen, lets in.
#[tokio::test]
async fn a_verdict_key_is_rotated_with_the_set() {
    let (stop, _guard) = stopping();
    let (old, new, two) = (key(1), key(77), key(2));
    let members = Members::default();
    let server = follower(2, &members, &stop);
    let endpoint = up(server.clone(), LowViews, &stop);
    members.admit(&setting(7, &[(1, &old), (2, &two)]));
    let before = client(&tls(1), 2, &endpoint);
    let everybody = Members::fixed([(OracleId(2), two.public_key())]);
    let after = client(&Tls::new(terms(1), Arc::new(key(77)), everybody).unwrap(), 2, &endpoint);
    assert!(deliver(&before, 1).await.is_ok());
    assert!(deliver(&after, 2).await.is_err(), "before the boundary the new key is nobody's");
    members.admit(&setting(8, &[(1, &new), (2, &two)]));
    // Reports of both keys are open.
    assert!(deliver(&before, 3).await.is_ok());
    delivered(&after, 4).await;
    members.admit(&setting(8 + Params::devnet().valid_epochs, &[(1, &new), (2, &two)]));
    until(|| server.connections.count(OracleId(1), Direction::Incoming) == 1).await;
    assert!(deliver(&before, 5).await.is_err());
    assert!(deliver(&after, 6).await.is_ok());
}

// Defence: `NoServerSessionStorage` and no tickets; without them a session of a member that left goes on without its certificate.
#[tokio::test]
async fn a_session_is_not_resumed() {
    let (stop, _guard) = stopping();
    let endpoint = up(tls(2), LowViews, &stop);
    // This client would.
    let config = showing(Some(issue(&terms(1), &key(1), now_s()).unwrap()));
    for _ in 0..3 {
        assert_eq!(knock_with(&endpoint, config.clone()).await.unwrap().1, Some(HandshakeKind::Full));
    }
}

// Defence: `Credentials::renew` behind both resolvers; without it a node is shut out a day after its start.
#[tokio::test]
async fn a_renewed_key_needs_no_restart() {
    let (stop, _guard) = stopping();
    let (server, caller) = (tls(2), tls(1));
    let endpoint = up(server.clone(), LowViews, &stop);
    let standing = client(&caller, 2, &endpoint);
    assert!(deliver(&standing, 1).await.is_ok());
    let (ours, theirs) = (caller.credentials.current(), server.credentials.current());
    caller.renew().unwrap();
    server.renew().unwrap();
    assert!(caller.credentials.current().cert != ours.cert && server.credentials.current().cert != theirs.cert);
    let renewed = client(&caller, 2, &endpoint);
    assert!(deliver(&renewed, 2).await.is_ok(), "with the new keys");
    assert!(deliver(&standing, 3).await.is_ok(), "what was open stays open");
    assert_eq!(server.connections.count(OracleId(1), Direction::Incoming), 2);
    // A certificate that has ended takes its connection along.
    server.connections.close_fallen(later(LIFETIME_S + 1));
    until(|| server.connections.count(OracleId(1), Direction::Incoming) == 0).await;
    // It connects again.
    delivered(&standing, 4).await;
}

// Defence: `Verifier::remembered`, of members only and so many each. Without it every connection costs a pairing; unbounded, memory.
#[test]
fn a_pairing_is_done_once() {
    let members = Members::fixed([(OracleId(1), key(1).public_key())]);
    let verifier = Verifier::new(terms(2), members);
    let shown = |secret: u8| certificate(&terms(1), &key(1), 1_000, &[secret; 32]).unwrap();
    let pairings = || verifier.pairings.load(std::sync::atomic::Ordering::SeqCst);
    for _ in 0..20 {
        assert!(verifier.verify(&shown(1), None, 1_000).is_ok());
    }
    assert_eq!(pairings(), 1);
    for secret in 2..30 {
        assert!(verifier.verify(&shown(secret), None, 1_000).is_ok());
    }
    assert_eq!((verifier.remembered_count(), pairings()), (4, 29));
    // Whatever is refused for less is refused without one.
    let refused = [(terms(1), 999), (terms(1), u64::MAX), (terms(9), 1_000)];
    for (terms, not_after_s) in refused {
        let der = certificate(&terms, &key(1), not_after_s, &[60; 32]).unwrap();
        assert!(verifier.verify(&der, None, 1_000).is_err());
    }
    let mut unsigned = shown(61);
    *unsigned.last_mut().unwrap() ^= 1;
    assert!(verifier.verify(&unsigned, None, 1_000).is_err());
    assert_eq!(pairings(), 29);
}

// ---- floods ----

// Defence: handshakes run beside each other, each within its time and counted. Without it whoever connects and is silent keeps all others
// out, for ever.
#[tokio::test]
async fn a_slow_handshake_holds_no_slot() {
    let (stop, _guard) = stopping();
    let endpoint = up(tls(2), LowViews, &stop);
    let member = || Some(issue(&terms(1), &key(1), now_s()).unwrap());
    let mut silent = vec![];
    for _ in 1..HANDSHAKES_PER_ADDRESS {
        silent.push(TcpStream::connect(address(&endpoint)).await.unwrap());
    }
    let start = Instant::now();
    assert!(knock(&endpoint, member()).await.is_ok());
    assert!(start.elapsed() < HANDSHAKE_TIMEOUT, "nobody waits for the slow");
    silent.push(TcpStream::connect(address(&endpoint)).await.unwrap());
    assert!(knock(&endpoint, member()).await.is_err(), "one address has its share");
    // Each is closed when its time is over.
    for stream in &mut silent {
        let end = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("it is still open");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    assert!(knock(&endpoint, member()).await.is_ok());
}

// Defence: `count_forgery` in `authenticate`; without it a stranger buys a pairing with every certificate that it makes up.
#[tokio::test]
async fn who_shows_forged_certificates_is_shut_out() {
    let (stop, _guard) = stopping();
    let endpoint = up(tls(2), LowViews, &stop);
    let member = || Some(issue(&terms(1), &key(1), now_s()).unwrap());
    for forged in 0..FORGERIES {
        assert!(knock(&endpoint, member()).await.is_ok(), "after {forged}");
        assert!(knock(&endpoint, Some(made_up(&terms(1), &key(99), later(60)))).await.is_err());
    }
    assert!(knock(&endpoint, member()).await.is_err(), "nobody from there is heard for a while");
}

/// Accepts wishes for low views, and never answers anything else.
struct LowViews;

#[async_trait]
impl Inbox for LowViews {
    async fn deliver(&self, message: Message) -> DeliverOutcome {
        match message {
            Message::Wish(wish) if wish.view < 100 => DeliverOutcome::Accepted,
            _ => std::future::pending().await,
        }
    }

    async fn opened(
        &self,
        _: u64,
        _: OracleId,
        _: Hash32,
    ) -> Option<(assay_core::observation::SignedCommit, assay_core::observation::Reveal)> {
        None
    }

    async fn report(
        &self,
        _: u64,
        _: assay_core::report::StoredDigest,
    ) -> Option<(Option<assay_core::report::Certificate>, assay_core::report::Outcome)> {
        None
    }

    async fn statements(&self, _: OracleId, _: u64) -> Vec<Bytes> {
        Vec::new()
    }

    async fn evidence(&self, _: u64, _: assay_core::ids::ProviderId) -> Option<Vec<Bytes>> {
        None
    }
}

// Defence: `Quota::calls`; without it a few peers hold every place at which calls are answered.
#[tokio::test]
async fn a_flood_of_some_peers_does_not_stop_anothers_messages() {
    let (stop, _guard) = stopping();
    let server = tls(2);
    let endpoint = up(server.clone(), LowViews, &stop);
    let mut calls = tokio::task::JoinSet::new();
    for oracle in [3, 4, 5, 6] {
        let flooding = tls(oracle);
        for connection in [client(&flooding, 2, &endpoint), client(&flooding, 2, &endpoint)] {
            for view in 0..20 {
                let connection = connection.clone();
                calls.spawn(async move { deliver(&connection, 100 + view).await });
            }
        }
        until(|| server.connections.count(OracleId(oracle), Direction::Incoming) == 2).await;
    }
    // Long enough for every one of their calls to have its place, were there one.
    tokio::time::timeout(Duration::from_millis(500), calls.join_next()).await.expect_err("the flood is stuck");
    let honest = client(&tls(1), 2, &endpoint);
    let reply = tokio::time::timeout(Duration::from_secs(5), deliver(&honest, 1)).await;
    assert_eq!(reply.expect("its message waits behind the flood").unwrap(), wire::Outcome::Accepted);
}

// Defence: `take_call` in the service; without it one member makes a node parse and verify without end.
#[tokio::test]
async fn a_peer_that_calls_too_often_is_told_so() {
    let (stop, _guard) = stopping();
    let endpoint = up(tls(2), LowViews, &stop);
    let often = client(&tls(1), 2, &endpoint);
    let refused = async {
        loop {
            if let Err(status) = deliver(&often, 1).await {
                return status.code();
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, refused).await.expect("never refused"), Code::ResourceExhausted);
    assert!(deliver(&client(&tls(3), 2, &endpoint), 1).await.is_ok(), "others are");
}

// Defence: `PER_PEER`; without it one member holds as many connections, and their buffers, as it likes.
#[tokio::test]
async fn a_third_connection_replaces_the_first() {
    let (stop, _guard) = stopping();
    let server = tls(2);
    let endpoint = up(server.clone(), LowViews, &stop);
    let shown = issue(&terms(1), &key(1), now_s()).unwrap();
    let caller = tls(1);
    let standing: Vec<_> = (0..3).map(|_| client(&caller, 2, &endpoint)).collect();
    let mut opened = BTreeMap::new();
    for (number, connection) in standing.iter().enumerate() {
        assert!(deliver(connection, 1).await.is_ok());
        opened.insert(number, server.connections.count(OracleId(1), Direction::Incoming));
    }
    assert_eq!(opened.into_values().collect::<Vec<_>>(), [1, 2, 2]);
    assert!(knock(&endpoint, Some(shown)).await.is_ok());
    until(|| server.connections.count(OracleId(1), Direction::Incoming) <= 2).await;
}
