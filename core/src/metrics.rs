//! `Metrics`: what the server counts, by the names under which `/metrics` shows it. Never a label by user or room.
//!
//! One registry of our own. Counters are atomics that the actors' drivers add to; gauges are set by whoever owns the thing
//! measured. Nothing here is asked while a message is on its way.

use std::sync::Arc;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// All metrics of a node.
pub struct Metrics {
    registry: Registry,
    /// Requests answered, by route and status.
    pub requests: IntCounterVec,
    /// From a request's last byte to its answer, in seconds, by route.
    pub request_seconds: HistogramVec,
    pub connections: IntGauge,
    /// WebSocket messages that clients sent.
    pub frames_in: IntCounter,
    /// Writes of room frames to members; under load one carries several frames.
    pub deliveries: IntCounter,
    /// Frames refused, by code.
    pub refusals: IntCounterVec,
    /// Connections closed by the server, by close code.
    pub closes: IntCounterVec,
    commit_events: Histogram,
    commit_seconds: Histogram,
    /// From letting an append in to its answer, in seconds.
    pub ack_seconds: Histogram,
    /// Joins and asks of connections that were behind, by what became of them.
    pub catch_ups: IntCounterVec,
    /// Events that slow connections were told they do not get.
    pub gaps: IntCounter,
    /// How full each bounded thing is, and how full it may become.
    fill: IntGaugeVec,
    bound: IntGaugeVec,
}

impl Metrics {
    pub fn new() -> Arc<Metrics> {
        let registry = Registry::new();
        let metrics = Metrics {
            requests: counters(
                &registry,
                "chatroom_http_requests_total",
                "Requests answered.",
                &["route", "status"],
            ),
            request_seconds: histograms(
                &registry,
                "chatroom_http_request_seconds",
                "Time to answer a request.",
                &["route"],
            ),
            connections: gauge(&registry, "chatroom_connections", "Connections open now."),
            frames_in: counter(&registry, "chatroom_frames_received_total", "WebSocket messages received."),
            deliveries: counter(&registry, "chatroom_deliveries_total", "Writes of room frames to members."),
            refusals: counters(
                &registry,
                "chatroom_refusals_total",
                "Frames and requests refused.",
                &["code"],
            ),
            closes: counters(
                &registry,
                "chatroom_closes_total",
                "Connections closed by the server.",
                &["code"],
            ),
            commit_events: histogram(
                &registry,
                "chatroom_commit_events",
                "Events in one transaction.",
                prometheus::exponential_buckets(1.0, 2.0, 11),
            ),
            commit_seconds: histogram(
                &registry,
                "chatroom_commit_seconds",
                "Time of one transaction.",
                prometheus::exponential_buckets(0.0005, 2.0, 14),
            ),
            ack_seconds: histogram(
                &registry,
                "chatroom_ack_seconds",
                "Time from letting an event in to its answer.",
                prometheus::exponential_buckets(0.001, 2.0, 14),
            ),
            catch_ups: counters(
                &registry,
                "chatroom_catch_ups_total",
                "Connections that were behind.",
                &["result"],
            ),
            gaps: counter(
                &registry,
                "chatroom_gap_events_total",
                "Events that slow connections were not sent.",
            ),
            fill: gauges(&registry, "chatroom_fill", "How full a bounded thing is.", &["of"]),
            bound: gauges(&registry, "chatroom_bound", "How full it may become.", &["of"]),
            registry,
        };
        Arc::new(metrics)
    }

    /// How full a bounded thing is, and how full it may become.
    pub fn set_fill(&self, of: &str, fill: usize, bound: usize) {
        self.fill.with_label_values(&[of]).set(i64::try_from(fill).unwrap_or(i64::MAX));
        self.bound.with_label_values(&[of]).set(i64::try_from(bound).unwrap_or(i64::MAX));
    }

    /// A transaction stored so many events and took so long.
    pub fn commit(&self, events: usize, took_ms: u64) {
        self.commit_events.observe(events as f64);
        self.commit_seconds.observe(took_ms as f64 / 1000.0);
    }

    /// The text format of Prometheus.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if TextEncoder::new().encode(&self.registry.gather(), &mut text).is_err() {
            text.clear();
        }
        text
    }
}

fn registered<T: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<T>,
) -> T {
    let metric = made.expect("the names of our metrics are valid");
    registry.register(Box::new(metric.clone())).expect("no two of our metrics have one name");
    metric
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    registered(registry, IntCounter::new(name, help))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    registered(registry, IntGauge::new(name, help))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: prometheus::Result<Vec<f64>>,
) -> Histogram {
    let buckets = buckets.expect("our buckets grow");
    registered(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)))
}

fn histograms(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    let buckets = prometheus::exponential_buckets(0.0005, 2.0, 14).expect("our buckets grow");
    registered(registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels))
}
