//! What memory it takes to store 4 GiB with tags: the real binaries, each in a process of its own, over gRPC on loopback.
//!
//! The source is a file without a single written block, so that reading it costs nothing; its replica is as random as any. The figure is
//! the kernel's own peak of the resident set (`VmHWM`), read from outside while the process lives. Takes minutes and 4 GiB of disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use assay_daemon::keystore::{self, Password};
use assay_tests::binaries;
use assay_tests::ports::free_port;
use assay_tests::process::{Process, Spec};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::table::Table;

const OBJECT_BYTES: u64 = 4 << 30;
const DEADLINE: Duration = Duration::from_secs(1_800);
/// Between two looks at a process that may end by itself.
const LOOK: Duration = Duration::from_millis(20);

pub fn measure(table: &mut Table) {
    if let Some(absent) = ["assay-provider", "assay-builder"].into_iter().find(|name| !binaries::path(name).exists()) {
        println!("storage.ingest is not measured: {} is not built; run `make build` first", binaries::path(absent).display());
        return;
    }
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let bench = Bench::new(dir);
    runtime.block_on(bench.run(table));
}

struct Bench {
    dir: TempDir,
    listen: String,
}

impl Bench {
    fn new(dir: TempDir) -> Self {
        Self { dir, listen: format!("127.0.0.1:{}", free_port().unwrap()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn run(&self, table: &mut Table) {
        self.make_files();
        let provider = self.start_provider().await;
        self.keygen().await;
        let started = Instant::now();
        let builder_kib = self.upload().await;
        let seconds = started.elapsed().as_secs_f64();
        let provider_kib = peak_kib(program_below(provider.id().unwrap(), "assay-provider").unwrap()).unwrap();
        provider.stop(Duration::from_secs(30)).await.unwrap();
        let mib = |kib: u64| kib as f64 / 1024.0;
        table.put_exact(
            "storage.ingest.rss_mib",
            mib(provider_kib),
            "MiB",
            "peak resident set of the provider that takes in 4 GiB with tags",
        );
        table.put_exact(
            "storage.builder.rss_mib",
            mib(builder_kib),
            "MiB",
            "peak resident set of the builder that prepares and sends them",
        );
        table.put_exact("storage.ingest.s", seconds, "s", "the whole upload, from reading the source to the signed claim set");
    }

    fn make_files(&self) {
        fs::File::create(self.path("object")).and_then(|file| file.set_len(OBJECT_BYTES)).unwrap();
        write_private(&self.path("password"), "bench\n");
        let data = self.path("provider");
        fs::create_dir_all(&data).unwrap();
        let password = Password::from_file(&self.path("password")).unwrap();
        keystore::create_secp(&data.join("receipt-key.json"), &password, keystore::Kdf::Pbkdf2).unwrap();
        let config = format!(
            "provider_id = 7\nlisten = \"{}\"\ndata_dir = \"{dir}\"\nkeystore = \"{dir}/receipt-key.json\"\npassword_file = \"{}\"\nchain_id = 31337\nprovider_registry = \"0x{}\"\nsettlement = \"0x{}\"\n",
            self.listen,
            self.path("password").display(),
            "bb".repeat(20),
            "aa".repeat(20),
            dir = data.display(),
        );
        fs::write(data.join("provider.toml"), config).unwrap();
    }

    async fn start_provider(&self) -> Process {
        let spec = Spec::new(binaries::path("assay-provider"), self.path("provider.log"));
        let provider = spec.args(["run", "--config"]).arg(self.path("provider/provider.toml").display()).guarded().start().unwrap();
        let connected = async {
            while tokio::net::TcpStream::connect(&self.listen).await.is_err() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let log = self.path("provider.log");
        tokio::time::timeout(Duration::from_secs(30), connected).await.unwrap_or_else(|_| panic!("no provider: {}", said(&log)));
        provider
    }

    fn builder(&self, command: &str) -> Spec {
        let spec = Spec::new(binaries::path("assay-builder"), self.path("builder.log")).arg(command);
        spec.arg("--keys").arg(self.path("keys").display()).arg("--password-file").arg(self.path("password").display())
    }

    async fn keygen(&self) {
        let mut keygen = self.builder("keygen").args(["--fast-kdf", "--i-understand"]).start().unwrap();
        let status = keygen.wait(Duration::from_secs(60)).await.unwrap();
        assert!(status.success(), "keygen: {}", said(keygen.log()));
    }

    /// Uploads, and gives the builder's peak.
    async fn upload(&self) -> u64 {
        let endpoint = format!("http://{}", self.listen);
        let upload = self.builder("upload").args(["--provider-endpoint", &endpoint, "--provider-id", "7", "--file"]);
        let mut builder = upload.arg(self.path("object").display()).start().unwrap();
        let (id, started) = (builder.id().unwrap(), Instant::now());
        let mut peak = 0;
        let status = loop {
            peak = peak_kib(id).unwrap_or(peak);
            if let Some(status) = builder.ended() {
                break status;
            }
            assert!(started.elapsed() < DEADLINE, "the upload takes longer than {DEADLINE:?}: {}", said(builder.log()));
            tokio::time::sleep(LOOK).await;
        };
        assert!(status.success(), "upload: {}", said(builder.log()));
        peak
    }
}

/// The peak of a process's resident set in KiB; `None` when it is gone.
fn peak_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// The program that a guard runs.
fn program_below(guard: u32, name: &str) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).ok()?;
    let is_it = |id: &u32| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|comm| name.starts_with(comm.trim()) && comm.len() > 8);
    children.split_whitespace().filter_map(|id| id.parse().ok()).find(is_it)
}

fn said(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o600))).unwrap();
}
