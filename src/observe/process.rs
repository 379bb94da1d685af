//! What the system says of this process. Only Linux says it; elsewhere these metrics have no values.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use super::exposition::Text;
use super::metrics::seconds_since_1970;

/// What `/proc` counts CPU time in. The interface has had this value on every architecture that this program is built for.
const TICKS_A_SECOND: f64 = 100.0;

/// Writes the value of a metric of the process.
pub(super) fn show(name: &str, text: &mut Text) {
    let value = match name {
        "process_cpu_seconds_total" => cpu_seconds(),
        "process_resident_memory_bytes" => of_status("VmRSS:").map(|kib| kib * 1024.0),
        "process_virtual_memory_bytes" => of_status("VmSize:").map(|kib| kib * 1024.0),
        "process_threads" => of_status("Threads:"),
        "process_open_fds" => open_fds(),
        "process_max_fds" => max_fds(),
        "process_start_time_seconds" => start_time(),
        _ => None,
    };
    if let Some(value) = value {
        text.float(&[], value);
    }
}

fn read(file: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/self/{file}")).ok()
}

/// A field of `stat`, by its number in proc(5).
fn of_stat(number: usize) -> Option<f64> {
    let stat = read("stat")?;
    // The second field is the name of the program in brackets, and may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(number - 3)?.parse().ok()
}

fn of_status(key: &str) -> Option<f64> {
    let status = read("status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cpu_seconds() -> Option<f64> {
    Some((of_stat(14)? + of_stat(15)?) / TICKS_A_SECOND)
}

fn open_fds() -> Option<f64> {
    // Reading the directory takes one itself.
    let n = std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u32::try_from(n).ok().map(f64::from)
}

fn max_fds() -> Option<f64> {
    let limits = read("limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

fn start_time() -> Option<f64> {
    // Computed once, as the clock's fractions would make it another moment each time.
    static START: OnceLock<Option<f64>> = OnceLock::new();
    *START.get_or_init(find_start_time)
}

fn find_start_time() -> Option<f64> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let since_boot: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let age = since_boot - of_stat(22)? / TICKS_A_SECOND;
    let age = Duration::try_from_secs_f64(age.max(0.0)).ok()?;
    Some(seconds_since_1970(SystemTime::now().checked_sub(age)?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_what_the_process_uses() {
        let spun = std::time::Instant::now();
        while spun.elapsed() < Duration::from_millis(30) {}
        assert!(cpu_seconds().unwrap() > 0.0);
        assert!(of_status("VmRSS:").unwrap() > 1000.0);
        assert!(open_fds().unwrap() >= 3.0);
        assert!(max_fds().unwrap() >= open_fds().unwrap());
        let now = seconds_since_1970(SystemTime::now());
        assert!((0.0..3600.0).contains(&(now - start_time().unwrap())));
    }
}
