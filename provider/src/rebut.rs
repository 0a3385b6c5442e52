//! `assay-provider rebut`: answers on the chain the storage challenge whose silence is about to be slashed.
//!
//! Nobody has to be believed: the challenge must be the one that the slash names, the contract checks the slash against the accepted
//! report, and our own answer is judged here, as the oracles will judge it, before anything is sent.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use assay_chain::transaction::{self, Mined, SendConfig, TransactionError};
use assay_chain::{ChainError, LateAnswer, Rpc, calls};
use assay_core::challenge::{Answer, Asked, Challenge};
use assay_core::claim::{ClaimRoot, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::observation::{Fault, facts_root};
use assay_core::report::Report;
use assay_core::secp::{SecretKey, Signature65};
use assay_core::transcript::{Outcome, judge_late};
use assay_core::verdict::silence_digest;
use assay_daemon::config::{self, ConfigError};
use assay_daemon::keystore::{self, KeystoreError, Password};
use assay_proto::convert::ConvertError;
use clap::Args;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::challenge::ProviderService;
use crate::config::Config;
use crate::error::StoreError;
use crate::store::Store;

/// How long an oracle's API may take.
const API_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Rebut {
    /// The provider's config file; its process may go on running.
    #[arg(long)]
    config: PathBuf,
    /// REST API of any oracle, as http://host:port.
    #[arg(long)]
    api: String,
    /// JSON-RPC of the chain.
    #[arg(long)]
    rpc: String,
    /// Keystore of the account that sends the transaction and pays for its gas; any account may.
    #[arg(long)]
    key: PathBuf,
    /// File with the password of that keystore.
    #[arg(long)]
    password_file: PathBuf,
    /// The epoch whose silence is rebutted; without it the newest one that slashes this provider for silence.
    #[arg(long)]
    epoch: Option<u64>,
}

/// Why a silence is not rebutted. Unless it says otherwise, nothing was sent.
#[derive(Debug, Error)]
pub enum RebutError {
    /// The config file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The API does not answer.
    #[error("the API at {url} does not answer: {reason}; set --api to the base URL of an oracle that runs")]
    Api {
        /// Asked.
        url: String,
        /// Why not.
        reason: String,
    },
    /// No slash for silence among the newest epochs.
    #[error("no report that the API lists slashes provider {0} for silence: there is nothing to rebut")]
    NothingToRebut(ProviderId),
    /// The named epoch has none.
    #[error(
        "epoch {epoch} does not slash provider {provider}, or is not certified yet: look at /v1/epochs and leave --epoch out to search"
    )]
    NotSlashed {
        /// The epoch.
        epoch: u64,
        /// We.
        provider: ProviderId,
    },
    /// Another reason than silence.
    #[error("epoch {epoch} slashes provider {provider} for another reason than silence (\"{reason}\"): that cannot be rebutted")]
    NotSilence {
        /// The epoch.
        epoch: u64,
        /// We.
        provider: ProviderId,
        /// What it is slashed for.
        reason: String,
    },
    /// The API does not give the challenge, or another one.
    #[error("the API at {0} does not give the challenge that the slash names; ask another oracle's API")]
    WrongChallenge(String),
    /// The store does not answer.
    #[error("this provider's own store does not answer: {0}")]
    Store(#[from] StoreError),
    /// The claims of that epoch are gone.
    #[error(
        "claim set {} with {} blocks is not known to this data directory: the claims have changed since. Rebut from the data directory that \
         held them, or restore it",
        .0.hash,
        .0.blocks
    )]
    ClaimsChanged(ClaimRoot),
    /// The answer would prove a fault.
    #[error(
        "{bad} of {asked} chunks are missing or damaged on this disk: the answer would prove a fault instead of clearing one. Restore the \
         replicas from a backup first, while the window is open"
    )]
    NotWhole {
        /// Missing or damaged.
        bad: usize,
        /// Asked for.
        asked: usize,
    },
    /// Our own answer is not one.
    #[error(
        "this provider's answer does not have the form that is asked for; the data directory and the receipt key must be the registered ones"
    )]
    NoAnswer,
    /// Our own answer does not parse.
    #[error(transparent)]
    Malformed(#[from] ConvertError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The window is over.
    #[error("the window in which this silence could be rebutted is over: the slash is final")]
    TooLate,
    /// Done already.
    #[error("this silence is rebutted already: nothing is left to do")]
    AlreadyRebutted,
    /// The chain knows another report, or none.
    #[error("the chain has not accepted this report of epoch {0}, or another one: wait until the API shows it as accepted, then try again")]
    NotAccepted(u64),
    /// Another receipt key.
    #[error("the receipt key of this config is not the one that is registered for provider {0}")]
    ReceiptKey(ProviderId),
    /// The transaction.
    #[error(transparent)]
    Transaction(TransactionError),
    /// Standard output.
    #[error("system")]
    Io(#[from] io::Error),
}

/// `/v1/slashes/{provider}/{epoch}`, as far as it is needed.
#[derive(Deserialize)]
struct Slash {
    report: Report,
    reason: u8,
    description: String,
    facts_root: Hash32,
    #[serde(with = "assay_core::amount")]
    amount: u128,
    proof: Vec<Hash32>,
    challenge: Option<Challenge>,
}

#[derive(Deserialize)]
struct Epochs {
    epochs: Vec<u64>,
}

/// An oracle's REST API.
pub(crate) struct Api {
    base: String,
    client: reqwest::Client,
}

impl Api {
    pub(crate) fn new(base: &str) -> Result<Self, RebutError> {
        let base = base.trim_end_matches('/').to_owned();
        let client = reqwest::Client::builder().timeout(API_TIMEOUT).build();
        Ok(Self { client: client.map_err(|error| RebutError::Api { url: base.clone(), reason: error.to_string() })?, base })
    }

    /// `None` where there is nothing.
    pub(crate) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, RebutError> {
        let url = format!("{}{path}", self.base);
        let failed = |error: reqwest::Error| RebutError::Api { url: url.clone(), reason: error.to_string() };
        let response = self.client.get(&url).send().await.map_err(failed)?;
        match response.status() {
            reqwest::StatusCode::NOT_FOUND => Ok(None),
            _ => Ok(Some(response.error_for_status().map_err(failed)?.json().await.map_err(failed)?)),
        }
    }

    async fn slash(&self, provider: ProviderId, epoch: u64) -> Result<Option<Slash>, RebutError> {
        self.find(&format!("/v1/slashes/{provider}/{epoch}")).await
    }

    async fn newest_silence(&self, provider: ProviderId) -> Result<Slash, RebutError> {
        let listed: Option<Epochs> = self.find("/v1/epochs").await?;
        for epoch in listed.map(|listed| listed.epochs).unwrap_or_default() {
            if let Some(slash) = self.slash(provider, epoch).await?.filter(Slash::is_silence) {
                return Ok(slash);
            }
        }
        Err(RebutError::NothingToRebut(provider))
    }

    async fn silence_of(&self, provider: ProviderId, epoch: u64) -> Result<Slash, RebutError> {
        let slash = self.slash(provider, epoch).await?.ok_or(RebutError::NotSlashed { epoch, provider })?;
        match slash.is_silence() {
            true => Ok(slash),
            false => Err(RebutError::NotSilence { epoch, provider, reason: slash.description }),
        }
    }
}

impl Slash {
    fn is_silence(&self) -> bool {
        self.reason == Fault::StorageSilent.reason()
    }

    /// The challenge, if it is the one under the slash.
    fn challenge(&self) -> Option<&Challenge> {
        self.challenge.as_ref().filter(|challenge| facts_root([&silence_digest(&challenge.digest())]) == self.facts_root)
    }
}

/// Does what the command says.
pub(crate) async fn run(arguments: Rebut) -> Result<(), RebutError> {
    let config: Config = config::load(&arguments.config)?;
    let receipt_key = keystore::load_secp(&config.keystore, &Password::from_file(&config.password_file)?)?;
    let sender = keystore::load_secp(&arguments.key, &Password::from_file(&arguments.password_file)?)?;
    let (provider, api) = (config.provider_id, Api::new(&arguments.api)?);
    let slash = match arguments.epoch {
        Some(epoch) => api.silence_of(provider, epoch).await?,
        None => api.newest_silence(provider).await?,
    };
    let challenge = slash.challenge().ok_or(RebutError::WrongChallenge(arguments.api))?;
    say(&format!(
        "Epoch {} slashes provider {provider} by {} (smallest unit) for silence on storage challenge {} of epoch {}.",
        slash.report.epoch,
        slash.amount,
        challenge.digest(),
        challenge.epoch
    ))?;
    let answer = answer(&config, receipt_key, challenge).await?;
    say(&format!("This store holds all {} chunks that were asked for, and they lead to the claims.", challenge.samples().len()))?;
    let rpc = Rpc::connect(arguments.rpc.as_str()).await?;
    rpc.check_chain(config.chain_id)?;
    rpc.check_code("settlement", &config.settlement).await?;
    say(&format!(
        "Sending the answer to {} from {}: about 2 million gas. Everybody can then check it; an answer that turned out wrong would be slashed.",
        config.settlement,
        sender.address()
    ))?;
    let mined = send(&rpc, &sender, &config, &slash, &answer).await?;
    say(&format!(
        "Rebutted in block {} by transaction {} with {} gas. This silence is not slashed any more; it stays unpaid.",
        mined.block_number, mined.tx_hash, mined.gas_used
    ))
}

/// The answer by slices, judged as every reader of the chain will.
async fn answer(config: &Config, receipt_key: SecretKey, challenge: &Challenge) -> Result<LateAnswer, RebutError> {
    let address = receipt_key.address();
    let store = Store::open_beside(config, receipt_key).await?;
    let root = ClaimRoot { hash: challenge.claim_root, blocks: challenge.claim_blocks };
    let claims = store.claim_set(&root).await.map_err(|error| match error {
        StoreError::UnknownClaimSet(root) => RebutError::ClaimsChanged(root),
        error => error.into(),
    })?;
    let (answer, signature) = ProviderService::new(store).late_answer(challenge).await?;
    late(&answer, signature, challenge, &claims, &address)
}

/// Only an answer without any fault may go to the chain.
fn late(
    answer: &Answer,
    signature: Signature65,
    challenge: &Challenge,
    claims: &ClaimSet,
    receipt_key: &Address,
) -> Result<LateAnswer, RebutError> {
    let asked = Asked { challenge, claims: Some(claims), kept: None };
    let Outcome::Checked(checked) = judge_late(&asked, answer, &signature, receipt_key) else {
        return Err(RebutError::NoAnswer);
    };
    if !checked.all_valid() {
        return Err(RebutError::NotWhole { bad: checked.invalid.len() + checked.missing.len(), asked: answer.samples.len() });
    }
    let slices = || answer.samples.iter().flatten();
    Ok(LateAnswer {
        challenge_digest: challenge.digest(),
        chunks: slices().flat_map(|slice| slice.chunk.iter().copied()).collect(),
        siblings: slices().map(|slice| slice.siblings.concat()).collect(),
        signature,
    })
}

async fn send(rpc: &Rpc, sender: &SecretKey, config: &Config, slash: &Slash, answer: &LateAnswer) -> Result<Mined, RebutError> {
    let calldata = calls::rebut(&slash.report, config.provider_id, slash.amount, &slash.proof, answer);
    let sent = transaction::send(rpc, sender, &config.settlement, &calldata, &SendConfig::default()).await;
    sent.map_err(|error| refused(error, config.provider_id, slash.report.epoch))
}

/// The contract's refusals that a provider can do something about.
fn refused(error: TransactionError, provider: ProviderId, epoch: u64) -> RebutError {
    let TransactionError::WouldRevert(reason) = &error else { return RebutError::Transaction(error) };
    match reason.as_str() {
        reason if reason.starts_with("RebuttalTooLate") => RebutError::TooLate,
        reason if reason.starts_with("AlreadyRebutted") => RebutError::AlreadyRebutted,
        reason if reason.starts_with("UnknownReport") => RebutError::NotAccepted(epoch),
        reason if reason.starts_with("InvalidAnswerSignature") => RebutError::ReceiptKey(provider),
        _ => RebutError::Transaction(error),
    }
}

fn say(line: &str) -> Result<(), RebutError> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_refusals_say_what_to_do() {
        let text = |reason: &str| refused(TransactionError::WouldRevert(reason.into()), ProviderId(7), 3).to_string();
        assert!(text("RebuttalTooLate { closedAt: 5 }").contains("window"));
        assert!(text("AlreadyRebutted { providerId: 7, epoch: 3 }").contains("nothing is left to do"));
        assert!(text("UnknownReport { epoch: 3 }").contains("epoch 3"));
        assert!(text("InvalidAnswerSignature").contains("provider 7"));
        assert!(text("InvalidProof").contains("InvalidProof"));
    }
}
