//! Where a provider may be connected to. The endpoint it registered is hostile input: it must not turn the oracle against the oracle's
//! own network.
//!
//! A name is resolved once and the vetted address is what is connected to, so that a second, different answer of the name server is
//! never asked for. gRPC follows no redirects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Longest endpoint read.
const MAX_LENGTH: usize = 300;

/// Why an endpoint is not connected to.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not of the form.
    #[error("an endpoint has the form http://host:port, without user, path or query")]
    Malformed,
    /// The name has no address, or none in time.
    #[error("the name {host} has no address")]
    Unresolved {
        /// The name.
        host: String,
    },
    /// Every address of it is one that nobody outside may send us to.
    #[error("{address} is no public address; only a development network allows it (allow_private)")]
    Forbidden {
        /// The first address found.
        address: IpAddr,
    },
}

/// `http://host:port`, parsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderEndpoint {
    host: String,
    port: u16,
}

impl ProviderEndpoint {
    /// Parses the registered text.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let authority = text
            .strip_prefix("http://")
            .filter(|_| text.len() <= MAX_LENGTH)
            .map(|rest| rest.strip_suffix('/').unwrap_or(rest))
            .ok_or(EndpointError::Malformed)?;
        let (host, port) = authority.rsplit_once(':').ok_or(EndpointError::Malformed)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port != 0).ok_or(EndpointError::Malformed)?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(v6) => v6.parse::<Ipv6Addr>().map_err(|_| EndpointError::Malformed)?.to_string(),
            None if is_name(host) => host.to_ascii_lowercase(),
            None => return Err(EndpointError::Malformed),
        };
        Ok(Self { host, port })
    }

    /// The address to connect to: the first permitted one of the name.
    pub async fn resolve(&self, allow_private: bool, timeout: Duration) -> Result<SocketAddr, EndpointError> {
        let unresolved = || EndpointError::Unresolved { host: self.host.clone() };
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        let found = tokio::time::timeout(timeout, lookup).await.map_err(|_| unresolved())?.map_err(|_| unresolved())?;
        let found: Vec<SocketAddr> = found.collect();
        let first = found.first().ok_or_else(unresolved)?;
        let permitted = found.iter().copied().find(|address| is_permitted(address.ip(), allow_private));
        permitted.ok_or(EndpointError::Forbidden { address: first.ip() })
    }
}

fn is_name(host: &str) -> bool {
    !host.is_empty() && host.len() <= 253 && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// Whether an address may be connected to. Addresses of groups and of nobody never may.
fn is_permitted(address: IpAddr, allow_private: bool) -> bool {
    let address = address.to_canonical();
    match address {
        IpAddr::V4(v4) => !is_nobody_v4(v4) && (allow_private || !is_private_v4(v4)),
        IpAddr::V6(v6) => {
            let inside = embedded_v4(v6);
            let inside_permitted = inside.is_none_or(|v4| !is_nobody_v4(v4) && (allow_private || !is_private_v4(v4)));
            !v6.is_unspecified() && !v6.is_multicast() && inside_permitted && (allow_private || !is_private_v6(v6))
        }
    }
}

fn is_nobody_v4(address: Ipv4Addr) -> bool {
    address.is_unspecified() || address.is_multicast() || address.is_broadcast()
}

/// IANA's special-purpose registry for IPv4, the parts that are not globally reachable.
fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 0 && c == 0)
}

/// Likewise for IPv6: loopback, unique local, link local, the old site local, documentation, discard.
fn is_private_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    address.is_loopback()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || first & 0xffc0 == 0xfec0
        || (first == 0x2001 && second == 0x0db8)
        || first == 0x0100
}

/// The IPv4 address that a gateway would forward to: compatible (::/96), NAT64 (64:ff9b::/96, 64:ff9b:1::/48), 6to4 (2002::/16).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        // `::1` is loopback, not 0.0.0.1.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, _, _, _, _, high, low] | [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_parse() {
        let parsed = |text: &str| ProviderEndpoint::parse(text).map(|e| (e.host, e.port)).ok();
        assert_eq!(parsed("http://Provider.example:7000"), Some(("provider.example".into(), 7000)));
        assert_eq!(parsed("http://203.0.113.7:1/"), Some(("203.0.113.7".into(), 1)));
        assert_eq!(parsed("http://[2001:DB8::1]:65535"), Some(("2001:db8::1".into(), 65535)));
        for bad in [
            "",
            "http://",
            "http://host",
            "http://host:0",
            "http://host:65536",
            "http://host:+1",
            "http://:1",
            "https://host:1",
            "http://user@host:1",
            "http://host:1/path",
            "http://host:1?q",
            "http://host:1#f",
            "http://ho st:1",
            "http://::1:80",
            "http://[host]:1",
            "http://[fe80::1%eth0]:1",
            "ftp://host:1",
            "http://h\u{f6}st:1",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
        assert_eq!(parsed(&format!("http://{}:1", "a".repeat(254))), None);
    }

    // Defence: `is_permitted`; without it a provider aims the oracle at the oracle's own network.
    #[test]
    fn addresses_that_are_not_public_are_refused() {
        let private = [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.1.2.3",
            "198.18.0.1",
            "240.0.0.1",
            "192.0.0.8",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "fec0::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:a00:1::1",
            "::a00:1",
        ];
        for text in private {
            let address: IpAddr = text.parse().unwrap();
            assert!(!is_permitted(address, false), "{text}");
            assert!(is_permitted(address, true), "{text}");
        }
        for text in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:0.0.0.0", "2002:e000:1::1"] {
            let address: IpAddr = text.parse().unwrap();
            assert!(!is_permitted(address, false) && !is_permitted(address, true), "{text}");
        }
        for text in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"] {
            assert!(is_permitted(text.parse().unwrap(), false), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_address() {
        let second = Duration::from_secs(5);
        // The last two are other ways to write 127.0.0.1, as far as the system's resolver takes them.
        for text in ["http://127.0.0.1:1", "http://localhost:1", "http://2130706433:1", "http://127.1:1"] {
            let endpoint = ProviderEndpoint::parse(text).unwrap();
            let refused = endpoint.resolve(false, second).await;
            assert!(matches!(refused, Err(EndpointError::Forbidden { .. } | EndpointError::Unresolved { .. })), "{text}: {refused:?}");
        }
        let endpoint = ProviderEndpoint::parse("http://127.0.0.1:7").unwrap();
        assert_eq!(endpoint.resolve(true, second).await.unwrap(), "127.0.0.1:7".parse().unwrap());
    }
}
