//! Listening for gRPC.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process holds the port.
    #[error("port {} of {} is taken by another process; stop that process or choose another port for {} in the config", .0.port(), .0.ip(), .0)]
    Taken(SocketAddr),
    /// Ports below 1024 need a privilege.
    #[error("not allowed to listen on {0}; use a port above 1023 or grant the privilege")]
    Forbidden(SocketAddr),
    /// The address is not one of this machine's.
    #[error("{} is not an address of this machine; listen on 0.0.0.0, 127.0.0.1 or one of its own", .0.ip())]
    NotOurs(SocketAddr),
    /// Any other failure.
    #[error("cannot listen on {addr}; configure another address")]
    Other {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
}

impl BindError {
    fn new(addr: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken(addr),
            io::ErrorKind::PermissionDenied => Self::Forbidden(addr),
            io::ErrorKind::AddrNotAvailable => Self::NotOurs(addr),
            _ => Self::Other { addr, source },
        }
    }
}

/// Listens on `addr` (port 0: any free port) and returns the address that was bound.
pub async fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let listener = TcpListener::bind(addr).await.map_err(|error| BindError::new(addr, error))?;
    let bound = listener.local_addr().map_err(|error| BindError::new(addr, error))?;
    Ok((listener, bound))
}

/// As [`listen`], as what tonic's `serve_with_incoming` takes. Accepted sockets get `TCP_NODELAY`: a challenge must
/// not wait for Nagle.
pub async fn bind(addr: SocketAddr) -> Result<(TcpIncoming, SocketAddr), BindError> {
    let (listener, bound) = listen(addr).await?;
    Ok((TcpIncoming::from(listener).with_nodelay(Some(true)), bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let (_held, bound) = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = bind(bound).await.err().unwrap();
        assert!(matches!(error, BindError::Taken(addr) if addr == bound));
        assert!(error.to_string().contains(&bound.port().to_string()));
    }

    #[tokio::test]
    async fn a_foreign_address_is_named() {
        let error = bind("192.0.2.1:0".parse().unwrap()).await.err().unwrap();
        assert!(matches!(error, BindError::NotOurs(_)), "{error}");
    }
}
