//! The Lua scripts: one for each atomic step, made of the parts they share.

use std::sync::Arc;

use crate::driver::Script;

/// A script, by its place in [`set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Enqueue,
    Exchange,
    Renew,
    Register,
    Deregister,
    Prune,
    Outbox,
    Deliver,
    Tick,
    Untick,
    Look,
    Inputs,
    Page,
    Counts,
    Act,
    Control,
    Usage,
    Schedules,
    Listen,
    Watch,
    Write,
}

/// What must work although the server is out of memory: everything that frees some or ends what runs.
const ALLOW_OOM: &str = "#!lua flags=allow-oom\n";
/// What takes memory, and is refused by the server before it does anything.
const DENY_OOM: &str = "#!lua\n";
const COMMON: &str = include_str!("../scripts/common.lua");
const LEASES: &str = include_str!("../scripts/leases.lua");
const ENDS: &str = include_str!("../scripts/ends.lua");
const LIMITS: &str = include_str!("../scripts/limits.lua");
const EDGES: &str = include_str!("../scripts/edges.lua");
const HANDED: &str = include_str!("../scripts/handed.lua");
const EDIT: &str = include_str!("../scripts/edit.lua");
const REMOVE: &str = include_str!("../scripts/remove.lua");
const RULES: &str = include_str!("../scripts/rules.lua");
const VIEW: &str = include_str!("../scripts/view.lua");
/// The steps that take jobs in by a caller's call.
const ENQUEUE: &str = concat!(
    include_str!("../scripts/enqueue/call.lua"),
    include_str!("../scripts/enqueue/admit.lua"),
    include_str!("../scripts/enqueue/answer.lua")
);
/// The steps that change schedules; between them stands what takes in the jobs of ticks, or what does without.
const TICK: &str = concat!(include_str!("../scripts/calendar.lua"), include_str!("../scripts/tick/call.lua"));
const ADMIT: &str = include_str!("../scripts/enqueue/admit.lua");
const ALONE: &str = include_str!("../scripts/tick/alone.lua");
const TICKED: &str = include_str!("../scripts/tick/answer.lua");
/// The steps of the exchange, in their order: each leans on those before it.
const EXCHANGE: &str = concat!(
    include_str!("../scripts/exchange/call.lua"),
    include_str!("../scripts/exchange/endings.lua"),
    include_str!("../scripts/exchange/settle.lua"),
    include_str!("../scripts/exchange/upkeep.lua"),
    include_str!("../scripts/exchange/take.lua"),
    include_str!("../scripts/exchange/lines.lua"),
    include_str!("../scripts/exchange/merge.lua"),
    include_str!("../scripts/exchange/claim.lua"),
    include_str!("../scripts/exchange/answer.lua"),
);

/// Every script, in the order of [`Step`].
pub(crate) fn set() -> Arc<[Script]> {
    let script = |name, parts: &[&str]| Script { name, source: parts.concat() };
    Arc::new([
        script("enqueue", &[DENY_OOM, COMMON, EDGES, LIMITS, ENDS, EDIT, ENQUEUE]),
        script("exchange", &[ALLOW_OOM, COMMON, EDGES, HANDED, LIMITS, LEASES, ENDS, RULES, EXCHANGE]),
        script("renew", &[ALLOW_OOM, COMMON, LEASES, include_str!("../scripts/renew.lua")]),
        script("register", &[ALLOW_OOM, COMMON, include_str!("../scripts/register.lua")]),
        script("deregister", &[ALLOW_OOM, COMMON, include_str!("../scripts/deregister.lua")]),
        script(
            "prune",
            &[ALLOW_OOM, COMMON, EDGES, LIMITS, LEASES, ENDS, REMOVE, include_str!("../scripts/prune.lua")],
        ),
        script("outbox", &[ALLOW_OOM, COMMON, EDGES, HANDED, include_str!("../scripts/outbox.lua")]),
        script("deliver", &[ALLOW_OOM, COMMON, EDGES, LIMITS, include_str!("../scripts/deliver.lua")]),
        script("tick", &[DENY_OOM, COMMON, EDGES, LIMITS, ENDS, EDIT, TICK, ADMIT, TICKED]),
        script("untick", &[ALLOW_OOM, COMMON, TICK, ALONE, TICKED]),
        script("look", &[ALLOW_OOM, COMMON, VIEW, include_str!("../scripts/look.lua")]),
        script("inputs", &[ALLOW_OOM, COMMON, HANDED, include_str!("../scripts/inputs.lua")]),
        script("page", &[ALLOW_OOM, COMMON, LIMITS, VIEW, include_str!("../scripts/page.lua")]),
        script("counts", &[ALLOW_OOM, COMMON, include_str!("../scripts/counts.lua")]),
        script("act", &[ALLOW_OOM, COMMON, EDGES, LIMITS, ENDS, EDIT, REMOVE, include_str!("../scripts/act.lua")]),
        script("control", &[ALLOW_OOM, COMMON, include_str!("../scripts/control.lua")]),
        script("usage", &[ALLOW_OOM, COMMON, include_str!("../scripts/usage.lua")]),
        script(
            "schedules",
            &[ALLOW_OOM, COMMON, include_str!("../scripts/calendar.lua"), include_str!("../scripts/schedules.lua")],
        ),
        script("listen", &[ALLOW_OOM, COMMON, include_str!("../scripts/listen.lua")]),
        script("watch", &[ALLOW_OOM, COMMON, include_str!("../scripts/watch.lua")]),
        script("write", &[ALLOW_OOM, include_str!("../scripts/write.lua")]),
    ])
}

/// The scripts for programs in other languages: each with its name and the text that a server gets, first line included.
/// `docs/wire-format.md` says what they take and return.
///
/// ```
/// let (name, text) = queue_redis::scripts().next().ok_or("none")?;
/// assert!(name == "enqueue" && text.starts_with("#!lua\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn scripts() -> impl Iterator<Item = (&'static str, String)> {
    set().to_vec().into_iter().map(|script| (script.name, script.source))
}
