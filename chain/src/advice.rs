//! What a contract's error means for whoever ran into it, and what to do.

use alloy_primitives::U256;
use alloy_sol_types::SolError;
use assay_contracts_bindings::{AggregationCourt, CapacityMarket, Keeper, ProviderRegistry, SignersCourt, SlaSettlement, TestToken};

use crate::tokens::Tokens;

fn tokens(value: impl Into<Option<u128>>) -> String {
    value.into().map_or_else(|| "more than 2^128 units".to_owned(), |units| format!("{} tokens", Tokens(units)))
}

fn units(value: U256) -> Option<u128> {
    u128::try_from(value).ok()
}

/// `None` for errors that speak for themselves, or that only a program can do something about. An error is known by its name and
/// arguments, whichever contract raised it.
pub(crate) fn advice(data: &[u8]) -> Option<String> {
    macro_rules! known {
        ($($error:path => |$e:pat_param| $sentence:expr;)*) => {
            $(if let Ok($e) = <$error>::abi_decode(data) {
                return Some($sentence.into());
            })*
        };
    }
    known! {
        // Who.
        ProviderRegistry::OnlyOperator => |e| format!("only the account that registered provider {} may do this: use its keystore", e.providerId);
        ProviderRegistry::UnknownProvider => |e| format!("no provider {} is registered: check the id and the address of the registry", e.providerId);
        CapacityMarket::OnlyBuilder => |e| format!("booking {} is another account's: use the keystore that booked it", e.bookingId);
        CapacityMarket::UnknownBooking => |e| format!("there is no booking {}: list yours with `bookings`", e.bookingId);
        // Registering, stake and exit.
        ProviderRegistry::InvalidEndpoint => |_| "an endpoint has 1 to 255 bytes, as in http://host:9300";
        ProviderRegistry::InvalidClass => |_| "this SLA class does not exist, or has no capacity to offer: choose another";
        ProviderRegistry::RegistryFull => |_| "the registry has no place left";
        ProviderRegistry::StakeTooLow => |e| format!("the stake is {}, and {} are needed: add stake, or promise less", tokens(units(e.stake)), tokens(units(e.minimum)));
        ProviderRegistry::NotActive => |e| format!("provider {} has asked to exit, and that is for ever", e.providerId);
        ProviderRegistry::NotExiting => |e| format!("provider {} has not asked to exit: do that first, the stake comes after the unbonding", e.providerId);
        ProviderRegistry::AlreadyWithdrawn => |e| format!("the stake of provider {} was withdrawn already", e.providerId);
        ProviderRegistry::StillBonded => |e| format!("the stake is bonded until unix time {}: try again then", e.until);
        ProviderRegistry::StillObliged => |e| format!("bookings bind the provider until unix time {}: take the offer back with `unlist`, and wait for them to end", e.until);
        // Offers and bookings.
        CapacityMarket::ZeroPrice => |_| "the price must be above zero";
        CapacityMarket::ZeroGib => |_| "give at least 1 GiB";
        CapacityMarket::NotEnoughCapacity => |e| format!("{} GiB were asked for, {} are to be had: ask for less, or back more capacity with stake", e.wanted, e.free);
        CapacityMarket::NotBookable => |e| format!("provider {} is suspended or ejected: choose another", e.providerId);
        CapacityMarket::PriceTooHigh => |e| format!("the provider asks {} per GiB and epoch, more than your maximum of {}: raise it, or choose another", tokens(Some(e.price.to::<u128>())), tokens(Some(e.maxPrice.to::<u128>())));
        CapacityMarket::InvalidEpochs => |e| format!("it would end with epoch {}, and must end after it starts and before epoch {}: change the number of epochs", e.end, e.horizon);
        CapacityMarket::BookingOver => |e| format!("booking {} is over: make a new one", e.bookingId);
        CapacityMarket::NothingToEnd => |e| format!("booking {} ends by itself before the notice does", e.bookingId);
        CapacityMarket::NothingDue => |_| "there is nothing to withdraw yet";
        CapacityMarket::AlreadySettled => |e| format!("epoch {} of booking {} is settled already: nothing is left to do", e.epoch, e.bookingId);
        // Rewards and slashes.
        SlaSettlement::NothingToClaim => |_| "all of it was paid already: nothing is left to claim";
        SlaSettlement::WindowOpen => |e| format!("it may still be disputed until unix time {}: try again then", e.until);
        SlaSettlement::UnknownReport => |e| format!("the chain has not accepted this report of epoch {}, or it was voided", e.epoch);
        SlaSettlement::AlreadySlashed => |e| format!("provider {} was slashed for epoch {} already: nothing is left to do", e.providerId, e.epoch);
        Keeper::NothingDone => |_| "somebody else was faster: nothing of it is left to do";
        // Disputes.
        SlaSettlement::ReportFinal => |e| format!("its windows closed at unix time {}: nothing can void it any more", e.since);
        AggregationCourt::NothingWrong => |_| "the verdict follows from its panel as far as the court can know";
        AggregationCourt::AlreadyConvicted => |_| "the report was proven wrong already, and is void";
        SignersCourt::AlreadyReviewed => |_| "somebody else opened the review: slash when it is over";
        SignersCourt::NotACourt => |e| format!("the settlement does not allow {} as a court: check the address", e.court);
        // The token.
        TestToken::ERC20InsufficientBalance => |e| format!("{} has {}, and {} are needed: get more tokens", e.sender, tokens(units(e.balance)), tokens(units(e.needed)));
        TestToken::ERC20InsufficientAllowance => |e| format!("{} may take {}, and needs {}: approve it first", e.spender, tokens(units(e.allowance)), tokens(units(e.needed)));
    }
    None
}

#[cfg(test)]
mod tests {
    use alloy_primitives::aliases::U96;

    use super::*;

    #[test]
    fn errors_say_what_to_do_with_amounts_in_tokens() {
        let text =
            advice(&CapacityMarket::PriceTooHigh { price: U96::from(1_500_000_000_000_000_000_u64), maxPrice: U96::from(1) }.abi_encode());
        assert_eq!(
            text.unwrap(),
            "the provider asks 1.5 tokens per GiB and epoch, more than your maximum of 0.000000000000000001 tokens: raise it, or choose another"
        );
        let text = advice(&ProviderRegistry::StakeTooLow { stake: U256::MAX, minimum: U256::from(5) }.abi_encode()).unwrap();
        assert!(text.contains("more than 2^128 units"), "{text}");
        assert_eq!(advice(&[1, 2, 3, 4]), None);
        assert_eq!(advice(&[]), None);
    }
}
