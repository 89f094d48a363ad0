//! Serves metrics: any path answers, as Flink's reporter has it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_cluster::metrics::Group;
use millrace_core::{Error, Result};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::{Labels, Reporter, text};

/// Where metrics are to be had, for as long as the runtime lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    pub address: SocketAddr,
}

/// Gives all metrics as they are now.
pub type Source = Arc<dyn Fn() -> Vec<Group> + Send + Sync>;

/// Listens on the first port that is free. Without one there are no metrics, and who starts the process is told: it runs
/// without them.
pub fn serve(reporter: &Reporter, host: IpAddr, source: Source, runtime: &Handle) -> Result<Server> {
    let mut why = None;
    for port in reporter.ports.clone() {
        let address = SocketAddr::new(host, port);
        match runtime.block_on(TcpListener::bind(address)) {
            Ok(listener) => return begin(listener, reporter.labels.clone(), source, runtime),
            Err(error) => why = Some(error),
        }
    }
    let (first, last) = (reporter.ports.start(), reporter.ports.end());
    let ports = match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let error = Error::external("metrics are not served: no port for them is free")
        .with_detail(format!("{host}, port {ports}"))
        .with_hint("set metrics.reporter.prom.port to a range such as 9249-9260, with metrics.reporter.prom.factory.class");
    Err(match why {
        Some(why) => error.with_source(why),
        None => error,
    })
}

fn begin(listener: TcpListener, labels: Labels, source: Source, runtime: &Handle) -> Result<Server> {
    let address = listener
        .local_addr()
        .map_err(|e| Error::external("the port for metrics is not known").with_source(e))?;
    let labels = Arc::new(labels);
    let answer = move || {
        let (source, labels) = (source.clone(), labels.clone());
        async move { answer(source, labels).await }
    };
    let router = Router::new().fallback(answer);
    runtime.spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    tracing::info!(
        "Started PrometheusReporter HTTP server on port {}.",
        address.port()
    );
    Ok(Server { address })
}

/// Figures are gathered, and written, where that may take its time.
async fn answer(source: Source, labels: Arc<Labels>) -> Response {
    let written = tokio::task::spawn_blocking(move || text(&source(), &labels)).await;
    match written {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use millrace_cluster::metrics::{Metric, Scope};

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn source() -> Source {
        Arc::new(|| {
            vec![Group {
                scope: Scope::JobManager,
                variables: vec![("host", "a".to_owned())],
                metrics: vec![Metric::gauge("numRunningJobs", 2_i64)],
            }]
        })
    }

    #[test]
    fn any_path_answers_and_a_port_that_is_taken_is_passed_by() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        // Two neighbours that are free, the first of which is then taken.
        let (taken, reporter) = loop {
            let taken = std::net::TcpListener::bind((LOCAL, 0)).unwrap();
            let port = taken.local_addr().unwrap().port();
            let Some(next) = port.checked_add(1) else { continue };
            if std::net::TcpListener::bind((LOCAL, next)).is_ok() {
                let labels = Labels::default();
                break (
                    taken,
                    Reporter {
                        ports: port..=next,
                        labels,
                    },
                );
            }
        };
        let server = serve(&reporter, LOCAL, source(), runtime.handle()).unwrap();
        assert_eq!(server.address.port(), taken.local_addr().unwrap().port() + 1);
        for path in ["/metrics", "/"] {
            let url = format!("http://{}{path}", server.address);
            let text = runtime
                .block_on(async { reqwest::get(url).await?.error_for_status()?.text().await })
                .unwrap();
            assert!(
                text.ends_with("flink_jobmanager_numRunningJobs{host=\"a\"} 2\n"),
                "{text}"
            );
        }
        let error = serve(&reporter, LOCAL, source(), runtime.handle()).unwrap_err();
        assert!(error.to_string().contains("no port for them is free"), "{error}");
    }
}
