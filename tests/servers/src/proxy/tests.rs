use std::io::{BufRead, BufReader, ErrorKind, Write};

use super::*;
use crate::patience::{look, now};
use crate::redis::Redis;

/// A client of one connection.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn of(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// A client that the proxy has accepted.
    fn greeted(proxy: &Proxy) -> Self {
        let mut client = Self::of(proxy);
        assert_eq!(client.ask("PING").unwrap(), "+PONG");
        client
    }

    /// One answer; nothing when the connection has closed.
    fn ask(&mut self, request: &str) -> Option<String> {
        self.say(request)?;
        self.hear()
    }

    fn say(&mut self, request: &str) -> Option<()> {
        self.stream.get_ref().write_all(format!("{request}\r\n").as_bytes()).ok()
    }

    fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }

    fn hears_nothing(&mut self) -> bool {
        self.stream.get_ref().set_nonblocking(true).unwrap();
        let read = self.stream.fill_buf().map(<[u8]>::len);
        self.stream.get_ref().set_nonblocking(false).unwrap();
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    fn is_closed(&mut self) -> bool {
        self.hear().is_none()
    }
}

fn pair() -> (Redis, Proxy) {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    (server, proxy)
}

/// Waits until the server has counted that high.
fn counted(server: &Redis, count: &str) {
    let counted = look(|| (server.cli(&["GET", "count"]) == count).then_some(()));
    assert!(counted.is_some(), "{}", server.cli(&["GET", "count"]));
}

#[test]
fn what_passes_is_whole_and_counted() {
    let (server, proxy) = pair();
    assert_eq!(proxy.url(), format!("redis://127.0.0.1:{}", proxy.port()));
    let mut client = Client::greeted(&proxy);
    assert_eq!((proxy.requests(), proxy.connections()), (1, 1));
    assert_eq!(client.ask("INCR count").unwrap(), ":1");
    assert_eq!(proxy.requests(), 2);

    let long = "x".repeat(1_000_000);
    server.cli(&["EVAL", "redis.call('SET', 'long', string.rep('x', 1000000))", "0"]);
    assert_eq!(client.ask("GET long").unwrap(), "$1000000");
    assert_eq!(client.hear().unwrap(), long);

    drop(client);
    assert_eq!(look(|| (proxy.connections() == 0).then_some(())), Some(()));
}

#[test]
fn a_lost_reply_is_one_reply_of_a_command_that_was_executed() {
    let (server, proxy) = pair();
    let mut client = Client::greeted(&proxy);
    proxy.lose_reply(1);
    assert_eq!(client.ask("INCR count"), None);
    assert_eq!(server.cli(&["GET", "count"]), "1");
    let mut again = Client::of(&proxy);
    assert_eq!(again.ask("INCR count").unwrap(), ":2");
    assert_eq!(again.ask("INCR count").unwrap(), ":3");
}

#[test]
fn the_third_reply_is_lost_on_whatever_connection() {
    let (server, proxy) = pair();
    let [mut one, mut other] = [Client::greeted(&proxy), Client::greeted(&proxy)];
    proxy.lose_reply(3);
    assert_eq!(one.ask("INCR count").unwrap(), ":1");
    assert_eq!(other.ask("INCR count").unwrap(), ":2");
    assert_eq!(one.ask("INCR count"), None);
    assert_eq!(server.cli(&["GET", "count"]), "3");
    assert_eq!(other.ask("INCR count").unwrap(), ":4");
}

#[test]
fn replies_before_the_lost_one_arrive() {
    let (_server, proxy) = pair();
    for _ in 0..50 {
        let mut client = Client::greeted(&proxy);
        proxy.lose_reply(2);
        client.say("PING").unwrap();
        assert_eq!(client.hear().unwrap(), "+PONG");
        assert_eq!(client.ask("PING"), None);
    }
}

#[test]
fn a_cut_closes_what_is_open_and_no_more() {
    let (_server, proxy) = pair();
    let mut clients = [Client::greeted(&proxy), Client::greeted(&proxy)];
    proxy.cut();
    assert!(clients.iter_mut().all(Client::is_closed));
    assert_eq!(proxy.connections(), 0);
    Client::greeted(&proxy);
}

#[test]
fn who_is_refused_finds_the_connection_closed_until_it_passes() {
    let (server, proxy) = pair();
    let mut before = Client::greeted(&proxy);
    proxy.refuse();
    assert!(before.is_closed());
    assert_eq!(Client::of(&proxy).ask("INCR count"), None);
    assert_eq!(server.cli(&["EXISTS", "count"]), "0");
    proxy.pass();
    Client::greeted(&proxy);
}

#[test]
fn held_replies_are_of_commands_that_were_executed_and_never_come() {
    let (server, proxy) = pair();
    let [mut client, mut idle] = [Client::greeted(&proxy), Client::greeted(&proxy)];
    proxy.hold_replies();
    client.say("INCR count").unwrap();
    counted(&server, "1");
    client.say("INCR count").unwrap();
    counted(&server, "2");
    assert!(client.hears_nothing());
    assert_eq!(proxy.connections(), 2);
    assert!(look(|| lock(&proxy.shared.state).links.iter().any(|link| link.has_a_hole()).then_some(())).is_some());

    proxy.pass();
    assert!(client.is_closed());
    assert_eq!(idle.ask("INCR count").unwrap(), ":3");
}

#[test]
fn a_delay_is_that_of_the_way_and_does_not_add_up() {
    const DELAY: Duration = Duration::from_millis(100);
    let (server, proxy) = pair();
    let mut client = Client::greeted(&proxy);
    proxy.delay_replies(DELAY);
    let begin = now();
    for count in 1..=20 {
        client.say("INCR count").unwrap();
        counted(&server, &count.to_string());
    }
    for count in 1..=20 {
        assert_eq!(client.hear().unwrap(), format!(":{count}"));
        assert!(now() - begin >= DELAY);
    }
    assert!(now() - begin < 15 * DELAY, "{:?}", now() - begin);
    proxy.pass();
    assert_eq!(client.ask("PING").unwrap(), "+PONG");
}

#[test]
fn a_server_which_is_gone_closes_its_connections_and_is_found_again() {
    let (server, proxy) = pair();
    let mut client = Client::greeted(&proxy);
    server.kill();
    assert!(client.is_closed());
    assert!(Client::of(&proxy).is_closed());
    server.start_again();
    Client::greeted(&proxy);
}

#[test]
fn a_dropped_proxy_lets_nobody_in() {
    let (_server, proxy) = pair();
    let mut client = Client::greeted(&proxy);
    let port = proxy.port();
    drop(proxy);
    assert!(client.is_closed());
    assert!(look(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err().then_some(())).is_some());
}
