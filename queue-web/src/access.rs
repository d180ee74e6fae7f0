//! Who may do what.

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use crate::problem::Problem;

/// What a request may do: what [`Web::access`](crate::Web::access) decides.
///
/// ```
/// use queue_web::Access;
///
/// let decide = |parts: &http::request::Parts| match parts.headers.get("x-role").map(|role| role.as_bytes()) {
///     Some(b"operator") => Access::All,
///     Some(_) => Access::Read,
///     None => Access::None,
/// };
/// let (parts, ()) = http::Request::new(()).into_parts();
/// assert_eq!(decide(&parts), Access::None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Access {
    /// Nothing but `/livez`, `/readyz` and `/healthz`; all else is refused with 403 and the code `forbidden`.
    None,
    /// Looking at everything; what changes anything is refused with 403 and the code `read_only`. Default.
    #[default]
    Read,
    /// Everything.
    All,
}

/// Lets a request through that may do this, and no other.
pub(crate) fn admit(access: Access, parts: &Parts, is_write: bool) -> Result<(), Problem> {
    let refused = |code, message: &str, help: &str| Err(Problem::new(StatusCode::FORBIDDEN, code, message, help));
    let method = &parts.method;
    match access {
        Access::None => refused(
            "forbidden",
            "this request may see nothing here but `/livez` and `/readyz`",
            "sign in, or let `Web::access` answer `Access::Read` for it",
        ),
        Access::Read if is_write => refused(
            "read_only",
            &format!("this request may look and change nothing, and {method} is a change"),
            "let `Web::access` answer `Access::All` for those who may change jobs, queues and schedules",
        ),
        _ if is_write && is_cross_site(parts) => refused(
            "cross_site",
            "a page of another site made the browser send this request",
            "send it from a page of this site, or from a program that is no browser",
        ),
        _ => Ok(()),
    }
}

/// Whether a browser says that another site is behind the request. Programs that are no browsers say nothing of it, nor
/// do browsers of a site without TLS, which at least tell the origin.
fn is_cross_site(parts: &Parts) -> bool {
    let mut sites = parts.headers.get_all("sec-fetch-site").iter().peekable();
    if sites.peek().is_some() {
        return sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    }
    parts.headers.get_all(ORIGIN).iter().any(|origin| host_of(origin).is_none_or(|host| !is_host(parts, host)))
}

/// The host, and the port where there is one, of an origin: `example.org:8080` of `http://example.org:8080`.
fn host_of(origin: &HeaderValue) -> Option<&str> {
    origin.to_str().ok()?.split_once("://").map(|(_, host)| host)
}

/// Whether the request went to this host.
fn is_host(parts: &Parts, host: &str) -> bool {
    let header = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let asked = header.or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
    asked.is_some_and(|asked| asked.eq_ignore_ascii_case(host))
}

/// Whether a method changes something: all that are not known to be safe.
pub(crate) fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}
