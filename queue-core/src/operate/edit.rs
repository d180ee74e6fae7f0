//! What to change of stored jobs.

use std::time::Duration;

use bytes::Bytes;
use queue_storage::model::{Envelope, EnvelopeError, Job, When};
use queue_storage::storage::Edit;

use crate::client::ClientConfig;
use crate::draft::Eta;
use crate::task::Task;
use crate::{codec, json};

/// What to change of a stored job; what is not said stays.
///
/// ```
/// # use std::time::Duration;
/// use queue_core::JobEdit;
///
/// let edit = JobEdit::new().priority(10).delay(Duration::from_secs(60)).arguments_json(r#"{"to":"a@b.c"}"#);
/// # let _ = edit;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "an edit changes nothing until it is handed to `edit` or `revive_with`"]
pub struct JobEdit {
    when: Option<When>,
    priority: Option<i32>,
    arguments: Option<Result<Bytes, String>>,
}

impl JobEdit {
    /// Changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts it no earlier than `eta`: a moment, or a [`Duration`] from now.
    pub fn schedule(mut self, eta: impl Into<Eta>) -> Self {
        self.when = Some(eta.into().when());
        self
    }

    /// Starts it no earlier than `delay` from when the storage learns of it.
    pub fn delay(self, delay: Duration) -> Self {
        self.schedule(delay)
    }

    /// Starts it at once.
    pub fn now(mut self) -> Self {
        self.when = Some(When::Now);
        self
    }

    /// Higher runs first.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Replaces its arguments, all of them. Its unique key and its limits stay those of the arguments it was enqueued
    /// with: a job that is to count for another tenant is enqueued anew.
    #[expect(clippy::needless_pass_by_value, reason = "as a call takes them")]
    pub fn arguments<T: Task>(mut self, arguments: T) -> Self {
        self.arguments = Some(codec::encode(&arguments));
        self
    }

    /// Replaces its arguments, all of them, with those of a JSON object, by argument name: what
    /// [`DeadLetter::arguments`](crate::DeadLetter::arguments) shows. Bytes are a list of numbers. Whether they are those
    /// of the task is found when it runs; its unique key and its limits stay, as with [`arguments`](Self::arguments).
    pub fn arguments_json(mut self, text: &str) -> Self {
        self.arguments = Some(json::arguments(text));
        self
    }

    /// Whether the jobs' own envelopes are needed to carry it out.
    pub(super) fn has_arguments(&self) -> bool {
        self.arguments.is_some()
    }

    /// What to change, arguments aside.
    pub(super) fn common(&self) -> Edit {
        let mut edit = Edit::new();
        (edit.when, edit.priority) = (self.when, self.priority);
        edit
    }

    /// Refuses arguments that no job can have.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self, config: &ClientConfig) -> Result<Option<Bytes>, String> {
        let Some(arguments) = &self.arguments else { return Ok(None) };
        let arguments = arguments.clone().map_err(|why| format!("these can't be its arguments: {why}"))?;
        let (bytes, limit) = (arguments.len(), config.payload_limit);
        if bytes > limit {
            return Err(format!(
                "these arguments take {bytes} bytes, the limit is {limit}: store what is large elsewhere and pass its key, \
                 or raise the limit with `ClientBuilder::payload_limit`"
            ));
        }
        Ok(Some(arguments))
    }

    /// What to change of this job.
    ///
    /// # Errors
    /// Why its arguments can't become these.
    pub(super) fn of(&self, job: &Job, config: &ClientConfig) -> Result<Edit, String> {
        let edit = self.common();
        let Some(arguments) = self.check(config)? else { return Ok(edit) };
        Ok(edit.envelope(with_arguments(&job.envelope, arguments)?))
    }
}

/// The envelope with other arguments. Headers and options stay, unless it is damaged: then it is replaced.
fn with_arguments(envelope: &[u8], arguments: Bytes) -> Result<Bytes, String> {
    let mut envelope = match Envelope::decode(envelope) {
        Err(error @ EnvelopeError::Newer { .. }) => return Err(error.to_string()),
        Err(_) => Envelope::default(),
        Ok(envelope) => envelope,
    };
    // Arguments that name what another job's result would become stand in its place.
    if envelope.input.as_ref().is_some_and(|input| codec::has_entry(&arguments, input)) {
        envelope.input = None;
    }
    envelope.args = arguments;
    envelope.encode().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn args(names: &[&str]) -> Bytes {
        codec::encode(&names.iter().map(|name| (*name, 1)).collect::<BTreeMap<_, _>>()).unwrap()
    }

    fn step() -> Envelope {
        Envelope { input: Some("receipt".into()), args: args(&["label"]), ..Envelope::default() }
    }

    #[test]
    fn headers_stay_and_arguments_change() {
        let before = Envelope { headers: BTreeMap::from([("tenant".into(), "acme".into())]), ..step() };
        let after = with_arguments(&before.encode().unwrap(), args(&["other"])).unwrap();
        assert_eq!(Envelope::decode(&after).unwrap(), Envelope { args: args(&["other"]), ..before });
    }

    #[test]
    fn arguments_that_name_the_input_stand_in_its_place() {
        let after = with_arguments(&step().encode().unwrap(), args(&["label", "receipt"])).unwrap();
        assert_eq!(Envelope::decode(&after).unwrap().input, None);
    }

    #[test]
    fn a_damaged_envelope_is_replaced_and_a_newer_one_left_alone() {
        let after = with_arguments(&[1, 0, 0xc1], args(&["label"])).unwrap();
        assert_eq!(Envelope::decode(&after).unwrap().args, args(&["label"]));
        assert!(with_arguments(&[9, 0, 0x80], args(&["label"])).unwrap_err().contains("upgrade"));
    }
}
