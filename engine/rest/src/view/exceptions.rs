//! Failures of a job.

use std::collections::BTreeMap;

use millrace_cluster::history::{self, ExceptionRecord};
use millrace_rest_types::exceptions::{Exception, ExceptionHistory, Exceptions, RootException};

/// Flink's default of `?maxExceptions=`.
pub const MOST: usize = 20;

pub fn all(history: &history::ExceptionHistory, most: usize) -> Exceptions {
    let entries = history.entries.iter().take(most);
    Exceptions {
        exception_history: ExceptionHistory {
            truncated: history.is_truncated || history.entries.len() > most,
            entries: entries.map(|record| root(record)).collect(),
        },
    }
}

fn root(record: &ExceptionRecord) -> RootException {
    RootException {
        exception: exception(&record.root),
        concurrent_exceptions: record.concurrent.iter().map(exception).collect(),
    }
}

fn exception(exception: &history::Exception) -> Exception {
    let task = exception.task.as_ref();
    Exception {
        exception_name: exception.message.clone(),
        stacktrace: exception.text.clone(),
        timestamp: exception.at,
        task_name: task.map(|task| task.name.clone()),
        endpoint: task.and_then(|task| task.endpoint.clone()),
        task_manager_id: task.map(|task| task.task_manager.clone()),
        failure_labels: BTreeMap::new(),
    }
}
