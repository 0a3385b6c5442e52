//! `assay-oracle claim`: draws the rewards of an oracle or a provider. Anyone may send it, the recipient of the leaf is paid.
//!
//! An API is asked, this node's own unless told otherwise, and nothing that it says is believed before the chain says the same.

use std::path::PathBuf;

use assay_chain::command::{CommandError, Outcome, Plan, Wallet, check_token};
use assay_chain::tokens::Tokens;
use assay_chain::transaction::SendConfig;
use assay_chain::{ChainError, Reward, RewardError, Rpc};
use assay_core::ids::{OracleId, ProviderId};
use assay_core::report::Payee;
use assay_daemon::keystore::{self, KeystoreError, Password};
use clap::Args;
use serde_json::{Value, json};

use crate::config::Config;
use crate::rest::{ApiError, Apis, Asked};

/// A reward is a report, a leaf and a proof of at most 32 hashes.
const MAX_REWARD_BYTES: usize = 64 * 1024;

/// Arguments.
#[derive(Debug, Args)]
pub struct Claim {
    /// The node's config file (TOML): names the chain and the transmitter, which sends and pays.
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// Whose rewards; without it this oracle's own.
    #[arg(long = "for", num_args = 2, value_names = ["oracle|provider", "ID"])]
    payee: Option<Vec<String>>,
    /// REST API of any oracle, as http://host:port; without it this node's own.
    #[arg(long)]
    api: Option<String>,
    /// Says what would be sent and what it would cost, and sends nothing. Fails when it would be refused.
    #[arg(long)]
    dry_run: bool,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

/// Why nothing was claimed. Unless it says otherwise, nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The arguments.
    #[error("--for takes `oracle` or `provider` and an id, as in --for provider 3")]
    Payee,
    /// The transmitter's key.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The API.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Nothing was ever earned.
    #[error("the API at {0} knows no accepted report that pays this account: nothing is left to claim")]
    NothingEarned(String),
    /// What the API gives.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The transaction.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Claims, or says what a claim would do; what to print.
pub(crate) async fn run(arguments: &Claim, config: &Config) -> Result<String, ClaimError> {
    let payee = match &arguments.payee {
        Some(words) => parse(words).ok_or(ClaimError::Payee)?,
        None => Payee::Oracle(config.oracle_id),
    };
    let rpc = Rpc::connect(config.chain.rpc_url.clone()).await?;
    rpc.check_chain(config.chain.chain_id)?;
    let settlement = &config.chain.settlement;
    rpc.check_code("settlement", settlement).await?;
    check_token(&rpc, &rpc.token_of(settlement).await?).await?;
    let api = arguments.api.clone().unwrap_or_else(|| format!("http://{}", config.api_listen));
    let (kind, id) = payee.kind_and_id();
    let due = fetch(&api, payee).await?.check(&rpc, settlement, kind, id).await?;
    let key = keystore::load_secp(&config.keys.transmitter, &Password::from_file(&config.keys.password_file)?)?;
    let (whom, amount, recipient) = (name(payee), Tokens(due.due()), due.reward().recipient);
    let what = format!("claim {amount} tokens of rewards of {whom}, by the report of epoch {}", due.reward().report.epoch);
    let plan = Plan::default().step(what, settlement, due.calldata()).change(format!("{recipient} has {amount} tokens more"));
    let send = SendConfig { max_fee_per_gas_wei: config.chain.max_fee_per_gas_wei.into(), ..SendConfig::default() };
    let outcome = Wallet { rpc: &rpc, key: &key, config: send, dry_run: arguments.dry_run }.execute(&plan).await?;
    Ok(printed(&outcome, arguments.json, &json!({ "rewards": amount, "recipient": recipient })))
}

fn printed(outcome: &Outcome, as_json: bool, more: &Value) -> String {
    if !as_json {
        return outcome.to_string().trim_end().to_owned();
    }
    let mut printed = outcome.json();
    if let (Some(printed), Some(more)) = (printed.as_object_mut(), more.as_object()) {
        printed.extend(more.clone());
    }
    printed.to_string()
}

fn parse(words: &[String]) -> Option<Payee> {
    let [kind, id] = words else { return None };
    let id: u64 = id.parse().ok()?;
    match kind.as_str() {
        "oracle" => Some(Payee::Oracle(OracleId(id))),
        "provider" => Some(Payee::Provider(ProviderId(id))),
        _ => None,
    }
}

fn name(payee: Payee) -> String {
    match payee {
        Payee::Oracle(id) => format!("oracle {id}"),
        Payee::Provider(id) => format!("provider {id}"),
    }
}

/// `/v1/rewards/{kind}/{id}`
async fn fetch(base: &str, payee: Payee) -> Result<Reward, ClaimError> {
    let path = format!("/v1/rewards/{}", name(payee).replace(' ', "/"));
    let asked = Apis::new(&[base.to_owned()])?.first("the reward", async |api| api.document(&path, MAX_REWARD_BYTES).await).await?;
    match asked {
        Asked::Told(reward, _) => Ok(reward),
        Asked::Unknown => Err(ClaimError::NothingEarned(base.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_rewards_is_said_by_kind_and_id() {
        let parsed = |words: &[&str]| parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(parsed(&["oracle", "7"]), Some(Payee::Oracle(OracleId(7))));
        assert_eq!(parsed(&["provider", "3"]), Some(Payee::Provider(ProviderId(3))));
        for wrong in [&["builder", "3"][..], &["oracle", "x"], &["oracle"], &[]] {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
    }
}
