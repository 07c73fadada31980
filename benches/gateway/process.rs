//! What `/proc` says of a process and its children.

use std::error::Error;
use std::fs;
use std::time::Duration;

/// The kernel counts processor time in ticks of 1/100 s wherever Linux runs on what Easel runs on.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of these processes so far, exited threads included.
pub fn processor_time(processes: &[u32]) -> Result<Duration, Box<dyn Error>> {
    let mut ticks = 0;
    for process in processes {
        let fields = fields(*process)?;
        for place in [11, 12] {
            ticks += fields.get(place).ok_or("a short /proc/PID/stat")?.parse::<u32>()?;
        }
    }
    Ok(TICK * ticks)
}

/// Resident memory of these processes in bytes, now (`VmRSS`) or at its most (`VmHWM`); shared pages count for each.
pub fn memory(processes: &[u32], field: &str) -> Result<u64, Box<dyn Error>> {
    let mut total = 0;
    for process in processes {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let value = value.ok_or_else(|| format!("no {field} in /proc/PID/status"))?;
        total += value.trim().trim_end_matches(" kB").parse::<u64>()? * 1024;
    }
    Ok(total)
}

/// The process and its children.
pub fn family(parent: u32) -> Result<Vec<u32>, Box<dyn Error>> {
    let mut family = vec![parent];
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end while it is being looked at.
        let Ok(fields) = fields(process) else {
            continue;
        };
        if fields.get(1).is_some_and(|of| *of == parent.to_string()) {
            family.push(process);
        }
    }
    Ok(family)
}

/// The fields of `/proc/PID/stat` after the name, which may itself hold spaces.
fn fields(process: u32) -> Result<Vec<String>, Box<dyn Error>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").ok_or("a strange /proc/PID/stat")?;
    Ok(rest.split_whitespace().map(ToOwned::to_owned).collect())
}
