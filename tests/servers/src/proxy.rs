//! What lies between a client and a server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::patience::lock;

mod link;
#[cfg(test)]
mod tests;

use link::Link;

/// A TCP proxy on a port of 127.0.0.1 in front of a server's port: passes bytes on, until it is told to break
/// something. It can be told at any time, from any thread.
///
/// It knows no protocol. What it counts are chunks: what one read brings, up to 64 KiB; a small request or reply by
/// itself is one chunk, a pipeline may be one or several. Every connection through it counts, those for subscriptions
/// too. A server which names addresses to its clients, such as a cluster's node, names its own and not the proxy's.
///
/// When this is dropped, all its connections close.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

/// What the proxy and the threads of its connections share.
#[derive(Debug)]
struct Shared {
    /// Mode and connections under one lock: none opens under a mode that is over, or misses being closed.
    state: Mutex<State>,
    requests: AtomicU64,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    links: Vec<Arc<Link>>,
    done: bool,
}

/// What to do with what a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    Refuse,
    Hold,
    Delay(Duration),
    /// Loses the chunk after so many others.
    Lose(usize),
}

/// What to do with one chunk of a server's.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Pass(Duration),
    Swallow,
    Close,
}

impl Proxy {
    /// Starts a proxy in front of a port of 127.0.0.1, where a server need not listen yet.
    ///
    /// # Panics
    ///
    /// When the system has no port left.
    #[must_use]
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = State { mode: Mode::Pass, links: Vec::new(), done: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), requests: AtomicU64::new(0) });
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener, server));
        Self { port: own, shared }
    }

    /// The port on 127.0.0.1 to which clients connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on passes everything on; how a proxy begins.
    pub fn pass(&self) {
        self.shared.set(Mode::Pass);
    }

    /// Closes all connections now, and accepts new ones as before.
    pub fn cut(&self) {
        lock(&self.shared.state).close_all();
    }

    /// From now on closes every connection at once, those which are open now too.
    pub fn refuse(&self) {
        self.shared.set(Mode::Refuse);
    }

    /// From now on swallows what the server says: requests reach it, their replies get lost, connections stay open.
    ///
    /// What comes next ([`pass`](Self::pass) and the like) closes each connection from which something was swallowed:
    /// a hole in the middle of a connection is what no network makes.
    pub fn hold_replies(&self) {
        self.shared.set(Mode::Hold);
    }

    /// From now on passes what the server says only after so much time.
    pub fn delay_replies(&self, by: Duration) {
        self.shared.set(Mode::Delay(by));
    }

    /// Loses the `n`-th chunk that the server says from now on, 1 for the next one, on whatever connection: that
    /// connection closes instead, after all that was said there before. Other chunks pass, before and after.
    ///
    /// # Panics
    ///
    /// When `n` is 0.
    pub fn lose_reply(&self, n: usize) {
        assert!(n > 0, "the next reply is number 1");
        self.shared.set(Mode::Lose(n - 1));
    }

    /// How many chunks clients have sent through it.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.shared.state).links.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        lock(&self.shared.state).done = true;
        self.cut();
        // Wakes who accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn set(&self, mode: Mode) {
        let mut state = lock(&self.state);
        state.mode = mode;
        match mode {
            Mode::Refuse => state.close_all(),
            Mode::Hold => {}
            Mode::Pass | Mode::Delay(_) | Mode::Lose(_) => state.close_where(Link::has_a_hole),
        }
    }

    fn accept(self: Arc<Self>, listener: &TcpListener, server: SocketAddr) {
        for client in listener.incoming() {
            let mode = match &*lock(&self.state) {
                State { done: true, .. } => return,
                State { mode, .. } => *mode,
            };
            // A client that is not taken, or whose server is not there, is dropped: its connection closes.
            if let (Ok(client), true) = (client, mode != Mode::Refuse) {
                let _ = self.link(client, server);
            }
        }
    }

    fn link(self: &Arc<Self>, client: TcpStream, server: SocketAddr) -> io::Result<()> {
        let link = Arc::new(Link::new(client, TcpStream::connect(server)?)?);
        let mut state = lock(&self.state);
        // Told since the connection came.
        if !state.done && state.mode != Mode::Refuse {
            state.links.push(Arc::clone(&link));
            link::run(&link, self);
        }
        Ok(())
    }

    /// Decides about a chunk, and remembers what that makes of its connection: one decision at a time.
    fn decide(&self, link: &Link) -> Fate {
        let mut state = lock(&self.state);
        match state.mode {
            Mode::Pass => Fate::Pass(Duration::ZERO),
            Mode::Refuse => Fate::Close,
            Mode::Delay(by) => Fate::Pass(by),
            Mode::Hold => {
                link.make_a_hole();
                Fate::Swallow
            }
            Mode::Lose(0) => {
                state.mode = Mode::Pass;
                Fate::Close
            }
            Mode::Lose(after) => {
                state.mode = Mode::Lose(after - 1);
                Fate::Pass(Duration::ZERO)
            }
        }
    }

    fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::SeqCst);
    }

    /// Closes a connection; again is as well.
    fn close(&self, link: &Link) {
        lock(&self.state).close_where(|other| std::ptr::eq(other, link));
    }
}

impl State {
    fn close_all(&mut self) {
        self.close_where(|_| true);
    }

    fn close_where(&mut self, which: impl Fn(&Link) -> bool) {
        self.links.extract_if(.., |link| which(link)).for_each(|link| link.close());
    }
}
