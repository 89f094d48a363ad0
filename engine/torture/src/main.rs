//! Runs scenarios, one or several at once, and prints what they did.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use millrace_torture::plan::{ALL, Context, Form, Scenario};
use millrace_torture::workbench::Impossible;

#[derive(Parser)]
#[command(about = "Kills the engine and its surroundings, and checks that nothing is lost or repeated")]
struct Arguments {
    /// short, long, or names of scenarios
    #[arg(required_unless_present = "list")]
    what: Vec<String>,
    /// Lists the scenarios
    #[arg(long)]
    list: bool,
    /// Where random choices start from [default: the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Scenarios that this machine cannot run; others than those of the short form fail where that shows
    #[arg(long, value_delimiter = ',')]
    impossible: Vec<String>,
    /// Scenarios that run at the same time: most wait most of the time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    at_once: u8,
}

/// What became of the scenarios.
#[derive(Default)]
struct Outcomes {
    failed: usize,
    skipped: Vec<&'static str>,
}

/// Runs scenarios that nobody else has begun.
fn work(chosen: &[(&'static Scenario, bool)], next: &AtomicUsize, context: &Context) -> Outcomes {
    let mut outcomes = Outcomes::default();
    while let Some((scenario, may_skip)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
        let start = Instant::now();
        println!("torture {} ...", scenario.name);
        match scenario.run(context) {
            Ok(s) => println!(
                "torture {} ... ok: {} records, {} runs, {} kills, {} restored at another parallelism, \
                 {} checkpoints failed; recovery committed {} and fenced {}, {} times between two commits; {} s",
                scenario.name,
                s.records,
                s.runs,
                s.kills,
                s.rescaled,
                s.failed_checkpoints,
                s.committed,
                s.fenced,
                s.torn,
                start.elapsed().as_secs()
            ),
            Err(e) if *may_skip && e.is::<Impossible>() => {
                outcomes.skipped.push(scenario.name);
                println!("torture {} ... skipped: {e}", scenario.name);
            }
            Err(e) => {
                outcomes.failed += 1;
                println!(
                    "torture {} ... FAILED after {} s: {e:?}",
                    scenario.name,
                    start.elapsed().as_secs()
                );
            }
        }
    }
    outcomes
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for scenario in ALL {
            println!("{:<34} {:?}", scenario.name, scenario.forms);
        }
        return ExitCode::SUCCESS;
    }
    let is_known = |name: &String| ALL.iter().any(|s| s.name == name);
    if let Some(unknown) = arguments.impossible.iter().find(|name| !is_known(name)) {
        eprintln!("there is no scenario '{unknown}' that could be impossible; see --list");
        return ExitCode::from(2);
    }
    // Each with whether it may be left out where it is impossible.
    let mut chosen: Vec<(&'static Scenario, bool)> = Vec::new();
    for what in &arguments.what {
        let found = ALL.iter().filter(|s| match what.as_str() {
            "short" => s.forms.contains(&Form::Short),
            "long" => s.forms.contains(&Form::Long),
            name => s.name == name,
        });
        let before = chosen.len();
        let may_skip =
            |s: &Scenario| what == "short" || arguments.impossible.iter().any(|name| name == s.name);
        chosen.extend(found.map(|scenario| (scenario, may_skip(scenario))));
        if chosen.len() == before {
            eprintln!("there is no scenario '{what}'; see --list");
            return ExitCode::from(2);
        }
    }
    let clock = || std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_secs());
    let context = Context {
        seed: arguments.seed.unwrap_or_else(clock),
    };
    println!("torture: seed {}", context.seed);
    let next = AtomicUsize::new(0);
    let all = thread::scope(|scope| {
        let workers = (0..arguments.at_once).map(|_| scope.spawn(|| work(&chosen, &next, &context)));
        let workers: Vec<_> = workers.collect();
        // One that panics has failed its scenario.
        let broken = |_| Outcomes {
            failed: 1,
            ..Outcomes::default()
        };
        let ended = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(broken));
        ended.collect::<Vec<_>>()
    });
    let failed: usize = all.iter().map(|outcomes| outcomes.failed).sum();
    let skipped: Vec<&str> = all.into_iter().flat_map(|outcomes| outcomes.skipped).collect();
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    if !skipped.is_empty() {
        println!("\nskipped on this machine: {}", skipped.join(", "));
    }
    println!(
        "\ntest result: {verdict}. {} passed; {failed} failed; {} ignored",
        chosen.len() - failed - skipped.len(),
        skipped.len()
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
