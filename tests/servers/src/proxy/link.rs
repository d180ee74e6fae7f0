//! One connection through the proxy: a client's, and the server's for it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::{Fate, Shared};
use crate::patience::now;

const CHUNK: usize = 64 * 1024;

/// Both ends of a connection.
#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    server: TcpStream,
    hole: AtomicBool,
}

/// What the server said, and when the client may hear of it.
struct Said {
    bytes: Vec<u8>,
    due: Instant,
}

impl Link {
    pub(super) fn new(client: TcpStream, server: TcpStream) -> io::Result<Self> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        Ok(Self { client, server, hole: AtomicBool::new(false) })
    }

    /// Closes both ends.
    pub(super) fn close(&self) {
        // Both fail for an end that has closed by itself.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    pub(super) fn make_a_hole(&self) {
        self.hole.store(true, Ordering::SeqCst);
    }

    /// Whether something of what the server said was swallowed.
    pub(super) fn has_a_hole(&self) -> bool {
        self.hole.load(Ordering::SeqCst)
    }
}

/// Starts the three threads of a connection: one passes requests on, one decides about replies as they come, and one
/// passes them on when they are due. Not one for the last two: a delay is one of the way, and must not add up.
pub(super) fn run(link: &Arc<Link>, shared: &Arc<Shared>) {
    let (pass_on, passed_on) = mpsc::channel();
    start(link, shared, pass_requests);
    start(link, shared, move |link, shared| judge_replies(link, shared, &pass_on));
    start(link, shared, move |link, shared| pass_replies(link, shared, &passed_on));
}

fn start(link: &Arc<Link>, shared: &Arc<Shared>, work: impl FnOnce(&Link, &Shared) + Send + 'static) {
    let (link, shared) = (Arc::clone(link), Arc::clone(shared));
    thread::spawn(move || work(&link, &shared));
}

fn pass_requests(link: &Link, shared: &Shared) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(read @ 1..) = (&link.client).read(&mut chunk) {
        shared.count_request();
        if (&link.server).write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    // The server closes in its turn, once it has said all.
    let _ = link.server.shutdown(Shutdown::Write);
}

/// Ends with its end of the channel: the client is to hear what is under way, then the connection closes.
fn judge_replies(link: &Link, shared: &Shared, pass_on: &Sender<Said>) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(read @ 1..) = (&link.server).read(&mut chunk) {
        match shared.decide(link) {
            Fate::Pass(delay) => {
                let said = Said { bytes: chunk[..read].to_vec(), due: now() + delay };
                if pass_on.send(said).is_err() {
                    return;
                }
            }
            Fate::Swallow => {}
            Fate::Close => return,
        }
    }
}

fn pass_replies(link: &Link, shared: &Shared, passed_on: &Receiver<Said>) {
    for Said { bytes, due } in passed_on {
        let early = due.saturating_duration_since(now());
        if early > Duration::ZERO {
            thread::sleep(early);
        }
        if (&link.client).write_all(&bytes).is_err() {
            break;
        }
    }
    shared.close(link);
}
