use super::*;
use crate::challenge::{Challenge, Kinds};
use crate::epoch::tests::{schedule, setting};
use crate::ids::Address;
use crate::params::Class;
use crate::secp::Signature65;
use crate::transcript::{OracleFault, SlotSchedule, judge};

const RAMP_US: u64 = 300_000;
const MS: u64 = 1_000;

fn reading(at_us: u64, value: u64) -> Reading {
    Reading { at_us, value: Some(value) }
}

/// Readings every 100 ms, with so many bytes acknowledged in each slice.
fn slices(bytes: &[u64]) -> Vec<Reading> {
    let sums = bytes.iter().scan(0, |sum, bytes| {
        *sum += bytes;
        Some(*sum)
    });
    [reading(0, 0)].into_iter().chain((1..).zip(sums).map(|(at, sum)| reading(at * 100 * MS, sum))).collect()
}

// ---- the rate ----

#[test]
fn a_steady_line_has_its_rate() {
    // 250,000 bytes in 100 ms are 20 Mbit/s.
    assert_eq!(rate_kbps(&slices(&[250_000; 7]), RAMP_US), Some(20_000));
}

// Defence: the ramp in `rate_kbps`. Without it a slow start pulls every honest line below its floor, and a burst from buffers lifts a slow one.
#[test]
fn the_ramp_is_not_judged() {
    assert_eq!(rate_kbps(&slices(&[0, 0, 0, 250_000, 250_000, 250_000]), RAMP_US), Some(20_000));
    assert_eq!(rate_kbps(&slices(&[9_000_000, 9_000_000, 9_000_000, 1_000, 1_000, 1_000]), RAMP_US), Some(80));
}

// Defence: the median in `rate_kbps`. With the mean, one burst of bytes that were held back stands for a whole test.
#[test]
fn one_burst_does_not_move_the_rate_and_one_stall_costs_what_it_lost() {
    let steady = [0, 0, 0, 250_000, 250_000, 250_000, 250_000, 250_000];
    for (at, bytes, rate) in [(5, 90_000_000, 20_000), (4, 0, 16_000)] {
        let mut disturbed = steady;
        disturbed[at] = bytes;
        assert_eq!(rate_kbps(&slices(&disturbed), RAMP_US), Some(rate));
    }
    assert_eq!(rate_kbps(&slices(&[0, 0, 0, 100_000, 300_000]), RAMP_US), Some(8_000), "the lower one of two");
}

// Defence: a slice that the oracle spoilt melts into the next. Read as zero it is the provider's fault, left out with its bytes it is a gift.
#[test]
fn a_spoilt_slice_melts_into_the_next() {
    let mut readings = slices(&[0, 0, 0, 100_000, 100_000, 500_000, 300_000]);
    readings[5].value = None;
    // 100 ms of 100 kB, 200 ms of 600 kB, 100 ms of 300 kB: the median is 24,000, all of it together 20,000.
    assert_eq!(rate_kbps(&readings, RAMP_US), Some(20_000));
}

// Defence: the bound of all bytes over all the time in `rate_kbps`. Without it a provider on a line of 1.4 Mbit/s gives its receipts just around
// the slices' borders, so that a few frames fall into ten milliseconds, and is read at 31 Mbit/s.
#[test]
fn receipts_timed_at_the_borders_of_slices_gain_nothing() {
    let frame = 13_107;
    let at = |ms: u64, frames: u64| reading(ms * MS, frames * frame);
    let timed = [at(100, 0), at(200, 0), at(300, 0), at(395, 1), at(405, 4), at(595, 5), at(605, 8), at(800, 8)];
    let rate = rate_kbps(&timed, RAMP_US).unwrap();
    assert!(rate <= 1_700, "{rate} kbit/s");
}

#[test]
fn too_few_slices_have_no_rate() {
    assert_eq!(rate_kbps(&[], RAMP_US), None);
    assert_eq!(rate_kbps(&slices(&[250_000; 3]), RAMP_US), None, "nothing behind the ramp");
    assert_eq!(rate_kbps(&slices(&[250_000; 4]), RAMP_US), None, "one slice");
    assert_eq!(rate_kbps(&slices(&[250_000; 5]), RAMP_US), Some(20_000));
    let spoilt: Vec<_> = slices(&[250_000; 7]).into_iter().map(|reading| Reading { value: None, ..reading }).collect();
    assert_eq!(rate_kbps(&spoilt, RAMP_US), None);
}

#[test]
fn hostile_readings_are_no_panic_and_no_division_by_zero() {
    let same_time = [reading(400 * MS, 1), reading(400 * MS, 2), reading(400 * MS, 3)];
    assert_eq!(rate_kbps(&same_time, RAMP_US), None);
    let backwards = [reading(600 * MS, 9), reading(500 * MS, 5), reading(400 * MS, 1)];
    assert_eq!(rate_kbps(&backwards, RAMP_US), None);
    let extreme = [reading(RAMP_US, 0), reading(RAMP_US + 1, u64::MAX), reading(RAMP_US + 2, u64::MAX), reading(u64::MAX, u64::MAX)];
    assert_eq!(rate_kbps(&extreme, RAMP_US), Some(0));
}

// ---- answers ----

/// A scheduled test with the half of its secret that is kept.
fn asked(kind: Kind) -> (Challenge, [u8; 32]) {
    let setting = setting(4, 1);
    let schedule = schedule(&setting, &setting.providers[0], 1);
    let of_slot = |slot: &SlotSchedule| slot.challenges().map(|(_, challenge)| (slot.kept(challenge.index), challenge)).collect::<Vec<_>>();
    let (kept, challenge) = schedule.slots().iter().flat_map(of_slot).find(|(_, challenge)| challenge.kind == kind).unwrap();
    (challenge, kept)
}

fn total(secret: &[u8; 32], length: usize) -> Total {
    let mut bytes = vec![0; length];
    ingress_bytes(secret).fill(&mut bytes);
    Total { bytes: length as u64, hash: *blake3::hash(&bytes).as_bytes() }
}

fn judged(challenge: &Challenge, kept: Option<[u8; 32]>, answer: &Answer) -> Outcome {
    let asked = Asked { challenge, claims: None, kept };
    judge(Kinds::standard(), &asked, answer, None::<&Signature65>, &Address([1; 20]))
}

fn right() -> Outcome {
    Outcome::Checked(Checked::all_or_nothing(true))
}

fn wrong() -> Outcome {
    Outcome::Checked(Checked::all_or_nothing(false))
}

// Defence: the stream is keyed by `kept`. Keyed by `child`, which the provider has been sent, an answer takes no line at all.
#[test]
fn what_was_received_cannot_be_computed_from_what_was_asked() {
    let (challenge, kept) = asked(Kind::INGRESS);
    assert_ne!(challenge.child, kept);
    for length in [0, 1, 16_384, 16_385, 100_000] {
        let received = Answer::of_payload(total(&kept, length).to_payload());
        assert_eq!(judged(&challenge, Some(kept), &received), right(), "{length}");
        if length > 0 {
            let computed = Answer::of_payload(total(&challenge.child, length).to_payload());
            assert_eq!(judged(&challenge, Some(kept), &computed), wrong(), "{length}");
        }
    }
    let mut more = total(&kept, 1_000);
    more.bytes += 1;
    assert_eq!(judged(&challenge, Some(kept), &Answer::of_payload(more.to_payload())), wrong(), "more than was hashed");
}

#[test]
fn without_the_kept_secret_ingress_cannot_be_checked_and_egress_can() {
    let (challenge, kept) = asked(Kind::INGRESS);
    let answer = Answer::of_payload(total(&kept, 100).to_payload());
    assert_eq!(judged(&challenge, None, &answer), Outcome::Silent);
    assert_eq!(judged(&asked(Kind::EGRESS).0, None, &answer), right());
}

// Defence: `MAX_TEST_BYTES` in `holds`. Without it 40 bytes make everybody who checks them hash for centuries.
#[test]
fn a_total_beyond_all_measure_is_wrong_at_once() {
    for kind in [Kind::EGRESS, Kind::INGRESS] {
        let (challenge, kept) = asked(kind);
        let boast = Total { bytes: u64::MAX, hash: [0; 32] };
        assert_eq!(judged(&challenge, Some(kept), &Answer::of_payload(boast.to_payload())), wrong());
    }
}

#[test]
fn payloads_of_another_form_are_silence() {
    let (challenge, kept) = asked(Kind::INGRESS);
    let payload = total(&kept, 100).to_payload();
    assert_eq!((payload.len(), Total::from_payload(&payload)), (40, Some(total(&kept, 100))));
    let long = [&payload[..], &[0]].concat();
    for form in [&payload[..39], &long, &[]] {
        assert_eq!(judged(&challenge, Some(kept), &Answer::of_payload(form)), Outcome::Silent);
    }
    let with_sample = Answer { payload, samples: vec![None] };
    assert_eq!(judged(&challenge, Some(kept), &with_sample), Outcome::Silent);
}

// ---- counts ----

fn test_of(readings: Vec<Reading>, stated_bytes: u64) -> Transcript {
    Transcript {
        challenge: asked(Kind::INGRESS).0,
        strike: 0,
        scheduled_at_us: 0,
        slip_us: 0,
        rtt_us: Some(800 * MS),
        readings,
        outcome: right(),
        answer: Some(Answer::of_payload(Total { bytes: stated_bytes, hash: [0; 32] }.to_payload())),
        signature: None,
    }
}

/// (counted, shortfall, rate) with a floor of 20 Mbit/s.
fn summary(tests: &[Transcript]) -> (u64, u64, u64) {
    let params = Params::devnet();
    let tests: Vec<_> = tests.iter().collect();
    let counts = Bandwidth::Ingress.summarise(&params, &params.classes[0], 100_000, &tests);
    (counts.counted, counts.bad_on(0), counts.reading(0))
}

#[test]
fn the_shortfall_is_what_a_test_lacks_of_the_floor() {
    let at = |bytes: u64| test_of(slices(&[bytes; 7]), 7 * bytes);
    assert_eq!(summary(&[at(250_000)]), (20_000, 0, 20_000));
    assert_eq!(summary(&[at(375_000)]), (20_000, 0, 30_000), "what is beyond the floor earns nothing");
    assert_eq!(summary(&[at(200_000)]), (20_000, 4_000, 16_000));
    assert_eq!(summary(&[at(0)]), (20_000, 20_000, 0));
    assert_eq!(summary(&[at(375_000), at(200_000)]), (40_000, 4_000, 16_000), "no test makes up for another");
    assert_eq!(summary(&[]), (0, 0, 0));
}

// Defence: `last <= total.bytes` in `test_rate_kbps`. Without it an oracle counts receipts that the provider never gave, and the provider's own
// statement does not bound it.
#[test]
fn receipts_for_more_than_the_provider_states_are_worth_nothing() {
    let readings = slices(&[250_000; 7]);
    assert_eq!(summary(&[test_of(readings.clone(), 1_750_000)]), (20_000, 0, 20_000));
    assert_eq!(summary(&[test_of(readings, 1_749_999)]), (20_000, 20_000, 0));
}

#[test]
fn silent_and_wrong_tests_lack_everything_and_own_errors_do_not_count() {
    let good = test_of(slices(&[250_000; 7]), 1_750_000);
    let with = |outcome: Outcome| Transcript { outcome, ..good.clone() };
    assert_eq!(summary(&[with(Outcome::Silent)]), (20_000, 20_000, 0));
    assert_eq!(summary(&[with(wrong())]), (20_000, 20_000, 0));
    assert_eq!(summary(&[Transcript { answer: None, ..good.clone() }]), (20_000, 20_000, 0));
    assert_eq!(summary(&[with(Outcome::OracleError(OracleFault::Congested))]), (0, 0, 0));
    assert_eq!(summary(&[test_of(slices(&[250_000; 4]), 1_750_000)]), (20_000, 20_000, 0), "a test that ended early");
}

#[test]
fn a_class_without_a_floor_is_not_tested() {
    let mut setting = setting(4, 1);
    let floor = |class: &mut Class, in_kbps, out_kbps| (class.floor_in_kbps, class.floor_out_kbps) = (in_kbps, out_kbps);
    let scheduled = |setting: &crate::report::Setting| {
        let schedule = schedule(setting, &setting.providers[0], 1);
        (schedule.scheduled(Kind::INGRESS), schedule.scheduled(Kind::EGRESS))
    };
    assert_eq!(scheduled(&setting), (20_000, 20_000));
    floor(&mut setting.params.classes[0], 0, 7_000);
    assert_eq!(scheduled(&setting), (0, 7_000));
    let class = &setting.params.classes[0];
    assert_eq!((Bandwidth::Ingress.objectives(class).len(), Bandwidth::Egress.objectives(class).len()), (0, 1));
}
