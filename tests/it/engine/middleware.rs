//! Code around enqueues and runs, where a storage has a part in it.

use std::time::Duration;

use queue::{
    BoxError, Client, Context, Done, Middleware, NextEnqueue, NextRun, Outgoing, State, Stored, TaskError, Worker,
    async_trait, group, task, tasks,
};

use super::worker;
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    what_is_changed_is_stored,
    all_that_is_enqueued_passes,
    a_refusal_stores_nothing,
    a_run_may_be_put_off
);

#[task]
async fn serves(ctx: Context) -> Result<String, TaskError> {
    Ok(ctx.header("tenant").ok_or("nobody's")?.to_owned())
}

#[task]
async fn follows(tenant: String, ctx: Context) -> Result<String, TaskError> {
    let more = serves::new().enqueue(ctx.client()).await.map_err(|error| error.to_string())?;
    let theirs = more.wait(PATIENCE).await.map_err(|error| error.to_string())?;
    Ok(format!("{tenant} {} {theirs}", ctx.header("tenant").unwrap_or("nobody")))
}

/// Whose jobs they are: in a header, at the price of a priority, and not for `mallory`.
struct Tenant(&'static str);

#[async_trait]
impl Middleware for Tenant {
    async fn enqueue(&self, calls: &mut [Outgoing], next: NextEnqueue<'_>) -> Result<Stored, BoxError> {
        if self.0 == "mallory" {
            return Err("not for mallory".into());
        }
        for call in calls.iter_mut() {
            call.set_header("tenant", self.0);
            call.set_priority(call.priority() + 7);
            call.add_tag(format!("tenant:{}", self.0));
        }
        next.run(calls).await
    }

    async fn run(&self, ctx: &Context, next: NextRun) -> Result<Done, TaskError> {
        match ctx.header("tenant") {
            Some("slow") => Err(TaskError::snooze(Duration::from_secs(3_600))),
            _ => next.run().await,
        }
    }
}

fn tenants(place: &Place) -> Client {
    place.client.with_middleware(Tenant("ann"))
}

async fn what_is_changed_is_stored(place: Place) {
    struct Later;
    #[async_trait]
    impl Middleware for Later {
        async fn enqueue(&self, calls: &mut [Outgoing], next: NextEnqueue<'_>) -> Result<Stored, BoxError> {
            calls.iter_mut().for_each(|call| call.set_delay(Duration::from_secs(3_600)));
            next.run(calls).await
        }
    }
    let client = tenants(&place).with_middleware(Later);
    let call = serves::new().priority(1).tag("own");
    let (id, job) = (call.id(), call.enqueue(&client).await.unwrap());
    assert_eq!((job.id(), job.is_existing()), (id, false));
    let status = job.status().await.unwrap();
    let facts = status.facts().unwrap();
    assert_eq!(
        (facts.state, facts.priority, &*facts.tags),
        (State::Scheduled, 8, &["own", "tenant:ann"].map(str::to_owned)[..])
    );
}

async fn all_that_is_enqueued_passes(place: Place) {
    let client = tenants(&place);
    let worker = Worker::builder(&client).tasks(tasks![serves, follows]).queue("default").queue("other");
    let many = client.enqueue_all([serves::new(), serves::new().queue("other")]).await.unwrap();
    let flow = serves::new().then(follows::after().queue("other")).enqueue(&client).await.unwrap();
    let group = group([serves::new(), serves::new().queue("other")]).enqueue(&client).await.unwrap();
    worker
        .build()
        .unwrap()
        .run_until(async {
            for job in many {
                assert_eq!(job.wait(PATIENCE).await.unwrap(), "ann");
            }
            assert_eq!(flow.wait(PATIENCE).await.unwrap(), "ann ann ann", "a step, and what it enqueues");
            assert_eq!(group.wait(PATIENCE).await.unwrap(), ["ann", "ann"]);
        })
        .await
        .unwrap();
}

async fn a_refusal_stores_nothing(place: Place) {
    let client = place.client.with_middleware(Tenant("mallory"));
    let error = serves::new().enqueue(&client).await.unwrap_err();
    assert!(error.is_refused(), "{error}");
    let id = error.into_call().id();
    assert!(serves::new().then(follows::after()).enqueue(&client).await.unwrap_err().is_refused());
    assert!(client.enqueue_all([serves::new()]).await.unwrap_err().is_refused());
    assert!(client.job(id).await.unwrap().found().is_none());
    assert_eq!(client.counts("default").await.unwrap().enqueued, 0);
}

async fn a_run_may_be_put_off(place: Place) {
    let job = serves::new().header("tenant", "slow").enqueue(&place.client).await.unwrap();
    let put_off = async || (job.status().await.unwrap().state() == Some(State::Scheduled)).then_some(());
    let worker = worker(&place, tasks![serves]).middleware(Tenant("ann")).build().unwrap();
    worker.run_until(eventually("it is put off", put_off)).await.unwrap();
    assert_eq!(job.status().await.unwrap().facts().unwrap().attempts, 0);
}
