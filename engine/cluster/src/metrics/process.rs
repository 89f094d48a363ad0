//! A process's memory, CPU and threads, under the names that dashboards know from a JVM. There is no JVM: what each
//! name stands for here is said where it is given.

use std::collections::VecDeque;
use std::fs;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::Metric;

/// What the allocator says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allocated {
    /// Bytes of pages that hold something.
    pub used: u64,
    /// Those, and pages that it keeps for later.
    pub held: u64,
}

/// This process.
pub struct Process {
    /// Bytes that it may have.
    limit: u64,
    began: Instant,
    cpu: Mutex<VecDeque<(Instant, Duration)>>,
}

/// What the CPU's load is taken over.
const WINDOW: Duration = Duration::from_secs(10);
/// Linux's USER_HZ, which is 100 on every platform that it runs on today.
const TICKS_PER_SECOND: u64 = 100;

/// Asks the allocator of the process.
pub type Allocator = fn() -> Option<Allocated>;

static ALLOCATOR: OnceLock<Allocator> = OnceLock::new();

/// Says how the allocator is asked, once, by who has chosen it. Without it memory that is no file's is taken for what it
/// has.
pub fn set_allocator(allocator: Allocator) {
    // A second one would be of the same process.
    let _ = ALLOCATOR.set(allocator);
}

impl Process {
    /// `limit` is what it may have, in bytes.
    pub fn new(limit: u64) -> Self {
        Process {
            limit,
            began: Instant::now(),
            cpu: Mutex::default(),
        }
    }

    /// `direct` is what waits in channels between subtasks: how many pieces, bytes, and the bytes that have room.
    pub fn metrics(&self, direct: (usize, usize, usize)) -> Vec<Metric> {
        let status = Status::parse(&read("/proc/self/status"));
        let allocated = ALLOCATOR.get().and_then(|ask| ask());
        let heap = allocated.unwrap_or(Allocated {
            used: status.anonymous,
            held: status.anonymous,
        });
        // Memory that the allocator does not know of: the program, stacks, mapped files.
        let other = status.resident.saturating_sub(heap.held);
        let mapped = Mapped::parse(&read("/proc/self/maps"));
        let mut metrics = Vec::new();
        for (area, used, committed) in [
            ("Heap", heap.used, heap.held),
            ("NonHeap", other, other),
            // Resident pages of the program and its libraries.
            ("Metaspace", status.of_files, status.of_files),
        ] {
            metrics.push(Metric::gauge(format!("Status.JVM.Memory.{area}.Used"), used));
            metrics.push(Metric::gauge(
                format!("Status.JVM.Memory.{area}.Committed"),
                committed,
            ));
            metrics.push(Metric::gauge(format!("Status.JVM.Memory.{area}.Max"), self.limit));
        }
        let (count, used, capacity) = direct;
        for (pool, count, used, capacity) in [
            ("Direct", count as u64, used as u64, capacity as u64),
            ("Mapped", mapped.files, mapped.bytes, mapped.bytes),
        ] {
            metrics.push(Metric::gauge(format!("Status.JVM.Memory.{pool}.Count"), count));
            metrics.push(Metric::gauge(
                format!("Status.JVM.Memory.{pool}.MemoryUsed"),
                used,
            ));
            metrics.push(Metric::gauge(
                format!("Status.JVM.Memory.{pool}.TotalCapacity"),
                capacity,
            ));
        }
        // Nothing is collected, and no class loaded.
        for collector in ["All", "G1_Young_Generation", "G1_Old_Generation"] {
            let group = format!("Status.JVM.GarbageCollector.{collector}");
            metrics.push(Metric::gauge(format!("{group}.Count"), 0_i64));
            metrics.push(Metric::gauge(format!("{group}.Time"), 0_i64));
            metrics.push(Metric::meter(format!("{group}.TimeMsPerSecond"), 0.0));
        }
        metrics.push(Metric::gauge("Status.JVM.ClassLoader.ClassesLoaded", 0_i64));
        metrics.push(Metric::gauge("Status.JVM.ClassLoader.ClassesUnloaded", 0_i64));
        metrics.push(Metric::gauge("Status.JVM.Threads.Count", status.threads));
        let cpu = cpu_time(&read("/proc/self/stat"));
        metrics.push(Metric::gauge("Status.JVM.CPU.Time", cpu.as_nanos() as u64));
        metrics.push(Metric::gauge(
            "Status.JVM.CPU.Load",
            self.load(Instant::now(), cpu),
        ));
        let open = fs::read_dir("/proc/self/fd").map_or(0, |files| files.count());
        metrics.push(Metric::gauge("Status.JVM.FileDescriptor.Open", open));
        let most = most_files(&read("/proc/self/limits"));
        metrics.push(Metric::gauge("Status.JVM.FileDescriptor.Max", most));
        metrics
    }

    /// The share of the machine's CPUs that the process has used lately, 0 to 1.
    fn load(&self, now: Instant, cpu: Duration) -> f64 {
        let mut looks = self.cpu.lock().unwrap_or_else(|e| e.into_inner());
        looks.push_back((now, cpu));
        // The oldest is the last one before the window.
        while looks
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW)
        {
            looks.pop_front();
        }
        let (from, used) = match looks.front() {
            Some((at, cpu)) if *at < now => (*at, *cpu),
            _ => (self.began, Duration::ZERO),
        };
        let passed = now.duration_since(from).as_secs_f64();
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        if passed <= 0.0 {
            return 0.0;
        }
        (cpu.saturating_sub(used).as_secs_f64() / passed / cores).clamp(0.0, 1.0)
    }
}

/// A file that is not there, as on another system, is empty.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// `/proc/self/status`, in bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    resident: u64,
    anonymous: u64,
    of_files: u64,
    threads: u64,
}

impl Status {
    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = value.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
            number.unwrap_or(0)
        };
        Status {
            resident: field("VmRSS") << 10,
            anonymous: field("RssAnon") << 10,
            of_files: field("RssFile") << 10,
            threads: field("Threads"),
        }
    }
}

/// Files of data that are mapped: not the program and its libraries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mapped {
    files: u64,
    bytes: u64,
}

impl Mapped {
    /// `/proc/self/maps`: address range, rights, offset, device, inode, path.
    fn parse(text: &str) -> Self {
        let mut code = Vec::new();
        let mut data: Vec<(&str, u64)> = Vec::new();
        for line in text.lines() {
            let mut fields = line.split_whitespace();
            let (Some(range), Some(rights)) = (fields.next(), fields.next()) else {
                continue;
            };
            let Some(path) = fields.nth(3).filter(|path| path.starts_with('/')) else {
                continue;
            };
            if rights.contains('x') {
                code.push(path);
            }
            let bounds = range.split_once('-').and_then(|(from, to)| {
                let number = |text| u64::from_str_radix(text, 16).ok();
                Some((number(from)?, number(to)?))
            });
            data.extend(bounds.map(|(from, to)| (path, to.saturating_sub(from))));
        }
        data.retain(|(path, _)| !code.contains(path));
        let bytes = data.iter().map(|(_, bytes)| bytes).sum();
        let mut paths: Vec<&str> = data.into_iter().map(|(path, _)| path).collect();
        paths.sort_unstable();
        paths.dedup();
        Mapped {
            files: paths.len() as u64,
            bytes,
        }
    }
}

/// `/proc/self/stat`: user and system time are its fields 14 and 15, counted behind the name, which may have spaces.
fn cpu_time(text: &str) -> Duration {
    let Some((_, behind)) = text.rsplit_once(')') else {
        return Duration::ZERO;
    };
    let ticks = behind.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// `/proc/self/limits`; -1 where there is none.
fn most_files(text: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    soft.unwrap_or(-1)
}

/// Bytes that this process may have: what it is given, else its control group's limit, else the machine's memory.
pub fn memory_limit(given: Option<u64>) -> u64 {
    let machine = machine_memory(&read("/proc/meminfo"));
    let of_group = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .iter()
    .find_map(|path| read(path).trim().parse::<u64>().ok());
    given.unwrap_or_else(|| of_group.unwrap_or(u64::MAX).min(machine))
}

fn machine_memory(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        let status = "Name:\ta b\nVmRSS:\t  20 kB\nRssAnon:\t  12 kB\nRssFile:\t   8 kB\nThreads:\t3\n";
        assert_eq!(
            Status::parse(status),
            Status {
                resident: 20 << 10,
                anonymous: 12 << 10,
                of_files: 8 << 10,
                threads: 3
            }
        );
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 5 0 0 0 250 50 0 0 20 0 1 0 9 1 1";
        assert_eq!(cpu_time(stat), Duration::from_secs(3));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 4096                 files\n";
        assert_eq!(most_files(limits), 1024);
        assert_eq!(machine_memory("MemTotal:       2 kB\n"), 2048);
    }

    #[test]
    fn mapped_files_are_those_of_data() {
        let maps = "\
00001000-00002000 r-xp 00000000 08:01 5 /bin/program
00002000-00003000 r--p 00001000 08:01 5 /bin/program
00003000-00005000 rw-p 00000000 00:00 0 [heap]
00005000-00007000 r--s 00000000 08:01 6 /data/a
00007000-00008000 r--s 00002000 08:01 6 /data/a
";
        assert_eq!(
            Mapped::parse(maps),
            Mapped {
                files: 1,
                bytes: 0x3000
            }
        );
    }

    #[test]
    fn this_process_has_memory_threads_and_time() {
        let process = Process::new(memory_limit(None));
        let value = |name: &str| {
            let metrics = process.metrics((1, 2, 3));
            let found = metrics.iter().find(|metric| metric.name == name);
            found
                .unwrap_or_else(|| panic!("{name} is missing"))
                .value
                .number()
        };
        let used = value("Status.JVM.Memory.Heap.Used");
        assert!(used > 0.0 && used <= value("Status.JVM.Memory.Heap.Max"));
        assert!(value("Status.JVM.Threads.Count") >= 1.0);
        assert!(value("Status.JVM.FileDescriptor.Open") >= 3.0);
        assert_eq!(value("Status.JVM.Memory.Direct.MemoryUsed"), 2.0);
        assert!((0.0..=1.0).contains(&value("Status.JVM.CPU.Load")));
    }

    #[test]
    fn the_load_is_that_of_the_last_seconds() {
        let process = Process::new(1);
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let (began, mut load) = (process.began, 0.0);
        for second in 1..=30 {
            // One core at work for ten seconds, then none.
            let cpu = Duration::from_secs(second.min(10));
            load = process.load(began + Duration::from_secs(second), cpu);
            if second == 10 {
                assert!((load - 1.0 / cores).abs() < 1e-9, "{load}");
            }
        }
        assert_eq!(load, 0.0);
    }
}
