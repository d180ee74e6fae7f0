//! Whether what is in Redis makes sense, read key by key.

use std::time::Duration;

use queue_servers::Redis;
use queue_storage::model::{Conflict, Limit, Namespace, NewJob, Rate, Timestamp, Unique, WhenFull, Window};
use queue_storage::storage::{Maintain, ScheduleChange, Storage};

use crate::kit::{Caller, Hand, job, jobs, mail, open};

/// Checks everything: what the storage shows, and what the keys of its namespace hold. For a moment when nobody calls.
pub(crate) async fn all_is_well(storage: &dyn Storage, nodes: &[&Redis], namespace: &Namespace) {
    queue_storage::conformance::invariants(storage).await;
    consistent(nodes, namespace);
}

/// Checks the keys of a namespace on a server, or on the nodes of a cluster.
pub(crate) fn consistent(nodes: &[&Redis], namespace: &Namespace) {
    let wrongs = wrongs(nodes, namespace);
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
}

fn wrongs(nodes: &[&Redis], namespace: &Namespace) -> Vec<String> {
    let (listed, mut wrongs) = (listed(nodes, namespace), Vec::new());
    for node in nodes {
        for meta in keys(node, &format!("{namespace}:{{*:meta")) {
            let shard = meta.trim_start_matches(&format!("{namespace}:{{")).trim_end_matches("}:meta");
            if !listed.iter().any(|one| one == shard) {
                wrongs.push(format!("{shard} is not among the shards {listed:?}"));
            }
            let found = lines(&node.cli(&["EVAL", include_str!("consistent.lua"), "1", &meta]));
            wrongs.extend(found.into_iter().map(|wrong| format!("{meta}: {wrong}")));
        }
    }
    wrongs
}

fn listed(nodes: &[&Redis], namespace: &Namespace) -> Vec<String> {
    let shards = format!("{namespace}:shards");
    let node = nodes.iter().find(|node| !keys(node, &shards).is_empty());
    node.map(|node| lines(&node.cli(&["SMEMBERS", &shards]))).unwrap_or_default()
}

fn keys(node: &Redis, pattern: &str) -> Vec<String> {
    lines(&node.cli(&["KEYS", pattern]))
}

fn lines(answer: &str) -> Vec<String> {
    answer.lines().map(str::to_owned).collect()
}

/// Two under one slot, two under a rate, and one that is unique for an hour.
fn held_back() -> [NewJob; 5] {
    let hour = Duration::from_secs(3_600);
    let slot = Limit::Slots { key: "k".parse().unwrap(), most: 1, full: WhenFull::Wait };
    let rate = Limit::Rate { key: "r".parse().unwrap(), rate: Rate::per(hour, 1), cost: 1 };
    let mut all = [(); 5].map(|()| job());
    for (job, limit) in all.iter_mut().zip([&slot, &slot, &rate, &rate]) {
        job.limits = vec![limit.clone()];
    }
    all[4].unique = Some(Unique::new("u".parse().unwrap(), Window::For(hour), Conflict::Existing));
    all
}

#[tokio::test]
async fn what_contradicts_itself_is_found() {
    let server = Redis::start();
    let storage = open(&server.url()).await;
    let namespace = Namespace::default();
    let mut caller = Caller::new();
    caller.enqueue(&storage, held_back().into()).await;
    Hand::new(&storage).await.exchange(&storage, 3).await;
    caller.enqueue(&storage, jobs(70)).await;
    let mut hand = Hand::new(&storage).await;
    hand.exchange(&storage, 10).await;
    hand.exchange(&storage, 10).await;
    let due = |name: &str, at| ScheduleChange::new(name.parse().unwrap(), None, Some((at, "data".into())));
    let schedules = [due("x", Some(Timestamp::from_micros(7))), due("y", None)];
    storage.tick(&mail(), &schedules).await.unwrap();
    all_is_well(&*storage, &[&server], &namespace).await;
    // Each harm is undone from a copy of the whole.
    for (harm, told) in [
        (
            "local id = redis.call('ZRANGE', K .. 'leased', 0, 0)[1] redis.call('ZADD', K .. 'traces', 1, id)",
            "in leased and",
        ),
        ("redis.call('ZPOPMIN', K .. 'leased')", "l but in no line"),
        ("redis.call('ZPOPMIN', K .. 'ready')", "without a mark in no line"),
        ("redis.call('ZADD', K .. 'leased', 1, string.rep('x', 16))", "in leased and not stored"),
        ("redis.call('DEL', K .. 'marks')", "without a mark in leased"),
        ("redis.call('HSET', K .. 'interest', string.rep('x', 16), '')", "interest in a job that is not stored"),
        ("redis.call('HSET', K .. 'notes', 'f' .. string.rep('x', 16), '')", "a note that no job has"),
        ("redis.call('HSET', K .. 'notes', 'h' .. redis.call('HKEYS', K .. 'jobs')[1], '')", "a note that no job has"),
        ("redis.call('ZADD', K .. 'expiring', 1, string.rep('x', 16))", "expires or is strange, and is not stored"),
        ("redis.call('ZADD', K .. 'strangers', 1, redis.call('HKEYS', K .. 'jobs')[1])", "among the strangers"),
        ("redis.call('ZADD', K .. 'expiring', 1, redis.call('HKEYS', K .. 'jobs')[1])", "among those that expire"),
        ("redis.call('ZADD', K .. 'edges', 0, 'o' .. string.rep('x', 32))", "an edge of a job that is not stored"),
        ("redis.call('RPUSH', K .. 'follow', string.rep('x', 16))", "to follow, and has not ended"),
        ("redis.call('DEL', K .. 'index')", "is not in the index"),
        ("redis.call('HDEL', K .. 'blocks', '0')", "jobs"),
        ("redis.call('HINCRBY', K .. 'meta', 'enqueued', 1)", "taken in is not ended and live"),
        ("redis.call('HINCRBY', K .. 'meta', 'e:c', -1)", "ends counted as c"),
        ("redis.call('DEL', K .. 'slots')", "runs without its slot"),
        ("redis.call('ZADD', K .. 'slots', 0, 'k\\0' .. string.rep('x', 16))", "a slot of a job that does not run"),
        (
            "redis.call('ZADD', K .. 'slots', 0, 'other\\0' .. redis.call('ZRANGE', K .. 'leased', 0, 0)[1])",
            "a slot that its job does not ask for",
        ),
        ("redis.call('DEL', K .. 'blocked')", "r but in no line"),
        (
            "local one = redis.call('ZPOPMIN', K .. 'blocked')[1] redis.call('ZADD', K .. 'blocked', 0, 'x' .. one)",
            "blocked under another key",
        ),
        (
            "redis.call('DEL', K .. 'slots') redis.call('ZADD', K .. 'slots', 0, 'j\\0' .. string.rep('x', 16))",
            "every slot is free and nobody comes",
        ),
        ("redis.call('DEL', K .. 'windows')", "parked for a rate without a window"),
        ("redis.call('ZADD', K .. 'windows', 1, 'x')", "a window for which nobody waits"),
        ("redis.call('HSET', K .. 'meta', 'opens', 1)", "the first window is another"),
        ("redis.call('DEL', K .. 'passing')", "a unique key until another time"),
        ("redis.call('ZADD', K .. 'passing', 1, 'x')", "a time of a unique key that nobody has"),
        (
            "redis.call('HSET', K .. 'unique', 'x', redis.call('HGET', K .. 'unique', 'u'))",
            "a unique key of a job that does not say so",
        ),
        ("redis.call('ZREM', K .. 'calendar', 'ny')", "a schedule that no page shows"),
        ("redis.call('ZREM', K .. 'calendar', 'd' .. struct.pack('>I8', 7) .. 'x')", "a schedule that is never due"),
        ("redis.call('HDEL', K .. 'schedules', 'y')", "left in the calendar"),
        ("redis.call('HDEL', K .. 'meta', 'ticks')", "the first schedule is due at another time"),
        ("redis.call('HSET', K .. 'meta', 'fence', 1)", "a version that is still to be given"),
        ("redis.call('DEL', K .. 'idle')", "never to be forgotten"),
        ("redis.call('DEL', 'queue:shards')", "is not among the shards"),
    ] {
        let copy = |from: &str, to: &str| {
            let script = "for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
                redis.call('COPY', key, ARGV[2] .. string.sub(key, #ARGV[1] + 1), 'REPLACE') end";
            server.cli(&["EVAL", script, "0", from, to]);
        };
        copy("queue:", "saved:");
        server.cli(&["EVAL", &format!("local K = 'queue:{{mail}}:' {harm}"), "0"]);
        let wrongs = wrongs(&[&server], &namespace);
        assert!(wrongs.iter().any(|wrong| wrong.contains(told)), "{harm}: {wrongs:?}");
        server.cli(&["EVAL", "redis.call('DEL', unpack(redis.call('KEYS', 'queue:*')))", "0"]);
        copy("saved:", "queue:");
        consistent(&[&server], &namespace);
    }
}
