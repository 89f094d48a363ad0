//! Jobs with state: what RESULTS.md says of them.

use super::{Goal, MIB, Measured, Page, colour, engine_name, measured_on, ratio, settings_text, spread};
use crate::checkpoints::{Checkpoints, Series};
use crate::curves::{Axes, Curve, curves};
use crate::kafka_keyed::KafkaKeyed;
use crate::keyed::{self, Keyed};
use crate::keys::{Distribution, Keys};
use crate::results;
use crate::svg::number;

const ENGINES: [&str; 2] = ["millrace", "flink"];
const DISTRIBUTIONS: [Distribution; 2] = [Distribution::Uniform, Distribution::Zipf];

pub(super) fn goals(measured: &Measured, goals: &mut Vec<Goal>) {
    for job in measured.keyed.iter().flat_map(|result| &result.jobs) {
        if job.name == keyed::BARE {
            continue;
        }
        if let Some(times) = ratio(job.rate("millrace"), job.rate("flink")) {
            goals.push(Goal {
                name: format!("{}: rate against Apache Flink", job.title),
                asked: "≥ 8×",
                measured: format!("{times:.1}×"),
                met: times >= 8.0,
            });
        }
    }
    if let Some(result) = &measured.kafka_keyed {
        for job in &result.jobs {
            let rate = |engine| job.rate(engine, result.messages);
            if let Some(times) = ratio(rate("millrace"), rate("flink")) {
                goals.push(Goal {
                    name: format!("{}, Kafka to Kafka: rate against Apache Flink", job.title),
                    asked: if job.asked > 3.0 { "≥ 4×" } else { "≥ 2.5×" },
                    measured: format!("{times:.1}×"),
                    met: times >= job.asked,
                });
            }
        }
    }
    if let Some(result) = &measured.keys {
        let times = times(result);
        if let Some(least) = times.iter().map(|(_, _, times)| *times).min_by(f64::total_cmp) {
            goals.push(Goal {
                name: format!(
                    "{} to {} keys in 512 MiB: least rate against Apache Flink",
                    number(result.points.iter().map(|p| p.keys).min().unwrap_or(0) as f64, 0),
                    number(result.points.iter().map(|p| p.keys).max().unwrap_or(0) as f64, 0)
                ),
                asked: "≥ 3×",
                measured: format!("{least:.1}×"),
                met: least >= 3.0,
            });
        }
    }
    let ours = measured
        .checkpoints
        .iter()
        .flat_map(|result| &result.series)
        .find(|series| series.engine == "millrace");
    if let Some(series) = ours {
        goals.push(Goal {
            name: "incremental checkpoints, 1% changed: mean upload".into(),
            asked: "≤ 10%",
            measured: format!("{:.1}%", series.uploaded() * 100.0),
            met: series.uploaded() <= 0.1,
        });
        goals.push(Goal {
            name: "incremental checkpoints, 1% changed: the longest".into(),
            asked: "≤ 2 s",
            measured: format!("{:.2} s", series.longest()),
            met: series.longest() <= 2.0,
        });
    }
}

pub(super) fn sections(out: &mut Page, measured: &Measured) {
    if let Some(result) = &measured.keyed {
        keyed_jobs(out, result);
    }
    if let Some(result) = &measured.kafka_keyed {
        kafka_keyed(out, result);
    }
    if let Some(result) = &measured.keys {
        keys(out, result);
    }
    if let Some(result) = &measured.checkpoints {
        checkpoints(out, result);
    }
}

fn keyed_jobs(out: &mut Page, result: &Keyed) {
    out.section("Keyed jobs");
    out.line(
        "From a generator into nothing (jobs/keyed/): 10,000 keys, parallelism 2, state on RocksDB, a checkpoint each \
         second. Rows a second, over the whole job; CPU seconds for a million rows; MiB at most. The first line is the \
         generator alone.",
    );
    measured_on(out, &result.date, &result.machine);
    out.line("");
    out.line("| | Millrace, rows/s | Apache Flink, rows/s | | CPU s/M | Flink's | MiB | Flink's |");
    out.line("|---|---|---|---|---|---|---|---|");
    for job in &result.jobs {
        let cell = |engine: &str, figure: fn(&keyed::Pass) -> f64, decimals: usize| {
            job.passes.get(engine).map_or_else(String::new, |passes| {
                spread(&passes.iter().map(figure).collect::<Vec<_>>(), decimals)
            })
        };
        let cpu = |pass: &keyed::Pass| pass.cpu_seconds / pass.rows as f64 * 1e6;
        let memory = |pass: &keyed::Pass| pass.peak_bytes as f64 / MIB;
        let times = ratio(job.rate("millrace"), job.rate("flink"));
        out.line(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            job.title,
            cell("millrace", keyed::Pass::rate, 0),
            cell("flink", keyed::Pass::rate, 0),
            times.map_or_else(String::new, |times| format!("{times:.1}×")),
            cell("millrace", cpu, 2),
            cell("flink", cpu, 2),
            cell("millrace", memory, 0),
            cell("flink", memory, 0),
        ));
    }
}

fn kafka_keyed(out: &mut Page, result: &KafkaKeyed) {
    out.section("Keyed jobs, Kafka to Kafka");
    out.line(&format!(
        "{} messages of 64 bytes of JSON over 10,000 keys, exactly-once, a checkpoint each second, state on RocksDB \
         (jobs/kafka/). Messages read a second between the first and the last tenth of the output; the other figures as \
         in the pass-through.",
        number(result.messages as f64, 0)
    ));
    measured_on(out, &result.date, &result.machine);
    out.line("");
    out.line("| | Millrace, messages/s | Apache Flink, messages/s | | MiB | Flink's |");
    out.line("|---|---|---|---|---|---|");
    for job in &result.jobs {
        let rates = |engine: &str| job.rates(engine, result.messages);
        let memory = |engine: &str| {
            let passes = job.passes.get(engine).map_or(&[][..], Vec::as_slice);
            spread(
                &passes
                    .iter()
                    .map(|pass| pass.peak_bytes as f64 / MIB)
                    .collect::<Vec<_>>(),
                0,
            )
        };
        let rate = |engine| job.rate(engine, result.messages);
        let times = ratio(rate("millrace"), rate("flink"));
        out.line(&format!(
            "| {} | {} | {} | {} | {} | {} |",
            job.title,
            spread(&rates("millrace"), 0),
            spread(&rates("flink"), 0),
            times.map_or_else(String::new, |times| format!("{times:.1}×")),
            memory("millrace"),
            memory("flink"),
        ));
    }
    if let Some(settings) = &result.flink_settings {
        out.line("");
        out.line(&format!(
            "Apache Flink's settings: {}.",
            settings_text(&settings.name, &settings.options)
        ));
    }
}

/// Millrace's rate against Flink's, by keys and distribution.
fn times(result: &Keys) -> Vec<(u64, Distribution, f64)> {
    let mut all: Vec<u64> = result.points.iter().map(|p| p.keys).collect();
    all.sort_unstable();
    all.dedup();
    let mut times = Vec::new();
    for keys in all {
        for distribution in DISTRIBUTIONS {
            let rate = |engine| result.rate(engine, keys, distribution);
            times.extend(ratio(rate("millrace"), rate("flink")).map(|t| (keys, distribution, t)));
        }
    }
    times
}

fn keys(out: &mut Page, result: &Keys) {
    out.section("Many keys in little memory");
    out.line(
        "An updating GROUP BY with COUNT and SUM (jobs/state/keys.sql) over keys from files, each once and then by a \
         distribution; rows a second from three seconds after all keys were there. Both engines run in control groups \
         whose limit counts the page cache; of Apache Flink its TaskManager alone, under the smallest of 768, 1024, 1536 \
         and 2048 MiB in which it finishes. One round.",
    );
    measured_on(out, &result.date, &result.machine);
    out.line("");
    out.line("| keys | | Millrace, rows/s | limit, MiB | Apache Flink, rows/s | limit, MiB | |");
    out.line("|---|---|---|---|---|---|---|");
    for (keys, distribution, times) in times(result) {
        let cell = |engine: &str| {
            let point = result
                .points
                .iter()
                .find(|p| p.engine == engine && p.keys == keys && p.distribution == distribution);
            point.map_or_else(
                || " | ".to_owned(),
                |p| format!("{} | {}", number(p.rate, 0), p.limit_mib),
            )
        };
        out.line(&format!(
            "| {} | {} | {} | {} | {times:.1}× |",
            number(keys as f64, 0),
            distribution.name(),
            cell("millrace"),
            cell("flink"),
        ));
    }
    out.line("");
    out.line(&format!("![Rate by keys](results/{}.svg)", results::KEYS));
}

pub(super) fn keys_plot(result: &Keys) -> String {
    let mut drawn = Vec::new();
    for engine in ENGINES {
        for distribution in DISTRIBUTIONS {
            let mut points: Vec<(f64, f64)> = result
                .points
                .iter()
                .filter(|p| p.engine == engine && p.distribution == distribution)
                .map(|p| (p.keys as f64, p.rate))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            drawn.push(Curve {
                label: format!("{}, {}", engine_name(engine), distribution.name()),
                colour: colour(engine),
                dashed: distribution == Distribution::Zipf,
                points,
            });
        }
    }
    curves(
        "Updating GROUP BY over many keys",
        "Millrace in a container of 512 MiB, Apache Flink in the smallest in which it finishes; page cache included",
        Axes {
            x: "keys in the state",
            y: "rows a second",
        },
        &drawn,
    )
}

fn checkpoints(out: &mut Page, result: &Checkpoints) {
    out.section("Incremental checkpoints");
    out.line(&format!(
        "{} keys with values of {} hexadecimal digits at random, of which one percent changes each second, as often as \
         a checkpoint is taken (jobs/state/checkpoints.sql); checkpoints on the local disk.",
        number(result.keys as f64, 0),
        result.length
    ));
    measured_on(out, &result.date, &result.machine);
    out.line("");
    out.line("| | checkpoints | state, MiB | uploaded of it, mean | duration, median, s | longest, s |");
    out.line("|---|---|---|---|---|---|");
    for series in &result.series {
        out.line(&line(series));
    }
}

fn line(series: &Series) -> String {
    format!(
        "| {} | {} | {} | {:.1}% | {:.2} | {:.2} |",
        engine_name(&series.engine),
        series.checkpoints.len(),
        number(series.state_bytes().unwrap_or(0.0) / MIB, 0),
        series.uploaded() * 100.0,
        series.median_seconds().unwrap_or(0.0),
        series.longest()
    )
}
