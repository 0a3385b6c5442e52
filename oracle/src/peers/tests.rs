//! Peers on loopback, with real connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assay_core::bls::{Domain, SecretKey, Signature};
use assay_core::epoch::Wish;
use assay_core::ids::{Address, Instance};
use assay_core::observation::{Commit, Seeds};
use assay_core::report::{Ledger, StoredDigest};
use assay_proto::oracle::v1::committee_client::CommitteeClient;
use assay_proto::oracle_convert::MAX_MESSAGE_BYTES;
use bytes::Bytes;
use futures::StreamExt;
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Code;

use super::tls::{Members, Terms, Tls};
use super::*;

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The verdict key of an oracle.
pub(super) fn key(oracle: u64) -> SecretKey {
    SecretKey::key_gen(&[oracle as u8; 32]).unwrap()
}

pub(super) fn terms(oracle: u64) -> Terms {
    let instance = Instance { chain_id: 31_337, settlement: Address([7; 20]) };
    Terms { instance, params_hash: Hash32([5; 32]), oracle: OracleId(oracle) }
}

/// An oracle's TLS in a committee of the oracles 1 to 9.
pub(super) fn tls(oracle: u64) -> Arc<Tls> {
    let members = Members::fixed((1..=9).map(|id| (OracleId(id), key(id).public_key())));
    Tls::new(terms(oracle), Arc::new(key(oracle)), members).unwrap()
}

/// An inbox that says what it got and answers as told.
pub(super) struct Recorder {
    got: mpsc::UnboundedSender<Message>,
    /// So many deliveries are put off before one is accepted.
    put_off: AtomicUsize,
    refusal: Option<Refusal>,
    /// What it was given at the start, or was delivered: a reveal goes with the commit that came last.
    opened: Mutex<Vec<(SignedCommit, Reveal)>>,
    /// So often it was asked for a reveal.
    asked: Arc<AtomicUsize>,
    commit: Mutex<Option<SignedCommit>>,
    /// Shown to whoever asks, whatever is asked for.
    gives: Option<(SignedCommit, Reveal)>,
    report: Option<(Certificate, Outcome)>,
    /// None before reveals are open.
    evidence: Option<Vec<Bytes>>,
    /// Never answers.
    stuck: bool,
}

#[async_trait]
impl Inbox for Recorder {
    async fn deliver(&self, message: Message) -> DeliverOutcome {
        if self.stuck {
            std::future::pending::<()>().await;
        }
        if self.put_off.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return DeliverOutcome::Refused(Refusal::later("the epoch is not open here"));
        }
        match &message {
            Message::Commit(signed) => *self.commit.lock().unwrap() = Some(*signed),
            Message::Reveal(reveal) => {
                let signed = self.commit.lock().unwrap().unwrap();
                self.opened.lock().unwrap().push((signed, (**reveal).clone()));
            }
            _ => {}
        }
        self.got.send(message).unwrap();
        self.refusal.clone().map_or(DeliverOutcome::Accepted, DeliverOutcome::Refused)
    }

    async fn opened(&self, epoch: u64, oracle: OracleId, commit_digest: Hash32) -> Option<(SignedCommit, Reveal)> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let wanted = |(signed, _): &&(SignedCommit, Reveal)| {
            (signed.commit.epoch, signed.commit.oracle) == (epoch, oracle) && signed.commit.digest(&terms(1).instance) == commit_digest
        };
        self.gives.clone().or_else(|| self.opened.lock().unwrap().iter().find(wanted).cloned())
    }

    async fn report(&self, epoch: u64, digest: StoredDigest) -> Option<(Option<Certificate>, Outcome)> {
        let found = self.report.clone().filter(|(_, outcome)| outcome.report.epoch == epoch && digest.is_of(&outcome.report.digest()));
        found.map(|(certificate, outcome)| (Some(certificate), outcome))
    }

    async fn statements(&self, oracle: OracleId, since_epoch: u64) -> Vec<Bytes> {
        if oracle == OracleId(1) { vec![wish(since_epoch).encode()] } else { Vec::new() }
    }

    async fn evidence(&self, epoch: u64, provider: ProviderId) -> Option<Vec<Bytes>> {
        self.evidence.clone().filter(|_| (epoch, provider) == (3, ProviderId(4)))
    }
}

pub(super) fn recorder() -> (Recorder, mpsc::UnboundedReceiver<Message>) {
    let (got, received) = mpsc::unbounded_channel();
    let recorder = Recorder {
        got,
        put_off: AtomicUsize::new(0),
        refusal: None,
        opened: Mutex::default(),
        asked: Arc::default(),
        commit: Mutex::default(),
        gives: None,
        report: None,
        evidence: None,
        stuck: false,
    };
    (recorder, received)
}

/// A port that is ours and that nobody listens on yet: connections are refused.
fn reserved() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
    let endpoint = format!("https://{}", socket.local_addr().unwrap());
    (socket, endpoint)
}

fn start(socket: TcpSocket, tls: Arc<Tls>, inbox: impl Inbox, stop: &CancellationToken) {
    tokio::spawn(serve(socket.listen(64).unwrap(), tls, Arc::new(inbox), stop.clone()));
}

/// Starts an oracle and says where it listens.
pub(super) fn up(tls: Arc<Tls>, inbox: impl Inbox, stop: &CancellationToken) -> String {
    let (socket, endpoint) = reserved();
    start(socket, tls, inbox, stop);
    endpoint
}

pub(super) fn stopping() -> (CancellationToken, DropGuard) {
    let stop = CancellationToken::new();
    (stop.clone(), stop.drop_guard())
}

fn signature() -> Signature {
    SecretKey::key_gen(&[1; 32]).unwrap().sign(Domain::ViewWish, &Hash32([1; 32]))
}

pub(super) fn wish(view: u64) -> Message {
    Message::Wish(Wish { epoch: 5, view, oracle: OracleId(1), signature: signature() })
}

fn reveal() -> Reveal {
    let seeds = Seeds { epoch: Hash32([3; 32]), slots: vec![Hash32([4; 32]); 5], secure: true };
    Reveal { epoch: 5, oracle: OracleId(9), seeds, observations: vec![], vrfs: vec![signature(); 5], facts: vec![], struck: vec![] }
}

fn report() -> (Certificate, Outcome) {
    let hash = Hash32([1; 32]);
    let report = assay_core::report::Report {
        chain_id: 31_337,
        settlement: assay_core::ids::Address([7; 20]),
        set_epoch: 1,
        epoch: 5,
        view: 0,
        parent_digest: hash,
        ref_block: 5,
        valid_until: 6,
        drand_round: 7,
        seed_secure: true,
        params_hash: hash,
        bit_votes_root: hash,
        obs_root: hash,
        result_root: hash,
        reward_root: hash,
        slash_root: hash,
        reward_total: 5,
        slash_total: 0,
        log_heads_root: hash,
        data_digest: hash,
    };
    let certificate = Certificate { report: report.clone(), signers: [1; 32], signature: signature() };
    let outcome =
        Outcome { report, verdicts: vec![], panels: BTreeMap::new(), paid_oracles: [OracleId(1)].into(), ledger: Ledger::default() };
    (certificate, outcome)
}

fn far() -> u64 {
    u64::MAX / 2
}

pub(super) async fn next(received: &mut mpsc::UnboundedReceiver<Message>) -> Message {
    tokio::time::timeout(PATIENCE, received.recv()).await.expect("nothing came").unwrap()
}

pub(super) async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it never came true");
}

fn outgoing(stop: &CancellationToken) -> Outgoing {
    Outgoing::new(OracleId(1), tls(1), stop.clone())
}

#[tokio::test]
async fn everybody_gets_it_and_the_one_that_was_down_gets_it_later() {
    let (stop, _guard) = stopping();
    let ((two, mut at_two), (three, mut at_three), (four, mut at_four)) = (recorder(), recorder(), recorder());
    let (down, down_endpoint) = reserved();
    let peers = BTreeMap::from([
        (OracleId(1), "http://127.0.0.1:1".to_owned()),
        (OracleId(2), up(tls(2), two, &stop)),
        (OracleId(3), up(tls(3), three, &stop)),
        (OracleId(4), down_endpoint),
    ]);
    let outgoing = outgoing(&stop);
    for view in [1, 2] {
        outgoing.broadcast(&peers, &wish(view), far());
        outgoing.broadcast(&peers, &wish(view), far());
    }
    for received in [&mut at_two, &mut at_three] {
        let mut views = [next(received).await, next(received).await];
        views.sort_by_key(|message| match message {
            Message::Wish(wish) => wish.view,
            _ => 0,
        });
        assert_eq!(views, [wish(1), wish(2)]);
    }
    until(|| outgoing.pending() == 2).await;
    start(down, tls(4), four, &stop);
    next(&mut at_four).await;
    next(&mut at_four).await;
    until(|| outgoing.pending() == 0).await;
    // The doubled broadcasts were sent once.
    assert!(at_two.try_recv().is_err() && at_four.try_recv().is_err());
}

#[tokio::test]
async fn what_is_put_off_comes_again_and_what_is_refused_does_not() {
    let (stop, _guard) = stopping();
    let ((mut patient, mut at_patient), (mut strict, mut at_strict)) = (recorder(), recorder());
    patient.put_off = AtomicUsize::new(3);
    strict.refusal = Some(Refusal { reason: Reason::BadSignature, text: "no".into() });
    let peers = BTreeMap::from([(OracleId(2), up(tls(2), patient, &stop)), (OracleId(3), up(tls(3), strict, &stop))]);
    let outgoing = outgoing(&stop);
    outgoing.broadcast(&peers, &wish(1), far());
    assert_eq!(next(&mut at_patient).await, wish(1));
    assert_eq!(next(&mut at_strict).await, wish(1));
    until(|| outgoing.pending() == 0).await;
    assert!(at_strict.try_recv().is_err());
}

#[tokio::test]
async fn a_peer_that_never_answers_delays_nobody_and_the_deadline_ends_it() {
    let (stop, _guard) = stopping();
    let ((mut stuck, _), (quick, mut at_quick)) = (recorder(), recorder());
    stuck.stuck = true;
    let peers = BTreeMap::from([
        (OracleId(2), up(tls(2), stuck, &stop)),
        (OracleId(3), up(tls(3), quick, &stop)),
        (OracleId(4), "not an endpoint".to_owned()),
    ]);
    let outgoing = outgoing(&stop);
    let deadline = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64 + 500;
    for view in 1..=20 {
        outgoing.broadcast(&peers, &wish(view), deadline);
    }
    for _ in 1..=20 {
        next(&mut at_quick).await;
    }
    until(|| outgoing.pending() == 0).await;
}

#[tokio::test]
async fn a_peer_that_moved_is_found_at_its_new_endpoint() {
    let (stop, _guard) = stopping();
    let (two, mut at_two) = recorder();
    let (_nobody, old) = reserved();
    let outgoing = outgoing(&stop);
    outgoing.broadcast(&BTreeMap::from([(OracleId(2), old)]), &wish(1), far());
    outgoing.broadcast(&BTreeMap::from([(OracleId(2), up(tls(2), two, &stop))]), &wish(2), far());
    next(&mut at_two).await;
    next(&mut at_two).await;
}

/// A commit of the reveal's author; only the log head tells one from another.
fn commit(log_head: u8) -> SignedCommit {
    let Reveal { epoch, oracle, seeds, .. } = reveal();
    let (root, log_head) = (Hash32([8; 32]), Hash32([log_head; 32]));
    let commit = Commit { epoch, oracle, seeds: seeds.digest(), secure: true, root, leaf_count: 0, log_head };
    SignedCommit { commit, signature: signature() }
}

#[tokio::test]
async fn a_missing_commit_and_its_reveal_are_asked_for_until_the_right_ones_came() {
    let (stop, _guard) = stopping();
    let ((none, _), (mut liar, _), (honest, _)) = (recorder(), recorder(), recorder());
    let asked = |signed: SignedCommit| signed.commit.digest(&terms(1).instance);
    liar.gives = Some((commit(2), reveal()));
    honest.opened.lock().unwrap().push((commit(1), reveal()));
    let (socket, endpoint) = reserved();
    let peers = vec![(OracleId(2), up(tls(2), none, &stop)), (OracleId(3), up(tls(3), liar, &stop)), (OracleId(4), endpoint)];
    let (mut own, mut at_own) = recorder();
    own.put_off = AtomicUsize::new(2);
    let outgoing = outgoing(&stop);
    outgoing.deliver_to(Arc::new(own));
    outgoing.fetch_reveal(peers, 5, OracleId(9), asked(commit(1)));
    assert_eq!(next(&mut at_own).await, Message::Commit(commit(2)));
    assert_eq!(next(&mut at_own).await, Message::Reveal(Box::new(reveal())));
    // What the liar gave is taken, but is not what was asked for.
    start(socket, tls(4), honest, &stop);
    while next(&mut at_own).await != Message::Commit(commit(1)) {}
    assert_eq!(next(&mut at_own).await, Message::Reveal(Box::new(reveal())));
}

// Defence: `FETCH_WIDENS_AFTER`; without it each missing reveal of 16 MiB comes from every member that holds it.
#[tokio::test]
async fn a_reveal_that_all_hold_is_asked_of_one() {
    let (stop, _guard) = stopping();
    let asked = Arc::new(AtomicUsize::new(0));
    let holder = |oracle| {
        let (mut holder, _) = recorder();
        holder.opened.lock().unwrap().push((commit(1), reveal()));
        holder.asked = asked.clone();
        (OracleId(oracle), up(tls(oracle), holder, &stop))
    };
    let peers = (2..=8).map(holder).collect();
    let (own, mut at_own) = recorder();
    let outgoing = outgoing(&stop);
    outgoing.deliver_to(Arc::new(own));
    let never = Duration::from_secs(3_600);
    outgoing.fetch_reveal_widening(never, peers, 5, OracleId(9), commit(1).commit.digest(&terms(1).instance));
    assert_eq!(next(&mut at_own).await, Message::Commit(commit(1)));
    assert_eq!(next(&mut at_own).await, Message::Reveal(Box::new(reveal())));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_report_is_taken_from_the_first_peer_whose_report_stands() {
    let (stop, _guard) = stopping();
    let ((two, _), (mut three, _), (mut four, _)) = (recorder(), recorder(), recorder());
    let mut wrong = report();
    wrong.0.signers = [2; 32];
    three.report = Some(wrong.clone());
    four.report = Some(report());
    let peers =
        vec![(OracleId(2), up(tls(2), two, &stop)), (OracleId(3), up(tls(3), three, &stop)), (OracleId(4), up(tls(4), four, &stop))];
    let outgoing = outgoing(&stop);
    let digest = StoredDigest::of(&report().1.report.digest());
    let (anything, right) =
        (|_: Option<&Certificate>, _: &Outcome| true, |c: Option<&Certificate>, _: &Outcome| c.is_some_and(|c| c.signers == [1; 32]));
    assert_eq!(outgoing.fetch_report(peers.clone(), 5, digest, anything).await, Some((Some(wrong.0), wrong.1)));
    assert_eq!(outgoing.fetch_report(peers.clone(), 5, digest, right).await, Some((Some(report().0), report().1)));
    assert_eq!(outgoing.fetch_report(peers.clone(), 5, StoredDigest(Hash32([9; 32])), anything).await, None);
    assert_eq!(outgoing.fetch_report(peers, 6, digest, anything).await, None);
}

#[tokio::test]
async fn a_member_is_shown_its_own_statements_and_no_others() {
    let (stop, _guard) = stopping();
    let peers: BTreeMap<_, _> = [2, 3].map(|oracle| (OracleId(oracle), up(tls(oracle), recorder().0, &stop))).into();
    for (asking, shown) in [(1, vec![wish(7)]), (4, Vec::new())] {
        let outgoing = Outgoing::new(OracleId(asking), tls(asking), stop.clone());
        let mut answers: Vec<_> = outgoing.fetch_statements(&peers, 7).collect().await;
        answers.sort_by_key(|(oracle, _)| *oracle);
        assert_eq!(answers, [(OracleId(2), shown.clone()), (OracleId(3), shown)]);
    }
}

async fn raw(envelope: Bytes) -> Result<wire::DeliverReply, Code> {
    let (stop, _guard) = stopping();
    let (inbox, _received) = recorder();
    let mut client = CommitteeClient::new(tls(1).channel(OracleId(2), &up(tls(2), inbox, &stop)).unwrap());
    client.deliver(wire::DeliverRequest { envelope }).await.map(|reply| reply.into_inner()).map_err(|status| status.code())
}

#[tokio::test]
async fn garbage_and_oversized_requests_are_refused() {
    assert_eq!(raw(wish(1).encode()).await.unwrap().outcome(), wire::Outcome::Accepted);
    for garbage in
        [Bytes::new(), Bytes::from_static(b"garbage"), Bytes::from(vec![0xff; 5_000]), Bytes::from(vec![0; MAX_MESSAGE_BYTES + 1])]
    {
        assert_eq!(raw(garbage).await, Err(Code::InvalidArgument));
    }
    let mut cut = wish(1).encode();
    cut.truncate(cut.len() - 1);
    assert_eq!(raw(cut).await, Err(Code::InvalidArgument));
    // Beyond the transport's own limit the request is not even read.
    let oversized = raw(Bytes::from(vec![0; MAX_TRANSPORT_BYTES + 1])).await;
    assert!(matches!(oversized, Err(Code::OutOfRange | Code::ResourceExhausted | Code::Cancelled | Code::Internal)), "{oversized:?}");
}

#[test]
fn every_outcome_survives_the_wire() {
    for reason in [Reason::NotYet, Reason::BadSignature, Reason::Stranger, Reason::TooLate, Reason::Invalid] {
        let outcome = DeliverOutcome::Refused(Refusal { reason, text: "why".into() });
        assert_eq!(DeliverOutcome::from_reply(outcome.clone().into()), outcome);
        assert_eq!(outcome.is_final(), reason != Reason::NotYet);
    }
    for outcome in [DeliverOutcome::Accepted, DeliverOutcome::Known] {
        assert_eq!(DeliverOutcome::from_reply(outcome.clone().into()), outcome);
        assert!(outcome.is_final());
    }
    assert!(!DeliverOutcome::from_reply(DeliverOutcome::stopping().into()).is_final());
    assert!(!DeliverOutcome::from_reply(wire::DeliverReply { outcome: 77, reason: 78, text: String::new() }).is_final());
}

// Defence: `page_of` and the loop of `fetch_evidence`. Without either, evidence of more than one reply is lost or never ends.
#[tokio::test]
async fn evidence_comes_whole_in_as_many_replies_as_it_takes() {
    let stop = CancellationToken::new();
    let _end = stop.clone().drop_guard();
    let bundle = |number: u8| Bytes::from(vec![number; MAX_MESSAGE_BYTES / 3 + 1]);
    let bundles: Vec<Bytes> = (0..5).map(bundle).collect();
    let (mut inbox, _got) = recorder();
    inbox.evidence = Some(bundles.clone());
    let endpoint = up(tls(2), inbox, &stop);
    let outgoing = outgoing(&stop);
    let fetched = outgoing.fetch_evidence(OracleId(2), &endpoint, 3, ProviderId(4)).await;
    assert!(fetched == Some(bundles), "five bundles in three replies");

    let mut client = CommitteeClient::new(tls(1).channel(OracleId(2), &endpoint).unwrap()).max_decoding_message_size(MAX_TRANSPORT_BYTES);
    let request = |epoch: u64, offset: u32| wire::FetchEvidenceRequest { epoch, provider_id: 4, offset };
    let reply = client.fetch_evidence(request(3, 4)).await.unwrap().into_inner();
    assert_eq!((reply.bundles.len(), reply.total), (1, 5));
    let behind = client.fetch_evidence(request(3, u32::MAX)).await.unwrap().into_inner();
    assert_eq!((behind.bundles.len(), behind.total), (0, 5));
    // Defence: the inbox's `None`; evidence is as secret as reveals until they are open.
    assert_eq!(client.fetch_evidence(request(9, 0)).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(outgoing.fetch_evidence(OracleId(2), "http://127.0.0.1:1", 3, ProviderId(4)).await, None);
}
