//! One slot against a real server that follows a script.

mod scripted;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use assay_challenger::convert::{Bundle, decode_bundle, encode_bundle};
use assay_challenger::link::{Line, Link, LinkConfig, LinkError, WARM_UP_EXCHANGES};
use assay_challenger::measure::ask_again;
use assay_challenger::seal::{SealError, seal};
use assay_challenger::watchdog::Watchdog;
use assay_core::challenge::{Challenge, Kind, Kinds};
use assay_core::claim::ClaimRoot;
use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use assay_core::observation::{Counts, Evidence};
use assay_core::transcript::{Fate, OracleFault, Outcome, Transcript, facts_of};
use scripted::{Script, Scripted, Stage};

fn fates(transcripts: &[Transcript], kinds: &[Kind]) -> BTreeSet<String> {
    let of_kind = transcripts.iter().filter(|t| kinds.contains(&t.challenge.kind));
    of_kind.map(|t| format!("{:?}", t.outcome.fate())).collect()
}

fn all_are(transcripts: &[Transcript], kinds: &[Kind], fate: Fate) -> bool {
    fates(transcripts, kinds) == BTreeSet::from([format!("{fate:?}")])
}

/// What the summary counts of one kind.
fn counts(stage: &Stage, transcripts: &[Transcript], kind: Kind) -> Counts {
    let plug = Kinds::standard().get(kind).unwrap();
    let class = &stage.params.classes[0];
    let of_kind: Vec<&Transcript> = transcripts.iter().filter(|t| t.challenge.kind == kind).collect();
    let scheduled = stage.assignment().schedule.asked().filter(|s| s.kind == kind).count() as u64 * plug.weight(class);
    plug.summarise(&stage.params, class, scheduled, &of_kind)
}

/// (invalid, missing, silent) of the 60 stored samples that a slot asks for.
fn stored_bad(stage: &Stage, transcripts: &[Transcript]) -> Vec<u64> {
    let counts = counts(stage, transcripts, Kind::STORAGE);
    assert_eq!(counts.scheduled, 60);
    counts.bad
}

const ALL: [Kind; 4] = [Kind::AVAILABILITY, Kind::LATENCY_ECHO, Kind::LATENCY_BLOCK, Kind::STORAGE];
const ECHOES: [Kind; 2] = [Kind::AVAILABILITY, Kind::LATENCY_ECHO];
const STORED: [Kind; 2] = [Kind::LATENCY_BLOCK, Kind::STORAGE];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_provider_is_answered_sealed_and_kept() {
    let stage = Stage::new(Script::Honest).await;
    assert_eq!(stage.link.warm_up().await, WARM_UP_EXCHANGES);
    assert_eq!(stage.provider.described.load(Ordering::Relaxed), 5);

    let assignment = stage.assignment();
    let (report, transcripts) = stage.run_assignment(assignment.clone()).await;
    assert_eq!(transcripts.len(), assignment.schedule.challenges().count());
    assert_eq!((report.transcripts, report.cancelled), (transcripts.len(), false));
    assert!(all_are(&transcripts, &ALL, Fate::Answered), "{:?}", fates(&transcripts, &ALL));
    assert!(transcripts.iter().all(|t| t.rtt_us.is_some_and(|rtt| (1..5_000_000).contains(&rtt))));
    for (scheduled, challenge) in assignment.schedule.challenges() {
        let transcript = transcripts.iter().find(|t| t.challenge == challenge).unwrap();
        assert_eq!(transcript.scheduled_at_us, scheduled.at_us);
        assert_eq!(transcript.signature.is_some(), scheduled.kind == Kind::STORAGE);
    }
    let availability = counts(&stage, &transcripts, Kind::AVAILABILITY);
    assert_eq!((availability.counted, availability.bad), (availability.scheduled, vec![0]));
    assert_eq!(stored_bad(&stage, &transcripts), [0, 0, 0]);
    let latency = counts(&stage, &transcripts, Kind::LATENCY_ECHO);
    assert!(latency.readings[0] > 0 && latency.readings[0] <= latency.readings[1]);

    let sealed = seal(&stage.link, &assignment, &report.unsigned).await.unwrap();
    assert_eq!(report.unsigned.len(), transcripts.len() - 2);
    assert!(sealed.is_by(&stage.provider.key.address()) && sealed.covers(&report.unsigned));

    let bundle = Bundle { transcripts, seals: vec![sealed] };
    assert_eq!(decode_bundle(&encode_bundle(&bundle.transcripts, &bundle.seals)).unwrap(), bundle);
}

// Defence: open loop; a prober that waits for replies asks a silent provider later and later, here by many seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_provider_is_asked_everything_and_is_bad_everywhere() {
    let mut stage = Stage::new(Script::Silent).await;
    (stage.params.probing.answer_timeout_ms, stage.params.probing.storage_timeout_ms) = (300, 300);
    let (report, transcripts) = stage.run().await;
    let challenges: Vec<_> = stage.assignment().schedule.challenges().collect();
    assert_eq!(transcripts.len(), challenges.len());
    assert!(all_are(&transcripts, &ALL, Fate::Silent));
    assert!(transcripts.iter().all(|t| t.rtt_us.is_none() && t.answer.is_none()) && report.unsigned.is_empty());
    let asked = stage.provider.asked.lock().unwrap().clone();
    assert!(transcripts.iter().all(|t| t.slip_us < 3_000_000));
    assert!(challenges.iter().all(|(s, _)| asked[&s.index] == if s.kind == Kind::AVAILABILITY { 3 } else { 1 }));

    let availability = counts(&stage, &transcripts, Kind::AVAILABILITY);
    assert_eq!(availability.bad, [availability.scheduled]);
    let latency = counts(&stage, &transcripts, Kind::LATENCY_ECHO);
    assert_eq!(latency.bad[0], latency.scheduled);
    assert_eq!(stored_bad(&stage, &transcripts), [0, 0, 60]);
    assert!(matches!(seal(&stage.link, &stage.assignment(), &report.unsigned).await, Err(SealError::Nothing)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_is_none() {
    let mut stage = Stage::new(Script::Slow(Duration::from_millis(900))).await;
    (stage.params.probing.answer_timeout_ms, stage.params.probing.storage_timeout_ms) = (200, 8_000);
    let (_, transcripts) = stage.run().await;
    assert!(all_are(&transcripts, &ECHOES, Fate::Silent));
    assert!(all_are(&transcripts, &[Kind::LATENCY_BLOCK], Fate::Silent));
    assert!(all_are(&transcripts, &[Kind::STORAGE], Fate::Answered), "storage has its own timeout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_silence_and_retries_tell_a_lost_request_from_an_outage() {
    let (_, transcripts) = Stage::new(Script::Refuse).await.run().await;
    assert!(all_are(&transcripts, &ALL, Fate::Silent));

    let (_, transcripts) = Stage::new(Script::FailFirst).await.run().await;
    assert!(all_are(&transcripts, &[Kind::AVAILABILITY], Fate::Answered));
    assert!(all_are(&transcripts, &[Kind::LATENCY_ECHO, Kind::LATENCY_BLOCK, Kind::STORAGE], Fate::Silent));
    for probe in transcripts.iter().filter(|t| t.challenge.kind == Kind::AVAILABILITY) {
        assert_eq!(probe.readings[0].value, None);
        let answered = probe.readings.iter().find(|reading| reading.value.is_some()).unwrap();
        assert!(answered.at_us >= 50_000 && answered.value == probe.rtt_us);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_invalid_and_signed_garbage_is_a_fact() {
    let stage = Stage::new(Script::Garbage).await;
    let assignment = stage.assignment();
    let (report, transcripts) = stage.run_assignment(assignment.clone()).await;
    assert!(all_are(&transcripts, &ALL, Fate::Invalid));
    assert_eq!(stored_bad(&stage, &transcripts), [60, 0, 0]);

    let facts = facts_of(&transcripts, &stage.provider.claims, 4);
    assert_eq!(facts.len(), 4);
    for fact in facts {
        let Evidence::Slice { place, .. } = &fact.evidence else { panic!("invalid, not missing: {fact:?}") };
        let root = place.proof.verify(&stage.provider.claims.root(), &place.claim);
        assert!(root.is_ok() && assignment.schedule.find(&fact.challenge).is_some());
    }
    let refused = seal(&stage.link, &assignment, &report.unsigned).await;
    assert!(matches!(refused, Err(SealError::OtherAnswers)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_the_form_of_one_are_silence() {
    for script in [Script::WrongKind, Script::Malformed] {
        let (report, transcripts) = Stage::new(script).await.run().await;
        assert!(all_are(&transcripts, &ALL, Fate::Silent), "{script:?} {:?}", fates(&transcripts, &ALL));
        assert!(report.unsigned.is_empty());
    }
}

// Defence: recovering the signature in `judge` and `seal`; without it this turns red.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_signature_is_worth_nothing() {
    let stage = Stage::new(Script::Stranger).await;
    let (report, transcripts) = stage.run().await;
    assert!(all_are(&transcripts, &[Kind::STORAGE], Fate::Silent));
    assert!(all_are(&transcripts, &ECHOES, Fate::Answered));
    assert!(facts_of(&transcripts, &stage.provider.claims, 4).is_empty());
    assert!(matches!(seal(&stage.link, &stage.assignment(), &report.unsigned).await, Err(SealError::Stranger)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stated_losses_are_missing_and_a_fact() {
    let stage = Stage::new(Script::Missing).await;
    let (_, transcripts) = stage.run().await;
    assert!(all_are(&transcripts, &STORED, Fate::Missing));
    assert!(all_are(&transcripts, &ECHOES, Fate::Answered));
    assert_eq!(stored_bad(&stage, &transcripts), [0, 60, 0]);
    let blocks = counts(&stage, &transcripts, Kind::LATENCY_BLOCK);
    assert!(blocks.counted > 0 && blocks.bad[1] == blocks.counted, "a missing block misses every threshold");
    assert_eq!(facts_of(&transcripts, &stage.provider.claims, 4).len(), 4);
}

// Defence: the decoding limit of `Link`; without it 3 MiB a reply are read into memory and the description is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_reply_is_silence_and_costs_no_memory() {
    let stage = Stage::new(Script::Oversized).await;
    let (_, transcripts) = stage.run().await;
    assert!(all_are(&transcripts, &ALL, Fate::Silent));
    assert!(matches!(stage.link.describe().await, Err(LinkError::Call(tonic::Code::OutOfRange))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_claims_stored_chunks_are_silent_and_with_nothing_claimed_not_asked() {
    let mut stage = Stage::new(Script::Honest).await;
    stage.know_claims = false;
    let (_, transcripts) = stage.run().await;
    assert!(all_are(&transcripts, &STORED, Fate::Silent));
    assert!(all_are(&transcripts, &ECHOES, Fate::Answered));

    let (_, transcripts) = stage.run_assignment(stage.assignment_of(ClaimRoot::default())).await;
    assert!(fates(&transcripts, &STORED).is_empty() && all_are(&transcripts, &ECHOES, Fate::Answered));
}

// Defence: the slip check before sending and the watchdog before judging; without them an oracle's own trouble is blamed on the provider.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oracles_own_faults_are_not_counted() {
    let mut stage = Stage::new(Script::Silent).await;
    stage.params.probing.send_slip_ms = 25;
    let mut late = stage.assignment();
    late.slot_start_unix_ms -= 10_000;
    let (_, transcripts) = stage.run_assignment(late).await;
    let lost = |transcripts: &[Transcript], fault| transcripts.iter().all(|t| t.outcome == Outcome::OracleError(fault));
    assert!(lost(&transcripts, OracleFault::SendSlip) && !transcripts.is_empty());
    assert!(stage.provider.asked.lock().unwrap().is_empty(), "too late to be asked");
    assert!(ALL.iter().all(|kind| counts(&stage, &transcripts, *kind).counted == 0));

    // Every gap counts as a stall: even right answers are void.
    let mut stage = Stage::new(Script::Honest).await;
    stage.watchdog = Watchdog::start(Duration::ZERO).unwrap();
    let (report, transcripts) = stage.run().await;
    assert!(lost(&transcripts, OracleFault::Stall) && report.unsigned.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_slot_returns_at_once() {
    let mut stage = Stage::new(Script::Silent).await;
    stage.params.slot_ms = 600_000;
    stage.cancel.cancel();
    let started = Instant::now();
    let (report, _) = stage.run().await;
    assert!(report.cancelled && started.elapsed() < Duration::from_secs(60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_not_there_is_silent() {
    let mut stage = Stage::new(Script::Honest).await;
    // Bound and never served: the port answers nobody.
    let (listener, address) = assay_daemon::grpc::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    drop(listener);
    let config = LinkConfig { allow_private: true, ..LinkConfig::default() };
    stage.link = Link::open(&format!("http://{address}"), &config).await.unwrap();
    assert_eq!(stage.link.warm_up().await, 0);
    let (_, transcripts) = stage.run().await;
    assert!(all_are(&transcripts, &ALL, Fate::Silent));
}

// Defence: the silent exchange of a line without a link in `Probe::ask`; a slot that is skipped, or a probe that is lost, turns this red.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_cannot_be_connected_to_is_silent_in_everything_that_is_asked() {
    let stage = Stage::new(Script::Honest).await;
    let line = Line::default();
    for endpoint in ["no endpoint", "http://224.0.0.1:80", "http://no-such-name.invalid:80"] {
        assert!(line.open(endpoint, &LinkConfig::default()).await.is_err(), "{endpoint}");
    }
    let assignment = stage.assignment();
    let (report, mut transcripts) = stage.run_over(&line, assignment.clone()).await;
    transcripts.sort_by_key(|transcript| transcript.challenge.index);
    let mut asked: Vec<_> = assignment.schedule.challenges().map(|(_, challenge)| challenge).collect();
    asked.sort_by_key(|challenge| challenge.index);
    assert_eq!(transcripts.iter().map(|t| t.challenge.clone()).collect::<Vec<_>>(), asked);
    assert!(transcripts.iter().all(|t| t.outcome == Outcome::Silent && t.rtt_us.is_none()) && report.unsigned.is_empty());
    for probe in transcripts.iter().filter(|t| t.challenge.kind == Kind::AVAILABILITY) {
        assert!(probe.readings.len() == 3 && probe.readings.iter().all(|reading| reading.value.is_none()));
    }
    let availability = counts(&stage, &transcripts, Kind::AVAILABILITY);
    assert_eq!(availability.bad, [availability.scheduled]);
    assert_eq!(stored_bad(&stage, &transcripts), [0, 0, 60]);
}

// Defence: `Probe::ask` looks for the link when it sends; taken at the slot's start, everything here is silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_opens_during_the_slot_carries_what_is_asked_from_then_on() {
    let mut stage = Stage::new(Script::Honest).await;
    stage.params.slot_ms = 1_000;
    let line = Line::default();
    let endpoint = format!("http://{}", stage.link.address());
    let opening = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        line.open(&endpoint, &LinkConfig { allow_private: true, ..LinkConfig::default() }).await.unwrap();
    };
    let ((_, transcripts), ()) = tokio::join!(stage.run_over(&line, stage.assignment()), opening);
    assert_eq!(fates(&transcripts, &ALL), BTreeSet::from(["Answered".to_owned(), "Silent".to_owned()]));
}

#[tokio::test]
async fn loopback_needs_permission() {
    let refused = Link::open("http://127.0.0.1:1", &LinkConfig::default()).await;
    assert!(matches!(refused, Err(LinkError::Endpoint(_))));
}

#[tokio::test]
async fn claims_are_fetched_in_pages_and_must_lead_to_the_root() {
    let stage = Stage::new(Script::Honest).await;
    let root = stage.provider.claims.root();
    assert_eq!(stage.link.claims(1, root, 2).await.unwrap(), stage.provider.claims);
    assert!(matches!(stage.link.claims(1, root, u64::MAX).await, Err(LinkError::Count { .. })));
    assert!(matches!(stage.link.claims(1, root, 3).await, Err(LinkError::Page)), "fewer than registered");
    assert!(matches!(stage.link.claims(1, root, 1).await, Err(LinkError::WrongRoot)));
    let other = ClaimRoot { hash: Hash32([1; 32]), ..root };
    assert!(matches!(stage.link.claims(1, other, 2).await, Err(LinkError::WrongRoot)));
    assert!(stage.link.claims(1, ClaimRoot::default(), 0).await.unwrap().is_empty());

    stage.provider.claims_served.lock().unwrap()[0].blocks += 1;
    assert!(matches!(stage.link.claims(1, root, 2).await, Err(LinkError::Claims(_))));
}

// Defence: the claims that `ask_again` takes; judged by those of the assignment's epoch, an answer to an earlier epoch's challenge is silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_challenge_is_asked_again_and_judged_by_its_own_claims() {
    let mut stage = Stage::new(Script::Honest).await;
    let own = stage.assignment().schedule.challenges().find(|(s, _)| s.kind == Kind::STORAGE).unwrap().1;
    // Another oracle's, of an epoch before.
    let challenge = Challenge { epoch: 3, oracle: OracleId(8), child: [6; 32], ..own };
    stage.know_claims = false;
    let assignment = stage.assignment();
    let ask = async |claims, strike| {
        let line = stage.link.clone().into();
        ask_again(&assignment, &line, &stage.watchdog, &challenge, claims, strike, 100_000).await
    };
    let transcript = ask(Some(Arc::new(stage.provider.claims.clone())), 2).await;
    assert_eq!(transcript.outcome.fate(), Fate::Answered);
    assert_eq!((&transcript.challenge, transcript.strike, transcript.scheduled_at_us), (&challenge, 2, 100_000));
    assert!(transcript.signature.is_some() && transcript.rtt_us.is_some());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!(now >= assignment.slot_start_unix_ms + 100, "not before it is due");
    assert_eq!(ask(None, 3).await.outcome, Outcome::Silent, "nothing to check it against");
}

#[tokio::test]
async fn a_refused_seal_is_told() {
    let mut provider = Scripted::new(Script::Honest);
    provider.refuse_seal = true;
    let stage = Stage::with(provider).await;
    let refused = seal(&stage.link, &stage.assignment(), &[(Hash32::ZERO, Hash32::ZERO)]).await;
    assert!(matches!(refused, Err(SealError::Refused(LinkError::Call(tonic::Code::FailedPrecondition)))));
}
