//! Runs scenarios one after another and prints what they did.

use std::process::ExitCode;
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
    let mut chosen: Vec<(&Scenario, bool)> = Vec::new();
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
    let (mut failed, mut skipped) = (0, Vec::new());
    for (scenario, may_skip) in &chosen {
        let start = Instant::now();
        println!("torture {} ...", scenario.name);
        match scenario.run(&context) {
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
                skipped.push(scenario.name);
                println!("torture {} ... skipped: {e}", scenario.name);
            }
            Err(e) => {
                failed += 1;
                println!(
                    "torture {} ... FAILED after {} s: {e:?}",
                    scenario.name,
                    start.elapsed().as_secs()
                );
            }
        }
    }
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
