//! A primary, its replica, and the sentinels which watch them.

use std::iter;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::patience::look;
use crate::ports::free_port;
use crate::redis::{Redis, place};

#[cfg(test)]
mod tests;

/// The name by which clients ask the sentinels for the primary.
const SERVICE: &str = "queue";

/// How long a server must be silent to count as down, in milliseconds.
const DOWN_AFTER: u64 = 1000;

/// Sentinels look and talk less often than tests can wait; in milliseconds.
///
/// Pings must come well within [`DOWN_AFTER`], for the first one comes a period after the connection. And five of
/// their periods must be well above a second: so old may be the last news of a replica that is to be promoted, and
/// once the primary is down, news are asked for once a second.
const QUICKER: [&str; 6] = ["INFO-PERIOD", "500", "PING-PERIOD", "400", "PUBLISH-PERIOD", "200"];

/// Two servers, one the other's replica, and sentinels which promote the replica one second after the primary has
/// fallen silent.
#[derive(Debug)]
pub struct Sentinel {
    sentinels: Vec<Redis>,
    servers: [Redis; 2],
    primary: AtomicUsize,
}

impl Sentinel {
    /// Starts all with three sentinels: see [`start_with`](Self::start_with).
    ///
    /// # Panics
    ///
    /// As [`start_with`](Self::start_with).
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(3)
    }

    /// Starts the two servers and so many sentinels, and waits until the replica has caught up and every sentinel
    /// knows both servers and all sentinels.
    ///
    /// # Panics
    ///
    /// As [`Redis::start`]; when `sentinels` is 0; when they do not find each other.
    #[must_use]
    pub fn start_with(sentinels: usize) -> Self {
        assert!(sentinels > 0, "somebody has to watch");
        // A copy by file begins at once, and what is written after it follows at once; one by socket waits for more
        // replicas first, and for the replica's next sign afterwards.
        let server = || Redis::start_with(&["--repl-diskless-sync", "no"]);
        let servers = [server(), server()];
        let majority = sentinels / 2 + 1;
        follow(&servers[1], &servers[0]);
        let start_sentinel = || start_sentinel(servers[0].port(), majority);
        let sentinels = iter::repeat_with(start_sentinel).take(sentinels).collect();
        let all = Self { sentinels, servers, primary: AtomicUsize::new(0) };
        all.wait_until_watched();
        all
    }

    /// All sentinels: `redis-sentinel://HOST:PORT,HOST:PORT,…?service=queue`.
    #[must_use]
    pub fn url(&self) -> String {
        let all: Vec<String> = self.sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port())).collect();
        format!("redis-sentinel://{}?service={SERVICE}", all.join(","))
    }

    /// The primary of now, as of the last [`failover`](Self::failover) or [`switch_over`](Self::switch_over).
    #[must_use]
    pub fn primary(&self) -> &Redis {
        &self.servers[self.primary.load(Ordering::SeqCst)]
    }

    /// The other server; dead after a [`failover`](Self::failover).
    #[must_use]
    pub fn replica(&self) -> &Redis {
        &self.servers[1 - self.primary.load(Ordering::SeqCst)]
    }

    /// The sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// Waits until the replica has all that was written to the primary before.
    ///
    /// # Panics
    ///
    /// When one of them does not run, or the replica does not come so far.
    pub fn catch_up(&self) {
        // `master`, offset, replicas; `slave`, host, port, state of the link, offset.
        let offset = |role: &str, line: usize| role.lines().nth(line).and_then(|line| line.parse::<u64>().ok());
        let written = offset(&self.primary().cli(&["ROLE"]), 1);
        let caught_up = look(|| (offset(&self.replica().cli(&["ROLE"]), 4) >= written).then_some(()));
        assert!(caught_up.is_some(), "the replica lags: {}", self.replica().cli(&["INFO", "replication"]));
    }

    /// Kills the primary; returns when the replica is one and every sentinel says so. What had not reached the
    /// replica is lost: see [`catch_up`](Self::catch_up).
    ///
    /// # Panics
    ///
    /// When the replica does not run, or the sentinels do not promote it.
    pub fn failover(&self) {
        self.primary().kill();
        self.wait_until_promoted();
    }

    /// Has the sentinels change the two over; nobody is killed: the old primary closes its connections and is a
    /// replica from then on, which refuses writes (`-READONLY`). Returns when both and every sentinel say so.
    ///
    /// # Panics
    ///
    /// As [`failover`](Self::failover).
    pub fn switch_over(&self) {
        let order = ["SENTINEL", "FAILOVER", SERVICE];
        let begun = look(|| self.sentinels[0].try_cli(&order).ok());
        assert!(begun.is_some(), "the sentinel does not begin: {:?}", self.sentinels[0].try_cli(&order));
        self.wait_until_promoted();
        self.wait_until_followed();
    }

    /// Starts the server which [`failover`](Self::failover) has killed; returns when it has caught up as the replica,
    /// and the next failover can come.
    ///
    /// # Panics
    ///
    /// When it runs, or does not come to follow.
    pub fn mend(&self) {
        self.replica().start_again();
        follow(self.replica(), self.primary());
        self.wait_until_watched();
    }

    fn wait_until_promoted(&self) {
        let heir = self.replica();
        let port = heir.port().to_string();
        let named = |by: &Redis| {
            let address = by.try_cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
            address.is_ok_and(|address| address.lines().last() == Some(&port))
        };
        let is_primary = || heir.try_cli(&["ROLE"]).is_ok_and(|role| role.starts_with("master"));
        let promoted = look(|| (is_primary() && self.sentinels.iter().all(named)).then_some(()));
        assert!(promoted.is_some(), "the server on port {port} was not promoted: {}", self.views());
        self.primary.fetch_xor(1, Ordering::SeqCst);
    }

    fn wait_until_followed(&self) {
        let followed = look(|| is_connected(self.replica(), self.primary().port()).then_some(()));
        assert!(followed.is_some(), "the old primary does not follow the new one: {}", self.views());
        self.wait_until_watched();
    }

    fn wait_until_watched(&self) {
        let watched = look(|| self.sentinels.iter().all(|sentinel| self.knows_all(sentinel)).then_some(()));
        assert!(watched.is_some(), "the sentinels did not find all: {}", self.views());
    }

    /// Whether a sentinel takes all for well: it could promote the replica.
    fn knows_all(&self, sentinel: &Redis) -> bool {
        let primary = sentinel.try_cli(&["SENTINEL", "MASTER", SERVICE]).unwrap_or_default();
        let replica = sentinel.try_cli(&["SENTINEL", "REPLICAS", SERVICE]).unwrap_or_default();
        let (port, others) = (self.primary().port().to_string(), (self.sentinels.len() - 1).to_string());
        says(&primary, "port", &port)
            && says(&primary, "flags", "master")
            && says(&primary, "num-slaves", "1")
            && says(&primary, "num-other-sentinels", &others)
            && says(&replica, "flags", "slave")
            && says(&replica, "master-link-status", "ok")
            && says(&replica, "master-port", &port)
    }

    fn views(&self) -> String {
        let view = |sentinel: &Redis, of| sentinel.try_cli(&["SENTINEL", of, SERVICE]).unwrap_or_else(|error| error);
        let views = self.sentinels.iter().map(|sentinel| {
            let views = [view(sentinel, "MASTER"), view(sentinel, "REPLICAS")].join("\n\n");
            format!("\nby the sentinel on port {}:\n{views}", sentinel.port())
        });
        views.collect()
    }
}

fn start_sentinel(primary: u16, quorum: usize) -> Redis {
    let sentinel = Redis::launch(iter::repeat_with(free_port), |dir, port| {
        let file = write_config(dir, primary, quorum);
        [file, "--sentinel".to_owned()].into_iter().chain(place(dir, port)).collect()
    });
    sentinel.wait_until_ready();
    let quicker: Vec<&str> = ["SENTINEL", "DEBUG"].into_iter().chain(QUICKER).collect();
    sentinel.cli(&quicker);
    sentinel
}

/// Writes the file that a sentinel must have, for it keeps there what it learns.
fn write_config(dir: &Path, primary: u16, quorum: usize) -> String {
    let file = dir.join("sentinel.conf");
    let config = format!(
        "sentinel monitor {SERVICE} 127.0.0.1 {primary} {quorum}\n\
         sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}\n\
         sentinel failover-timeout {SERVICE} 3000\n"
    );
    std::fs::write(&file, config).unwrap();
    file.display().to_string()
}

/// Makes a server the replica of another, and waits until it has caught up.
fn follow(replica: &Redis, primary: &Redis) {
    let port = primary.port();
    replica.cli(&["REPLICAOF", "127.0.0.1", &port.to_string()]);
    let connected = look(|| is_connected(replica, port).then_some(()));
    assert!(connected.is_some(), "no replica: {}", replica.cli(&["INFO", "replication"]));
}

/// Whether a server is the replica of that port, and has what was there when it came.
fn is_connected(replica: &Redis, port: u16) -> bool {
    let role = replica.try_cli(&["ROLE"]).unwrap_or_default();
    let role: Vec<&str> = role.lines().collect();
    role.len() == 5 && role[0] == "slave" && role[2] == port.to_string() && role[3] == "connected"
}

/// Whether a field of a sentinel's answer, names and values line by line, has this value.
fn says(answer: &str, field: &str, value: &str) -> bool {
    let lines: Vec<&str> = answer.lines().collect();
    lines.chunks_exact(2).any(|pair| pair == [field, value])
}
