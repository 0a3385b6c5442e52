//! The seeds that an epoch was measured under, against the beacon's signed rounds.

use assay_core::beacon::{ChainInfo, fallback_seed};
use assay_core::bls::PublicKey;
use assay_core::hash::{Hash32, decode_hex};
use assay_core::observation::Seeds;
use assay_core::report::Setting;
use assay_proto::rest::{BeaconChain, BeaconRounds};
use sha2::{Digest, Sha256};

/// drand's quicknet: key, genesis, period (<https://api.drand.sh/52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971/info>).
const QUICKNET: (&str, u64, u64) = (
    "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a",
    1_692_803_367,
    3,
);

/// A beacon that is believed: its key is pinned, known by name, or said to be taken from the API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beacon {
    /// Key and times.
    pub chain: ChainInfo,
    /// Whether it is drand's quicknet.
    pub is_quicknet: bool,
}

/// Parses a beacon's chain; refuses one whose hash is not that of its parts, and a quicknet at other times.
pub fn parse(document: &BeaconChain) -> Result<Beacon, String> {
    let key: [u8; 96] = document.public_key.0.as_slice().try_into().map_err(|_| "the beacon's key has not 96 bytes".to_owned())?;
    let public_key = PublicKey::from_compressed(&key).map_err(|error| format!("the beacon's key: {error}"))?;
    let computed = chain_hash(document);
    if computed != document.chain_hash {
        return Err(format!("the beacon's chain hash is {}, its parts give {computed}", document.chain_hash));
    }
    let (quicknet_key, genesis_s, period_s) = QUICKNET;
    let is_quicknet = decode_hex(quicknet_key).as_deref() == Some(key.as_slice());
    if is_quicknet && (document.genesis_time, document.period) != (genesis_s, period_s) {
        return Err("the beacon has quicknet's key and other times".into());
    }
    if document.period == 0 {
        return Err("the beacon has a period of zero".into());
    }
    Ok(Beacon { chain: ChainInfo { public_key, genesis_s: document.genesis_time, period_s: document.period }, is_quicknet })
}

/// drand's chain hash: SHA-256 of period, genesis, key, group hash and, unless it is the default one, beacon id.
fn chain_hash(document: &BeaconChain) -> Hash32 {
    let mut hasher = Sha256::new()
        .chain_update(u32::try_from(document.period).unwrap_or(u32::MAX).to_be_bytes())
        .chain_update(document.genesis_time.to_be_bytes())
        .chain_update(&document.public_key.0)
        .chain_update(&document.group_hash.0);
    if !matches!(document.beacon_id.as_str(), "" | "default") {
        hasher.update(&document.beacon_id);
    }
    Hash32(hasher.finalize().into())
}

/// The round that a time (unix ms) has its seed from.
fn round_at(chain: &ChainInfo, at_ms: u64) -> Option<u64> {
    chain.first_round_at_or_after(at_ms.div_ceil(1_000))
}

/// Checks every round's signature, and that each seed is its round's, or the fallback where there is none. Returns (rounds, fallbacks).
pub fn check(chain: &ChainInfo, setting: &Setting, document: &BeaconRounds, seeds: &Seeds) -> Result<(usize, usize), String> {
    let slots = (0..setting.params.slots).map(|slot| u64::from(slot).saturating_mul(setting.params.slot_ms));
    let times: Vec<u64> = std::iter::once(0).chain(slots).map(|after| setting.start_ms().saturating_add(after)).collect();
    if document.epoch != setting.epoch || document.rounds.len() != times.len() || seeds.slots.len() + 1 != times.len() {
        return Err(format!("{} rounds, the epoch and its slots have {}", document.rounds.len(), times.len()));
    }
    let (mut previous, mut fallbacks) = (Hash32::ZERO, 0);
    let named = std::iter::once(&seeds.epoch).chain(&seeds.slots);
    for ((at_ms, round), seed) in times.iter().zip(&document.rounds).zip(named) {
        let number = round_at(chain, *at_ms).ok_or("the beacon has no round for the epoch")?;
        if round.round != number {
            return Err(format!("round {} is given where round {number} is due", round.round));
        }
        let randomness = match &round.signature {
            Some(signature) => {
                let verified = chain.verify(number, &signature.0).map_err(|error| format!("round {number}: {error}"))?;
                Some(verified.randomness)
            }
            None => None,
        };
        if randomness != Some(*seed) {
            fallbacks += 1;
            if *seed != fallback_seed(&previous, &setting.ref_block_hash) {
                return Err(format!("a seed is neither round {number}'s nor the fallback"));
            }
        }
        previous = *seed;
    }
    match seeds.secure == (fallbacks == 0) {
        true => Ok((times.len(), fallbacks)),
        false => Err(format!("the seeds are said to be secure = {}, {fallbacks} of {} are fallbacks", seeds.secure, times.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quicknet() -> BeaconChain {
        BeaconChain {
            public_key: decode_hex(QUICKNET.0).unwrap().into(),
            genesis_time: QUICKNET.1,
            period: QUICKNET.2,
            chain_hash: Hash32::from_hex("52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971").unwrap(),
            group_hash: decode_hex("f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e").unwrap().into(),
            beacon_id: "quicknet".into(),
        }
    }

    // Defence: the comparison of the chain hash in `parse`.
    #[test]
    fn quicknet_is_known_and_nothing_in_it_may_change() {
        assert!(parse(&quicknet()).unwrap().is_quicknet);
        let changes: [fn(&mut BeaconChain); 6] = [
            |b| b.public_key.0[0] ^= 1,
            |b| b.genesis_time += 1,
            |b| b.period += 1,
            |b| b.chain_hash.0[0] ^= 1,
            |b| b.group_hash.0[0] ^= 1,
            |b| b.beacon_id.push('x'),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = quicknet();
            change(&mut changed);
            assert!(parse(&changed).is_err(), "change {number}");
        }
    }
}
