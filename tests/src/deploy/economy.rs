//! The contracts around the settlement: what consumers read, standing, the market, the keeper, and courts.

use alloy_primitives::U256;
use alloy_sol_types::{SolCall, SolConstructor};
use assay_chain::calls;
use assay_contracts_bindings::{
    AggregationCourt, CapacityMarket, EquivocationCourt, ICapacityMarket, IProviderStanding, Keeper, OracleRegistry, ProviderRegistry,
    ProviderStanding, SignersCourt, SlaOracle, SlaSettlement, TestToken,
};
use assay_core::ids::{Address, ProviderId};
use assay_core::params::TOKEN;

use super::{DEPLOYER, DeployError, DeploySpec, Deployment, Stream, word};

/// Of what providers are paid, in millionths.
pub const MARGIN_PPM: u32 = 100_000;
/// Of the margin, what the oracles' pool gets, in millionths.
pub const ORACLE_SHARE_PPM: u32 = 500_000;
/// Who gets the rest of the margin.
pub const TREASURY: Address = Address([0x77; 20]);
/// Of an oracle's stake, what one equivocation takes, in millionths.
const EQUIVOCATION_PPM: u64 = 1_000_000;
/// Of an oracle's stake, what the signature under one wrong report takes, in millionths.
pub const SIGNERS_PPM: u64 = 100_000;
/// How long the slash of who signed a wrong report can be called off, in seconds.
pub const REVIEW_S: u64 = 10;
/// Epochs that a builder still pays after he ended a booking.
const NOTICE_EPOCHS: u64 = 1;
const HORIZON_EPOCHS: u64 = 10_000;
/// What the keeper holds to pay tips from.
pub const KEEPER_FUNDS: u128 = 1_000 * TOKEN;
/// For a paid claim.
pub const CLAIM_TIP: u128 = TOKEN / 10;
/// For an executed slash.
pub const SLASH_TIP: u128 = TOKEN;
/// For a settled booking, out of its margin.
pub const BOOKING_TIP: u128 = TOKEN / 20;
/// Most tips of each kind in one day.
const TIPS_PER_DAY: u32 = 1_000;
/// `IKeeper.Action` with its tip.
const TARIFFS: [(u8, u128); 3] = [(1, CLAIM_TIP), (2, SLASH_TIP), (3, BOOKING_TIP)];

/// Where they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Economy {
    /// `SlaOracle`.
    pub sla_oracle: Address,
    /// `ProviderStanding`.
    pub standing: Address,
    /// `CapacityMarket`.
    pub market: Address,
    /// `Keeper`.
    pub keeper: Address,
    /// `EquivocationCourt`.
    pub equivocation_court: Address,
    /// `AggregationCourt`.
    pub aggregation_court: Address,
    /// `SignersCourt`.
    pub signers_court: Address,
}

impl Economy {
    /// Deploys them on a settlement that is on its way, and appoints them.
    pub(super) async fn deploy(
        chain: &mut Stream,
        spec: &DeploySpec,
        oracle_registry: &Address,
        provider_registry: &Address,
        settlement: &Address,
        token: &Address,
    ) -> Result<Self, DeployError> {
        let at = word(settlement);
        let arguments = SlaOracle::constructorCall { settlement_: at }.abi_encode();
        let sla_oracle = chain.create("deploy SlaOracle", &DEPLOYER, &SlaOracle::BYTECODE, arguments).await?;
        let terms = IProviderStanding::Terms {
            graceSeconds: spec.epoch_length_s,
            reviewSeconds: spec.epoch_length_s * 28,
            presentSeconds: spec.epoch_length_s * 28,
            minPanel: 1,
        };
        let arguments =
            ProviderStanding::constructorCall { settlement: at, oracle: word(&sla_oracle), owner: word(&DEPLOYER), terms }.abi_encode();
        let standing = chain.create("deploy ProviderStanding", &DEPLOYER, &ProviderStanding::BYTECODE, arguments).await?;
        let config = ICapacityMarket::Config {
            settlement: at,
            oracle: word(&sla_oracle),
            standing: word(&standing),
            noticeEpochs: NOTICE_EPOCHS,
            horizonEpochs: HORIZON_EPOCHS,
            unsettledDelay: spec.epoch_length_s * 4,
            maxMarginPpm: MARGIN_PPM.try_into().unwrap_or_default(),
            subsidyPpm: Default::default(),
            subsidyEpochs: 0,
        };
        let fees = ICapacityMarket::Fees {
            marginPpm: MARGIN_PPM.try_into().unwrap_or_default(),
            oracleSharePpm: ORACLE_SHARE_PPM.try_into().unwrap_or_default(),
            treasury: word(&TREASURY),
        };
        let arguments = CapacityMarket::constructorCall { c: config, fees_: fees, owner: word(&DEPLOYER) }.abi_encode();
        let market = chain.create("deploy CapacityMarket", &DEPLOYER, &CapacityMarket::BYTECODE, arguments).await?;
        let arguments = Keeper::constructorCall { settlement_: at, market_: word(&market), owner_: word(&DEPLOYER) }.abi_encode();
        let keeper = chain.create("deploy Keeper", &DEPLOYER, &Keeper::BYTECODE, arguments).await?;
        let arguments = EquivocationCourt::constructorCall { settlement: at, slashPpm_: U256::from(EQUIVOCATION_PPM) }.abi_encode();
        let equivocation_court = chain.create("deploy EquivocationCourt", &DEPLOYER, &EquivocationCourt::BYTECODE, arguments).await?;
        let arguments = AggregationCourt::constructorCall { settlement: at, slashPpm_: U256::ZERO }.abi_encode();
        let aggregation_court = chain.create("deploy AggregationCourt", &DEPLOYER, &AggregationCourt::BYTECODE, arguments).await?;
        let slash_ppm = U256::from(SIGNERS_PPM);
        let arguments =
            SignersCourt::constructorCall { settlement: at, slashPpm_: slash_ppm, reviewSeconds_: REVIEW_S, owner_: word(&DEPLOYER) };
        let signers_court = chain.create("deploy SignersCourt", &DEPLOYER, &SignersCourt::BYTECODE, arguments.abi_encode()).await?;

        let call = OracleRegistry::setSettlementCall { settlement_: at }.abi_encode();
        chain.send("setSettlement", &DEPLOYER, oracle_registry, call).await?;
        let call = ProviderRegistry::setMarketCall { market_: word(&market) }.abi_encode();
        chain.send("setMarket", &DEPLOYER, provider_registry, call).await?;
        for court in [equivocation_court, aggregation_court, signers_court] {
            let call = SlaSettlement::setCourtCall { court: word(&court), allowed: true }.abi_encode();
            chain.send("setCourt", &DEPLOYER, settlement, call).await?;
        }
        for (action, tip) in TARIFFS {
            let call = Keeper::setTariffCall { action, tip, perDay: TIPS_PER_DAY }.abi_encode();
            chain.send("setTariff", &DEPLOYER, &keeper, call).await?;
        }
        let call = TestToken::mintCall { to: word(&keeper), amount: U256::from(KEEPER_FUNDS) }.abi_encode();
        chain.send("mint for the keeper", &DEPLOYER, token, call).await?;
        Ok(Self { sla_oracle, standing, market, keeper, equivocation_court, aggregation_court, signers_court })
    }
}

/// What a provider offers, and what a builder books of it.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Whose.
    pub provider: ProviderId,
    /// Its operator; an account whose key the chain does not ask for.
    pub operator: Address,
    /// How much.
    pub gib: u64,
    /// Per GiB and epoch, smallest unit.
    pub price: u128,
    /// Booked of it.
    pub booked_gib: u64,
}

/// Declares and lists capacity, gives a buyer tokens and ether, and books: all of it in two or three blocks.
pub async fn open_market(deployment: &Deployment, offers: &[Offer], buyer: &Address, tokens: u128, epochs: u32) -> Result<(), DeployError> {
    let mut chain = Stream::open(deployment.chain.rpc_url.first()).await?;
    let (registry, market) = (deployment.chain.provider_registry, deployment.economy.market);
    for offer in offers {
        let call = calls::declare_capacity(offer.provider, offer.gib);
        chain.send(format!("declareCapacity of {}", offer.provider), &offer.operator, &registry, call).await?;
        let call = calls::list(offer.provider, offer.gib, offer.price);
        chain.send(format!("list of {}", offer.provider), &offer.operator, &market, call).await?;
    }
    chain.endow(buyer).await?;
    let call = TestToken::mintCall { to: word(buyer), amount: U256::from(tokens) }.abi_encode();
    chain.send("mint", buyer, &deployment.token, call).await?;
    let escrow = offers.iter().map(|offer| offer.price * u128::from(offer.booked_gib)).sum::<u128>() * u128::from(epochs);
    chain.send("approve", buyer, &deployment.token, calls::approve(&market, escrow)).await?;
    for offer in offers {
        let call = calls::book(offer.provider, offer.booked_gib, epochs, offer.price);
        chain.send(format!("book {}", offer.provider), buyer, &market, call).await?;
    }
    chain.settle().await
}
