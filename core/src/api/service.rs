//! What stands beside the API: the health of the node, its metrics, the documents, and the echo for tests.

use bytes::Bytes;

use super::answer::{Refused, Reply};
use super::call::{Call, Handled};
use crate::node::VERSION;
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

/// `POST /debug/echo`: the body again. Never as something that a browser would show.
pub(super) fn echo(call: Call<'_, '_>) -> Handled {
    let body = Bytes::copy_from_slice(call.request.body);
    Ok(Reply { status: 200, content_type: Some("application/octet-stream"), body, ..Reply::default() }.into())
}
