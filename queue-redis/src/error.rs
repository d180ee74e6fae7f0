//! What can go wrong between us and Redis, and what a caller is told of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use queue_storage::storage::StorageError;

/// What most often helps when nothing answers.
const CHECK: &str = "check that Redis runs and can be reached from here";

/// What the first word of an error reply of the server asks an operator to do. Each of them may pass, so that trying
/// again can help.
const ADVICE: [(&str, &str); 17] = [
    ("OOM", "Redis has reached its `maxmemory` and takes nothing more in: free memory or raise `maxmemory`"),
    ("NOAUTH", "Redis wants a password: give it in the URL, `redis://user:password@host`"),
    (
        "WRONGPASS",
        "Redis refuses the user name or the password: check them (and that the URL encodes `@`, `:` and `/`)",
    ),
    ("NOPERM", "the Redis user lacks a permission: grant it by `ACL SETUSER` (commands, keys `~*`, channels `&*`)"),
    ("READONLY", "this server is a replica: name its primary, or use the `redis-sentinel://` scheme"),
    ("LOADING", "Redis is reading its data from disk: wait until it has"),
    ("MASTERDOWN", "this server is a replica without its primary: bring the primary up, or promote a replica"),
    ("CLUSTERDOWN", "the cluster does not serve: bring up the failed nodes (`redis-cli --cluster check`)"),
    ("MOVED", "the cluster has moved this slot: name it by the `redis-cluster://` scheme"),
    ("ASK", "the cluster is moving this slot: wait until it has"),
    ("TRYAGAIN", "the cluster is moving this slot: wait until it has"),
    ("BUSY", "another script keeps Redis busy: wait, or stop it by `SCRIPT KILL`"),
    ("MISCONF", "Redis can't save to its disk and takes no writes: see its log, and make room or repair the disk"),
    ("NOREPLICAS", "fewer replicas than `min-replicas-to-write` follow: bring them up"),
    ("NOSCRIPT", "Redis lost a script twice: look for a program that runs `SCRIPT FLUSH`"),
    ("FAILOVER", "the primary is being replaced: wait until it has been"),
    ("UNBLOCKED", "the primary is being replaced: wait until it has been"),
];

/// What other errors ask to do, by a part of their text.
const ERR_ADVICE: [(&str, &str); 9] = [
    ("Decode Error", "what answers there does not speak as Redis does: check host, port, and whether it wants TLS"),
    ("max number of clients", "Redis has all the clients it takes: close some, or raise `maxclients`"),
    ("can't run this command", "the Redis user may not run a command: grant it by `ACL SETUSER`"),
    ("permissions to access a channel", "the Redis user may not publish: grant `&*` by `ACL SETUSER`"),
    ("ACL failure in script", "the Redis user may not do what a script does: grant it by `ACL SETUSER`"),
    ("can't access at least one of the keys", "the Redis user may not use our keys: grant `~*` by `ACL SETUSER`"),
    ("can't publish to the channel", "the Redis user may not publish: grant `&*` by `ACL SETUSER`"),
    ("unknown command", "this Redis lacks a command or an administrator has renamed it: allow it"),
    ("cluster support disabled", "this server is no cluster: use `redis://` instead of `redis-cluster://`"),
];

/// Advice on an error reply of the server, unless it is none that may pass.
fn advice(text: &str) -> Option<&'static str> {
    let word = text.split_whitespace().next().unwrap_or_default();
    let by_word = ADVICE.iter().find(|(first, _)| *first == word);
    let by_part = || ERR_ADVICE.iter().find(|(part, _)| text.contains(part));
    by_word.or_else(by_part).map(|(_, advice)| *advice)
}

/// What was asked of the server, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    Script(&'a str),
    Command(&'a str),
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script(name) => write!(f, "script `{name}`"),
            Self::Command(name) => write!(f, "`{name}`"),
        }
    }
}

/// The server, for messages: its URL with secrets masked.
#[derive(Clone, Debug)]
pub(crate) struct Place(Arc<str>);

impl Place {
    pub(crate) fn new(location: &str) -> Self {
        Self(Arc::from(location))
    }

    pub(crate) fn location(&self) -> &str {
        &self.0
    }

    /// The storage was closed, or its thread is gone.
    pub(crate) fn closed(&self) -> StorageError {
        StorageError::unavailable(format!("{self} is closed"))
    }

    /// There is no connection at the moment; nothing was sent.
    pub(crate) fn down(&self, why: &str) -> StorageError {
        let (what, advice) = advice(why).map_or(("reached", CHECK), |advice| ("used", advice));
        StorageError::unavailable(format!("{self} can't be {what}: {why}; {advice}")).because(why.to_owned())
    }

    /// The connection went away while a call waited for its answer.
    pub(crate) fn lost(&self, why: &str) -> StorageError {
        let told = format!("{self}: the connection was lost before the answer came: {why}; {CHECK}");
        StorageError::unavailable(told).because(why.to_owned())
    }

    /// No answer came in time.
    pub(crate) fn slow(&self, waited: Duration) -> StorageError {
        let told = "the connection is replaced; see what keeps Redis busy (`SLOWLOG GET`) or the network down";
        StorageError::unavailable(format!("{self} did not answer within {waited:?}: {told}"))
    }

    /// The cluster sent a call elsewhere and did so again; nothing was done.
    pub(crate) fn moving(&self) -> StorageError {
        let told = "the cluster is moving the slot of this queue: wait until it has";
        StorageError::unavailable(format!("{self}: {told}"))
    }

    /// Too many calls wait for the connection; nothing was sent.
    pub(crate) fn crowded(&self, waiting: usize) -> StorageError {
        let told =
            format!("{waiting} calls wait for the connection: raise `connections`, or see what keeps Redis busy");
        StorageError::unavailable(format!("{self}: {told}"))
    }

    /// The server answered with an error.
    pub(crate) fn refused(&self, asked: Asked<'_>, text: &str) -> StorageError {
        let error = match advice(text) {
            Some(advice) => StorageError::unavailable(format!("{self}: {asked} was refused: {advice} ({text})")),
            None => StorageError::corrupt(format!(
                "{self}: {asked} failed ({text}): a key holds what this library did not write, or the library has a defect"
            )),
        };
        error.because(text.to_owned())
    }

    /// The server answered with something else than an answer to what was asked.
    pub(crate) fn unexpected(&self, asked: Asked<'_>, answer: impl fmt::Debug) -> StorageError {
        StorageError::corrupt(format!("{self}: {asked} answered {answer:?}, which is not what it answers"))
    }

    /// Connecting failed.
    pub(crate) fn unopened(&self, error: &fred::error::Error) -> StorageError {
        let why = reason(error);
        if why.contains("DB index is out of range") {
            let told = "this server has no such database: name another behind the `/`, or raise `databases`";
            return StorageError::invalid(format!("{self} can't be used: {told} ({why})")).because(why);
        }
        if let Some((_, what)) = why.split_once("InvalidCertificate(") {
            let told = "the server's certificate is not accepted: use the host name it was issued for, and add its issuer to \
                        the system's certificates or to the file that `SSL_CERT_FILE` names";
            let what = what.trim_end_matches([')', '}', ' ']);
            return StorageError::unavailable(format!("{self} can't be reached: {told} ({what})")).because(why);
        }
        self.down(&why)
    }

    /// The server is none that this library works with.
    pub(crate) fn unfit(&self, why: &str) -> StorageError {
        StorageError::incompatible(format!("{self} can't be used: {why}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the client failed, without its Rust clothing: of `Os { code: 111, … message: "Connection refused" }` the message.
pub(crate) fn reason(error: &fred::error::Error) -> String {
    let details = error.details();
    let quoted = |mark| details.split_once(mark).and_then(|(_, rest)| rest.split_once('"'));
    match quoted("message: \"").or_else(|| quoted("error: \"")) {
        Some((message, _)) => message.to_owned(),
        None => details.trim_end_matches('.').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use fred::error::{Error, ErrorKind};

    use super::*;

    fn place() -> Place {
        Place::new("redis://bob:***@db:6379/0")
    }

    #[test]
    fn refusals_that_may_pass_are_unavailable_and_say_what_to_do() {
        let cases = [
            ("OOM command not allowed when used memory > 'maxmemory'.", "raise `maxmemory`"),
            ("NOAUTH Authentication required.", "give it in the URL"),
            ("WRONGPASS invalid username-password pair or user is disabled.", "check them"),
            ("NOPERM User bob has no permissions to run the 'evalsha' command", "ACL SETUSER"),
            ("READONLY You can't write against a read only replica.", "name its primary"),
            ("LOADING Redis is loading the dataset in memory", "wait until it has"),
            ("MASTERDOWN Link with MASTER is down", "promote a replica"),
            ("CLUSTERDOWN The cluster is down", "bring up the failed nodes"),
            ("MOVED 3999 127.0.0.1:6381", "`redis-cluster://`"),
            ("TRYAGAIN Multiple keys request during rehashing of slot", "wait until it has"),
            ("BUSY Redis is busy running a script.", "SCRIPT KILL"),
            ("MISCONF Redis is configured to save RDB snapshots", "make room"),
            ("ERR max number of clients reached", "`maxclients`"),
            ("ERR The user executing the script can't run this command or subcommand script: abc", "ACL SETUSER"),
            ("ERR ACL failure in script: User bob has no permissions to run the 'sadd' command", "ACL SETUSER"),
        ];
        for (text, advice) in cases {
            let error = place().refused(Asked::Script("claim"), text);
            let told = error.to_string();
            assert!(error.is_unavailable(), "{told}");
            assert!(told.starts_with("redis://bob:***@db:6379/0: script `claim` was refused: "), "{told}");
            assert!(told.contains(advice) && told.contains(text), "{told}");
        }
    }

    #[test]
    fn a_certificate_that_is_not_trusted_says_where_to_put_it() {
        let told = "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }";
        let error = place().unopened(&Error::new(ErrorKind::IO, told));
        let text = error.to_string();
        assert!(
            error.is_unavailable() && text.contains("`SSL_CERT_FILE`") && text.ends_with("(UnknownIssuer)"),
            "{text}"
        );
    }

    #[test]
    fn other_refusals_are_defects_and_name_the_script() {
        for text in ["ERR Error running script (call to f_1)", "WRONGTYPE Operation against a key", "CROSSSLOT Keys"] {
            let error = place().refused(Asked::Script("settle"), text);
            assert!(error.is_corrupt() && error.to_string().contains("script `settle` failed"), "{error}");
        }
        let error = place().refused(Asked::Command("HGETALL"), "WRONGTYPE Operation against a key");
        assert!(error.is_corrupt() && error.to_string().contains("`HGETALL` failed"), "{error}");
    }

    #[test]
    fn a_server_that_is_not_there_is_told_plainly() {
        let os = r#"Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }"#;
        let cases = [
            (ErrorKind::IO, os, "can't be reached: Connection refused; check that Redis runs"),
            (ErrorKind::Timeout, "Request timed out.", "can't be reached: Request timed out; check that Redis runs"),
            (
                ErrorKind::Auth,
                "NOAUTH Authentication required.",
                "required; Redis wants a password: give it in the URL",
            ),
        ];
        for (kind, details, told) in cases {
            let error = place().unopened(&Error::new(kind, details));
            assert!(error.is_unavailable() && error.to_string().contains(told), "{error}");
        }
        let error = place().unopened(&Error::new(ErrorKind::Unknown, "ERR DB index is out of range"));
        assert!(error.is_invalid(), "{error}");
    }

    #[test]
    fn the_rest_is_unavailable_and_begins_with_the_place() {
        let place = place();
        let waited = Duration::from_secs(5);
        let all = [place.closed(), place.lost("reset"), place.slow(waited), place.moving(), place.crowded(9)];
        for error in all {
            assert!(error.is_unavailable() && error.to_string().starts_with(place.location()), "{error}");
        }
        assert!(place.unfit("it is Redis 6").is_incompatible());
    }
}
