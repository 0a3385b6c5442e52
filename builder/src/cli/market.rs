//! Commands about money: what capacity costs, booking it, extending bookings, and what comes back for bad epochs.

use assay_chain::command::{Outcome, Plan, Wallet, check_token};
use assay_chain::market::{Booking, BookingId, Market, Offer, cheapest};
use assay_chain::tokens::Tokens;
use assay_chain::transaction::SendConfig;
use assay_chain::{BlockTag, Rpc, calls};
use assay_core::ids::{Address, ProviderId};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::args::{Signing, address};
use super::talk::{print, say};
use crate::error::BuilderError;
use crate::keys::KeyDir;

/// Which market.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// JSON-RPC endpoint.
    #[arg(long)]
    rpc: String,
    /// Address of CapacityMarket.
    #[arg(long, value_parser = address)]
    market: Address,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Who sends.
#[derive(Debug, Args)]
pub(super) struct Sending {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    signing: Signing,
    /// Says what would be sent and what it would cost, and sends nothing. Fails when it would be refused.
    #[arg(long)]
    dry_run: bool,
}

/// What is looked for.
#[derive(Debug, Args)]
pub(super) struct Wish {
    /// SLA class.
    #[arg(long)]
    class: u16,
    /// Region, as providers declare it.
    #[arg(long)]
    region: u64,
    /// Capacity, GiB.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    gib: u64,
    /// For so many epochs, from the next one on.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
}

#[derive(Debug, Args)]
pub(super) struct Quote {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    wish: Wish,
}

#[derive(Debug, Args)]
pub(super) struct Book {
    #[command(flatten)]
    sending: Sending,
    #[command(flatten)]
    wish: Wish,
    /// The most that is paid per GiB and epoch, in tokens.
    #[arg(long)]
    max_price: Tokens,
    /// Books at this provider; without it at the cheapest ones.
    #[arg(long)]
    provider: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct Extend {
    #[command(flatten)]
    sending: Sending,
    /// The booking.
    #[arg(long)]
    booking: u64,
    /// Epochs to add to its end.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// The most that is paid per GiB and epoch, in tokens.
    #[arg(long)]
    max_price: Tokens,
}

#[derive(Debug, Subcommand)]
pub(super) enum Credit {
    /// Shows what came back for bad epochs and can be withdrawn.
    Show(Mine),
    /// Withdraws it, from all bookings or from one.
    Withdraw(Withdraw),
}

#[derive(Debug, Args)]
pub(super) struct Withdraw {
    #[command(flatten)]
    sending: Sending,
    /// Of this booking only.
    #[arg(long)]
    booking: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct Mine {
    #[command(flatten)]
    place: Place,
    /// Whose bookings.
    #[arg(long, value_parser = address, required_unless_present = "keys")]
    builder: Option<Address>,
    /// Directory made by `keygen`, instead of --builder. No password is needed.
    #[arg(long, conflicts_with = "builder")]
    keys: Option<std::path::PathBuf>,
}

pub(super) async fn quote(arguments: Quote) -> Result<(), BuilderError> {
    let Quote { place, wish } = arguments;
    let market = place.open().await?;
    let offers = market.offers(wish.class, wish.region).await?;
    let (index, booked_gib, listed_gib) = market.price_index(wish.class, wish.region, BlockTag::Latest).await?;
    let chosen = cheapest(offers, wish.gib, u128::MAX).ok_or(BuilderError::NoCapacity { gib: wish.gib, max_price: None })?;
    // A guide with a margin for what others book meanwhile; the offers are what would be paid now.
    let (guide, _) = market.quote(wish.class, wish.region, wish.gib, wish.epochs).await?;
    let dearest = chosen.iter().map(|offer| offer.price).max().unwrap_or_default();
    let printed = json!({
        "offers": chosen.iter().map(offer_json).collect::<Vec<_>>(), "total": Tokens(escrow(&chosen, wish.epochs)?), "dearest": Tokens(dearest),
        "guide": Tokens(guide), "priceIndex": Tokens(index), "bookedGib": booked_gib, "listedGib": listed_gib,
    });
    print(place.json, &printed);
    Ok(())
}

pub(super) async fn book(arguments: Book) -> Result<(), BuilderError> {
    let Book { sending, wish, max_price, provider } = arguments;
    let market = sending.place.open().await?;
    let chosen = choose(&market, &wish, max_price.0, provider).await?;
    let escrow = escrow(&chosen, wish.epochs)?;
    let (what, call) = match (provider, chosen.as_slice()) {
        (Some(_), [offer]) => (
            format!("book {} GiB at provider {} for {} epochs", offer.gib, offer.provider, wish.epochs),
            calls::book(offer.provider, offer.gib, wish.epochs, max_price.0),
        ),
        _ => {
            let candidates: Vec<ProviderId> = chosen.iter().map(|offer| offer.provider).collect();
            let call = calls::book_cheapest(wish.class, wish.region, wish.gib, wish.epochs, max_price.0, &candidates);
            (format!("book {} GiB at the {} cheapest providers for {} epochs", wish.gib, chosen.len(), wish.epochs), call)
        }
    };
    let start = market.next_epoch(BlockTag::Latest).await?;
    let changes = format!("{} tokens are in escrow for epochs {start} to {}", Tokens(escrow), start + u64::from(wish.epochs) - 1);
    let plan = paid(&market, escrow, what, call).change(changes);
    let outcome = sending.execute(&market, &plan).await?;
    let bookings = match outcome.last() {
        Some(mined) => market.booked_by(mined)?,
        None => Vec::new(),
    };
    let offers: Vec<Value> = chosen.iter().map(offer_json).collect();
    sending.show(&outcome, json!({ "escrow": Tokens(escrow), "offers": offers, "bookings": bookings }))
}

pub(super) async fn extend(arguments: Extend) -> Result<(), BuilderError> {
    let Extend { sending, booking, epochs, max_price } = arguments;
    let market = sending.place.open().await?;
    let id = BookingId(booking);
    let known = market.booking(id, BlockTag::Latest).await?;
    let price = market.listing(known.provider, BlockTag::Latest).await?.price;
    let escrow = escrow(&[Offer { price, provider: known.provider, gib: known.gib }], epochs)?;
    let what = format!("extend booking {booking} ({} GiB at provider {}) by {epochs} epochs", known.gib, known.provider);
    let plan = paid(&market, escrow, what, calls::extend(id, epochs, max_price.0)).change(format!(
        "{} more tokens are in escrow, up to epoch {}",
        Tokens(escrow),
        known.epochs().end + u64::from(epochs) - 1
    ));
    let outcome = sending.execute(&market, &plan).await?;
    sending.show(&outcome, json!({ "booking": booking, "escrow": Tokens(escrow), "price": Tokens(price) }))
}

pub(super) async fn credit(command: Credit) -> Result<(), BuilderError> {
    match command {
        Credit::Show(mine) => {
            let (_, bookings) = mine.bookings().await?;
            let credited: u128 = bookings.iter().map(|(_, booking, _)| booking.credit).sum();
            let of: Vec<Value> = bookings
                .iter()
                .filter(|(_, booking, _)| booking.credit > 0)
                .map(|(id, booking, is_final)| json!({ "booking": id, "credit": Tokens(booking.credit), "final": is_final }))
                .collect();
            print(mine.place.json, &json!({ "credit": Tokens(credited), "bookings": of }));
            Ok(())
        }
        Credit::Withdraw(arguments) => withdraw(arguments).await,
    }
}

async fn withdraw(arguments: Withdraw) -> Result<(), BuilderError> {
    let Withdraw { sending, booking } = arguments;
    let market = sending.place.open().await?;
    let owner = sending.signing.open()?.sender.address();
    let mut bookings = match booking {
        Some(id) => vec![(BookingId(id), market.booking(BookingId(id), BlockTag::Latest).await?)],
        None => market.bookings_of(&owner, BlockTag::Latest).await?,
    };
    // One that is named is sent even when empty: the contract says why not.
    bookings.retain(|(_, known)| booking.is_some() || known.credit > 0);
    if bookings.is_empty() {
        return Err(BuilderError::NoCredit(owner));
    }
    let mut plan = Plan::default();
    for (id, known) in &bookings {
        let what = format!("withdraw {} tokens of credit of booking {}", Tokens(known.credit), id.0);
        plan = plan.step(what, &market.address, calls::withdraw_credit(*id)).change(format!(
            "{} has {} tokens more",
            known.builder,
            Tokens(known.credit)
        ));
    }
    let outcome = sending.execute(&market, &plan).await?;
    let withdrawn: u128 = bookings.iter().map(|(_, known)| known.credit).sum();
    sending.show(&outcome, json!({ "credit": Tokens(withdrawn) }))
}

pub(super) async fn bookings(mine: Mine) -> Result<(), BuilderError> {
    let (builder, bookings) = mine.bookings().await?;
    let listed: Vec<Value> = bookings.iter().map(|(id, booking, is_final)| booking_json(*id, booking, *is_final)).collect();
    match mine.place.json {
        true => print(true, &json!({ "builder": builder, "bookings": listed })),
        false => listed.iter().for_each(|line| say(&format!("{line}\n"))),
    }
    Ok(())
}

/// Approves exactly the escrow, then does what takes it.
fn paid(market: &Market, escrow: u128, what: String, call: Vec<u8>) -> Plan {
    Plan::default()
        .step(format!("let the market take {} tokens", Tokens(escrow)), &market.token, calls::approve(&market.address, escrow))
        .step(what, &market.address, call)
}

async fn choose(market: &Market, wish: &Wish, max_price: u128, provider: Option<u64>) -> Result<Vec<Offer>, BuilderError> {
    let Some(provider) = provider.map(ProviderId) else {
        let offers = market.offers(wish.class, wish.region).await?;
        return cheapest(offers, wish.gib, max_price).ok_or(BuilderError::NoCapacity { gib: wish.gib, max_price: Some(max_price) });
    };
    let listing = market.listing(provider, BlockTag::Latest).await?;
    match (listing.class_id, listing.region) == (wish.class, wish.region) {
        // Whether it is free and cheap enough is the contract's to say.
        true => Ok(vec![Offer { price: listing.price, provider, gib: wish.gib }]),
        false => Err(BuilderError::OtherArea { provider, class_id: listing.class_id, region: listing.region }),
    }
}

fn escrow(offers: &[Offer], epochs: u32) -> Result<u128, BuilderError> {
    let of = |offer: &Offer| offer.price.checked_mul(u128::from(offer.gib))?.checked_mul(u128::from(epochs));
    offers.iter().try_fold(0_u128, |sum, offer| sum.checked_add(of(offer)?)).ok_or(BuilderError::TooDear)
}

fn offer_json(offer: &Offer) -> Value {
    json!({ "provider": offer.provider, "gib": offer.gib, "price": Tokens(offer.price) })
}

fn booking_json(id: BookingId, booking: &Booking, is_final: bool) -> Value {
    let epochs = booking.epochs();
    json!({
        "booking": id, "provider": booking.provider, "gib": booking.gib, "from": epochs.start, "end": epochs.end,
        "price": booking.terms.last().map(|term| Tokens(term.price)), "escrow": Tokens(booking.escrow), "credit": Tokens(booking.credit),
        "released": booking.released, "final": is_final,
    })
}

impl Place {
    async fn open(&self) -> Result<Market, BuilderError> {
        let rpc = Rpc::connect(self.rpc.as_str()).await?;
        let market = Market::connect(&rpc, &self.market).await?;
        check_token(&rpc, &market.token).await?;
        Ok(market)
    }
}

impl Sending {
    async fn execute(&self, market: &Market, plan: &Plan) -> Result<Outcome, BuilderError> {
        let key = self.signing.open()?.sender;
        let wallet = Wallet { rpc: market.rpc(), key: &key, config: SendConfig::default(), dry_run: self.dry_run };
        Ok(wallet.execute(plan).await?)
    }

    /// The transactions, and what the command adds to them.
    fn show(&self, outcome: &Outcome, more: Value) -> Result<(), BuilderError> {
        let mut printed = outcome.json();
        if let (Some(printed), Value::Object(more)) = (printed.as_object_mut(), more.clone()) {
            printed.extend(more);
        }
        match self.place.json {
            true => print(true, &printed),
            false => {
                say(&outcome.to_string());
                print(false, &more);
            }
        }
        Ok(())
    }
}

impl Mine {
    /// Whose bookings, and each with whether the finalized chain says the same: before that a reorg may change it.
    async fn bookings(&self) -> Result<(Address, Vec<(BookingId, Booking, bool)>), BuilderError> {
        let builder = match (&self.builder, &self.keys) {
            (Some(builder), _) => *builder,
            (None, keys) => KeyDir::new(keys.as_deref().unwrap_or(std::path::Path::new(""))).address()?,
        };
        let market = self.place.open().await?;
        let mut bookings = Vec::new();
        for (id, booking) in market.bookings_of(&builder, BlockTag::Latest).await? {
            let is_final = market.booking(id, BlockTag::Finalized).await.is_ok_and(|settled| settled == booking);
            bookings.push((id, booking, is_final));
        }
        Ok((builder, bookings))
    }
}
