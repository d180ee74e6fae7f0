//! What is looked at when connecting, and what an operator is told.

use std::collections::BTreeSet;
use std::time::Duration;

use queue_redis::RedisStorage;
use queue_servers::{Redis, free_port, shared, shared_cluster};
use queue_storage::model::Namespace;
use queue_storage::storage::{Enqueue, Notify, Operate, Storage, StorageError, Topic};

use crate::calls::{KINDS, Scene};
use crate::consistent::{all_is_well, consistent};
use crate::kit::{Caller, Hand, forget_hints, hears, in_time, jobs, mail, namespace, open, options, shard};

/// Why a URL can't be connected to.
async fn refused(url: &str) -> StorageError {
    in_time(RedisStorage::connect(url)).await.expect_err("connected")
}

fn tells(error: &StorageError, parts: &[&str]) {
    for part in parts {
        assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
    }
    assert!(!error.to_string().contains("hush"), "tells the password: {error}");
}

/// Where the tests' server is, in the eyes of a user.
fn as_user(login: &str, namespace: &Namespace) -> String {
    format!("redis://{login}@127.0.0.1:{}?namespace={namespace}", shared().port())
}

/// Takes jobs in, runs them, sleeps, is woken, and looks.
async fn lives(storage: &RedisStorage) {
    let mut hand = Hand::new(storage).await;
    let listener = storage.listen(Topic::Worker(hand.id, mail()));
    hears(&listener).await;
    assert!(hand.exchange(storage, 1).await.claimed.is_empty());
    forget_hints(&listener).await;
    let ids = Caller::new().enqueue(storage, jobs(2)).await;
    hears(&listener).await;
    hand.exchange(storage, 2).await;
    hand.exchange(storage, 0).await;
    assert_eq!(storage.counts(&mail()).await.unwrap().ended.completed, 2);
    assert!(storage.get(ids[0]).await.unwrap().found().is_some());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let port = free_port();
    let error = refused(&format!("redis://bob:hush@127.0.0.1:{port}/2")).await;
    let url = format!("redis://bob:***@127.0.0.1:{port}/2 can't be reached");
    tells(&error, &[&url, "refused", "check that Redis runs and can be reached from here"]);
    assert!(error.is_unavailable());
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_told_in_time() {
    let server = Redis::start();
    server.freeze();
    let limited = options(&server.url()).connect_timeout(Duration::from_millis(200));
    let error = in_time(limited.connect()).await.unwrap_err();
    tells(&error, &["can't be reached", "200ms", "check that Redis runs"]);
    server.thaw();
    open(&server.url()).await.ping().await.unwrap();
}

#[tokio::test]
async fn a_wrong_login_is_told() {
    let name = namespace();
    shared().cli(&["ACL", "SETUSER", name.as_str(), "on", ">hush", "+@all", "~*", "&*"]);
    let error = refused(&as_user(&format!("{name}:hushhush"), &name)).await;
    tells(&error, &["WRONGPASS", &format!("redis://{name}:***@"), "Redis refuses the user name or the password"]);
    let error = refused(&as_user("nobody:hush", &name)).await;
    tells(&error, &["WRONGPASS", "check them"]);
    lives(&*open(&as_user(&format!("{name}:hush"), &name)).await).await;

    let server = Redis::start_with(&["--requirepass", "hush"]);
    let error = refused(&format!("redis://127.0.0.1:{}", server.port())).await;
    tells(&error, &["NOAUTH", "Redis wants a password: give it in the URL"]);
    lives(&*open(&server.url()).await).await;
}

/// What a user must be allowed to do, as the guide says: what the connection asks, then what only scripts do.
const PLAIN: &str = "+info +ping +select +eval +evalsha +script|load +subscribe +unsubscribe +publish +set +sadd +smembers \
    +hdel +hexists +hget +hset +hvals +zmscore";
const SCRIPTED: &str = "+exists +hincrby +hmget +lindex +lpop +rpush +time +zadd +zcard +zcount +zlexcount +zpopmax \
    +zrange +zrangebylex +zrangebyscore +zrem +zremrangebyrank +zremrangebyscore +zrevrangebyscore +zscore";

/// The commands that our scripts name.
fn scripted() -> BTreeSet<String> {
    let all = queue_redis::scripts().map(|(_, text)| text).collect::<String>();
    let named = all.split("call('").skip(1).map(|rest| rest.split('\'').next().unwrap());
    named.map(|name| format!("+{}", name.to_lowercase())).collect()
}

#[test]
fn the_guide_asks_for_no_more_than_is_needed() {
    let plain: BTreeSet<String> = PLAIN.split_whitespace().map(str::to_owned).collect();
    let needed: BTreeSet<String> = scripted().difference(&plain).cloned().collect();
    assert_eq!(SCRIPTED.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>(), needed);
}

fn make_user(namespace: &Namespace, but: &str) {
    let (keys, channels) = (format!("~{namespace}:*"), format!("&{namespace}:*"));
    let user = ["ACL", "SETUSER", namespace.as_str(), "reset", "on", ">hush", &keys, &channels].into_iter();
    shared().cli(
        &user
            .chain(PLAIN.split_whitespace())
            .chain(SCRIPTED.split_whitespace())
            .chain(but.split_whitespace())
            .collect::<Vec<_>>(),
    );
}

#[tokio::test]
async fn a_user_with_no_more_than_the_guide_says_can_do_everything() {
    for kind in KINDS {
        let mut scene = Scene::set(&shared().url(), &shared().url()).await;
        let name = scene.namespace.clone();
        make_user(&name, "");
        scene.storage = open(&as_user(&format!("{name}:hush"), &name)).await;
        let answer = scene.call(kind).await.unwrap();
        scene.done_once(kind, &[shared()], &answer).await;
    }
    let name = namespace();
    make_user(&name, "");
    lives(&*open(&as_user(&format!("{name}:hush"), &name)).await).await;
}

#[tokio::test]
async fn a_permission_that_lacks_is_told() {
    let name = namespace();
    // How the server itself words it, which differs between the two.
    let valkey = shared().info("server", "server_name").is_some_and(|name| name == "valkey");
    let (command, key, channel) = match valkey {
        true => ("ACL failure in script", "No permissions to access a key", "No permissions to access a channel"),
        false => ("can't run this command", "no permissions to access", "can't publish to the channel"),
    };
    for (but, parts) in [
        ("-script", ["script `enqueue`", "NOPERM", "'script|load'"]),
        ("-info", ["`INFO`", "NOPERM", "ACL SETUSER"]),
        ("-eval", ["`EVAL`", "NOPERM", "ACL SETUSER"]),
        ("-evalsha", ["script `write`", "NOPERM", "'evalsha'"]),
        ("-sadd", ["script `", "`ACL SETUSER`", command]),
        ("-zadd", ["script `", "`ACL SETUSER`", command]),
        ("-publish", ["script `", "`ACL SETUSER`", command]),
        ("resetkeys", ["NOPERM", key, "keys `~*`"]),
        ("resetchannels", ["script `", "grant `&*` by `ACL SETUSER`", channel]),
    ] {
        make_user(&name, but);
        let login = as_user(&format!("{name}:hush"), &name);
        let error = match in_time(options(&login).timeout(Duration::from_millis(500)).connect()).await {
            Err(error) => error,
            Ok(storage) => sends_a_message(&storage, &name).await.expect_err(but),
        };
        tells(&error, &parts);
        assert!(error.is_unavailable(), "{error}");
    }
}

/// A call that wakes a sleeper, who lies there by another's hand.
async fn sends_a_message(storage: &RedisStorage, name: &Namespace) -> Result<(), StorageError> {
    let sleeper = format!("{}{}", "E".repeat(26), "W".repeat(16));
    shared().cli(&["ZADD", &format!("{name}:{{mail}}:sleepers"), "8000000000000000", &sleeper]);
    storage.enqueue(Caller::new().call(jobs(1))).await.map(drop)
}

#[tokio::test]
async fn a_server_that_may_evict_jobs_is_refused_unless_allowed() {
    let server = Redis::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let error = refused(&server.url()).await;
    tells(&error, &["maxmemory-policy allkeys-lru", "set `maxmemory-policy noeviction`", "allow_eviction(true)"]);
    assert!(error.is_incompatible() && server.cli(&["DBSIZE"]) == "0");
    lives(&options(&server.url()).allow_eviction(true).connect().await.unwrap()).await;
}

#[tokio::test]
async fn a_socket_a_database_and_a_namespace_are_each_a_place_of_their_own() {
    let server = Redis::start();
    let (port, socket) = (server.port(), server.socket().display().to_string());
    let places = [
        format!("redis://127.0.0.1:{port}/0"),
        format!("redis://127.0.0.1:{port}/0?namespace=shop"),
        format!("redis://127.0.0.1:{port}/3"),
        format!("redis+unix://{socket}?db=5&namespace=shop"),
    ];
    for place in &places {
        let storage = open(place).await;
        assert!(storage.shards().await.unwrap().is_empty(), "{place} sees another's jobs");
        lives(&storage).await;
        assert_eq!(storage.counts(&mail()).await.unwrap().enqueued, 2, "{place}");
    }
    let databases = server.cli(&["INFO", "keyspace"]);
    assert!(["db0:", "db3:", "db5:"].iter().all(|db| databases.contains(db)), "{databases}");
    assert_eq!(open(&format!("redis+unix://{socket}?namespace=shop")).await.shards().await.unwrap(), [mail()]);
    consistent(&[&server], &"shop".parse().unwrap());
    let error = refused(&format!("redis://127.0.0.1:{port}/99")).await;
    assert!(error.is_invalid(), "{error}");
    tells(&error, &["no such database", "raise `databases`"]);
}

#[tokio::test]
async fn another_major_layout_is_refused_without_damage() {
    let server = Redis::start();
    for strange in ["2.0", "0.9", "banana", "1"] {
        server.cli(&["SET", "queue:layout", strange]);
        let error = refused(&server.url()).await;
        assert!(error.is_incompatible(), "{error}");
        tells(&error, &[&format!("has layout {strange}"), "layouts 1.*", "another namespace", "nothing was changed"]);
        assert_eq!((server.cli(&["DBSIZE"]), server.cli(&["GET", "queue:layout"])), ("1".into(), strange.into()));
    }
}

#[tokio::test]
async fn another_minor_layout_works_side_by_side() {
    let server = Redis::start();
    server.cli(&["SET", "queue:layout", "1.7"]);
    let storage = open(&server.url()).await;
    lives(&storage).await;
    assert_eq!(server.cli(&["GET", "queue:layout"]), "1.7");
    all_is_well(&*storage, &[&server], &Namespace::default()).await;
}

#[tokio::test]
async fn the_wrong_kind_of_server_is_told() {
    let node = shared_cluster().nodes()[0].url();
    let error = match RedisStorage::connect(&node).await {
        Err(error) => error,
        Ok(storage) => wrong_slot(&storage).await,
    };
    tells(&error, &["`redis-cluster://`"]);
    let error = refused(&format!("redis-cluster://127.0.0.1:{}", shared().port())).await;
    tells(&error, &["use `redis://` instead of `redis-cluster://`"]);
}

/// What is told when a key belongs to another node.
async fn wrong_slot(storage: &RedisStorage) -> StorageError {
    for at in 0..100 {
        let shard = shard(&format!("q{at}"));
        let call = Caller::of(shard).call(Vec::new());
        if let Err(error) = storage.enqueue(call).await {
            return error;
        }
    }
    panic!("a node of a cluster served every slot");
}
