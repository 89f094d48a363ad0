//! Apache Flink on this machine: a session cluster of one JobManager and one TaskManager, and its command line.
//!
//! Started without Flink's shell scripts, which the distribution on PyPI does not hold; the sizes that they would
//! compute are written out, as small as tests need them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Result, bail};

use crate::process::{self, Process};
use crate::{cache, ports, wait};

pub const VERSION: &str = "2.1.1";
/// Slots of the TaskManager.
pub const SLOTS: usize = 4;

const READY: Duration = Duration::from_secs(120);

/// What Flink opens of the JDK, as far as it is used here.
const OPENED: &[&str] = &[
    "java.lang",
    "java.net",
    "java.io",
    "java.nio",
    "sun.nio.ch",
    "java.lang.reflect",
    "java.text",
    "java.time",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "java.util.concurrent.locks",
];

const TASK_MANAGER: &[(&str, &str)] = &[
    ("taskmanager.cpu.cores", "2.0"),
    ("taskmanager.memory.framework.heap.size", "128m"),
    ("taskmanager.memory.task.heap.size", "256m"),
    ("taskmanager.memory.framework.off-heap.size", "128m"),
    ("taskmanager.memory.task.off-heap.size", "0"),
    ("taskmanager.memory.managed.size", "64m"),
    ("taskmanager.memory.network.min", "64m"),
    ("taskmanager.memory.network.max", "64m"),
    ("taskmanager.memory.jvm-metaspace.size", "256m"),
    ("taskmanager.memory.jvm-overhead.min", "192m"),
    ("taskmanager.memory.jvm-overhead.max", "192m"),
];

const LOGGING: &str = "\
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = File
appender.file.name = File
appender.file.type = FILE
appender.file.fileName = ${sys:log.file}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %-5p %c - %m%n
";

/// A running cluster; both processes end with it.
#[derive(Debug)]
pub struct Flink {
    rest_port: u16,
    jobmanager: Process,
    taskmanager: Process,
}

impl Flink {
    /// Starts a cluster with its files in a folder, and waits until its slots are free. Options are those of
    /// config.yaml.
    pub fn start(folder: &Path, options: &[(&str, &str)]) -> Result<Flink> {
        let [rest, rpc] = [ports::free()?, ports::free()?].map(|port| port.to_string());
        let slots = SLOTS.to_string();
        let temporary = folder.join("tmp");
        fs::create_dir_all(&temporary)?;
        fs::create_dir_all(folder.join("log"))?;
        let temporary = temporary.display().to_string();
        let mut config = vec![
            ("jobmanager.rpc.address", "127.0.0.1"),
            ("jobmanager.rpc.port", &rpc),
            ("jobmanager.bind-host", "127.0.0.1"),
            ("jobmanager.memory.process.size", "1024m"),
            ("taskmanager.host", "127.0.0.1"),
            ("taskmanager.bind-host", "127.0.0.1"),
            ("taskmanager.numberOfTaskSlots", &slots),
            ("rest.address", "127.0.0.1"),
            ("rest.bind-address", "127.0.0.1"),
            ("rest.port", &rest),
            ("io.tmp.dirs", &temporary),
        ];
        config.extend(options);
        configure(folder, &config)?;
        let dashboard = cache::installed("downloads/dashboard", "images")?;
        let mut command = java(
            folder,
            "jobmanager.log",
            &[dashboard.join("*")],
            &["-Xmx512m", "-XX:MaxMetaspaceSize=256m"],
        )?;
        command
            .arg("org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint")
            .arg("--configDir")
            .arg(folder)
            .args(["-D", "jobmanager.memory.heap.size=512m"]);
        let jobmanager = Process::start(command, &folder.join("log/jobmanager.out"))?;
        let mut command = java(
            folder,
            "taskmanager.log",
            &[],
            &[
                "-Xmx384m",
                "-XX:MaxDirectMemorySize=256m",
                "-XX:MaxMetaspaceSize=256m",
            ],
        )?;
        command
            .arg("org.apache.flink.runtime.taskexecutor.TaskManagerRunner")
            .arg("--configDir")
            .arg(folder);
        for (key, value) in TASK_MANAGER {
            command.arg("-D").arg(format!("{key}={value}"));
        }
        let taskmanager = Process::start(command, &folder.join("log/taskmanager.out"))?;
        let mut flink = Flink {
            rest_port: rest.parse()?,
            jobmanager,
            taskmanager,
        };
        flink.wait_ready()?;
        Ok(flink)
    }

    pub fn rest_port(&self) -> u16 {
        self.rest_port
    }

    fn wait_ready(&mut self) -> Result<()> {
        let port = self.rest_port;
        wait::until("Flink's slots", READY, || {
            for process in [&mut self.jobmanager, &mut self.taskmanager] {
                if let Some(status) = process.ended()? {
                    let log = process.log_tail();
                    return Ok(Some(Err(anyhow::anyhow!("Flink ended ({status}):\n{log}"))));
                }
            }
            let overview = overview(port).unwrap_or_default();
            let is_ready = overview.contains(&format!("\"slots-available\":{SLOTS},"));
            Ok(is_ready.then_some(Ok(())))
        })?
    }
}

/// The `flink` command of Apache Flink, against the REST server at a port of this machine.
pub fn command_line(folder: &Path, rest_port: u16, arguments: &[&str]) -> Result<Output> {
    fs::create_dir_all(folder.join("log"))?;
    let port = rest_port.to_string();
    configure(
        folder,
        &[
            ("rest.address", "127.0.0.1"),
            ("rest.port", &port),
            ("execution.target", "remote"),
        ],
    )?;
    let mut command = java(
        folder,
        "client.log",
        &[],
        &["-Xmx256m", "-XX:TieredStopAtLevel=1"],
    )?;
    command
        .arg("org.apache.flink.client.cli.CliFrontend")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(process::spawn(command)?.wait_with_output()?)
}

fn configure(folder: &Path, options: &[(&str, &str)]) -> io::Result<()> {
    let lines: String = options
        .iter()
        .map(|(key, value)| format!("{key}: \"{value}\"\n"))
        .collect();
    fs::write(folder.join("config.yaml"), lines)?;
    fs::write(folder.join("log4j.properties"), LOGGING)
}

/// A JVM with Flink's libraries and these.
fn java(folder: &Path, log: &str, jars: &[PathBuf], options: &[&str]) -> Result<Command> {
    let home = home()?;
    let mut class_path = home.join("lib/*").into_os_string();
    for jar in jars {
        class_path.push(":");
        class_path.push(jar);
    }
    let mut command = Command::new("java");
    command
        .env("FLINK_CONF_DIR", folder)
        .env("TZ", "UTC")
        .args([
            "-XX:+UseSerialGC",
            "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
        ])
        .args(
            OPENED
                .iter()
                .map(|p| format!("--add-opens=java.base/{p}=ALL-UNNAMED")),
        )
        .args(options)
        .arg(format!(
            "-Dlog4j.configurationFile={}",
            folder.join("log4j.properties").display()
        ))
        .arg(format!("-Dlog.file={}", folder.join("log").join(log).display()))
        .arg("-cp")
        .arg(class_path);
    Ok(command)
}

/// The folder of Flink's libraries.
pub fn home() -> Result<PathBuf> {
    cache::installed(&format!("flink/{VERSION}"), "flink")
}

fn overview(port: u16) -> Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, READY)?;
    stream.set_read_timeout(Some(READY))?;
    write!(
        stream,
        "GET /overview HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 200") && !answer.starts_with("HTTP/1.0 200") {
        bail!(
            "Flink's REST answers {}",
            answer.lines().next().unwrap_or_default()
        );
    }
    Ok(answer)
}
