//! A committee's network with a line for every ordered pair of members, so that it can be cut in two.
//!
//! All members dial the one address that a peer is registered with. Who dials is found out as the system knows it: by the process that
//! holds the other end of the connection (`/proc`, so Linux alone). The members themselves are unmodified, and nobody needs to be root.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::process;
use crate::proxy::{Faults, Line, connect};

/// What is wrong with the network, by the members' indices.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conditions {
    /// Nothing reaches these, though they still speak.
    pub deaf: BTreeSet<usize>,
    /// What is sent to these takes longer.
    pub slow: BTreeSet<usize>,
    /// Added to each round trip of a slow one.
    pub delay: Duration,
    /// One side of a split; everybody else is the other. Empty when there is none.
    pub apart: BTreeSet<usize>,
}

impl Conditions {
    /// What is wrong with the line from one member to another.
    pub fn of(&self, from: usize, to: usize) -> Faults {
        let is_split = self.apart.contains(&from) != self.apart.contains(&to);
        let round_trip_delay = if self.slow.contains(&to) { self.delay } else { Duration::ZERO };
        Faults { blackhole: is_split || self.deaf.contains(&to), round_trip_delay, ..Faults::default() }
    }
}

/// A running network; it and its connections end on drop.
#[derive(Debug)]
pub struct Mesh {
    addrs: Vec<SocketAddr>,
    /// By target, then by caller.
    lines: Vec<Vec<(watch::Sender<Faults>, Line)>>,
    processes: Arc<Mutex<Vec<Option<u32>>>>,
    _end: DropGuard,
}

impl Mesh {
    /// A listener before each of these addresses.
    pub async fn start(targets: &[SocketAddr]) -> io::Result<Self> {
        let token = CancellationToken::new();
        let processes = Arc::new(Mutex::new(vec![None; targets.len()]));
        let (mut addrs, mut lines) = (Vec::new(), Vec::new());
        for target in targets {
            let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
            addrs.push(listener.local_addr()?);
            let to_target: Vec<(watch::Sender<Faults>, Line)> = targets.iter().map(|_| line()).collect();
            let callers = to_target.iter().map(|(_, line)| line.clone()).collect();
            tokio::spawn(accept(listener, *target, callers, processes.clone(), token.clone()));
            lines.push(to_target);
        }
        Ok(Self { addrs, lines, processes, _end: token.drop_guard() })
    }

    /// Where others reach a member.
    pub fn addr(&self, member: usize) -> Option<SocketAddr> {
        self.addrs.get(member).copied()
    }

    /// Says which process a member is, or that it has none.
    pub fn set_process(&self, member: usize, process: Option<u32>) {
        if let Some(slot) = locked(&self.processes).get_mut(member) {
            *slot = process;
        }
    }

    /// Changes what is wrong; bytes that are in flight keep their due time.
    pub fn set(&self, conditions: &Conditions) {
        for (to, lines) in self.lines.iter().enumerate() {
            for (from, (faults, _)) in lines.iter().enumerate() {
                faults.send_replace(conditions.of(from, to));
            }
        }
    }

    /// Connections and chunks that were held back or delayed so far, on the lines (from, to) that are asked for.
    pub fn felt(&self, is_asked: impl Fn(usize, usize) -> bool) -> u64 {
        let all = self.lines.iter().enumerate().flat_map(|(to, lines)| lines.iter().enumerate().map(move |(from, line)| (from, to, line)));
        all.filter(|(from, to, _)| is_asked(*from, *to)).map(|(_, _, (_, line))| line.felt()).sum()
    }
}

fn line() -> (watch::Sender<Faults>, Line) {
    let (sender, faults) = watch::channel(Faults::default());
    (sender, Line::new(faults))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    lines: Vec<Line>,
    processes: Arc<Mutex<Vec<Option<u32>>>>,
    token: CancellationToken,
) {
    while let Some(accepted) = token.run_until_cancelled(listener.accept()).await {
        let Ok((client, peer)) = accepted else { continue };
        let known: Vec<Option<u32>> = locked(&processes).clone();
        let caller = known.iter().position(|process| process.is_some_and(|process| holds(process, peer)));
        // Who has hung up already, or is no member, gets no further.
        let Some(line) = caller.and_then(|caller| lines.get(caller)).cloned() else { continue };
        let token = token.clone();
        tokio::spawn(async move {
            let _ = token.run_until_cancelled(connect(client, target, line)).await;
        });
    }
}

/// Whether a process, or one that it started, holds the socket with this local address.
fn holds(process: u32, local: SocketAddr) -> bool {
    let Some(inode) = inode_of(local) else { return false };
    let wanted = format!("socket:[{inode}]");
    let holds = |process: u32| {
        let files = fs::read_dir(format!("/proc/{process}/fd")).ok().into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target == Path::new(&wanted))
    };
    process::family(process).into_iter().any(holds)
}

/// The inode of the TCP socket with this local address, of the fields of `/proc/net/tcp`: 1 is the local address, 9 the inode.
fn inode_of(local: SocketAddr) -> Option<u64> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let SocketAddr::V4(local) = local else { return None };
    let wanted = format!("{:08X}:{:04X}", Ipv4Addr::to_bits(*local.ip()).swap_bytes(), local.port());
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|fields| fields.get(1) == Some(&wanted.as_str())).find_map(|fields| fields.get(9)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_cuts_both_ways_and_deafness_one() {
        let split = Conditions { apart: BTreeSet::from([0, 1]), ..Conditions::default() };
        assert!(split.of(0, 2).blackhole && split.of(2, 0).blackhole);
        assert!(!split.of(0, 1).blackhole && !split.of(2, 3).blackhole);
        let deaf = Conditions { deaf: BTreeSet::from([0]), ..Conditions::default() };
        assert!(deaf.of(1, 0).blackhole && !deaf.of(0, 1).blackhole);
    }
}
