//! Metrics as bytes, from a TaskManager to its JobManager. Histograms stay where they are: what is known of a subtask's is
//! among its counted values.

use std::borrow::Cow;

use super::{Kind, Metric, Value};
use crate::rpc::proto;

pub fn encode(metrics: &[Metric]) -> Vec<proto::Named> {
    metrics.iter().filter_map(named).collect()
}

fn named(metric: &Metric) -> Option<proto::Named> {
    use proto::named::Value as To;
    let value = match &metric.value {
        Value::Long(value) => To::Long(*value),
        Value::Double(value) => To::Number(*value),
        Value::Bool(value) => To::Flag(*value),
        Value::Text(value) => To::Text(value.clone()),
        Value::Histogram(_) => return None,
    };
    let variables = metric.variables.iter();
    Some(proto::Named {
        name: metric.name.clone().into_owned(),
        groups: variables
            .clone()
            .map(|(group, _)| group.clone().into_owned())
            .collect(),
        values: variables.map(|(_, value)| value.clone()).collect(),
        kind: match metric.kind {
            Kind::Counter => proto::Kind::Counter,
            Kind::Meter => proto::Kind::Meter,
            Kind::Gauge | Kind::Histogram => proto::Kind::Gauge,
        } as i32,
        value: Some(value),
    })
}

/// Those that this release knows.
pub fn decode(named: Vec<proto::Named>) -> Vec<Metric> {
    use proto::named::Value as From;
    let metric = |named: proto::Named| {
        let value = match named.value? {
            From::Long(value) => Value::Long(value),
            From::Number(value) => Value::Double(value),
            From::Flag(value) => Value::Bool(value),
            From::Text(value) => Value::Text(value),
        };
        let groups = named.groups.into_iter().map(Cow::Owned);
        Some(Metric {
            name: named.name.into(),
            variables: groups.zip(named.values).collect(),
            kind: match proto::Kind::try_from(named.kind).ok()? {
                proto::Kind::Counter => Kind::Counter,
                proto::Kind::Meter => Kind::Meter,
                proto::Kind::Gauge => Kind::Gauge,
            },
            value,
        })
    };
    named.into_iter().filter_map(metric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_the_same_behind_the_wire() {
        let metrics = vec![
            Metric::gauge("KafkaSourceReader.topic.partition.currentOffset", -1_i64)
                .with("topic", "a")
                .with("partition", "0"),
            Metric::counter("commitsSucceeded", 7),
            Metric::meter("rate", 0.5),
            Metric::gauge("flag", true),
            Metric::gauge("text", "x".to_owned()),
        ];
        assert_eq!(decode(encode(&metrics)), metrics);
    }
}
