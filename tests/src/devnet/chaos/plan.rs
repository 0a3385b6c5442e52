//! Which fault hits whom and when: drawn from a seed alone.

use std::collections::{BTreeMap, BTreeSet};

use assay_core::challenge::Stream;
use clap::ValueEnum;

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, ValueEnum)]
pub enum FaultKind {
    /// A member's process is ended as by a power cut, and started again.
    Kill,
    /// The chain's last blocks are replaced.
    Reorg,
    /// Nothing reaches these members, though they still speak.
    Deaf,
    /// Every message to this member takes longer.
    Slow,
    /// Two of seven are cut off from the others, which are a quorum.
    MinoritySplit,
    /// Three of seven are cut off from the others: no side has a quorum.
    MajoritySplit,
    /// Likewise, for longer than an epoch's report may still be accepted: that epoch has none. Not among the kinds of an ordinary run.
    LongSplit,
    /// A member's RPC shows the chain as it was many blocks ago, in everything that it says.
    HeadHeld,
    /// A member's RPC shows the newest block and answers questions about it from an older one.
    OldAnswers,
    /// A member's RPC calls the newest block final.
    NewestFinal,
    /// A member's RPC closes connections without an answer.
    Dropped,
    /// A member's RPC answers seconds late.
    Delayed,
    /// The RPC of the first member that asks counts transactions that nobody sent.
    WrongNonce,
    /// The RPC of the first member that asks denies every receipt.
    NoReceipt,
    /// A member's clock is ahead by less than the protocol allows.
    ClockFast,
    /// A member's clock is behind by less than the protocol allows.
    ClockSlow,
    /// A member's clock is seconds ahead.
    ClockAhead,
    /// A member's clock is seconds behind.
    ClockBehind,
    /// A member's files cannot grow.
    DiskFull,
}

/// The beginning or the end of a fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Act {
    /// Before a beginning at the same time.
    End,
    /// From now on.
    Begin,
}

/// Something that happens to the network.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Event {
    /// Milliseconds after genesis.
    pub at_ms: u64,
    /// Beginning or end.
    pub act: Act,
    /// Of what.
    pub kind: FaultKind,
    /// Whose, by index; of a split the smaller side. Empty when it is the chain's, or the first's who sends a transaction.
    pub members: Vec<usize>,
}

/// What a schedule is drawn for.
#[derive(Clone, Debug)]
pub struct Draw<'a> {
    /// Where all times and choices come from.
    pub seed: u64,
    /// How many epochs.
    pub epochs: u64,
    /// Length of an epoch.
    pub epoch_ms: u64,
    /// Epochs after its own in which a report may still be accepted.
    pub valid_epochs: u64,
    /// Size of the committee.
    pub members: usize,
    /// Which kinds.
    pub kinds: &'a BTreeSet<FaultKind>,
}

/// Kinds that take turns: in every epoch as many of them as it takes for each to have its turn.
const CLOSING: [FaultKind; 3] = [FaultKind::Deaf, FaultKind::MinoritySplit, FaultKind::MajoritySplit];
const CRIPPLING: [FaultKind; 4] = [FaultKind::ClockAhead, FaultKind::ClockBehind, FaultKind::DiskFull, FaultKind::HeadHeld];
const HINDERING: [FaultKind; 3] = [FaultKind::Slow, FaultKind::ClockFast, FaultKind::ClockSlow];
const POSTING: [FaultKind; 6] =
    [FaultKind::WrongNonce, FaultKind::NoReceipt, FaultKind::NewestFinal, FaultKind::OldAnswers, FaultKind::Dropped, FaultKind::Delayed];
const KILLS_PER_EPOCH: u64 = 2;
/// After an epoch's end its report is measured, certified and posted within this, if nothing hinders it.
const CLOSE_MS: u64 = 8_000;
/// A cut-off may begin this long before an epoch's end.
const EARLY_MS: u64 = 1_000;
/// The epoch that a long split costs: one has its report before it, and the others have theirs after it.
const LOST_EPOCH: u64 = 1;
/// A long split lasts so much longer than the report of the epoch that it costs is valid.
const LATE_MS: u64 = 2_000;
/// Then come the claims and slashes.
const POSTING_MS: u64 = 16_000;

impl FaultKind {
    /// All that pass while every epoch's report can still be accepted: those of an ordinary run.
    pub fn passing() -> BTreeSet<Self> {
        Self::value_variants().iter().copied().filter(|kind| *kind != Self::LongSplit).collect()
    }

    /// Whether a member may lose an epoch to it.
    pub fn may_cost_an_epoch(self) -> bool {
        !matches!(
            self,
            Self::Reorg | Self::Slow | Self::ClockFast | Self::ClockSlow | Self::NewestFinal | Self::WrongNonce | Self::NoReceipt
        )
    }

    /// Whether a member in it may neither hold what others reveal in time nor say so: the chain is not asked for that.
    fn may_cost_a_vote(self) -> bool {
        self.may_cost_an_epoch() && !matches!(self, Self::HeadHeld | Self::OldAnswers | Self::Dropped | Self::Delayed)
    }

    /// Felt only by whoever sends a transaction meanwhile, which is not known in advance.
    fn hits_who_sends(self) -> bool {
        matches!(self, Self::WrongNonce | Self::NoReceipt)
    }
}

impl Draw<'_> {
    /// All events in order of time. In every epoch: two members are killed somewhere and start again; one is crippled, from the middle of
    /// the epoch to its close; one is hindered; around the close some are cut off; while the report is posted one has a bad RPC; and the
    /// chain is reorganised once. Every kind has its turn if there are four epochs or more. Whoever is killed, crippled or cut off around one
    /// close is of the same few, no more than the protocol bears, but when three are cut off.
    pub fn events(&self) -> Vec<Event> {
        let mut schedule =
            Schedule { stream: Stream::new(&[b"assay.chaos.v3", &self.seed.to_be_bytes()]), busy: BTreeMap::new(), events: Vec::new() };
        let [closing, crippling, hindering, posting] = [&CLOSING[..], &CRIPPLING, &HINDERING, &POSTING]
            .map(|lane| schedule.shuffled(lane.iter().copied().filter(|kind| self.kinds.contains(kind))));
        let all: Vec<usize> = (0..self.members).collect();
        // In another order for each close; the first few are those whom it hits.
        let orders: Vec<Vec<usize>> = (0..self.epochs).map(|_| schedule.shuffled(all.iter().copied())).collect();
        let few = bearable(self.members);
        for (epoch, order) in (0..self.epochs).zip(&orders) {
            let (start, end) = (epoch * self.epoch_ms, (epoch + 1) * self.epoch_ms);
            let (victims, others) = order.split_at(few);
            for kind in self.turn(&crippling, epoch) {
                schedule.one(victims, kind, start + 11_000, end + CLOSE_MS);
            }
            for kind in self.turn(&hindering, epoch) {
                schedule.one(others, kind, start + 2_000, end + CLOSE_MS);
            }
            // It lasts into the next epoch, whose victims are kept free.
            let posters = orders.get(epoch as usize + 1).map_or(&all[..], |next| &next[few..]);
            let posting = self.turn(&posting, epoch);
            let length = POSTING_MS / posting.len().max(1) as u64;
            for (kind, from) in posting.into_iter().zip((end + 3_000..).step_by(usize::try_from(length).unwrap_or(usize::MAX))) {
                match kind.hits_who_sends() {
                    // As long as it takes until somebody sends, even if the report is late: it hits one alone.
                    true => schedule.add(kind, Vec::new(), end, end + self.epoch_ms),
                    false => schedule.one(posters, kind, from, from + length),
                }
            }
            for kind in self.turn(&closing, epoch) {
                let three = kind == FaultKind::MajoritySplit || (kind == FaultKind::Deaf && epoch % 3 == 2);
                let from = end - EARLY_MS + schedule.below(5_000);
                let until = from + 3_000 + schedule.below(4_000);
                let members = order.iter().copied().take(if three { few_more(self.members) } else { few }).collect();
                schedule.add(kind, members, from, until);
            }
            if self.kinds.contains(&FaultKind::Kill) {
                for _ in 0..KILLS_PER_EPOCH {
                    let from = start + schedule.below(self.epoch_ms);
                    let until = from + 1_000 + schedule.below(4_000);
                    let at_the_last_close = epoch.checked_sub(1).filter(|_| from < start + CLOSE_MS);
                    let hit = at_the_last_close.or((until + EARLY_MS >= end).then_some(epoch)).and_then(|epoch| orders.get(epoch as usize));
                    schedule.one(hit.map_or(&all, |order| &order[..few]), FaultKind::Kill, from, until);
                }
            }
            if self.kinds.contains(&FaultKind::Reorg) {
                let at_ms = start + schedule.below(self.epoch_ms);
                schedule.events.push(Event { at_ms, act: Act::Begin, kind: FaultKind::Reorg, members: Vec::new() });
            }
        }
        if self.kinds.contains(&FaultKind::LongSplit) {
            let end = (LOST_EPOCH + 1) * self.epoch_ms;
            let apart = schedule.shuffled(all).into_iter().take(few_more(self.members)).collect();
            schedule.add(FaultKind::LongSplit, apart, end - EARLY_MS, end + self.valid_epochs * self.epoch_ms + LATE_MS);
        }
        schedule.events.sort();
        schedule.events
    }

    /// The kinds whose turn it is.
    fn turn(&self, lane: &[FaultKind], epoch: u64) -> Vec<FaultKind> {
        let each = (lane.len() as u64).div_ceil(self.epochs.max(1));
        (epoch * each..(epoch + 1) * each)
            .filter_map(|at| lane.get(usize::try_from(at % lane.len().max(1) as u64).ok()?))
            .copied()
            .collect()
    }
}

struct Schedule {
    stream: Stream,
    /// Until when each member has a fault of its own. One at a time, or the end of one would end another.
    busy: BTreeMap<usize, Vec<(u64, u64)>>,
    events: Vec<Event>,
}

impl Schedule {
    fn below(&mut self, bound: u64) -> u64 {
        self.stream.below(bound)
    }

    fn shuffled<T>(&mut self, items: impl IntoIterator<Item = T>) -> Vec<T> {
        let mut items: Vec<T> = items.into_iter().collect();
        for at in (1..items.len()).rev() {
            let other = usize::try_from(self.below(at as u64 + 1)).unwrap_or(at);
            items.swap(at, other);
        }
        items
    }

    /// A fault of one of these members that has no other meanwhile; none if all have one.
    fn one(&mut self, members: &[usize], kind: FaultKind, from: u64, until: u64) {
        let order = self.shuffled(members.iter().copied());
        let is_free =
            |member: &usize| self.busy.get(member).is_none_or(|spans| spans.iter().all(|(begin, end)| until < *begin || *end < from));
        if let Some(member) = order.into_iter().find(is_free) {
            self.busy.entry(member).or_default().push((from, until));
            self.add(kind, vec![member], from, until);
        }
    }

    fn add(&mut self, kind: FaultKind, members: Vec<usize>, from: u64, until: u64) {
        self.events.push(Event { at_ms: from, act: Act::Begin, kind, members: members.clone() });
        self.events.push(Event { at_ms: until, act: Act::End, kind, members });
    }
}

/// How many of a committee of equal members may be faulty.
fn bearable(members: usize) -> usize {
    members.saturating_sub(1) / 3
}

/// So many that the others are no quorum.
fn few_more(members: usize) -> usize {
    bearable(members) + 1
}

/// Whether no side of a split had a quorum for as long as an epoch's report could be accepted.
pub fn is_lost(events: &[Event], epoch: u64, epoch_ms: u64, valid_epochs: u64) -> bool {
    let end = (epoch + 1) * epoch_ms;
    spans(events).any(|span| span.kind == FaultKind::LongSplit && span.from <= end && span.until >= end + valid_epochs * epoch_ms)
}

/// Whether no more members than the protocol bears were hit while an epoch was closed, so that whoever was not has a reveal that counts.
pub fn is_bearable(events: &[Event], epoch: u64, epoch_ms: u64, members: usize) -> bool {
    let end = (epoch + 1) * epoch_ms;
    let hit: BTreeSet<usize> = spans(events)
        .filter(|span| span.kind.may_cost_a_vote() && span.from < end + CLOSE_MS && span.until + EARLY_MS > end)
        .map(|span| span.member)
        .collect();
    hit.len() <= bearable(members)
}

/// Members to whom something happened, while an epoch was measured and closed, that may have cost them the epoch.
pub fn disturbed(events: &[Event], epoch: u64, epoch_ms: u64) -> BTreeSet<usize> {
    let (start, end) = (epoch * epoch_ms, (epoch + 1) * epoch_ms + CLOSE_MS);
    let costs = |span: &Span| {
        // What ended a little before the epoch may still be felt at its start. Whoever was gone longer than an epoch listens through the one
        // in which it comes back before it speaks again.
        let listens = span.kind == FaultKind::Kill && span.until - span.from >= epoch_ms;
        let over_ms = if listens { (span.until / epoch_ms + 1) * epoch_ms } else { span.until };
        span.kind.may_cost_an_epoch() && span.from < end && over_ms + CLOSE_MS > start
    };
    spans(events).filter(costs).map(|span| span.member).collect()
}

/// A fault of one member from its beginning to its end, in milliseconds after genesis.
struct Span {
    kind: FaultKind,
    member: usize,
    from: u64,
    until: u64,
}

fn spans(events: &[Event]) -> impl Iterator<Item = Span> {
    let mut since: BTreeMap<(FaultKind, usize), u64> = BTreeMap::new();
    let acts = events.iter().flat_map(|event| event.members.iter().map(move |member| (event, *member)));
    acts.filter_map(move |(event, member)| match event.act {
        Act::Begin => {
            since.insert((event.kind, member), event.at_ms);
            None
        }
        Act::End => {
            let from = since.remove(&(event.kind, member)).unwrap_or(event.at_ms);
            Some(Span { kind: event.kind, member, from, until: event.at_ms })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(seed: u64, epochs: u64, kinds: &BTreeSet<FaultKind>) -> Vec<Event> {
        Draw { seed, epochs, epoch_ms: 25_000, valid_epochs: 3, members: 7, kinds }.events()
    }

    fn drawn(seed: u64, epochs: u64) -> Vec<Event> {
        draw(seed, epochs, &FaultKind::passing())
    }

    #[test]
    fn every_kind_has_its_turn_and_every_fault_its_end() {
        for (seed, epochs) in (0..50).flat_map(|seed| [(seed, 4), (seed, 50)]) {
            let events = drawn(seed, epochs);
            let kinds: BTreeSet<FaultKind> = events.iter().map(|event| event.kind).collect();
            assert_eq!(kinds, FaultKind::passing(), "seed {seed}");
            for begin in events.iter().filter(|event| event.act == Act::Begin && event.kind != FaultKind::Reorg) {
                let ends =
                    |end: &&Event| end.act == Act::End && end.kind == begin.kind && end.members == begin.members && end.at_ms > begin.at_ms;
                assert!(events.iter().any(|end| ends(&end)), "seed {seed}: {begin:?}");
            }
        }
    }

    #[test]
    fn what_happens_around_a_close_is_bearable_but_when_three_are_cut_off() {
        for seed in 0..50 {
            let events = drawn(seed, 50);
            for epoch in 0..50 {
                let close = (epoch + 1) * 25_000 - EARLY_MS..(epoch + 1) * 25_000 + CLOSE_MS;
                let cut_off = events.iter().filter(|event| close.contains(&event.at_ms)).map(|event| event.members.len()).max();
                assert_eq!(is_bearable(&events, epoch, 25_000, 7), cut_off <= Some(2), "seed {seed}, epoch {epoch}");
            }
        }
    }

    #[test]
    fn more_than_two_of_seven_around_a_close_are_too_many() {
        let at = |at_ms, act, member| Event { at_ms, act, kind: FaultKind::Kill, members: vec![member] };
        let hit = |members: &[usize]| {
            let events: Vec<Event> =
                members.iter().flat_map(|member| [at(24_500, Act::Begin, *member), at(26_000, Act::End, *member)]).collect();
            is_bearable(&events, 0, 25_000, 7)
        };
        assert!(hit(&[1, 5]));
        assert!(!hit(&[1, 5, 6]));
        assert!(is_bearable(&[at(10_000, Act::Begin, 1), at(12_000, Act::End, 1)], 0, 25_000, 1));
    }

    #[test]
    fn a_long_split_costs_one_epoch() {
        let events = draw(1, 6, &BTreeSet::from([FaultKind::LongSplit]));
        assert_eq!(events[0].members.len(), 3);
        let lost = |events: &[Event]| (0..6).filter(|epoch| is_lost(events, *epoch, 25_000, 3)).collect::<Vec<_>>();
        assert_eq!(lost(&events), [LOST_EPOCH]);
        assert_eq!(lost(&drawn(1, 6)), [] as [u64; 0]);
    }

    #[test]
    fn a_seed_gives_one_schedule() {
        assert_eq!(drawn(7, 6), drawn(7, 6));
        assert_ne!(drawn(7, 6), drawn(8, 6));
    }

    #[test]
    fn only_who_was_hit_around_an_epoch_is_excused() {
        let at = |at_ms, act| Event { at_ms, act, kind: FaultKind::Kill, members: vec![3] };
        let events = [at(30_000, Act::Begin), at(32_000, Act::End)];
        assert_eq!(disturbed(&events, 0, 25_000), BTreeSet::from([3]));
        assert_eq!(disturbed(&events, 1, 25_000), BTreeSet::from([3]));
        assert_eq!(disturbed(&events, 2, 25_000), BTreeSet::new());

        // Gone longer than an epoch: it listens through epoch 2.
        let events = [at(30_000, Act::Begin), at(56_000, Act::End)];
        let excused: Vec<u64> = (0..6).filter(|epoch| !disturbed(&events, *epoch, 25_000).is_empty()).collect();
        assert_eq!(excused, [0, 1, 2, 3]);
    }
}
