//! Silence does not pay: a provider that answers no storage challenge strikes out, is asked by everybody, and slashed. One that answers on
//! the chain in time is not slashed, and earns nothing all the same.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use assay_chain::transaction::{self, Mined, SendConfig, TransactionError};
use assay_chain::{BlockTag, Client, Rpc, calls};
use assay_core::challenge::Kind;
use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use assay_core::observation::Fault as Proven;
use assay_core::report::Report;
use assay_core::secp::SecretKey;
use assay_core::verdict::{Dimension, Grade, Verdict};
use assay_daemon::keystore::{self, Kdf, Password};
use assay_proto::provider::v1 as wire;
use assay_proto::provider::v1::provider_client::ProviderClient;
use assay_proto::provider::v1::provider_server::{Provider, ProviderServer};
use assay_tests::devnet::outcome;
use assay_tests::devnet::{Changes, Devnet, Fault, OracleFault, Plan};
use assay_tests::{binaries, deploy};
use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// Stands before a provider and swallows storage challenges; everything else passes.
#[derive(Clone, Default)]
struct Mute {
    behind: Arc<OnceLock<ProviderClient<Channel>>>,
}

impl Mute {
    async fn start(&self) -> SocketAddr {
        let (incoming, address) = assay_daemon::grpc::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        tokio::spawn(Server::builder().add_service(ProviderServer::new(self.clone())).serve_with_incoming(incoming));
        address
    }

    fn pass_on_to(&self, provider: SocketAddr) {
        let channel = Endpoint::from_shared(format!("http://{provider}")).unwrap().tcp_nodelay(true).connect_lazy();
        self.behind.set(ProviderClient::new(channel)).unwrap();
    }

    fn behind(&self) -> Result<ProviderClient<Channel>, Status> {
        self.behind.get().cloned().ok_or_else(|| Status::unavailable("not yet"))
    }
}

#[tonic::async_trait]
impl Provider for Mute {
    async fn describe(&self, request: Request<wire::DescribeRequest>) -> Result<Response<wire::DescribeReply>, Status> {
        self.behind()?.describe(request.into_inner()).await
    }

    async fn releases(&self, request: Request<wire::ReleasesRequest>) -> Result<Response<wire::ReleasesReply>, Status> {
        self.behind()?.releases(request.into_inner()).await
    }

    async fn claims(&self, request: Request<wire::ClaimsRequest>) -> Result<Response<wire::ClaimsReply>, Status> {
        self.behind()?.claims(request.into_inner()).await
    }

    async fn challenge(&self, request: Request<wire::ChallengeRequest>) -> Result<Response<wire::ChallengeReply>, Status> {
        let request = request.into_inner();
        match request.kind == u32::from(Kind::STORAGE.0) {
            true => std::future::pending().await,
            false => self.behind()?.challenge(request).await,
        }
    }

    async fn seal(&self, request: Request<wire::SealRequest>) -> Result<Response<wire::SealReply>, Status> {
        self.behind()?.seal(request.into_inner()).await
    }

    type IngressStream = BoxStream<'static, Result<wire::IngressReply, Status>>;

    async fn ingress(&self, frames: Request<Streaming<wire::IngressFrame>>) -> Result<Response<Self::IngressStream>, Status> {
        let frames = frames.into_inner().filter_map(|frame| std::future::ready(frame.ok()));
        Ok(Response::new(self.behind()?.ingress(frames).await?.into_inner().boxed()))
    }

    type EgressStream = BoxStream<'static, Result<wire::EgressReply, Status>>;

    async fn egress(&self, requests: Request<Streaming<wire::EgressRequest>>) -> Result<Response<Self::EgressStream>, Status> {
        let requests = requests.into_inner().filter_map(|request| std::future::ready(request.ok()));
        Ok(Response::new(self.behind()?.egress(requests).await?.into_inner().boxed()))
    }
}

/// A network whose two providers are mute, and an account that pays for a rebuttal.
struct World {
    devnet: Devnet,
    epoch: Duration,
    directory: tempfile::TempDir,
}

fn payer() -> SecretKey {
    SecretKey::from_bytes(&[9; 32]).unwrap()
}

const SLASHED: ProviderId = ProviderId(1);
const REBUTTED: ProviderId = ProviderId(2);

impl World {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
        let plan =
            Plan { dir: directory.path().join("net"), data, oracles: vec![OracleFault::None; 4], faults: vec![Fault::None, Fault::None] };
        let mutes = [Mute::default(), Mute::default()];
        let mut registered_at = BTreeMap::new();
        for (number, mute) in (1..).zip(&mutes) {
            registered_at.insert(number, mute.start().await);
        }
        let changes = Changes { slash_window_s: Some(20), registered_at, ..Changes::default() };
        let devnet = Devnet::start_changed(&plan, &changes, |line| println!("{line}")).await.unwrap();
        for (mute, provider) in mutes.iter().zip(&devnet.providers) {
            mute.pass_on_to(provider.listen);
        }
        deploy::endow(devnet.rpc(), &payer().address()).await.unwrap();
        let world = Self { epoch: Duration::from_millis(devnet.params.epoch_ms()), devnet, directory };
        keystore::store_secp(&world.payer(), &payer(), &Password::from_file(&world.password()).unwrap(), Kdf::Pbkdf2).unwrap();
        world
    }

    fn payer(&self) -> PathBuf {
        self.directory.path().join("payer.json")
    }

    fn password(&self) -> PathBuf {
        self.directory.path().join("net/password")
    }

    async fn accepted(&self, epoch: u64) {
        let devnet = &self.devnet;
        let accepted = devnet.until(self.epoch * 4, || async { Ok(devnet.epoch(epoch).await?.is_some()) }).await.unwrap();
        assert!(accepted, "epoch {epoch} is accepted");
    }

    async fn verdict(&self, provider: ProviderId, epoch: u64) -> Verdict {
        let verdicts = self.devnet.verdicts(epoch).await.unwrap();
        verdicts.into_iter().find(|verdict| verdict.provider == provider).unwrap()
    }

    /// What any oracle sends once the window is over.
    async fn execute_slash(&self, provider: ProviderId, epoch: u64) -> Result<Mined, TransactionError> {
        let url = format!("{}/v1/slashes/{provider}/{epoch}", self.devnet.oracles[0].api);
        let slash: Slash = outcome::ask(url).await.unwrap().unwrap();
        let call = calls::execute_slash(&slash.report, provider, slash.reason, &slash.facts_root, slash.amount, &slash.proof);
        let rpc = Rpc::connect(self.devnet.rpc()).await.unwrap();
        transaction::send(&rpc, &payer(), &self.devnet.deployment.settlement, &call, &SendConfig::default()).await
    }

    /// `assay-provider rebut`, as its operator runs it.
    async fn rebut(&self, provider: ProviderId, more: &[&str]) -> Output {
        let node = self.devnet.providers.iter().find(|node| node.id == provider).unwrap();
        tokio::process::Command::new(binaries::path("assay-provider"))
            .arg("rebut")
            .args(["--api", &self.devnet.oracles[0].api, "--rpc", self.devnet.rpc()])
            .args(["--config".as_ref(), node.data_dir.join("provider.toml").as_os_str()])
            .args(["--key".as_ref(), self.payer().as_os_str(), "--password-file".as_ref(), self.password().as_os_str()])
            .args(more)
            .output()
            .await
            .unwrap()
    }
}

#[derive(serde::Deserialize)]
struct Slash {
    report: Report,
    reason: u8,
    facts_root: Hash32,
    #[serde(with = "assay_core::amount")]
    amount: u128,
    proof: Vec<Hash32>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// Defences, each of which turns this red when removed: `ask_open` (nobody strikes out), the watched challenge in it (nobody witnesses),
// `Case::is_witnessed` (no slash), `rebut` in the contract (no way back), `rebutted` in `executeSlash` (no use in it).
#[tokio::test(flavor = "multi_thread")]
async fn silence_is_slashed_unless_it_is_rebutted_and_never_paid() {
    let world = World::start().await;
    let chain = Client::connect(world.devnet.deployment.chain.clone()).await.unwrap();

    world.accepted(0).await;
    for provider in [SLASHED, REBUTTED] {
        let verdict = world.verdict(provider, 0).await;
        assert!(!verdict.watched.is_zero(), "struck out in epoch 0, watched from then on: {verdict:?}");
        assert_eq!(verdict.slash_reason, None, "one oracle's word slashes nobody");
    }
    let early = world.rebut(REBUTTED, &[]).await;
    assert!(!early.status.success() && text(&early.stderr).contains("nothing to rebut"), "{}", text(&early.stderr));

    world.accepted(2).await;
    for provider in [SLASHED, REBUTTED] {
        assert_eq!(world.verdict(provider, 2).await.slash_reason, Some(Proven::StorageSilent));
        assert!(!chain.slash_executed(provider, 2, BlockTag::Latest).await.unwrap(), "its window is open");
    }
    let done = world.rebut(REBUTTED, &[]).await;
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    let said = text(&done.stdout);
    assert!(said.contains("about 2 million gas") && said.contains("Rebutted in block"), "{said}");
    println!("{said}");
    assert!(chain.rebutted(REBUTTED, 2, BlockTag::Latest).await.unwrap());
    let again = world.rebut(REBUTTED, &["--epoch", "2"]).await;
    assert!(!again.status.success() && text(&again.stderr).contains("rebutted already"), "{}", text(&again.stderr));

    let slashed = || async { Ok(chain.slash_executed(SLASHED, 2, BlockTag::Latest).await?) };
    assert!(world.devnet.until(world.epoch * 3, slashed).await.unwrap(), "slashed once its window is over");
    let refused = world.execute_slash(REBUTTED, 2).await.unwrap_err();
    assert!(matches!(&refused, TransactionError::WouldRevert(reason) if reason.starts_with("AlreadyRebutted")), "{refused}");
    let late = world.rebut(SLASHED, &["--epoch", "2"]).await;
    assert!(!late.status.success() && text(&late.stderr).contains("window"), "{}", text(&late.stderr));

    for epoch in 0..=2 {
        for provider in [SLASHED, REBUTTED] {
            let verdict = world.verdict(provider, epoch).await;
            let storage = verdict.dimensions.iter().find(|judged| judged.dimension == Dimension::STORAGE).unwrap();
            assert_eq!((storage.grade, verdict.multiplier_ppm, verdict.reward), (Grade::Fail, 0, 0), "epoch {epoch}: {verdict:?}");
        }
    }
    world.devnet.stop().await.unwrap();
}
