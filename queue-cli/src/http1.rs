//! A small HTTP server: it reads whole requests, asks a function, and writes what it answers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// The largest body that is read.
const MAX_BODY: usize = 64 * 1024;
/// How long a head may take: nobody keeps a connection by saying nothing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once; for who comes then the oldest is let go. Whoever probes has his answer long before that, and those
/// who connect and say nothing, however many, keep nobody out.
const MAX_CONNECTIONS: usize = 256;
/// How long a connection may take.
const LIFE: Duration = Duration::from_secs(15);
/// After a connection that could not be taken, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes the port.
///
/// # Errors
/// It is taken, or no address of this machine: a sentence.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("the health port {address} can't be had: {error}"))
}

/// Answers whoever connects, for ever. Dropped, it lets go of all connections.
pub(crate) async fn serve<H, F>(listener: TcpListener, handle: H)
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => connections.add(converse(stream, handle.clone())),
            Err(error) => {
                tracing::debug!(%error, "a health connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Those that are open. Dropped, it lets go of them all.
#[derive(Debug, Default)]
struct Connections {
    open: JoinSet<()>,
    /// The oldest first; some may have ended.
    oldest: VecDeque<AbortHandle>,
}

impl Connections {
    fn add(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        while self.open.try_join_next().is_some() {}
        if self.oldest.len() >= MAX_CONNECTIONS {
            self.oldest.retain(|one| !one.is_finished());
        }
        if self.oldest.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.oldest.pop_front()
        {
            oldest.abort();
        }
        self.oldest.push_back(self.open.spawn(connection));
    }
}

async fn converse<H, F>(stream: TcpStream, handle: H)
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let handle = handle.clone();
        async move { Ok::<_, Infallible>(answer(request, handle).await.map(Full::new)) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    // One answer each, within a time: who keeps a connection would keep others from it.
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(false);
    match tokio::time::timeout(LIFE, http.serve_connection(TokioIo::new(stream), service)).await {
        Ok(Err(error)) => tracing::debug!(%error, "a health connection broke"),
        Err(_) => tracing::debug!("a health connection took too long"),
        Ok(Ok(())) => {}
    }
}

async fn answer<H, F>(request: Request<Incoming>, handle: H) -> Response<Bytes>
where
    H: Fn(Request<Bytes>) -> F,
    F: Future<Output = Response<Bytes>>,
{
    let (parts, body) = request.into_parts();
    let body = tokio::time::timeout(HEAD_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    match body {
        Ok(Ok(body)) => handle(Request::from_parts(parts, body.to_bytes())).await,
        Ok(Err(_)) => status(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => status(StatusCode::REQUEST_TIMEOUT),
    }
}

fn status(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn who_says_nothing_keeps_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let handle = |_| async { Response::new(Bytes::from_static(b"alive")) };
        let serving = tokio::spawn(serve(listener, handle));
        let mut silent = Vec::new();
        for _ in 0..2 * MAX_CONNECTIONS {
            let mut one = TcpStream::connect(address).await.unwrap();
            one.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            silent.push(one);
        }
        let probing = async {
            let mut probe = TcpStream::connect(address).await.unwrap();
            probe.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            probe.read_to_string(&mut answer).await.unwrap();
            answer
        };
        // Long before the heads of the others are overdue.
        let answer = tokio::time::timeout(HEAD_TIMEOUT / 2, probing).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("alive"), "{answer}");
        let mut end = [0; 1];
        assert_eq!(silent[0].read(&mut end).await.unwrap_or_default(), 0, "the oldest was let go");
        serving.abort();
    }
}
