//! Counts of all kinds in one string of varints: whoever closes an epoch holds hundreds of thousands of observations.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::challenge::{ChallengeKind, Kind, Kinds};

/// What one oracle counted of one kind of challenge. The kind says what a ground (a way to be bad) and a reading (a figure for people) is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Counts {
    /// The kind.
    pub kind: Kind,
    /// What the VRFs schedule.
    pub scheduled: u64,
    /// What was asked without a fault of the oracle's own; never more than scheduled.
    pub counted: u64,
    /// Bad events by ground; each is at most `counted`.
    pub bad: Vec<u64>,
    /// For reading only.
    pub readings: Vec<u64>,
}

impl Counts {
    /// Nothing counted of what is scheduled.
    pub fn none(plug: &dyn ChallengeKind, scheduled: u64) -> Self {
        let (grounds, readings) = plug.arity();
        Self { kind: plug.kind(), scheduled, counted: 0, bad: vec![0; grounds], readings: vec![0; readings] }
    }

    /// Bad events on one ground; 0 for a ground that the kind does not have.
    pub fn bad_on(&self, ground: usize) -> u64 {
        self.bad.get(ground).copied().unwrap_or(0)
    }

    /// One reading; 0 for one that the kind does not have.
    pub fn reading(&self, index: usize) -> u64 {
        self.readings.get(index).copied().unwrap_or(0)
    }
}

/// An observation's counts, a list that is packed until somebody looks at it as one: 60 to 80 bytes instead of a thousand.
///
/// It reads and changes like a `Vec<Counts>`. Looking at it keeps an unpacked copy beside the bytes; what walks over many observations
/// takes the numbers ([`CountsList::numbers`]) or a copy ([`CountsList::to_vec`]) instead. A changed list stays unpacked until it is
/// cloned.
#[derive(Default)]
#[allow(clippy::box_collection)]
pub struct CountsList {
    /// `None` once the list was changed: then `changed` is what counts.
    packed: Option<Box<[u8]>>,
    /// Boxed, as the next: nearly all lists have neither, and should not be larger for it.
    looked_at: OnceLock<Box<Vec<Counts>>>,
    changed: Option<Box<Vec<Counts>>>,
}

impl CountsList {
    /// A copy of the list.
    pub fn to_vec(&self) -> Vec<Counts> {
        match &self.packed {
            Some(bytes) => unpacked(bytes),
            None => self.changed.as_deref().cloned().unwrap_or_default(),
        }
    }

    /// All numbers in the order of the observation's words: how many kinds, then per kind `kind, scheduled, counted, n, bad…, n, readings…`.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let bytes = self.bytes();
        // Most take one byte.
        let mut numbers = Vec::with_capacity(bytes.len());
        let mut rest = &*bytes;
        while !rest.is_empty() {
            numbers.push(take(&mut rest));
        }
        numbers
    }

    /// Whether there is exactly one entry for every kind, in their order, and the counts can be true at all.
    pub(super) fn are_of(&self, kinds: Kinds) -> bool {
        let numbers = self.numbers();
        let mut plugs = kinds.iter();
        let all = tallies(&numbers).all(|tally| plugs.next().is_some_and(|plug| tally.is_of(plug)));
        all && plugs.next().is_none()
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.packed {
            Some(bytes) => Cow::Borrowed(bytes),
            None => Cow::Owned(packed(self)),
        }
    }
}

/// One kind's counts within an observation's numbers.
#[derive(Clone, Copy)]
pub(crate) struct Tally<'a> {
    pub kind: Kind,
    pub scheduled: u64,
    pub counted: u64,
    pub bad: &'a [u64],
    pub readings: &'a [u64],
}

impl Tally<'_> {
    pub fn bad_on(&self, ground: usize) -> u64 {
        self.bad.get(ground).copied().unwrap_or(0)
    }

    pub fn reading(&self, index: usize) -> u64 {
        self.readings.get(index).copied().unwrap_or(0)
    }

    fn is_of(&self, plug: &dyn ChallengeKind) -> bool {
        self.kind == plug.kind()
            && (self.bad.len(), self.readings.len()) == plug.arity()
            && self.counted <= self.scheduled
            && self.bad.iter().all(|bad| *bad <= self.counted)
    }
}

/// The counts within [`CountsList::numbers`], in their order.
pub(crate) fn tallies(numbers: &[u64]) -> impl Iterator<Item = Tally<'_>> {
    let mut rest = numbers.get(1..).unwrap_or(&[]);
    std::iter::from_fn(move || {
        let ([kind, scheduled, counted], lists) = rest.split_first_chunk()?;
        let (bad, lists) = list(lists)?;
        let (readings, others) = list(lists)?;
        rest = others;
        Some(Tally { kind: Kind(u8::try_from(*kind).ok()?), scheduled: *scheduled, counted: *counted, bad, readings })
    })
}

fn list(numbers: &[u64]) -> Option<(&[u64], &[u64])> {
    let (length, rest) = numbers.split_first()?;
    rest.split_at_checked(usize::try_from(*length).ok()?)
}

fn packed(list: &[Counts]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, list.len() as u64);
    for counts in list {
        [u64::from(counts.kind.0), counts.scheduled, counts.counted].into_iter().for_each(|number| put(&mut bytes, number));
        for values in [&counts.bad, &counts.readings] {
            put(&mut bytes, values.len() as u64);
            values.iter().for_each(|number| put(&mut bytes, *number));
        }
    }
    bytes
}

fn unpacked(bytes: &[u8]) -> Vec<Counts> {
    let numbers = CountsList { packed: Some(bytes.into()), ..CountsList::default() }.numbers();
    tallies(&numbers)
        .map(|Tally { kind, scheduled, counted, bad, readings }| Counts {
            kind,
            scheduled,
            counted,
            bad: bad.to_vec(),
            readings: readings.to_vec(),
        })
        .collect()
}

/// Seven bits a byte, the lowest first; all but the last have the top bit.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number as u8) | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> u64 {
    let mut number = 0u64;
    for shift in (0..u64::BITS).step_by(7) {
        let Some((byte, rest)) = bytes.split_first() else { break };
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            break;
        }
    }
    number
}

impl From<Vec<Counts>> for CountsList {
    fn from(list: Vec<Counts>) -> Self {
        // Copied, not shrunk: what a shrunk string leaves behind is too small for the next one.
        Self { packed: Some(packed(&list).as_slice().into()), ..Self::default() }
    }
}

impl FromIterator<Counts> for CountsList {
    fn from_iter<I: IntoIterator<Item = Counts>>(list: I) -> Self {
        Vec::from_iter(list).into()
    }
}

impl Deref for CountsList {
    type Target = Vec<Counts>;

    fn deref(&self) -> &Vec<Counts> {
        static EMPTY: Vec<Counts> = Vec::new();
        match &self.packed {
            Some(bytes) => self.looked_at.get_or_init(|| Box::new(unpacked(bytes))),
            None => self.changed.as_deref().unwrap_or(&EMPTY),
        }
    }
}

impl DerefMut for CountsList {
    fn deref_mut(&mut self) -> &mut Vec<Counts> {
        if let Some(bytes) = self.packed.take() {
            self.changed = self.looked_at.take().or_else(|| Some(Box::new(unpacked(&bytes))));
        }
        self.changed.get_or_insert_default()
    }
}

impl<'a> IntoIterator for &'a CountsList {
    type Item = &'a Counts;
    type IntoIter = std::slice::Iter<'a, Counts>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut CountsList {
    type Item = &'a mut Counts;
    type IntoIter = std::slice::IterMut<'a, Counts>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl Clone for CountsList {
    fn clone(&self) -> Self {
        Self { packed: Some(self.bytes().as_ref().into()), ..Self::default() }
    }
}

impl PartialEq for CountsList {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for CountsList {}

impl fmt::Debug for CountsList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_vec().fmt(f)
    }
}

impl Serialize for CountsList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_vec().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CountsList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(kind: u8, scheduled: u64, bad: &[u64], readings: &[u64]) -> Counts {
        Counts { kind: Kind(kind), scheduled, counted: scheduled / 2, bad: bad.to_vec(), readings: readings.to_vec() }
    }

    #[test]
    fn any_list_comes_back_from_its_bytes() {
        let edges: Vec<u64> = (0..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, u64::MAX >> bit]).collect();
        for list in [
            vec![],
            vec![counts(0, 0, &[], &[])],
            vec![counts(255, u64::MAX, &edges, &[]), counts(1, 127, &[], &edges), counts(1, 128, &[7], &[9, 10])],
        ] {
            let packed = CountsList::from(list.clone());
            assert_eq!(packed.to_vec(), list);
            assert_eq!(*packed, list);
            assert_eq!(packed.clone(), packed);
            let json = serde_json::to_value(&packed).unwrap();
            assert_eq!(json, serde_json::to_value(&list).unwrap(), "the form of a plain list");
            assert_eq!(serde_json::from_value::<CountsList>(json).unwrap(), packed);
        }
    }

    // Defence: a change takes the packed bytes away. With them left in place a list says one thing and hashes as another.
    #[test]
    fn a_changed_list_is_what_it_was_changed_to() {
        let mut list = CountsList::from(vec![counts(1, 10, &[1], &[])]);
        let before = (list.clone(), list.numbers());
        assert_eq!(list[0].scheduled, 10);
        list[0].scheduled = 1_000;
        assert_ne!((&list, list.numbers()), (&before.0, before.1));
        assert_eq!((list.numbers()[2], list.clone()[0].scheduled, list.to_vec()[0].scheduled), (1_000, 1_000, 1_000));
        list.push(counts(2, 4, &[], &[3]));
        assert_eq!((list.len(), list.numbers()[0]), (2, 2));
        list.clear();
        assert_eq!((list.clone(), list.numbers()), (CountsList::from(vec![]), vec![0]));
    }

    #[test]
    fn a_default_list_is_empty() {
        assert_eq!((CountsList::default(), CountsList::default().numbers()), (CountsList::from(vec![]), vec![0]));
    }
}
