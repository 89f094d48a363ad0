//! Subtasks and their operators.

use millrace_runtime::TaskMetrics;

use super::names::operator_id;
use super::{Group, Metric, Scope};

/// All metrics of a subtask, as REST has them: operators' under the operator's name. At this time in milliseconds since
/// 1970.
pub fn of_subtask(metrics: &TaskMetrics, now_millis: i64) -> Vec<(String, Metric)> {
    let own = metrics.named().into_iter().flat_map(Metric::flat);
    let mut all: Vec<(String, Metric)> = own.map(|metric| (metric.id(), metric)).collect();
    for (index, operator) in metrics.operators.iter().enumerate() {
        let of_operator = metrics
            .named_of(index, now_millis)
            .into_iter()
            .flat_map(Metric::flat);
        all.extend(of_operator.map(|metric| (operator_id(&operator.name, &metric.id()), metric)));
    }
    all
}

/// A subtask, and each of its operators; nothing where it is of no job. `process` are the variables of its TaskManager.
pub fn of_task(metrics: &TaskMetrics, process: &[(&'static str, String)], now_millis: i64) -> Vec<Group> {
    let Some(identity) = &metrics.identity else {
        return Vec::new();
    };
    let attempt = format!(
        "{}_{}_{}_{}",
        identity.job, identity.vertex, identity.subtask, identity.attempt
    );
    let mut variables = process.to_vec();
    variables.extend([
        ("job_id", identity.job.to_string()),
        ("job_name", identity.job_name.clone()),
        ("task_id", identity.vertex.to_string()),
        ("task_name", identity.vertex_name.clone()),
        ("task_attempt_id", attempt),
        ("task_attempt_num", identity.attempt.to_string()),
        ("subtask_index", identity.subtask.to_string()),
    ]);
    let mut groups = Vec::with_capacity(1 + metrics.operators.len());
    for (index, operator) in metrics.operators.iter().enumerate() {
        let mut variables = variables.clone();
        variables.extend([
            (
                "operator_id",
                operator.id.map(|id| id.to_string()).unwrap_or_default(),
            ),
            ("operator_name", operator.name.clone()),
        ]);
        groups.push(Group {
            scope: Scope::Operator,
            variables,
            metrics: metrics.named_of(index, now_millis),
        });
    }
    groups.push(Group {
        scope: Scope::Task,
        variables,
        metrics: metrics.named(),
    });
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtasks_list_has_its_operators_under_their_names() {
        let metrics = TaskMetrics::new(["Source: a.b".to_owned(), "Sink: c".to_owned()]);
        metrics.operators[1].records_in.add(3);
        let all = of_subtask(&metrics, 0);
        let value = |id: &str| {
            all.iter()
                .find(|(found, _)| found == id)
                .map(|(_, m)| m.value.to_string())
        };
        assert_eq!(value("Sink__c.numRecordsIn").as_deref(), Some("3"));
        assert_eq!(value("Source__a_b.numRecordsOut").as_deref(), Some("0"));
        assert_eq!(value("isBackPressured").as_deref(), Some("false"));
        assert!(value("mailboxLatencyMs_p99").is_some() && value("mailboxLatencyMs").is_none());
    }
}
