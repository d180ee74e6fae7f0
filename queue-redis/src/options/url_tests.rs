use super::*;

fn parse(url: &str) -> Address {
    Address::parse(url).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn each_form_is_read_and_shown_without_secrets() {
    let cases = [
        ("redis://db", "redis://db:6379/0"),
        ("redis://db:7000/3", "redis://db:7000/3"),
        ("valkey://db", "redis://db:6379/0"),
        ("redis://:hush@db", "redis://:***@db:6379/0"),
        ("redis://bob:hush@db:6379/0", "redis://bob:***@db:6379/0"),
        ("redis://bob@db", "redis://bob@db:6379/0"),
        ("redis://bob:h@sh@db", "redis://bob:***@db:6379/0"),
        ("redis://[::1]:6380/1", "redis://[::1]:6380/1"),
        ("redis://[::1]", "redis://[::1]:6379/0"),
        ("rediss://db?namespace=shop", "rediss://db:6379/0"),
        ("redis+unix:///run/redis.sock", "redis+unix:///run/redis.sock?db=0"),
        ("redis+unix://bob:hush@/run/redis.sock?db=2", "redis+unix://bob:***@/run/redis.sock?db=2"),
        ("redis-cluster://a:1,b:2,c", "redis-cluster://a:1,b:2,c:6379"),
        ("rediss-cluster://:hush@a", "rediss-cluster://:***@a:6379"),
        (
            "redis-sentinel://bob:hush@a,b:2/4?service=mine&sentinelUsername=eve&sentinelPassword=psst",
            "redis-sentinel://bob:***@a:26379,b:2/4?service=mine",
        ),
        ("rediss-sentinel://a?service=mine", "rediss-sentinel://a:26379/0?service=mine"),
    ];
    for (url, shown) in cases {
        let address = parse(url);
        assert_eq!(address.to_string(), shown, "{url}");
    }
}

#[test]
fn each_part_arrives() {
    let address = parse("rediss://bob:p%40ss%2Fword@db:7000/3?namespace=shop");
    assert_eq!(address.username.as_deref(), Some("bob"));
    assert_eq!(address.password.as_deref(), Some("p@ss/word"));
    assert_eq!((address.database, address.tls), (3, true));
    assert_eq!(address.namespace.unwrap().as_str(), "shop");
    let address = parse("redis-sentinel://a?service=mine&sentinelUsername=eve&sentinelPassword=p%26t");
    let Target::Sentinel { hosts, service, username, password } = address.target else { panic!("no sentinel") };
    assert_eq!((hosts.len(), service.as_str()), (1, "mine"));
    assert_eq!((username.as_deref(), password.as_deref()), (Some("eve"), Some("p&t")));
    assert!(parse("redis+unix:///a%20b.sock").target == Target::Unix("/a b.sock".into()));
}

#[test]
fn wrong_urls_say_why_and_keep_secrets() {
    let cases = [
        ("localhost:6379", "`localhost:6379` can't name a Redis: it has no scheme; write `redis://host:6379`"),
        ("http://db", "its scheme is none of `redis`"),
        ("redis://", "it names no host"),
        ("redis://bob:hush@", "it names no host"),
        ("redis://db:port", "`port` is no port"),
        ("redis://db:99999", "`99999` is no port"),
        ("redis://::1:6379", "write it in brackets"),
        ("redis://db/x", "`x` is no database"),
        ("redis://db/256", "`256` is no database"),
        ("redis://db?db=1", "no parameter `db`; only `namespace` is known"),
        ("redis://db?namespace=a%20b", "can't name a namespace"),
        ("redis://a,b", "it names several hosts"),
        ("redis://b%4:hush@db", "two hexadecimal digits"),
        ("redis://bob:hu/sh@db", "`redis://***` can't name a Redis: an `@` follows a `/`"),
        ("redis://bob:hu?sh@db", "in a password write these as"),
        ("redis://bob:hu#sh@db", "in a password write these as"),
        ("bob:hush@db", "it has no scheme"),
        ("redis-cluster://a/1", "database 0 only"),
        ("redis-sentinel://bob:hush@a", "add `?service=name`"),
        ("redis://db?password=hush", "`redis://db?password=***` can't name a Redis: it has no parameter `password`"),
        ("redis-sentinel://a?sentinelPassword=hush", "sentinelPassword=***` can't name a Redis: it does not say"),
        ("redis-sentinel://a?service=x&node=b:1", "`sentinelUsername` and `sentinelPassword`"),
        ("redis+unix://", "it names no socket"),
        ("rediss+unix:///x.sock", "its scheme is none of"),
    ];
    for (url, why) in cases {
        let Err(error) = Address::parse(url) else { panic!("{url} was taken") };
        let told = error.to_string();
        assert!(error.is_invalid() && told.contains(why), "{url}: {told}");
        assert!(!told.contains("hush") && !told.contains("hu/sh") && !told.contains("sh@"), "{told}");
    }
}
