//! What is asked of a server at connect: whether it is fit for us; and our scripts are loaded.

use bytes::Bytes;
use fred::clients::{Client, WithOptions};
use fred::interfaces::{ClientLike, ClusterInterface};
use fred::types::config::{Options, Server};
use fred::types::{ClusterHash, CustomCommand, Value};
use queue_storage::storage::StorageError;

use super::Script;
use super::line::Loaded;
use super::reply::{NoReply, Reply, read};
use crate::error::{Asked, Place};

/// Redis had neither functions of scripts that we use nor sharded messages before.
const OLDEST_REDIS: (u32, u32) = (7, 0);
/// The first Valkey.
const OLDEST_VALKEY: (u32, u32) = (7, 2);

/// One server that is asked; in a cluster one of its primaries.
#[derive(Clone)]
pub(super) struct Probe {
    place: Place,
    node: WithOptions<Client>,
    name: String,
}

/// What a server says of itself.
struct Info(String);

/// Looks at each server and loads the scripts there.
pub(super) async fn prepare(
    place: &Place,
    client: &Client,
    scripts: &[Script],
    allow_eviction: bool,
) -> Result<Vec<Loaded>, StorageError> {
    let mut loaded = Vec::new();
    for probe in probes(place, client) {
        probe.check(allow_eviction).await?;
        loaded = probe.load(scripts).await?;
    }
    Ok(loaded)
}

fn probes(place: &Place, client: &Client) -> Vec<Probe> {
    let probe = |node: Option<Server>| Probe {
        place: place.clone(),
        name: node.as_ref().map(|node| format!("its node {node}")).unwrap_or_else(|| "it".into()),
        node: client.with_options(&Options { cluster_node: node, ..Options::default() }),
    };
    match client.cached_cluster_state() {
        Some(cluster) => cluster.unique_primary_nodes().into_iter().map(Some).map(probe).collect(),
        None => vec![probe(None)],
    }
}

impl Probe {
    async fn check(&self, allow_eviction: bool) -> Result<(), StorageError> {
        let asked = Asked::Command("INFO");
        let info = self.ask(asked, "INFO", vec![]).await?;
        let info = Info(info.text().ok_or_else(|| self.place.unexpected(asked, &info))?.to_owned());
        self.check_version(&info)?;
        self.check_memory(&info, allow_eviction)?;
        self.look_at_persistence(&info).await;
        let asked = Asked::Command("EVAL");
        match self.ask(asked, "EVAL", vec!["return 1".into(), "0".into()]).await? {
            Reply::Int(1) => Ok(()),
            other => Err(self.place.unexpected(asked, other)),
        }
    }

    fn check_version(&self, info: &Info) -> Result<(), StorageError> {
        let (what, found, oldest) = match info.get("valkey_version") {
            Some(version) => ("Valkey", version, OLDEST_VALKEY),
            None => ("Redis", info.get("redis_version").unwrap_or("of no version"), OLDEST_REDIS),
        };
        if version(found).is_some_and(|found| found >= oldest) {
            return Ok(());
        }
        let (name, (major, minor)) = (&self.name, OLDEST_REDIS);
        Err(self.place.unfit(&format!(
            "{name} is {what} {found}, and this library needs Redis {major}.{minor} or Valkey 7.2 at least: upgrade it"
        )))
    }

    /// Evicted jobs are lost without a trace.
    fn check_memory(&self, info: &Info, allow_eviction: bool) -> Result<(), StorageError> {
        let policy = info.get("maxmemory_policy").unwrap_or("noeviction");
        if policy == "noeviction" {
            return Ok(());
        }
        let bounded = info.get("maxmemory").is_some_and(|bytes| bytes != "0");
        let name = &self.name;
        let advice = "set `maxmemory-policy noeviction`";
        let told = format!("{name} evicts keys when its memory is full (`maxmemory-policy {policy}`), jobs among them");
        if bounded && !allow_eviction {
            return Err(self.place.unfit(&format!("{told}: {advice}, or allow it by `allow_eviction(true)`")));
        }
        let when = if bounded { "" } else { " as soon as it has a `maxmemory`" };
        tracing::warn!(redis = %self.place, "Redis may drop jobs: {told}{when}; {advice}");
        Ok(())
    }

    async fn look_at_persistence(&self, info: &Info) {
        if info.get("aof_enabled") != Some("0") {
            return;
        }
        // Managed servers have no CONFIG; then nothing is said.
        let save = self.ask(Asked::Command("CONFIG"), "CONFIG", vec!["GET".into(), "save".into()]).await;
        let points = save.ok().and_then(Reply::list).unwrap_or_default();
        if points.get(1).and_then(Reply::text) == Some("") {
            let advice = "set `appendonly yes` if they are to survive it";
            tracing::warn!(redis = %self.place, "jobs are lost when Redis ends: {} saves nothing to disk; {advice}", self.name);
        }
    }

    /// Loads the scripts, all at once.
    async fn load(&self, scripts: &[Script]) -> Result<Vec<Loaded>, StorageError> {
        let one = |script: &Script| {
            let (probe, name, source) = (self.clone(), script.name, Bytes::from(script.source.clone()));
            tokio::spawn(async move { probe.load_one(name, source).await })
        };
        let loading: Vec<_> = scripts.iter().map(one).collect();
        let mut loaded = Vec::with_capacity(loading.len());
        for script in loading {
            // A task of ours is not cancelled and does not panic; if it did, so does connecting fail.
            loaded.push(script.await.map_err(|_| self.place.closed())??);
        }
        Ok(loaded)
    }

    async fn load_one(&self, name: &'static str, source: Bytes) -> Result<Loaded, StorageError> {
        let asked = Asked::Script(name);
        let reply = self.ask(asked, "SCRIPT", vec!["LOAD".into(), Value::Bytes(source.clone())]).await?;
        match reply {
            Reply::Bytes(digest) => Ok(Loaded { name, source, digest }),
            other => Err(self.place.unexpected(asked, other)),
        }
    }

    async fn ask(&self, asked: Asked<'_>, name: &'static str, args: Vec<Value>) -> Result<Reply, StorageError> {
        let command = CustomCommand::new_static(name, ClusterHash::Random, false);
        let frame = self.node.custom_raw(command, args).await.map_err(|error| self.place.unopened(&error))?;
        read(frame).map_err(|answer| match answer {
            NoReply::Refused(text) => self.place.refused(asked, &text),
            NoReply::Strange(frame) => self.place.unexpected(asked, frame),
        })
    }
}

impl Info {
    fn get(&self, name: &str) -> Option<&str> {
        let value = |line: &str| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')).map(str::len);
        let line = self.0.lines().find(|line| value(line).is_some())?;
        Some(line[name.len() + 1..].trim_end())
    }
}

/// Major and minor of `7.0.15`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> Probe {
        probes(&Place::new("redis://db:6379/0"), &Client::default()).remove(0)
    }

    fn info(text: &str) -> Info {
        Info(text.replace('\n', "\r\n"))
    }

    #[test]
    fn old_servers_are_incompatible() {
        for fit in ["redis_version:7.0.15\n", "redis_version:8.2.1\n", "redis_version:7.2.4\nvalkey_version:8.0.1\n"] {
            assert!(probe().check_version(&info(fit)).is_ok(), "{fit}");
        }
        for old in ["redis_version:6.2.14\n", "redis_version:255\n", "os:Linux\n", "valkey_version:6.0.0\n"] {
            let error = probe().check_version(&info(old)).unwrap_err();
            assert!(error.is_incompatible(), "{error}");
        }
        let error = probe().check_version(&info("redis_version:6.2.14\n")).unwrap_err().to_string();
        let told =
            "redis://db:6379/0 can't be used: it is Redis 6.2.14, and this library needs Redis 7.0 or Valkey 7.2";
        assert!(error.starts_with(told), "{error}");
    }

    #[test]
    fn servers_that_evict_are_refused_unless_allowed() {
        let cases = [
            ("maxmemory:100\nmaxmemory_policy:noeviction\n", false, true),
            ("maxmemory:0\nmaxmemory_policy:allkeys-lru\n", false, true),
            ("maxmemory:100\nmaxmemory_policy:allkeys-lru\n", true, true),
            ("maxmemory:100\nmaxmemory_policy:volatile-ttl\n", false, false),
        ];
        for (text, allow, taken) in cases {
            assert_eq!(probe().check_memory(&info(text), allow).is_ok(), taken, "{text}");
        }
    }
}
