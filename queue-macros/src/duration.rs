//! Durations as they are written in attributes.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::ParseStream;
use syn::{Error, LitInt, LitStr};

/// The units, largest first, which is the order they are written in, with their milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const HELP: &str = "help: valid units are `d`, `h`, `m`, `s`, `ms`, largest first, as in \"90s\", \"1h30m\", \
                    \"250ms\"; a bare number is seconds";

/// Reads `"90s"`, `"1h30m"`, `"250ms"`, or a bare whole number of seconds.
pub(crate) fn parse(input: ParseStream<'_>) -> syn::Result<Duration> {
    if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        return from_text(&text.value()).map_err(|why| Error::new(text.span(), format!("{why}\n{HELP}")));
    }
    let span = input.span();
    let Ok(number) = input.parse::<LitInt>() else {
        let message = format!("this is not a duration\n{HELP}");
        return Err(Error::new(span, message));
    };
    if !number.suffix().is_empty() {
        let message = format!("a duration with a unit is a string: write \"{number}\"\n{HELP}");
        return Err(Error::new(span, message));
    }
    number
        .base10_parse()
        .ok()
        .and_then(|seconds| millis(seconds, 1_000))
        .map(Duration::from_millis)
        .ok_or_else(|| Error::new(span, format!("`{number}` seconds is too long")))
}

/// The duration as an expression.
pub(crate) fn tokens(duration: Duration) -> TokenStream {
    // Read from whole milliseconds, so nothing is lost.
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    quote!(::core::time::Duration::from_millis(#millis))
}

pub(crate) fn from_text(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err("an empty string is not a duration".into());
    }
    let (mut rest, mut units, mut total) = (text, UNITS.iter(), 0_u64);
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, |c| !c.is_ascii_digit());
        if number.is_empty() {
            return Err(format!("\"{text}\" is not a duration"));
        }
        if unit.is_empty() {
            return Err(format!("\"{text}\" lacks a unit after `{number}`"));
        }
        let Some((_, size)) = units.by_ref().find(|(name, _)| *name == unit) else {
            return Err(unknown_unit(text, unit));
        };
        let part = number.parse().ok().and_then(|number| millis(number, *size));
        let sum = part.and_then(|part| millis(total + part, 1));
        total = sum.ok_or_else(|| format!("\"{text}\" is too long"))?;
        rest = after;
    }
    Ok(Duration::from_millis(total))
}

/// A thousand years in milliseconds: what is longer is a slip, and may overflow a time that it is added to.
const LONGEST: u64 = 365_250 * 86_400_000;

fn millis(number: u64, size: u64) -> Option<u64> {
    number.checked_mul(size).filter(|&millis| millis <= LONGEST)
}

/// Why a unit was not found: there is none such, or it stands after a smaller one.
fn unknown_unit(text: &str, unit: &str) -> String {
    if UNITS.iter().any(|(name, _)| *name == unit) {
        format!("in \"{text}\" `{unit}` stands after a unit that is not larger")
    } else {
        format!("\"{text}\" has no valid unit: `{unit}`")
    }
}

fn split(text: &str, in_first: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !in_first(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use syn::parse::Parser;

    fn parse(text: &str) -> Result<Duration, String> {
        super::parse.parse_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_is_read() {
        let millis = |text| parse(text).map(|duration| duration.as_millis());
        assert_eq!(millis("90"), Ok(90_000));
        assert_eq!(millis("0"), Ok(0));
        assert_eq!(millis("1_000"), Ok(1_000_000));
        assert_eq!(millis("\"250ms\""), Ok(250));
        assert_eq!(millis("\"90s\""), Ok(90_000));
        assert_eq!(millis("\"2m\""), Ok(120_000));
        assert_eq!(millis("\"1h30m\""), Ok(5_400_000));
        assert_eq!(millis("\"1d2h3m4s5ms\""), Ok(93_784_005));
        assert_eq!(millis("\"1000d\""), Ok(86_400_000_000));
    }

    #[test]
    fn nothing_else_is() {
        let wrong = [
            "\"\"",
            "\"s\"",
            "\"90\"",
            "\"1x\"",
            "\"1S\"",
            "\"1min\"",
            "\"1m1h\"",
            "\"1s1s\"",
            "\"1ms1s\"",
            "\"-1s\"",
            "\"1.5s\"",
            "\"1 s\"",
            "\" 1s\"",
            "\"1s \"",
            "1.5",
            "-1",
            "5s",
            "x",
            "true",
            "",
            "\"999999999999d\"",
            "\"365250d1ms\"",
            "99999999999999999999",
            "18446744073709551615",
        ];
        for text in wrong {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
