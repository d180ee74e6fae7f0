//! A small HTTP server: it reads whole requests, asks a function, and writes what it answers.

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
use tokio::task::JoinSet;

/// The largest body that is read.
const MAX_BODY: usize = 64 * 1024;
/// How long a head may take: nobody keeps a connection by saying nothing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once; who comes then waits.
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
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= MAX_CONNECTIONS {
            let _ = connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(converse(stream, handle.clone()));
            }
            Err(error) => {
                tracing::debug!(%error, "a health connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
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
