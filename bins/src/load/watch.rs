//! What a process costs, seen from outside through `/proc` (proc(5)): CPU by thread, memory; and what the machine's TCP
//! and the server's own metrics count meanwhile.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// The CPU time that a process has used so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Cpu {
    /// Nanoseconds on a processor by kind of thread (`reactor`, `lane`, …), from `task/*/schedstat`: user and system time
    /// together, interrupts that came meanwhile included. Threads that have ended are not in it.
    pub(super) threads_ns: BTreeMap<String, u64>,
    /// User and system time in clock ticks, from `stat`: coarse, and only for their ratio.
    pub(super) user_ticks: u64,
    pub(super) system_ticks: u64,
}

/// The memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// Resident and its own: heap, stacks, tables. No file, no kernel memory.
    pub(super) anonymous: u64,
    pub(super) resident: u64,
}

impl Cpu {
    pub(super) fn of(pid: u32) -> Result<Cpu> {
        let mut cpu = Cpu::default();
        for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid}"))? {
            let path = task?.path();
            // A thread may end between the two looks.
            let (Ok(name), Ok(times)) =
                (fs::read_to_string(path.join("comm")), fs::read_to_string(path.join("schedstat")))
            else {
                continue;
            };
            let ns: u64 = times.split(' ').next().unwrap_or_default().parse().context("schedstat")?;
            *cpu.threads_ns.entry(kind(name.trim())).or_default() += ns;
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The command's name is in brackets and may hold anything.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or(stat.as_str(), |(_, rest)| rest).split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse().ok()).unwrap_or(0);
        (cpu.user_ticks, cpu.system_ticks) = (ticks(11), ticks(12));
        Ok(cpu)
    }

    /// What was used since an earlier look.
    pub(super) fn since(&self, earlier: &Cpu) -> Cpu {
        let threads_ns = self.threads_ns.iter().map(|(name, ns)| {
            let before = earlier.threads_ns.get(name).copied().unwrap_or(0);
            (name.clone(), ns.saturating_sub(before))
        });
        Cpu {
            threads_ns: threads_ns.collect(),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
        }
    }

    pub(super) fn total_us(&self) -> f64 {
        self.threads_ns.values().sum::<u64>() as f64 / 1000.0
    }

    /// The part of it that ran in user space, 0 to 1.
    pub(super) fn user_share(&self) -> f64 {
        let all = self.user_ticks + self.system_ticks;
        if all == 0 { 0.0 } else { self.user_ticks as f64 / all as f64 }
    }
}

impl Memory {
    pub(super) fn of(pid: u32) -> Result<Memory> {
        let status =
            fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
        let bytes = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib =
                line.and_then(|rest| rest.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
            Ok(kib.with_context(|| format!("/proc/{pid}/status has no {name}"))? * 1024)
        };
        Ok(Memory { anonymous: bytes("RssAnon:")?, resident: bytes("VmRSS:")? })
    }
}

/// Packets with data that this machine's TCP has sent so far, all connections together: on the loopback interface each
/// small `send` is one.
pub(super) fn data_packets() -> Result<u64> {
    let netstat = fs::read_to_string("/proc/net/netstat")?;
    let mut rows = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (rows.next().unwrap_or_default(), rows.next().unwrap_or_default());
    let column =
        names.split_whitespace().zip(values.split_whitespace()).find(|(name, _)| *name == "TCPOrigDataSent");
    column.and_then(|(_, value)| value.parse().ok()).context("/proc/net/netstat has no TCPOrigDataSent")
}

/// Counters and gauges of a Prometheus text, labels included in their names. Buckets are left out.
pub(super) fn parse_metrics(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket"));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

/// A thread's name without its number.
fn kind(name: &str) -> String {
    name.trim_end_matches(|last: char| last.is_ascii_digit()).trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_the_times_of_this_process() {
        let pid = std::process::id();
        let before = Cpu::of(pid).unwrap();
        let mut sum = 0_u64;
        while Cpu::of(pid).unwrap().since(&before).total_us() < 2000.0 {
            sum = (0..100_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        assert!(Memory::of(pid).unwrap().anonymous > 100_000);
        assert!(data_packets().is_ok());
    }

    #[test]
    fn threads_of_a_kind_count_together() {
        assert_eq!(
            (kind("reactor-12"), kind("room-worker-0"), kind("chatroom")),
            ("reactor".into(), "room-worker".into(), "chatroom".into())
        );
    }

    #[test]
    fn metrics_are_read_with_their_labels() {
        let parsed = parse_metrics("# HELP a b\na 3\nb{of=\"x y\"} 1.5\nc_bucket{le=\"1\"} 7\n");
        assert_eq!(parsed, BTreeMap::from([("a".to_owned(), 3.0), ("b{of=\"x y\"}".to_owned(), 1.5)]));
    }
}
