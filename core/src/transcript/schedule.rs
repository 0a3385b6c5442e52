//! What one oracle has to ask one provider in one epoch: everything that follows from the setting, the seeds and the oracle's VRFs.

use std::fmt;

use crate::bls::Signature;
use crate::challenge::schedule::{PairSecret, Scheduled, SlotTerms};
use crate::challenge::window::{Testers, Window};
use crate::challenge::{Challenge, Kind, Kinds};
use crate::claim::ClaimRoot;
use crate::ids::{Instance, OracleId, ProviderId};
use crate::observation::Seeds;
use crate::params::{Class, Params};
use crate::report::{ProviderTerms, Setting};

/// Who asks whom, in which epoch, under which claims: what is the same in every slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair {
    /// Chain and settlement contract.
    pub instance: Instance,
    /// Epoch.
    pub epoch: u64,
    /// Who asks.
    pub oracle: OracleId,
    /// Who answers.
    pub provider: ProviderId,
    /// The provider's service class.
    pub class_id: u16,
    /// Its claim set, frozen for the epoch.
    pub claims: ClaimRoot,
}

impl Pair {
    /// The pair of an oracle and a provider in a setting.
    pub fn new(setting: &Setting, terms: &ProviderTerms, oracle: OracleId) -> Self {
        Self {
            instance: setting.instance,
            epoch: setting.epoch,
            oracle,
            provider: terms.provider,
            class_id: terms.class_id,
            claims: terms.keys.claims,
        }
    }
}

/// One slot of a pair.
#[derive(Clone)]
pub struct SlotSchedule {
    pair: Pair,
    slot: u32,
    kinds: Kinds,
    slices_one_in: u32,
    secret: PairSecret,
    scheduled: Vec<Scheduled>,
}

impl SlotSchedule {
    /// Draws the slot's challenges.
    pub fn new(pair: Pair, slot: u32, vrf: &Signature, windows: &[Window], class: &Class, params: &Params, kinds: Kinds) -> Self {
        let secret = PairSecret::new(vrf, pair.provider);
        let scheduled = secret.schedule(kinds, &SlotTerms { params, class, oracle: pair.oracle, windows });
        Self { pair, slot, kinds, slices_one_in: params.probing.slices_one_in, secret, scheduled }
    }

    /// What is asked, in order of time. Of a provider without claims nothing is asked that needs them.
    pub fn asked(&self) -> impl Iterator<Item = Scheduled> + '_ {
        self.scheduled.iter().copied().filter(|scheduled| self.is_asked(scheduled.kind))
    }

    /// The asked challenges themselves.
    pub fn challenges(&self) -> impl Iterator<Item = (Scheduled, Challenge)> + '_ {
        self.asked().map(|scheduled| (scheduled, self.challenge(&scheduled)))
    }

    /// The half of a challenge's secret that is never sent.
    pub fn kept(&self, index: u32) -> [u8; 32] {
        self.secret.kept(index)
    }

    /// When the challenge is scheduled, whatever extra blocks it asks for; `None` when the slot has no such challenge.
    pub fn find(&self, challenge: &Challenge) -> Option<Scheduled> {
        let at = usize::try_from(challenge.index).ok()?;
        let scheduled = *self.scheduled.get(at)?;
        let is_this = self.challenge(&scheduled) == challenge.without_extra() && challenge.has_possible_extra();
        (self.is_asked(scheduled.kind) && is_this).then_some(scheduled)
    }

    fn count(&self, kind: Kind) -> u64 {
        match self.is_asked(kind) {
            true => self.scheduled.iter().filter(|scheduled| scheduled.kind == kind).count() as u64,
            false => 0,
        }
    }

    fn is_asked(&self, kind: Kind) -> bool {
        self.pair.claims.blocks > 0 || self.kinds.get(kind).is_some_and(|plug| !plug.needs_claims())
    }

    fn challenge(&self, scheduled: &Scheduled) -> Challenge {
        Challenge {
            instance: self.pair.instance,
            epoch: self.pair.epoch,
            slot: self.slot,
            oracle: self.pair.oracle,
            provider: self.pair.provider,
            kind: scheduled.kind,
            index: scheduled.index,
            class_id: self.pair.class_id,
            claim_root: self.pair.claims.hash,
            claim_blocks: self.pair.claims.blocks,
            chunks: self.kinds.get(scheduled.kind).map_or(0, |plug| plug.chunks()),
            slices_one_in: if scheduled.kind == Kind::STORAGE { self.slices_one_in } else { 0 },
            extra: Vec::new(),
            child: self.secret.child(scheduled.index),
        }
    }
}

/// Without the secret.
impl fmt::Debug for SlotSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotSchedule").field("pair", &self.pair).field("slot", &self.slot).finish_non_exhaustive()
    }
}

/// A whole epoch of a pair.
pub struct PairSchedule {
    class: Class,
    kinds: Kinds,
    slots: Vec<SlotSchedule>,
}

impl PairSchedule {
    /// Draws all slots. `panel` is the provider's under the epoch's seed. `None` when the provider's class is unknown.
    pub fn new(
        setting: &Setting,
        panel: &[OracleId],
        terms: &ProviderTerms,
        oracle: OracleId,
        seeds: &Seeds,
        vrfs: &[Signature],
    ) -> Option<Self> {
        let class = setting.params.class(terms.class_id)?.clone();
        let pair = Pair::new(setting, terms, oracle);
        let testers = Testers::new(&seeds.epoch, terms.provider, panel);
        let slots = (0u32..)
            .zip(seeds.slots.iter().zip(vrfs))
            .map(|(slot, (seed, vrf))| {
                let windows = testers.windows(seed, slot, &setting.params);
                SlotSchedule::new(pair, slot, vrf, &windows, &class, &setting.params, setting.kinds)
            })
            .collect();
        Some(Self { class, kinds: setting.kinds, slots })
    }

    /// The slots in order.
    pub fn slots(&self) -> &[SlotSchedule] {
        &self.slots
    }

    /// Whether the schedule has exactly this challenge, but for its extra blocks.
    pub fn has(&self, challenge: &Challenge) -> bool {
        self.slot_of(challenge).is_some_and(|slot| slot.find(challenge).is_some())
    }

    /// The slot that a challenge names.
    pub fn slot_of(&self, challenge: &Challenge) -> Option<&SlotSchedule> {
        self.slots.get(usize::try_from(challenge.slot).ok()?)
    }

    /// How much is scheduled of a kind, in the kind's own unit.
    pub fn scheduled(&self, kind: Kind) -> u64 {
        let weight = self.kinds.get(kind).map_or(0, |plug| plug.weight(&self.class));
        let asked = self.slots.iter().map(|slot| slot.count(kind)).fold(0, u64::saturating_add);
        asked.saturating_mul(weight)
    }
}
