//! What the application answers.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::guard::fn_guard;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, JsonConfig, Path, ServiceConfig, resource, scope, to};
use queue::{Client, JobId, Lookup, web::Web};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::answers::Problem;
use crate::tasks::{process_payment, report, send_welcome_email};

/// From this amount on a payment goes before other payments.
const LARGE: f64 = 10_000.0;

/// How long a look at a job may take.
const PATIENCE: Duration = Duration::from_secs(2);

type Answer = Result<HttpResponse, Problem>;

/// The application: its own routes, the probes at the paths where they are looked for, and all of the queue's API.
pub(crate) fn app(client: Client, web: Web) -> impl FnOnce(&mut ServiceConfig) {
    let probes = fn_guard(|asked| matches!(asked.head().uri.path(), "/livez" | "/readyz" | "/health/queue"));
    move |config| {
        config
            .app_data(Data::new(client))
            .app_data(JsonConfig::default().error_handler(|error, _| Problem::body(&error).into()))
            .service(resource("/users").post(create_user).default_service(to(wrong_method)))
            .service(resource("/payments").post(create_payment).default_service(to(wrong_method)))
            .service(resource("/reports").post(create_report).default_service(to(wrong_method)))
            .service(resource("/tasks/{id}").get(task_status).default_service(to(wrong_method)))
            .service(scope("/queue").configure(web.clone().into_actix()))
            .service(scope("").guard(probes).configure(web.into_actix()))
            .default_service(to(no_route));
    }
}

async fn no_route() -> Answer {
    Err(Problem::new(StatusCode::NOT_FOUND, "no_route", "nothing is at this path"))
}

async fn wrong_method() -> Answer {
    Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", "this path takes another method"))
}

#[derive(Deserialize)]
struct NewUser {
    email: String,
    name: String,
}

/// Answers as soon as the email is in the queue: no one waits for its sending.
async fn create_user(client: Data<Client>, Json(user): Json<NewUser>) -> Answer {
    if user.name.trim().is_empty() || !user.email.contains('@') {
        return Err(invalid("a user has a `name` and an `email` with an @"));
    }
    let user_id = format!("user_{}", Uuid::now_v7()); // your database's
    let email = send_welcome_email::new(&user_id, user.email).enqueue(&client).await?;
    Ok(accepted(json!({ "user_id": user_id, "email_task_id": email.id().to_string() })))
}

#[derive(Deserialize)]
struct NewPayment {
    amount: f64,
}

async fn create_payment(client: Data<Client>, Json(NewPayment { amount }): Json<NewPayment>) -> Answer {
    if amount <= 0.0 {
        return Err(invalid("`amount` is more than 0"));
    }
    let payment_id = format!("pay_{}", Uuid::now_v7());
    let mut payment = process_payment::new(&payment_id, amount);
    if amount >= LARGE {
        payment = payment.priority(200);
    }
    let job = payment.enqueue(&client).await?;
    Ok(accepted(json!({ "payment_id": payment_id, "task_id": job.id().to_string() })))
}

#[derive(Deserialize)]
struct NewReport {
    seconds: u64,
}

async fn create_report(client: Data<Client>, Json(NewReport { seconds }): Json<NewReport>) -> Answer {
    if seconds > 3_600 {
        return Err(invalid("`seconds` is at most 3600"));
    }
    let job = report::new(seconds).enqueue(&client).await?;
    Ok(accepted(json!({ "task_id": job.id().to_string() })))
}

/// Whether a job has ended, and what it returned, whatever its task; `error` says why it returned nothing.
async fn task_status(client: Data<Client>, id: Path<String>) -> Answer {
    let id: JobId = id.parse().map_err(|error| invalid(format!("this is no task's id: {error}")))?;
    let status = tokio::time::timeout(PATIENCE, status(&client, id)).await;
    Ok(HttpResponse::Ok().json(status.map_err(Problem::unavailable)??))
}

async fn status(client: &Client, id: JobId) -> Result<Value, Problem> {
    let job = match client.job(id).await? {
        Lookup::Found(job) => job,
        Lookup::Unknown => return Err(Problem::new(StatusCode::NOT_FOUND, "unknown", "there is no such task")),
        Lookup::Gone => return Err(Problem::new(StatusCode::GONE, "gone", "it ended, and is kept no longer")),
    };
    let result = client.result_json(&job).await.map_err(Problem::unavailable)?;
    let result: Option<Value> = result.and_then(|text| serde_json::from_str(&text).ok());
    let mut answer = json!({ "task_id": id.to_string(), "complete": job.state.is_end(), "result": result });
    if let Some(reason) = &job.reason {
        answer["error"] = json!(reason.to_string());
    }
    Ok(answer)
}

fn accepted(body: Value) -> HttpResponse {
    HttpResponse::Accepted().json(body)
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
}
