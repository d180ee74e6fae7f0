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
        match self.parsed::<u32>("limit")?.unwrap_or(LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(limit),
            limit => Err(Problem::bad(
                format!("`limit`: a page has 1 to {MAX_LIMIT} entries, and {limit} were asked for"),
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
            assert_eq!(Query::parse(text).limit().unwrap_err().code, "bad_request", "{text}");
        }
    }
}
