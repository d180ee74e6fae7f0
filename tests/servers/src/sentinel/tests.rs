use super::*;

fn named_by(sentinel: &Redis) -> String {
    sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE])
}

#[test]
fn the_replica_takes_over_and_the_dead_one_comes_back_as_replica() {
    let all = Sentinel::start();
    let (first, second) = (all.primary().port(), all.replica().port());
    assert!(all.sentinels().iter().all(|sentinel| named_by(sentinel) == format!("127.0.0.1\n{first}")));
    all.primary().cli(&["SET", "a", "1"]);
    all.catch_up();

    all.failover();
    assert_eq!((all.primary().port(), all.replica().port()), (second, first));
    assert!(!all.replica().is_running());
    assert_eq!(all.primary().cli(&["GET", "a"]), "1");
    assert_eq!(all.primary().cli(&["SET", "a", "2"]), "OK");
    assert!(all.sentinels().iter().all(|sentinel| named_by(sentinel) == format!("127.0.0.1\n{second}")));

    all.mend();
    all.catch_up();
    assert_eq!(all.replica().cli(&["GET", "a"]), "2");
    all.failover();
    assert_eq!(all.primary().port(), first);
    assert_eq!(all.primary().cli(&["GET", "a"]), "2");
}

#[test]
fn the_two_change_over_and_nobody_dies() {
    let all = Sentinel::start_with(1);
    let (first, second) = (all.primary().port(), all.replica().port());
    all.primary().cli(&["SET", "a", "1"]);
    all.switch_over();
    assert_eq!((all.primary().port(), all.replica().port()), (second, first));
    assert_eq!(all.primary().cli(&["GET", "a"]), "1");
    assert!(all.replica().try_cli(&["SET", "a", "2"]).unwrap_err().contains("READONLY"));
}

#[test]
fn the_url_names_every_sentinel() {
    let all = Sentinel::start_with(2);
    let [first, second] = [0, 1].map(|index| all.sentinels()[index].port());
    let url = format!("redis-sentinel://127.0.0.1:{first},127.0.0.1:{second}?service=queue");
    assert_eq!(all.url(), url);
}
