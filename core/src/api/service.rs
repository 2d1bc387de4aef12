//! What stands beside the API: the health of the node, its metrics, the documents, and the echo for tests.

use bytes::Bytes;

use super::answer::{JSON, Refused, Reply};
use super::call::{Call, Handled};
use crate::node::VERSION;
use crate::openapi::{Document, asyncapi_document, content_security_policy, docs_page, openapi_document};
use crate::wire::{Broker, Database, HealthBody, HealthStatus};

/// `GET /livez`: whoever gets this answer has met a loop that turns.
pub(super) fn livez(_call: Call<'_, '_>) -> Handled {
    Ok(Reply::text("ok\n").into())
}

/// `GET /readyz`: whether a balancer should send clients here.
pub(super) fn readyz(call: Call<'_, '_>) -> Handled {
    if call.turn.node.health.is_ready(call.turn.now) {
        Ok(Reply::text("ready\n").into())
    } else {
        Err(Refused::unavailable().because("Starting, draining, or without a database for a while."))
    }
}

/// `GET /health`: for people and monitors. A broker that is away slows deliveries between nodes and loses nothing, so
/// it degrades the node, but only the database makes it 503.
pub(super) fn health(call: Call<'_, '_>) -> Handled {
    let health = &call.turn.node.health;
    let database_ok = health.database_down_ms(call.turn.now).is_none();
    let broker = health.broker();
    let body = HealthBody {
        status: if database_ok && broker != Broker::Down { HealthStatus::Ok } else { HealthStatus::Degraded },
        version: VERSION,
        database: if database_ok { Database::Ok } else { Database::Down },
        broker,
    };
    if database_ok {
        Ok(Reply::json(200, &body).into())
    } else {
        Ok(Reply::json(503, &body).with_header("Retry-After", "5").into())
    }
}

/// `GET /metrics`: the text format of Prometheus.
pub(super) fn metrics(call: Call<'_, '_>) -> Handled {
    let body = (call.turn.node.metrics)();
    Ok(Reply { status: 200, content_type: Some(PROMETHEUS), body: body.into(), ..Reply::default() }.into())
}

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn openapi(call: Call<'_, '_>) -> Handled {
    Ok(document(&call, JSON, openapi_document()).into())
}

pub(super) fn asyncapi(call: Call<'_, '_>) -> Handled {
    Ok(document(&call, JSON, asyncapi_document()).into())
}

/// `GET /docs`: both to be read.
pub(super) fn docs(call: Call<'_, '_>) -> Handled {
    let page = document(&call, "text/html; charset=utf-8", docs_page());
    Ok(page.with_header("Content-Security-Policy", content_security_policy()).into())
}

/// A document changes with the server only: whoever has it already is told so.
fn document(call: &Call<'_, '_>, content_type: &'static str, document: &'static Document) -> Reply {
    let known = call.request.if_none_match.is_some_and(|known| {
        known
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == "*" || tag == document.etag)
    });
    let reply = if known {
        Reply { status: 304, ..Reply::default() }
    } else {
        let body = document.bytes.clone();
        Reply { status: 200, content_type: Some(content_type), body, ..Reply::default() }
    };
    reply.with_header("ETag", document.etag.as_str()).with_header("Cache-Control", "no-cache")
}

/// `POST /debug/echo`: the body again. Never as something that a browser would show.
pub(super) fn echo(call: Call<'_, '_>) -> Handled {
    let body = Bytes::copy_from_slice(call.request.body);
    Ok(Reply { status: 200, content_type: Some("application/octet-stream"), body, ..Reply::default() }.into())
}
