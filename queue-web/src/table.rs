//! Every route. What is asked for is looked up here, and what is described is this.

use http::{Method, StatusCode};

use crate::route::Gate::{Guarded, Open};
use crate::route::Time::{Given, Own};
use crate::route::{Described, Gate, Param, Route, Run, Shape, Time, answers, refuses};
use crate::{health, jobs, metrics, openapi, queues, schedules, view};

const OK: StatusCode = StatusCode::OK;
const ACCEPTED: StatusCode = StatusCode::ACCEPTED;
const UNWELL: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

const NO_ID: Described = refuses(StatusCode::BAD_REQUEST, "This is no id of a job.");
const UNKNOWN_JOB: Described = refuses(StatusCode::NOT_FOUND, "No such job was ever stored.");
const GONE_JOB: Described = refuses(StatusCode::GONE, "The job ended, and the time it is kept has passed.");
const NO_NAME: Described = refuses(StatusCode::BAD_REQUEST, "This is no name.");
const NO_QUERY: Described = refuses(StatusCode::BAD_REQUEST, "A parameter is at fault.");
const NO_QUEUE: Described =
    refuses(StatusCode::NOT_FOUND, "Nobody knows this queue: it was never used, and no worker serves it.");
const UNKNOWN: Described = refuses(StatusCode::NOT_FOUND, "There is no such thing.");

const fn route(
    method: Method,
    path: &'static str,
    what: &'static str,
    query: &'static [Param],
    answers: &'static [Described],
    run: Run,
) -> Route {
    Route { method, path, what, query, answers, gate: Guarded, time: Given, run }
}

const fn get(
    path: &'static str,
    what: &'static str,
    query: &'static [Param],
    answers: &'static [Described],
    run: Run,
) -> Route {
    route(Method::GET, path, what, query, answers, run)
}

const fn post(
    path: &'static str,
    what: &'static str,
    query: &'static [Param],
    answers: &'static [Described],
    run: Run,
) -> Route {
    route(Method::POST, path, what, query, answers, run)
}

/// A route that probes ask.
const fn probe(
    gate: Gate,
    path: &'static str,
    what: &'static str,
    query: &'static [Param],
    answers: &'static [Described],
    run: Run,
) -> Route {
    let time: Time = Own;
    Route { method: Method::GET, path, what, query, answers, gate, time, run }
}

const READY: &[Described] =
    &[answers(OK, "It is ready.", health::STATUS), answers(UNWELL, "It is not; why.", health::UNREADY)];

pub(crate) static ROUTES: &[Route] = &[
    get("/", "What there is.", &[], &[answers(OK, "Every route.", openapi::INDEX)], |asked| {
        Box::pin(openapi::index(asked))
    }),
    probe(
        Open,
        "/livez",
        "Whether the process answers; the storage is not asked.",
        &[],
        &[answers(OK, "It does.", health::STATUS)],
        |asked| Box::pin(health::alive(asked)),
    ),
    probe(Open, "/readyz", "Whether the storage answers and nothing else is in the way.", &[], READY, |asked| {
        Box::pin(health::ready(asked))
    }),
    probe(Open, "/healthz", "The same as `/readyz`.", &[], READY, |asked| Box::pin(health::ready(asked))),
    probe(
        Guarded,
        "/health/tasks",
        "Whether the backlog is small enough.",
        &[jobs::QUEUE],
        &[
            answers(OK, "It is.", health::TASKS),
            answers(UNWELL, "It is not, or the storage does not answer; which.", health::TASKS_UNHEALTHY),
            NO_QUERY,
            NO_QUEUE,
        ],
        |asked| Box::pin(health::tasks(asked)),
    ),
    probe(
        Guarded,
        "/health/queue",
        "The same, by shorter names.",
        &[jobs::QUEUE],
        &[
            answers(OK, "It is.", health::QUEUE),
            answers(UNWELL, "It is not, or the storage does not answer; which.", health::QUEUE_UNHEALTHY),
            NO_QUERY,
            NO_QUEUE,
        ],
        |asked| Box::pin(health::queue(asked)),
    ),
    get("/jobs", "Jobs, page by page.", jobs::LIST, &[answers(OK, "A page.", view::PAGE), NO_QUERY], |asked| {
        Box::pin(jobs::list(asked))
    }),
    get(
        "/jobs/{id}",
        "A job: where it is, and what it returned.",
        jobs::ONE,
        &[answers(OK, "The job.", view::JOB), NO_ID, UNKNOWN_JOB, GONE_JOB],
        |asked| Box::pin(jobs::one(asked)),
    ),
    post(
        "/jobs/{id}/cancel",
        "Calls a job off.",
        &[],
        &[
            answers(OK, "It is cancelled.", jobs::ACTED),
            answers(ACCEPTED, "It runs, and was asked to stop.", jobs::ACTED),
            NO_ID,
            UNKNOWN_JOB,
            refuses(StatusCode::CONFLICT, "It has ended otherwise."),
            GONE_JOB,
        ],
        |asked| Box::pin(jobs::cancel(asked)),
    ),
    post(
        "/jobs/{id}/retry",
        "Runs a job again that has ended.",
        &[],
        &[
            answers(OK, "It is to run again.", jobs::ACTED),
            NO_ID,
            UNKNOWN_JOB,
            refuses(StatusCode::CONFLICT, "It has not ended, or others need what it returned."),
            GONE_JOB,
        ],
        |asked| Box::pin(jobs::retry(asked)),
    ),
    get(
        "/dead",
        "Dead letters, those of a queue newest first, page by page.",
        jobs::DEAD,
        &[answers(OK, "A page.", view::PAGE), NO_QUERY],
        |asked| Box::pin(jobs::dead(asked)),
    ),
    get("/stats", "How much of everything there is.", &[], &[answers(OK, "That.", queues::STATS)], |asked| {
        Box::pin(queues::stats(asked))
    }),
    get("/queues", "Every queue.", &[], &[answers(OK, "All of them.", queues::QUEUES)], |asked| {
        Box::pin(queues::list(asked))
    }),
    get(
        "/queues/{name}",
        "A queue: what it holds, and what is said of it.",
        &[],
        &[answers(OK, "The queue.", queues::QUEUE), NO_NAME, UNKNOWN],
        |asked| Box::pin(queues::one(asked)),
    ),
    post(
        "/queues/{name}/pause",
        "Pauses a queue, used or not, until it is resumed.",
        &[],
        &[answers(OK, "It is paused.", queues::PAUSED), NO_NAME],
        |asked| Box::pin(queues::pause(asked)),
    ),
    post(
        "/queues/{name}/resume",
        "Ends the pause of a queue.",
        &[],
        &[answers(OK, "It is not paused.", queues::PAUSED), NO_NAME],
        |asked| Box::pin(queues::resume(asked)),
    ),
    get("/workers", "Every worker the storage knows.", &[], &[answers(OK, "All of them.", queues::WORKERS)], |asked| {
        Box::pin(queues::workers(asked))
    }),
    get(
        "/schedules",
        "Schedules, page by page.",
        schedules::LIST,
        &[answers(OK, "A page.", schedules::PAGE), NO_QUERY],
        |asked| Box::pin(schedules::list(asked)),
    ),
    get(
        "/schedules/{name}",
        "A schedule: when it is due, and what became of its ticks.",
        schedules::ONE,
        &[answers(OK, "The schedule.", schedules::SCHEDULE), NO_NAME, UNKNOWN],
        |asked| Box::pin(schedules::one(asked)),
    ),
    post(
        "/schedules/{name}/pause",
        "Pauses a schedule until it is resumed.",
        schedules::ONE,
        &[answers(OK, "It is paused.", schedules::PAUSED), NO_NAME, UNKNOWN],
        |asked| Box::pin(schedules::pause(asked)),
    ),
    post(
        "/schedules/{name}/resume",
        "Ends the pause of a schedule.",
        schedules::ONE,
        &[answers(OK, "It is not paused.", schedules::PAUSED), NO_NAME, UNKNOWN],
        |asked| Box::pin(schedules::resume(asked)),
    ),
    post(
        "/schedules/{name}/run",
        "Enqueues the call of a schedule at once.",
        schedules::ONE,
        &[answers(ACCEPTED, "The job.", schedules::RAN), NO_NAME, UNKNOWN],
        |asked| Box::pin(schedules::run(asked)),
    ),
    get("/openapi.json", "This API, described.", &[], &[answers(OK, "OpenAPI 3.1.", openapi::OPENAPI)], |asked| {
        Box::pin(openapi::openapi(asked))
    }),
    get(
        "/metrics",
        "What the program measures, for Prometheus.",
        &[],
        &[Described { status: OK, what: "Prometheus' text format, 0.0.4.", shape: Shape::Metrics }],
        |asked| Box::pin(metrics::metrics(asked)),
    ),
];
