//! `metrics.reporter.<name>.*`, as Flink has it. Without a reporter in the configuration there is one all the same.

use std::ops::RangeInclusive;

use millrace_cluster::metrics::LabelFilter;
use millrace_core::{Configuration, Error, Result, options};

/// Where and how metrics are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reporter {
    /// The first of these ports that is free is listened on.
    pub ports: RangeInclusive<u16>,
    pub labels: Labels,
}

/// What becomes of labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    pub filter: LabelFilter,
    /// Those that are left out.
    pub excluded: Vec<String>,
    /// Those that every metric has besides.
    pub additional: Vec<(String, String)>,
}

const FACTORY: &str = "org.apache.flink.metrics.prometheus.PrometheusReporterFactory";
/// Flink's.
const PORT: u16 = 9249;
/// Without a reporter in the configuration: several processes of one machine have one each.
const PORTS: RangeInclusive<u16> = PORT..=PORT + 10;

const PREFIX: &str = "metrics.reporter.";

impl Reporter {
    /// None where reporters are configured and none of them is for Prometheus, or `metrics.reporters` names none.
    pub fn from_config(config: &Configuration) -> Result<Option<Reporter>> {
        let mut names: Vec<&str> = config
            .iter()
            .filter_map(|(key, _)| key.strip_prefix(PREFIX)?.strip_suffix(".factory.class"))
            .collect();
        let chosen = config.get_optional(&options::METRIC_REPORTERS)?;
        if let Some(chosen) = &chosen {
            let chosen: Vec<&str> = list(chosen).collect();
            names.retain(|name| chosen.contains(name));
        }
        if names.is_empty() && chosen.is_none() {
            return Ok(Some(Reporter {
                ports: PORTS,
                labels: Labels::default(),
            }));
        }
        let mut found = None;
        for name in names {
            let class = config
                .raw(&format!("{PREFIX}{name}.factory.class"))
                .unwrap_or_default();
            if class.trim() != FACTORY {
                tracing::warn!(
                    reporter = name,
                    class,
                    "metrics are reported to Prometheus only: this reporter is left out"
                );
            } else if found.is_some() {
                tracing::warn!(
                    reporter = name,
                    "there is one reporter for Prometheus already: this one is left out"
                );
            } else {
                found = Some(named(config, name)?);
            }
        }
        Ok(found)
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ';'])
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

fn named(config: &Configuration, name: &str) -> Result<Reporter> {
    let prefix = format!("{PREFIX}{name}.");
    let mut reporter = Reporter {
        ports: PORT..=PORT,
        labels: Labels::default(),
    };
    for (key, value) in config.iter() {
        let Some(option) = key.strip_prefix(&prefix) else {
            continue;
        };
        let value = value.trim();
        match option {
            "factory.class" => {}
            "port" => {
                reporter.ports =
                    ports(value).ok_or_else(|| wrong(key, value, "a port or a range of ports: 9249-9260"))?
            }
            "filterLabelValueCharacters" => {
                reporter.labels.filter = match value.to_ascii_lowercase().as_str() {
                    "true" => LabelFilter::Replace,
                    "false" => LabelFilter::Keep,
                    _ => return Err(wrong(key, value, "true or false")),
                }
            }
            "scope.variables.excludes" => reporter.labels.excluded = list(value).map(str::to_owned).collect(),
            "scope.variables.additional" => {
                reporter.labels.additional =
                    additional(value).ok_or_else(|| wrong(key, value, "name:value,name:value"))?;
            }
            // It is asked, and waits for nobody.
            "interval" => {}
            _ => tracing::warn!(key, "this option of a metrics reporter has no effect here"),
        }
    }
    Ok(reporter)
}

fn wrong(key: &str, value: &str, takes: &str) -> Error {
    Error::user("a configuration value has the wrong type")
        .with_detail(format!("{key}: '{value}'"))
        .with_hint(format!("it takes {takes}"))
}

fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let port = |text: &str| text.trim().parse::<u16>().ok();
    match text.split_once('-') {
        None => port(text).map(|port| port..=port),
        Some((first, last)) => Some(port(first)?..=port(last)?).filter(|ports| !ports.is_empty()),
    }
}

fn additional(text: &str) -> Option<Vec<(String, String)>> {
    list(text)
        .map(|pair| {
            pair.split_once(':')
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(lines: &[(&str, &str)]) -> Configuration {
        let pairs = lines
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        pairs.collect()
    }

    fn reporter(lines: &[(&str, &str)]) -> Option<Reporter> {
        Reporter::from_config(&config(lines)).unwrap()
    }

    #[test]
    fn there_is_a_reporter_unless_others_are_wanted() {
        assert_eq!(reporter(&[]).unwrap().ports, 9249..=9259);
        assert_eq!(reporter(&[("metrics.reporters", "")]), None);
        let other = (
            "metrics.reporter.jmx.factory.class",
            "org.apache.flink.metrics.jmx.JMXReporterFactory",
        );
        assert_eq!(reporter(&[other]), None);
    }

    #[test]
    fn flinks_options_are_read() {
        let lines = [
            ("metrics.reporters", "jmx, p"),
            ("metrics.reporter.p.factory.class", FACTORY),
            ("metrics.reporter.p.port", "9250-9260"),
            ("metrics.reporter.p.filterLabelValueCharacters", "false"),
            (
                "metrics.reporter.p.scope.variables.excludes",
                "job_id;task_attempt_num",
            ),
            (
                "metrics.reporter.p.scope.variables.additional",
                "region:eu,zone:a",
            ),
        ];
        let found = reporter(&lines).unwrap();
        assert_eq!(found.ports, 9250..=9260);
        assert_eq!(found.labels.filter, LabelFilter::Keep);
        assert_eq!(found.labels.excluded, ["job_id", "task_attempt_num"]);
        assert_eq!(found.labels.additional[1], ("zone".to_owned(), "a".to_owned()));
        assert_eq!(reporter(&lines[1..2]).unwrap().ports, 9249..=9249);
        assert_eq!(reporter(&[lines[1], ("metrics.reporters", "jmx")]), None);
        for wrong in ["x", "9260-9250", "70000"] {
            let lines = [lines[1], ("metrics.reporter.p.port", wrong)];
            assert!(Reporter::from_config(&config(&lines)).is_err(), "{wrong}");
        }
    }
}
