//! Names of tasks and queues, refused at compile time by the rule that the engine applies at run time.

use syn::{Error, LitStr};

/// Why a text can't name a `what`; `None` when it can. The rule is that of `queue_storage::model::TaskName`.
pub(crate) fn fault(what: &str, name: &str) -> Option<String> {
    let odd = name.chars().find(|c| !(c.is_alphanumeric() || "_-.:/".contains(*c)));
    let why = match odd {
        _ if name.is_empty() => "it is empty".to_owned(),
        _ if name.len() > 128 => format!("it has {} bytes", name.len()),
        Some(c) => format!("it holds {c:?}"),
        None => return None,
    };
    Some(format!(
        "`{name}` can't name a {what}: {why}\n\
         help: use 1 to 128 bytes of letters, digits and `_` `-` `.` `:` `/`"
    ))
}

/// The literal, checked.
pub(crate) fn checked(what: &str, name: LitStr) -> syn::Result<LitStr> {
    match fault(what, &name.value()) {
        Some(why) => Err(Error::new(name.span(), why)),
        None => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn the_rule_is_the_engines() {
        let long = ["a".repeat(128), "a".repeat(129), "é".repeat(64), "é".repeat(65)];
        let texts = ["", "mail", "a.b-c_d:e/f", "größe", "a b", "a#1", "tab\t", "x\u{301}"];
        for text in texts.into_iter().chain(long.iter().map(String::as_str)) {
            let engine = queue_storage::model::TaskName::new(text).is_ok();
            assert_eq!(fault("task", text).is_none(), engine, "{text:?}");
        }
    }
}
