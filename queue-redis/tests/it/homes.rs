//! Two queues whose ids name the same home, as one pair in 4,096 does.

use queue_servers::{Redis, shared};
use queue_storage::model::Shard;
use queue_storage::storage::{Lookup, Notify, Operate, Topic};

use crate::kit::{Caller, Hand, forget_hints, hears, job_in, namespace, options, shard, until};

/// Another queue with the tag of `mail`.
fn twin(of: &Shard) -> Shard {
    (0..).map(|at| shard(&format!("q{at}"))).find(|other| other.tag() == of.tag()).unwrap()
}

#[tokio::test]
async fn a_job_is_found_and_heard_of_in_whichever_of_its_homes_it_is() {
    let (name, here_known) = (namespace(), shard("mail"));
    let elsewhere = twin(&here_known);
    let options = options(&shared().url()).namespace(name.clone());
    let (here, there) = (options.clone().connect().await.unwrap(), options.connect().await.unwrap());
    Caller::of(here_known.clone()).enqueue(&here, vec![job_in(&here_known)]).await;
    let id = Caller::of(elsewhere.clone()).enqueue(&there, vec![job_in(&elsewhere)]).await[0];

    let Lookup::Found(found) = here.get(id).await.unwrap() else { panic!("a job of {elsewhere} is not found") };
    assert_eq!(found.shard, elsewhere);
    let listener = here.listen(Topic::Job(id));
    let interest = format!("{name}:{{{elsewhere}}}:interest");
    until("interest", async || shared().cli(&["HLEN", &interest]) == "1").await;
    forget_hints(&listener).await;
    let mut hand = Hand::stranger(elsewhere);
    hand.register(&there).await;
    hand.exchange(&there, 1).await;
    hand.exchange(&there, 0).await;
    hears(&listener).await;
}

#[tokio::test]
async fn a_server_that_was_emptied_behind_our_backs_is_told_of_the_queue_again() {
    let redis = Redis::start();
    let (storage, mail) = (options(&redis.url()).connect().await.unwrap(), shard("mail"));
    let mut caller = Caller::of(mail.clone());
    caller.enqueue(&storage, vec![job_in(&mail)]).await;
    redis.cli(&["FLUSHALL"]);
    assert_eq!(storage.shards().await.unwrap(), []);
    caller.enqueue(&storage, vec![job_in(&mail)]).await;
    assert_eq!(storage.shards().await.unwrap(), [mail]);
}
