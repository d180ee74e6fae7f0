//! What the program measures of itself.

use crate::answer::{Answer, Reply};
use crate::route::Asked;

pub(crate) async fn metrics(asked: Asked) -> Reply {
    // There is no such route without them.
    let text = asked.web.settings.metrics.as_ref().map(|metrics| metrics());
    Ok(Answer::Metrics(match text {
        Some(text) => text.await,
        None => String::new(),
    }))
}
