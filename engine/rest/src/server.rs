//! The server itself.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use axum::{Router, ServiceExt};
use millrace_core::{Configuration, Error, Result, options};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tower::ServiceExt as _;
use tower::util::MapRequestLayer;

use crate::dashboard::Dashboard;
use crate::operations::Operations;
use crate::state::{Parts, Settings, State};
use crate::uploads::Uploads;
use crate::{listen, routes};

/// Answers for as long as its runtime lives.
#[derive(Debug)]
pub struct RestServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where clients reach it, with the scheme.
    pub advertised: String,
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
        tracing::info!(
            "Rest endpoint listening at {}",
            state.address.trim_start_matches("http://")
        );
        tracing::info!("Web frontend listening at {}.", state.address);
        let advertised = state.address.clone();
        runtime.spawn(serve(listener, routes::all(Arc::new(state))));
        Ok(RestServer { address, advertised })
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

async fn serve(listener: TcpListener, routes: Router) {
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
    if let Err(error) = axum::serve(listener, service).await {
        tracing::error!(%error, "the REST server has ended");
    }
}
