//! The replica format: what a provider stores. `docs/protocol.md`, "Replica and claim".
//!
//! Everything streams: [`Encoder`] and [`Decoder`] hold one block.

use std::fmt;

use chacha20::XChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::hash::Hash32;
use crate::ids::ProviderId;

/// Bytes of a block: 4,096 scalars of 31 bytes, or 124 BLAKE3 chunks.
pub const BLOCK_BYTES: usize = 126_976;
/// BLAKE3 chunks of a block.
pub const CHUNKS_PER_BLOCK: u64 = 124;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;
/// The version of the format that this code writes and reads.
pub const VERSION: u16 = 1;

const BLOCK: u64 = BLOCK_BYTES as u64;
const HEADER: u64 = HEADER_BYTES as u64;
const MAGIC: &[u8; 8] = b"ASSAYREP";
const KEY_CONTEXT: &str = "assay 2026-11 replica key v1";

/// Blocks of a replica of an object of `length` bytes: ⌈(64 + length) / 126,976⌉, at least 1.
pub fn blocks_for(length: u64) -> u64 {
    // Split so that no length overflows.
    let rest = (length % BLOCK).saturating_add(HEADER);
    (length / BLOCK).saturating_add(rest.div_ceil(BLOCK))
}

/// Bytes of a replica of that many blocks; `None` above 2^64.
pub fn replica_bytes(blocks: u64) -> Option<u64> {
    blocks.checked_mul(BLOCK)
}

/// The first 64 bytes of the plain stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Bytes of the object.
    pub object_length: u64,
    /// BLAKE3 of the object's plain bytes.
    pub object_id: Hash32,
    /// Which of the owner's replicas this is.
    pub replica_index: u64,
}

/// Why 64 bytes are not a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum HeaderError {
    /// Fewer than 64 bytes.
    #[error("a replica header has {HEADER_BYTES} bytes, not {found}")]
    Short {
        /// Bytes given.
        found: usize,
    },
    /// The first eight bytes differ: no replica, or decrypted with another key.
    #[error("these bytes do not begin with the replica magic")]
    Magic,
    /// A later format.
    #[error("replica format version {found} is not supported, only version {VERSION}")]
    Version {
        /// The version found.
        found: u16,
    },
    /// Bytes that this version keeps at zero are not.
    #[error("the reserved bytes of the header are not zero")]
    Reserved,
}

impl Header {
    /// The 64 bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let fields: [&[u8]; 6] = [
            MAGIC,
            &VERSION.to_le_bytes(),
            &[0; 6],
            &self.object_length.to_le_bytes(),
            self.object_id.as_bytes(),
            &self.replica_index.to_le_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// Reads the first 64 of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let short = HeaderError::Short { found: bytes.len() };
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(short)?;
        let (version, rest) = rest.split_first_chunk::<2>().ok_or(short)?;
        let (reserved, rest) = rest.split_first_chunk::<6>().ok_or(short)?;
        let (length, rest) = rest.split_first_chunk::<8>().ok_or(short)?;
        let (object_id, rest) = rest.split_first_chunk::<32>().ok_or(short)?;
        let (index, _) = rest.split_first_chunk::<8>().ok_or(short)?;
        if magic != MAGIC {
            return Err(HeaderError::Magic);
        }
        let found = u16::from_le_bytes(*version);
        if found != VERSION {
            return Err(HeaderError::Version { found });
        }
        if *reserved != [0; 6] {
            return Err(HeaderError::Reserved);
        }
        Ok(Self { object_length: u64::from_le_bytes(*length), object_id: Hash32(*object_id), replica_index: u64::from_le_bytes(*index) })
    }
}

/// The owner's secret: whoever holds it reads every replica, and without it the data is lost.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct OwnerSecret([u8; 32]);

impl OwnerSecret {
    /// From 32 uniformly random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Secret bytes for one purpose, which `context` names.
    pub(crate) fn derive(&self, context: &str) -> blake3::OutputReader {
        blake3::Hasher::new_derive_key(context).update(&self.0).finalize_xof()
    }
}

impl fmt::Debug for OwnerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerSecret(hidden)")
    }
}

/// The key of one replica at one provider.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ReplicaKey {
    key: [u8; 32],
    nonce_prefix: [u8; 16],
}

impl fmt::Debug for ReplicaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplicaKey(hidden)")
    }
}

impl ReplicaKey {
    /// Derives the key, which differs for every object, replica and provider: one stored copy cannot serve two claims.
    pub fn derive(secret: &OwnerSecret, object_id: &Hash32, replica_index: u64, provider: ProviderId) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
        hasher.update(&secret.0);
        hasher.update(object_id.as_bytes());
        hasher.update(&replica_index.to_le_bytes());
        hasher.update(&provider.0.to_le_bytes());
        let mut reader = hasher.finalize_xof();
        let mut derived = Self { key: [0; 32], nonce_prefix: [0; 16] };
        reader.fill(&mut derived.key);
        reader.fill(&mut derived.nonce_prefix);
        derived
    }
}

/// More bytes than a block has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{found} bytes are more than a block")]
pub struct BlockTooLong {
    /// Bytes given.
    pub found: usize,
}

/// Encrypts or decrypts the first bytes of block `block_index` in place, at most a block of them.
pub fn apply_keystream(key: &ReplicaKey, block_index: u64, bytes: &mut [u8]) -> Result<(), BlockTooLong> {
    let too_long = BlockTooLong { found: bytes.len() };
    if bytes.len() > BLOCK_BYTES {
        return Err(too_long);
    }
    let mut nonce = [0; 24];
    let fields = key.nonce_prefix.into_iter().chain(block_index.to_le_bytes());
    for (to, from) in nonce.iter_mut().zip(fields) {
        *to = from;
    }
    let mut cipher = XChaCha20::new(&key.key.into(), &nonce.into());
    cipher.try_apply_keystream(bytes).map_err(|_| too_long)
}

/// Why a stream is not the announced replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ReplicaError {
    /// The object has more or fewer bytes than its header says.
    #[error("the object has not the {announced} bytes that were announced: did it change?")]
    Length {
        /// Bytes announced.
        announced: u64,
    },
    /// The replica is not a whole number of blocks, or not the number that the length asks for.
    #[error("the replica ends too early or too late")]
    Blocks,
    /// The header does not read: most likely another secret, provider or replica index.
    #[error("the replica does not decrypt, so the owner secret, the provider id or the replica index is another one: {0}")]
    Header(HeaderError),
    /// The header names another object or replica.
    #[error("the replica is of object {found}, not of {expected}")]
    OtherObject {
        /// The id asked for.
        expected: Hash32,
        /// The id found.
        found: Hash32,
    },
    /// The plain bytes do not hash to the object id.
    #[error("the decrypted bytes are not object {expected}, but {found}: wrong owner secret or damaged data")]
    ObjectId {
        /// The id asked for.
        expected: Hash32,
        /// The id computed.
        found: Hash32,
    },
}

/// Turns an object's bytes into the encrypted blocks of one replica.
pub struct Encoder {
    key: ReplicaKey,
    announced: u64,
    consumed: u64,
    block_index: u64,
    block: Vec<u8>,
}

impl Encoder {
    /// For the object that the header describes.
    pub fn new(key: ReplicaKey, header: &Header) -> Self {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        block.extend_from_slice(&header.encode());
        Self { key, announced: header.object_length, consumed: 0, block_index: 0, block }
    }

    /// Takes the object's next bytes, of any number; `sink` gets every encrypted block that they fill.
    pub fn update(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(&[u8])) -> Result<(), ReplicaError> {
        self.consumed = self.consumed.saturating_add(bytes.len() as u64);
        if self.consumed > self.announced {
            return Err(ReplicaError::Length { announced: self.announced });
        }
        while !bytes.is_empty() {
            let take = BLOCK_BYTES.saturating_sub(self.block.len()).min(bytes.len());
            let (now, later) = bytes.split_at_checked(take).ok_or(ReplicaError::Blocks)?;
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_BYTES {
                self.flush(sink)?;
            }
        }
        Ok(())
    }

    /// Pads and gives out the last block.
    pub fn finish(mut self, sink: &mut impl FnMut(&[u8])) -> Result<(), ReplicaError> {
        if self.consumed != self.announced {
            return Err(ReplicaError::Length { announced: self.announced });
        }
        if !self.block.is_empty() {
            self.block.resize(BLOCK_BYTES, 0);
            self.flush(sink)?;
        }
        Ok(())
    }

    fn flush(&mut self, sink: &mut impl FnMut(&[u8])) -> Result<(), ReplicaError> {
        apply_keystream(&self.key, self.block_index, &mut self.block).map_err(|_| ReplicaError::Blocks)?;
        sink(&self.block);
        self.block.clear();
        self.block_index = self.block_index.saturating_add(1);
        Ok(())
    }
}

/// Turns the encrypted blocks of one replica back into the object's bytes.
pub struct Decoder {
    key: ReplicaKey,
    header: Header,
    block_index: u64,
    left: u64,
    hasher: blake3::Hasher,
}

impl Decoder {
    /// `expected` is what the claim says; the replica's own header must be the same.
    pub fn new(key: ReplicaKey, expected: &Header) -> Self {
        Self { key, header: *expected, block_index: 0, left: expected.object_length, hasher: blake3::Hasher::new() }
    }

    /// Decrypts the next block in place and gives its part of the object.
    pub fn block<'a>(&mut self, block: &'a mut [u8]) -> Result<&'a [u8], ReplicaError> {
        if block.len() != BLOCK_BYTES || self.block_index >= blocks_for(self.header.object_length) {
            return Err(ReplicaError::Blocks);
        }
        apply_keystream(&self.key, self.block_index, block).map_err(|_| ReplicaError::Blocks)?;
        let mut plain: &[u8] = block;
        if self.block_index == 0 {
            self.check_header(plain)?;
            plain = plain.get(HEADER_BYTES..).unwrap_or_default();
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(plain.len());
        let plain = plain.get(..length).unwrap_or_default();
        self.hasher.update(plain);
        self.left = self.left.saturating_sub(length as u64);
        self.block_index = self.block_index.saturating_add(1);
        Ok(plain)
    }

    /// Checks that everything came and that it is the object. Before this, the bytes given out are not to be trusted.
    pub fn finish(self) -> Result<(), ReplicaError> {
        if self.block_index != blocks_for(self.header.object_length) {
            return Err(ReplicaError::Blocks);
        }
        let (expected, found) = (self.header.object_id, Hash32::from(self.hasher.finalize()));
        match found == expected {
            true => Ok(()),
            false => Err(ReplicaError::ObjectId { expected, found }),
        }
    }

    fn check_header(&self, plain: &[u8]) -> Result<(), ReplicaError> {
        let found = Header::parse(plain).map_err(ReplicaError::Header)?;
        if found.object_length != self.header.object_length {
            return Err(ReplicaError::Length { announced: self.header.object_length });
        }
        if found != self.header {
            return Err(ReplicaError::OtherObject { expected: self.header.object_id, found: found.object_id });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    const SEED: &str = "assay replica vector";

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    #[serde(rename_all = "camelCase")]
    struct Vectors {
        note: String,
        owner_secret: Hash32,
        object_seed: String,
        vectors: Vec<Vector>,
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    #[serde(rename_all = "camelCase")]
    struct Vector {
        size: u64,
        provider: ProviderId,
        replica: u64,
        object_id: Hash32,
        blocks: u64,
        root: Hash32,
        first_32: Hash32,
        last_32: Hash32,
    }

    fn object(size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        blake3::Hasher::new().update(SEED.as_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn secret() -> OwnerSecret {
        OwnerSecret::new(std::array::from_fn(|i| i as u8))
    }

    fn header(object: &[u8], replica_index: u64) -> Header {
        Header { object_length: object.len() as u64, object_id: blake3::hash(object).into(), replica_index }
    }

    fn encode(object: &[u8], replica: u64, provider: u64, step: usize) -> Vec<u8> {
        let header = header(object, replica);
        let key = ReplicaKey::derive(&secret(), &header.object_id, replica, ProviderId(provider));
        let mut out = Vec::new();
        let mut sink = |block: &[u8]| out.extend_from_slice(block);
        let mut encoder = Encoder::new(key, &header);
        for part in object.chunks(step) {
            encoder.update(part, &mut sink).unwrap();
        }
        encoder.finish(&mut sink).unwrap();
        out
    }

    fn decode(replica: &[u8], expected: &Header, key: ReplicaKey) -> Result<Vec<u8>, ReplicaError> {
        let mut decoder = Decoder::new(key, expected);
        let mut out = Vec::new();
        for block in replica.to_vec().chunks_mut(BLOCK_BYTES) {
            out.extend_from_slice(decoder.block(block)?);
        }
        decoder.finish()?;
        Ok(out)
    }

    fn computed() -> Vectors {
        let sizes = [
            0, 1, 30, 31, 32, 1023, 1024, 1025, 16_383, 16_384, 16_385, 126_911, 126_912, 126_913, 126_975, 126_976, 126_977, 253_888,
            253_889, 253_952, 380_928,
        ];
        let vectors = sizes.iter().enumerate().map(|(i, &size)| {
            let object = object(size);
            let (provider, replica) = (i as u64 + 1, i as u64 % 3);
            let bytes = encode(&object, replica, provider, 10_000);
            Vector {
                size: size as u64,
                provider: ProviderId(provider),
                replica,
                object_id: blake3::hash(&object).into(),
                blocks: blocks_for(size as u64),
                root: blake3::hash(&bytes).into(),
                first_32: Hash32::from_slice(&bytes[..32]).unwrap(),
                last_32: Hash32::from_slice(&bytes[bytes.len() - 32..]).unwrap(),
            }
        });
        Vectors {
            note: "object = the first `size` bytes of BLAKE3's extended output over the ASCII text objectSeed; first32/last32 are bytes of the encrypted replica".into(),
            owner_secret: Hash32(secret().0),
            object_seed: SEED.into(),
            vectors: vectors.collect(),
        }
    }

    #[test]
    fn golden_vectors() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/replica.json");
        let computed = computed();
        if std::env::var_os("REGENERATE_VECTORS").is_some() {
            std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
            std::fs::write(path, serde_json::to_string_pretty(&computed).unwrap() + "\n").unwrap();
        }
        let committed: Vectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(committed, computed);
    }

    #[test]
    fn block_counts_at_the_boundaries() {
        for (length, blocks) in [(0, 1), (126_912, 1), (126_913, 2), (126_976, 2), (253_888, 2), (253_889, 3)] {
            assert_eq!(blocks_for(length), blocks, "{length}");
        }
        assert_eq!(blocks_for(u64::MAX), (u128::from(u64::MAX) + 64).div_ceil(126_976) as u64);
        assert_eq!(replica_bytes(u64::MAX), None);
    }

    #[test]
    fn headers_say_what_is_wrong() {
        let good = Header { object_length: 5, object_id: Hash32([9; 32]), replica_index: 2 }.encode();
        assert_eq!(Header::parse(&good).unwrap().encode(), good);
        let with = |at: usize| {
            let mut bytes = good;
            bytes[at] ^= 2;
            Header::parse(&bytes).unwrap_err()
        };
        assert_eq!(with(0), HeaderError::Magic);
        assert_eq!(with(8), HeaderError::Version { found: 3 });
        assert_eq!(with(12), HeaderError::Reserved);
        assert_eq!(Header::parse(&good[..63]), Err(HeaderError::Short { found: 63 }));
    }

    #[test]
    fn a_wrong_secret_is_told() {
        let object = object(1000);
        let replica = encode(&object, 0, 1, 100);
        let expected = header(&object, 0);
        let wrong = ReplicaKey::derive(&OwnerSecret::new([7; 32]), &expected.object_id, 0, ProviderId(1));
        let error = decode(&replica, &expected, wrong).unwrap_err();
        assert_eq!(error, ReplicaError::Header(HeaderError::Magic));
        assert!(error.to_string().contains("owner secret"));
    }

    #[test]
    fn secrets_do_not_show() {
        let key = ReplicaKey::derive(&secret(), &Hash32::ZERO, 0, ProviderId(1));
        assert_eq!(format!("{key:?} {:?}", secret()), "ReplicaKey(hidden) OwnerSecret(hidden)");
    }

    #[test]
    fn keys_differ_by_provider_and_replica() {
        let object = object(10);
        let one = encode(&object, 0, 1, 100);
        assert_ne!(one, encode(&object, 0, 2, 100));
        assert_ne!(one, encode(&object, 1, 1, 100));
    }

    #[test]
    fn lengths_are_pinned() {
        let object = object(100);
        let header = header(&object, 0);
        let key = ReplicaKey::derive(&secret(), &header.object_id, 0, ProviderId(1));
        let mut sink = |_: &[u8]| ();
        let mut long = Encoder::new(key.clone(), &header);
        assert!(long.update(&[0; 101], &mut sink).is_err());
        let mut short = Encoder::new(key.clone(), &header);
        short.update(&[0; 99], &mut sink).unwrap();
        assert!(short.finish(&mut sink).is_err());
        assert!(apply_keystream(&key, 0, &mut vec![0; BLOCK_BYTES + 1]).is_err());
        let replica = encode(&object, 0, 1, 100);
        assert_eq!(decode(&replica[..1000], &header, key.clone()), Err(ReplicaError::Blocks));
        assert_eq!(decode(&[replica.clone(), replica].concat(), &header, key), Err(ReplicaError::Blocks));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn round_trip(size in 0_usize..300_000, step in 1_usize..200_000, replica in any::<u64>(), provider in any::<u64>()) {
            let object = object(size);
            let encoded = encode(&object, replica, provider, step);
            let header = header(&object, replica);
            prop_assert_eq!(encoded.len() as u64, replica_bytes(blocks_for(size as u64)).unwrap());
            let key = ReplicaKey::derive(&secret(), &header.object_id, replica, ProviderId(provider));
            prop_assert_eq!(decode(&encoded, &header, key), Ok(object));
        }
    }
}
