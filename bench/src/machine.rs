//! What the measurements were made on, without names of hosts or paths.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::client;

/// The machine, and the versions of all that took part. What cannot be told is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cores: usize,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpu: Option<String>,
    pub memory_gib: f64,
    pub kernel: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub millrace: Option<String>,
    /// Of the checkout, shortened.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commit: Option<String>,
    pub kafka: String,
    pub flink: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub java: Option<String>,
    pub librdkafka: String,
    /// Processes that ran or waited for a core before the measurements began, averaged over a minute:
    /// near 0 on a quiet machine.
    pub load_before: f64,
}

/// The load at the first look: later ones would find the benchmarks before.
static LOAD: OnceLock<f64> = OnceLock::new();

impl Machine {
    pub fn look(millrace: &Path, kafka: &str, flink: &str) -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu_name(&read("/proc/cpuinfo")),
            memory_gib: memory_gib(&read("/proc/meminfo")).unwrap_or_default(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            millrace: output(Command::new(millrace).arg("--version"))
                .and_then(|text| text.split_whitespace().nth(1).map(str::to_owned)),
            commit: output(Command::new("git").args(["rev-parse", "--short", "HEAD"]))
                .map(|text| text.trim().to_owned()),
            kafka: kafka.to_owned(),
            flink: flink.to_owned(),
            java: output(Command::new("java").arg("-version")).and_then(|text| java_version(&text)),
            librdkafka: client::version(),
            load_before: *LOAD.get_or_init(|| load(&read("/proc/loadavg"))),
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let mut parts = vec![format!("{} cores", self.cores)];
        parts.extend(self.cpu.clone());
        parts.push(format!("{:.0} GiB of memory", self.memory_gib));
        parts.push(format!("Linux {}", self.kernel));
        if let Some(version) = &self.millrace {
            parts.push(match &self.commit {
                Some(commit) => format!("Millrace {version} ({commit})"),
                None => format!("Millrace {version}"),
            });
        }
        parts.push(format!("Apache Flink {}", self.flink));
        parts.push(format!("Kafka {}", self.kafka));
        parts.extend(self.java.as_ref().map(|version| format!("Java {version}")));
        parts.push(format!("librdkafka {}", self.librdkafka));
        parts.join(", ")
    }
}

/// Both outputs of a command that succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Some(text)
}

fn load(loadavg: &str) -> f64 {
    loadavg
        .split_whitespace()
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn cpu_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    let name = line
        .split_once(':')?
        .1
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    (!name.is_empty()).then_some(name)
}

fn memory_gib(meminfo: &str) -> Option<f64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib / 1024.0 / 1024.0 * 10.0).round() / 10.0)
}

/// The quoted version in what `java -version` says.
fn java_version(text: &str) -> Option<String> {
    text.split('"').nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        assert_eq!(
            cpu_name("processor: 0\nmodel name\t: Some  CPU @ 2 GHz\n"),
            Some("Some CPU @ 2 GHz".into())
        );
        assert_eq!(cpu_name("Hardware: x\n"), None);
        assert_eq!(
            memory_gib("MemTotal:       25165824 kB\nMemFree: 1 kB\n"),
            Some(24.0)
        );
        assert_eq!(
            java_version("openjdk version \"17.0.1\" 2021"),
            Some("17.0.1".into())
        );
    }

    #[test]
    fn the_line_holds_every_version_that_is_known() {
        let machine = Machine {
            cores: 2,
            cpu: None,
            memory_gib: 23.6,
            kernel: "6.1".into(),
            millrace: Some("0.1.0".into()),
            commit: None,
            kafka: "3.9.1".into(),
            flink: "2.1.1".into(),
            java: Some("17".into()),
            librdkafka: "2.12.1".into(),
            load_before: 0.1,
        };
        assert_eq!(
            machine.line(),
            "2 cores, 24 GiB of memory, Linux 6.1, Millrace 0.1.0, Apache Flink 2.1.1, Kafka 3.9.1, Java 17, librdkafka 2.12.1"
        );
    }
}
