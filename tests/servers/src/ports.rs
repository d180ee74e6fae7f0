//! Ports which nobody listens on.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Below the ports which systems give to outgoing connections (from 32768 on Linux, from 49152 elsewhere). A port of
/// that range may be taken while its server is down; worse, a client that tries again and again to reach such a port
/// can be given that very port for its own end, and is then connected with itself.
const RANGE: Range<u16> = 20_000..32_000;

/// A port of 127.0.0.1 on which nobody listens, another one with each call.
///
/// Nothing keeps it free: another process may be quicker.
///
/// # Panics
///
/// When every port from 20000 to 31999 is taken.
#[must_use]
pub fn free_port() -> u16 {
    // Each process begins elsewhere, lest two of them race for the same ports all the way.
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(RandomState::new().hash_one(0) >> 1));
    let mut candidates = RANGE.map(|_| RANGE.start + (NEXT.fetch_add(1, Ordering::Relaxed) % span()) as u16);
    let free = candidates.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.unwrap_or_else(|| panic!("no port of {RANGE:?} is free"))
}

fn span() -> u64 {
    u64::from(RANGE.end - RANGE.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_differ() {
        let ports: Vec<u16> = (0..20).map(|_| free_port()).collect();
        let listeners: Vec<_> = ports.iter().map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port))).collect();
        assert!(listeners.iter().all(Result::is_ok), "{ports:?}");
        assert!(!ports.contains(&free_port()));
    }
}
