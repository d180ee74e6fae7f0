//! Making connections.
//!
//! A client of fred's lives as long as its connection and no longer: it has no reconnect policy, so that its task ends with
//! the first thing that goes wrong, and a new client takes its place. Nothing is ever replayed that way, as what a
//! client has not sent goes with it; and a task that waits for ever for a frozen server to read is got rid of too.

use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::ConnectHandle;
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ConnectionConfig, PerformanceConfig, Server, ServerConfig, TcpConfig,
};
use queue_storage::storage::StorageError;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::error::{Place, reason};
use crate::options::{Host, RedisOptions, Target};

/// Calls that wait for a connection to take them, before further ones are refused.
pub(super) const ROOM: usize = 10_000;
/// Messages that wait to be handed on, before the oldest are lost. Each place costs memory in several channels.
const MAIL: usize = 512;
/// How long a connection that is closed may take to finish what it has.
const FAREWELL: Duration = Duration::from_secs(1);

/// Makes connections of one kind.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) place: Place,
    config: Config,
    connection: ConnectionConfig,
    performance: PerformanceConfig,
    connect_timeout: Duration,
    backoff: (Duration, Duration),
}

/// A connection (of a cluster: one to each primary) and the task that drives it.
pub(super) struct Connection {
    pub(super) client: Client,
    task: ConnectHandle,
}

impl Dialer {
    /// Of connections for calls.
    pub(super) fn for_calls(options: &RedisOptions, place: &Place) -> Result<Self, StorageError> {
        let connection = ConnectionConfig {
            connection_timeout: options.connect_timeout,
            internal_command_timeout: options.connect_timeout,
            max_command_attempts: 1,
            // A call that a cluster sends elsewhere comes back to us, who know that it was not carried out.
            max_redirections: 0,
            max_command_buffer_len: ROOM,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        let performance = PerformanceConfig {
            default_command_timeout: options.timeout,
            broadcast_channel_capacity: 16,
            ..PerformanceConfig::default()
        };
        let (config, place) = (config(options, place)?, place.clone());
        let (connect_timeout, backoff) = (options.connect_timeout, options.backoff);
        Ok(Self { place, config, connection, performance, connect_timeout, backoff })
    }

    /// The same for connections that receive messages. They speak RESP2 as well: fred sends a password by RESP3's HELLO
    /// as an inline command, which breaks those with spaces or quotes.
    pub(super) fn for_messages(&self) -> Self {
        let mut dialer = self.clone();
        dialer.performance.broadcast_channel_capacity = MAIL;
        dialer
    }

    /// Connects.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection, made or half made.
    pub(super) async fn dial(&self) -> Result<Connection, Error> {
        let (connection, performance) = (self.connection.clone(), self.performance.clone());
        let client = Client::new(self.config.clone(), Some(performance), Some(connection), None);
        let task = client.connect();
        let connection = Connection { client, task };
        let waited = timeout(self.connect_timeout, connection.client.wait_for_connect()).await;
        match waited {
            Ok(connected) => connected.map(|()| connection),
            Err(_) => Err(Error::new(ErrorKind::Timeout, format!("no answer within {:?}", self.connect_timeout))),
        }
    }

    /// Connects, trying until it succeeds and telling `failed` why each time it did not. Waits before the first attempt too,
    /// and for long if it is to be `slow`.
    pub(super) async fn redial(&self, slow: bool, mut failed: impl FnMut(String)) -> Connection {
        let mut wait = if slow { self.backoff.1 } else { self.backoff.0 };
        loop {
            sleep(wait.mul_f64(1.0 - fastrand::f64() / 2.0)).await;
            match self.dial().await {
                Ok(connection) => return connection,
                Err(error) => failed(reason(&error)),
            }
            wait = (wait * 2).min(self.backoff.1);
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.config.server, ServerConfig::Clustered { .. })
    }
}

impl Connection {
    /// Waits until the connection has ended, and says why.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing. Not to be called again once it has answered.
    pub(super) async fn ended(&mut self) -> String {
        match (&mut self.task).await {
            Ok(Err(error)) => reason(&error),
            Ok(Ok(())) => "the server closed the connection".into(),
            Err(error) => format!("its task ended ({error})"),
        }
    }

    /// Closes the connection at once.
    pub(super) fn cut(&self) {
        self.task.abort();
    }

    /// Waits for the answers that are still to come, and says goodbye.
    pub(super) async fn quit(&mut self) {
        let goodbye = async {
            // What is left to do is to be gone, whether the server heard it or not.
            let _ = self.client.quit().await;
            self.ended().await;
        };
        let _ = timeout(FAREWELL, goodbye).await;
    }
}

/// A connection that nobody holds any more is closed at once.
impl Drop for Connection {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Waits until the driver is closed or dropped.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that the driver was dropped, which stops it too.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn config(options: &RedisOptions, place: &Place) -> Result<Config, StorageError> {
    let address = &options.address;
    // A user without a password logs in with an empty one.
    let password = address.password.clone().or_else(|| address.username.as_ref().map(|_| String::new()));
    let config = Config {
        server: server(&address.target),
        username: address.username.clone(),
        password,
        database: Some(address.database).filter(|number| *number != 0),
        ..Config::default()
    };
    if address.tls { with_tls(config).map_err(|error| place.unopened(&error)) } else { Ok(config) }
}

fn server(target: &Target) -> ServerConfig {
    let server = |host: &Host| Server::new(host.name.as_str(), host.port);
    let all = |hosts: &[Host]| hosts.iter().map(server).collect();
    match target {
        Target::Single(host) => ServerConfig::Centralized { server: server(host) },
        Target::Unix(path) => ServerConfig::Unix { path: path.clone() },
        Target::Cluster(hosts) => {
            ServerConfig::Clustered { hosts: all(hosts), policy: ClusterDiscoveryPolicy::ConfigEndpoint }
        }
        Target::Sentinel { hosts, service, username, password } => ServerConfig::Sentinel {
            hosts: all(hosts),
            service_name: service.clone(),
            username: username.clone(),
            password: password.clone(),
        },
    }
}

/// With the certificates of the operating system. The provider is named because rustls panics when it has to choose between
/// two that other parts of a program brought along.
#[cfg(feature = "tls")]
fn with_tls(mut config: Config) -> Result<Config, Error> {
    use fred::rustls::{ClientConfig, RootCertStore, crypto::ring};
    use fred::types::config::TlsConnector;

    let mut roots = RootCertStore::empty();
    let found = fred::rustls_native_certs::load_native_certs();
    if roots.add_parsable_certificates(found.certs).0 == 0 {
        let why = format!("the operating system has no root certificates ({:?})", found.errors);
        return Err(Error::new(ErrorKind::Tls, why));
    }
    let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Tls, error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.tls = Some(TlsConnector::from(tls).into());
    Ok(config)
}

#[cfg(not(feature = "tls"))]
fn with_tls(config: Config) -> Result<Config, Error> {
    // Options that ask for TLS are refused without the feature.
    Ok(config)
}
