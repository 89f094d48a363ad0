//! Starts the testkit's servers by hand.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use millrace_testkit::kafka::{Kafka, Options, Version};
use millrace_testkit::s3::S3;
use millrace_testkit::signals;

#[derive(Parser)]
#[command(about = "Servers for tests, by hand: they run until Ctrl-C")]
struct Arguments {
    #[command(subcommand)]
    server: Server,
}

#[derive(Subcommand)]
enum Server {
    /// Kafka brokers on 127.0.0.1
    Kafka {
        /// Port of the first broker [default: a free one]
        #[arg(long)]
        port: Option<u16>,
        /// Data and logs, kept; the same folder later starts the same brokers [default: a temporary one]
        #[arg(long)]
        dir: Option<PathBuf>,
        /// 3.9 or 4.1
        #[arg(long, default_value = "3.9", value_parser = parse_version)]
        kafka_version: Version,
        #[arg(long, default_value_t = 1)]
        brokers: usize,
        /// Adds a SASL_SSL listener
        #[arg(long)]
        secure: bool,
        #[arg(long, default_value_t = 512)]
        heap_mib: u32,
        /// A topic to create, as name:partitions; may be given several times
        #[arg(long)]
        topic: Vec<String>,
        /// A line of server.properties, as key=value; may be given several times
        #[arg(long)]
        property: Vec<String>,
    },
    /// An S3 server on 127.0.0.1
    S3,
}

fn parse_version(text: &str) -> Result<Version, String> {
    match text {
        "3.9" | "3.9.1" => Ok(Version::Kafka39),
        "4.1" | "4.1.2" => Ok(Version::Kafka41),
        _ => Err("it takes 3.9 or 4.1".to_owned()),
    }
}

fn main() -> Result<()> {
    // Before anything starts, so that a signal never ends us with a folder left behind.
    let told = signals::watch();
    let until_told = || {
        while !told.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(100));
        }
    };
    match Arguments::parse().server {
        Server::Kafka {
            port,
            dir,
            kafka_version,
            brokers,
            secure,
            heap_mib,
            topic,
            property,
        } => {
            let properties = property
                .iter()
                .map(|line| {
                    let (key, value) = line
                        .split_once('=')
                        .with_context(|| format!("'{line}' has no '='"))?;
                    Ok((key.to_owned(), value.to_owned()))
                })
                .collect::<Result<_>>()?;
            let options = Options {
                brokers,
                port,
                folder: dir,
                secure,
                properties,
                heap_mib,
                jvm: Vec::new(),
            };
            let mut kafka = Kafka::start(kafka_version, options)?;
            for topic in &topic {
                let (name, partitions) = topic.split_once(':').unwrap_or((topic, "1"));
                kafka.create_topic(name, partitions.parse().context("partitions of a topic")?)?;
            }
            println!("bootstrap.servers = {}", kafka.bootstrap());
            if let Some(secure) = kafka.secure() {
                println!("sasl_ssl          = {}", secure.bootstrap);
                println!("user / password   = {} / {}", secure.user, secure.password);
                println!("authority         = {}", secure.ca_pem.display());
                println!(
                    "trust store       = {} ({})",
                    secure.truststore.display(),
                    secure.truststore_password
                );
            }
            println!("log               = {}", kafka.log(0).display());
            until_told();
            for i in 0..brokers {
                kafka.stop(i)?;
            }
        }
        Server::S3 => {
            let server = S3::start()?;
            println!("checkpoints = {}", server.url("checkpoints"));
            for (key, value) in server.options() {
                println!("-D {key}={value}");
            }
            until_told();
        }
    }
    Ok(())
}
