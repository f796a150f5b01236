//! What a process costs: its memory and its time, as Linux tells them. Elsewhere nothing is told.

use std::fs;

/// Clock ticks in a second, which Linux has fixed for all programs.
const TICKS: f64 = 100.0;

/// The most that a process has had in memory, in MiB.
pub fn memory(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// Processor time that a process and the children it has waited for took so far, in seconds.
pub fn cpu(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Its name is in brackets and may hold anything. The times are fields 14 to 17; 3 comes first.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    Some(ticks / TICKS)
}

/// The same of a process and all that it has started directly.
pub fn cpu_of_family(process: u32) -> Option<f64> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    let children = children.split_whitespace().filter_map(|id| cpu(id.parse().ok()?));
    Some(cpu(process)? + children.sum::<f64>())
}
