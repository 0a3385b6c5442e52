//! Referees: the vectors of EIP-2335 and of the Web3 Secret Storage Definition, and alloy's keystore.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use alloy_signer_local::PrivateKeySigner;

use super::*;

/// The password of the EIP: mathematical letters that NFKD turns into ASCII, and a key symbol that it keeps.
const EIP_PASSWORD: &str =
    "\u{1d531}\u{1d522}\u{1d530}\u{1d531}\u{1d52d}\u{1d51e}\u{1d530}\u{1d530}\u{1d534}\u{1d52c}\u{1d52f}\u{1d521}\u{1f511}";
const EIP_SECRET: &str = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
const EIP_PUBKEY: &str = "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27f4ae4040902382ae2910c15e2b420d07";
const EIP_SALT: &str = "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3";
const WEB3_SECRET: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";

fn eip2335_json(function: &str, params: &str, checksum: &str, cipher: &str) -> String {
    format!(
        r#"{{"crypto": {{
            "kdf": {{"function": "{function}", "params": {{"dklen": 32, {params}, "salt": "{EIP_SALT}"}}, "message": ""}},
            "checksum": {{"function": "sha256", "params": {{}}, "message": "{checksum}"}},
            "cipher": {{"function": "aes-128-ctr", "params": {{"iv": "264daa3f303d7259501c93d997d84fe6"}}, "message": "{cipher}"}}
        }}, "description": "a test", "pubkey": "{EIP_PUBKEY}", "path": "m/12381/60/3141592653/589793238",
        "uuid": "1d85ae20-35c5-4611-98e8-aa14a633906f", "version": 4}}"#
    )
}

fn eip2335_scrypt() -> String {
    eip2335_json(
        "scrypt",
        r#""n": 262144, "p": 1, "r": 8"#,
        "d2217fe5f3e9a1e34581ef8a78f7c9928e436d36dacc5e846690a5581e8ea484",
        "06ae90d55fe0a6e9c5c3bc5b170827b2e5cce3929ed3f116c2811e6366dfe20f",
    )
}

fn eip2335_pbkdf2() -> String {
    eip2335_json(
        "pbkdf2",
        r#""c": 262144, "prf": "hmac-sha256""#,
        "8a9f5d9912ed7e75ea794bc5a89bca5f193721d30868ade6f73043c6ea6febf1",
        "cee03fde2af33149775b7223e7845e4fb2c8ae1792e5f99fe9ecf474cc8c16ad",
    )
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

#[test]
fn eip2335_vectors_decrypt() {
    for json in [eip2335_scrypt(), eip2335_pbkdf2()] {
        let keystore = eip2335::Keystore::parse(Path::new("vector"), json.as_bytes()).unwrap();
        let secret = keystore.decrypt(Path::new("vector"), &Password::new(EIP_PASSWORD)).unwrap();
        assert_eq!(hex::encode(*secret), EIP_SECRET);
    }
}

#[test]
fn control_characters_are_no_part_of_an_eip2335_password() {
    let typed = Password::new(format!("\u{7}{EIP_PASSWORD}\u{7f}\u{85}"));
    assert_eq!(*typed.normalised(), "testpassword\u{1f511}".as_bytes());
}

// Defence: `expect_pubkey`. Without it a validator's key would sign verdicts.
#[test]
fn a_validator_key_is_refused() {
    let dir = Dir::new();
    let path = dir.write("validator.json", eip2335_pbkdf2());
    let error = load_bls(&path, &Password::new(EIP_PASSWORD)).err().unwrap();
    assert!(matches!(error, KeystoreError::WrongFile { .. }), "{error}");
    assert!(error.to_string().contains("validator.json"), "{error}");
}

// The definition's scrypt vector (r = 1, n = 2^18) breaks RFC 7914's bound on n; alloy referees scrypt below.
#[test]
fn the_web3_vector_decrypts() {
    let pbkdf2 = r#"{"crypto": {"cipher": "aes-128-ctr", "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46", "kdf": "pbkdf2",
        "kdfparams": {"c": 262144, "dklen": 32, "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
        "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6", "version": 3}"#;
    let dir = Dir::new();
    let key = load_secp(&dir.write("pbkdf2.json", pbkdf2), &Password::new("testpassword")).unwrap();
    assert_eq!(hex::encode(*key.to_bytes()), WEB3_SECRET);
}

#[test]
fn a_bls_key_survives_its_file() {
    let dir = Dir::new();
    let password = Password::new("correct horse");
    for (name, kdf) in [("a.json", Kdf::Scrypt), ("b.json", Kdf::Pbkdf2)] {
        let path = dir.path(name);
        let key = create_bls(&path, &password, kdf).unwrap();
        assert_eq!(*load_bls(&path, &password).unwrap().to_bytes(), *key.to_bytes());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create_bls(&path, &password, Kdf::Pbkdf2), Err(KeystoreError::Exists(_))));
    }
    assert_eq!(std::fs::read_dir(dir.0.path()).unwrap().count(), 2, "no staging file is left behind");
}

#[test]
fn alloy_reads_what_we_write() {
    let dir = Dir::new();
    for (name, kdf) in [("a.json", Kdf::Scrypt), ("b.json", Kdf::Pbkdf2)] {
        let key = create_secp(&dir.path(name), &Password::new("pw"), kdf).unwrap();
        let signer = PrivateKeySigner::decrypt_keystore(dir.path(name), "pw").unwrap();
        assert_eq!(signer.address().0.0, key.address().0);
    }
}

#[test]
fn every_refusal_names_the_file() {
    let dir = Dir::new();
    let password = Password::new("pw");
    let bls = dir.path("bls.json");
    create_bls(&bls, &password, Kdf::Pbkdf2).unwrap();
    let secp = dir.path("secp.json");
    create_secp(&secp, &password, Kdf::Pbkdf2).unwrap();

    let refusals = [
        (load_bls(&bls, &Password::new("no")).err(), "bls.json: the password is wrong"),
        (load_secp(&secp, &Password::new("no")).err(), "secp.json: the password is wrong"),
        (load_bls(&secp, &password).err(), "secp.json holds a version 3 keystore"),
        (load_secp(&bls, &password).err(), "bls.json holds a version 4 keystore"),
        (load_bls(&dir.path("gone"), &password).err(), "gone does not exist"),
        (load_bls(&dir.write("text", "hello"), &password).err(), "text is not a keystore"),
        (load_bls(&dir.write("list", "[]"), &password).err(), "list is not a keystore"),
        (load_secp(&dir.write("big", vec![b' '; 70_000]), &password).err(), "big is larger than"),
        (load_bls(dir.0.path(), &password).err(), "cannot be read"),
        (create_bls(&dir.path("no/dir"), &password, Kdf::Pbkdf2).err(), "cannot be written"),
    ];
    for (error, expected) in refusals {
        let text = error.unwrap().to_string();
        assert!(text.contains(expected), "{text} should contain {expected}");
    }
}

// Defence: the bounds in `derive`. Without them a keystore of 200 bytes takes all memory.
#[test]
fn a_keystore_cannot_ask_for_the_whole_machine() {
    let dir = Dir::new();
    for (name, from, to) in [
        ("memory", "262144", "1099511627776"),
        ("zero", "262144", "0"),
        ("odd", "262144", "262143"),
        ("short", "\"dklen\": 32", "\"dklen\": 16"),
    ] {
        let path = dir.write(name, eip2335_scrypt().replace(from, to));
        let error = load_bls(&path, &Password::new(EIP_PASSWORD)).err().unwrap();
        assert!(matches!(error, KeystoreError::Unsupported { .. }), "{error}");
    }
}

#[test]
fn password_files_lose_one_newline() {
    let dir = Dir::new();
    let read = |text: &str| Password::from_file(&dir.write("pw", text));
    assert_eq!(read("secret\n").ok().unwrap().as_bytes(), b"secret");
    assert_eq!(read("secret\n\n").ok().unwrap().as_bytes(), b"secret\n");
    assert_eq!(read(" se cret").ok().unwrap().as_bytes(), b" se cret");
    for (text, expected) in [("\n", "is empty"), (&*"x".repeat(5000), "is larger")] {
        let error = read(text).err().unwrap().to_string();
        assert!(error.contains(expected) && error.contains("pw"), "{error}");
    }
    let error = Password::from_file(&dir.path("none")).err().unwrap().to_string();
    assert!(error.contains("none"), "{error}");
}
