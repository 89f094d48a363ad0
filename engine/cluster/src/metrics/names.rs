//! How a metric is spelled for Prometheus and for REST.

use super::{Metric, Scope};

/// What Prometheus takes in a name: letters, digits, `_` and `:`.
fn is_valid(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Every other character becomes `_`, as Flink's reporter does it.
pub fn replace_invalid(text: &str) -> String {
    text.chars().map(|c| if is_valid(c) { c } else { '_' }).collect()
}

/// `flink_`, the scope's groups and the metric's, its name.
pub fn prometheus_name(scope: Scope, metric: &Metric) -> String {
    replace_invalid(&format!("flink_{}_{}", scope.groups(), metric.name))
}

/// Whether values of labels are spelled like names: Flink's `filterLabelValueCharacters`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LabelFilter {
    #[default]
    Replace,
    Keep,
}

impl LabelFilter {
    pub fn apply(self, value: &str) -> String {
        match self {
            LabelFilter::Replace => replace_invalid(value),
            LabelFilter::Keep => value.to_owned(),
        }
    }
}

/// What an operator's metrics begin with among those of its subtask in REST: dots divide the parts of an id, and
/// clients divide lists of ids by commas.
pub fn operator_id(operator: &str, id: &str) -> String {
    let name: String = operator
        .chars()
        .map(|c| {
            if matches!(c, ' ' | '.' | ':' | ',') {
                '_'
            } else {
                c
            }
        })
        .collect();
    format!("{name}.{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_flink_does() {
        let lag = Metric::gauge("KafkaSourceReader.KafkaConsumer.records-lag-max", 0.0);
        assert_eq!(
            prometheus_name(Scope::Operator, &lag),
            "flink_taskmanager_job_task_operator_KafkaSourceReader_KafkaConsumer_records_lag_max"
        );
        assert_eq!(
            operator_id("Source: orders[1]", &lag.id()),
            "Source__orders[1].KafkaSourceReader.KafkaConsumer.records-lag-max"
        );
        assert_eq!(
            LabelFilter::Replace.apply("Source: orders[1]"),
            "Source:_orders_1_"
        );
        assert_eq!(LabelFilter::Replace.apply("größe"), "gr__e");
        assert_eq!(LabelFilter::Keep.apply("größe"), "größe");
    }
}
