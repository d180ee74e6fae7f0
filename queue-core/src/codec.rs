//! How arguments and results become bytes: MessagePack, maps by field name, human-readable forms (a UUID is a string),
//! nothing after the value.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The encoded value.
pub(crate) fn encode(value: &impl Serialize) -> Result<Bytes, String> {
    let mut bytes = Vec::with_capacity(64);
    let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_human_readable();
    value.serialize(&mut serializer).map_err(|error| error.to_string())?;
    Ok(bytes.into())
}

/// The value, whole.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut rest = bytes;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest).with_human_readable();
    let value = T::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes follow the value", rest.len())) }
}

/// MessagePack's nil: what a task that returns nothing gives to the next step.
pub(crate) const NIL: &[u8] = &[0xc0];

/// A MessagePack map without entries.
pub(crate) const NO_ENTRIES: &[u8] = &[0x80];

/// Puts one more entry, `key: value`, in front of an encoded map; `value` is encoded already, `None` is nil.
pub(crate) fn with_first(key: &str, value: Option<&[u8]>, map: &[u8]) -> Result<Bytes, String> {
    let (entries, body) = split_map(map)?;
    let value = value.unwrap_or(NIL);
    let mut bytes = Vec::with_capacity(map.len() + key.len() + value.len() + 10);
    match u16::try_from(entries + 1) {
        Ok(n @ 0..16) => bytes.push(0x80 | n as u8),
        Ok(n) => {
            bytes.push(0xde);
            bytes.extend(n.to_be_bytes());
        }
        Err(_) => return Err(format!("{entries} arguments are too many")),
    }
    bytes.extend(encode(&key)?);
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(body);
    Ok(bytes.into())
}

/// What stands before an encoded value that completed, where ends are told: the start of a `Result::Ok`.
pub(crate) const OK: &[u8] = b"\x81\xa2Ok";

/// The same of one that did not: the start of a `Result::Err`.
pub(crate) const ERR: &[u8] = b"\x81\xa3Err";

/// The head of an array of so many values, which follow it.
pub(crate) fn array_head(len: usize) -> Result<Vec<u8>, String> {
    Ok(match (u16::try_from(len), u32::try_from(len)) {
        (Ok(n @ 0..16), _) => vec![0x90 | n as u8],
        (Ok(n), _) => [&[0xdc][..], &n.to_be_bytes()].concat(),
        (_, Ok(n)) => [&[0xdd][..], &n.to_be_bytes()].concat(),
        _ => return Err(format!("{len} values are too many")),
    })
}

/// The number of values of an encoded array, and what follows its head. Formats of the MessagePack specification:
/// fixarray `1001xxxx`, array 16 `0xdc`, array 32 `0xdd`.
pub(crate) fn split_array(array: &[u8]) -> Option<(usize, &[u8])> {
    let (len, body) = match array {
        [head @ 0x90..=0x9f, body @ ..] => (u32::from(head & 0x0f), body),
        [0xdc, a, b, body @ ..] => (u32::from(u16::from_be_bytes([*a, *b])), body),
        [0xdd, a, b, c, d, body @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]), body),
        _ => return None,
    };
    Some((usize::try_from(len).ok()?, body))
}

/// Whether an encoded map has an entry of this name.
pub(crate) fn has_entry(map: &[u8], name: &str) -> bool {
    let entries = decode::<std::collections::BTreeMap<String, serde::de::IgnoredAny>>(map);
    entries.is_ok_and(|entries| entries.contains_key(name))
}

/// The number of entries of an encoded map, and what follows its header. Formats of the MessagePack specification:
/// fixmap `1000xxxx`, map 16 `0xde`.
fn split_map(map: &[u8]) -> Result<(u32, &[u8]), String> {
    match map {
        [head @ 0x80..=0x8f, body @ ..] => Ok((u32::from(head & 0x0f), body)),
        [0xde, a, b, body @ ..] => Ok((u32::from(u16::from_be_bytes([*a, *b])), body)),
        _ => Err("the stored arguments of the step are not a map".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Args {
        first: Option<String>,
        second: u32,
    }

    #[derive(Serialize)]
    struct Rest {
        second: u32,
    }

    #[test]
    fn a_first_argument_is_put_in_front() {
        let rest = encode(&Rest { second: 2 }).unwrap();
        let first = encode(&"x").unwrap();
        let whole = with_first("first", Some(&first), &rest).unwrap();
        assert_eq!(decode::<Args>(&whole).unwrap(), Args { first: Some("x".into()), second: 2 });
        let none = with_first("first", None, &rest).unwrap();
        assert_eq!(decode::<Args>(&none).unwrap(), Args { first: None, second: 2 });
    }

    #[test]
    fn maps_grow_past_fifteen_entries() {
        let many: std::collections::BTreeMap<String, u8> = (0..15).map(|n| (n.to_string(), n)).collect();
        let whole = with_first("k", Some(&[7]), &encode(&many).unwrap()).unwrap();
        let back: std::collections::BTreeMap<String, u8> = decode(&whole).unwrap();
        assert_eq!((back.len(), back["k"], back["14"]), (16, 7, 14));
    }

    #[test]
    fn arrays_of_every_size_have_their_head() {
        for len in [0, 1, 15, 16, 65_535, 65_536] {
            let array = encode(&vec![7u8; len]).unwrap();
            let (count, body) = split_array(&array).unwrap();
            assert_eq!((count, body.len()), (len, len));
            assert_eq!(array_head(len).unwrap(), array[..array.len() - len], "{len}");
        }
        assert_eq!(split_array(NIL), None);
        assert_eq!(split_array(&encode(&"text").unwrap()), None);
    }

    #[test]
    fn ends_are_told_as_serde_tells_them() {
        let (ok, err) = (Ok::<u8, u8>(7), Err::<u8, u8>(7));
        assert_eq!(encode(&ok).unwrap(), [OK, &[7]].concat());
        assert_eq!(encode(&err).unwrap(), [ERR, &[7]].concat());
        assert_eq!(decode::<Result<u8, u8>>(&[OK, &[7]].concat()).unwrap(), ok);
        assert_eq!(decode::<Result<u8, u8>>(&[ERR, &[7]].concat()).unwrap(), err);
        assert_eq!(decode::<Result<(), u8>>(&[OK, NIL].concat()).unwrap(), Ok(()));
    }

    #[test]
    fn nothing_may_follow() {
        let mut bytes = encode(&1u8).unwrap().to_vec();
        bytes.push(0);
        assert_eq!(decode::<u8>(&bytes).unwrap_err(), "1 bytes follow the value");
    }
}
