//! The attribute [`macro@task`]. Users get it from the package `queue-jobs`, as `queue::task`.

mod backoff;
mod docs;
mod duration;
mod entry;
mod expand;
mod limits;
mod methods;
mod name;
mod options;
mod owned;
mod parameter;
mod periodic;
mod serde_attrs;
mod signature;
mod task_impl;

use proc_macro::TokenStream;

/// Makes a function a task: something that can be stored as a job and run by a worker.
///
/// The function stays as it is, to be called in unit tests and elsewhere. Beside it stands a struct of the same name,
/// whose public fields are the arguments, and which implements `Task`.
///
/// ```
/// use queue::{Client, Context, Data, task, tasks};
///
/// struct Mailer {
///     from: String,
/// }
///
/// /// Send one email.
/// #[task(retries = 3, backoff = exponential("2s"), timeout = "30s")]
/// async fn send_email(to: String, copies: u32, ctx: Context, mailer: Data<Mailer>) -> Result<u32, std::io::Error> {
///     println!("attempt {}: from {} to {to}", ctx.attempt(), mailer.from);
///     Ok(copies)
/// }
///
/// #[task] // not async: runs on the blocking pool
/// fn count(sent: u32, label: String) -> Result<String, std::io::Error> {
///     Ok(format!("{label}: {sent}"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue::BoxError> {
/// let client = Client::immediate(tasks![send_email, count]).data(Mailer { from: "us".into() }).build()?;
///
/// let job = send_email::new("a@b.c", 2).priority(5).enqueue(&client).await?; // a call, with options of its own
/// assert_eq!(job.result().await?, Some(2));
///
/// let args = send_email { to: "a@b.c".into(), copies: 2 }; // the same arguments, by name
/// args.enqueue(&client).await?;
///
/// // `u32`, the output of `send_email`, is the first argument of `count`: the compiler checks it.
/// let counted = send_email::new("a@b.c", 3).then(count::after("sent")).enqueue(&client).await?;
/// assert_eq!(counted.result().await?.as_deref(), Some("sent: 3"));
///
/// // The function is still a function.
/// let mailer = Data::new(Mailer { from: "test".into() });
/// assert_eq!(send_email("a@b.c".into(), 1, Context::test(), mailer).await?, 1);
/// # Ok(()) }
/// ```
///
/// # What it writes
///
/// | | |
/// |---|---|
/// | `send_email::new(to, copies)` | a `Call`; takes anything that is `Into` a `String` or a `PathBuf` where the argument is one |
/// | `send_email { to, copies }` | the arguments; `.call()` makes them a `Call`, `.enqueue(&client)` stores them as they are |
/// | `count::after(label)` | a step of a pipeline, whose first argument is the output of the step before |
/// | `impl Task for send_email` | what could be written by hand; the worker takes it from `tasks![send_email]` |
///
/// # Parameters
///
/// `Context` and `Data<..>` are handed in by the worker, known by the last part of their paths; so is a parameter that
/// is marked `#[inject]`, of any type that implements `FromContext`. The others are arguments, and a parameter marked
/// `#[arg]` is one whatever its type. (An alias of `Data` is not seen through: mark it `#[inject]`.)
///
/// Arguments are owned and serialisable, and stored by name. An argument that is added as an `Option`, or with
/// `#[serde(default)]`, still decodes the jobs that were stored before; one that is removed is ignored in them. Serde's
/// field attributes (`default`, `rename`, `alias`, `with`, ...) and doc comments may stand on parameters.
///
/// # Output
///
/// A task returns `Result<T, E>`, or nothing. `T` is stored for whoever waits; `E` is a `TaskError` or anything that
/// becomes one: errors of the standard library, `anyhow::Error`, strings. A task that can't fail returns
/// `Result<T, std::convert::Infallible>`. The type `T` must be as visible as the function (`E0446` otherwise).
///
/// # Options
///
/// Each is given at most once. Those from `queue` to `at_most_once` but `retry_if` are methods of a call too, which override it:
/// `send_email::new(..).retries(0)`; a call's `.tag(..)`, `.limit(..)` and `.lock(..)` are one more. Those that enqueue the
/// task by itself stand under [Periodic tasks](#periodic-tasks).
///
/// | option | value | default |
/// |---|---|---|
/// | `name = "mail.send"` | what its jobs are stored under: 1 to 128 bytes of letters, digits and `_-.:/` | the function's name, without its modules |
/// | `aliases = ["mail"]` | names under which older programs stored its jobs | none |
/// | `queue = "mail"` | the queue its jobs go to | `"default"` |
/// | `priority = 10` | an `i32`; higher runs first | 0 |
/// | `retries = 3` | runs after the first that failed: 3 is at most four runs | 0 |
/// | `backoff = exponential("2s")` | the delay between them, see below | `exponential("1s", factor = 2, cap = "1h")` |
/// | `jitter = full` | how the delay is spread: `none`, `full` (from zero) or `equal` (from one half) | `equal` |
/// | `retry_for = "10m"` | no retry is due later than this after the start of the first run; it grants none, nor do `backoff` and `jitter`: without `retries` they are refused | as long as there are retries |
/// | `retry_if = is_transient` | a `fn(&E) -> bool` of the task's error: false makes it fatal, unless it says something itself | the policy decides |
/// | `timeout = "30s"` | the longest an attempt may take; the thread of what is not async can't be stopped, see below | no limit |
/// | `expires = "1h"` | how long after it is due a job's first run must have started; else it is expired | whenever |
/// | `deadline = "2h"` | how long after it is due a job must have ended: what runs then is cut short | whenever |
/// | `tags = ["mail"]` | labels to find its jobs by, at most 8 | none |
/// | `keep = "1d"` | how long the completed job is kept | 1 h with an output, 60 s without |
/// | `unique` | a second call finds the first one's job: `unique(key = "customer")`, see below | any number |
/// | `concurrency = 5` | how many run at once, over all workers: `concurrency(5, key = "tenant")`, see below | any number |
/// | `rate = "100/s"` | how fast they start, over all workers: `rate("100/s", burst = 5)`, see below | any speed |
/// | `lock = "ledger"` | one at a time of all jobs that name the lock, whatever their task | none |
/// | `at_most_once` | a job whose worker is lost dies instead of running again; refused beside `retries` | off |
/// | `args = SendEmail` | the name of the struct | the function's name |
/// | `crate = some::path` | where the library `queue` is found | `::queue` |
///
/// **Backoffs**: `fixed("5s")`; `exponential("2s", factor = 3, cap = "1h")`; `linear("2s", step = "3s", cap = "1m")`;
/// a list of up to 16, whose last is repeated, `list("2s", "10s", "1m")` or just `["2s", "10s", "1m"]`; or the path to a
/// function of your own, `fn(attempt: u32) -> Duration`, where `attempt` is the one that failed, from 1. Without `factor`
/// delays double, without `step` they grow by the first, without `cap` they grow up to an hour.
///
/// Five retries after 2, 4, 8, 16 and 32 seconds, of errors that may pass and of no others, are one attribute:
///
/// ```
/// use queue::{Task, task};
/// use std::io::{Error, ErrorKind};
///
/// fn is_transient(error: &Error) -> bool {
///     matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::ConnectionReset)
/// }
///
/// #[task(retries = 5, backoff = exponential("2s"), jitter = none, retry_if = is_transient)]
/// async fn fetch(url: String) -> Result<(), Error> {
///     Err(Error::new(ErrorKind::TimedOut, url))
/// }
///
/// let delays = (1..=6).map(|attempt| fetch::OPTIONS.policy.delay_after(attempt, 0.5));
/// let seconds: Vec<_> = delays.map(|delay| delay.map(|delay| delay.as_secs())).collect();
/// assert_eq!(seconds, [Some(2), Some(4), Some(8), Some(16), Some(32), None]);
/// ```
///
/// **One at a time, once, not too fast.** A key is an argument by name, in quotes, of any type (`None` is a value too). Each
/// of these holds within one queue.
///
/// | written | means | where nothing is said |
/// |---|---|---|
/// | `unique(key = "customer")`, `key = ["tenant", "month"]` | one job for each value of these arguments | of all arguments |
/// | `unique(shared = "nightly")` | one job of all that name it, whatever their task | |
/// | `unique(.., until = started)`, `finished`, `forever`, or `within = "10m"` | how long it keeps others out | `finished` |
/// | `unique(.., conflict = reject)`, `existing`, `replace`, `debounce`, `run_after` | what becomes of another meanwhile | `existing`: its handle is the first one's |
/// | `concurrency(5, key = "tenant")` | five at once for each tenant | of the task |
/// | `concurrency(5, shared = "crm")`, `rate("100/s", shared = "crm")` | of all jobs that name it, whatever their task | |
/// | `concurrency(5, full = cancel)`, `lock("ledger", full = cancel)` | who finds no room is cancelled | `wait` |
/// | `rate("100/s", burst = 5)` | how many may start together after a rest; a period is `s`, `m`, `h`, `d`, or as in `"3/10s"` | 1: one every 10 ms |
/// | `rate("100/s", burst = 5, cost = 2)` | one job counts for two starts | 1 |
///
/// Of `concurrency`, `rate` and `lock` a task has one each; a call adds more with `.limit(..)`, four in all, and under names
/// made at run time: `Limit::concurrency(5).shared(format!("crm:{tenant}"))` is five at once for a tenant over several tasks.
/// What each window and each conflict means: [`Unique`](https://docs.rs/queue-jobs/latest/queue/struct.Unique.html), and
/// [`Limit`](https://docs.rs/queue-jobs/latest/queue/struct.Limit.html).
///
/// ```
/// use queue::{Context, TaskError, task};
/// use std::time::Duration;
///
/// /// One invoice for each tenant and month; five at once for each tenant.
/// #[task(unique(key = ["tenant", "month"], conflict = reject), concurrency(5, key = "tenant"), retries = 5)]
/// async fn invoice(tenant: String, month: String, amount: i64) -> Result<(), std::io::Error> {
///     Ok(())
/// }
///
/// /// A hundred a second, and nobody calls for a while when the other side says 429.
/// #[task(rate("100/s", burst = 5), retries = 5)]
/// async fn push(line: String, ctx: Context) -> Result<(), TaskError> {
///     Err(ctx.rate_limited(Duration::from_secs(2))) // burns no attempt, holds the rate for all workers
/// }
/// ```
///
/// **Timeouts**: an attempt that takes too long fails, and the retry policy decides. What is async is dropped at its next
/// await. What is not async runs on a thread, which can't be stopped: it hears that it should end from
/// `ctx.is_cancelled()`, keeps its slot of the worker until it does, and may still run when the job is retried.
///
/// **Durations** are strings with the units `d`, `h`, `m`, `s`, `ms`, largest first: `"90s"`, `"1h30m"`, `"250ms"`. A
/// bare number is seconds.
///
/// # Periodic tasks
///
/// With `cron` or `every` the task is enqueued by itself: once each time, however many workers there are. All
/// there is to do is to give it to a worker: `.tasks(tasks![clean_up])`. Its schedule has the task's name, and lives in the
/// task's queue; its jobs have all the task's other options.
///
/// | option | value | default |
/// |---|---|---|
/// | `cron = "0 */2 * * *"` | at the times of a [cron expression](https://docs.rs/queue-cron/latest/queue_cron/#expressions), of five fields, or six with the second in front | |
/// | `every = "5m"` | at the moments that are whole periods after the epoch; at least `"1ms"` | |
/// | `tz = "Europe/Paris"` | the zone on whose clock the expression goes; only with `cron` | what the expression says (`CRON_TZ=Europe/Paris 0 3 * * *`), else UTC |
/// | `missed = last` | what becomes of ticks that were due while no worker was there: `skip("10m")` carries the latest out if it is no later than that, `last` however late it is, `all(5)` the latest five, up to 1000, each as a job of its own | `skip("1h")` |
/// | `overlap = skip` | what becomes of a tick while the job of the tick before has not ended: `allow` runs both, `skip` leaves the tick out, `cancel_running` cancels the job before | `allow` |
/// | `tick_jitter = "30s"` | each job starts up to so much later than its tick (`jitter` spreads retries) | nothing |
/// | `revision = 2` | the number of this definition, to be raised with each change: of several versions of a program the highest stands | 0 |
///
/// Expression and zone are checked when the program is compiled. Each argument needs `#[serde(default)]`, or is an
/// `Option`: a tick leaves them all out. Calls with arguments, or several schedules of one task, are said to the worker:
/// `Worker::builder(&client).cron("weekly", "0 3 * * MON", clean_up::new(7))`.
///
/// ```
/// use queue::{Client, Periodic, Task, Worker, task, tasks};
/// use std::time::Duration;
///
/// fn a_month() -> u32 {
///     30
/// }
///
/// /// Every two hours on the clock of Paris, unless the run before still goes on.
/// #[task(cron = "0 */2 * * *", tz = "Europe/Paris", overlap = skip, retries = 3)]
/// async fn clean_up(#[serde(default = "a_month")] keep_days: u32) -> Result<(), std::io::Error> {
///     Ok(println!("removes what is older than {keep_days} days"))
/// }
///
/// #[task(every = "5m", missed = last, tick_jitter = "30s")]
/// async fn poll(since: Option<String>) {}
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue::BoxError> {
/// let client = Client::memory();
/// let worker = Worker::builder(&client).tasks(tasks![clean_up, poll]).build()?; // `.run().await` has them ticking
/// # drop(worker);
///
/// let said = Periodic::every(Duration::from_secs(300)).missed(queue::Missed::Last).jitter(Duration::from_secs(30));
/// assert_eq!(poll::OPTIONS.periodic, Some(said));
///
/// clean_up::new(7).enqueue(&client).await?; // by hand too, as any task
/// # Ok(()) }
/// ```
///
/// # Where it can stand
///
/// On a free function that is neither generic nor `unsafe`. A method is refused. On a function in an `impl` that has no
/// `self`, which a macro can't tell from a free one, rustc says "struct is not supported in `impl`s": move it out.
///
/// A module and a struct can't have one name, so a file `send_email.rs` whose `send_email` is re-exported beside it
/// fails with `E0255`: name the struct with `args = SendEmail`, or keep several tasks in a file. In links in
/// documentation say `fn@send_email` or `struct@send_email`.
///
/// `tasks![plain]`, where `plain` is a function without `#[task]`, is "constant provided when a type was expected"
/// (`E0747`).
#[proc_macro_attribute]
pub fn task(options: TokenStream, function: TokenStream) -> TokenStream {
    expand::task(options.into(), &function.into()).into()
}
