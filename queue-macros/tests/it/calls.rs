//! From the function and its struct to calls.

use std::collections::BTreeMap;
use std::path::PathBuf;

use queue::{Call, Client, Context, Data, Task, task, tasks};
use serde::de::IgnoredAny;

struct Mailer(&'static str);

/// Sends one.
#[task]
async fn send_email(to: String, copies: u64, ctx: Context, mailer: Data<Mailer>) -> Result<String, std::io::Error> {
    Ok(format!("{} {copies}× to {to}, attempt {}", mailer.0, ctx.attempt()))
}

#[task]
async fn label(text: String, prefix: String, copies: u32) -> Result<String, std::io::Error> {
    Ok(format!("{prefix}{text}/{copies}"))
}

fn client() -> Client {
    Client::immediate(tasks![send_email, label, keywords, shadowed]).data(Mailer("sent")).build().unwrap()
}

#[tokio::test]
async fn the_function_is_still_a_function() {
    let sent = send_email("a".into(), 2, Context::test(), Data::new(Mailer("faked"))).await;
    assert_eq!(sent.unwrap(), "faked 2× to a, attempt 1");
}

#[tokio::test]
async fn three_ways_make_the_same_job() {
    let client = client();
    let literal = || send_email { to: "a".to_owned(), copies: 2 };
    let jobs = [
        send_email::new("a", 2).enqueue(&client).await.unwrap(),
        literal().call().priority(1).enqueue(&client).await.unwrap(),
        literal().enqueue(&client).await.unwrap(),
    ];
    for job in jobs {
        assert_eq!(job.result().await.unwrap().unwrap(), "sent 2× to a, attempt 1");
    }
}

#[tokio::test]
async fn a_step_takes_the_output_before_it_as_its_first_argument() {
    let client = client();
    let pipeline = send_email::new("a", 1).then(label::after("> ", 3)).then(label::after("# ", 4));
    let last = pipeline.enqueue(&client).await.unwrap();
    assert_eq!(last.result().await.unwrap().unwrap(), "# > sent 1× to a, attempt 1/3/4");
}

#[test]
fn strings_and_paths_are_taken_in_any_form() {
    #[task]
    async fn file(path: PathBuf, title: String, size: u64) {
        let _ = (path, title, size);
    }
    let _: [Call<file>; 2] = [file::new("a/b", "title", 1), file::new(PathBuf::from("a"), String::from("title"), 1)];
}

#[test]
fn the_name_is_free_for_values() {
    let send_email = 1;
    assert_eq!(send_email + 1, 2);
}

#[task]
async fn shadowed(shadowed: String, ctx: u32, args: u32, injected0: u32, client: Context) -> Result<String, String> {
    Ok(format!("{shadowed}{ctx}{args}{injected0}{}", client.attempt()))
}

#[task]
async fn ctx(ctx: Context) -> Result<u32, String> {
    Ok(ctx.attempt())
}

#[tokio::test]
async fn parameters_may_bear_any_name() {
    let job = shadowed::new("s", 1, 2, 3).enqueue(&client()).await.unwrap();
    assert_eq!(job.result().await.unwrap().unwrap(), "s1231");
    let client = Client::immediate(tasks![ctx]).build().unwrap();
    assert_eq!(ctx::new().enqueue(&client).await.unwrap().result().await.unwrap(), Some(1));
}

#[task]
async fn r#type(r#type: String, r#for: u32, mut count: u32) -> Result<String, String> {
    count += 1;
    Ok(format!("{type} {for} {count}", r#type = r#type, r#for = r#for))
}

use r#type as keywords;

#[tokio::test]
async fn keywords_can_be_names() {
    assert_eq!(keywords::NAME, "type");
    let encoded = rmp_serde::to_vec_named(&keywords { r#type: "x".into(), r#for: 1, count: 2 }).unwrap();
    let keys: BTreeMap<String, IgnoredAny> = rmp_serde::from_slice(&encoded).unwrap();
    assert_eq!(keys.into_keys().collect::<Vec<_>>(), ["count", "for", "type"]);
    let client = client();
    let job = label::new("a", "b", 1).then(keywords::after(7, 8)).enqueue(&client).await.unwrap();
    assert_eq!(job.result().await.unwrap().unwrap(), "ba/1 7 9");
}
