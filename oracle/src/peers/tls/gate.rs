//! What strangers may cost before they have proved to be members: so many handshakes at a time, and so many forgeries.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use assay_core::ids::OracleId;

/// Handshakes at the same time, of addresses from which no member came yet.
pub(super) const HANDSHAKES: usize = 128;
/// Of one address.
pub(super) const HANDSHAKES_PER_ADDRESS: usize = 32;
/// Certificates in another's name that an address may show in one [`WINDOW`]: each costs a pairing.
pub(super) const FORGERIES: u32 = 16;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses whose forgeries are counted at the same time.
const COUNTED: usize = 4_096;

/// An IPv4 address, or the network that one holder of IPv6 addresses has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Origin(IpAddr);

impl Origin {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => Self(Ipv6Addr::from(u128::from(address) >> 64 << 64).into()),
        }
    }
}

/// Admits handshakes.
#[derive(Default)]
pub(super) struct Gate(Mutex<State>);

#[derive(Default)]
struct State {
    strangers: usize,
    under_way: BTreeMap<Origin, usize>,
    forgeries: BTreeMap<Origin, (Instant, u32)>,
    /// Where members last came from: strangers do not take their turn.
    proved: BTreeMap<OracleId, Origin>,
}

/// A handshake that is under way.
pub(super) struct Turn {
    gate: Arc<Gate>,
    origin: Origin,
    is_stranger: bool,
}

impl Gate {
    /// A turn, unless there are too many already.
    pub fn enter(self: &Arc<Self>, origin: Origin) -> Option<Turn> {
        let mut state = self.state();
        let is_stranger = !state.proved.values().any(|proved| *proved == origin);
        let under_way = state.under_way.get(&origin).copied().unwrap_or(0);
        let forgeries = state.forgeries.get(&origin).filter(|(since, _)| since.elapsed() < WINDOW).map_or(0, |(_, count)| *count);
        if under_way >= HANDSHAKES_PER_ADDRESS || forgeries >= FORGERIES || (is_stranger && state.strangers >= HANDSHAKES) {
            return None;
        }
        state.under_way.insert(origin, under_way.saturating_add(1));
        state.strangers = state.strangers.saturating_add(usize::from(is_stranger));
        Some(Turn { gate: self.clone(), origin, is_stranger })
    }

    /// A member came from there.
    pub fn prove(&self, oracle: OracleId, origin: Origin) {
        self.state().proved.insert(oracle, origin);
    }

    /// Somebody there used a member's name.
    pub fn count_forgery(&self, origin: Origin) {
        let mut state = self.state();
        if state.forgeries.len() >= COUNTED {
            state.forgeries.retain(|_, (since, _)| since.elapsed() < WINDOW);
        }
        if state.forgeries.len() >= COUNTED {
            state.forgeries.clear();
        }
        let entry = state.forgeries.entry(origin).or_insert((Instant::now(), 0));
        if entry.0.elapsed() >= WINDOW {
            *entry = (Instant::now(), 0);
        }
        entry.1 = entry.1.saturating_add(1);
    }

    /// Forgets where members came from that are none any more.
    pub fn retain(&self, is_member: impl Fn(OracleId) -> bool) {
        self.state().proved.retain(|oracle, _| is_member(*oracle));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.strangers = state.strangers.saturating_sub(usize::from(self.is_stranger));
        match state.under_way.get_mut(&self.origin) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => drop(state.under_way.remove(&self.origin)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    // Defence: the conditions of `enter`. Without them whoever opens connections and is silent keeps members out.
    #[test]
    fn strangers_do_not_take_the_turns_of_members() {
        let gate = Arc::new(Gate::default());
        gate.prove(OracleId(1), origin("10.0.0.1"));
        let mut turns: Vec<Turn> = (0..HANDSHAKES_PER_ADDRESS).map(|_| gate.enter(origin("192.0.2.1")).unwrap()).collect();
        assert!(gate.enter(origin("192.0.2.1")).is_none(), "one address has its share");
        while let Some(turn) = gate.enter(origin(&format!("192.0.3.{}", turns.len()))) {
            turns.push(turn);
        }
        assert_eq!(turns.len(), HANDSHAKES);
        assert!(gate.enter(origin("10.0.0.1")).is_some(), "a member comes in while strangers are refused");
        turns.truncate(HANDSHAKES - 1);
        assert!(gate.enter(origin("192.0.2.9")).is_some(), "a turn that ended is free");
    }

    // Defence: `Origin`; without it one holder of a network of IPv6 addresses is 2^64 strangers.
    #[test]
    fn a_network_of_ipv6_addresses_is_one_origin() {
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:1"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
    }

    // Defence: `FORGERIES`. Without it a stranger buys a pairing with every certificate that it makes up.
    #[test]
    fn who_forges_is_shut_out_for_a_while() {
        let gate = Arc::new(Gate::default());
        for _ in 0..FORGERIES {
            assert!(gate.enter(origin("192.0.2.1")).is_some());
            gate.count_forgery(origin("192.0.2.1"));
        }
        assert!(gate.enter(origin("192.0.2.1")).is_none());
        assert!(gate.enter(origin("192.0.2.2")).is_some());
        for number in 0..2 * COUNTED {
            gate.count_forgery(Origin(IpAddr::from(u32::try_from(number).unwrap().to_be_bytes())));
            assert!(gate.state().forgeries.len() <= COUNTED);
        }
    }
}
