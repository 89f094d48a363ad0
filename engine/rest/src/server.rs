//! The server itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use axum::{Router, ServiceExt};
use millrace_cluster::words;
use millrace_core::{Configuration, Error, Result, options};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;
use tower::util::MapRequestLayer;

use crate::dashboard::Dashboard;
use crate::operations::Operations;
use crate::state::{Parts, Settings, State};
use crate::uploads::Uploads;
use crate::{listen, routes};

/// How long requests are waited for when the server ends.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers until it is closed, or its runtime ends.
#[derive(Debug)]
pub struct RestServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where clients reach it, with the scheme.
    pub advertised: String,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
    runtime: Handle,
}

impl RestServer {
    /// Listens where the configuration of the cluster says.
    pub fn start(parts: Parts, runtime: &Handle) -> Result<RestServer> {
        let config = parts.config.clone();
        let listener = runtime.block_on(listen::bind(&config))?;
        let address = listener
            .local_addr()
            .map_err(|e| Error::external("the port of the REST server is not known").with_source(e))?;
        let state = state(parts, &config, address, runtime)?;
        words::rest_listens(address);
        tracing::info!("Web frontend listening at {}.", state.address);
        let advertised = state.address.clone();
        let (end, ended) = oneshot::channel();
        let task = runtime.spawn(serve(listener, routes::all(Arc::new(state)), ended));
        Ok(RestServer {
            address,
            advertised,
            end,
            task,
            runtime: runtime.clone(),
        })
    }

    /// Takes no more requests, and answers those that it has. One that asks for the end of the cluster is among them.
    pub fn close(self) {
        let _ = self.end.send(());
        self.runtime.block_on(async {
            if tokio::time::timeout(PATIENCE, self.task).await.is_err() {
                tracing::warn!("a request is not answered: the REST server ends");
            }
        });
    }
}

fn state(parts: Parts, config: &Configuration, address: SocketAddr, runtime: &Handle) -> Result<State> {
    let settings = Settings::from_config(config)?;
    let keep = config.get(&options::REST_ASYNC_STORE_DURATION)?;
    let (host, port) = listen::advertised(config, address)?;
    Ok(State {
        parts,
        settings,
        dashboard: Dashboard::from_config(config)?,
        uploads: Uploads::from_config(config)?,
        savepoints: Operations::new(keep, runtime.clone()),
        checkpoints: Operations::new(keep, runtime.clone()),
        disposals: Operations::new(keep, runtime.clone()),
        address: format!("http://{host}:{port}"),
        passing: reqwest::Client::builder().no_proxy().build().map_err(|e| {
            Error::internal("requests cannot be passed on to other JobManagers").with_source(e)
        })?,
    })
}

async fn serve(listener: TcpListener, routes: Router, end: oneshot::Receiver<()>) {
    // Before routes are looked for.
    let plain = MapRequestLayer::new(|mut request: Request| {
        if let Some(uri) = routes::plain(request.uri()) {
            *request.uri_mut() = uri;
        }
        request
    });
    let service = tower::Layer::layer(&plain, routes);
    let service =
        ServiceExt::<Request>::into_make_service(service.map_response(|response: Response| response));
    let served = axum::serve(listener, service).with_graceful_shutdown(async {
        // Whoever could end it is gone: it is to go on.
        if end.await.is_err() {
            std::future::pending::<()>().await;
        }
    });
    if let Err(error) = served.await {
        tracing::error!(%error, "the REST server has ended");
    }
}
