//! The `millrace` binary, run as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::process;

/// `$MILLRACE_BIN`, or the binary in the folder that this program was built into.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MILLRACE_BIN") {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe()?;
    // Tests are in deps/, one further down.
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("millrace"))
        .find(|path| path.exists());
    found.context("the millrace binary is not built: cargo build --release -p millrace")
}

/// A command for the binary, without colours and without the caller's own settings for it.
pub fn command() -> Result<Command> {
    let mut command = Command::new(binary()?);
    command
        .env("NO_COLOR", "1")
        .env_remove("MILLRACE_FAIL_POINT")
        .env_remove("FLINK_CONF_DIR")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    Ok(command)
}

/// Runs a bounded job to its end in `folder`; an error holds what it printed.
pub fn run_to_end(folder: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = command()?;
    command
        .current_dir(folder)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = process::spawn(command)?.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "millrace {} ended with {}\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output)
}
