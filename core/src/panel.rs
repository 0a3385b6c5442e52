//! Panels: which oracles measure a provider in an epoch. Public, re-derivable, unknown before the beacon.

use std::collections::BTreeMap;

use crate::challenge::Stream;
use crate::hash::Hash32;
use crate::ids::{Address, OracleId, ProviderId};

/// An oracle as the draw sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Registration id.
    pub oracle: OracleId,
    /// Stake weight in the committee set.
    pub weight: u16,
    /// Owner: at most one oracle of each enters a panel.
    pub operator: Address,
    /// Network group (autonomous system or prefix): bounded by the parameters.
    pub network_group: u64,
}

/// Draws up to `size` oracles for a provider, by stake and without replacement; ascending ids.
///
/// A drawn oracle that would break a diversity bound is set aside for good. `group_limit` 0 means no bound on groups.
pub fn draw(seed: &Hash32, provider: ProviderId, candidates: &[Candidate], size: u32, group_limit: u32) -> Vec<OracleId> {
    let mut left: Vec<Candidate> = candidates.to_vec();
    left.sort_unstable_by_key(|candidate| candidate.oracle);
    let mut stream = Stream::new(&[b"assay.panel.v1", seed.as_bytes(), &provider.0.to_be_bytes()]);
    let mut panel: Vec<Candidate> = Vec::new();
    let mut groups: BTreeMap<u64, u32> = BTreeMap::new();
    while !left.is_empty() && panel.len() < usize::try_from(size).unwrap_or(usize::MAX) {
        let total: u64 = left.iter().map(|candidate| u64::from(candidate.weight)).sum();
        let mut ticket = stream.below(total);
        let position = left
            .iter()
            .position(|candidate| {
                let weight = u64::from(candidate.weight);
                let hit = ticket < weight;
                ticket = ticket.saturating_sub(weight);
                hit
            })
            .unwrap_or(0);
        let drawn = left.remove(position);
        let in_group = groups.entry(drawn.network_group).or_default();
        let same_operator = panel.iter().any(|member| member.operator == drawn.operator);
        if same_operator || (group_limit > 0 && *in_group >= group_limit) {
            continue;
        }
        *in_group = in_group.saturating_add(1);
        panel.push(drawn);
    }
    let mut ids: Vec<OracleId> = panel.into_iter().map(|member| member.oracle).collect();
    ids.sort_unstable();
    ids
}

/// The most liars a panel of `size` withstands: ⌊(k−1)/3⌋.
pub fn faulty(size: usize) -> usize {
    size.saturating_sub(1) / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(count: u64) -> Vec<Candidate> {
        (1..=count)
            .map(|id| Candidate { oracle: OracleId(id), weight: 100, operator: Address([id as u8; 20]), network_group: id % 4 })
            .collect()
    }

    fn seed(number: u64) -> Hash32 {
        crate::hash::keccak([&number.to_be_bytes()])
    }

    #[test]
    fn a_small_network_measures_with_everybody() {
        assert_eq!(draw(&seed(1), ProviderId(1), &candidates(4), 7, 0), (1..=4).map(OracleId).collect::<Vec<_>>());
    }

    #[test]
    fn seats_follow_stake() {
        let mut members = candidates(8);
        members[0].weight = 300;
        let seats = (0..4_000).filter(|n| draw(&seed(*n), ProviderId(1), &members, 1, 0) == [OracleId(1)]).count();
        assert!((1_110..1_290).contains(&seats), "300 of 1000 by weight: {seats}");
    }

    // Defence: the operator and group bounds. Without them one owner of many oracles fills a panel.
    #[test]
    fn one_operator_or_group_cannot_fill_a_panel() {
        let mut members = candidates(12);
        for member in &mut members[..5] {
            member.operator = Address([99; 20]);
        }
        for n in 0..200 {
            let panel = draw(&seed(n), ProviderId(3), &members, 7, 2);
            assert!(panel.iter().filter(|id| id.0 <= 5).count() <= 1);
            for group in 0..4 {
                assert!(panel.iter().filter(|id| id.0 % 4 == group).count() <= 2);
            }
        }
    }

    #[test]
    fn panels_differ_between_providers_and_epochs() {
        let members = candidates(40);
        let base = draw(&seed(1), ProviderId(1), &members, 7, 0);
        assert_eq!(base, draw(&seed(1), ProviderId(1), &members, 7, 0));
        assert_ne!(base, draw(&seed(1), ProviderId(2), &members, 7, 0));
        assert_ne!(base, draw(&seed(2), ProviderId(1), &members, 7, 0));
    }
}
