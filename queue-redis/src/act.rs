//! What people do to jobs.

use bytes::{BufMut, Bytes};
use queue_storage::model::{JobId, Shard, State};
use queue_storage::storage::{Act, Acted, Edit, StorageError};

use crate::RedisStorage;
use crate::link::{id_bytes, odd};
use crate::record;
use crate::scripts::Step;

impl RedisStorage {
    pub(crate) async fn act_on(&self, shard: &Shard, ids: &[JobId], act: &Act) -> Result<Vec<Acted>, StorageError> {
        let mut args = self.link.args(3 + ids.len());
        args.extend(words(act)?);
        args.extend(ids.iter().map(|id| id_bytes(id.as_u128())));
        let answer = self.link.call(Step::Act, shard, args).await?.bytes().unwrap_or_default();
        acted(&answer).filter(|all| all.len() == ids.len()).ok_or_else(|| odd(Step::Act, answer))
    }
}

/// What is asked for: its letter, its details, an envelope.
fn words(act: &Act) -> Result<[Bytes; 3], StorageError> {
    let plain = |letter: &'static [u8], given: Bytes| [Bytes::from_static(letter), given, Bytes::new()];
    Ok(match act {
        Act::Cancel { keep } => plain(b"c", Bytes::copy_from_slice(&record::micros(*keep).to_be_bytes())),
        Act::Delete => plain(b"d", Bytes::new()),
        Act::Revive(edit) => edited(b"r", edit),
        Act::Edit(edit) => edited(b"e", edit),
        Act::Rearm => plain(b"w", Bytes::new()),
        other => return Err(StorageError::invalid(format!("redis: {other:?} can't be done by this version"))),
    })
}

fn edited(letter: &'static [u8], edit: &Edit) -> [Bytes; 3] {
    let mut given = Vec::with_capacity(15);
    record::put_limit(&mut given, edit.when);
    match edit.priority {
        Some(priority) => {
            given.put_u8(b'1');
            given.put_i32(priority);
        }
        None => given.put_slice(&[0; 5]),
    }
    given.put_u8(if edit.envelope.is_some() { b'1' } else { 0 });
    [Bytes::from_static(letter), given.into(), edit.envelope.clone().unwrap_or_default()]
}

fn acted(answer: &[u8]) -> Option<Vec<Acted>> {
    let (pairs, []) = answer.as_chunks::<2>() else { return None };
    let state = |letter: u8| -> Option<State> { record::state(letter) };
    pairs
        .iter()
        .map(|&[how, letter]| match how {
            b'd' => state(letter).map(Acted::Done),
            b'r' => state(letter).map(Acted::Refused),
            b'a' => Some(Acted::Asked),
            b'm' => Some(Acted::Missing),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let expected =
            vec![Acted::Done(State::Cancelled), Acted::Refused(State::Running), Acted::Asked, Acted::Missing];
        assert_eq!(acted(b"dxrla-m-"), Some(expected));
        assert_eq!(acted(b""), Some(vec![]));
        assert_eq!((acted(b"dxr"), acted(b"d!"), acted(b"??")), (None, None, None));
    }
}
