//! The routes, described: for people at the mount point, for programs as OpenAPI.

use http::Method;
use serde_json::{Map, Value, json};

use crate::access::is_write;
use crate::answer::{Answer, Reply};
use crate::route::Kind::{Any, Count, Flag, List, Moment, Number, Object, Text};
use crate::route::{Asked, Described, Field, Gate, Kind, Param, Route, Shape, field};

pub(crate) const INDEX: &[Field] = &[field("routes", List)];
pub(crate) const OPENAPI: &[Field] = &[
    field("openapi", Text),
    field("info", Object),
    field("servers", List),
    field("paths", Object),
    field("components", Object),
];

pub(crate) async fn index(asked: Asked) -> Reply {
    let routes = there(&asked)
        .map(|route| json!({ "method": route.method.as_str(), "path": route.path, "summary": route.what }));
    Ok(Answer::ok(json!({ "routes": routes.collect::<Vec<_>>() })))
}

pub(crate) async fn openapi(asked: Asked) -> Reply {
    let mut paths = Map::new();
    for route in there(&asked) {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route);
    }
    let error = json!({
        "type": "object",
        "properties": { "error": {
            "type": "object",
            "properties": { "code": schema(Text), "message": schema(Text), "help": schema(Text) },
            "required": ["code", "message", "help"],
        } },
        "required": ["error"],
    });
    Ok(Answer::ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Background jobs",
            "description": "Health checks, and jobs, queues, workers and schedules as JSON.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        // Relative to this document, so right under any prefix.
        "servers": [{ "url": "." }],
        "paths": paths,
        "components": { "schemas": { "Error": error } },
    })))
}

/// The routes that this one has.
fn there(asked: &Asked) -> impl Iterator<Item = &'static Route> {
    let web = asked.web.clone();
    asked.routes.iter().filter(move |route| route.is_in(&web))
}

fn operation(route: &Route) -> Value {
    let in_path =
        route.params().map(|name| json!({ "name": name, "in": "path", "required": true, "schema": schema(Text) }));
    let in_query = route.query.iter().map(|Param { name, kind, what }| {
        json!({ "name": name, "in": "query", "required": false, "description": what, "schema": schema(*kind) })
    });
    let mut responses: Map<String, Value> =
        route.answers.iter().map(|answer| (answer.status.as_u16().to_string(), response(answer))).collect();
    let any =
        "An error: the request is at fault (400), may not do this (403), or the storage does not answer (503, 504).";
    responses.insert("default".into(), json!({ "description": any, "content": json_of(&error_schema()) }));
    let access = match (route.gate, is_write(&route.method)) {
        (Gate::Open, _) => "none",
        (Gate::Guarded, false) => "read",
        (Gate::Guarded, true) => "all",
    };
    json!({
        "summary": route.what,
        "operationId": operation_id(&route.method, route.path),
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": responses,
        "x-access": access,
    })
}

/// `get-jobs-id` of `GET /jobs/{id}`.
fn operation_id(method: &Method, path: &str) -> String {
    let words = path.split(['/', '{', '}', '.']).filter(|word| !word.is_empty());
    let words: Vec<_> = std::iter::once(method.as_str().to_lowercase()).chain(words.map(str::to_owned)).collect();
    words.join("-")
}

fn response(answer: &Described) -> Value {
    let content = match answer.shape {
        Shape::Fields(fields) => json_of(&object(fields)),
        Shape::Error => json_of(&error_schema()),
        Shape::Metrics => json!({ "text/plain": { "schema": schema(Text) } }),
    };
    json!({ "description": answer.what, "content": content })
}

fn json_of(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn error_schema() -> Value {
    json!({ "$ref": "#/components/schemas/Error" })
}

fn object(fields: &[Field]) -> Value {
    let of = |field: &Field| {
        let mut schema = schema(field.kind);
        if field.or_null {
            schema["type"] = json!([schema["type"], "null"]);
        }
        if let Some(what) = field.what {
            schema["description"] = json!(what);
        }
        (field.name.to_owned(), schema)
    };
    let required: Vec<_> = fields.iter().filter(|field| !field.optional).map(|field| field.name).collect();
    let properties: Map<_, _> = fields.iter().map(of).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn schema(kind: Kind) -> Value {
    match kind {
        Text => json!({ "type": "string" }),
        Moment => json!({ "type": "string", "format": "date-time" }),
        Count => json!({ "type": "integer" }),
        Number => json!({ "type": "number" }),
        Flag => json!({ "type": "boolean" }),
        Object => json!({ "type": "object" }),
        List => json!({ "type": "array" }),
        Any => json!({}),
    }
}
