//! The runs whose figures `docs/benchmarks.md` shows: what is started, in which order, and what is said of it.
//!
//! Subjects that are compared take turns, so that a machine that becomes busy spoils all of them alike, and the median of
//! the rounds is what counts. Every round is a new process.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::subject::Programs;

/// What a run has found.
pub struct Outcome {
    pub text: String,
    pub json: Value,
    /// All goals are met.
    pub is_good: bool,
}

/// The flood whose deliveries are compared.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub rounds: usize,
    pub members: usize,
    pub messages: u64,
    pub window: u64,
    pub bytes: usize,
    pub until: String,
    /// Settings of the server, besides those of all runs.
    pub settings: Vec<(String, String)>,
}

/// Goals: a delivery of the server costs at most this many of the floor's that sends once a turn.
const RATIO_MAX: f64 = 1.5;
/// Bytes of an idle connection, in user space.
const IDLE_BYTES_MAX: f64 = 512.0;
/// Seconds in which all clients of a storm are at the head.
const STORM_S_MAX: f64 = 10.0;
/// Events in a block of the store, which a storm reads once at most.
const BLOCK_EVENTS: u64 = 100;

impl Delivery {
    pub fn run(&self, programs: &Programs, mut say: impl FnMut(&str)) -> Result<Outcome> {
        let mut rounds: [Vec<Value>; 3] = Default::default();
        for round in 1..=self.rounds {
            for (index, name) in SUBJECTS.iter().enumerate() {
                let subject = match index {
                    0 => programs.start_floor("each-delivery")?,
                    1 => programs.start_floor("each-turn")?,
                    _ => programs.start_server(&self.settings)?,
                };
                let report = programs.load(&subject, &self.arguments(index < 2))?;
                say(&format!("round {round} of {}, {name}: {:.3} µs", self.rounds, number(&report, CPU)));
                rounds[index].push(report);
            }
        }
        let medians: Vec<f64> = rounds.iter().map(|reports| median(reports, CPU)).collect();
        let mut text = format!(
            "1 room × {} members, {} bytes a message, {} in flight until {}; medians of {} rounds of {} messages\n\n",
            self.members, self.bytes, self.window, self.until, self.rounds, self.messages
        );
        writeln!(
            text,
            "{:<26}{:>16}{:>22}{:>16}{:>14}{:>16}",
            "", "CPU µs/delivery", "lowest … highest", "deliveries/send", "messages/s", "p99 delivery ms"
        )?;
        for (reports, name) in rounds.iter().zip(SUBJECTS) {
            let all = sorted(reports, CPU);
            let range = format!("{:.3} … {:.3}", all.first().unwrap_or(&0.0), all.last().unwrap_or(&0.0));
            let tails: Vec<Value> = reports.iter().map(|report| report["delivery"].clone()).collect();
            writeln!(
                text,
                "{name:<26}{:>16.3}{range:>22}{:>16.2}{:>14.0}{:>16.2}",
                median(reports, CPU),
                median(reports, "deliveries_per_packet"),
                median(reports, "messages_per_s"),
                median(&tails, "p99"),
            )?;
        }
        let ratios = (medians[2] / medians[0], medians[2] / medians[1]);
        let is_good = ratios.1 <= RATIO_MAX;
        writeln!(text, "\nserver / floor, a send a delivery: {:.2}", ratios.0)?;
        writeln!(
            text,
            "server / floor, a send a turn:     {:.2}  (goal: at most {RATIO_MAX}: {})",
            ratios.1,
            word(is_good)
        )?;
        writeln!(text, "load average: {}", load_average())?;
        let json = json!({
            "run": "delivery",
            "cpu_us_per_delivery": { "floor_each_delivery": medians[0], "floor_each_turn": medians[1], "server": medians[2] },
            "ratio_to_each_delivery": ratios.0,
            "ratio_to_each_turn": ratios.1,
            "rounds": { "floor_each_delivery": rounds[0], "floor_each_turn": rounds[1], "server": rounds[2] },
        });
        Ok(Outcome { text, json, is_good })
    }

    fn arguments(&self, is_floor: bool) -> Vec<String> {
        let numbers = [
            ("--members", self.members.to_string()),
            ("--messages", self.messages.to_string()),
            ("--window", self.window.to_string()),
            ("--bytes", self.bytes.to_string()),
            // The floor knows no acks; what comes nearest is the sender's own copy.
            ("--until", if is_floor && self.until == "ack" { "own".to_owned() } else { self.until.clone() }),
        ];
        let mut arguments = vec!["flood".to_owned()];
        arguments.extend(numbers.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        arguments.extend(is_floor.then(|| "--floor".to_owned()));
        arguments
    }
}

/// Idle connections: the load's own report, held against the goal.
pub fn idle(programs: &Programs, settings: &[(String, String)], arguments: &[String]) -> Result<Outcome> {
    let subject = programs.start_server(settings)?;
    let report = programs.load(&subject, &with("idle", arguments))?;
    let bytes = number(&report, "server_bytes_per_connection");
    let is_good = bytes <= IDLE_BYTES_MAX;
    let text = format!(
        "{} idle connections in {} rooms: {bytes:.0} bytes each in user space  (goal: at most {IDLE_BYTES_MAX}: {})\n{}",
        report["connections"],
        report["rooms"],
        word(is_good),
        listed(&report)
    );
    Ok(Outcome { text, json: report, is_good })
}

/// A storm of returning clients.
pub fn storm(programs: &Programs, settings: &[(String, String)], arguments: &[String]) -> Result<Outcome> {
    let subject = programs.start_server(settings)?;
    let report = programs.load(&subject, &with("storm", arguments))?;
    let seconds = number(&report, "seconds_until_all_at_head");
    let blocks =
        (report["missed"].as_u64().unwrap_or(0) / BLOCK_EVENTS + 1) * report["rooms"].as_u64().unwrap_or(0);
    let is_good =
        seconds <= STORM_S_MAX && report["store_reads"].as_u64().is_some_and(|reads| reads <= blocks);
    let text = format!(
        "{} clients cut at once, {} messages missed in {} rooms: all at the head after {seconds:.2} s, store reads: {}  \
         (goal: {STORM_S_MAX} s, {blocks} reads: {})\n{}",
        report["clients"],
        report["missed"],
        report["rooms"],
        report["store_reads"],
        word(is_good),
        listed(&report)
    );
    Ok(Outcome { text, json: report, is_good })
}

const SUBJECTS: [&str; 3] = ["floor, a send a delivery", "floor, a send a turn", "server, durable"];
const CPU: &str = "server_cpu_us_per_delivery";

fn with(mode: &str, arguments: &[String]) -> Vec<String> {
    std::iter::once(mode.to_owned()).chain(arguments.iter().cloned()).collect()
}

fn listed(report: &Value) -> String {
    let rows = report.as_object().into_iter().flatten();
    rows.map(|(name, value)| format!("  {:<34} {value}\n", name.replace('_', " "))).collect()
}

fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or(f64::NAN)
}

fn sorted(reports: &[Value], name: &str) -> Vec<f64> {
    let mut values: Vec<f64> = reports.iter().map(|report| number(report, name)).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(reports: &[Value], name: &str) -> f64 {
    let values = sorted(reports, name);
    let middle = values.len() / 2;
    match values.get(middle) {
        None => f64::NAN,
        Some(&upper) if values.len() % 2 == 1 => upper,
        Some(&upper) => f64::midpoint(values[middle - 1], upper),
    }
}

fn word(is_good: bool) -> &'static str {
    if is_good { "met" } else { "missed" }
}

/// How busy the machine is: figures of a busy one say little.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").context("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two_in_the_middle() {
        let reports = |values: &[f64]| values.iter().map(|value| json!({ "x": value })).collect::<Vec<_>>();
        assert_eq!(median(&reports(&[3.0, 1.0, 2.0]), "x"), 2.0);
        assert_eq!(median(&reports(&[4.0, 1.0, 2.0, 3.0]), "x"), 2.5);
        assert!(median(&[], "x").is_nan());
    }
}
