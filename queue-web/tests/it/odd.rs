//! Requests that nobody sends.

use http::{Method, Request};
use proptest::prelude::*;
use queue_core::Client;

use crate::support::{added, open};

fn segment() -> impl Strategy<Value = String> {
    let words =
        ["jobs", "queues", "schedules", "cancel", "pause", "run", "", ".", "..", "%", "%2", "%2F", "%ff", "%00", "ID"];
    prop_oneof![
        8 => prop::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => "[!-~]{0,40}".prop_filter("a path", |text| !text.contains(['?', '#'])),
    ]
}

fn query() -> impl Strategy<Value = String> {
    let names = ["queue", "state", "task", "tag", "limit", "after", "explain", "odd", ""];
    let value =
        prop_oneof!["[ -~]{0,20}", Just("0:".to_owned()), Just("9999999999999999999:".to_owned()), "é%ff\u{0}?"];
    let pair = (prop::sample::select(names.to_vec()), value);
    prop::collection::vec(pair, 0..4).prop_map(|pairs| {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(pairs);
        text.finish()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn are_answered(segments in prop::collection::vec(segment(), 0..5), query in query(), is_post: bool, slash: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (status, body) = runtime.block_on(async {
            let client = Client::memory();
            let id = added(&client).await.to_string();
            let start = if slash { "/" } else { "" };
            let uri = format!("{start}{}?{query}", segments.join("/").replace("ID", &id));
            let method = if is_post { Method::POST } else { Method::GET };
            let Ok(request) = Request::builder().method(method).uri(uri).body(Default::default()) else {
                return (200, Default::default());
            };
            let response = open(&client).handle(request).await;
            (response.status().as_u16(), response.into_body())
        });
        prop_assert!(status < 500, "{status}: {body:?}");
        prop_assert!(body.is_empty() || serde_json::from_slice::<serde_json::Value>(&body).is_ok());
    }
}
