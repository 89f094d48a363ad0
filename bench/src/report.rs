//! bench/RESULTS.md and its plots, from the saved measurements and from nothing else.

mod stateful;

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use crate::checkpoints::Checkpoints;
use crate::kafka_keyed::KafkaKeyed;
use crate::keyed::Keyed;
use crate::keys::Keys;
use crate::machine::Machine;
use crate::results::{self, FlinkTuning, Folder, Latency, Pass, Passthrough, Startup};
use crate::stats::{self, Percentiles};
use crate::svg::{self, Bar, Panel, number};

const MIB: f64 = 1024.0 * 1024.0;

/// Everything that was measured; what was not is left out of the report.
#[derive(Debug, Default)]
pub struct Measured {
    pub json: Option<Passthrough>,
    pub raw: Option<Passthrough>,
    pub latency: Option<Latency>,
    pub startup: Option<Startup>,
    pub keyed: Option<Keyed>,
    pub kafka_keyed: Option<KafkaKeyed>,
    pub keys: Option<Keys>,
    pub checkpoints: Option<Checkpoints>,
    /// By format.
    pub flink: Vec<FlinkTuning>,
}

/// Reads what there is and writes RESULTS.md beside the folder, and the plots into it.
pub fn write(folder: &Folder, target: &Path) -> Result<()> {
    let measured = Measured {
        json: folder.load(results::PASSTHROUGH_JSON)?,
        raw: folder.load(results::PASSTHROUGH_RAW)?,
        latency: folder.load(results::LATENCY)?,
        startup: folder.load(results::STARTUP)?,
        keyed: folder.load(results::KEYED)?,
        kafka_keyed: folder.load(results::KAFKA_KEYED)?,
        keys: folder.load(results::KEYS)?,
        checkpoints: folder.load(results::CHECKPOINTS)?,
        flink: ["json", "raw"]
            .into_iter()
            .filter_map(|format| folder.load(&results::flink_settings(format)).transpose())
            .collect::<Result<_>>()?,
    };
    let json = measured
        .json
        .as_ref()
        .map(|result| (results::PASSTHROUGH_JSON, result));
    let raw = measured
        .raw
        .as_ref()
        .map(|result| (results::PASSTHROUGH_RAW, result));
    for (name, result) in json.into_iter().chain(raw) {
        results::write(&folder.path(name, "svg"), &passthrough_plot(result))?;
    }
    if let Some(result) = &measured.latency {
        results::write(&folder.path(results::LATENCY, "svg"), &latency_plot(result))?;
    }
    if let Some(result) = &measured.keys {
        results::write(&folder.path(results::KEYS, "svg"), &stateful::keys_plot(result))?;
    }
    results::write(target, &markdown(&measured))
}

fn engine_name(engine: &str) -> &str {
    match engine {
        "copy" => "copy loop (librdkafka)",
        "millrace" => "Millrace",
        "flink" => "Apache Flink",
        "kafka" => "Kafka alone",
        other => other,
    }
}

fn colour(engine: &str) -> &'static str {
    match engine {
        "millrace" => "#1971c2",
        "flink" => "#e8590c",
        _ => "#868e96",
    }
}

const PASS_ENGINES: [&str; 3] = ["millrace", "copy", "flink"];
const LATENCY_ENGINES: [&str; 3] = ["millrace", "flink", "kafka"];

/// One goal that the project has set itself.
struct Goal {
    name: String,
    asked: &'static str,
    measured: String,
    met: bool,
}

fn bars(measured: &Measured) -> Vec<Goal> {
    let mut bars = Vec::new();
    for result in [&measured.json, &measured.raw].into_iter().flatten() {
        let format = &result.format;
        let rate = |engine: &str| result.median(engine, |pass| pass.rate);
        let memory = |engine: &str| result.median(engine, |pass| pass.peak_bytes as f64);
        if let Some(share) = ratio(rate("millrace"), rate("copy")) {
            bars.push(Goal {
                name: format!("pass-through, {format}: rate against the copy loop"),
                asked: "≥ 85%",
                measured: format!("{:.1}%", share * 100.0),
                met: share >= 0.85,
            });
        }
        if let Some(times) = ratio(rate("millrace"), rate("flink")) {
            bars.push(Goal {
                name: format!("pass-through, {format}: rate against Apache Flink, warm"),
                asked: "≥ 1.3×",
                measured: format!("{times:.2}×"),
                met: times >= 1.3,
            });
        }
        if let Some(part) = ratio(memory("flink"), memory("millrace")) {
            bars.push(Goal {
                name: format!("pass-through, {format}: peak memory against Apache Flink"),
                asked: "≤ 1/6",
                measured: format!("1/{part:.1}"),
                met: part >= 6.0,
            });
        }
    }
    if let Some(median) = measured
        .startup
        .as_ref()
        .and_then(|result| stats::median(&result.milliseconds))
    {
        bars.push(Goal {
            name: "first record visible after the start, median".into(),
            asked: "≤ 300 ms",
            measured: format!("{median:.0} ms"),
            met: median <= 300.0,
        });
    }
    let p99 = measured.latency.as_ref().and_then(|result| {
        Some((
            result.messages_per_second,
            result.median("millrace", |percentiles| percentiles.p99)?,
        ))
    });
    if let Some((rate, p99)) = p99 {
        bars.push(Goal {
            name: format!(
                "p99 latency at {} messages/s, at-least-once",
                number(rate as f64, 0)
            ),
            asked: "≤ 20 ms",
            measured: format!("{p99:.1} ms"),
            met: p99 <= 20.0,
        });
    }
    stateful::goals(measured, &mut bars);
    bars
}

fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    Some(of? / to.filter(|to| *to > 0.0)?)
}

/// The text of RESULTS.md.
pub fn markdown(measured: &Measured) -> String {
    let mut out = Page::default();
    out.line("# Results");
    out.line("");
    out.line("Written by `bench/run` from the measurements under [results/](results/); nothing here is typed by hand.");
    out.line("What has not been measured is not mentioned. How it is measured stands at the end.");
    let bars = bars(measured);
    if !bars.is_empty() {
        out.section("Bars");
        out.line("| | asked | measured | |");
        out.line("|---|---|---|---|");
        for bar in bars {
            let met = if bar.met { "met" } else { "**short of it**" };
            out.line(&format!(
                "| {} | {} | {} | {met} |",
                bar.name, bar.asked, bar.measured
            ));
        }
    }
    for (name, result) in [
        (results::PASSTHROUGH_JSON, &measured.json),
        (results::PASSTHROUGH_RAW, &measured.raw),
    ] {
        if let Some(result) = result {
            passthrough(&mut out, name, result);
        }
    }
    if let Some(result) = &measured.latency {
        latency(&mut out, result);
    }
    if let Some(result) = &measured.startup {
        startup(&mut out, result);
    }
    stateful::sections(&mut out, measured);
    for result in &measured.flink {
        tuning(&mut out, result);
    }
    out.section("How it is measured");
    out.line(HOW);
    out.0
}

const HOW: &str = "\
- One broker (KRaft, 1 GiB of heap), on the same machine and cores as all that is measured; every engine reads the same
  topic of 4 partitions and writes a new topic of 4 partitions, which is deleted afterwards. Parallelism is 2.
- Both engines run the same SQL text (jobs/); for Apache Flink the options are added that are named there. Its cluster
  (a JobManager, a TaskManager with two slots, in the memory sizes of Flink's default configuration) is started once and
  kept warm; the first round does not count. Millrace and the copy loop are started anew for every pass.
- The copy loop reads with librdkafka's batch call, and hands every record to a transactional producer, which copies it;
  it commits each second and decodes nothing. It runs as two loops side by side, each with half of the partitions: one
  alone does not use both cores. A round in which it is slower than the floor is void: the machine was busy.
- The rate is that of the output topic's end offsets (read_uncommitted, asked ten times a second) between the first and
  the last tenth of the records, at least five seconds; CPU seconds are user and system time of the engine's processes over the same part; peak
  memory is the sum of their highest resident sets. Flink's SQL client is in none of them. \"Whole job\" is the process
  from start to end, or the job's duration in Flink's REST.
- After each pass the committed records of the output are counted; a number other than the input's fails the benchmark.
- Latency runs from the moment at which a record was due to be sent (open loop) to its arrival at a reader of the output
  topic; \"Kafka alone\" reads the input topic. The start-up time runs from the start of the process `millrace run` to the
  first record at a reader with isolation read_uncommitted.";

fn passthrough(out: &mut Page, name: &str, result: &Passthrough) {
    out.section(&format!("Pass-through, {}", result.format));
    out.line(&format!(
        "`INSERT INTO output SELECT * FROM input`: {} messages of {} bytes, exactly-once, a checkpoint each second.",
        number(result.messages as f64, 0),
        result.message_bytes
    ));
    measured_on(out, &result.date, &result.machine);
    let counted = result.rounds.iter().filter(|round| round.void.is_none()).count();
    out.line("");
    out.line(&format!(
        "Median of {counted} rounds, lowest and highest in brackets:"
    ));
    out.line("");
    out.line("| | messages/s | CPU s for a million messages | peak memory, MiB | whole job, s |");
    out.line("|---|---|---|---|---|");
    for engine in PASS_ENGINES {
        let passes = result.passes(engine);
        if passes.is_empty() {
            continue;
        }
        let cell = |figure: fn(&Pass) -> f64, decimals: usize| {
            spread(&passes.iter().map(figure).collect::<Vec<_>>(), decimals)
        };
        out.line(&format!(
            "| {} | {} | {} | {} | {} |",
            engine_name(engine),
            cell(|pass| pass.rate, 0),
            cell(|pass| pass.cpu_seconds_per_million, 2),
            cell(|pass| pass.peak_bytes as f64 / MIB, 0),
            cell(|pass| pass.job_seconds, 1),
        ));
    }
    let rate = |engine: &str| result.median(engine, |pass| pass.rate);
    let cpu = |engine: &str| result.median(engine, |pass| pass.cpu_seconds_per_million);
    let memory = |engine: &str| result.median(engine, |pass| pass.peak_bytes as f64);
    let mut against = Vec::new();
    for engine in ["copy", "flink"] {
        let rates = ratio(rate("millrace"), rate(engine));
        let cpus = ratio(cpu("millrace"), cpu(engine));
        let memories = ratio(memory("millrace"), memory(engine));
        if let (Some(rates), Some(cpus), Some(memories)) = (rates, cpus, memories) {
            against.push(format!(
                "against {}: {rates:.2}× the rate, {cpus:.2}× the CPU time a message, {memories:.2}× the memory",
                engine_name(engine)
            ));
        }
    }
    if !against.is_empty() {
        out.line("");
        out.line(&format!("Millrace {}.", against.join("; ")));
    }
    out.line("");
    out.line(&format!("![Rate, CPU time and memory](results/{name}.svg)"));
    out.line("");
    out.line("Messages/s, round by round:");
    out.line("");
    let engines: Vec<&str> = PASS_ENGINES
        .into_iter()
        .filter(|engine| {
            result
                .rounds
                .iter()
                .any(|round| round.passes.contains_key(*engine))
        })
        .collect();
    let names: Vec<&str> = engines.iter().map(|engine| engine_name(engine)).collect();
    out.line(&format!("| round | {} | |", names.join(" | ")));
    out.line(&format!("|---|{}---|", "---|".repeat(engines.len())));
    for (index, round) in result.rounds.iter().enumerate() {
        let cells: Vec<String> = engines
            .iter()
            .map(|engine| {
                round
                    .passes
                    .get(*engine)
                    .map_or(String::new(), |pass| number(pass.rate, 0))
            })
            .collect();
        let void = round
            .void
            .as_ref()
            .map_or(String::new(), |reason| format!("void: {reason}"));
        out.line(&format!("| {} | {} | {void} |", index + 1, cells.join(" | ")));
    }
    if let Some(settings) = &result.flink_settings {
        out.line("");
        out.line(&format!(
            "Apache Flink's settings: {}.",
            settings_text(&settings.name, &settings.options)
        ));
    }
}

fn settings_text(name: &str, options: &[String]) -> String {
    if options.is_empty() {
        return format!("`{name}`, object reuse on");
    }
    let options: Vec<String> = options.iter().map(|option| format!("`{option}`")).collect();
    format!("`{name}`, object reuse on, {}", options.join(", "))
}

fn measured_on(out: &mut Page, date: &str, machine: &Machine) {
    out.line(&format!(
        "Measured on {date}: {}; load average before: {:.2}.",
        machine.line(),
        machine.load_before
    ));
}

/// The median, and the range if there is more than one value.
fn spread(values: &[f64], decimals: usize) -> String {
    let (Some(median), Some((low, high))) = (stats::median(values), stats::range(values)) else {
        return String::new();
    };
    if values.len() == 1 {
        return number(median, decimals);
    }
    format!(
        "{} ({} to {})",
        number(median, decimals),
        number(low, decimals),
        number(high, decimals)
    )
}

fn latency(out: &mut Page, result: &Latency) {
    out.section("Latency");
    out.line(&format!(
        "{} messages/s, at-least-once, JSON in and out; {} s measured after {} s of warm-up.",
        number(result.messages_per_second as f64, 0),
        result.seconds,
        result.warm_up_seconds
    ));
    measured_on(out, &result.date, &result.machine);
    out.line("");
    out.line("Milliseconds; the median over the runs, lowest and highest in brackets:");
    out.line("");
    out.line("| | runs | p50 | p90 | p99 | p99.9 | max |");
    out.line("|---|---|---|---|---|---|---|");
    for engine in LATENCY_ENGINES {
        let runs = result.of(engine);
        if runs.is_empty() {
            continue;
        }
        let cell = |figure: fn(&Percentiles) -> f64| spread(&runs.iter().map(figure).collect::<Vec<_>>(), 1);
        out.line(&format!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            engine_name(engine),
            runs.len(),
            cell(|p| p.p50),
            cell(|p| p.p90),
            cell(|p| p.p99),
            cell(|p| p.p999),
            cell(|p| p.max),
        ));
    }
    out.line("");
    out.line(&format!("![Latency](results/{}.svg)", results::LATENCY));
}

fn startup(out: &mut Page, result: &Startup) {
    let (Some(median), Some((low, high))) = (
        stats::median(&result.milliseconds),
        stats::range(&result.milliseconds),
    ) else {
        return;
    };
    out.section("Start-up");
    out.line("From the start of `millrace run` to the first record in the output, exactly-once, with a warm broker.");
    measured_on(out, &result.date, &result.machine);
    out.line("");
    out.line("| tries | median, ms | lowest, ms | highest, ms |");
    out.line("|---|---|---|---|");
    out.line(&format!(
        "| {} | {median:.0} | {low:.0} | {high:.0} |",
        result.milliseconds.len()
    ));
}

fn tuning(out: &mut Page, result: &FlinkTuning) {
    if result.tried.is_empty() {
        return;
    }
    out.section(&format!("Apache Flink's settings, {}", result.format));
    out.line(&format!(
        "What was tried, {} messages; the fastest is what the pass-through is held against.",
        number(result.messages as f64, 0),
    ));
    measured_on(out, &result.date, &result.machine);
    out.line("");
    out.line("| settings | messages/s | CPU s for a million messages | peak memory, MiB |");
    out.line("|---|---|---|---|");
    for tried in &result.tried {
        let cell = |figure: fn(&Pass) -> f64, decimals: usize| {
            spread(&tried.passes.iter().map(figure).collect::<Vec<_>>(), decimals)
        };
        out.line(&format!(
            "| {} | {} | {} | {} |",
            settings_text(&tried.settings.name, &tried.settings.options),
            cell(|pass| pass.rate, 0),
            cell(|pass| pass.cpu_seconds_per_million, 2),
            cell(|pass| pass.peak_bytes as f64 / MIB, 0),
        ));
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        // Writing into a String does not fail.
        let _ = writeln!(self.0, "{text}");
    }

    fn section(&mut self, title: &str) {
        let _ = write!(self.0, "\n## {title}\n\n");
    }
}

fn bar(engine: &str, values: &[f64]) -> Option<Bar> {
    let (low, high) = stats::range(values)?;
    Some(Bar {
        label: engine_name(engine).to_owned(),
        value: stats::median(values)?,
        low,
        high,
        colour: colour(engine),
    })
}

fn passthrough_plot(result: &Passthrough) -> String {
    let panel = |title: &str, unit: &str, decimals: usize, figure: fn(&Pass) -> f64| Panel {
        title: title.to_owned(),
        unit: unit.to_owned(),
        decimals,
        bars: PASS_ENGINES
            .into_iter()
            .filter_map(|engine| {
                bar(
                    engine,
                    &result.passes(engine).iter().map(figure).collect::<Vec<_>>(),
                )
            })
            .collect(),
    };
    svg::bars(
        &format!(
            "Pass-through from Kafka to Kafka, exactly-once, {}",
            result.format
        ),
        &format!(
            "{} messages of {} bytes; median, lowest and highest of the rounds; {} cores shared with the broker",
            number(result.messages as f64, 0),
            result.message_bytes,
            result.machine.cores
        ),
        &[
            panel("Rate (more is better)", "thousand messages a second", 0, |pass| {
                pass.rate / 1000.0
            }),
            panel(
                "CPU time (less is better)",
                "CPU seconds for a million messages",
                2,
                |pass| pass.cpu_seconds_per_million,
            ),
            panel("Peak memory (less is better)", "MiB, resident", 0, |pass| {
                pass.peak_bytes as f64 / MIB
            }),
        ],
    )
}

fn latency_plot(result: &Latency) -> String {
    let panel = |title: &str, figure: fn(&Percentiles) -> f64| Panel {
        title: title.to_owned(),
        unit: "milliseconds".to_owned(),
        decimals: 1,
        bars: LATENCY_ENGINES
            .into_iter()
            .filter_map(|engine| bar(engine, &result.of(engine).iter().map(figure).collect::<Vec<_>>()))
            .collect(),
    };
    svg::bars(
        &format!(
            "Latency at {} messages a second, at-least-once",
            number(result.messages_per_second as f64, 0)
        ),
        "From the due time of sending to a reader of the output; median, lowest and highest of the runs",
        &[
            panel("Median (p50)", |p| p.p50),
            panel("99th percentile (p99)", |p| p.p99),
            panel("Slowest record", |p| p.max),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::results::{FlinkSettings, LatencyRun, Round, Tried};

    fn machine() -> Machine {
        Machine {
            cores: 2,
            cpu: None,
            memory_gib: 24.0,
            kernel: "6.1".into(),
            millrace: Some("0.1.0".into()),
            commit: Some("abc1234".into()),
            kafka: "3.9.1".into(),
            flink: "2.1.1".into(),
            java: Some("17".into()),
            librdkafka: "2.12.1".into(),
            load_before: 0.25,
        }
    }

    fn pass(rate: f64, mib: f64) -> Pass {
        Pass {
            rate,
            cpu_seconds_per_million: 1.25,
            peak_bytes: (mib * MIB) as u64,
            steady_seconds: 6.0,
            job_seconds: 8.5,
        }
    }

    fn round(copy: f64, millrace: f64, flink: f64) -> Round {
        Round {
            void: None,
            passes: [
                ("copy".to_owned(), pass(copy, 200.0)),
                ("millrace".to_owned(), pass(millrace, 150.0)),
                ("flink".to_owned(), pass(flink, 1500.0)),
            ]
            .into(),
        }
    }

    fn json() -> Passthrough {
        let mut void = round(300_000.0, 900_000.0, 10_000.0);
        void.void = Some("the copy loop made 300000 messages/s, under 450000".into());
        Passthrough {
            date: "2000-01-01".into(),
            machine: machine(),
            format: "json".into(),
            messages: 4_000_000,
            message_bytes: 64,
            partitions: 4,
            parallelism: 2,
            floor: 450_000.0,
            flink_settings: Some(FlinkSettings {
                name: "tuned".into(),
                options: vec!["a.b=1".into()],
            }),
            rounds: vec![
                round(500_000.0, 450_000.0, 300_000.0),
                void,
                round(520_000.0, 400_000.0, 310_000.0),
                round(510_000.0, 440_000.0, 290_000.0),
            ],
        }
    }

    #[test]
    fn nothing_measured_nothing_claimed() {
        let text = markdown(&Measured::default());
        for word in [
            "## Bars",
            "## Pass-through",
            "## Latency",
            "## Start-up",
            "## Apache Flink's settings",
        ] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }

    #[test]
    fn void_rounds_are_shown_and_do_not_count() {
        let text = markdown(&Measured {
            json: Some(json()),
            ..Measured::default()
        });
        assert!(text.contains("Median of 3 rounds"), "{text}");
        assert!(
            text.contains(
                "| Millrace | 440,000 (400,000 to 450,000) | 1.25 (1.25 to 1.25) | 150 (150 to 150)"
            ),
            "{text}"
        );
        assert!(
            text.contains("| 2 | 900,000 | 300,000 | 10,000 | void: the copy loop made 300000 messages/s, under 450000 |"),
            "{text}"
        );
        assert!(
            text.contains("rate against the copy loop | ≥ 85% | 86.3% | met |"),
            "{text}"
        );
        assert!(
            text.contains("Apache Flink, warm | ≥ 1.3× | 1.47× | met |"),
            "{text}"
        );
        assert!(
            text.contains("peak memory against Apache Flink | ≤ 1/6 | 1/10.0 | met |"),
            "{text}"
        );
        assert!(text.contains("`tuned`, object reuse on, `a.b=1`"), "{text}");
        assert!(text.contains("load average before: 0.25"), "{text}");
    }

    #[test]
    fn what_is_short_of_its_bar_says_so() {
        let percentiles = Percentiles {
            p50: 3.0,
            p90: 9.0,
            p99: 20.1,
            p999: 30.0,
            max: 31.0,
            count: 300_000,
        };
        let measured = Measured {
            latency: Some(Latency {
                date: "2000-01-01".into(),
                machine: machine(),
                messages_per_second: 10_000,
                warm_up_seconds: 10,
                seconds: 30,
                runs: vec![LatencyRun {
                    engine: "millrace".into(),
                    milliseconds: percentiles,
                }],
            }),
            startup: Some(Startup {
                date: "2000-01-01".into(),
                machine: machine(),
                milliseconds: vec![310.0, 290.0, 400.0],
            }),
            ..Measured::default()
        };
        let text = markdown(&measured);
        assert!(text.contains("| ≤ 300 ms | 310 ms | **short of it** |"), "{text}");
        assert!(
            text.contains("at 10,000 messages/s, at-least-once | ≤ 20 ms | 20.1 ms | **short of it** |"),
            "{text}"
        );
        assert!(text.contains("| 3 | 310 | 290 | 400 |"), "{text}");
        assert!(
            text.contains("| Millrace | 1 | 3.0 | 9.0 | 20.1 | 30.0 | 31.0 |"),
            "{text}"
        );
        assert!(!text.contains("Apache Flink |"), "Flink was not measured: {text}");
    }

    #[test]
    fn an_engine_that_was_left_out_is_left_out() {
        let mut result = json();
        for round in &mut result.rounds {
            round.passes.remove("flink");
        }
        let text = markdown(&Measured {
            json: Some(result.clone()),
            ..Measured::default()
        });
        assert!(!text.contains("against Apache Flink"), "{text}");
        assert!(text.contains("against the copy loop"), "{text}");
        assert!(!passthrough_plot(&result).contains("Apache Flink"));
    }

    #[test]
    fn the_settings_that_were_tried() {
        let tried = |name: &str, rate: f64| Tried {
            settings: FlinkSettings {
                name: name.into(),
                options: vec![],
            },
            passes: vec![pass(rate, 1500.0)],
        };
        let tuning = FlinkTuning {
            date: "2000-01-01".into(),
            machine: machine(),
            format: "json".into(),
            messages: 1_000_000,
            tried: vec![tried("defaults", 200_000.0), tried("other", 300_000.0)],
        };
        let text = markdown(&Measured {
            flink: vec![tuning],
            ..Measured::default()
        });
        assert!(
            text.contains("| `other`, object reuse on | 300,000 | 1.25 | 1,500 |"),
            "{text}"
        );
    }

    #[test]
    fn plots_hold_the_medians() {
        let plot = passthrough_plot(&json());
        for word in [
            "Millrace",
            "copy loop (librdkafka)",
            "Apache Flink",
            ">440<",
            "thousand messages a second",
        ] {
            assert!(plot.contains(word), "{word} in {plot}");
        }
    }
}
