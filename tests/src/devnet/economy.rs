//! The demo's market: providers offer, a builder books and pays in advance, verdicts decide who gets the money.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use assay_chain::market::{Booking, BookingId, Market};
use assay_chain::transaction::{self, SendConfig, TransactionError};
use assay_chain::{BlockTag, ChainError, Client, calls};
use assay_core::ids::{Address, ProviderId};
use assay_core::params::{PPM, TOKEN};
use assay_core::secp::{SecpError, SecretKey};
use assay_core::verdict::{Grade, Verdict};
use serde::Serialize;

use super::outcome::OutcomeError;
use super::{Devnet, ProviderNode};
use crate::deploy::{self, DeployError, ORACLE_SHARE_PPM, Offer, TREASURY};

/// What every provider offers, as its stake allows.
const OFFERED_GIB: u64 = 1_000;
/// What the builder books of each, and some more.
const BOOKED_GIB: u64 = 100;
/// Per GiB and epoch; each provider asks a little more than the one before.
const PRICE: u128 = TOKEN / 100;
/// The builder's purse.
const PURSE: u128 = 10_000 * TOKEN;
const BUYER_SEED: [u8; 32] = [0xb0; 32];
/// Everything that one epoch decides is on chain by then.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// Why the market did not work.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A transaction.
    #[error("{what}: {source}")]
    Transaction {
        /// What it was to do.
        what: String,
        /// Why it does not.
        source: TransactionError,
    },
    /// Offers.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The oracles' APIs.
    #[error(transparent)]
    Outcome(#[from] OutcomeError),
    /// The builder's key.
    #[error(transparent)]
    Key(#[from] SecpError),
    /// Oracles do not settle.
    #[error("bookings are not settled {SETTLED_WITHIN:?} after the last epoch; see the oracles' logs")]
    Unsettled,
}

/// A builder with bookings.
pub struct Deals {
    market: Market,
    buyer: SecretKey,
    /// With the epochs that are booked.
    bookings: BTreeMap<BookingId, Range<u64>>,
}

/// One booking, when all of its epochs are settled.
#[derive(Serialize, Debug)]
pub struct DealRow {
    /// With whom.
    pub provider: ProviderId,
    /// Number.
    pub booking: BookingId,
    /// How much.
    pub gib: u64,
    /// Paid in advance.
    #[serde(with = "assay_core::amount")]
    pub escrow: u128,
    /// The verdicts' part for the provider.
    #[serde(with = "assay_core::amount")]
    pub earned: u128,
    /// Of it, for oracles and treasury.
    #[serde(with = "assay_core::amount")]
    pub margin: u128,
    /// Back to the builder.
    #[serde(with = "assay_core::amount")]
    pub credited: u128,
    /// Outcome and multiplier of each epoch, ppm.
    pub epochs: Vec<(Grade, u64)>,
}

/// What became of the deals.
#[derive(Serialize, Debug)]
pub struct Books {
    /// One row a booking.
    pub deals: Vec<DealRow>,
    /// Accounts by name, and what they hold at the end by the token's books.
    #[serde(serialize_with = "amounts")]
    pub accounts: BTreeMap<String, u128>,
    /// All tokens there are.
    #[serde(with = "assay_core::amount")]
    pub supply: u128,
    /// What does not add up, in words; nothing if all is well.
    pub wrong: Vec<String>,
}

fn amounts<S: serde::Serializer>(accounts: &BTreeMap<String, u128>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(accounts.iter().map(|(name, amount)| (name, amount.to_string())))
}

impl Deals {
    /// Every provider offers, and a builder books each for the epochs up to `end`.
    pub async fn open(devnet: &Devnet, end: u64) -> Result<Self, MarketError> {
        let deployment = &devnet.deployment;
        let buyer = SecretKey::from_bytes(&BUYER_SEED)?;
        let offers: Vec<Offer> = devnet.providers.iter().map(offer).collect();
        let client = Client::connect(deployment.chain.clone()).await?;
        let market = Market::connect(client.rpc(), &deployment.economy.market).await?;
        let start = market.next_epoch(BlockTag::Latest).await?;
        let epochs = u32::try_from(end.saturating_sub(start)).unwrap_or(0);
        deploy::open_market(deployment, &offers, &buyer.address(), PURSE, epochs).await?;
        let mut deals = Self { market, buyer, bookings: BTreeMap::new() };
        for id in (1..=deals.market.booking_count(BlockTag::Latest).await?).map(BookingId) {
            deals.bookings.insert(id, deals.market.booking(id, BlockTag::Latest).await?.epochs());
        }
        Ok(deals)
    }

    /// What the builder paid in advance.
    pub async fn escrow(&self) -> Result<u128, MarketError> {
        Ok(self.market.balance_of(&self.market.address, BlockTag::Latest).await?)
    }

    /// The booked epochs.
    pub fn epochs(&self) -> Range<u64> {
        let first = self.bookings.values().map(|epochs| epochs.start).min();
        first.unwrap_or(0)..self.bookings.values().map(|epochs| epochs.end).max().unwrap_or(0)
    }

    /// Waits until the oracles have settled every booked epoch, draws what is due to everybody, and closes the books.
    pub async fn close(self, devnet: &Devnet) -> Result<Books, MarketError> {
        self.wait_until_settled().await?;
        let mut verdicts: BTreeMap<(ProviderId, u64), Verdict> = BTreeMap::new();
        for epoch in self.epochs() {
            verdicts.extend(devnet.verdicts(epoch).await?.into_iter().map(|verdict| ((verdict.provider, epoch), verdict)));
        }
        let mut books = Books { deals: Vec::new(), accounts: BTreeMap::new(), supply: 0, wrong: Vec::new() };
        for id in self.bookings.keys() {
            let booking = self.market.booking(*id, BlockTag::Latest).await?;
            books.deals.push(self.row(*id, &booking, &verdicts, &mut books.wrong));
        }
        self.draw(devnet, &mut books).await?;
        self.reconcile(devnet, &mut books).await?;
        Ok(books)
    }

    async fn wait_until_settled(&self) -> Result<(), MarketError> {
        let give_up = tokio::time::Instant::now() + SETTLED_WITHIN;
        loop {
            let mut open = false;
            for id in self.bookings.keys() {
                open |= self.market.booking(*id, BlockTag::Latest).await?.escrow > 0;
            }
            if !open {
                return Ok(());
            }
            if tokio::time::Instant::now() >= give_up {
                return Err(MarketError::Unsettled);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// What a booking should have come to, by the reports; and whether the contract says the same.
    fn row(&self, id: BookingId, booking: &Booking, verdicts: &BTreeMap<(ProviderId, u64), Verdict>, wrong: &mut Vec<String>) -> DealRow {
        let mut row = DealRow {
            provider: booking.provider,
            booking: id,
            gib: booking.gib,
            escrow: 0,
            earned: 0,
            margin: 0,
            credited: 0,
            epochs: Vec::new(),
        };
        for term in &booking.terms {
            for epoch in term.start..term.end {
                let verdict = verdicts.get(&(booking.provider, epoch));
                let share = |amount: u128, ppm: u64| amount * u128::from(ppm) / u128::from(PPM);
                let paid_in = term.price * u128::from(booking.gib);
                let earned = share(paid_in, verdict.map_or(0, |verdict| verdict.multiplier_ppm));
                row.escrow += paid_in;
                row.margin += share(earned, term.margin_ppm.into());
                row.earned += earned;
                row.credited += paid_in - earned;
                row.epochs.extend(verdict.map(|verdict| (verdict.outcome, verdict.multiplier_ppm)));
            }
        }
        if booking.credit != row.credited {
            wrong.push(format!("booking {}: credited {}, the verdicts say {}", id.0, booking.credit, row.credited));
        }
        row
    }

    /// Draws what is due to everybody; each sum goes where it belongs whoever sends for it.
    async fn draw(&self, devnet: &Devnet, books: &mut Books) -> Result<(), MarketError> {
        let address = self.market.address;
        let before = self.market.balance_of(&self.buyer.address(), BlockTag::Latest).await?;
        for deal in books.deals.iter().filter(|deal| deal.credited > 0) {
            self.send(format!("draw the credit of booking {}", deal.booking.0), &address, calls::withdraw_credit(deal.booking)).await?;
        }
        let credited: u128 = books.deals.iter().map(|deal| deal.credited).sum();
        let after = self.market.balance_of(&self.buyer.address(), BlockTag::Latest).await?;
        expect(&mut books.wrong, "the builder's credit", after - before, credited);
        for (deal, node) in books.deals.iter().zip(&devnet.providers) {
            if deal.earned == 0 {
                continue;
            }
            let before = self.market.balance_of(&node.recipient, BlockTag::Latest).await?;
            self.send(format!("draw the pay of provider {}", deal.provider), &address, calls::withdraw_earnings(deal.provider)).await?;
            let after = self.market.balance_of(&node.recipient, BlockTag::Latest).await?;
            expect(&mut books.wrong, &format!("provider {}'s pay", deal.provider), after - before, deal.earned - deal.margin);
        }
        let pool = self.market.balance_of(&self.market.settlement, BlockTag::Latest).await?;
        self.send("pay the oracles", &address, calls::pay_oracles()).await?;
        self.send("pay the treasury", &address, calls::pay_treasury()).await?;
        let oracles = self.market.balance_of(&self.market.settlement, BlockTag::Latest).await? - pool;
        let treasury = self.market.balance_of(&TREASURY, BlockTag::Latest).await?;
        let margin: u128 = books.deals.iter().map(|deal| deal.margin).sum();
        expect(&mut books.wrong, "the margin, to pool and treasury", oracles + treasury, margin);
        // Rounded down for each of the epochs: what that leaves is the treasury's.
        let most = margin * u128::from(ORACLE_SHARE_PPM) / u128::from(PPM);
        let settled: u128 = books.deals.iter().map(|deal| deal.epochs.len() as u128).sum();
        if oracles > most || oracles + settled < most {
            books.wrong.push(format!("the oracles' pool got {oracles} of a margin of {margin}"));
        }
        Ok(())
    }

    /// Every token there is, by who holds it.
    async fn reconcile(&self, devnet: &Devnet, books: &mut Books) -> Result<(), MarketError> {
        let deployment = &devnet.deployment;
        let mut named: Vec<(String, Address)> = vec![
            ("pool".into(), deployment.settlement),
            ("market".into(), deployment.economy.market),
            ("keeper".into(), deployment.economy.keeper),
            ("oracle stakes".into(), deployment.chain.oracle_registry),
            ("provider stakes".into(), deployment.chain.provider_registry),
            ("builder".into(), self.buyer.address()),
            ("treasury".into(), TREASURY),
            ("burned".into(), BURN),
        ];
        named.extend(devnet.providers.iter().map(|node| (format!("provider {}", node.id), node.recipient)));
        named.extend(devnet.oracles.iter().map(|node| (format!("oracle {}", node.id), node.recipient)));
        for (name, account) in named {
            books.accounts.insert(name, self.market.balance_of(&account, BlockTag::Latest).await?);
        }
        books.supply = self.market.supply(BlockTag::Latest).await?;
        let held = books.accounts.values().sum();
        expect(&mut books.wrong, "all accounts together against all tokens", held, books.supply);
        let market = books.accounts.get("market").copied().unwrap_or_default();
        expect(&mut books.wrong, "what is left in the market", market, 0);
        let builder = books.accounts.get("builder").copied().unwrap_or_default();
        let spent: u128 = books.deals.iter().map(|deal| deal.earned).sum();
        expect(&mut books.wrong, "the builder's purse", builder, PURSE - spent);
        Ok(())
    }

    async fn send(&self, what: impl Into<String>, to: &Address, call: Vec<u8>) -> Result<(), MarketError> {
        let sent = transaction::send(self.market.rpc(), &self.buyer, to, &call, &SendConfig::default()).await;
        sent.map(drop).map_err(|source| MarketError::Transaction { what: what.into(), source })
    }
}

const BURN: Address = {
    let mut bytes = [0; 20];
    bytes[18] = 0xde;
    bytes[19] = 0xad;
    Address(bytes)
};

fn expect(wrong: &mut Vec<String>, what: &str, found: u128, expected: u128) {
    if found != expected {
        wrong.push(format!("{what}: {found}, expected {expected}"));
    }
}

/// Odd prices and amounts, so that divisions leave remainders and no two sums are alike.
fn offer(node: &ProviderNode) -> Offer {
    Offer {
        provider: node.id,
        operator: node.operator,
        gib: OFFERED_GIB,
        price: PRICE + u128::from(node.id.0) * (PRICE / 1_000 + 1),
        booked_gib: BOOKED_GIB + node.id.0,
    }
}
