//! Where and when the numbers were taken.

use std::process::Command;

/// Processors, system and memory, in words.
pub fn describe() -> String {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0);
    let model = model.trim_start_matches([' ', '\t', ':']);
    format!("{processors} × {model}, {} GB of memory, {}", kilobytes.div_ceil(1 << 20), said_by("uname", &["-sm"]))
}

/// What else the machine does: the mean number of tasks that run or wait to, over the last minute.
pub fn load() -> String {
    let averages = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    averages.split(' ').next().unwrap_or_default().to_owned()
}

/// Today, in UTC.
pub fn today() -> String {
    said_by("date", &["-u", "+%Y-%m-%d"])
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}
