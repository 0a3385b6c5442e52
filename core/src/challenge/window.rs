//! Bandwidth windows: when which panel member loads a provider's line. Public as soon as the slot's beacon is, so that every member can
//! leave the window out of its own latency samples, and never two at once on one provider.

use super::Stream;
use crate::hash::Hash32;
use crate::ids::{OracleId, ProviderId};
use crate::params::Params;

/// One member's window on one provider, in microseconds from the slot's start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Who tests.
    pub oracle: OracleId,
    /// Both directions start.
    pub start_us: u64,
    /// Both have ended, what was in flight included.
    pub end_us: u64,
}

impl Window {
    /// Whether other traffic at that time would meet the window: from a guard before it to its end.
    pub fn covers(&self, at_us: u64, guard_us: u64) -> bool {
        self.start_us.saturating_sub(guard_us) <= at_us && at_us < self.end_us
    }
}

/// The windows of a provider's panel in one slot, in order of time.
///
/// The panel is shuffled by the epoch's seed; position j has its window in slot `j mod slots`. The slot is cut into as many equal parts
/// as it has windows, and the slot's own seed draws each start within its part, so that nobody knows it before the slot begins. A part
/// that is too short for a window has none.
pub fn windows(epoch_seed: &Hash32, slot_seed: &Hash32, slot: u32, provider: ProviderId, panel: &[OracleId], params: &Params) -> Vec<Window> {
    let id = provider.0.to_be_bytes();
    let mut shuffle = Stream::new(&[b"assay.windows.v1", epoch_seed.as_bytes(), &id]);
    let mut order: Vec<(u64, OracleId)> = panel.iter().map(|oracle| (shuffle.word(), *oracle)).collect();
    order.sort_unstable();
    let slots = usize::try_from(params.slots).unwrap_or(usize::MAX).max(1);
    let skipped = usize::try_from(slot).unwrap_or(usize::MAX);
    let testers: Vec<OracleId> = order.into_iter().map(|(_, oracle)| oracle).skip(skipped).step_by(slots).collect();

    let micros = |ms: u64| ms.saturating_mul(1_000);
    let bandwidth = &params.bandwidth;
    let (lead_us, length_us) = (micros(bandwidth.lead_ms), micros(bandwidth.window_ms));
    let parts = testers.len() as u64;
    let Some(part_us) = micros(params.slot_ms).saturating_sub(lead_us).checked_div(parts) else { return Vec::new() };
    if length_us == 0 || part_us < length_us {
        return Vec::new();
    }
    let mut starts = Stream::new(&[b"assay.window.v1", slot_seed.as_bytes(), &id]);
    (0u64..)
        .zip(testers)
        .map(|(part, oracle)| {
            let room_us = part_us.saturating_sub(length_us).saturating_add(1);
            let start_us = lead_us.saturating_add(part.saturating_mul(part_us)).saturating_add(starts.below(room_us));
            Window { oracle, start_us, end_us: start_us.saturating_add(length_us) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(size: u64) -> Vec<OracleId> {
        (1..=size).map(OracleId).collect()
    }

    fn of_epoch(seed: u8, provider: u64, size: u64, params: &Params) -> Vec<Vec<Window>> {
        let slots = 0..params.slots;
        let slot_seed = |slot: u32| Hash32([seed.wrapping_add(slot as u8).wrapping_add(1); 32]);
        slots
            .map(|slot| windows(&Hash32([seed; 32]), &slot_seed(slot), slot, ProviderId(provider), &panel(size), params))
            .collect()
    }

    // Defence: the parts of `windows`. Without them two members load one provider at once and each blames it for the other's bytes.
    #[test]
    fn windows_on_one_provider_never_meet_and_every_member_has_one() {
        let params = Params::devnet();
        for size in [1, 4, 5, 7, 15] {
            for seed in 0..50 {
                let epoch = of_epoch(seed, 3, size, &params);
                let mut testers: Vec<OracleId> = epoch.iter().flatten().map(|window| window.oracle).collect();
                testers.sort_unstable();
                assert_eq!(testers, panel(size), "{size} members");
                for slot in &epoch {
                    assert!(slot.windows(2).all(|pair| pair[0].end_us <= pair[1].start_us));
                    let slot_us = params.slot_ms * 1_000;
                    assert!(slot.iter().all(|w| w.start_us >= params.bandwidth.lead_ms * 1_000 && w.end_us <= slot_us));
                }
            }
        }
    }

    #[test]
    fn windows_are_drawn_by_slot_and_provider() {
        let params = Params::devnet();
        assert_ne!(of_epoch(1, 3, 5, &params), of_epoch(2, 3, 5, &params));
        assert_ne!(of_epoch(1, 3, 5, &params), of_epoch(1, 4, 5, &params));
        let mut crowded = params.clone();
        crowded.slots = 1;
        assert!(of_epoch(1, 3, 7, &crowded).concat().is_empty(), "no room, no window");
        assert!(of_epoch(1, 3, 0, &params).concat().is_empty());
    }

    #[test]
    fn a_guard_stands_before_a_window_and_none_behind() {
        let window = Window { oracle: OracleId(1), start_us: 1_000, end_us: 2_000 };
        assert!(window.covers(900, 100) && window.covers(1_999, 100));
        assert!(!window.covers(899, 100) && !window.covers(2_000, 100));
    }
}
