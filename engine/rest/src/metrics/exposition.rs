//! Metrics in Prometheus' text format, as Flink's reporter gives them: counters and meters are gauges, a histogram is a
//! summary with its quantiles.

use std::collections::BTreeMap;

use millrace_cluster::metrics::{Group, Kind, Metric, Statistics, Value, prometheus_name, replace_invalid};
use millrace_core::{Error, Result};
use prometheus::TextEncoder;
use prometheus::proto::{Gauge, LabelPair, Metric as Sample, MetricFamily, MetricType, Quantile, Summary};

use super::Labels;

/// All of these metrics.
pub fn text(groups: &[Group], labels: &Labels) -> Result<String> {
    let mut families: BTreeMap<String, MetricFamily> = BTreeMap::new();
    // Of the metrics of a scope most have the same names again and again.
    let mut names: BTreeMap<(&'static str, &str), String> = BTreeMap::new();
    for group in groups {
        let own = pairs(group, labels);
        for metric in &group.metrics {
            let name: &str = names
                .entry((group.scope.groups(), &*metric.name))
                .or_insert_with(|| prometheus_name(group.scope, metric));
            if !families.contains_key(name) {
                families.insert(name.to_owned(), family(name, group, metric));
            }
            if let Some(family) = families.get_mut(name) {
                family.mut_metric().push(sample(metric, &own, labels));
            }
        }
    }
    let families: Vec<MetricFamily> = families.into_values().collect();
    let mut text = String::new();
    TextEncoder::new()
        .encode_utf8(&families, &mut text)
        .map_err(|e| Error::internal("metrics could not be written as text").with_source(e))?;
    Ok(text)
}

fn family(name: &str, group: &Group, metric: &Metric) -> MetricFamily {
    let (above, own) = metric.name.rsplit_once('.').unwrap_or(("", &*metric.name));
    let scope = [group.scope.groups(), above].join(".");
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(format!(
        "{} (scope: {})",
        replace_invalid(own),
        replace_invalid(scope.trim_end_matches('.'))
    ));
    family.set_field_type(match metric.kind {
        Kind::Histogram => MetricType::SUMMARY,
        Kind::Counter | Kind::Meter | Kind::Gauge => MetricType::GAUGE,
    });
    family
}

fn pair(name: &str, value: String) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value);
    pair
}

fn pairs(group: &Group, labels: &Labels) -> Vec<LabelPair> {
    let own = group.variables.iter().map(|(name, value)| (*name, value));
    let additional = labels
        .additional
        .iter()
        .map(|(name, value)| (name.as_str(), value));
    own.filter(|(name, _)| !labels.excluded.iter().any(|excluded| excluded == name))
        .chain(additional)
        .map(|(name, value)| pair(&label_name(name), labels.filter.apply(value)))
        .collect()
}

/// Of letters, digits and `_` only: unlike a metric's name.
fn label_name(name: &str) -> String {
    replace_invalid(name).replace(':', "_")
}

fn sample(metric: &Metric, own: &[LabelPair], labels: &Labels) -> Sample {
    let mut pairs = own.to_vec();
    for (name, value) in &metric.variables {
        if !labels.excluded.iter().any(|excluded| excluded == name) {
            pairs.push(pair(&label_name(name), labels.filter.apply(value)));
        }
    }
    let mut sample = Sample::from_label(pairs);
    match &metric.value {
        Value::Histogram(known) if metric.kind == Kind::Histogram => sample.set_summary(summary(known)),
        value => {
            let mut gauge = Gauge::default();
            gauge.set_value(value.number());
            sample.set_gauge(gauge);
        }
    }
    sample
}

fn summary(known: &Statistics) -> Summary {
    let quantiles = [
        (0.5, known.p50),
        (0.75, known.p75),
        (0.95, known.p95),
        (0.98, known.p98),
        (0.99, known.p99),
        (0.999, known.p999),
    ];
    let quantile = |(quantile, value)| {
        let mut one = Quantile::default();
        one.set_quantile(quantile);
        one.set_value(value);
        one
    };
    let mut summary = Summary::default();
    summary.set_sample_count(known.count);
    summary.set_sample_sum(known.sum);
    summary.set_quantile(quantiles.map(quantile).to_vec());
    summary
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use millrace_cluster::metrics::{LabelFilter, Scope, of_task};
    use millrace_core::{JobId, VertexId};
    use millrace_runtime::TaskMetrics;
    use millrace_runtime::metrics::TaskIdentity;

    use super::*;

    fn group(metrics: Vec<Metric>) -> Group {
        Group {
            scope: Scope::Operator,
            variables: vec![
                ("host", "10.0.0.1".to_owned()),
                ("operator_name", "Source: \"a\\b\"\n".to_owned()),
            ],
            metrics,
        }
    }

    #[test]
    fn a_gauge_has_its_scope_and_labels() {
        let offset =
            Metric::gauge("KafkaSourceReader.topic.partition.currentOffset", 7_i64).with("topic", "a-b");
        let text = text(&[group(vec![offset])], &Labels::default()).unwrap();
        let name = "flink_taskmanager_job_task_operator_KafkaSourceReader_topic_partition_currentOffset";
        assert_eq!(
            text,
            format!(
                "# HELP {name} currentOffset (scope: taskmanager_job_task_operator_KafkaSourceReader_topic_partition)\n\
                 # TYPE {name} gauge\n\
                 {name}{{host=\"10_0_0_1\",operator_name=\"Source:__a_b__\",topic=\"a_b\"}} 7\n"
            )
        );
    }

    #[test]
    fn values_that_are_kept_as_they_are_are_escaped() {
        let labels = Labels {
            filter: LabelFilter::Keep,
            excluded: vec!["host".to_owned()],
            additional: vec![("region".to_owned(), "eu".to_owned())],
        };
        let text = text(&[group(vec![Metric::counter("numRecordsIn", 1)])], &labels).unwrap();
        assert!(
            text.ends_with("numRecordsIn{operator_name=\"Source: \\\"a\\\\b\\\"\\n\",region=\"eu\"} 1\n"),
            "{text}"
        );
    }

    #[test]
    fn one_name_is_one_family() {
        let metrics = || {
            vec![
                Metric::counter("numRecordsIn", 1),
                Metric::gauge("isBackPressured", true),
            ]
        };
        let text = text(&[group(metrics()), group(metrics())], &Labels::default()).unwrap();
        assert_eq!(text.matches("# TYPE").count(), 2);
        assert_eq!(text.matches("isBackPressured{").count(), 2);
    }

    #[test]
    fn a_histogram_is_a_summary() {
        let known = Statistics::of(&[1.0, 2.0, 3.0], 5, 20.0);
        let metric = Metric::new(
            "mailboxLatencyMs",
            Kind::Histogram,
            Value::Histogram(known.into()),
        );
        let text = text(&[group(vec![metric])], &Labels::default()).unwrap();
        assert!(text.contains("mailboxLatencyMs summary\n"), "{text}");
        assert!(text.contains("quantile=\"0.5\"} 2\n"), "{text}");
        assert!(text.contains("mailboxLatencyMs_count{"), "{text}");
    }

    #[test]
    fn of_a_thousand_subtasks_each_has_its_own_samples() {
        let tasks = (0..1_000).map(|subtask| {
            let operators = ["Source: orders", "Calc", "Sink: totals"].map(str::to_owned);
            let mut task = TaskMetrics::new(operators);
            Arc::get_mut(&mut task).unwrap().identity = Some(TaskIdentity {
                job: JobId::from_name("orders"),
                job_name: "orders".to_owned(),
                vertex: VertexId::from_uid("orders"),
                vertex_name: "Source: orders -> Calc -> Sink: totals".to_owned(),
                subtask,
                attempt: 0,
                has_inputs: true,
            });
            task
        });
        let tasks: Vec<Arc<TaskMetrics>> = tasks.collect();
        let process = [("host", "a".to_owned()), ("tm_id", "a:1-b".to_owned())];
        let began = Instant::now();
        let groups: Vec<Group> = tasks.iter().flat_map(|task| of_task(task, &process, 0)).collect();
        let gathered = began.elapsed();
        let text = text(&groups, &Labels::default()).unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#')).count();
        println!(
            "{samples} samples: gathered in {gathered:?}, written in {:?}",
            began.elapsed() - gathered
        );
        assert_eq!(
            text.matches("flink_taskmanager_job_task_numRecordsIn{").count(),
            1_000
        );
        assert_eq!(
            text.matches("flink_taskmanager_job_task_operator_numRecordsIn{")
                .count(),
            3_000
        );
        assert!(text.contains("subtask_index=\"999\""));
    }
}
