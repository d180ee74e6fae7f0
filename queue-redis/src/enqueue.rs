//! Taking jobs in.

use async_trait::async_trait;
use bytes::Buf;
use queue_storage::model::{JobId, State};
use queue_storage::storage::{Admission, Enqueue, EnqueueCall, StorageError};

use crate::RedisStorage;
use crate::link::{id_bytes, number, odd};
use crate::record;
use crate::scripts::Step;

#[async_trait]
impl Enqueue for RedisStorage {
    async fn enqueue(&self, call: EnqueueCall) -> Result<Vec<Admission>, StorageError> {
        call.check()?;
        self.link.list_shard(&call.shard).await?;
        let mut args = self.link.args(2 + call.jobs.len() * 2);
        args.push(id_bytes(call.caller.as_u128()));
        args.push(number(call.number));
        for job in &call.jobs {
            args.push(id_bytes(job.id.as_u128()));
            args.push(record::part(job));
        }
        let mut answer = self.link.list(Step::Enqueue, &call.shard, args).await?.into_iter();
        let (how, what, is_first, is_watched) = (answer.next(), answer.next(), answer.next(), answer.next());
        if is_first.and_then(|one| one.int()) == Some(1) {
            self.link.list_anew(&call.shard).await?;
        }
        if let Some(is_watched) = is_watched.and_then(|one| one.int()) {
            self.link.note_watched(&call.shard, is_watched == 1);
        }
        match how.as_ref().and_then(|how| how.text()) {
            Some("ok") => {
                let answers = what.and_then(|what| what.bytes()).unwrap_or_default();
                admissions(&answers, call.jobs.len()).ok_or_else(|| odd(Step::Enqueue, answers))
            }
            Some("superseded") => Err(StorageError::superseded(format!(
                "call {} of {} was overtaken by {}",
                call.number,
                call.caller,
                what.and_then(|what| what.int()).unwrap_or_default()
            ))),
            _ => Err(odd(Step::Enqueue, how)),
        }
    }
}

/// The answers of the script's one text.
pub(crate) fn admissions(text: &[u8], count: usize) -> Option<Vec<Admission>> {
    if let Some(all) = text.strip_prefix(b"*") {
        let ready = Admission::Added(State::Ready);
        return (std::str::from_utf8(all).ok()?.parse() == Ok(count)).then(|| vec![ready; count]);
    }
    let (mut rest, mut answers) = (text, Vec::with_capacity(count));
    while let [first, tail @ ..] = rest {
        rest = tail;
        answers.push(match first {
            b'?' => Admission::UnknownDependency(JobId::from_u128(rest.try_get_u128().ok()?)),
            how @ (b'=' | b'!' | b'~') => {
                let (owner, letter) = (JobId::from_u128(rest.try_get_u128().ok()?), rest.try_get_u8().ok()?);
                let state = if letter == b'-' { None } else { Some(record::state(letter)?) };
                match how {
                    b'=' => Admission::Existing(owner, state),
                    b'!' => Admission::Rejected(owner, state),
                    _ => Admission::Replaced(owner, state?),
                }
            }
            letter if letter.is_ascii_uppercase() => Admission::Duplicate(record::state(letter.to_ascii_lowercase())?),
            letter => Admission::Added(record::state(*letter)?),
        });
    }
    (answers.len() == count).then_some(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        assert_eq!(admissions(b"*3", 3), Some(vec![Admission::Added(State::Ready); 3]));
        assert_eq!(admissions(b"*3", 2), None);
        let id = [b"?".as_slice(), &7_u128.to_be_bytes(), b"sC"].concat();
        let expected = [
            Admission::UnknownDependency(JobId::from_u128(7)),
            Admission::Added(State::Scheduled),
            Admission::Duplicate(State::Completed),
        ];
        assert_eq!(admissions(&id, 3), Some(expected.to_vec()));
        assert_eq!(admissions(b"*0", 0), Some(vec![]));
        assert_eq!(admissions(b"r!", 2), None);
        let id = 7_u128.to_be_bytes();
        let kept_out = [b"=", &id[..], b"-!", &id, b"c~", &id, b"s"].concat();
        let owner = JobId::from_u128(7);
        let expected = [
            Admission::Existing(owner, None),
            Admission::Rejected(owner, Some(State::Completed)),
            Admission::Replaced(owner, State::Scheduled),
        ];
        assert_eq!(admissions(&kept_out, 3), Some(expected.to_vec()));
    }
}
