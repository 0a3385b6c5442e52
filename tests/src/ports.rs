//! Free ports for programs that cannot be told "any".

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// Below the range that the system takes ephemeral ports from, so that neither an outgoing connection nor a listener on port 0 (our own
/// proxy, say, which would then connect to itself) gets a port before the program that it is meant for.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port of 127.0.0.1 that is free now, and that this process was not given before. Processes that run side by side begin their search
/// at random places.
pub fn free_port() -> io::Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    let count = PORTS.end - PORTS.start;
    let first = u16::try_from(RandomState::new().hash_one(std::process::id()) % u64::from(count)).unwrap_or(0);
    for step in 0..count {
        let port = PORTS.start + (u32::from(first) + u32::from(step)).rem_euclid(u32::from(count)) as u16;
        if !given.contains(&port) && TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("no free port from {} to {}", PORTS.start, PORTS.end)))
}
