//! CPU time and memory of a process and of all that it started, from /proc.

use std::collections::BTreeMap;
use std::fs;

/// What processes have used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// User and system time since the processes started.
    pub cpu_seconds: f64,
    /// The sum of the highest resident set sizes (VmHWM).
    pub peak_bytes: u64,
}

/// Follows some processes and their descendants.
#[derive(Debug)]
pub struct Watch {
    roots: Vec<u32>,
    /// The last that was seen of each process: it counts on after its end.
    seen: BTreeMap<u32, Usage>,
    members: Vec<u32>,
    looks: u32,
}

impl Watch {
    pub fn new(roots: Vec<u32>) -> Watch {
        Watch {
            members: roots.clone(),
            roots,
            seen: BTreeMap::new(),
            looks: 0,
        }
    }

    /// Begins a new peak: the highest size so far is forgotten, where the kernel allows it.
    pub fn reset_peak(&self) {
        for pid in descendants(&self.roots) {
            // 5 resets VmHWM (proc(5)).
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }

    /// What they have used until now.
    pub fn usage(&mut self) -> Usage {
        // All of /proc is only gone through at each tenth look: it costs milliseconds.
        if self.looks.is_multiple_of(10) {
            self.members = descendants(&self.roots);
        }
        self.looks += 1;
        for pid in &self.members {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok();
            let seen = self.seen.entry(*pid).or_default();
            if let Some(stat) = stat.as_deref().and_then(Stat::parse) {
                seen.cpu_seconds = seen.cpu_seconds.max(stat.cpu_ticks as f64 / ticks_per_second());
            }
            if let Some(bytes) = status.as_deref().and_then(peak_bytes) {
                seen.peak_bytes = seen.peak_bytes.max(bytes);
            }
        }
        self.seen.values().fold(Usage::default(), |sum, one| Usage {
            cpu_seconds: sum.cpu_seconds + one.cpu_seconds,
            peak_bytes: sum.peak_bytes + one.peak_bytes,
        })
    }
}

fn ticks_per_second() -> f64 {
    // SAFETY: sysconf has no preconditions.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

fn descendants(roots: &[u32]) -> Vec<u32> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).ok();
        if let Some(stat) = stat.as_deref().and_then(Stat::parse) {
            parents.insert(pid, stat.parent);
        }
    }
    let mut members = roots.to_vec();
    let mut next = 0;
    while let Some(parent) = members.get(next).copied() {
        for (pid, of) in &parents {
            if *of == parent && !members.contains(pid) {
                members.push(*pid);
            }
        }
        next += 1;
    }
    members
}

#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    cpu_ticks: u64,
}

impl Stat {
    /// Reads /proc/<pid>/stat. The name, in brackets, may hold spaces and brackets itself.
    fn parse(text: &str) -> Option<Stat> {
        let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
        // proc(5) counts from 1 and the name is field 2: ppid is 4, utime 14, stime 15.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            parent: u32::try_from(field(4)?).ok()?,
            cpu_ticks: field(14)? + field(15)?,
        })
    }
}

fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_proc_are_read() {
        let stat = "4242 (a (b) c) S 17 4242 4242 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 8 0 12345 1 2 3";
        assert_eq!(
            Stat::parse(stat),
            Some(Stat {
                parent: 17,
                cpu_ticks: 281
            })
        );
        assert_eq!(Stat::parse("4242"), None);
        assert_eq!(
            peak_bytes("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(peak_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let mut watch = Watch::new(vec![std::process::id()]);
        let mut work = 0u64;
        let usage = loop {
            work = (0..1_000_000).fold(work, |sum, n| sum ^ std::hint::black_box(n));
            let usage = watch.usage();
            if usage.cpu_seconds > 0.0 {
                break usage;
            }
        };
        assert!(usage.peak_bytes > 1 << 20, "{usage:?}");
    }

    #[test]
    fn children_are_counted() {
        let child = std::process::Command::new("sleep").arg("60").spawn();
        let mut child = child.unwrap();
        let found = descendants(&[std::process::id()]).contains(&child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
    }
}
