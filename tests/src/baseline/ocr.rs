//! Chainlink's OCR: observations go to a leader in clear; it proposes a quorum of 2f + 1 of them, and the contract takes the median of
//! what it is given, element n/2 of the sorted list.

/// The number that a quorum's observations publish. `None` of none.
pub fn published(quorum: &[u64]) -> Option<u64> {
    let mut sorted = quorum.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

/// The largest number that a leader can publish when it chooses `quorum` of the observations after it has seen them all: that of the
/// largest ones. `None` when there are fewer than a quorum.
pub fn highest_by_leader(observations: &[u64], quorum: usize) -> Option<u64> {
    let mut sorted = observations.to_vec();
    sorted.sort_unstable();
    published(sorted.get(sorted.len().checked_sub(quorum)?..)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_element_n_half() {
        assert_eq!(published(&[9, 1, 5]), Some(5));
        assert_eq!(published(&[4, 3, 2, 1]), Some(3));
        assert_eq!(published(&[]), None);
    }

    #[test]
    fn a_leader_with_two_liars_of_seven_publishes_the_highest_honest_number() {
        assert_eq!(highest_by_leader(&[10, 50, 20, 40, 30, u64::MAX, u64::MAX], 5), Some(50));
    }

    #[test]
    fn a_leader_alone_already_shifts_the_median() {
        assert_eq!(published(&[1, 2, 3, 4, 5, 6, 7]), Some(4));
        assert_eq!(highest_by_leader(&[1, 2, 3, 4, 5, 6, 7], 5), Some(5));
        assert_eq!(highest_by_leader(&[1, 2], 3), None);
    }

    #[test]
    fn no_choice_of_a_quorum_publishes_more() {
        for seed in 0..50u64 {
            let observations: Vec<u64> = (0..9).map(|place| (seed * 37 + place * 101) % 23).collect();
            for quorum in 1..=9 {
                let chosen =
                    |mask: u32| -> Vec<u64> { (0..9).filter(|place| mask >> place & 1 == 1).map(|place| observations[place]).collect() };
                let best =
                    (0..1u32 << 9).filter(|mask| mask.count_ones() as usize == quorum).filter_map(|mask| published(&chosen(mask))).max();
                assert_eq!(highest_by_leader(&observations, quorum), best);
            }
        }
    }
}
