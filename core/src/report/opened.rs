//! A report opened down to its panels: what a court is shown of one verdict, and which verdicts are worth showing.

use std::collections::BTreeMap;

use super::judging::{leading_seeds, panel_leaf};
use super::{Report, Setting};
use crate::hash::Hash32;
use crate::ids::{OracleId, ProviderId};
use crate::merkle::StandardTree;
use crate::observation::{Fault, Observation, Reveal};
use crate::params::{PPM, Params};
use crate::verdict::{Case, Panel, PanelKind, PanelSeat, ProvenFact, Verdict};

/// One provider's panel, ascending by oracle, with what its members said; `None` where a member is absent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenedPanel {
    /// Who was measured.
    pub provider: ProviderId,
    /// The seats.
    pub seats: Vec<(OracleId, Option<Observation>)>,
}

impl OpenedPanel {
    /// The leaf under `obsRoot`.
    pub fn leaf(&self) -> Hash32 {
        panel_leaf(self.provider, self.seats.iter().map(|(_, seen)| seen.as_ref()))
    }

    /// Which seats have an observation, as a big-endian word: its lowest bit is the first seat. Seats beyond 256 have no bit.
    pub fn present(&self) -> [u8; 32] {
        let mut word = [0u8; 32];
        for (seat, _) in self.seats.iter().enumerate().filter(|(_, (_, seen))| seen.is_some()) {
            if let Some(byte) = word.iter_mut().rev().nth(seat / 8) {
                *byte |= 1 << (seat % 8);
            }
        }
        word
    }

    /// The observations in the aggregation court's compact form ([`Observation::packed`]).
    pub fn packed(&self) -> Vec<u8> {
        self.seats.iter().filter_map(|(_, seen)| seen.as_ref()).flat_map(Observation::packed).collect()
    }
}

/// The panels that these reveals give, of the providers that an epoch judges. Nothing in the reveals is checked: whether a report was
/// computed from them shows in [`OpenedReport::new`].
pub fn open_panels(setting: &Setting, reveals: &BTreeMap<OracleId, Reveal>) -> Vec<OpenedPanel> {
    let seeds = leading_seeds(setting, reveals.iter().map(|(oracle, reveal)| (*oracle, &reveal.seeds)));
    let drawn = setting.panels(&seeds.as_ref().map_or(Hash32::ZERO, |seeds| seeds.epoch));
    let counted: BTreeMap<OracleId, BTreeMap<ProviderId, &Observation>> = reveals
        .iter()
        .filter(|(_, reveal)| seeds.as_ref().is_some_and(|seeds| reveal.seeds.digest() == seeds.digest))
        .map(|(oracle, reveal)| (*oracle, reveal.observations.iter().map(|o| (o.observation.provider, &o.observation)).collect()))
        .collect();
    let said = |oracle: &OracleId, provider: ProviderId| counted.get(oracle)?.get(&provider).map(|seen| (*seen).clone());
    let judged = setting.providers.iter().filter(|terms| setting.params.class(terms.class_id).is_some());
    let open = |provider| {
        let seats = drawn.of(provider).into_iter().map(|oracle| (oracle, said(&oracle, provider))).collect();
        OpenedPanel { provider, seats }
    };
    judged.map(|terms| open(terms.provider)).collect()
}

/// Why documents are not what is behind a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpeningError {
    /// Not the tree of its `resultRoot`.
    #[error("the verdicts do not stand under the report")]
    Verdicts,
    /// Not the tree of its `obsRoot`.
    #[error("the observations do not give the panels that the report commits to")]
    Panels,
}

/// A report with all its verdicts: every one stands under its `resultRoot`.
#[derive(Clone, Debug)]
pub struct ReportVerdicts {
    report: Report,
    verdicts: Vec<Verdict>,
    tree: StandardTree,
}

impl ReportVerdicts {
    /// Believes nothing: the verdicts must be all that stand under the report.
    pub fn new(report: Report, verdicts: Vec<Verdict>) -> Result<Self, OpeningError> {
        let tree = StandardTree::new(verdicts.iter().map(Verdict::leaf).collect());
        match tree.root() == report.result_root {
            true => Ok(Self { report, verdicts, tree }),
            false => Err(OpeningError::Verdicts),
        }
    }

    /// The report.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// A provider's verdict and its proof.
    fn find(&self, provider: ProviderId) -> Option<ProvenVerdict> {
        let verdict = self.verdicts.iter().find(|verdict| verdict.provider == provider)?;
        Some(ProvenVerdict { verdict: verdict.clone(), proof: self.tree.proof(&verdict.leaf())? })
    }
}

/// A verdict and its path to a report's `resultRoot`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvenVerdict {
    /// The verdict.
    pub verdict: Verdict,
    /// Siblings from the leaf upwards.
    pub proof: Vec<Hash32>,
}

/// What the aggregation court is shown of one verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerdictCase {
    /// The verdict, under the report's `resultRoot`.
    pub judged: ProvenVerdict,
    /// The panel that it was judged from.
    pub panel: OpenedPanel,
    /// The panel's path to the report's `obsRoot`.
    pub panel_proof: Vec<Hash32>,
    /// The parameters behind the report's hash.
    pub params: Params,
    /// The parent report with its verdict on the same provider; `None` for the first report, and where the parent has none.
    pub previous: Option<(Report, ProvenVerdict)>,
}

/// A report with all its verdicts and panels: everything in it stands under the report's roots.
#[derive(Clone, Debug)]
pub struct OpenedReport {
    verdicts: ReportVerdicts,
    panels: BTreeMap<ProviderId, OpenedPanel>,
    tree: StandardTree,
    /// `None` for the first report.
    parent: Option<ReportVerdicts>,
}

impl OpenedReport {
    /// Believes nothing: the panels must be all that stand under the report. A parent of another report is left out.
    pub fn new(verdicts: ReportVerdicts, panels: Vec<OpenedPanel>, parent: Option<ReportVerdicts>) -> Result<Self, OpeningError> {
        let tree = StandardTree::new(panels.iter().map(OpenedPanel::leaf).collect());
        if tree.root() != verdicts.report.obs_root {
            return Err(OpeningError::Panels);
        }
        let parent = parent.filter(|parent| parent.report.digest() == verdicts.report.parent_digest);
        Ok(Self { verdicts, panels: panels.into_iter().map(|panel| (panel.provider, panel)).collect(), tree, parent })
    }

    /// The report.
    pub fn report(&self) -> &Report {
        &self.verdicts.report
    }

    /// What the court is shown of every verdict that does not follow from its panel by this node's arithmetic, ascending by provider.
    ///
    /// A verdict that is named here may stand before the court all the same, which reads fewer facts: ask it before anything is sent. One
    /// that is not named stands, unless it is of a provider without a panel, which is another court's.
    pub fn doubtful<'a>(&'a self, setting: &'a Setting) -> impl Iterator<Item = VerdictCase> + 'a {
        let doubted = self.verdicts.verdicts.iter().filter(|verdict| !self.follows(verdict, setting));
        doubted.filter_map(|verdict| self.case(verdict.provider, &setting.params))
    }

    fn case(&self, provider: ProviderId, params: &Params) -> Option<VerdictCase> {
        let panel = self.panels.get(&provider)?.clone();
        let panel_proof = self.tree.proof(&panel.leaf())?;
        let previous = self.parent.as_ref().and_then(|parent| Some((parent.report.clone(), parent.find(provider)?)));
        Some(VerdictCase { judged: self.verdicts.find(provider)?, panel, panel_proof, params: params.clone(), previous })
    }

    /// The multiplier that the epoch began with; full where nothing commits to another one.
    fn previous_ppm(&self, provider: ProviderId) -> u64 {
        let previous = self.parent.as_ref().and_then(|parent| parent.verdicts.iter().find(|verdict| verdict.provider == provider));
        previous.map_or(PPM, |verdict| verdict.multiplier_ppm)
    }

    fn follows(&self, verdict: &Verdict, setting: &Setting) -> bool {
        let (Some(panel), Some(terms)) = (self.panels.get(&verdict.provider), setting.provider(verdict.provider)) else { return false };
        let Some(class) = setting.params.class(terms.class_id) else { return false };
        if panel.seats.iter().filter_map(|(_, seen)| seen.as_ref()).any(|seen| !seen.is_possible(setting.kinds)) {
            return false;
        }
        let weight = |oracle: OracleId| setting.member(oracle).map_or(0, |member| member.weight);
        let seats: Vec<PanelSeat<'_>> =
            panel.seats.iter().map(|(oracle, seen)| PanelSeat { oracle: *oracle, weight: weight(*oracle), seen: seen.as_ref() }).collect();
        let kind = match seats.len() == setting.members.len() {
            true => PanelKind::WholeSet { total_weight: setting.total_weight() },
            false => PanelKind::Drawn,
        };
        // Which fact it is does not change what is compared.
        let fact = [ProvenFact { fault: Fault::StorageInvalid, digest: Hash32::ZERO }];
        let is_faulty = verdict.states_fault();
        let is_named = seats.iter().filter_map(|seat| seat.seen).any(|seen| !seen.facts_root.is_zero());
        if is_faulty && !is_named && kind != PanelKind::Drawn {
            // Silence that the whole set witnessed, or nothing: the court counts the witnesses.
            return false;
        }
        let case = Case {
            epoch: self.report().epoch,
            provider: verdict.provider,
            class,
            stake: 0,
            panel: Panel { seats: &seats, kind },
            facts: if is_faulty { &fact } else { &[] },
            watched: None,
            is_refuted: false,
            struck: None,
            secure: self.report().seed_secure,
            previous_multiplier_ppm: self.previous_ppm(verdict.provider),
        };
        let judged = Verdict { watched: verdict.watched, ..Verdict::judge(&case, setting.kinds, &setting.params) };
        (verdict.epoch, verdict.outcome, verdict.multiplier_ppm) == (judged.epoch, judged.outcome, judged.multiplier_ppm)
            && verdict.dimensions_word() == judged.dimensions_word()
            && verdict.reward <= judged.reward
            && (verdict.slash == 0 || (is_faulty && self.report().seed_secure))
    }
}
