//! Durations as people write them.

use std::time::Duration;

/// The units, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// `90s`, `2m`, `1h30m`, `500ms`; a number alone is of seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    const HELP: &str = "write `90s`, `2m`, `1h30m` or `500ms`; a number alone is of seconds";
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let (mut rest, mut millis, mut last) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let unit = unit.trim();
        let Some((_, worth)) = UNITS.iter().find(|(name, worth)| *name == unit && *worth < last) else {
            return Err(format!("`{text}` is no duration: {HELP}"));
        };
        let part = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(*worth));
        let sum = part.and_then(|part| millis.checked_add(part));
        millis = sum.ok_or_else(|| format!("`{text}` is no duration: {HELP}"))?;
        (rest, last) = (tail, *worth);
    }
    if last == u64::MAX { Err(format!("it is empty: {HELP}")) } else { Ok(Duration::from_millis(millis)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        let table = [
            ("25", 25_000),
            ("0", 0),
            ("90s", 90_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1d", 86_400_000),
            ("500ms", 500),
            ("1s500ms", 1_500),
        ];
        for (text, millis) in table {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in
            ["", "s", "5x", "-5s", "1.5s", "30m1h", "1s1s", "5 5", "99999999999999999999", "999999999999999999d"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("5x").unwrap_err().starts_with("`5x` is no duration: write `90s`, `2m`, `1h30m`"));
    }
}
