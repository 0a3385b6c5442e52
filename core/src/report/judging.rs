//! The verdicts of an epoch: every provider is judged by itself, so that many can be at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Inputs, Ledger, Panels, ProviderTerms, Setting, Watched};
use crate::abi::Words;
use crate::challenge::{Challenge, Kind};
use crate::hash::Hash32;
use crate::ids::{OracleId, ProviderId};
use crate::merkle;
use crate::observation::{Fact, Observation, SaltedObservation, Seeds, VerifiedReveal, tallies};
use crate::params::PPM;
use crate::verdict::{Case, Goals, Panel, PanelKind, PanelSeat, ProvenFact, Verdict};

/// All that the verdicts of an epoch have in common.
pub(super) struct Judging<'a> {
    setting: &'a Setting,
    parent: &'a Ledger,
    /// Reveals under the leading seeds.
    pub(super) counted: BTreeMap<OracleId, &'a VerifiedReveal>,
    /// Whether these seeds are the beacon's own, and more than 2/3 of all weight names them.
    pub(super) secure: bool,
    drawn: Panels<'a>,
    goals: BTreeMap<u16, Goals>,
    facts: BTreeMap<ProviderId, Vec<ProvenFact>>,
    refuted: BTreeSet<ProviderId>,
    struck: BTreeMap<(ProviderId, OracleId), &'a Challenge>,
    total_weight: u64,
}

/// What became of some providers, in their order.
#[derive(Default)]
pub(super) struct Judged {
    pub verdicts: Vec<Verdict>,
    pub panels: Vec<(ProviderId, Vec<OracleId>)>,
    pub watch: Vec<(ProviderId, Watched)>,
    /// Leaves of `obsRoot`.
    pub vectors: Vec<Hash32>,
    /// Oracles that did not measure everybody whose panel they are on: one is paid for a schedule kept, not for showing up.
    pub lazy: BTreeSet<OracleId>,
}

impl Judged {
    pub(super) fn joined(parts: Vec<Self>, providers: usize) -> Self {
        let mut all = Self { verdicts: Vec::with_capacity(providers), vectors: Vec::with_capacity(providers), ..Self::default() };
        for part in parts {
            all.verdicts.extend(part.verdicts);
            all.panels.extend(part.panels);
            all.watch.extend(part.watch);
            all.vectors.extend(part.vectors);
            all.lazy.extend(part.lazy);
        }
        all
    }
}

impl<'a> Judging<'a> {
    pub(super) fn new(inputs: &Inputs<'a>) -> Self {
        let (setting, parent) = (inputs.setting, inputs.parent);
        let seeds = leading_seeds(setting, inputs.reveals.iter().map(|(oracle, verified)| (*oracle, &verified.reveal.seeds)));
        let is_leading = |verified: &VerifiedReveal| seeds.as_ref().is_some_and(|seeds| verified.reveal.seeds.digest() == seeds.digest);
        let counted: BTreeMap<OracleId, &VerifiedReveal> =
            inputs.reveals.iter().filter(|(_, verified)| is_leading(verified)).map(|(oracle, verified)| (*oracle, verified)).collect();
        Self {
            setting,
            parent,
            secure: seeds.as_ref().is_some_and(|seeds| seeds.secure),
            drawn: setting.panels(&seeds.map_or(Hash32::ZERO, |seeds| seeds.epoch)),
            // Of two classes with one number the first counts, as in `Params::class`.
            goals: setting.params.classes.iter().rev().map(|class| (class.id, Goals::of(setting.kinds, class))).collect(),
            facts: facts_by_provider(&counted, parent),
            refuted: refuted(&counted, parent),
            struck: struck(&counted),
            total_weight: setting.total_weight(),
            counted,
        }
    }

    /// Judges these providers. Of a class that the parameters do not have, nothing comes out.
    pub(super) fn judge(&self, providers: &[ProviderTerms]) -> Judged {
        let mut said: BTreeMap<OracleId, Said<'a>> = self
            .counted
            .iter()
            .map(|(oracle, verified)| (*oracle, Said { observations: &verified.reveal.observations, next: 0 }))
            .collect();
        let mut judged = Judged::default();
        for terms in providers {
            let members = self.drawn.of(terms.provider);
            let seats: Vec<PanelSeat<'_>> = members
                .iter()
                .map(|oracle| PanelSeat {
                    oracle: *oracle,
                    weight: self.setting.member(*oracle).map_or(0, |member| member.weight),
                    seen: said.get_mut(oracle).and_then(|said| said.of(terms.provider)),
                })
                .collect();
            let Some(verdict) = self.verdict(terms, &members, &seats, &mut judged.watch) else { continue };
            judged.verdicts.push(verdict);
            judged.vectors.push(panel_leaf(terms.provider, seats.iter().map(|seat| seat.seen)));
            judged.lazy.extend(seats.iter().filter(|seat| !seat.seen.is_some_and(was_asked)).map(|seat| seat.oracle));
            judged.panels.push((terms.provider, members));
        }
        judged
    }

    fn verdict(
        &self,
        terms: &ProviderTerms,
        members: &[OracleId],
        seats: &[PanelSeat<'_>],
        watch: &mut Vec<(ProviderId, Watched)>,
    ) -> Option<Verdict> {
        let (setting, parent) = (self.setting, self.parent);
        let is_whole_set = members.len() == setting.members.len();
        let kind = if is_whole_set { PanelKind::WholeSet { total_weight: self.total_weight } } else { PanelKind::Drawn };
        let case = Case {
            epoch: setting.epoch,
            provider: terms.provider,
            class: setting.params.class(terms.class_id)?,
            stake: terms.stake,
            panel: Panel { seats, kind },
            facts: self.facts.get(&terms.provider).map_or(&[], Vec::as_slice),
            watched: parent.watch.get(&terms.provider),
            is_refuted: self.refuted.contains(&terms.provider),
            struck: self.struck_before(members, terms.provider),
            secure: self.secure,
            previous_multiplier_ppm: parent.providers.get(&terms.provider).map_or(PPM, |standing| standing.multiplier_ppm),
        };
        watch.extend(case.watch_from_now_on().map(|watched| (terms.provider, watched)));
        Some(Verdict::by(self.goals.get(&terms.class_id)?, &case, &setting.params))
    }

    /// Of the challenges that struck out with the provider's panel the one with the smallest digest.
    fn struck_before(&self, panel: &[OracleId], provider: ProviderId) -> Option<&'a Challenge> {
        let theirs = panel.iter().filter_map(|oracle| self.struck.get(&(provider, *oracle)).copied());
        // Without the extra blocks: those are the oracle's choice, and it would choose until its challenge comes first.
        theirs.min_by_key(|challenge| (challenge.without_extra().digest(), challenge.digest()))
    }
}

/// What one oracle said, read along with ascending providers.
struct Said<'a> {
    observations: &'a [SaltedObservation],
    /// Where the next provider's observation most likely is.
    next: usize,
}

impl<'a> Said<'a> {
    fn of(&mut self, provider: ProviderId) -> Option<&'a Observation> {
        let of = |salted: &SaltedObservation| salted.observation.provider;
        if self.observations.get(self.next).map(of) != Some(provider) {
            self.next = self.observations.binary_search_by_key(&provider, of).ok()?;
        }
        let found = self.observations.get(self.next).map(|salted| &salted.observation);
        self.next = self.next.saturating_add(1);
        found
    }
}

/// Whether an oracle asked the provider what it asks everybody.
fn was_asked(seen: &Observation) -> bool {
    let numbers = seen.counts.numbers();
    [Kind::AVAILABILITY, Kind::LATENCY_ECHO].into_iter().all(|kind| tallies(&numbers).any(|tally| tally.kind == kind && tally.counted > 0))
}

/// The seeds that most included weight measured under.
pub(super) struct LeadingSeeds {
    pub(super) digest: Hash32,
    pub(super) epoch: Hash32,
    /// They are the beacon's own, and more than 2/3 of all weight names them.
    secure: bool,
}

pub(super) fn leading_seeds<'a>(setting: &Setting, revealed: impl Iterator<Item = (OracleId, &'a Seeds)>) -> Option<LeadingSeeds> {
    let mut weights: BTreeMap<(bool, Hash32), (u64, Hash32)> = BTreeMap::new();
    for (oracle, seeds) in revealed {
        let entry = weights.entry((seeds.secure, seeds.digest())).or_insert((0, seeds.epoch));
        entry.0 = entry.0.saturating_add(setting.weight_of([&oracle]));
    }
    // A tie goes to the beacon's round, then to the larger digest.
    let ((secure, digest), (weight, epoch)) =
        weights.into_iter().max_by_key(|((secure, digest), (weight, _))| (*weight, *secure, *digest))?;
    Some(LeadingSeeds { digest, epoch, secure: secure && setting.is_quorum(weight) })
}

/// What included reveals prove. A fact about a challenge of another epoch counts only while the challenge is on the watch list.
fn facts_by_provider(reveals: &BTreeMap<OracleId, &VerifiedReveal>, parent: &Ledger) -> BTreeMap<ProviderId, Vec<ProvenFact>> {
    let mut facts: BTreeMap<ProviderId, Vec<ProvenFact>> = BTreeMap::new();
    for verified in reveals.values() {
        for (fact, fault) in verified.reveal.facts.iter().zip(&verified.faults) {
            let provider = fact.challenge.provider;
            if fact.challenge.epoch == verified.reveal.epoch || is_watched(fact, parent) {
                facts.entry(provider).or_default().push(ProvenFact { fault: *fault, digest: fact.digest() });
            }
        }
    }
    facts
}

fn is_watched(fact: &Fact, parent: &Ledger) -> bool {
    parent.watch.get(&fact.challenge.provider).is_some_and(|watched| watched.challenge == fact.challenge)
}

/// Providers with a fact about their entry on the watch list.
fn refuted(reveals: &BTreeMap<OracleId, &VerifiedReveal>, parent: &Ledger) -> BTreeSet<ProviderId> {
    let facts = reveals.values().flat_map(|verified| &verified.reveal.facts);
    facts.filter(|fact| is_watched(fact, parent)).map(|fact| fact.challenge.provider).collect()
}

/// Challenges that struck out, by provider and oracle. One about which a fact is proven was answered.
fn struck<'a>(reveals: &BTreeMap<OracleId, &'a VerifiedReveal>) -> BTreeMap<(ProviderId, OracleId), &'a Challenge> {
    let mut struck = BTreeMap::new();
    for (oracle, verified) in reveals {
        for challenge in &verified.reveal.struck {
            struck.entry((challenge.provider, *oracle)).or_insert(challenge);
        }
    }
    struck.retain(|(_, oracle), challenge| {
        let facts = reveals.get(oracle).map_or(&[][..], |verified| &verified.reveal.facts);
        facts.iter().all(|fact| fact.challenge != **challenge)
    });
    struck
}

/// The leaf of `obsRoot` for a panel, ascending by oracle; `None` for a member that is absent.
pub(super) fn panel_leaf<'a>(provider: ProviderId, seats: impl Iterator<Item = Option<&'a Observation>>) -> Hash32 {
    let mut vector = Words::new();
    for seen in seats {
        vector.push(&seen.map_or(Hash32::ZERO, Observation::word));
    }
    merkle::leaf(&Words::new().with(&provider).with(&vector.keccak()))
}
