//! From environment variables to the URL of a storage.

use std::ffi::OsString;
use std::fmt::Write as _;

use queue_storage::model::Namespace;

use super::masked;

/// The file of development, in the working directory.
const DEFAULT_FILE: &str = "queue.db";

/// What the variables say, and what is wrong with them.
struct Variables<F> {
    lookup: F,
    problems: Vec<String>,
}

/// The URL that the variables mean.
///
/// # Errors
/// Everything that is wrong with them, each a sentence.
pub(super) fn url(lookup: impl Fn(&str) -> Option<OsString>) -> Result<String, Vec<String>> {
    let mut variables = Variables { lookup, problems: Vec::new() };
    let url = variables.url();
    if variables.problems.is_empty() { Ok(url) } else { Err(variables.problems) }
}

impl<F: Fn(&str) -> Option<OsString>> Variables<F> {
    fn url(&mut self) -> String {
        let namespace = self.namespace();
        if let Some(url) = self.text("QUEUE_URL") {
            return with_namespace(url, namespace.as_ref());
        }
        let environment = self.text("ENVIRONMENT");
        let url = match environment.as_deref().unwrap_or("development") {
            "development" => self.file(),
            "production" => self.server(),
            other => {
                self.problems.push(format!(
                    "ENVIRONMENT is `{}`: it is `development` (a SQLite file) or `production` (Redis); for another \
                     environment say where the jobs are with QUEUE_URL",
                    masked(other)
                ));
                return String::new();
            }
        };
        with_namespace(url, namespace.as_ref())
    }

    fn file(&mut self) -> String {
        let path = self.text("QUEUE_DB").unwrap_or_else(|| DEFAULT_FILE.to_owned());
        if path.contains("://") {
            let shown = masked(&path);
            self.problems.push(format!("QUEUE_DB is `{shown}`: it is the path of a file; put a URL into QUEUE_URL"));
        }
        format!("sqlite://{}", encoded(&path, b"/"))
    }

    fn server(&mut self) -> String {
        let port = self.number("REDIS_PORT", 6_379, 1..=u16::MAX);
        let database = self.number("REDIS_DB", 0, 0..=u16::from(u8::MAX));
        let scheme = if self.truth("REDIS_TLS") { "rediss" } else { "redis" };
        let (user, password) = (self.text("REDIS_USERNAME"), self.text("REDIS_PASSWORD"));
        let Some(host) = self.text("REDIS_HOST") else {
            self.problems.push(
                "ENVIRONMENT is `production`, and nothing says where Redis is: set REDIS_HOST (and REDIS_PORT, REDIS_DB, \
                 REDIS_USERNAME, REDIS_PASSWORD, REDIS_TLS), or QUEUE_URL to a URL like `redis://host:6379`"
                    .to_owned(),
            );
            return String::new();
        };
        if host.contains("://") {
            self.problems.push("REDIS_HOST is a URL: it is the name of a host; put a URL into QUEUE_URL".to_owned());
        }
        let user = match (user, password) {
            (None, None) => String::new(),
            (user, None) => format!("{}@", encoded(&user.unwrap_or_default(), b"")),
            (user, Some(password)) => {
                format!("{}:{}@", encoded(&user.unwrap_or_default(), b""), encoded(&password, b""))
            }
        };
        format!("{scheme}://{user}{}:{port}/{database}", bracketed(&host))
    }

    fn namespace(&mut self) -> Option<Namespace> {
        let name = self.text("QUEUE_NAMESPACE")?;
        match name.parse() {
            Ok(namespace) => Some(namespace),
            Err(error) => {
                self.problems.push(format!("QUEUE_NAMESPACE is `{name}`: {error}"));
                None
            }
        }
    }

    /// The variable, unless it is empty.
    fn text(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name).filter(|value| !value.is_empty())?;
        match value.into_string() {
            Ok(text) => Some(text),
            Err(_) => {
                self.problems.push(format!("{name} is not text in UTF-8"));
                None
            }
        }
    }

    fn number(&mut self, name: &str, default: u16, allowed: std::ops::RangeInclusive<u16>) -> u16 {
        let Some(text) = self.text(name) else { return default };
        match text.trim().parse() {
            Ok(number) if allowed.contains(&number) => number,
            _ => {
                let (shown, least, most) = (masked(&text), allowed.start(), allowed.end());
                self.problems.push(format!("{name} is `{shown}`: it is a number from {least} to {most}"));
                default
            }
        }
    }

    fn truth(&mut self, name: &str) -> bool {
        let Some(text) = self.text(name) else { return false };
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => true,
            "0" | "false" | "no" | "off" => false,
            _ => {
                self.problems.push(format!("{name} is `{}`: it is `true` or `false`", masked(&text)));
                false
            }
        }
    }
}

/// An IPv6 address needs brackets before its port.
fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

/// The URL in this namespace, unless it names one itself or is of a storage that nobody shares.
fn with_namespace(mut url: String, namespace: Option<&Namespace>) -> String {
    let names_one =
        url.split_once('?').is_some_and(|(_, query)| query.split('&').any(|pair| pair.starts_with("namespace=")));
    let is_own = ["memory:", "immediate:"].iter().any(|own| url.starts_with(own));
    let Some(namespace) = namespace.filter(|_| !names_one && !is_own && url.contains("://")) else { return url };
    let mark = if url.contains('?') { '&' } else { '?' };
    // Writing to a string can't fail.
    let _ = write!(url, "{mark}namespace={namespace}");
    url
}

/// Percent-encodes what is not certain to stand for itself.
fn encoded(text: &str, keep: &[u8]) -> String {
    let mut url = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<String, Vec<String>> {
        url(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn what_the_variables_mean() {
        const PRODUCTION: (&str, &str) = ("ENVIRONMENT", "production");
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[], "sqlite://queue.db"),
            (&[("ENVIRONMENT", "")], "sqlite://queue.db"),
            (&[("ENVIRONMENT", "development"), ("QUEUE_DB", "")], "sqlite://queue.db"),
            (&[("QUEUE_DB", "/var/lib/my app/50%?.db")], "sqlite:///var/lib/my%20app/50%25%3F.db"),
            (&[("QUEUE_NAMESPACE", "shop")], "sqlite://queue.db?namespace=shop"),
            // The URL wins over everything.
            (&[("QUEUE_URL", "redis://db"), ("ENVIRONMENT", "staging"), ("REDIS_HOST", "other")], "redis://db"),
            (&[("QUEUE_URL", "memory:"), ("QUEUE_NAMESPACE", "shop")], "memory:"),
            (
                &[("QUEUE_URL", "sqlite://a.db?synchronous=full"), ("QUEUE_NAMESPACE", "shop")],
                "sqlite://a.db?synchronous=full&namespace=shop",
            ),
            (&[("QUEUE_URL", "redis://db?namespace=mine"), ("QUEUE_NAMESPACE", "shop")], "redis://db?namespace=mine"),
            (&[PRODUCTION, ("REDIS_HOST", "db")], "redis://db:6379/0"),
            (&[PRODUCTION, ("REDIS_HOST", "db"), ("REDIS_PORT", ""), ("REDIS_PASSWORD", "")], "redis://db:6379/0"),
            (&[PRODUCTION, ("REDIS_HOST", "::1"), ("REDIS_PORT", "1"), ("REDIS_DB", "255")], "redis://[::1]:1/255"),
            (
                &[PRODUCTION, ("REDIS_HOST", "db"), ("REDIS_PASSWORD", "p@s:s/%ü#?")],
                "redis://:p%40s%3As%2F%25%C3%BC%23%3F@db:6379/0",
            ),
            (
                &[
                    PRODUCTION,
                    ("REDIS_HOST", "db"),
                    ("REDIS_USERNAME", "bob"),
                    ("REDIS_PASSWORD", "x"),
                    ("REDIS_TLS", "yes"),
                ],
                "rediss://bob:x@db:6379/0",
            ),
            (
                &[PRODUCTION, ("REDIS_HOST", "db"), ("REDIS_USERNAME", "bob"), ("REDIS_TLS", "0")],
                "redis://bob@db:6379/0",
            ),
        ];
        for (variables, expected) in table {
            assert_eq!(of(variables).as_deref(), Ok(*expected), "{variables:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_all_of_it() {
        let wrong = of(&[
            ("ENVIRONMENT", "production"),
            ("REDIS_PORT", "70000"),
            ("REDIS_DB", "-1"),
            ("REDIS_TLS", "maybe"),
            ("QUEUE_NAMESPACE", "no spaces"),
            ("REDIS_PASSWORD", "hush"),
        ])
        .unwrap_err();
        assert_eq!(wrong.len(), 5, "{wrong:#?}");
        assert!(wrong[0].starts_with("QUEUE_NAMESPACE is `no spaces`: "), "{wrong:#?}");
        assert_eq!(wrong[1], "REDIS_PORT is `70000`: it is a number from 1 to 65535");
        assert_eq!(wrong[2], "REDIS_DB is `-1`: it is a number from 0 to 255");
        assert_eq!(wrong[3], "REDIS_TLS is `maybe`: it is `true` or `false`");
        assert!(wrong[4].contains("set REDIS_HOST") && wrong[4].contains("or QUEUE_URL"), "{wrong:#?}");
        assert!(!format!("{wrong:?}").contains("hush"));
    }

    #[test]
    fn an_unknown_environment_is_no_development() {
        let [wrong] = &of(&[("ENVIRONMENT", "prod")]).unwrap_err()[..] else { panic!("one problem") };
        assert!(
            wrong.starts_with("ENVIRONMENT is `prod`: it is `development` (a SQLite file) or `production`"),
            "{wrong}"
        );
    }

    #[test]
    fn urls_in_the_place_of_names_are_told() {
        let [wrong] = &of(&[("QUEUE_DB", "sqlite://a.db")]).unwrap_err()[..] else { panic!("one problem") };
        assert!(wrong.ends_with("put a URL into QUEUE_URL"), "{wrong}");
        let url = [("ENVIRONMENT", "production"), ("REDIS_HOST", "redis://:hush@db")];
        let [wrong] = &of(&url).unwrap_err()[..] else { panic!("one problem") };
        assert!(wrong.ends_with("put a URL into QUEUE_URL") && !wrong.contains("hush"), "{wrong}");
        // Nor is one shown that stands in the place of anything else.
        let host = ("REDIS_HOST", "db");
        for name in ["QUEUE_DB", "ENVIRONMENT", "REDIS_PORT", "REDIS_DB", "REDIS_TLS"] {
            let production = if name.starts_with("REDIS") { "production" } else { "" };
            let wrong = of(&[(name, "redis://:hush@db"), host, ("ENVIRONMENT", production)]).unwrap_err();
            assert!(wrong.len() == 1 && wrong[0].contains("`redis://:***@db`"), "{name}: {wrong:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStringExt as _;
        let odd = |name: &str| (name == "QUEUE_URL").then(|| OsString::from_vec(vec![0xFF]));
        assert_eq!(url(odd).unwrap_err(), ["QUEUE_URL is not text in UTF-8"]);
    }

    /// Whatever is in a password, the storage reads the same out of the URL.
    #[cfg(feature = "redis")]
    #[test]
    fn passwords_stay_what_they_are_and_are_masked() {
        let all: String = (' '..='~').collect();
        let url = of(&[("ENVIRONMENT", "production"), ("REDIS_HOST", "db"), ("REDIS_PASSWORD", &all)]).unwrap();
        let options = queue_redis::RedisOptions::from_url(&url).unwrap();
        assert_eq!(options.location(), "redis://:***@db:6379/0");
    }
}
