//! Keys at rest: EIP-2335 (version 4) files for BLS, Web3 Secret Storage (version 3) files for secp256k1.
//!
//! Both formats are a password, a key derivation function, AES-128-CTR and a checksum; [`crypto`] holds what they share.
//! Files are written whole, with mode 0600, and never over an existing one.

mod crypto;
mod eip2335;
mod error;
mod file;
mod password;
mod web3;

use std::path::Path;

use assay_core::{bls, secp};
use zeroize::Zeroizing;

pub use crypto::Kdf;
pub use error::KeystoreError;
pub use password::Password;

/// Opens an EIP-2335 file. Refuses a file whose `pubkey` is not the min-sig (96-byte) key of the secret inside, so that
/// an Ethereum validator's key is never used here by mistake.
pub fn load_bls(path: &Path, password: &Password) -> Result<bls::SecretKey, KeystoreError> {
    let keystore = eip2335::Keystore::parse(path, &file::read(path)?)?;
    let secret = keystore.decrypt(path, password)?;
    let key = bls::SecretKey::from_bytes(&secret).map_err(|_| KeystoreError::not_a_key(path, "BLS12-381"))?;
    let expected = hex::encode(key.public_key().to_compressed());
    keystore.expect_pubkey(path, &expected)?;
    Ok(key)
}

/// Makes a new BLS key and stores it at `path`, which must not exist.
pub fn create_bls(path: &Path, password: &Password, kdf: Kdf) -> Result<bls::SecretKey, KeystoreError> {
    let key = bls::SecretKey::key_gen(&*random(path)?).map_err(|_| KeystoreError::not_a_key(path, "BLS12-381"))?;
    store_bls(path, &key, password, kdf)?;
    Ok(key)
}

/// Stores a BLS key at `path`, which must not exist.
pub fn store_bls(path: &Path, key: &bls::SecretKey, password: &Password, kdf: Kdf) -> Result<(), KeystoreError> {
    let pubkey = hex::encode(key.public_key().to_compressed());
    let sealed = crypto::seal(path, kdf, &password.normalised(), &key.to_bytes(), crypto::Check::Sha256)?;
    file::create(path, &eip2335::Keystore::new(&sealed, pubkey).to_json())
}

/// Opens a Web3 keystore file. Refuses a file whose `address`, when it has one, is not that of the key inside.
pub fn load_secp(path: &Path, password: &Password) -> Result<secp::SecretKey, KeystoreError> {
    let keystore = web3::Keystore::parse(path, &file::read(path)?)?;
    let secret = keystore.decrypt(path, password)?;
    let key = secp::SecretKey::from_bytes(&secret).map_err(|_| KeystoreError::not_a_key(path, "secp256k1"))?;
    keystore.expect_address(path, &hex::encode(key.address().0))?;
    Ok(key)
}

/// Makes a new secp256k1 key and stores it at `path`, which must not exist.
pub fn create_secp(path: &Path, password: &Password, kdf: Kdf) -> Result<secp::SecretKey, KeystoreError> {
    let key = secp::SecretKey::from_bytes(&*random(path)?).map_err(|_| KeystoreError::not_a_key(path, "secp256k1"))?;
    store_secp(path, &key, password, kdf)?;
    Ok(key)
}

/// Stores a secp256k1 key at `path`, which must not exist.
pub fn store_secp(path: &Path, key: &secp::SecretKey, password: &Password, kdf: Kdf) -> Result<(), KeystoreError> {
    let sealed = crypto::seal(path, kdf, password.as_bytes(), &key.to_bytes(), crypto::Check::Keccak)?;
    file::create(path, &web3::Keystore::new(&sealed, hex::encode(key.address().0)).to_json())
}

fn random(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
    let mut bytes = Zeroizing::new([0; 32]);
    crypto::fill_random(path, &mut *bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
