//! The URL of a server, taken apart and put together again without its secrets.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use queue_storage::model::Namespace;
use queue_storage::storage::StorageError;

/// The schemes a URL may begin with.
const SCHEMES: &str = "`redis`, `redis-cluster`, `redis-sentinel` (`rediss…` for TLS) and `redis+unix`";

/// The parameters whose values are no secrets.
const OPEN: [&str; 4] = ["namespace", "db", "service", "sentinelUsername"];

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: u16,
}

/// Whom to connect to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Single(Host),
    Unix(PathBuf),
    Cluster(Vec<Host>),
    Sentinel { hosts: Vec<Host>, service: String, username: Option<String>, password: Option<String> },
}

/// What a URL says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) target: Target,
    pub(crate) tls: bool,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: u8,
    pub(crate) namespace: Option<Namespace>,
}

/// The way a server is reached, which decides what else its URL may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Single,
    Unix,
    Cluster,
    Sentinel,
}

/// The query of a URL, as far as it was understood.
#[derive(Default)]
struct Query {
    namespace: Option<Namespace>,
    database: Option<u8>,
    service: Option<String>,
    sentinel_username: Option<String>,
    sentinel_password: Option<String>,
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// *Invalid*, naming the URL with its secrets masked, what is wrong with it, and what to write.
    pub(super) fn parse(url: &str) -> Result<Self, StorageError> {
        Self::read(url).map_err(|why| StorageError::invalid(format!("`{}` can't name a Redis: {why}", masked(url))))
    }

    fn read(url: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err("it has no scheme; write `redis://host:6379`".into());
        };
        let Some((way, tls)) = way(scheme) else {
            return Err(format!("its scheme is none of {SCHEMES}"));
        };
        let (authority, path, query) = parts(rest);
        if !authority.contains('@') && way != Way::Unix && (path.contains('@') || query.contains('@')) {
            return Err("an `@` follows a `/`, `?` or `#`: in a password write these as `%2F`, `%3F` and `%23`".into());
        }
        let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (username, password) = user(credentials)?;
        let query = Query::read(query, way)?;
        let database = match way {
            Way::Unix => query.database.unwrap_or(0),
            _ => database(path.trim_matches('/'))?,
        };
        if way == Way::Cluster && database != 0 {
            return Err("a cluster has database 0 only: leave the path out".into());
        }
        let namespace = query.namespace.clone();
        Ok(Self { target: target(way, hosts, path, query)?, tls, username, password, database, namespace })
    }
}

/// `redis://bob:***@db:6379/0`: the whole address, without its secrets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.target {
            Target::Single(_) => "",
            Target::Unix(_) => "+unix",
            Target::Cluster(_) => "-cluster",
            Target::Sentinel { .. } => "-sentinel",
        };
        write!(f, "redis{}{way}://", if self.tls { "s" } else { "" })?;
        match (&self.username, &self.password) {
            (Some(name), Some(_)) => write!(f, "{name}:***@")?,
            (Some(name), None) => write!(f, "{name}@")?,
            (None, Some(_)) => f.write_str(":***@")?,
            (None, None) => {}
        }
        match &self.target {
            Target::Single(host) => write!(f, "{host}/{}", self.database),
            Target::Unix(path) => write!(f, "{}?db={}", path.display(), self.database),
            Target::Cluster(hosts) => f.write_str(&joined(hosts)),
            Target::Sentinel { hosts, service, .. } => {
                write!(f, "{}/{}?service={service}", joined(hosts), self.database)
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

fn joined(hosts: &[Host]) -> String {
    let mut text = String::new();
    for host in hosts {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a string can't fail.
        let _ = write!(text, "{comma}{host}");
    }
    text
}

/// The way a scheme stands for, and whether by TLS. `valkey` does for `redis`.
fn way(scheme: &str) -> Option<(Way, bool)> {
    let rest = scheme.strip_prefix("redis").or_else(|| scheme.strip_prefix("valkey"))?;
    let (tls, rest) = rest.strip_prefix('s').map_or((false, rest), |rest| (true, rest));
    match (rest, tls) {
        ("", _) => Some((Way::Single, tls)),
        ("-cluster", _) => Some((Way::Cluster, tls)),
        ("-sentinel", _) => Some((Way::Sentinel, tls)),
        ("+unix", false) => Some((Way::Unix, false)),
        _ => None,
    }
}

/// What follows the scheme: authority, path, query (and all behind a `#` in the query).
fn parts(rest: &str) -> (&str, &str, &str) {
    let (before, query) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    let (authority, path) = before.split_at(before.find('/').unwrap_or(before.len()));
    (authority, path, query)
}

/// The user name and the password of `name:password`; a name alone is one of a user without a password.
fn user(credentials: &str) -> Result<(Option<String>, Option<String>), String> {
    let (name, password) = credentials.split_once(':').map_or((credentials, None), |(name, word)| (name, Some(word)));
    let some = |text: &str| decode(text).map(|text| Some(text).filter(|text| !text.is_empty()));
    Ok((some(name)?, password.map(some).transpose()?.flatten()))
}

fn database(text: &str) -> Result<u8, String> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| format!("`{text}` is no database: write a number from 0 to 255 behind the `/`"))
}

fn target(way: Way, hosts: &str, path: &str, query: Query) -> Result<Target, String> {
    if way == Way::Unix {
        return match decode(path)?.as_str() {
            "" | "/" => Err("it names no socket; write `redis+unix:///path/to/redis.sock`".into()),
            path => Ok(Target::Unix(path.into())),
        };
    }
    let port = if way == Way::Sentinel { 26_379 } else { 6_379 };
    let mut hosts = hosts.split(',').map(|text| host(text, port)).collect::<Result<Vec<_>, _>>()?;
    match (way, hosts.len()) {
        (Way::Single, 1) => Ok(Target::Single(hosts.remove(0))),
        (Way::Single, _) => Err("it names several hosts: that is for `redis-cluster` and `redis-sentinel`".into()),
        (Way::Cluster, _) => Ok(Target::Cluster(hosts)),
        _ => {
            let service =
                query.service.ok_or("it does not say which service the sentinels watch: add `?service=name`")?;
            Ok(Target::Sentinel {
                hosts,
                service,
                username: query.sentinel_username,
                password: query.sentinel_password,
            })
        }
    }
}

/// `name`, `name:port`, `[::1]` or `[::1]:port`.
fn host(text: &str, default: u16) -> Result<Host, String> {
    let bracket = text.rfind(']').map_or(0, |at| at + 1);
    let (name, port) = match text[bracket..].rfind(':') {
        Some(at) => (&text[..bracket + at], Some(&text[bracket + at + 1..])),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("it names no host; write `redis://host:6379`".into());
    }
    if bracket == 0 && name.contains(':') {
        return Err(format!("`{text}` looks like an IPv6 address: write it in brackets, `[::1]:6379`"));
    }
    let port = match port {
        Some(port) => port.parse().map_err(|_| format!("`{port}` is no port: write a number from 1 to 65535"))?,
        None => default,
    };
    Ok(Host { name: decode(name)?, port })
}

impl Query {
    fn read(text: &str, way: Way) -> Result<Self, String> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            query.take(name, decode(value)?, way)?;
        }
        Ok(query)
    }

    fn take(&mut self, name: &str, value: String, way: Way) -> Result<(), String> {
        match (name, way) {
            ("namespace", _) => self.namespace = Some(value.parse().map_err(|error| format!("{error}"))?),
            ("db", Way::Unix) => self.database = Some(database(&value)?),
            ("service", Way::Sentinel) => self.service = Some(value).filter(|value| !value.is_empty()),
            ("sentinelUsername", Way::Sentinel) => self.sentinel_username = Some(value),
            ("sentinelPassword", Way::Sentinel) => self.sentinel_password = Some(value),
            _ => return Err(format!("it has no parameter `{name}`; {}", way.parameters())),
        }
        Ok(())
    }
}

impl Way {
    fn parameters(self) -> &'static str {
        match self {
            Self::Single | Self::Cluster => "only `namespace` is known",
            Self::Unix => "there are `namespace` and `db`",
            Self::Sentinel => "there are `namespace`, `service`, `sentinelUsername` and `sentinelPassword`",
        }
    }
}

/// A URL that may be wrong in any way, without what could be a secret.
fn masked(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let (authority, path, query) = parts(rest);
    if scheme.is_empty() && rest.contains('@')
        || !authority.contains('@') && (path.contains('@') || query.contains('@'))
    {
        return format!("{scheme}://***");
    }
    let host = authority.rsplit_once('@').map_or(authority.to_owned(), |(_, host)| format!("***@{host}"));
    let query = query.split('&').map(|pair| match pair.split_once('=') {
        // What is none of ours may be another library's password.
        Some((name, _)) if !OPEN.contains(&name) => format!("{name}=***"),
        _ => pair.to_owned(),
    });
    let query = query.collect::<Vec<_>>().join("&");
    let colon = if url.contains("://") { "://" } else { "" };
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{scheme}{colon}{host}{path}{mark}{query}")
}

/// Resolves `%xx`.
fn decode(text: &str) -> Result<String, String> {
    let why = || "a `%` is not followed by two hexadecimal digits of UTF-8: write `%25` for the sign itself".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)).ok_or_else(why)?;
        let digits = std::str::from_utf8(digits).map_err(|_| why())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| why())?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| why())
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
