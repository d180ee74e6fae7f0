//! Whether what is in Redis makes sense, read key by key.

use queue_servers::Redis;
use queue_storage::model::Namespace;
use queue_storage::storage::Storage;

use crate::kit::{Caller, Hand, jobs, open};

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

#[tokio::test]
async fn what_contradicts_itself_is_found() {
    let server = Redis::start();
    let storage = open(&server.url()).await;
    let namespace = Namespace::default();
    Caller::new().enqueue(&storage, jobs(70)).await;
    let mut hand = Hand::new(&storage).await;
    hand.exchange(&storage, 10).await;
    hand.exchange(&storage, 10).await;
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
        ("redis.call('ZADD', K .. 'edges', 0, 'o' .. string.rep('x', 32))", "an edge of a job that is not stored"),
        ("redis.call('RPUSH', K .. 'follow', string.rep('x', 16))", "to follow, and has not ended"),
        ("redis.call('DEL', K .. 'index')", "is not in the index"),
        ("redis.call('HDEL', K .. 'blocks', '0')", "jobs"),
        ("redis.call('HINCRBY', K .. 'meta', 'enqueued', 1)", "taken in is not ended and live"),
        ("redis.call('HINCRBY', K .. 'meta', 'e:c', -1)", "ends counted as c"),
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
