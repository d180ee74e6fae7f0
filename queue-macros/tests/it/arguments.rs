//! What is an argument, and how it is stored.

use std::collections::BTreeMap;

use queue::{Client, Context, Data, FromContext, Requirements, Task, TaskError, task, tasks};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The arguments as other programs find them.
fn stored<T: Serialize>(args: &T) -> BTreeMap<String, String> {
    rmp_serde::from_slice(&rmp_serde::to_vec_named(args).unwrap()).unwrap()
}

fn decoded<T: DeserializeOwned>(args: &[(&str, &str)]) -> Result<T, rmp_serde::decode::Error> {
    let args: BTreeMap<_, _> = args.iter().copied().collect();
    rmp_serde::from_slice(&rmp_serde::to_vec_named(&args).unwrap())
}

#[task]
async fn grown(
    to: String,
    /// Added later.
    subject: Option<String>,
    #[serde(default)] body: String,
    #[serde(rename = "lang", alias = "language")] language: String,
) -> Result<String, String> {
    Ok(format!("{to} {subject:?} {body:?} {language}"))
}

#[test]
fn arguments_are_stored_by_name() {
    let args = grown { to: "a".into(), subject: Some("s".into()), body: "b".into(), language: "de".into() };
    let pairs = [("body", "b"), ("lang", "de"), ("subject", "s"), ("to", "a")];
    assert_eq!(stored(&args), pairs.map(|(key, value)| (key.into(), value.into())).into());
}

#[test]
fn old_jobs_decode() {
    let old: grown = decoded(&[("language", "de"), ("to", "a"), ("removed", "x")]).unwrap();
    assert_eq!((old.to.as_str(), old.subject, old.body.as_str(), old.language.as_str()), ("a", None, "", "de"));
    let error = decoded::<grown>(&[("lang", "de")]).err().unwrap().to_string();
    assert!(error.contains("missing field `to`"), "{error}");
}

/// Serialisable only with the help of attributes.
struct Celsius(f64);

mod as_text {
    use super::Celsius;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Celsius, serializer: S) -> Result<S::Ok, S::Error> {
        value.0.to_string().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Celsius, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Celsius).map_err(serde::de::Error::custom)
    }
}

#[task]
async fn measure(
    #[serde(rename = "place")] at: String,
    #[serde(with = "as_text")] heat: Celsius,
) -> Result<f64, String> {
    Ok(heat.0 + at.len() as f64)
}

#[task]
async fn place() -> Result<String, String> {
    Ok("attic".into())
}

#[tokio::test]
async fn steps_heed_serde_attributes() {
    let client = Client::immediate(tasks![measure, place]).build().unwrap();
    let job = place::new().then(measure::after(Celsius(20.5))).enqueue(&client).await.unwrap();
    assert_eq!(job.result().await.unwrap(), Some(25.5));
}

#[derive(Serialize, Deserialize)]
struct Page {
    number: u32,
}

#[task]
async fn list(#[serde(flatten)] page: Page, by: String) -> Result<String, String> {
    Ok(format!("{by} {}", page.number))
}

#[tokio::test]
async fn arguments_can_be_flattened() {
    let client = Client::immediate(tasks![list]).build().unwrap();
    let job = list::new(Page { number: 3 }, "name").enqueue(&client).await.unwrap();
    assert_eq!(job.result().await.unwrap().unwrap(), "name 3");
}

/// Handed in, by a rule of its own.
struct Tenant(String);

impl FromContext for Tenant {
    fn from_context(ctx: &Context) -> Result<Self, TaskError> {
        Ok(Self(ctx.header("tenant").ok_or("the job has no tenant")?.to_owned()))
    }

    fn requires(requirements: &mut Requirements) {
        requirements.data::<u64>();
    }
}

mod user {
    /// Bears the name of something that workers hand in.
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Context {
        pub(super) line: u32,
    }
}

#[task]
async fn report(
    first: u32,
    #[inject] Tenant(tenant): Tenant,
    #[arg] at: user::Context,
    _: Context,
    days: Data<u64>,
    _unused: u32,
) -> Result<String, String> {
    Ok(format!("{first} {tenant} {} {}", at.line, *days))
}

#[tokio::test]
async fn attributes_say_what_the_type_does_not() {
    let client = Client::immediate(tasks![report]).data(7_u64).build().unwrap();
    let call = report::new(1, user::Context { line: 2 }, 3);
    let job = call.clone().renewed().header("tenant", "acme").enqueue(&client).await.unwrap();
    assert_eq!(job.result().await.unwrap().unwrap(), "1 acme 2 7");

    let job = call.enqueue(&client).await.unwrap();
    let error = job.result().await.unwrap_err().to_string();
    assert!(error.contains("the job has no tenant"), "{error}");
}

#[test]
fn what_is_handed_in_is_required() {
    #[task]
    async fn needs(_a: Data<str>, #[inject] _b: Tenant) {}

    let requirements = |requires: fn(&mut Requirements)| {
        let mut requirements = Requirements::default();
        requires(&mut requirements);
        format!("{requirements:?}")
    };
    let needed = requirements(needs::requires);
    assert!(needed.contains("\"str\"") && needed.contains("\"u64\""), "{needed}");
    assert_eq!(requirements(grown::requires), requirements(|_| ()));
}
