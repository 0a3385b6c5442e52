//! Free ports for programs that cannot be told "any".

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port of 127.0.0.1 that is free now, and that this process was not given before.
///
/// The system hands out ephemeral ports round about, so another process rarely takes it in between; who starts a
/// program on it retries once with another port all the same. Programs of our own listen on port 0 instead.
pub fn free_port() -> io::Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    loop {
        let port = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()?.port();
        if given.insert(port) {
            return Ok(port);
        }
    }
}
