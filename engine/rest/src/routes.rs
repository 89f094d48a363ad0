//! Which function answers what.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State as Extract};
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post, put};

use crate::handlers::{
    checkpoints, cluster, jars, job_manager, jobs, metrics, operations, task_managers, vertices,
};
use crate::leader;
use crate::state::State;

type Routes = Router<Arc<State>>;

/// All paths, as they are without a version.
pub fn all(state: Arc<State>) -> Router {
    let submits = state.settings.features.web_submit;
    Router::new()
        .merge(of_the_cluster())
        .merge(of_jobs())
        .merge(of_vertices())
        .merge(of_operations())
        .merge(of_uploads(submits))
        // Files are here, wherever the jobs are.
        .route_layer(middleware::from_fn_with_state(state.clone(), leader::answers))
        .fallback(file)
        .method_not_allowed_fallback(cluster::no_such_method)
        .layer(DefaultBodyLimit::max(state.settings.max_content))
        .layer(middleware::from_fn_with_state(state.clone(), allow_origins))
        .with_state(state)
}

fn of_the_cluster() -> Routes {
    Router::new()
        .route("/overview", get(cluster::overview))
        .route("/config", get(cluster::dashboard_configuration))
        .route("/cluster", delete(cluster::shut_down))
        .route("/datasets", get(cluster::data_sets))
        .route("/datasets/{datasetid}", delete(cluster::delete_data_set))
        .route("/datasets/delete/{triggerid}", get(operations::disposal_status))
        .route("/jobmanager/config", get(job_manager::config))
        .route("/jobmanager/environment", get(job_manager::environment))
        .route("/jobmanager/metrics", get(metrics::job_manager))
        .route("/jobmanager/log", get(job_manager::log))
        .route("/jobmanager/stdout", get(job_manager::stdout))
        .route("/jobmanager/logs", get(job_manager::logs))
        .route("/jobmanager/logs/{filename}", get(job_manager::log_file))
        .route("/jobmanager/thread-dump", get(job_manager::thread_dump))
        .route("/taskmanagers", get(task_managers::all))
        .route("/taskmanagers/metrics", get(metrics::task_managers))
        .route("/taskmanagers/{taskmanagerid}", get(task_managers::details))
        .route(
            "/taskmanagers/{taskmanagerid}/metrics",
            get(metrics::task_manager),
        )
        .route("/taskmanagers/{taskmanagerid}/log", get(task_managers::log))
        .route("/taskmanagers/{taskmanagerid}/stdout", get(task_managers::stdout))
        .route("/taskmanagers/{taskmanagerid}/logs", get(task_managers::logs))
        .route(
            "/taskmanagers/{taskmanagerid}/logs/{filename}",
            get(task_managers::log_file),
        )
        .route(
            "/taskmanagers/{taskmanagerid}/thread-dump",
            get(task_managers::thread_dump),
        )
}

fn of_jobs() -> Routes {
    Router::new()
        .route("/jobs", get(jobs::ids).post(jobs::submit_java))
        .route("/jobs/overview", get(jobs::overview))
        .route("/jobs/metrics", get(metrics::jobs))
        .route("/jobs/{jobid}", get(jobs::details).patch(jobs::terminate))
        .route("/jobs/{jobid}/status", get(jobs::status))
        .route("/jobs/{jobid}/config", get(jobs::config))
        .route("/jobs/{jobid}/plan", get(jobs::plan))
        .route("/jobs/{jobid}/exceptions", get(jobs::exceptions))
        .route("/jobs/{jobid}/accumulators", get(jobs::accumulators))
        .route("/jobs/{jobid}/metrics", get(metrics::job))
        .route("/jobs/{jobid}/execution-result", get(jobs::execution_result))
        .route("/jobs/{jobid}/clientHeartbeat", patch(jobs::client_heartbeat))
        .route("/jobs/{jobid}/coordinators/{operatorid}", post(jobs::coordinator))
        .route("/jobs/{jobid}/jobmanager/config", get(jobs::job_manager_config))
        .route(
            "/jobs/{jobid}/jobmanager/environment",
            get(job_manager::environment),
        )
        .route("/jobs/{jobid}/yarn-cancel", get(jobs::cancel))
        .route("/jobs/{jobid}/yarn-stop", get(jobs::stop_without_savepoint))
        .route("/jobs/{jobid}/rescaling", patch(jobs::rescaling))
        .route("/jobs/{jobid}/rescaling/{triggerid}", get(jobs::rescaling))
        .route(
            "/jobs/{jobid}/resource-requirements",
            get(jobs::requirements).merge(put(jobs::set_requirements)),
        )
}

fn of_vertices() -> Routes {
    let routes: [(&str, MethodRouter<Arc<State>>); 15] = [
        ("", get(vertices::details)),
        ("/subtasktimes", get(vertices::times)),
        ("/taskmanagers", get(vertices::task_managers)),
        ("/accumulators", get(vertices::accumulators)),
        ("/backpressure", get(vertices::back_pressure)),
        ("/watermarks", get(vertices::watermarks)),
        ("/flamegraph", get(vertices::flame_graph)),
        ("/metrics", get(metrics::vertex)),
        ("/jm-operator-metrics", get(metrics::job_manager_operators)),
        ("/subtasks/accumulators", get(vertices::subtasks_accumulators)),
        ("/subtasks/metrics", get(metrics::subtasks)),
        ("/subtasks/{subtaskindex}", get(vertices::subtask_details)),
        ("/subtasks/{subtaskindex}/metrics", get(metrics::subtask)),
        (
            "/subtasks/{subtaskindex}/attempts/{attempt}",
            get(vertices::attempt_details),
        ),
        (
            "/subtasks/{subtaskindex}/attempts/{attempt}/accumulators",
            get(vertices::attempt_accumulators),
        ),
    ];
    routes.into_iter().fold(Router::new(), |router, (tail, answers)| {
        router.route(&format!("/jobs/{{jobid}}/vertices/{{vertexid}}{tail}"), answers)
    })
}

fn of_operations() -> Routes {
    Router::new()
        .route("/jobs/{jobid}/savepoints", post(operations::savepoint))
        .route(
            "/jobs/{jobid}/savepoints/{triggerid}",
            get(operations::savepoint_status),
        )
        .route("/jobs/{jobid}/stop", post(operations::stop))
        .route(
            "/jobs/{jobid}/checkpoints",
            get(checkpoints::all).post(operations::checkpoint),
        )
        .route("/jobs/{jobid}/checkpoints/config", get(checkpoints::config))
        .route(
            "/jobs/{jobid}/checkpoints/{triggerid}",
            get(operations::checkpoint_status),
        )
        .route(
            "/jobs/{jobid}/checkpoints/details/{checkpointid}",
            get(checkpoints::details),
        )
        .route(
            "/jobs/{jobid}/checkpoints/details/{checkpointid}/subtasks/{vertexid}",
            get(checkpoints::vertex),
        )
        .route("/savepoint-disposal", post(operations::dispose))
        .route(
            "/savepoint-disposal/{triggerid}",
            get(operations::disposal_status),
        )
}

/// Where jobs are not to come by REST, these are not there, as in Flink.
fn of_uploads(is_enabled: bool) -> Routes {
    if !is_enabled {
        return Router::new();
    }
    Router::new()
        .route("/jars", get(jars::list))
        // A GET of it is that of a file.
        .route("/jars/upload", post(jars::upload).get(file))
        .route("/jars/{jarid}", delete(jars::delete))
        .route("/jars/{jarid}/run", post(jars::run))
        .route("/jars/{jarid}/plan", get(jars::plan).post(jars::plan))
}

/// Of the dashboard; everything that is no path of the API is taken for one.
async fn file(state: Extract<Arc<State>>, method: Method, uri: Uri) -> Response {
    match method {
        Method::GET | Method::HEAD => state.dashboard.file(uri.path()).await,
        _ => cluster::no_such_method(uri).await.into_response(),
    }
}

/// Lets pages of other servers read answers, as `web.access-control-allow-origin` says.
async fn allow_origins(state: Extract<Arc<State>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let origin: HeaderName = header::ACCESS_CONTROL_ALLOW_ORIGIN;
    if let Ok(value) = HeaderValue::from_str(&state.settings.allowed_origin) {
        response.headers_mut().insert(origin, value);
    }
    response
}

/// The path as routes have it: without the version, which may be left away, and without slashes too many.
pub fn plain(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let mut plain: String = path
        .split('/')
        .filter(|part| !part.is_empty())
        .fold(String::new(), |all, part| all + "/" + part);
    if plain == "/v1" || plain.starts_with("/v1/") {
        plain.drain(.."/v1".len());
    }
    if plain.is_empty() {
        plain.push('/');
    }
    if plain == path {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{plain}{query}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_slashes_make_no_difference() {
        let of = |uri: &str| plain(&uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(of("/jobs"), None);
        assert_eq!(of("/v1/jobs?get=a").as_deref(), Some("/jobs?get=a"));
        assert_eq!(of("/v1").as_deref(), Some("/"));
        assert_eq!(of("//jobs//overview/").as_deref(), Some("/jobs/overview"));
        assert_eq!(of("/v10/jobs"), None);
        assert_eq!(of("/jobmanager/logs/..%2Fa"), None);
    }
}
