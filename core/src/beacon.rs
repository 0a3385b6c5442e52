//! Public randomness in drand's quicknet scheme (`bls-unchained-g1-rfc9380`).
//!
//! A round has exactly one valid signature, so nobody can choose it; it can only be late. See <https://drand.love>.

use sha2::{Digest, Sha256};

use crate::bls::{BlsError, Domain, PublicKey, SecretKey, Signature};
use crate::hash::{Hash32, keccak};

/// A chain of rounds: who signs it, when it began, and how often it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainInfo {
    /// The group's key, in G2.
    pub public_key: PublicKey,
    /// Time of round 1, unix seconds.
    pub genesis_s: u64,
    /// Seconds between rounds, at least 1.
    pub period_s: u64,
}

/// A round that verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Its number, from 1.
    pub number: u64,
    /// SHA-256 of the signature, as drand publishes it.
    pub randomness: Hash32,
    /// The signature itself.
    pub signature: Signature,
}

impl ChainInfo {
    /// The first round at or after a time. `None` when the period is zero or the number overflows.
    pub fn first_round_at_or_after(&self, time_s: u64) -> Option<u64> {
        let elapsed = time_s.saturating_sub(self.genesis_s);
        elapsed.checked_add(self.period_s.checked_sub(1)?)?.checked_div(self.period_s)?.checked_add(1)
    }

    /// When a round is due, unix seconds.
    pub fn time_of(&self, round: u64) -> Option<u64> {
        self.genesis_s.checked_add(round.checked_sub(1)?.checked_mul(self.period_s)?)
    }

    /// Checks a round's signature; the only way to a [`Round`].
    pub fn verify(&self, number: u64, signature: &[u8]) -> Result<Round, BlsError> {
        let signature = Signature::from_slice(signature)?;
        self.public_key.verify_bytes(Domain::Drand, &message(number).0, &signature)?;
        Ok(Round { number, randomness: randomness(&signature), signature })
    }
}

/// What a beacon signs for a round.
pub fn message(round: u64) -> Hash32 {
    Hash32(Sha256::digest(round.to_be_bytes()).into())
}

/// A devnet beacon's signature for a round.
pub fn sign(secret: &SecretKey, round: u64) -> Signature {
    secret.sign(Domain::Drand, &message(round))
}

/// drand's randomness: SHA-256 of the compressed signature.
pub fn randomness(signature: &Signature) -> Hash32 {
    Hash32(Sha256::digest(signature.to_compressed()).into())
}

/// The seed of an epoch or slot when its round is not seen in time: flagged insecure, so that it can pay but never slash.
pub fn fallback_seed(previous: &Hash32, ref_block_hash: &Hash32) -> Hash32 {
    keccak([previous.as_bytes(), ref_block_hash.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::decode_hex;

    fn quicknet() -> ChainInfo {
        let key = decode_hex("83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a").unwrap();
        ChainInfo { public_key: PublicKey::from_compressed(&key.try_into().unwrap()).unwrap(), genesis_s: 1_692_803_367, period_s: 3 }
    }

    #[test]
    fn real_quicknet_rounds_verify() {
        let chain = quicknet();
        let round_1000 =
            decode_hex("b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39").unwrap();
        assert_eq!(chain.verify(1000, &round_1000).unwrap().number, 1000);
        assert_eq!(chain.verify(1001, &round_1000), Err(BlsError::Verify));
        let round_657413 =
            decode_hex("b713718a38ae728dfd477991af2822e08d2f305e47718cef9f7848ce4050e7be41076862b98fad56e91a6b85b89cd97b").unwrap();
        let verified = chain.verify(657_413, &round_657413).unwrap();
        assert_eq!(verified.randomness, Hash32::from_hex("fc1873a13f3545aeade8401532ef5519920652eee6b0d2b19ca12643b87b3587").unwrap());
    }

    #[test]
    fn the_first_round_at_or_after_a_time() {
        let chain = quicknet();
        for (after_genesis, round) in [(0, 1), (1, 2), (3, 2), (4, 3), (6, 3)] {
            assert_eq!(chain.first_round_at_or_after(chain.genesis_s + after_genesis), Some(round));
            assert!(chain.time_of(round).unwrap() >= chain.genesis_s + after_genesis);
        }
    }
}
