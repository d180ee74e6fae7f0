//! Replies that get lost: whether a call was carried out, nobody knows then, and its repeat makes it right.

use std::time::Duration;

use queue_servers::{Proxy, Redis, shared};
use queue_storage::storage::{Notify, Topic};

use crate::calls::{KINDS, Kind, Scene};
use crate::kit::{
    Caller, Hand, forget_hints, hears, in_time, insist, jobs, namespace, options, sleeps_and_is_woken, until,
};

/// Loses the n-th reply of a call, for each n there is.
async fn survives_each_loss(server: &Redis, kind: Kind) {
    let mut lost = 0;
    loop {
        let proxy = Proxy::to(server.port());
        let scene = Scene::set(&server.url(), &proxy.url()).await;
        proxy.lose_reply(lost + 1);
        let first = in_time(scene.call(kind)).await;
        proxy.pass();
        if let Ok(answer) = first {
            // It has no more replies than that.
            scene.done_once(kind, &[server], &answer).await;
            break;
        }
        assert!(first.unwrap_err().is_unavailable(), "{kind:?}");
        let answer = insist(|| scene.call(kind)).await;
        scene.done_once(kind, &[server], &answer).await;
        lost += 1;
    }
    assert!(lost > 0, "{kind:?} has no reply");
}

#[tokio::test]
async fn each_reply_of_each_call_may_be_lost() {
    for kind in KINDS {
        survives_each_loss(shared(), kind).await;
    }
}

/// A storage whose calls are given up soon, by a proxy.
async fn hasty(proxy: &Proxy) -> Scene {
    let hasty = options(&proxy.url()).timeout(Duration::from_millis(150));
    Scene::with(&shared().url(), hasty).await
}

#[tokio::test]
async fn replies_may_never_come() {
    for kind in KINDS {
        let proxy = Proxy::to(shared().port());
        let scene = hasty(&proxy).await;
        proxy.hold_replies();
        let error = in_time(scene.call(kind)).await.unwrap_err();
        assert!(error.is_unavailable() && error.to_string().contains("150ms"), "{error}");
        proxy.pass();
        let answer = insist(|| scene.call(kind)).await;
        scene.done_once(kind, &[shared()], &answer).await;
    }
}

#[tokio::test]
async fn replies_may_come_too_late() {
    for kind in KINDS {
        let proxy = Proxy::to(shared().port());
        let scene = hasty(&proxy).await;
        proxy.delay_replies(Duration::from_millis(500));
        let error = in_time(scene.call(kind)).await.unwrap_err();
        assert!(error.is_unavailable() && error.to_string().contains("150ms"), "{error}");
        proxy.pass();
        let answer = insist(|| scene.call(kind)).await;
        scene.done_once(kind, &[shared()], &answer).await;
    }
}

#[tokio::test]
async fn connections_may_be_cut_while_calls_wait() {
    for kind in KINDS {
        let proxy = Proxy::to(shared().port());
        let scene = Scene::set(&shared().url(), &proxy.url()).await;
        proxy.hold_replies();
        let sent = proxy.requests();
        let cut = async {
            while proxy.requests() == sent {
                tokio::task::yield_now().await;
            }
            proxy.pass();
            proxy.cut();
        };
        let (first, ()) = tokio::join!(in_time(scene.call(kind)), cut);
        let error = first.unwrap_err();
        assert!(error.is_unavailable() && error.to_string().contains("connection was lost"), "{error}");
        let answer = insist(|| scene.call(kind)).await;
        scene.done_once(kind, &[shared()], &answer).await;
    }
}

/// Whatever reply is lost while a process begins to listen, it is told of the end.
#[tokio::test]
async fn each_reply_while_listening_may_be_lost() {
    for lost in 1..=6 {
        let proxy = Proxy::to(shared().port());
        let name = namespace();
        let by_proxy = options(&proxy.url()).namespace(name.clone()).connect().await.unwrap();
        let direct = options(&shared().url()).namespace(name.clone()).connect().await.unwrap();
        let id = Caller::new().enqueue(&direct, jobs(1)).await[0];

        proxy.lose_reply(lost);
        let listener = by_proxy.listen(Topic::Job(id));
        let interest = format!("{name}:{{mail}}:interest");
        until("the server knows who waits", async || shared().cli(&["HLEN", &interest]) == "1").await;
        proxy.pass();
        forget_hints(&listener).await;
        let mut there = Hand::new(&direct).await;
        there.exchange(&direct, 1).await;
        there.exchange(&direct, 0).await;
        hears(&listener).await;
        sleeps_and_is_woken(&by_proxy, &direct, shared(), &name).await;
    }
}
