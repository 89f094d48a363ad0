//! `make run`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match millrace_examples::demo::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("the demo failed: {e:#}");
            ExitCode::FAILURE
        }
    }
}
