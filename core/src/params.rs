//! The protocol's parameters: one value, hashed into every report.
//!
//! Times are milliseconds, shares are parts per million (ppm), amounts are the token's smallest unit.

use serde::{Deserialize, Serialize};

use crate::abi::Words;
use crate::hash::Hash32;

/// One million: the whole of a share in ppm.
pub const PPM: u64 = 1_000_000;

/// One token with 18 decimals.
pub const TOKEN: u128 = 1_000_000_000_000_000_000;

/// Deadlines after an epoch's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// Commits held later than this do not count.
    pub commit_ms: u64,
    /// Reveals are due.
    pub reveal_ms: u64,
    /// Bit-votes are due; the leader proposes with what it has.
    pub bit_vote_ms: u64,
    /// View 0 ends.
    pub sign_ms: u64,
    /// The report should be on chain.
    pub post_ms: u64,
}

/// When and how often a pair (oracle, provider) meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probing {
    /// Mean gap of the availability process.
    pub availability_mean_ms: u64,
    /// First retry after a failed availability probe, counted from its start.
    pub retry_first_ms: u64,
    /// Second retry, counted likewise.
    pub retry_second_ms: u64,
    /// Mean gap of the latency process.
    pub latency_mean_ms: u64,
    /// Share of latency probes that ask for a stored chunk.
    pub block_share_ppm: u64,
    /// Storage audits in each slot.
    pub storage_audits_per_slot: u32,
    /// One storage audit in so many asks for slices, whatever tags there are: [`crate::challenge::compact::SLICES_ONE_IN`] by default.
    pub slices_one_in: u32,
    /// An answer to an availability or latency probe later than this is none.
    pub answer_timeout_ms: u64,
    /// An answer to a storage audit later than this is none.
    pub storage_timeout_ms: u64,
    /// A probe sent later than this after its time is the oracle's own error.
    pub send_slip_ms: u64,
    /// A gap of the oracle's watchdog above this voids the samples it overlaps.
    pub stall_ms: u64,
    /// Above this share of its own errors an oracle has no vote on a provider.
    pub oracle_error_limit_ppm: u64,
    /// Below this share of counted probes an oracle has no vote on a dimension.
    pub coverage_ppm: u64,
}

/// How a provider's line is loaded in a bandwidth window. Both directions run at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// Length of a window, both directions and what is still in flight at their end included.
    pub window_ms: u64,
    /// No window starts earlier in a slot: the slot's beacon has to be seen first.
    pub lead_ms: u64,
    /// Nothing that a window would disturb is asked so shortly before one.
    pub guard_ms: u64,
    /// New bytes are offered for so long; the rest of the window is for what is in flight.
    pub send_ms: u64,
    /// Slices that begin earlier are the ramp and are not judged.
    pub ramp_ms: u64,
    /// Length of a slice.
    pub slice_ms: u64,
    /// Bytes in flight beyond the path's own are at most what the acknowledged rate carries in this time, in each direction's queue.
    pub in_flight_ms: u64,
    /// Offered rate as a share of the class's floor: what a line carries beyond it is not asked for.
    pub offered_ppm: u64,
    /// Most bytes of one direction of one window.
    pub max_bytes: u64,
}

/// Service levels of one class. A threshold of zero switches its dimension off.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Number in the registry.
    pub id: u16,
    /// Name shown to people.
    pub name: String,
    /// Weight of its rewards.
    pub weight_ppm: u64,
    /// Availability objective.
    pub availability_ppm: u64,
    /// Half of the probes answer within this.
    pub t50_us: u64,
    /// 95 % of the probes answer within this.
    pub t95_us: u64,
    /// 99 % of the probes answer within this.
    pub t99_us: u64,
    /// The line carries at least this towards the provider, kbit/s.
    pub floor_in_kbps: u64,
    /// The line carries at least this from the provider, kbit/s.
    pub floor_out_kbps: u64,
}

/// Everything the oracles must agree on before an epoch begins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Slots of an epoch.
    pub slots: u32,
    /// Length of a slot; the epoch's length is `slots · slot_ms`.
    pub slot_ms: u64,
    /// Allowed difference between two honest clocks.
    pub skew_ms: u64,
    /// Deadlines after the epoch's end.
    pub deadlines: Deadlines,
    /// Time after quorum in which missing signatures still save gas.
    pub signature_grace_ms: u64,
    /// The longest a view may last, however often it doubled.
    pub view_cap_ms: u64,
    /// Between two stages of transmitters.
    pub transmit_stage_ms: u64,
    /// A beacon round not seen this long after its time is replaced by the fallback.
    pub beacon_late_ms: u64,
    /// The reference block lies at least this long before the epoch.
    pub ref_block_lag_s: u64,
    /// Oracles that measure one provider.
    pub panel_size: u32,
    /// Most panel members of one network group; zero for no limit.
    pub panel_group_limit: u32,
    /// Probes.
    pub probing: Probing,
    /// Bandwidth windows.
    pub bandwidth: Bandwidth,
    /// A storage challenge that stays unanswered is asked again so long after its last ask, until the epoch ends.
    pub reask_ms: u64,
    /// Unanswered asks after which the whole panel takes a challenge over.
    pub strikes: u32,
    /// Design effect of correlated samples, in thousandths (2000 = every second sample counts).
    pub design_effect_milli: u64,
    /// Most facts one oracle reveals about one provider.
    pub facts_per_provider: u32,
    /// Service classes.
    pub classes: Vec<Class>,
    /// Reward of a provider of weight 1 for one epoch.
    #[serde(with = "crate::amount")]
    pub base_reward: u128,
    /// Reward of an oracle for one included reveal.
    #[serde(with = "crate::amount")]
    pub oracle_reward: u128,
    /// Slash for a proven storage fault, as a share of stake.
    pub storage_slash_ppm: u64,
    /// Epochs after its own in which a report may still be accepted.
    pub valid_epochs: u64,
}

impl Params {
    /// The devnet's parameters (`docs/protocol.md`; design section 7).
    pub fn devnet() -> Self {
        Self {
            slots: 5,
            slot_ms: 5_000,
            skew_ms: 250,
            deadlines: Deadlines { commit_ms: 2_000, reveal_ms: 4_000, bit_vote_ms: 6_000, sign_ms: 9_000, post_ms: 15_000 },
            signature_grace_ms: 1_000,
            view_cap_ms: 20_000,
            transmit_stage_ms: 3_000,
            beacon_late_ms: 3_000,
            ref_block_lag_s: 4,
            panel_size: 7,
            panel_group_limit: 0,
            probing: Probing {
                availability_mean_ms: 1_000,
                retry_first_ms: 300,
                retry_second_ms: 800,
                latency_mean_ms: 150,
                block_share_ppm: 200_000,
                storage_audits_per_slot: 1,
                slices_one_in: 2,
                answer_timeout_ms: 1_000,
                storage_timeout_ms: 1_500,
                send_slip_ms: 25,
                stall_ms: 25,
                oracle_error_limit_ppm: 200_000,
                coverage_ppm: 800_000,
            },
            bandwidth: Bandwidth {
                window_ms: 1_000,
                lead_ms: 500,
                guard_ms: 200,
                send_ms: 750,
                ramp_ms: 300,
                slice_ms: 100,
                in_flight_ms: 100,
                offered_ppm: 1_500_000,
                max_bytes: 64 * 1024 * 1024,
            },
            reask_ms: 2_000,
            strikes: 3,
            design_effect_milli: 2_000,
            facts_per_provider: 4,
            classes: vec![Class {
                id: 100,
                name: "devnet".into(),
                weight_ppm: PPM,
                availability_ppm: 990_000,
                t50_us: 100_000,
                t95_us: 200_000,
                t99_us: 0,
                floor_in_kbps: 20_000,
                floor_out_kbps: 20_000,
            }],
            base_reward: TOKEN.saturating_mul(100),
            oracle_reward: TOKEN.saturating_mul(10),
            storage_slash_ppm: 50_000,
            valid_epochs: 3,
        }
    }

    /// Length of an epoch.
    pub fn epoch_ms(&self) -> u64 {
        u64::from(self.slots).saturating_mul(self.slot_ms)
    }

    /// The class with this id.
    pub fn class(&self, id: u16) -> Option<&Class> {
        self.classes.iter().find(|class| class.id == id)
    }

    /// What contradicts itself, in words; `None` when the parameters can be used.
    pub fn contradiction(&self) -> Option<&'static str> {
        let d = &self.deadlines;
        let p = &self.probing;
        if self.slots == 0 || self.slot_ms == 0 {
            return Some("an epoch needs at least one slot of at least one millisecond");
        }
        if !self.epoch_ms().is_multiple_of(1_000) {
            return Some("an epoch must last whole seconds, because the contract counts seconds");
        }
        let reveal_opens = d.commit_ms.saturating_add(self.skew_ms.saturating_mul(2));
        if !(reveal_opens < d.reveal_ms
            && d.reveal_ms.saturating_add(self.skew_ms) < d.bit_vote_ms
            && d.bit_vote_ms < d.sign_ms
            && d.sign_ms < d.post_ms)
        {
            return Some("deadlines must rise: commit + 2 skews < reveal, reveal + skew < bit_vote < sign < post");
        }
        if self.ref_block_lag_s.saturating_mul(1_000) > self.epoch_ms() {
            return Some(
                "ref_block_lag_s must not exceed an epoch: the contract takes a retired committee's report only for epochs under way at the change",
            );
        }
        if p.availability_mean_ms == 0 || p.latency_mean_ms == 0 {
            return Some("probes need a mean gap of at least one millisecond");
        }
        let b = &self.bandwidth;
        if !(b.slice_ms > 0 && b.ramp_ms.saturating_add(b.slice_ms.saturating_mul(3)) <= b.send_ms && b.send_ms < b.window_ms) {
            return Some(
                "a bandwidth window needs its ramp, three slices behind it, and time for what is in flight: ramp + 3 slices <= send < window",
            );
        }
        if b.max_bytes > crate::challenge::kinds::bandwidth::MAX_TEST_BYTES {
            return Some("a bandwidth test has at most 1 GiB");
        }
        if self.strikes == 0 || self.reask_ms == 0 {
            return Some("an unanswered challenge needs at least one strike and one millisecond between its asks");
        }
        if p.block_share_ppm > PPM || p.coverage_ppm > PPM || p.oracle_error_limit_ppm > PPM || self.storage_slash_ppm > PPM {
            return Some("a share is at most 1000000 ppm");
        }
        if self.panel_size == 0 {
            return Some("a panel needs at least one oracle");
        }
        if self.classes.iter().any(|class| class.availability_ppm >= PPM) {
            return Some("an availability objective must be below 1000000 ppm: nobody can keep more than everything");
        }
        None
    }

    /// `paramsHash` of a report.
    pub fn hash(&self) -> Hash32 {
        self.words().keccak()
    }

    /// What the hash is over: whoever disputes a verdict on chain shows it.
    pub fn words(&self) -> Words {
        let (d, p, b) = (&self.deadlines, &self.probing, &self.bandwidth);
        let mut words = Words::tagged("assay.params.v1");
        for value in [
            u64::from(self.slots),
            self.slot_ms,
            self.skew_ms,
            d.commit_ms,
            d.reveal_ms,
            d.bit_vote_ms,
            d.sign_ms,
            d.post_ms,
            self.signature_grace_ms,
            self.view_cap_ms,
            self.transmit_stage_ms,
            self.beacon_late_ms,
            self.ref_block_lag_s,
            u64::from(self.panel_size),
            u64::from(self.panel_group_limit),
            p.availability_mean_ms,
            p.retry_first_ms,
            p.retry_second_ms,
            p.latency_mean_ms,
            p.block_share_ppm,
            u64::from(p.storage_audits_per_slot),
            u64::from(p.slices_one_in),
            p.answer_timeout_ms,
            p.storage_timeout_ms,
            p.send_slip_ms,
            p.stall_ms,
            p.oracle_error_limit_ppm,
            p.coverage_ppm,
            b.window_ms,
            b.lead_ms,
            b.guard_ms,
            b.send_ms,
            b.ramp_ms,
            b.slice_ms,
            b.in_flight_ms,
            b.offered_ppm,
            b.max_bytes,
            self.reask_ms,
            u64::from(self.strikes),
            self.design_effect_milli,
            u64::from(self.facts_per_provider),
            self.storage_slash_ppm,
            self.valid_epochs,
        ] {
            words.push(&value);
        }
        words.push(&self.base_reward);
        words.push(&self.oracle_reward);
        for class in &self.classes {
            words.push(&class.id);
            words.push(&crate::hash::tag(&class.name));
            for value in [
                class.weight_ppm,
                class.availability_ppm,
                class.t50_us,
                class.t95_us,
                class.t99_us,
                class.floor_in_kbps,
                class.floor_out_kbps,
            ] {
                words.push(&value);
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devnet_parameters_do_not_contradict_themselves() {
        assert_eq!(Params::devnet().contradiction(), None);
        assert_eq!(Params::devnet().epoch_ms(), 25_000);
    }

    #[test]
    fn contradictions_are_named() {
        let mut params = Params::devnet();
        params.deadlines.reveal_ms = params.deadlines.commit_ms;
        assert!(params.contradiction().unwrap().contains("deadlines must rise"));
        let late = Params { ref_block_lag_s: 26, ..Params::devnet() };
        assert!(late.contradiction().unwrap().contains("ref_block_lag_s"));
    }

    #[test]
    fn every_change_changes_the_hash() {
        let base = Params::devnet();
        let json = serde_json::to_value(&base).unwrap();
        for key in json.as_object().unwrap().keys() {
            let mut changed = json.clone();
            let text = changed[key].to_string();
            let Ok(number) = text.trim_matches('"').parse::<u128>() else { continue };
            changed[key] = serde_json::from_str(&text.replace(&number.to_string(), &(number + 1).to_string())).unwrap();
            let changed: Params = serde_json::from_value(changed).unwrap();
            assert_ne!(changed.hash(), base.hash(), "{key}");
        }
    }
}
