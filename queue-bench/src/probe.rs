//! What a Redis server says of its own work.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use queue::BoxError;

use crate::resp::{Connection, Reply};

/// What clients send and no script can: commands that run scripts, or that scripts are refused or have no use for. The
/// server counts what scripts call like what clients send; this tells them apart as long as clients leave all else to
/// scripts.
const SENT: [&str; 29] = [
    "asking",
    "auth",
    "client",
    "cluster",
    "command",
    "config",
    "discard",
    "eval",
    "eval_ro",
    "evalsha",
    "evalsha_ro",
    "exec",
    "fcall",
    "fcall_ro",
    "function",
    "hello",
    "info",
    "multi",
    "ping",
    "psubscribe",
    "punsubscribe",
    "quit",
    "script",
    "select",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "unsubscribe",
    "watch",
];

/// The server's log of slow commands takes those of a millisecond and more, in µs.
const SLOW_US: &str = "1000";
/// And keeps so many.
const SLOW_KEPT: &str = "10000";

/// Looks at a server over a connection of its own.
#[derive(Debug)]
pub(crate) struct Probe {
    connection: Mutex<Connection>,
    /// Whether it looks at slow commands too.
    slow: bool,
}

/// The server's counters at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// Calls by command, those inside scripts too: a command of its own each, beside the one that ran the script.
    commands: BTreeMap<String, u64>,
    cpu_us: f64,
    /// Bytes that its allocator has handed out.
    pub(crate) memory: u64,
}

/// The slow commands of a measure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) commands: u64,
    /// The slowest: its µs, and the start of what it was.
    pub(crate) worst: Option<(u64, String)>,
}

impl Probe {
    /// At the server of a `redis://` URL.
    pub(crate) fn at(url: &str) -> Result<Self, BoxError> {
        Ok(Self { connection: Mutex::new(Connection::open(url)?), slow: false })
    }

    /// Makes the server, which is ours, log slow commands.
    pub(crate) fn with_slow(mut self) -> Result<Self, BoxError> {
        self.slow = true;
        self.ask(&["CONFIG", "SET", "slowlog-log-slower-than", SLOW_US])?;
        self.ask(&["CONFIG", "SET", "slowlog-max-len", SLOW_KEPT])?;
        Ok(self)
    }

    pub(crate) fn ask(&self, words: &[&str]) -> Result<Reply, BoxError> {
        // A connection that a panic left half read fails at its next answer.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).ask(words)
    }

    /// The counters before a measure; the log of slow commands starts anew.
    pub(crate) fn begin(&self) -> Result<Snapshot, BoxError> {
        if self.slow {
            self.ask(&["SLOWLOG", "RESET"])?;
        }
        self.snapshot()
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, BoxError> {
        Snapshot::parse(&self.ask(&["INFO", "all"])?.text()?)
    }

    /// Removes every key of a namespace.
    pub(crate) fn remove(&self, namespace: &str) -> Result<(), BoxError> {
        let (mut cursor, pattern) = ("0".to_owned(), format!("*{namespace}*"));
        loop {
            let page = self.ask(&["SCAN", &cursor, "MATCH", &pattern, "COUNT", "1000"])?.list()?;
            let [next, keys] = <[Reply; 2]>::try_from(page).map_err(|page| format!("SCAN says {page:?}"))?;
            for key in keys.list()? {
                self.ask(&["UNLINK", &key.text()?])?;
            }
            cursor = next.text()?;
            if cursor == "0" {
                return Ok(());
            }
        }
    }

    /// The slow commands since the beginning, if it looks at them.
    pub(crate) fn slow(&self) -> Result<Option<Slow>, BoxError> {
        if !self.slow {
            return Ok(None);
        }
        let entries = self.ask(&["SLOWLOG", "GET", "-1"])?.list()?;
        let commands = entries.len() as u64;
        Ok(Some(Slow { commands, worst: entries.into_iter().filter_map(slow_entry).max() }))
    }
}

/// Of an entry (id, when, µs, words, …): the µs, and the words that say what it was.
fn slow_entry(entry: Reply) -> Option<(u64, String)> {
    let fields = entry.list().ok()?;
    let [_, _, Reply::Number(us), Reply::List(words), ..] = fields.as_slice() else { return None };
    let words = words.iter().take(4).filter_map(|word| match word {
        Reply::Text(word) => Some(word.chars().take(48).collect()),
        _ => None,
    });
    Some((u64::try_from(*us).ok()?, words.collect::<Vec<String>>().join(" ")))
}

impl Snapshot {
    fn parse(info: &str) -> Result<Self, BoxError> {
        let fields: BTreeMap<&str, &str> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let field = |name| fields.get(name).copied().ok_or_else(|| format!("the server's INFO has no {name}"));
        let seconds = field("used_cpu_user")?.parse::<f64>()? + field("used_cpu_sys")?.parse::<f64>()?;
        let commands = fields.iter().filter_map(|(name, value)| {
            let calls = value.strip_prefix("calls=")?.split(',').next()?.parse().ok()?;
            Some((name.strip_prefix("cmdstat_")?.to_owned(), calls))
        });
        Ok(Self { commands: commands.collect(), cpu_us: seconds * 1e6, memory: field("used_memory")?.parse()? })
    }

    /// What happened since, without the look at what was before.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let commands = self.commands.iter().map(|(name, calls)| {
            let own = u64::from(name == "info");
            (name.clone(), calls.saturating_sub(before.commands.get(name).copied().unwrap_or(0) + own))
        });
        let commands = commands.filter(|(_, calls)| *calls > 0).collect();
        let memory = self.memory.saturating_sub(before.memory);
        Self { commands, cpu_us: self.cpu_us - before.cpu_us, memory }
    }

    /// What clients sent.
    pub(crate) fn requests(&self) -> u64 {
        let sent = |name: &str| SENT.contains(&name.split('|').next().unwrap_or(name));
        self.commands.iter().filter(|(name, _)| sent(name)).map(|(_, calls)| calls).sum()
    }

    pub(crate) fn total(&self) -> u64 {
        self.commands.values().sum()
    }

    pub(crate) fn into_commands(self) -> BTreeMap<String, u64> {
        self.commands
    }

    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu_us
    }
}

#[cfg(test)]
mod tests {
    use queue_servers::Redis;

    use super::*;

    /// Three commands of a client, one of which runs three more: as a server counts them.
    #[test]
    fn commands_inside_scripts_are_commands_and_no_requests() {
        let server = Redis::start();
        let probe = Probe::at(&server.url()).unwrap();
        let mut client = Connection::open(&server.url()).unwrap();
        let before = probe.snapshot().unwrap();
        client.ask(&["PING"]).unwrap();
        let script = "redis.call('SET', KEYS[1], 1) redis.call('GET', KEYS[1]) return redis.call('INCR', KEYS[1])";
        assert_eq!(client.ask(&["EVAL", script, "1", "a"]).unwrap(), Reply::Number(2));
        client.ask(&["CLIENT", "ID"]).unwrap();
        let spent = probe.snapshot().unwrap().since(&before);
        assert_eq!((spent.requests(), spent.total()), (3, 6), "{spent:?}");
        assert!(!spent.commands.contains_key("info"), "{spent:?}");
    }

    #[test]
    fn a_namespace_is_removed_and_nothing_else() {
        let server = Redis::start();
        let probe = Probe::at(&server.url()).unwrap();
        let set = |key: String| probe.ask(&["SET", &key, "1"]).map(drop);
        (0..3_000).try_for_each(|key| set(format!("{{bench-7:shard}}:{key}"))).unwrap();
        set("bench-8:jobs".to_owned()).unwrap();
        probe.remove("bench-7").unwrap();
        assert_eq!(probe.ask(&["DBSIZE"]).unwrap(), Reply::Number(1));
    }

    #[test]
    fn the_slowest_command_is_told() {
        let server = Redis::start();
        assert_eq!(Probe::at(&server.url()).unwrap().slow().unwrap(), None);
        let probe = Probe::at(&server.url()).unwrap().with_slow().unwrap();
        probe.begin().unwrap();
        assert_eq!(probe.slow().unwrap(), Some(Slow::default()));
        let busy = "for i = 1, 3000000 do local a = i * i end";
        probe.ask(&["EVAL", busy, "0"]).unwrap();
        let slow = probe.slow().unwrap().unwrap();
        let (us, what) = slow.worst.unwrap();
        assert!(slow.commands == 1 && us >= 1_000 && what.starts_with("EVAL for i = 1"), "{us} {what}");
    }
}
