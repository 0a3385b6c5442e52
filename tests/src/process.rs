//! Child processes that do not outlive their owner.
//!
//! Each child leads its own process group, so that one signal reaches it and whatever it started. Drop sends SIGKILL to
//! the group. Orphans after a `kill -9` of the test itself are avoided by the child: a long-lived child gets a pipe as
//! standard input whose other end this process holds, and [`ends_with_parent`] in our own binaries leaves when that pipe
//! closes, which the kernel does even for a killed owner. A foreign program (anvil) is run below [`GUARD`], a line of
//! shell that waits on the same pipe and then ends the group.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// `sh -c GUARD guard PROGRAM ARGS…`: runs the program, and ends its whole group as soon as standard input closes. With
/// the program's end it ends too, with the same exit status. A signal reaches the whole group, and so the program, once: passed on as
/// well, it would come twice, and a second signal means "at once" to our programs. A file that may not grow is then an error of the write, as
/// on a full disk, and no signal.
const GUARD: &str = r#"
exec 3<&0
trap '' XFSZ
(read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 &
watch=$!
"$@" </dev/null 3<&- &
child=$!
trap : TERM INT
wait $child
code=$?
while kill -0 $child 2>/dev/null; do wait $child; code=$?; done
kill -KILL $watch 2>/dev/null
exit $code
"#;

/// A program to start.
#[derive(Clone, Debug)]
pub struct Spec {
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(OsString, OsString)>,
    log: PathBuf,
    guarded: bool,
}

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    group: Pid,
    log: PathBuf,
}

/// What went wrong with a program.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("{program} cannot be started; is it built?")]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// It still runs.
    #[error("{name} has not ended after {waited:?}; its log is {log}")]
    StillRuns {
        /// The program's name.
        name: String,
        /// How long it was waited for.
        waited: Duration,
        /// Its log.
        log: PathBuf,
    },
    /// A signal or wait failed.
    #[error("{name} cannot be signalled or waited for")]
    System {
        /// The program's name.
        name: String,
        /// The system's word.
        source: io::Error,
    },
}

impl Spec {
    /// A program whose output, both streams, goes to `log`.
    pub fn new(program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new(), env: Vec::new(), log: log.into(), guarded: false }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl ToString) -> Self {
        self.args.push(arg.to_string());
        self
    }

    /// Adds arguments.
    pub fn args<A: ToString>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.to_string()));
        self
    }

    /// Adds variables to its environment.
    pub fn envs<K: Into<OsString>, V: Into<OsString>>(mut self, env: impl IntoIterator<Item = (K, V)>) -> Self {
        self.env.extend(env.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// For a program that does not watch its standard input: it is ended with this process even when this process is
    /// killed. `kill -9` of it is then a kill of the group.
    pub fn guarded(mut self) -> Self {
        self.guarded = true;
        self
    }

    /// Starts it in its own process group.
    pub fn start(&self) -> Result<Process, ProcessError> {
        self.start_with_stdin(Stdio::piped())
    }

    /// As [`Spec::start`], with a standard input whose other end somebody else holds.
    pub fn start_with_stdin(&self, stdin: Stdio) -> Result<Process, ProcessError> {
        let failed = |source| ProcessError::Start { program: self.program.clone(), source };
        let log = File::options().create(true).append(true).open(&self.log).map_err(failed)?;
        let errors = log.try_clone().map_err(failed)?;
        let mut command = if self.guarded {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", GUARD, "guard"]).arg(&self.program);
            command
        } else {
            Command::new(&self.program)
        };
        command.args(&self.args).envs(self.env.iter().map(|(key, value)| (key, value)));
        command.stdin(stdin).stdout(log).stderr(errors).process_group(0).kill_on_drop(true);
        let child = command.spawn().map_err(failed)?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| failed(io::Error::other("no process id")))?;
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Process { name, child, group, log: self.log.clone() })
    }
}

impl Process {
    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks the group to end (SIGTERM) and waits; after the deadline the group is killed and the error says so.
    pub async fn stop(mut self, deadline: Duration) -> Result<ExitStatus, ProcessError> {
        self.signal(Signal::TERM)?;
        self.wait(deadline).await
    }

    /// `kill -9` on the group, and waits for the end.
    pub async fn kill(mut self) -> Result<ExitStatus, ProcessError> {
        self.signal(Signal::KILL)?;
        self.wait(Duration::from_secs(10)).await
    }

    /// Sends a signal to the group.
    pub fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        if self.child.id().is_none() {
            return Ok(());
        }
        kill_process_group(self.group, signal).map_err(|error| self.system(error.into()))
    }

    /// From now on none of its files may grow beyond so many bytes; `None` lifts the limit. Of a guarded program (Linux).
    pub fn limit_files(&self, bytes: Option<u64>) -> Result<(), ProcessError> {
        self.child.id().into_iter().flat_map(family).try_for_each(|process| limit_files(process, bytes)).map_err(|error| self.system(error))
    }

    /// Waits for the end.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus, ProcessError> {
        // Tokio's wait would close standard input first, which tells the child that its owner is gone.
        let stdin = self.child.stdin.take();
        let waited = tokio::time::timeout(deadline, self.child.wait()).await;
        self.child.stdin = stdin;
        match waited {
            Ok(status) => status.map_err(|error| self.system(error)),
            Err(_) => Err(ProcessError::StillRuns { name: self.name.clone(), waited: deadline, log: self.log.clone() }),
        }
    }

    fn system(&self, source: io::Error) -> ProcessError {
        ProcessError::System { name: self.name.clone(), source }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            let _ = kill_process_group(self.group, Signal::KILL);
            // Reaps it, so that its ports are free when this returns. SIGKILL cannot be ignored: the end is near.
            while let Ok(None) = self.child.try_wait() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn limit_files(process: u32, bytes: Option<u64>) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
    let highest = getrlimit(Resource::Fsize).maximum;
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    prlimit(process, Resource::Fsize, Rlimit { current: bytes.or(highest), maximum: highest })?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn limit_files(_: u32, _: Option<u64>) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux limits the files of another process"))
}

/// A process and those that it started itself, as `/proc` tells (Linux).
pub fn family(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).chain([process]).collect()
}

/// Cancels `token` when standard input ends. For our own binaries below a harness; elsewhere standard input may be
/// closed from the start, so call it only when asked to.
pub fn ends_with_parent(token: CancellationToken) {
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        token.cancel();
    });
}
