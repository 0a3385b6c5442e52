//! Solidity's `abi.encode` of static types: one 32-byte big-endian word a value.

use crate::hash::{Hash32, keccak};
use crate::ids::{Address, Instance, OracleId, ProviderId};

/// A growing list of ABI words.
#[derive(Clone, Default, Debug)]
pub struct Words(Vec<u8>);

/// A value that takes exactly one ABI word.
pub trait Word {
    /// The big-endian, left-padded word.
    fn word(&self) -> [u8; 32];
}

impl Words {
    /// No words.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with a domain tag.
    pub fn tagged(tag: &str) -> Self {
        Self::new().with(&crate::hash::tag(tag))
    }

    /// Appends one word.
    pub fn with(mut self, value: &impl Word) -> Self {
        self.push(value);
        self
    }

    /// Appends the chain id and the settlement address.
    pub fn with_instance(self, instance: &Instance) -> Self {
        self.with(&instance.chain_id).with(&instance.settlement)
    }

    /// Appends one word in place.
    pub fn push(&mut self, value: &impl Word) {
        self.0.extend_from_slice(&value.word());
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// keccak256 of the encoding.
    pub fn keccak(&self) -> Hash32 {
        keccak([&self.0])
    }
}

fn padded(bytes: &[u8]) -> [u8; 32] {
    let mut word = [0; 32];
    let start = word.len().saturating_sub(bytes.len());
    if let Some(tail) = word.get_mut(start..) {
        tail.copy_from_slice(bytes);
    }
    word
}

macro_rules! word_for_integers {
    ($($t:ty),*) => {$(
        impl Word for $t {
            fn word(&self) -> [u8; 32] {
                padded(&self.to_be_bytes())
            }
        }
    )*};
}
word_for_integers!(u8, u16, u32, u64, u128);

impl Word for bool {
    fn word(&self) -> [u8; 32] {
        u8::from(*self).word()
    }
}

impl Word for Hash32 {
    fn word(&self) -> [u8; 32] {
        self.0
    }
}

impl Word for Address {
    fn word(&self) -> [u8; 32] {
        padded(&self.0)
    }
}

impl Word for OracleId {
    fn word(&self) -> [u8; 32] {
        self.0.word()
    }
}

impl Word for ProviderId {
    fn word(&self) -> [u8; 32] {
        self.0.word()
    }
}
