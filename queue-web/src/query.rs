//! What stands behind the `?`.

use std::fmt::Display;
use std::str::FromStr;

use queue_core::QueueName;

use crate::problem::Problem;

/// The most entries on one page.
const MAX_LIMIT: u32 = 1_000;
/// Entries on a page where nobody says how many.
const LIMIT: u32 = 100;

/// The parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// Refuses what is none of these parameters of a route.
    pub(crate) fn check(&self, route: &str, known: &[&str]) -> Result<(), Problem> {
        let Some((unknown, _)) = self.0.iter().find(|(name, _)| !known.contains(&&**name)) else { return Ok(()) };
        let help = match known {
            [] => "it takes none: leave out what is behind the `?`".to_owned(),
            [only] => format!("it takes `{only}` only"),
            [first @ .., last] => format!("it takes `{}` and `{last}`", first.join("`, `")),
        };
        Err(Problem::bad(format!("`{unknown}` is no parameter of `{route}`"), help))
    }

    /// The first of this name that holds anything.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().filter(|(key, value)| key == name && !value.is_empty());
        named.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let parsed = self.text(name).map(|text| {
            let bad =
                |error| Problem::bad(format!("`{name}`: {error}"), format!("correct `?{name}=`, or leave it out"));
            text.parse().map_err(bad)
        });
        parsed.transpose()
    }

    /// Whether something is asked for: named, and not said to be false.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        let named = self.0.iter().find(|(key, _)| key == name);
        named.is_some_and(|(_, value)| !matches!(value.as_str(), "0" | "false" | "no"))
    }

    pub(crate) fn queue(&self) -> Result<Option<QueueName>, Problem> {
        self.parsed("queue")
    }

    /// How many entries are to be on the page.
    pub(crate) fn limit(&self) -> Result<u32, Problem> {
        let Some(text) = self.text("limit") else { return Ok(LIMIT) };
        match text.parse() {
            Ok(limit @ 1..=MAX_LIMIT) => Ok(limit),
            _ => Err(Problem::bad(
                format!("`limit` is `{text}`: it is a whole number from 1 to {MAX_LIMIT}, the most entries on a page"),
                format!("ask for at most {MAX_LIMIT}, and go on with `?after=` and what `next` says"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read() {
        let query = Query::parse("queue=a%2Fb&limit=7&explain&show=false&tag=&tag=x+y");
        assert_eq!(query.queue().unwrap().unwrap().as_str(), "a/b");
        assert_eq!((query.limit().unwrap(), query.text("tag"), query.text("none")), (7, Some("x y"), None));
        assert!(query.is_set("explain") && !query.is_set("show") && !query.is_set("none"));
    }

    #[test]
    fn limits_are_kept() {
        assert_eq!(Query::default().limit().unwrap(), LIMIT);
        for text in ["limit=0", "limit=1001", "limit=-1", "limit=many", "limit=99999999999"] {
            let refused = Query::parse(text).limit().unwrap_err();
            let (_, value) = text.split_once('=').unwrap();
            let message =
                format!("`limit` is `{value}`: it is a whole number from 1 to 1000, the most entries on a page");
            assert_eq!((refused.code, refused.message), ("bad_request", message));
        }
    }

    #[test]
    fn what_a_route_does_not_take_is_refused_by_name() {
        let query = Query::parse("state=dead&sate=dead");
        assert!(query.check("GET /jobs", &["sate", "state"]).is_ok());
        for (known, help) in [
            (&["queue", "state", "after"][..], "it takes `queue`, `state` and `after`"),
            (&["state"], "it takes `state` only"),
        ] {
            let refused = query.check("GET /jobs", known).unwrap_err();
            assert_eq!((&*refused.message, &*refused.help), ("`sate` is no parameter of `GET /jobs`", help));
        }
        assert!(query.check("GET /stats", &[]).unwrap_err().help.starts_with("it takes none"));
        assert!(Query::parse("").check("GET /stats", &[]).is_ok());
    }
}
