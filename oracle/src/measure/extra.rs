//! Blocks of the longest unproven objects, which audits ask for beside the drawn ones.
//!
//! Which objects is planned once an epoch, from the records and from the plans whose epochs are not in the records yet, and written down
//! before the first is asked: a restart asks the same. Audit after audit takes the next ten, so that with M claims and A audits an epoch
//! every object is asked for within ⌈M / 10·A⌉ epochs. A slot's work is ten draws, however many claims there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use assay_core::challenge::{Kind, MAX_EXTRA, Stream};
use assay_core::claim::ClaimSet;
use assay_core::hash::Hash32;
use assay_core::report::Setting;
use assay_core::transcript::SlotSchedule;

use super::Measurer;
use super::subject::Subject;
use crate::clock::now_ms;
use crate::store::{ClaimAge, Plan, Planned, StoreError};

/// A plan is there so long before the first slot that it serves.
const AHEAD_MS: u64 = 500;

/// The claims that `audits` audits ask for, those first that were not proven for the longest time; ties by the claim's hash. Claims that
/// open plans name were asked for a moment ago: they come last.
fn choose(claims: &ClaimSet, ages: &[ClaimAge], open: &[Planned], audits: u64) -> Vec<Planned> {
    let count = usize::try_from(audits.saturating_mul(MAX_EXTRA as u64)).unwrap_or(usize::MAX).min(claims.len());
    // A set is in the order of its claims' hashes. 0: never proven.
    let mut order: Vec<(u64, usize)> = (0..claims.len()).map(|place| (0, place)).collect();
    let known = ages.iter().filter_map(|age| Some((age.claim, age.samples.last_proven_ms?)));
    let asked = open.iter().map(|planned| (planned.claim, u64::MAX));
    for (claim, proven_ms) in known.chain(asked) {
        if let Some(entry) = claims.index_of(&claim).and_then(|place| order.get_mut(place)) {
            entry.0 = proven_ms;
        }
    }
    if count < order.len() {
        order.select_nth_unstable(count);
        order.truncate(count);
    }
    order.sort_unstable();
    let mut wanted: BTreeMap<usize, Option<Planned>> = order.iter().map(|(_, place)| (*place, None)).collect();
    let mut first_block = 0_u64;
    for (place, claim) in claims.claims().enumerate() {
        if let Some(planned) = wanted.get_mut(&place) {
            *planned = Some(Planned { claim: claim.hash(), first_block, blocks: claim.blocks });
        }
        first_block = first_block.saturating_add(claim.blocks);
    }
    order.iter().filter_map(|(_, place)| wanted.get(place).copied().flatten()).collect()
}

/// What the storage challenges of a slot ask for beside their draws, by the number of the challenge.
///
/// The block is uniform within its claim, from the half of the challenge's secret that is never sent: nobody can prepare for it.
pub(super) fn of_slot(plan: &Plan, schedule: &SlotSchedule, slot: u32, audits_per_slot: u64) -> BTreeMap<u32, Vec<u64>> {
    let Some(slots) = slot.checked_sub(plan.from_slot) else { return BTreeMap::new() };
    let before = u64::from(slots).saturating_mul(audits_per_slot);
    let audits = schedule.asked().filter(|scheduled| scheduled.kind == Kind::STORAGE);
    let extra = (before..).zip(audits).map(|(audit, scheduled)| (scheduled.index, blocks(plan, audit, &schedule.kept(scheduled.index))));
    extra.filter(|(_, blocks)| !blocks.is_empty()).collect()
}

/// One block in each of the ten claims that are audit number `audit`'s turn; after the last comes the first again.
fn blocks(plan: &Plan, audit: u64, kept: &[u8; 32]) -> Vec<u64> {
    let planned = plan.claims.len() as u64;
    let mut stream = Stream::new(&[b"assay.extra.v1", kept]);
    let places = (0..planned.min(MAX_EXTRA as u64)).map(|next| audit.wrapping_mul(MAX_EXTRA as u64).wrapping_add(next) % planned);
    let claims = places.filter_map(|place| plan.claims.get(usize::try_from(place).ok()?));
    claims.map(|claim| claim.first_block.saturating_add(stream.below(claim.blocks))).collect()
}

/// The first slot that a plan made now can serve; `None` when the epoch is over by then.
fn first_slot(setting: &Setting, now_ms: u64) -> Option<u32> {
    let since = now_ms.saturating_add(AHEAD_MS).saturating_sub(setting.start_ms());
    let slot = u32::try_from(since.div_ceil(setting.params.slot_ms.max(1))).ok()?;
    (slot < setting.params.slots).then_some(slot)
}

impl Measurer {
    /// Plans the rest of the epoch, unless it is planned.
    pub(super) async fn plan(&self, subject: &Subject, setting: &Setting, claims: Arc<ClaimSet>) -> Result<(), StoreError> {
        let provider = subject.terms.provider;
        if subject.plan.get().is_some() || claims.is_empty() {
            return Ok(());
        }
        let Some(from_slot) = first_slot(setting, now_ms()) else { return Ok(()) };
        let plans = self.store.plans(provider, setting.epoch).await?.into_iter();
        let open: Vec<Planned> = plans.flat_map(|(_, plan)| plan.claims).collect();
        let ages = self.store.claim_ages(provider, &Hash32::ZERO, &Hash32([0xff; 32])).await?;
        let slots = u64::from(setting.params.slots.saturating_sub(from_slot));
        let audits = slots.saturating_mul(u64::from(setting.params.probing.storage_audits_per_slot));
        // Fractions of a second for a million claims: not on a thread that probes.
        let chosen = tokio::task::spawn_blocking(move || choose(&claims, &ages, &open, audits)).await.unwrap_or_default();
        let plan = Plan { from_slot, claims: chosen };
        self.store.put_plan(setting.epoch, provider, &plan).await?;
        // Too late for its first slot: the next epoch's comes in time.
        if first_slot(setting, now_ms().saturating_sub(AHEAD_MS)).is_some_and(|slot| slot <= from_slot) {
            subject.plan.get_or_init(|| plan);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use assay_core::bls::{Domain, SecretKey};
    use assay_core::challenge::Kinds;
    use assay_core::claim::Claim;
    use assay_core::ids::{Address, Instance, OracleId, ProviderId};
    use assay_core::params::Params;
    use assay_core::replica::blocks_for;
    use assay_core::transcript::Pair;

    use super::*;
    use crate::store::Samples;

    /// Epoch 3 of a network that nothing else is said of.
    pub(in super::super) fn setting() -> Setting {
        Setting {
            instance: Instance { chain_id: 1, settlement: Address([2; 20]) },
            epoch: 3,
            genesis_s: 1_000,
            params: Params::devnet(),
            kinds: Kinds::standard(),
            token: Address([8; 20]),
            epoch_budget: 0,
            set_epoch: 1,
            members: vec![],
            providers: vec![],
            ref_block: 5,
            ref_block_hash: Hash32([2; 32]),
            drand_round: 9,
        }
    }

    /// Claims of one, two and three blocks.
    pub(in super::super) fn claims(count: u64) -> ClaimSet {
        let claim = |number: u64| {
            let object_length = number % 3 * 126_976;
            let word = |what: &str| Hash32::from(blake3::hash(format!("{what} {number}").as_bytes()));
            let (object_id, root) = (word("object"), word("root"));
            let (blocks, tag_key_id) = (blocks_for(object_length), Hash32::ZERO);
            Claim { object_id, replica_index: number, root, object_length, blocks, tag_key_id, owner: Address([3; 20]) }
        };
        ClaimSet::new((0..count).map(claim).collect()).unwrap()
    }

    fn age(claim: Hash32, last_proven_ms: u64) -> ClaimAge {
        ClaimAge { claim, samples: Samples { last_proven_ms: Some(last_proven_ms), ..Samples::default() } }
    }

    fn hashes(set: &ClaimSet) -> Vec<Hash32> {
        set.claims().map(Claim::hash).collect()
    }

    #[test]
    fn never_proven_ones_come_first_then_the_longest_unproven_and_last_what_was_just_asked_for() {
        let set = claims(5);
        let all = hashes(&set);
        let ages = [age(all[0], 900), age(all[1], 100), age(all[4], 500), age(Hash32([9; 32]), 1)];
        let chosen = choose(&set, &ages, &[], 1);
        let order: Vec<Hash32> = chosen.iter().map(|planned| planned.claim).collect();
        assert_eq!(order, [all[2], all[3], all[1], all[4], all[0]], "ties by hash; a claim that left is nowhere");
        let open: Vec<Planned> = chosen.iter().take(2).copied().collect();
        let order: Vec<Hash32> = choose(&set, &ages, &open, 1).iter().map(|planned| planned.claim).collect();
        assert_eq!(order, [all[1], all[4], all[0], all[2], all[3]]);
        assert!(choose(&claims(0), &[], &[], 5).is_empty());
    }

    #[test]
    fn a_planned_claim_names_its_own_blocks() {
        let set = claims(50);
        for planned in choose(&set, &[], &[], 100) {
            for block in [planned.first_block, planned.first_block + planned.blocks - 1] {
                assert_eq!(set.locate(block).unwrap().0.hash(), planned.claim);
            }
        }
    }

    #[test]
    fn fewer_claims_than_ten_make_fewer_extra_blocks_and_none_twice() {
        let plan = Plan { from_slot: 0, claims: choose(&claims(4), &[], &[], 9) };
        let asked = blocks(&plan, 3, &[7; 32]);
        assert_eq!((asked.len(), asked.iter().collect::<BTreeSet<_>>().len()), (4, 4));
        assert!(blocks(&Plan { from_slot: 0, claims: vec![] }, 3, &[7; 32]).is_empty());
    }

    /// Each epoch is planned before the one before it is folded, as it is in a node.
    #[test]
    fn every_object_is_asked_for_in_as_many_epochs_as_it_takes() {
        let audits = 5;
        for count in [1, 9, 50, 51, 237, 1_000] {
            let set = claims(count);
            let (mut ages, mut open, mut visited) = (BTreeMap::new(), Vec::<Planned>::new(), BTreeSet::new());
            let epochs = count.div_ceil(10 * audits);
            for epoch in 0..epochs {
                let known: Vec<ClaimAge> = ages.iter().map(|(claim, at)| age(*claim, *at)).collect();
                let plan = Plan { from_slot: 0, claims: choose(&set, &known, &open, audits) };
                ages.extend(open.iter().map(|planned| (planned.claim, epoch)));
                for audit in 0..audits {
                    let asked = blocks(&plan, audit, &[audit as u8; 32]);
                    visited.extend(asked.iter().map(|block| set.index_of_block(*block)));
                }
                open = plan.claims;
            }
            assert_eq!(visited.len() as u64, count, "{count} claims in {epochs} epochs");
        }
    }

    fn schedule(seed: u8, set: &ClaimSet) -> SlotSchedule {
        let vrf = SecretKey::key_gen(&[seed; 32]).unwrap().sign(Domain::Vrf, &Hash32::ZERO);
        let setting = setting();
        let pair =
            Pair { instance: setting.instance, epoch: 3, oracle: OracleId(1), provider: ProviderId(6), class_id: 100, claims: set.root() };
        SlotSchedule::new(pair, 2, &vrf, &[], setting.params.class(100).unwrap(), &setting.params, setting.kinds)
    }

    // Defence: `kept` as the stream's key in `blocks`. Drawn from what is public, a provider keeps one block of every object and nothing else.
    #[test]
    fn a_restart_asks_for_the_same_blocks_and_nobody_else_knows_which() {
        let set = claims(300);
        let plan = Plan { from_slot: 1, claims: choose(&set, &[], &[], 20) };
        let asked = of_slot(&plan, &schedule(1, &set), 2, 1);
        let [(index, blocks)] = &asked.iter().collect::<Vec<_>>()[..] else { panic!("one audit: {asked:?}") };
        let challenge = schedule(1, &set).challenges().find(|(scheduled, _)| scheduled.index == **index).unwrap().1;
        assert_eq!((challenge.kind, blocks.len()), (Kind::STORAGE, 10));
        assert_eq!(of_slot(&plan, &schedule(1, &set), 2, 1), asked);
        assert_ne!(of_slot(&plan, &schedule(2, &set), 2, 1).values().next(), Some(*blocks), "another secret, other blocks");
        let places = |blocks: &[u64]| blocks.iter().map(|block| set.index_of_block(*block)).collect::<Vec<_>>();
        let turn: Vec<usize> = plan.claims[10..20].iter().map(|planned| set.index_of(&planned.claim).unwrap()).collect();
        assert_eq!(places(blocks), turn, "the second audit's turn");
        assert!(of_slot(&plan, &schedule(1, &set), 0, 1).is_empty(), "before the plan's first slot");
    }

    #[test]
    fn a_plan_serves_slots_that_have_not_begun() {
        let setting = setting();
        let (start, slot_ms) = (setting.start_ms(), setting.params.slot_ms);
        assert_eq!(first_slot(&setting, start - 2_000), Some(0));
        assert_eq!(first_slot(&setting, start - 100), Some(1), "too short a time");
        assert_eq!(first_slot(&setting, start + slot_ms), Some(2));
        assert_eq!(first_slot(&setting, start + u64::from(setting.params.slots) * slot_ms), None);
    }
}
