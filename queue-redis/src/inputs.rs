//! What jobs hand on to one that waited for them, from what scripts tell of it.

use queue_storage::model::{Input, JobId, TaskName};

use crate::driver::Reply;
use crate::record;

/// Takes what these jobs hand on: a letter for each in one text, and then the parts of those that have any.
pub(crate) fn take(ids: &[JobId], parts: &mut impl Iterator<Item = Reply>) -> Option<Vec<Input>> {
    let letters = parts.next()?.bytes()?;
    if letters.len() != ids.len() {
        return None;
    }
    ids.iter().zip(&letters).map(|(id, letter)| input(*id, *letter, parts)).collect()
}

fn input(id: JobId, letter: u8, parts: &mut impl Iterator<Item = Reply>) -> Option<Input> {
    Some(match letter {
        b'R' => Input::Returned(parts.next()?.bytes()?),
        b'N' => Input::Nothing,
        b'G' => Input::Gathered(id),
        b'-' => Input::Gone,
        b'F' => {
            let (mark, task, failure) = (parts.next()?.bytes()?, parts.next()?.bytes()?, parts.next()?.bytes());
            let task = TaskName::new(std::str::from_utf8(&task).ok()?).ok()?;
            Input::Failed(Box::new(record::ending(id, task, &mark, failure.as_ref())?))
        }
        letter => Input::Open(record::state(letter).filter(|state| !state.is_end())?),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use queue_storage::model::State;

    use super::*;

    fn parts(all: &[&'static [u8]]) -> std::vec::IntoIter<Reply> {
        all.iter().map(|part| Reply::Bytes(Bytes::from_static(part))).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn what_was_handed_on_is_read() {
        let ids: Vec<_> = (1..=5).map(JobId::from_u128).collect();
        let expected = [
            Input::Returned((&b"7"[..]).into()),
            Input::Nothing,
            Input::Gathered(ids[2]),
            Input::Gone,
            Input::Open(State::Retrying),
        ];
        assert_eq!(take(&ids, &mut parts(&[b"RNG-t", b"7"])), Some(expected.to_vec()));
        assert_eq!(take(&[], &mut parts(&[b""])), Some(Vec::new()));
        for odd in [&[&b"RNG-"[..]][..], &[b"RNG-t"], &[b"NNG-c"], &[b"NNG-?"], &[b"NNG-F", b"d", b"t"], &[]] {
            assert_eq!(take(&ids, &mut parts(odd)), None);
        }
    }
}
