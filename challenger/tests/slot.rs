//! One slot against a real server that follows a script.

mod scripted;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use assay_challenger::convert::{Bundle, decode_bundle, encode_bundle};
use assay_challenger::link::{Line, Link, LinkConfig, LinkError, WARM_UP_EXCHANGES};
use assay_challenger::seal::{SealError, seal};
use assay_challenger::watchdog::Watchdog;
use assay_core::challenge::Kind;
use assay_core::claim::ClaimRoot;
use assay_core::hash::Hash32;
use assay_core::observation::{Fault, Observation, ProviderKeys};
use assay_core::transcript::{Fate, OracleFault, Outcome, ScheduledCounts, Transcript, facts_of, summarise};
use scripted::{Script, Scripted, Stage, instance};

fn fates(transcripts: &[Transcript], kinds: &[Kind]) -> BTreeSet<String> {
    let of_kind = transcripts.iter().filter(|t| kinds.contains(&t.challenge.kind));
    of_kind.map(|t| format!("{:?}", t.outcome.fate())).collect()
}

fn all_are(transcripts: &[Transcript], kinds: &[Kind], fate: Fate) -> bool {
    fates(transcripts, kinds) == BTreeSet::from([format!("{fate:?}")])
}

fn observe(stage: &Stage, transcripts: &[Transcript]) -> Observation {
    let assignment = stage.assignment();
    let (provider, class) = (&assignment.provider, &assignment.params.classes[0]);
    let scheduled = ScheduledCounts::of(&[assignment.vrf], provider.id, provider.claims.blocks, &assignment.params);
    summarise(assignment.epoch, provider.id, assignment.oracle, class, &scheduled, transcripts, &[])
}

const ECHOES: [Kind; 2] = [Kind::Availability, Kind::LatencyEcho];
const STORED: [Kind; 2] = [Kind::LatencyBlock, Kind::Storage];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_provider_is_answered_sealed_and_kept() {
    let stage = Stage::new(Script::Honest).await;
    assert_eq!(stage.link.warm_up().await, WARM_UP_EXCHANGES);
    assert_eq!(stage.provider.described.load(Ordering::Relaxed), 5);

    let assignment = stage.assignment();
    let (report, transcripts) = stage.run_assignment(assignment.clone()).await;
    assert_eq!(transcripts.len(), assignment.challenges().len());
    assert_eq!((report.transcripts, report.cancelled), (transcripts.len(), false));
    assert!(all_are(&transcripts, &Kind::ALL, Fate::Answered), "{:?}", fates(&transcripts, &Kind::ALL));
    assert!(transcripts.iter().all(|t| t.rtt_us.is_some_and(|rtt| (1..5_000_000).contains(&rtt))));
    for (scheduled, challenge) in assignment.challenges() {
        let transcript = transcripts.iter().find(|t| t.challenge == challenge).unwrap();
        assert_eq!(transcript.scheduled_at_us, scheduled.at_us);
        assert_eq!(transcript.signature.is_some(), scheduled.kind == Kind::Storage);
    }
    let observation = observe(&stage, &transcripts);
    assert_eq!(observation.availability.counted, observation.availability_scheduled);
    assert_eq!((observation.availability.bad, observation.storage_valid), (0, 60));
    assert!(observation.p50_us > 0 && observation.p50_us <= observation.p95_us);

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
    let challenges = stage.assignment().challenges();
    assert_eq!(transcripts.len(), challenges.len());
    assert!(all_are(&transcripts, &Kind::ALL, Fate::Silent));
    assert!(transcripts.iter().all(|t| t.rtt_us.is_none() && t.answer.is_none()) && report.unsigned.is_empty());
    let asked = stage.provider.asked.lock().unwrap().clone();
    assert!(transcripts.iter().all(|t| t.slip_us < 3_000_000));
    assert!(challenges.iter().all(|(s, _)| asked[&s.index] == if s.kind == Kind::Availability { 3 } else { 1 }));

    let observation = observe(&stage, &transcripts);
    assert_eq!(observation.availability.bad, observation.availability_scheduled);
    assert_eq!(observation.over_t50, observation.latency_scheduled);
    assert_eq!(observation.storage_silent, 60);
    assert!(matches!(seal(&stage.link, &stage.assignment(), &report.unsigned).await, Err(SealError::Nothing)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_is_none() {
    let mut stage = Stage::new(Script::Slow(Duration::from_millis(900))).await;
    (stage.params.probing.answer_timeout_ms, stage.params.probing.storage_timeout_ms) = (200, 8_000);
    let (_, transcripts) = stage.run().await;
    assert!(all_are(&transcripts, &ECHOES, Fate::Silent));
    assert!(all_are(&transcripts, &[Kind::LatencyBlock], Fate::Silent));
    assert!(all_are(&transcripts, &[Kind::Storage], Fate::Answered), "storage has its own timeout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_silence_and_retries_tell_a_lost_request_from_an_outage() {
    let (_, transcripts) = Stage::new(Script::Refuse).await.run().await;
    assert!(all_are(&transcripts, &Kind::ALL, Fate::Silent));

    let (_, transcripts) = Stage::new(Script::FailFirst).await.run().await;
    assert!(all_are(&transcripts, &[Kind::Availability], Fate::Answered));
    assert!(all_are(&transcripts, &[Kind::LatencyEcho, Kind::LatencyBlock, Kind::Storage], Fate::Silent));
    for probe in transcripts.iter().filter(|t| t.challenge.kind == Kind::Availability) {
        assert_eq!(probe.attempts[0].rtt_us, None);
        let answered = probe.attempts.iter().find(|attempt| attempt.rtt_us.is_some()).unwrap();
        assert!(answered.offset_us >= 50_000 && answered.rtt_us == probe.rtt_us);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_invalid_and_signed_garbage_is_a_fact() {
    let stage = Stage::new(Script::Garbage).await;
    let assignment = stage.assignment();
    let (report, transcripts) = stage.run_assignment(assignment.clone()).await;
    assert!(all_are(&transcripts, &Kind::ALL, Fate::Invalid));
    assert_eq!(observe(&stage, &transcripts).storage_invalid, 60);

    let facts = facts_of(&transcripts, &stage.provider.claims, 4);
    let keys = ProviderKeys { receipt_key: stage.provider.key.address(), class_id: 100, claims: stage.provider.claims.root() };
    assert_eq!(facts.len(), 4);
    for fact in facts {
        let fault = fact.verify(&instance(), 4, assignment.oracle, &keys, &assignment.vrf, &assignment.params);
        assert_eq!(fault, Ok(Fault::StorageInvalid));
    }
    let refused = seal(&stage.link, &assignment, &report.unsigned).await;
    assert!(matches!(refused, Err(SealError::OtherAnswers)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_the_form_of_one_are_silence() {
    for script in [Script::WrongKind, Script::Malformed] {
        let (report, transcripts) = Stage::new(script).await.run().await;
        assert!(all_are(&transcripts, &Kind::ALL, Fate::Silent), "{script:?} {:?}", fates(&transcripts, &Kind::ALL));
        assert!(report.unsigned.is_empty());
    }
}

// Defence: recovering the signature in `judge` and `seal`; without it this turns red.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_signature_is_worth_nothing() {
    let stage = Stage::new(Script::Stranger).await;
    let (report, transcripts) = stage.run().await;
    assert!(all_are(&transcripts, &[Kind::Storage], Fate::Silent));
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
    let observation = observe(&stage, &transcripts);
    assert_eq!(observation.storage_missing, 60);
    let blocks = transcripts.iter().filter(|t| t.challenge.kind == Kind::LatencyBlock).count() as u64;
    assert!(blocks > 0 && observation.over_t95 >= blocks, "a missing block misses every threshold");
    assert_eq!(facts_of(&transcripts, &stage.provider.claims, 4).len(), 4);
}

// Defence: the decoding limit of `Link`; without it 3 MiB a reply are read into memory and the description is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_reply_is_silence_and_costs_no_memory() {
    let stage = Stage::new(Script::Oversized).await;
    let (_, transcripts) = stage.run().await;
    assert!(all_are(&transcripts, &Kind::ALL, Fate::Silent));
    assert!(matches!(stage.link.describe().await, Err(LinkError::Call(tonic::Code::OutOfRange))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_claims_stored_chunks_are_silent_and_with_nothing_claimed_not_asked() {
    let mut stage = Stage::new(Script::Honest).await;
    stage.know_claims = false;
    let (_, transcripts) = stage.run().await;
    assert!(all_are(&transcripts, &STORED, Fate::Silent));
    assert!(all_are(&transcripts, &ECHOES, Fate::Answered));

    let mut assignment = stage.assignment();
    assignment.provider.claims = ClaimRoot::default();
    let (_, transcripts) = stage.run_assignment(assignment).await;
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
    let observation = observe(&stage, &transcripts);
    assert_eq!((observation.availability.counted, observation.latency_counted), (0, 0));
    assert_eq!((observation.storage_oracle_error, observation.storage_scheduled), (60, 60));

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
    assert!(all_are(&transcripts, &Kind::ALL, Fate::Silent));
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
    let mut asked: Vec<_> = assignment.challenges().into_iter().map(|(_, challenge)| challenge).collect();
    asked.sort_by_key(|challenge| challenge.index);
    assert_eq!(transcripts.iter().map(|t| t.challenge.clone()).collect::<Vec<_>>(), asked);
    assert!(transcripts.iter().all(|t| t.outcome == Outcome::Silent && t.rtt_us.is_none()) && report.unsigned.is_empty());
    for probe in transcripts.iter().filter(|t| t.challenge.kind == Kind::Availability) {
        assert!(probe.attempts.len() == 3 && probe.attempts.iter().all(|attempt| attempt.rtt_us.is_none()));
    }
    let observation = observe(&stage, &transcripts);
    assert_eq!(observation.availability.bad, observation.availability_scheduled);
    assert_eq!(observation.storage_silent, 60);
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
    assert_eq!(fates(&transcripts, &Kind::ALL), BTreeSet::from(["Answered".to_owned(), "Silent".to_owned()]));
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

#[tokio::test]
async fn a_refused_seal_is_told() {
    let mut provider = Scripted::new(Script::Honest);
    provider.refuse_seal = true;
    let stage = Stage::with(provider).await;
    let refused = seal(&stage.link, &stage.assignment(), &[(Hash32::ZERO, Hash32::ZERO)]).await;
    assert!(matches!(refused, Err(SealError::Refused(LinkError::Call(tonic::Code::FailedPrecondition)))));
}
