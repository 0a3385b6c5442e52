//! What is behind a report, from APIs that are not trusted: it counts when all of it hashes to what the chain accepted.

use std::collections::BTreeMap;

use assay_chain::{RegistryView, SettlementConfig};
use assay_core::challenge::Kinds;
use assay_core::hash::Hash32;
use assay_core::ids::{Instance, OracleId, ProviderId};
use assay_core::observation::Reveal;
use assay_core::params::Params;
use assay_core::report::{OpenedReport, Report, ReportVerdicts, Setting, open_panels};
use assay_proto::rest::{LedgerDocument, Network, ObservationsPage};

use crate::rest::{Api, ApiError, Apis, Asked, Failure, MAX_LEDGER_BYTES};

const MAX_NETWORK_BYTES: usize = 1024 * 1024;
/// A page has at most two thousand observations.
const MAX_PAGE_BYTES: usize = 64 * 1024 * 1024;
/// Providers on a page, and pages: more than there can be.
const PAGE: u64 = 1_000;
const MAX_PAGES: usize = 4_096;

/// What the chain says of a report: this is believed.
pub(super) struct OnChain<'a> {
    /// As it was posted.
    pub(super) report: &'a Report,
    /// The epoch of its parent; of no account for the first report.
    pub(super) parent_epoch: u64,
    /// Both registries at its reference block.
    pub(super) registry: &'a RegistryView,
    /// The settlement's constants.
    pub(super) settlement: &'a SettlementConfig,
}

/// A report and what it is held against.
pub(super) struct Opened {
    pub(super) report: OpenedReport,
    pub(super) setting: Setting,
}

/// The report opened with the documents of the first API whose documents are all behind it.
pub(super) async fn open(apis: &Apis, chain: &OnChain<'_>) -> Result<Asked<Opened>, ApiError> {
    apis.first("what the report was computed from", async |api| opened(&api, chain).await).await
}

async fn opened(api: &Api<'_>, chain: &OnChain<'_>) -> Result<Opened, Failure> {
    let report = chain.report;
    let setting = setting(params(api, &report.params_hash).await?, chain);
    let verdicts = verdicts(api, report.epoch, &report.digest()).await?;
    let parent = match report.parent_digest.is_zero() {
        true => None,
        false => match verdicts_of_parent(api, chain).await {
            // Without it the court would not know what the multipliers began with.
            Err(Failure::Unknown) => return Err(Failure::Away(format!("it has no ledger of epoch {}, the parent's", chain.parent_epoch))),
            parent => Some(parent?),
        },
    };
    let panels = open_panels(&setting, &reveals(api, report.epoch).await?);
    let opened = OpenedReport::new(verdicts, panels, parent);
    // The signers may have kept the true ones to themselves: then it is not the API that lies.
    let opened =
        opened.map_err(|error| Failure::Away(format!("{error}: it lacks some of them, changed them, or the signers hide theirs")))?;
    Ok(Opened { report: opened, setting })
}

async fn params(api: &Api<'_>, hash: &Hash32) -> Result<Params, Failure> {
    let network: Network = api.document("/v1/network", MAX_NETWORK_BYTES).await?;
    match network.params.hash() == *hash {
        true => Ok(network.params),
        false => Err(Failure::Lie("its parameters are not those that the report was computed under".to_owned())),
    }
}

fn setting(params: Params, chain: &OnChain<'_>) -> Setting {
    let instance = Instance { chain_id: chain.report.chain_id, settlement: chain.report.settlement };
    chain.registry.setting(chain.report.epoch, instance, chain.settlement, &params, Kinds::standard(), chain.report.drand_round)
}

async fn verdicts_of_parent(api: &Api<'_>, chain: &OnChain<'_>) -> Result<ReportVerdicts, Failure> {
    verdicts(api, chain.parent_epoch, &chain.report.parent_digest).await
}

/// All verdicts of the report with this digest.
async fn verdicts(api: &Api<'_>, epoch: u64, digest: &Hash32) -> Result<ReportVerdicts, Failure> {
    let document: LedgerDocument = api.document(&format!("/v1/epochs/{epoch}/ledger"), MAX_LEDGER_BYTES).await?;
    if document.report.digest() != *digest {
        // Of an honest node that certified another report this is no lie.
        return Err(Failure::Away(format!("its report of epoch {epoch} is another one than the chain accepted")));
    }
    let lie = |_| Failure::Lie(format!("its ledger of epoch {epoch} has verdicts that do not stand under the accepted report"));
    ReportVerdicts::new(document.report, document.verdicts).map_err(lie)
}

async fn reveals(api: &Api<'_>, epoch: u64) -> Result<BTreeMap<OracleId, Reveal>, Failure> {
    let path = |after: ProviderId| format!("/v1/epochs/{epoch}/observations?after={after}&limit={PAGE}");
    let unfit = |error: assay_proto::convert::ConvertError| Failure::Away(format!("its observations are none: {error}"));
    let mut document: ObservationsPage = api.document(&path(ProviderId(0)), MAX_PAGE_BYTES).await?;
    for _ in 0..MAX_PAGES {
        let Some(after) = document.next else {
            return document.reveals.iter().map(|reveal| Ok((reveal.oracle, reveal.reveal().map_err(unfit)?))).collect();
        };
        document.extend(api.document(&path(after), MAX_PAGE_BYTES).await?).map_err(unfit)?;
    }
    Err(Failure::Away(format!("more than {MAX_PAGES} pages of observations")))
}
