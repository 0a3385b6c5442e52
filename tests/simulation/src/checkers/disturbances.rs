//! Which oracle or link was disturbed when: an oracle that was not has a right to be heard, paid and served.

use std::collections::BTreeMap;

use assay_core::ids::OracleId;

type Span = (u64, u64);

/// Spans of simulated time, ms, both ends included.
#[derive(Default)]
pub struct Disturbances {
    network: Vec<Span>,
    chain: Vec<Span>,
    nodes: BTreeMap<OracleId, Vec<Span>>,
    stumbles: BTreeMap<OracleId, Vec<Span>>,
}

impl Disturbances {
    pub fn network(&mut self, from_ms: u64, to_ms: u64) {
        self.network.push((from_ms, to_ms));
    }

    pub fn chain(&mut self, from_ms: u64, to_ms: u64) {
        self.chain.push((from_ms, to_ms));
    }

    pub fn node(&mut self, oracle: OracleId, from_ms: u64, to_ms: u64) {
        self.nodes.entry(oracle).or_default().push((from_ms, to_ms));
    }

    /// One call of its disk fails. That costs an oracle a second: one such fault does not excuse it, two that meet do.
    pub fn stumble(&mut self, oracle: OracleId, from_ms: u64, to_ms: u64) {
        self.stumbles.entry(oracle).or_default().push((from_ms, to_ms));
    }

    pub fn is_network_calm(&self, from_ms: u64, to_ms: u64) -> bool {
        is_calm(&self.network, from_ms, to_ms)
    }

    pub fn is_chain_calm(&self, from_ms: u64, to_ms: u64) -> bool {
        is_calm(&self.chain, from_ms, to_ms)
    }

    pub fn is_node_calm(&self, oracle: OracleId, from_ms: u64, to_ms: u64) -> bool {
        let stumbles = self.stumbles.get(&oracle).map_or(0, |spans| meeting(spans, from_ms, to_ms));
        stumbles <= 1 && self.nodes.get(&oracle).is_none_or(|spans| is_calm(spans, from_ms, to_ms))
    }
}

fn is_calm(spans: &[Span], from_ms: u64, to_ms: u64) -> bool {
    meeting(spans, from_ms, to_ms) == 0
}

fn meeting(spans: &[Span], from_ms: u64, to_ms: u64) -> usize {
    spans.iter().filter(|(from, to)| *to >= from_ms && *from <= to_ms).count()
}
