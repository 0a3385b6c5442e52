//! Open challenges: storage challenges that nobody answered, asked again and again.
//!
//! A provider's own ones stay open until they are answered or the epoch ends, across reconnects and restarts. The one that the whole panel
//! watches is asked once in a slot. Of all these at most one ask of a provider is under way at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use assay_challenger::measure::{Assignment, ask_again};
use assay_core::bls::Signature;
use assay_core::challenge::schedule::PairSecret;
use assay_core::challenge::window::Window;
use assay_core::challenge::{Challenge, Kind};
use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use assay_core::params::Params;
use assay_core::transcript::{Outcome, PairSchedule, Transcript};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep_until, timeout_at};
use tracing::warn;

use super::subject::Subject;
use super::{MeasureError, Measurer, Place};
use crate::clock::{now_ms, until_unix_ms};

/// An ask is decided on so long before it is due, so that it is not late.
const AHEAD_MS: u64 = 20;
/// Between two asks of one provider at least, whichever challenges they are.
const SPACING_MS: u64 = 100;
/// The pair's storage stream that the watched challenge's times come from; the schedule's own is 0.
const WATCH_PART: u8 = 1;

/// A challenge that waits to be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Open {
    challenge: Challenge,
    /// Number of the next ask.
    strike: u32,
    /// When the next ask is due, unix milliseconds.
    due_ms: u64,
    /// Whether it stays open when it is not answered. The watched one comes anew with each slot.
    stays: bool,
}

/// One provider's open challenges.
#[derive(Default)]
pub(super) struct OpenChallenges {
    open: Mutex<BTreeMap<Hash32, Open>>,
    /// There is one more.
    added: Notify,
    /// Held by the slot that asks, so that slots that overlap do not ask side by side.
    turn: tokio::sync::Mutex<()>,
}

impl OpenChallenges {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Hash32, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the challenge of a first ask that nobody answered, to be asked again at `due_ms`.
    pub(super) fn note(&self, first: &Transcript, due_ms: u64) {
        if first.strike == 0 && first.challenge.kind == Kind::STORAGE && first.outcome == Outcome::Silent {
            self.add(Open { challenge: first.challenge.clone(), strike: 1, due_ms, stays: true });
        }
    }

    /// What is open already stays as it is, unless it comes anew with each slot.
    fn add(&self, open: Open) {
        let mut all = self.lock();
        let digest = open.challenge.digest();
        if all.get(&digest).is_none_or(|known| !known.stays) {
            all.insert(digest, open);
            self.added.notify_one();
        }
    }

    /// Of those that are due the watched one, else the one that waits longest: a slash needs all of the panel's asks, and a mute
    /// provider's own challenges would fill every slot before it.
    fn next(&self, now_ms: u64) -> Option<Open> {
        self.lock().values().min_by_key(|open| (open.due_ms.max(now_ms), open.stays, open.due_ms)).cloned()
    }

    /// After an ask: an answer closes a challenge, whatever it says. Our own loss is no answer.
    fn asked(&self, ask: &Transcript, again_ms: u64) {
        let mut all = self.lock();
        let digest = ask.challenge.digest();
        let Some(open) = all.get_mut(&digest) else { return };
        if !open.stays || matches!(ask.outcome, Outcome::Checked(_)) {
            all.remove(&digest);
        } else {
            (open.strike, open.due_ms) = (ask.strike.saturating_add(1), again_ms);
        }
    }
}

/// When in a slot the watched challenge is asked, in microseconds from the slot's start; `None` in a slot that it is not asked in.
///
/// Uniform, from the slot's own secret, and so that two asks never come closer than the time between asks: a provider does not know when
/// it is to be there. Where that time is longer than a slot, slots are passed over.
pub(super) fn watch_at_us(vrf: &Signature, provider: ProviderId, slot: u32, params: &Params) -> Option<u64> {
    let (slot_us, pause_us) = (params.slot_ms.saturating_mul(1_000), params.reask_ms.saturating_mul(1_000));
    let every = pause_us.div_ceil(slot_us.max(1)).max(1);
    let room_us = every.saturating_mul(slot_us).saturating_sub(pause_us).min(slot_us);
    u64::from(slot).is_multiple_of(every).then(|| PairSecret::new(vrf, provider).stream(Kind::STORAGE, WATCH_PART).below(room_us))
}

/// The first time from `at_us` on at which no panel member fills the provider's line: an ask then would tell of the line, not of the data.
fn clear_of(windows: &[Window], at_us: u64, guard_us: u64) -> u64 {
    windows.iter().fold(at_us, |at_us, window| if window.covers(at_us, guard_us) { window.end_us } else { at_us })
}

impl Measurer {
    /// Asks what is open, each when it is due, until the slot ends.
    pub(super) async fn ask_open(&self, assignment: &Assignment, place: &Place, subject: &Subject, sink: mpsc::Sender<Transcript>) {
        let (params, open) = (&assignment.params, &subject.open);
        let _turn = open.turn.lock().await;
        if let Some(schedule) = &place.earlier
            && let Err(error) = self.reopen(place.epoch, subject, schedule, now_ms().saturating_add(params.reask_ms)).await
        {
            warn!(epoch = place.epoch, %error, "challenges that an earlier run left open are not asked again");
        }
        if let (Some(challenge), Some(at_us)) = (subject.watched(), place.watch_at_us) {
            let due_ms = place.start_ms.saturating_add(at_us / 1_000);
            open.add(Open { challenge: challenge.clone(), strike: place.slot.saturating_add(1), due_ms, stays: false });
        }
        let end_ms = place.start_ms.saturating_add(params.slot_ms);
        let guard_us = params.bandwidth.guard_ms.saturating_mul(1_000);
        let mut free_ms = 0;
        loop {
            let next = open.next(now_ms());
            let due_ms = next.as_ref().map_or(end_ms, |next| next.due_ms).max(free_ms);
            let decide = until_unix_ms(due_ms.min(end_ms).saturating_sub(AHEAD_MS));
            if timeout_at(decide, open.added.notified()).await.is_ok() {
                continue;
            }
            let Some(next) = next.filter(|_| due_ms < end_ms) else { break };
            let at_us = due_ms.max(now_ms()).saturating_sub(place.start_ms).saturating_mul(1_000);
            let at_us = clear_of(&place.windows, at_us, guard_us);
            let at_ms = place.start_ms.saturating_add(at_us / 1_000);
            if at_ms >= end_ms {
                break;
            }
            sleep_until(until_unix_ms(at_ms.saturating_sub(AHEAD_MS))).await;
            let again_ms = at_ms.saturating_add(params.reask_ms);
            if subject.can_ask(&next.challenge) {
                let claims = subject.claims_of(&next.challenge);
                let ask = ask_again(assignment, &subject.line, &self.watchdog, &next.challenge, claims, next.strike, at_us).await;
                open.asked(&ask, again_ms);
                // A sink that nobody reads any more is the epoch's end.
                let _ = sink.send(ask).await;
            } else {
                open.lock().remove(&next.challenge.digest());
            }
            free_ms = now_ms().saturating_add(SPACING_MS);
        }
        // What did not fit into this slot comes anew with the next.
        open.lock().retain(|_, open| open.stays);
    }

    /// Opens what the evidence of this epoch says is unanswered.
    async fn reopen(&self, epoch: u64, subject: &Subject, schedule: &PairSchedule, due_ms: u64) -> Result<(), MeasureError> {
        let transcripts = self.transcripts(epoch, subject.terms.provider, schedule, None).await?;
        let answered: BTreeSet<Hash32> =
            transcripts.iter().filter(|t| matches!(t.outcome, Outcome::Checked(_))).map(|t| t.challenge.digest()).collect();
        let mut last: BTreeMap<Hash32, u32> = BTreeMap::new();
        for transcript in &transcripts {
            let strike = last.entry(transcript.challenge.digest()).or_default();
            *strike = transcript.strike.max(*strike);
        }
        for first in transcripts.iter().filter(|transcript| !answered.contains(&transcript.challenge.digest())) {
            subject.open.note(first, due_ms);
        }
        for (digest, open) in subject.open.lock().iter_mut() {
            open.strike = last.get(digest).map_or(open.strike, |strike| strike.saturating_add(1));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use assay_core::bls::{Domain, SecretKey};
    use assay_core::challenge::Checked;
    use assay_core::ids::OracleId;
    use assay_core::transcript::OracleFault;

    use super::super::compile::tests::transcript;
    use super::*;

    fn storage(index: u32, strike: u32, outcome: Outcome) -> Transcript {
        let mut transcript = transcript(index, outcome);
        (transcript.challenge.kind, transcript.strike) = (Kind::STORAGE, strike);
        transcript
    }

    #[test]
    fn silence_opens_an_answer_closes_and_our_own_loss_does_neither() {
        let checked = Outcome::Checked(Checked { valid: 1, invalid: vec![], missing: vec![] });
        let lost = Outcome::OracleError(OracleFault::SendSlip);
        let open = OpenChallenges::default();
        open.note(&storage(1, 0, checked.clone()), 5);
        open.note(&storage(2, 0, lost.clone()), 5);
        open.note(&storage(3, 1, Outcome::Silent), 5);
        open.note(&transcript(4, Outcome::Silent), 5);
        assert_eq!(open.next(0), None, "answered, lost, no first ask, no storage");
        open.note(&storage(5, 0, Outcome::Silent), 20);
        open.note(&storage(6, 0, Outcome::Silent), 10);
        assert_eq!(open.next(0).unwrap().challenge.index, 6);
        open.asked(&storage(6, 1, Outcome::Silent), 30);
        assert_eq!(open.next(0).unwrap().challenge.index, 5);
        open.asked(&storage(5, 1, lost), 40);
        let next = open.next(0).unwrap();
        assert_eq!((next.challenge.index, next.strike, next.due_ms), (6, 2, 30));
        open.asked(&storage(6, 2, checked), 50);
        assert_eq!(open.next(0).unwrap().strike, 2, "of the other, which our own loss left open");
    }

    // Defence: the order of `OpenChallenges::next`. Without it a provider that answers nothing has so many challenges open that the one that the
    // panel watches is asked too seldom to strike out, and nothing is slashed.
    #[test]
    fn the_watched_challenge_goes_before_others_that_are_due() {
        let open = OpenChallenges::default();
        for (index, due_ms) in [(1, 10), (2, 20), (3, 90)] {
            open.note(&storage(index, 0, Outcome::Silent), due_ms);
        }
        open.add(Open { challenge: storage(4, 0, Outcome::Silent).challenge, strike: 1, due_ms: 50, stays: false });
        let next = |now_ms| open.next(now_ms).unwrap().challenge.index;
        assert_eq!([next(5), next(40)], [1, 1], "not before it is due");
        assert_eq!([next(50), next(100)], [4, 4]);
    }

    // Defence: the room of `watch_at_us`; a draw over the whole slot lets two asks meet at its border.
    #[test]
    fn the_watched_challenge_is_asked_in_every_slot_and_never_twice_at_once() {
        for (slot_ms, reask_ms) in [(5_000, 2_000), (5_000, 5_000), (2_000, 3_000), (1_000, 2_000)] {
            let params = Params { slot_ms, reask_ms, ..Params::devnet() };
            let times: Vec<u64> = (0..60)
                .filter_map(|slot| {
                    let vrf = SecretKey::key_gen(&[slot as u8 + 1; 32]).unwrap().sign(Domain::Vrf, &Hash32::ZERO);
                    Some(u64::from(slot) * slot_ms * 1_000 + watch_at_us(&vrf, ProviderId(7), slot, &params)?)
                })
                .collect();
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= reask_ms * 1_000), "{slot_ms} {reask_ms}");
            assert_eq!(times.len() as u64, 60u64.div_ceil(reask_ms.div_ceil(slot_ms)));
        }
    }

    #[test]
    fn asks_keep_clear_of_windows() {
        let window = |start_us, end_us| Window { oracle: OracleId(1), start_us, end_us };
        let windows = [window(1_000, 2_000), window(2_050, 3_000)];
        assert_eq!(clear_of(&windows, 500, 100), 500);
        assert_eq!(clear_of(&windows, 950, 100), 3_000, "no gap between the two that is long enough");
        assert_eq!(clear_of(&windows, 2_010, 10), 2_010);
        assert_eq!(clear_of(&windows, 3_000, 100), 3_000);
    }
}
