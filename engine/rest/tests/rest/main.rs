//! The REST server in real processes: beside Apache Flink's, driven by Flink's command line, and under the dashboard.

mod browser;
mod client;
mod cluster;
mod command_line;
mod contract;
