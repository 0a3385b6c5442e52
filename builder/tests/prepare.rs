//! Prepared directories: tags that a provider accepts, roots that everybody computes, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use assay_builder::error::BuilderError;
use assay_builder::keys::Keys;
use assay_builder::prepare::{Order, Prepared, prepare};
use assay_builder::progress::Stage;
use assay_builder::source::Source;
use assay_core::claim::{Claim, ClaimDomain};
use assay_core::compact::{CompactError, Name, Powers, TAG_BYTES, TagCheck, TagKey, TagSecret};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::replica::{BLOCK_BYTES, Encoder, Header, OwnerSecret, ReplicaKey};
use assay_core::secp::SecretKey;

const SEED: [u8; 32] = [5; 32];

fn keys() -> Keys {
    Keys { secret: OwnerSecret::new([9; 32]), signer: SecretKey::from_bytes(&[8; 32]).unwrap() }
}

fn domain(provider: u64) -> ClaimDomain {
    ClaimDomain { chain_id: 31_337, provider_registry: Address([1; 20]), provider: ProviderId(provider) }
}

fn order(source: Source) -> Order {
    Order { source, replica_index: 0, domain: domain(1), tags: true }
}

fn quietly(directory: &Path, order: &Order) -> Result<Prepared, BuilderError> {
    prepare(directory, &keys(), order, &mut |_, _, _| ())
}

fn write_object(path: &Path, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"prepare test").finalize_xof().fill(&mut bytes);
    fs::write(path, &bytes).unwrap();
    bytes
}

/// The replica as the core's own encoder makes it.
fn replica(object: &[u8], claim: &Claim, provider: u64) -> Vec<u8> {
    let header = Header { object_length: object.len() as u64, object_id: claim.object_id, replica_index: claim.replica_index };
    let key = ReplicaKey::derive(&keys().secret, &claim.object_id, claim.replica_index, ProviderId(provider));
    let mut out = Vec::new();
    let mut sink = |block: &[u8]| out.extend_from_slice(block);
    let mut encoder = Encoder::new(key, &header);
    encoder.update(object, &mut sink).unwrap();
    encoder.finish(&mut sink).unwrap();
    out
}

struct Owner {
    key: TagKey,
    powers: Powers,
}

impl Owner {
    fn new() -> Self {
        let secret = TagSecret::derive(&keys().secret);
        let key = secret.key();
        let powers = Powers::parse(&secret.powers(), &key, &SEED).unwrap();
        Self { key, powers }
    }

    /// As a provider checks them at ingest.
    fn accepts(&self, claim: &Claim, provider: u64, replica: &[u8], tags: &[u8]) -> Result<(), CompactError> {
        let mut check = TagCheck::new(&self.key, &self.powers, Name::of(claim, ProviderId(provider)), &SEED);
        replica.chunks(BLOCK_BYTES).try_for_each(|block| check.block(block))?;
        check.tags(tags)?;
        check.finish()
    }
}

/// What `b3sum` prints, where it is installed.
fn b3sum(bytes: &[u8], scratch: &Path) -> Hash32 {
    fs::write(scratch, bytes).unwrap();
    match Command::new("b3sum").arg("--no-names").arg(scratch).stderr(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            Hash32::from_hex(&format!("0x{}", String::from_utf8_lossy(&output.stdout).trim())).expect("b3sum prints a hash")
        }
        _ => blake3::hash(&fs::read(scratch).unwrap()).into(),
    }
}

#[test]
fn every_size_gives_the_ordinary_root_and_tags_that_verify() {
    let directory = tempfile::tempdir().unwrap();
    let owner = Owner::new();
    let sizes =
        [0, 1, 30, 31, 32, 1023, 1024, 1025, 16_383, 16_384, 16_385, 126_911, 126_912, 126_913, 126_975, 126_976, 126_977, 1_200_000];
    for (i, size) in sizes.into_iter().enumerate() {
        let provider = i as u64 + 1;
        let file = directory.path().join("object");
        let object = write_object(&file, size);
        let order = Order { domain: domain(provider), replica_index: i as u64 % 3, ..order(Source::File(file)) };
        let prepared = quietly(&directory.path().join(format!("out {size}")), &order).unwrap();
        let claim = prepared.claim();
        assert_eq!(claim.object_id, b3sum(&object, &directory.path().join("scratch")));
        let replica = replica(&object, claim, provider);
        assert_eq!(claim.root, b3sum(&replica, &directory.path().join("scratch")), "{size}");
        assert_eq!((claim.object_length, claim.bytes()), (size as u64, replica.len() as u64));
        assert_eq!(claim.tag_key_id, owner.key.id());
        let tags = fs::read(prepared.tags_file()).unwrap();
        assert_eq!(tags.len() as u64, prepared.tags_bytes());
        owner.accepts(claim, provider, &replica, &tags).unwrap();
        // Defence: the provider's id in the tags' name. Without it one set of tags would serve two providers.
        assert_eq!(owner.accepts(claim, provider + 1, &replica, &tags), Err(CompactError::Tags));
    }
}

#[test]
fn a_repeat_finds_what_is_there_and_makes_nothing_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (file, out) = (directory.path().join("object"), directory.path().join("out"));
    write_object(&file, 300_000);
    let order = order(Source::File(file.clone()));
    let mut stages = Vec::new();
    let first = prepare(&out, &keys(), &order, &mut |stage, _, _| stages.push(stage)).unwrap().manifest().clone();
    stages.dedup();
    assert_eq!(stages, [Stage::Reading, Stage::Encrypting, Stage::Tagging]);
    let silent = |out: &Path, order: &Order| {
        let mut heard = 0;
        let manifest = prepare(out, &keys(), order, &mut |_, _, _| heard += 1).unwrap().manifest().clone();
        (manifest, heard == 0)
    };
    assert_eq!(silent(&out, &order), (first.clone(), true));

    // The same content at another place: only the place is noted.
    let moved = directory.path().join("moved");
    fs::rename(&file, &moved).unwrap();
    let elsewhere = Order { source: Source::File(moved.clone()), ..order.clone() };
    let (manifest, was_silent) = silent(&out, &elsewhere);
    assert!(was_silent);
    assert_eq!(manifest.source, Source::File(moved.canonicalize().unwrap()));
    assert_eq!(manifest.claim, first.claim);

    // Other content, then the old one again.
    write_object(&moved, 300_001);
    let (manifest, was_silent) = silent(&out, &elsewhere);
    assert!(!was_silent);
    assert_eq!(manifest.claim.object_length, 300_001);
    write_object(&moved, 300_000);
    assert_eq!(silent(&out, &elsewhere).0.claim, first.claim);

    // Tags that were damaged meanwhile are made anew.
    let tags = fs::read(out.join("tags")).unwrap();
    fs::write(out.join("tags"), vec![0; tags.len()]).unwrap();
    let (_, was_silent) = silent(&out, &elsewhere);
    assert!(!was_silent);
    assert_eq!(fs::read(out.join("tags")).unwrap(), tags);
}

// Defence: `Prepared::expect`. Without it a replica would go to a provider that it is not encrypted for, or under another owner's claim.
#[test]
fn a_directory_of_another_provider_or_owner_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (file, out) = (directory.path().join("object"), directory.path().join("out"));
    write_object(&file, 1000);
    let ours = order(Source::File(file));
    let prepared = quietly(&out, &ours).unwrap();
    prepared.expect(&domain(1), &keys()).unwrap();
    let other_secret = Keys { secret: OwnerSecret::new([1; 32]), ..keys() };
    let other_signer = Keys { signer: SecretKey::from_bytes(&[1; 32]).unwrap(), ..keys() };
    let refused = [
        prepared.expect(&domain(2), &keys()),
        prepared.expect(&ClaimDomain { chain_id: 1, ..domain(1) }, &keys()),
        prepared.expect(&ClaimDomain { provider_registry: Address([3; 20]), ..domain(1) }, &keys()),
        prepared.expect(&domain(1), &other_secret),
        prepared.expect(&domain(1), &other_signer),
    ];
    assert!(refused.iter().all(|refused| matches!(refused, Err(BuilderError::PreparedForAnother { .. }))), "{refused:?}");
    drop(prepared);
    for other in [Order { domain: domain(2), ..ours.clone() }, Order { replica_index: 1, ..ours.clone() }] {
        assert!(matches!(quietly(&out, &other), Err(BuilderError::PreparedForAnother { .. })));
    }
    quietly(&out, &ours).unwrap();
}

// Defence: the tags' hash in the manifest. Without it the provider refuses only after the whole upload.
#[test]
fn a_damaged_tags_file_and_an_edited_manifest_are_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (file, out) = (directory.path().join("object"), directory.path().join("out"));
    write_object(&file, 300_000);
    drop(quietly(&out, &order(Source::File(file))).unwrap());
    let open = || Prepared::open(&out);
    open().unwrap().check_tags().unwrap();

    let tags = fs::read(out.join("tags")).unwrap();
    assert_eq!(tags.len(), 3 * TAG_BYTES);
    let mut flipped = tags.clone();
    flipped[100] ^= 1;
    for bad in [&flipped[..], &tags[..48], &[]] {
        fs::write(out.join("tags"), bad).unwrap();
        assert!(matches!(open().unwrap().check_tags(), Err(BuilderError::Tags(_))));
    }
    fs::remove_file(out.join("tags")).unwrap();
    assert!(matches!(open().unwrap().check_tags(), Err(BuilderError::Tags(_))));
    fs::write(out.join("tags"), tags).unwrap();
    open().unwrap().check_tags().unwrap();

    let manifest = fs::read_to_string(out.join("manifest.json")).unwrap();
    for (from, to) in [("\"replicaIndex\": 0", "\"replicaIndex\": 1"), ("\"version\": 1", "\"version\": 2"), ("{", "{\"surplus\": 1,")] {
        assert!(manifest.contains(from));
        fs::write(out.join("manifest.json"), manifest.replacen(from, to, 1)).unwrap();
        assert!(matches!(open(), Err(BuilderError::Manifest { .. })), "{from}");
    }
    fs::remove_file(out.join("manifest.json")).unwrap();
    assert!(matches!(open(), Err(BuilderError::NotPrepared(_))));
    assert!(matches!(Prepared::open(&PathBuf::from("/nowhere")), Err(BuilderError::NotPrepared(_))));
}

#[test]
fn without_tags_there_is_no_tags_file_and_no_tag_key_in_the_claim() {
    let directory = tempfile::tempdir().unwrap();
    let (file, out) = (directory.path().join("object"), directory.path().join("out"));
    write_object(&file, 1000);
    let with = order(Source::File(file));
    let without = Order { tags: false, ..with.clone() };
    let plain = quietly(&out, &without).unwrap();
    assert!(plain.claim().tag_key_id.is_zero());
    assert_eq!(plain.tags_bytes(), 0);
    assert!(!out.join("tags").exists());
    plain.check_tags().unwrap();
    let root = plain.claim().root;
    drop(plain);
    let tagged = quietly(&out, &with).unwrap();
    assert_eq!(tagged.claim().root, root, "tags change nothing in the data");
    assert!(out.join("tags").exists());
}

#[test]
fn a_directory_is_prepared_as_its_archive() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("deep")).unwrap();
    write_object(&tree.join("deep/file"), 400_000);
    let source = Source::Directory(tree.clone());
    let mut archive = Vec::new();
    source.write_to(0, &mut archive).unwrap();
    let out = directory.path().join("out");
    let prepared = quietly(&out, &order(source.clone())).unwrap();
    assert_eq!(prepared.claim().object_id, blake3::hash(&archive).into());
    Owner::new().accepts(prepared.claim(), 1, &replica(&archive, prepared.claim(), 1), &fs::read(prepared.tags_file()).unwrap()).unwrap();
    prepared.expect_source().unwrap();
    write_object(&tree.join("deep/file"), 400_001);
    assert!(matches!(prepared.expect_source(), Err(BuilderError::SourceChanged)));
}
