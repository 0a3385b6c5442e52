//! Commands about money: registering, stake, capacity, offers, pay, exit. The operator's account signs them; its key need not be on the
//! provider's machine.

use std::io::{self, Write};
use std::path::PathBuf;

use assay_chain::command::{CommandError, Outcome, Plan, Wallet, check_token};
use assay_chain::market::{Market, registered_by};
use assay_chain::tokens::Tokens;
use assay_chain::transaction::SendConfig;
use assay_chain::{BlockTag, ChainError, DueReward, Reward, RewardError, Rpc, calls};
use assay_core::ids::{Address, ProviderId};
use assay_core::secp::SecretKey;
use assay_daemon::config::{self, ConfigError};
use assay_daemon::keystore::{self, KeystoreError, Password};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use thiserror::Error;

use crate::config::Config;
use crate::rebut::{Api, RebutError};

mod status;

pub(crate) use status::{MoneyStatus, show};

/// Which provider and chain.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The provider's config file: it names the chain, the contracts and the provider.
    #[arg(long)]
    config: PathBuf,
    /// JSON-RPC of the chain.
    #[arg(long)]
    rpc: String,
    /// Overrides the config's provider id, for the time until it is written there.
    #[arg(long)]
    provider_id: Option<u64>,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

/// Who signs and pays for gas.
#[derive(Debug, Args)]
pub(crate) struct Sending {
    #[command(flatten)]
    place: Place,
    /// Keystore of the operator's account.
    #[arg(long)]
    key: PathBuf,
    /// File with the password of that keystore.
    #[arg(long)]
    password_file: PathBuf,
    /// Says what would be sent and what it would cost, and sends nothing. Fails when it would be refused.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Register {
    #[command(flatten)]
    sending: Sending,
    /// Where its gRPC is reached, as in http://host:9300.
    #[arg(long)]
    endpoint: String,
    /// SLA class.
    #[arg(long)]
    class: u16,
    /// Declared region.
    #[arg(long)]
    region: u64,
    /// Who is paid; without it the operator.
    #[arg(long, value_parser = crate::cli::address)]
    recipient: Option<Address>,
    /// Stake, in tokens.
    #[arg(long)]
    stake: Tokens,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Stake {
    /// Adds to the own stake.
    Add(AddStake),
    /// Takes all of it back, when the exit and its unbonding are over.
    Withdraw(Sending),
}

#[derive(Debug, Args)]
pub(crate) struct AddStake {
    #[command(flatten)]
    sending: Sending,
    /// How much, in tokens.
    #[arg(long)]
    amount: Tokens,
}

#[derive(Debug, Args)]
pub(crate) struct Capacity {
    #[command(flatten)]
    sending: Sending,
    /// Capacity that the stake is to back, GiB.
    #[arg(long)]
    gib: u64,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    sending: Sending,
    /// Address of CapacityMarket.
    #[arg(long, value_parser = crate::cli::address)]
    market: Address,
    /// Offered in all, the booked part with it, GiB.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    gib: u64,
    /// The least that is taken per GiB and epoch, in tokens.
    #[arg(long)]
    price: Tokens,
}

#[derive(Debug, Args)]
pub(crate) struct InMarket {
    #[command(flatten)]
    sending: Sending,
    /// Address of CapacityMarket.
    #[arg(long, value_parser = crate::cli::address)]
    market: Address,
}

#[derive(Debug, Args)]
#[group(id = "source", required = true, multiple = true)]
pub(crate) struct Source {
    /// REST API of any oracle, as http://host:port: claims the rewards of its newest accepted report.
    #[arg(long)]
    api: Option<String>,
    /// Address of CapacityMarket: withdraws what bookings earned.
    #[arg(long, value_parser = crate::cli::address)]
    market: Option<Address>,
}

#[derive(Debug, Args)]
pub(crate) struct Claim {
    #[command(flatten)]
    sending: Sending,
    #[command(flatten)]
    source: Source,
}

/// Why no money moved. Unless it says otherwise, nothing was sent.
#[derive(Debug, Error)]
pub enum EconomyError {
    /// The config file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A transaction.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// An oracle's API.
    #[error(transparent)]
    Api(#[from] RebutError),
    /// What the API gives.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// The config names a provider already.
    #[error("the config says that this is provider {0} already; to register another one, make another data directory")]
    Registered(ProviderId),
    /// The config names no provider.
    #[error("the config names no provider: run `register` first and write its id into the config as provider_id, or give --provider-id")]
    NoProvider,
    /// Neither rewards nor earnings.
    #[error("provider {0} has earned nothing yet that is not paid: nothing is left to claim")]
    NothingDue(ProviderId),
    /// Standard output.
    #[error("standard output cannot be written")]
    Io(#[from] io::Error),
}

/// What a command stands on.
struct Desk {
    config: Config,
    rpc: Rpc,
    token: Address,
}

impl Place {
    async fn open(&self) -> Result<Desk, EconomyError> {
        let config: Config = config::load(&self.config)?;
        let rpc = Rpc::connect(self.rpc.as_str()).await?;
        rpc.check_chain(config.chain_id)?;
        rpc.check_code("settlement", &config.settlement).await?;
        let token = rpc.token_of(&config.settlement).await?;
        check_token(&rpc, &token).await?;
        Ok(Desk { config, rpc, token })
    }

    fn provider(&self, desk: &Desk) -> Result<ProviderId, EconomyError> {
        let id = self.provider_id.unwrap_or(desk.config.provider_id.0);
        if id == 0 { Err(EconomyError::NoProvider) } else { Ok(ProviderId(id)) }
    }
}

impl Sending {
    fn key(&self) -> Result<SecretKey, EconomyError> {
        Ok(keystore::load_secp(&self.key, &Password::from_file(&self.password_file)?)?)
    }

    async fn execute(&self, desk: &Desk, plan: &Plan) -> Result<Outcome, EconomyError> {
        let key = self.key()?;
        let wallet = Wallet { rpc: &desk.rpc, key: &key, config: SendConfig::default(), dry_run: self.dry_run };
        Ok(wallet.execute(plan).await?)
    }

    /// The transactions, and what the command adds to them.
    fn show(&self, outcome: &Outcome, more: Value) -> Result<(), EconomyError> {
        if !self.place.json {
            write!(io::stdout(), "{outcome}")?;
            return print(false, &more);
        }
        let mut printed = outcome.json();
        if let (Some(printed), Value::Object(more)) = (printed.as_object_mut(), more) {
            printed.extend(more);
        }
        print(true, &printed)
    }

    /// One call to a contract about this provider, with nothing to tell but the transaction.
    async fn simple(
        &self,
        contract: impl FnOnce(&Desk) -> Address,
        plan: impl FnOnce(ProviderId) -> (String, Vec<u8>, String),
    ) -> Result<(), EconomyError> {
        let desk = self.place.open().await?;
        let (what, call, change) = plan(self.place.provider(&desk)?);
        let plan = Plan::default().step(what, &contract(&desk), call).change(change);
        self.show(&self.execute(&desk, &plan).await?, json!({}))
    }
}

/// One JSON object, or a field a line.
fn print(as_json: bool, value: &Value) -> Result<(), EconomyError> {
    let mut out = io::stdout().lock();
    match value.as_object() {
        Some(fields) if !as_json => Ok(fields.iter().try_for_each(|(name, value)| match value {
            Value::String(text) => writeln!(out, "{name}: {text}"),
            other => writeln!(out, "{name}: {other}"),
        })?),
        _ => Ok(writeln!(out, "{value}")?),
    }
}

/// Approves exactly so much, then does what takes it.
fn paid(desk: &Desk, amount: Tokens, what: String, call: Vec<u8>) -> Plan {
    let registry = &desk.config.provider_registry;
    Plan::default()
        .step(format!("let the registry take {amount} tokens"), &desk.token, calls::approve(registry, amount.0))
        .step(what, registry, call)
}

pub(crate) async fn register(arguments: Register) -> Result<(), EconomyError> {
    let Register { sending, endpoint, class, region, recipient, stake } = arguments;
    let desk = sending.place.open().await?;
    if desk.config.provider_id.0 != 0 {
        return Err(EconomyError::Registered(desk.config.provider_id));
    }
    let receipt_key = keystore::load_secp(&desk.config.keystore, &Password::from_file(&desk.config.password_file)?)?.address();
    let operator = sending.key()?.address();
    let recipient = recipient.unwrap_or(operator);
    let registration = calls::Registration { receipt_key, endpoint: endpoint.clone(), class_id: class, region, recipient, stake: stake.0 };
    let what = format!("register a provider of class {class} in region {region} at {endpoint}, with a stake of {stake} tokens");
    let plan = paid(&desk, stake, what, calls::register_provider(&registration))
        .change(format!("{operator} is the operator, {receipt_key} signs receipts, {recipient} is paid"));
    let outcome = sending.execute(&desk, &plan).await?;
    let id = match outcome.last() {
        Some(mined) => registered_by(&desk.config.provider_registry, mined)?,
        None => None,
    };
    sending.show(&outcome, json!({ "providerId": id, "receiptKey": receipt_key }))
}

pub(crate) async fn stake(command: Stake) -> Result<(), EconomyError> {
    match command {
        Stake::Add(AddStake { sending, amount }) => {
            let desk = sending.place.open().await?;
            let id = sending.place.provider(&desk)?;
            let plan = paid(&desk, amount, format!("add {amount} tokens to the stake of provider {id}"), calls::add_stake(id, amount.0))
                .change(format!("{amount} tokens more can be slashed, and back capacity"));
            sending.show(&sending.execute(&desk, &plan).await?, json!({}))
        }
        Stake::Withdraw(sending) => {
            let plan = |id| {
                let change = "what is left of the own stake is the operator's again".to_owned();
                (format!("withdraw the stake of provider {id}"), calls::withdraw_stake(id), change)
            };
            sending.simple(|desk| desk.config.provider_registry, plan).await
        }
    }
}

pub(crate) async fn capacity(arguments: Capacity) -> Result<(), EconomyError> {
    let Capacity { sending, gib } = arguments;
    let plan = |id| {
        let change = format!("up to {gib} GiB can be listed; bookings keep what they have");
        (format!("declare {gib} GiB for provider {id}"), calls::declare_capacity(id, gib), change)
    };
    sending.simple(|desk| desk.config.provider_registry, plan).await
}

pub(crate) async fn list(arguments: List) -> Result<(), EconomyError> {
    let List { sending, market, gib, price } = arguments;
    let plan = |id| {
        let change = format!("builders can book up to {gib} GiB in all at {price} tokens per GiB and epoch; bookings keep their price");
        (format!("list {gib} GiB of provider {id} at {price} tokens"), calls::list(id, gib, price.0), change)
    };
    sending.simple(|_| market, plan).await
}

pub(crate) async fn unlist(arguments: InMarket) -> Result<(), EconomyError> {
    let InMarket { sending, market } = arguments;
    let plan = |id| {
        let change = "nobody can book or extend any more; bookings go on to their end".to_owned();
        // The price of an offer of nothing is nobody's concern, and zero is refused.
        (format!("take the offer of provider {id} back"), calls::list(id, 0, 1), change)
    };
    sending.simple(|_| market, plan).await
}

pub(crate) async fn exit(sending: Sending) -> Result<(), EconomyError> {
    let plan = |id| {
        let change = "for ever: the provider is measured, paid and booked no more, and its stake comes back after the unbonding".to_owned();
        (format!("ask for the exit of provider {id}"), calls::request_exit(id), change)
    };
    sending.simple(|desk| desk.config.provider_registry, plan).await
}

/// Rewards of the newest accepted report, and what bookings earned: whatever of the two is asked for and due.
pub(crate) async fn claim(arguments: Claim) -> Result<(), EconomyError> {
    let Claim { sending, source } = arguments;
    let desk = sending.place.open().await?;
    let id = sending.place.provider(&desk)?;
    let (mut plan, mut rewards, mut earnings) = (Plan::default(), 0, 0);
    if let Some(due) = rewards_of(&desk, id, source.api.as_deref()).await? {
        rewards = due.due();
        let what = format!("claim {} tokens of rewards of provider {id}", Tokens(rewards));
        let change = format!("{} has {} tokens more", due.reward().recipient, Tokens(rewards));
        plan = plan.step(what, &desk.config.settlement, due.calldata()).change(change);
    }
    if let Some(address) = &source.market {
        let market = Market::connect(&desk.rpc, address).await?;
        earnings = market.earnings(id, BlockTag::Latest).await?;
        if earnings > 0 {
            let what = format!("withdraw {} tokens that bookings of provider {id} earned", Tokens(earnings));
            plan = plan
                .step(what, address, calls::withdraw_earnings(id))
                .change(format!("the recipient has {} tokens more", Tokens(earnings)));
        }
    }
    if plan.steps.is_empty() {
        return Err(EconomyError::NothingDue(id));
    }
    let outcome = sending.execute(&desk, &plan).await?;
    sending.show(&outcome, json!({ "rewards": Tokens(rewards), "earnings": Tokens(earnings) }))
}

/// `None` when no API was named, or nothing is due.
async fn rewards_of(desk: &Desk, id: ProviderId, api: Option<&str>) -> Result<Option<DueReward>, EconomyError> {
    let Some(api) = api else { return Ok(None) };
    let told: Option<Reward> = Api::new(api)?.find(&format!("/v1/rewards/provider/{id}")).await?;
    let Some(told) = told else { return Ok(None) };
    match told.check(&desk.rpc, &desk.config.settlement, 0, id.0).await {
        Ok(due) => Ok(Some(due)),
        Err(RewardError::Paid { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
