//! The command line of `assay-builder`.

mod args;
mod market;
mod talk;

use std::path::Path;
use std::time::Instant;

use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use assay_core::secp::SecretKey;
use assay_daemon::keystore::{self, Kdf, Password};
use serde_json::json;
use tokio::task::spawn_blocking;

pub use args::Cli;
use args::{Chain, Command, Endpoint, Keygen, Move, Prepare, Release, Replica, Restore, Signing, Status, Upload, Verify};
use talk::{confirm, print};

use crate::client::{Client, Wanted};
use crate::error::BuilderError;
use crate::keys::{KeyDir, Keys, WARNING};
use crate::prepare::{self, Order, Prepared};
use crate::progress::{Line, size};
use crate::range::restore_range;
use crate::register::{Registry, look_up};
use crate::release::{self, release};
use crate::relocate::{self, relocate};
use crate::restore::{Target, restore};
use crate::upload::upload;
use crate::verify::verify;
use crate::{cli, status};

/// Runs one command.
pub async fn execute(cli: cli::Cli) -> Result<(), BuilderError> {
    match cli.command {
        Command::Keygen(arguments) => run_keygen(&arguments),
        Command::Prepare(arguments) => run_prepare(arguments).await,
        Command::Upload(arguments) => run_upload(arguments).await,
        Command::Verify(arguments) => run_verify(arguments).await,
        Command::Restore(arguments) => run_restore(arguments).await,
        Command::Status(arguments) => run_status(arguments).await,
        Command::Move(arguments) => run_move(arguments).await,
        Command::Release(arguments) => run_release(arguments).await,
        Command::Quote(arguments) => market::quote(arguments).await,
        Command::Book(arguments) => market::book(arguments).await,
        Command::Extend(arguments) => market::extend(arguments).await,
        Command::Credit(command) => market::credit(command).await,
        Command::Bookings(arguments) => market::bookings(arguments).await,
    }
}

fn run_keygen(arguments: &Keygen) -> Result<(), BuilderError> {
    eprintln!("{WARNING}");
    if !arguments.i_understand {
        confirm("Do you understand this, and make the keys?", "--i-understand")?;
    }
    let keys = KeyDir::new(&arguments.keys);
    let kdf = match arguments.fast_kdf {
        true => Kdf::Pbkdf2,
        false => Kdf::Scrypt,
    };
    let address = keys.create(&Password::from_file(&arguments.password_file)?, kdf)?;
    print(arguments.json, &json!({ "address": address, "ownerSecret": keys.secret_file(), "builderKey": keys.signer_file() }));
    Ok(())
}

async fn run_prepare(arguments: Prepare) -> Result<(), BuilderError> {
    let keys = KeyDir::new(&arguments.keys).load(&Password::from_file(&arguments.password_file)?)?;
    let client = arguments.endpoint.connect().await?;
    let order =
        Order { source: arguments.object.source(), replica_index: arguments.replica, domain: client.domain, tags: !arguments.no_tags };
    let began = Instant::now();
    let prepared = prepared_in(arguments.out, keys, order).await?;
    let (claim, seconds) = (prepared.claim(), began.elapsed().as_secs_f64());
    eprintln!("prepared {} in {seconds:.1} s: {}/s", size(claim.bytes() as f64), size(claim.bytes() as f64 / seconds.max(1e-3)));
    let printed = json!({
        "objectId": claim.object_id, "replica": claim.replica_index, "root": claim.root, "blocks": claim.blocks,
        "bytes": claim.object_length, "claimHash": claim.hash(), "tagKeyId": claim.tag_key_id, "tagsBytes": prepared.tags_bytes(),
        "seconds": seconds,
    });
    print(arguments.json, &printed);
    Ok(())
}

async fn prepared_in(directory: std::path::PathBuf, keys: Keys, order: Order) -> Result<Prepared, BuilderError> {
    spawn_blocking(move || prepare::prepare(&directory, &keys, &order, &mut Line::new())).await?
}

async fn run_upload(arguments: Upload) -> Result<(), BuilderError> {
    let Account { keys, sender } = arguments.signing.open()?;
    let registry = arguments.chain.registry(&sender).await?;
    let mut client = arguments.endpoint.connect().await?;
    let is_cached = arguments.what.prepared.is_none();
    let prepared = match (&arguments.what.prepared, args::either(arguments.what.file, arguments.what.dir)) {
        (None, Some(source)) => {
            let order = Order { source, replica_index: arguments.replica, domain: client.domain, tags: !arguments.no_tags };
            let directory = prepare::cache_directory(&arguments.signing.keys, &order)?;
            prepared_in(directory, keys.clone(), order).await?
        }
        (directory, _) => Prepared::open(directory.as_deref().unwrap_or(Path::new("")))?,
    };
    let uploaded = upload(&mut client, &keys, &prepared, &mut Line::new()).await?;
    let transaction = publish(registry.as_ref(), &mut client, &uploaded.set).await?;
    if is_cached {
        prepared.remove()?;
    }
    let claim = &uploaded.claim;
    let printed = json!({
        "objectId": claim.object_id, "replica": claim.replica_index, "root": claim.root, "blocks": claim.blocks,
        "bytes": claim.object_length, "claimHash": claim.hash(), "tagKeyId": claim.tag_key_id, "sequence": uploaded.set.sequence,
        "tx": transaction.map(|hash| hash.to_string()), "published": registry.is_some(),
    });
    print(arguments.json, &printed);
    Ok(())
}

async fn publish(
    registry: Option<&Registry>,
    client: &mut Client,
    set: &assay_core::claim::SignedClaimSet,
) -> Result<Option<Hash32>, BuilderError> {
    match registry {
        Some(registry) => registry.publish(client, set).await,
        None => Ok(None),
    }
}

async fn run_verify(arguments: Verify) -> Result<(), BuilderError> {
    let owner = match (&arguments.owner, &arguments.keys) {
        (Some(owner), _) => *owner,
        (None, keys) => KeyDir::new(keys.as_deref().unwrap_or(Path::new(""))).address()?,
    };
    let mut client = arguments.endpoint.connect().await?;
    let claim = client.find(&arguments.replica.wanted(Some(owner))).await?;
    let verified = verify(&mut client, &claim, arguments.blocks).await?;
    if !arguments.json {
        eprintln!("{}", verified.words());
    }
    let mut printed = json!(verified);
    printed["objectId"] = json!(claim.object_id);
    printed["root"] = json!(claim.root);
    printed["lossBound"] = json!(verified.loss_bound());
    print(arguments.json, &printed);
    match verified.is_clean() {
        true => Ok(()),
        false => Err(BuilderError::NotHeld(verified.words())),
    }
}

async fn run_restore(arguments: Restore) -> Result<(), BuilderError> {
    let keys = KeyDir::new(&arguments.keys);
    let password = arguments.password_file.as_deref().map(Password::from_file).transpose()?;
    let secret = keys.load_secret(password.as_ref())?;
    let target = match (arguments.target.output, arguments.target.unpack) {
        (Some(file), _) => Target::File(file),
        (None, directory) => Target::Directory(directory.unwrap_or_default()),
    };
    let owner = match (arguments.owner, &arguments.range) {
        (Some(owner), _) => Some(owner),
        // A part of an object is only as good as the claim's root; the whole has an id of its own.
        (None, Some(_)) => Some(keys.address()?),
        (None, None) => keys.address().ok(),
    };
    let mut client = arguments.endpoint.connect().await?;
    let claim = client.find(&arguments.replica.wanted(owner)).await?;
    let bytes = match arguments.range {
        None => {
            restore(&mut client, &secret, &claim, &target, &mut Line::new()).await?;
            claim.object_length
        }
        Some(range) => {
            let bytes = range.end.saturating_sub(range.start);
            restore_range(&mut client, &secret, &claim, range, target.path(), &mut Line::new()).await?;
            bytes
        }
    };
    print(arguments.json, &json!({ "objectId": claim.object_id, "root": claim.root, "bytes": bytes }));
    Ok(())
}

async fn run_status(arguments: Status) -> Result<(), BuilderError> {
    let mut client = arguments.endpoint.connect().await?;
    let record = match (&arguments.chain.rpc, &arguments.chain.provider_registry) {
        (Some(rpc), Some(contract)) => Some(look_up(rpc, contract, &client).await?),
        _ => None,
    };
    let status = status::status(&mut client, arguments.owner, record.as_ref()).await?;
    match arguments.json {
        true => print(true, &status.json()),
        false => talk::say(&status.text()),
    }
    Ok(())
}

async fn run_move(arguments: Move) -> Result<(), BuilderError> {
    let Account { keys, sender } = arguments.signing.open()?;
    let registry = arguments.chain.registry(&sender).await?;
    let mut from = Client::connect(&arguments.from_endpoint, ProviderId(arguments.from_id)).await?;
    let mut to = Client::connect(&arguments.to_endpoint, ProviderId(arguments.to_id)).await?;
    let Replica { object_id: object, replica } = arguments.replica;
    let work = arguments
        .work
        .unwrap_or_else(|| relocate::work_directory(&arguments.signing.keys, &object, replica, from.domain.provider, to.domain.provider));
    let order = relocate::Move {
        keys: &keys,
        object,
        replica,
        to_replica: arguments.to_replica.unwrap_or(replica),
        source: arguments.at_hand.source(),
        tags: !arguments.no_tags,
        work,
        registry: registry.as_ref(),
        samples: arguments.blocks,
    };
    let moved = relocate(&order, &mut from, &mut to, &mut |step| eprintln!("{step}")).await?;
    if let Some(proof) = &moved.proof {
        eprintln!("at the new provider: {}", proof.words());
    }
    let printed = json!({
        "objectId": object, "replica": replica, "toReplica": moved.new.replica_index, "oldRoot": moved.old.root, "newRoot": moved.new.root, "oldClaimHash": moved.old.hash(),
        "newClaimHash": moved.new.hash(), "proof": moved.proof, "keptUntil": moved.kept_until, "published": registry.is_some(),
    });
    print(arguments.json, &printed);
    Ok(())
}

async fn run_release(arguments: Release) -> Result<(), BuilderError> {
    let Account { keys, sender } = arguments.signing.open()?;
    let registry = arguments.chain.registry(&sender).await?;
    let mut client = arguments.endpoint.connect().await?;
    let claim = release::find(&mut client, &arguments.replica.wanted(Some(keys.signer.address()))).await?;
    if !arguments.yes {
        let Replica { object_id, replica } = &arguments.replica;
        eprintln!("Provider {} will give up replica {replica} of object {object_id}.", client.domain.provider);
        confirm("The provider may delete it soon, and this cannot be undone. Release it?", "--yes")?;
    }
    let released = release(&mut client, &keys.signer, &claim).await?;
    let transaction = publish(registry.as_ref(), &mut client, &released.set).await?;
    let printed = json!({
        "objectId": claim.object_id, "replica": claim.replica_index, "claimHash": claim.hash(), "sequence": released.set.sequence,
        "keptUntil": released.kept_until, "tx": transaction.map(|hash| hash.to_string()), "published": registry.is_some(),
    });
    print(arguments.json, &printed);
    Ok(())
}

impl Endpoint {
    async fn connect(&self) -> Result<Client, BuilderError> {
        Client::connect(&self.provider_endpoint, ProviderId(self.provider_id)).await
    }
}

impl Replica {
    fn wanted(&self, owner: Option<assay_core::ids::Address>) -> Wanted {
        Wanted { object: self.object_id, replica: self.replica, owner }
    }
}

impl Chain {
    async fn registry(&self, sender: &SecretKey) -> Result<Option<Registry>, BuilderError> {
        match (&self.rpc, &self.provider_registry) {
            (Some(rpc), Some(contract)) => Ok(Some(Registry::connect(rpc, contract, sender).await?)),
            _ => Ok(None),
        }
    }
}

struct Account {
    keys: Keys,
    sender: SecretKey,
}

impl Signing {
    fn open(&self) -> Result<Account, BuilderError> {
        let keys = KeyDir::new(&self.keys).load(&Password::from_file(&self.password_file)?)?;
        let sender = match (&self.sender_keystore, &self.sender_password_file) {
            (Some(file), Some(password)) => keystore::load_secp(file, &Password::from_file(password)?)?,
            _ => keys.signer.clone(),
        };
        Ok(Account { keys, sender })
    }
}
