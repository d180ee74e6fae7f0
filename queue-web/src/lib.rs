//! Health checks and a JSON API for the `queue` framework: what probes, pages and programs ask of jobs, queues, workers
//! and schedules. Users add the package `queue-jobs` with the feature `web`, `axum` or `actix`, whose module `queue::web`
//! is this.
//!
//! [`Web`] answers requests of the crate `http`, and so goes under any framework, at any path, without being told which.
//!
//! | Route | What it answers |
//! |---|---|
//! | `GET /` | every route |
//! | `GET /livez` | whether the process answers; never asks the storage |
//! | `GET /readyz`, `GET /healthz` | whether the storage answers and [nothing else](Web::ready_when) is in the way |
//! | `GET /health/tasks?queue=` | whether the [backlog](Web::health_limit) is small enough: `pending_tasks`, `scheduled_tasks`; 404 for a queue that was never used and that no worker serves |
//! | `GET /health/queue?queue=` | the same as `pending` and `scheduled` |
//! | `GET /jobs?queue=&state=&task=&tag=&limit=&after=` | jobs, page by page |
//! | `GET /jobs/{id}?explain` | a job: where it is, what it returned, why it is where it is |
//! | `POST /jobs/{id}/cancel` | calls it off |
//! | `POST /jobs/{id}/retry` | runs it again when it has ended |
//! | `GET /dead?queue=&limit=&after=` | dead letters, those of a queue newest first, page by page |
//! | `GET /stats` | how much of everything there is, by queue and in total |
//! | `GET /queues` | every queue |
//! | `GET /queues/{name}` | a queue: what it holds, and what is said of it |
//! | `POST /queues/{name}/pause`, `POST /queues/{name}/resume` | pauses it, ends that |
//! | `GET /workers` | every worker the storage knows |
//! | `GET /schedules?queue=&limit=&after=` | schedules, page by page |
//! | `GET /schedules/{name}?queue=` | a schedule: when it is due, and what became of its ticks |
//! | `POST /schedules/{name}/pause`, `POST /schedules/{name}/resume` | pauses it, ends that |
//! | `POST /schedules/{name}/run` | enqueues its call at once |
//! | `GET /openapi.json` | all this as OpenAPI 3.1 |
//! | `GET /metrics` | Prometheus' text, where [`Web::metrics`] gives it |
//!
//! `HEAD` goes where `GET` goes. A `/` in the name of a queue or a schedule is written `%2F`. What a route does not
//! take behind the `?` is refused with 400, which names what it takes. Moments are RFC 3339 in UTC. `complete` of a job says
//! whether it has ended, well or not, for whoever waits for it; `state` says how: `completed`, `cancelled`, `expired`,
//! `dead`. `links` are relative to the document they stand in, so that they are right behind any prefix and proxy, and are
//! those that lead somewhere now: `cancel` until a job has ended, `retry` from then on.
//!
//! No answer tells where the storage is: why it does not answer is said in a few words, and the whole is in the log of this
//! program.
//!
//! # Who may do what
//!
//! Everyone may look and nobody may change anything, unless [`Web::access`] says otherwise; what it refuses is answered
//! with 403. `/livez`, `/readyz` and `/healthz` are open to everyone. A change that a page of another site makes a browser
//! send (`Sec-Fetch-Site`, else `Origin`) is refused whatever `access` says. Arguments of jobs are not shown unless
//! [`Web::show_arguments`] says so; results and errors are.
//!
//! # Errors
//!
//! Every error is `{"error":{"code":"…","message":"…","help":"…"}}`. Codes stay as they are:
//!
//! | Code | Status | What is wrong |
//! |---|---|---|
//! | `bad_request` | 400 | the path or a parameter |
//! | `forbidden`, `read_only`, `cross_site` | 403 | who asks |
//! | `no_route` | 404 | the path: nothing is there |
//! | `unknown` | 404 | no such job, queue or schedule |
//! | `wrong_method` | 405 | the method; `Allow` lists those there are |
//! | `refused` | 409 | the state of what was to be changed |
//! | `gone` | 410 | the job ended, and the time it is kept has passed |
//! | `unreadable` | 500 | the stored data |
//! | `unavailable` | 503 | the storage does not answer |
//! | `timeout` | 504 | the storage did not answer [in time](Web::timeout) |

#![cfg_attr(docsrs, feature(doc_cfg))]

// Each looks down only: it uses what stands above it in this list.
mod problem;

mod access;
mod answer;
mod query;

mod web;

mod route;

mod known;
mod view;

mod health;
mod jobs;
mod metrics;
mod openapi;
mod queues;
mod schedules;

mod table;

mod serve;

#[cfg(feature = "actix")]
mod actix_mount;
#[cfg(feature = "axum")]
mod axum_mount;

pub use access::Access;
#[cfg(feature = "axum")]
pub use axum_mount::WebService;
pub use web::Web;
