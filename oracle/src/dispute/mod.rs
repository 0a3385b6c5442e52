//! `assay-oracle dispute`: proves a false report wrong, and has who signed it slashed. For anybody: it takes no oracle's key and no seat.
//!
//! Each call does what is due next and says what comes after it. APIs of oracles are asked and not believed: what they give counts when it
//! hashes to the report that the chain accepted.

mod examine;
mod next;
mod show;
mod sources;

use std::path::PathBuf;

use assay_chain::command::{CommandError, Outcome, Plan, Wallet, check_token};
use assay_chain::transaction::SendConfig;
use assay_chain::{AggregationCourt, BlockTag, ChainError, Client, RpcUrls, SettlementConfig, SignersCourt, SubmittedReport, calls};
use assay_core::ids::Address;
use assay_core::secp::SecretKey;
use assay_daemon::keystore::{self, KeystoreError, Password};
use clap::Args;

use crate::cli::address;
use crate::rest::{ApiError, Apis, Asked};
use show::{Shown, State};
use sources::{OnChain, Opened};

pub(crate) use examine::{Wrong, first_wrong, parent_epoch};
pub(crate) use next::Next;

/// Arguments.
#[derive(Debug, Args)]
pub struct DisputeCommand {
    /// Whose report.
    #[arg(long)]
    epoch: u64,
    /// REST API of an oracle that holds the report's verdicts and observations, as http://host:port; give several, and the next is asked
    /// when one fails or lies. Not asked once the report is void.
    #[arg(long)]
    api: Vec<String>,
    /// JSON-RPC of the chain; give several, and what money hangs on counts when more than half say it.
    #[arg(long, required = true)]
    rpc: Vec<String>,
    /// Address of SlaSettlement.
    #[arg(long, value_parser = address)]
    settlement: Address,
    /// Address of AggregationCourt.
    #[arg(long, value_parser = address)]
    aggregation_court: Address,
    /// Address of SignersCourt; without it the report is voided and nobody slashed.
    #[arg(long, value_parser = address)]
    signers_court: Option<Address>,
    /// Keystore of the account that sends, pays for gas and is paid as the challenger.
    #[arg(long)]
    key: PathBuf,
    /// File with the password of that keystore.
    #[arg(long)]
    password_file: PathBuf,
    /// Goes on with a report that somebody else proved wrong, who gets the rewards.
    #[arg(long)]
    for_others: bool,
    /// Says what is wrong, what would be sent and what it would cost, and sends nothing. Fails when it would be refused.
    #[arg(long)]
    dry_run: bool,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

/// Why nothing was done. Unless it says otherwise, nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum DisputeError {
    /// The URLs of the chain.
    #[error("--rpc: {0}")]
    RpcUrls(&'static str),
    /// No report.
    #[error("no report of epoch {0} was accepted in a final block: check --epoch, or wait until the report is final")]
    NotAccepted(u64),
    /// Posted through another contract.
    #[error(
        "the report of epoch {0} was posted through a contract that this version does not know, so that its words cannot be read from the chain: \
         update the software"
    )]
    Unreadable(u64),
    /// Somebody else was faster, or a reorganisation came.
    #[error("the report of epoch {0} stands and the one before it does not: the chain changed while it was read, try again")]
    Parentless(u64),
    /// Nobody to ask.
    #[error("the report stands, and nothing shows what it was computed from: name an oracle's API with --api")]
    NoApi,
    /// Nobody knows.
    #[error("no API given has the report of epoch {0}: set --api to another oracle's")]
    Unknown(u64),
    /// The APIs.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The key.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The transactions.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Does what is due next; what to print.
pub(crate) async fn run(arguments: &DisputeCommand) -> Result<String, DisputeError> {
    let worker = Worker::connect(arguments).await?;
    let shown = worker.next(arguments.epoch).await?;
    Ok(if arguments.json { shown.json().to_string() } else { shown.to_string() })
}

struct Worker<'a> {
    arguments: &'a DisputeCommand,
    client: Client,
    settlement: SettlementConfig,
    apis: Apis,
    key: SecretKey,
    aggregation: AggregationCourt,
    signers: Option<SignersCourt>,
}

impl<'a> Worker<'a> {
    /// Everything that can be wrong about the arguments shows here.
    async fn connect(arguments: &'a DisputeCommand) -> Result<Self, DisputeError> {
        let apis = Apis::new(&arguments.api)?;
        let key = keystore::load_secp(&arguments.key, &Password::from_file(&arguments.password_file)?)?;
        let rpc_url = RpcUrls::try_from(arguments.rpc.clone()).map_err(DisputeError::RpcUrls)?;
        let client = Client::of_settlement(rpc_url, &arguments.settlement).await?;
        let settlement = client.settlement_config().await?;
        check_token(client.rpc(), &settlement.token).await?;
        let aggregation = AggregationCourt::connect(client.rpc(), &arguments.aggregation_court).await?;
        let signers = match &arguments.signers_court {
            Some(address) => Some(SignersCourt::connect(client.rpc(), address).await?),
            None => None,
        };
        Ok(Self { arguments, client, settlement, apis, key, aggregation, signers })
    }

    /// The report that stands comes first, then those that were proven wrong, the newest first.
    async fn next(&self, epoch: u64) -> Result<Shown, DisputeError> {
        let start_s = self.settlement.genesis_s.saturating_add(epoch.saturating_mul(self.settlement.epoch_length_s));
        let from_block = self.client.last_block_at_or_before(start_s).await?.map_or(0, |block| block.number);
        let last_block = self.client.finalized().await?.number;
        let acceptances = self.client.acceptances(Some(epoch), from_block..=last_block).await?;
        let standing = self.client.accepted_report(epoch, BlockTag::Latest).await?;
        let mut shown = Err(DisputeError::NotAccepted(epoch));
        for acceptance in acceptances.iter().rev() {
            let stands = standing.as_ref().is_some_and(|accepted| accepted.digest.is_of(&acceptance.digest));
            let challenger = self.aggregation.convicted(&acceptance.digest, BlockTag::Latest).await?;
            // One that was convicted before it was posted stands all the same.
            let submitted = async || self.client.submitted_report(acceptance).await?.ok_or(DisputeError::Unreadable(epoch));
            shown = Ok(match challenger {
                _ if stands => self.examine(&submitted().await?).await?,
                Some(challenger) => self.follow(&submitted().await?, challenger).await?,
                None => Shown::new(epoch, acceptance.digest, State::Void),
            });
            if shown.as_ref().is_ok_and(|shown| !shown.is_over()) {
                break;
            }
        }
        shown
    }

    /// A report that stands: disputes it when it is wrong.
    async fn examine(&self, submitted: &SubmittedReport) -> Result<Shown, DisputeError> {
        let report = &submitted.report;
        if self.arguments.api.is_empty() {
            return Err(DisputeError::NoApi);
        }
        let parent_epoch = parent_epoch(&self.client, report).await?.ok_or(DisputeError::Parentless(report.epoch))?;
        let registry = self.client.registry_at(report.ref_block).await?;
        let chain = OnChain { report, parent_epoch, registry: &registry, settlement: &self.settlement };
        let (Opened { report: opened, setting }, notes) = match sources::open(&self.apis, &chain).await? {
            Asked::Told(opened, notes) => (opened, notes),
            Asked::Unknown => return Err(DisputeError::Unknown(report.epoch)),
        };
        let shown = |state| Shown::new(report.epoch, report.digest(), state).noting(notes);
        let Some(wrong) = first_wrong(&self.aggregation, &opened, &setting).await? else { return Ok(shown(State::Sound)) };
        let plan = Plan::default()
            .step(
                format!("dispute the report of epoch {}", report.epoch),
                &self.aggregation.address,
                calls::dispute_verdict(report, parent_epoch, &wrong.case),
            )
            .change("the report is void, with all that follow it; who signed it can be slashed");
        let outcome = self.execute(&plan).await?;
        Ok(shown(State::Disputed(wrong.case.judged.verdict.provider, wrong.mismatch)).doing(outcome))
    }

    /// A report that was proven wrong.
    async fn follow(&self, submitted: &SubmittedReport, challenger: Address) -> Result<Shown, DisputeError> {
        let (epoch, digest) = (submitted.report.epoch, submitted.report.digest());
        let shown = |state| Shown::new(epoch, digest, state);
        let Some(court) = &self.signers else { return Ok(shown(State::Convicted)) };
        let me = self.key.address();
        let next = Next::of(&self.client, court, submitted, BlockTag::Latest).await?;
        let mut plan = Plan::default();
        if challenger == me || self.arguments.for_others {
            for calldata in next.calls(submitted, &self.aggregation.address) {
                plan = plan.step(show::what(&next, epoch), &court.address, calldata);
            }
        }
        if next == Next::Done && court.credit(&me).await? > 0 {
            plan = plan.step("withdraw the rewards that the court keeps", &court.address, calls::withdraw_reward());
        }
        if plan.steps.is_empty() {
            let is_anothers = challenger != me && matches!(next, Next::Open | Next::Slash(_));
            return Ok(shown(if is_anothers { State::Anothers(challenger) } else { State::Idle(next) }));
        }
        let outcome = self.execute(&plan).await?;
        Ok(shown(State::Followed(next)).doing(outcome))
    }

    async fn execute(&self, plan: &Plan) -> Result<Outcome, CommandError> {
        let config = SendConfig::default();
        Wallet { rpc: self.client.rpc(), key: &self.key, config, dry_run: self.arguments.dry_run }.execute(plan).await
    }
}
