//! ConfigMaps, read and changed one request at a time.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::{Client, Error as KubeError};
use millrace_core::{Configuration, Error, Result, options};
use serde_json::{Value, json};

use super::Settings;

/// How often a request is repeated that got no answer, or one that somebody else was faster.
pub(super) const ATTEMPTS: u32 = 15;

/// The ConfigMaps of the namespace.
#[derive(Clone)]
pub(super) struct Maps {
    pub(super) api: Api<ConfigMap>,
    pub(super) settings: Arc<Settings>,
}

/// What a change is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Made,
    /// The ConfigMap is another one than was looked at.
    Conflict,
}

impl Maps {
    /// To be called within the runtime.
    pub(super) fn connect(settings: Settings, config: &Configuration) -> Result<Maps> {
        let mut access = access(config)?;
        // What is repeated, and until when, is said here.
        access.default_retry = false;
        access.connect_timeout = Some(settings.request_limit());
        let client = Client::try_from(access).map_err(no_access)?;
        Ok(Maps {
            api: Api::namespaced(client, &settings.namespace),
            settings: Arc::new(settings),
        })
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<ConfigMap>> {
        let answer = self.ask(name, self.api.get_opt(name)).await?;
        answer.map_err(|e| error(e, name, &self.settings))
    }

    /// A new ConfigMap; a conflict when there is one.
    pub(super) async fn create(
        &self,
        name: &str,
        annotations: BTreeMap<String, String>,
        data: BTreeMap<String, String>,
    ) -> Result<Change> {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(self.settings.names.labels()),
                annotations: (!annotations.is_empty()).then_some(annotations),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        };
        self.change(name, self.api.create(&PostParams::default(), &map))
            .await
    }

    /// Merges into the version that was read: `null` deletes.
    pub(super) async fn merge(&self, read: &ConfigMap, annotations: Value, data: Value) -> Result<Change> {
        let (name, version) = identity(read)?;
        let patch = json!({
            "metadata": {
                "resourceVersion": version,
                "labels": self.settings.names.labels(),
                "annotations": annotations,
            },
            "data": data,
        });
        let parameters = PatchParams::default();
        self.change(name, self.api.patch(name, &parameters, &Patch::Merge(patch)))
            .await
    }

    /// Deletes the version that was read. It does not matter if it is gone.
    pub(super) async fn delete(&self, read: &ConfigMap) -> Result<Change> {
        let (name, version) = identity(read)?;
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: Some(version.to_owned()),
                uid: None,
            }),
            ..DeleteParams::default()
        };
        match self.ask(name, self.api.delete(name, &parameters)).await? {
            Err(e) if code(&e) == Some(404) => Ok(Change::Made),
            Err(e) if code(&e) == Some(409) => Ok(Change::Conflict),
            Err(e) => Err(error(e, name, &self.settings)),
            Ok(_) => Ok(Change::Made),
        }
    }

    async fn change(
        &self,
        name: &str,
        request: impl Future<Output = Result<ConfigMap, KubeError>>,
    ) -> Result<Change> {
        match self.ask(name, request).await? {
            Ok(_) => Ok(Change::Made),
            // Changed, there already, or gone.
            Err(e) if matches!(code(&e), Some(404 | 409)) => Ok(Change::Conflict),
            Err(e) => Err(error(e, name, &self.settings)),
        }
    }

    async fn ask<T>(&self, name: &str, request: impl Future<Output = T>) -> Result<T> {
        let limit = self.settings.request_limit();
        tokio::time::timeout(limit, request)
            .await
            .map_err(|_| no_answer(name, limit, &self.settings))
    }
}

fn identity(map: &ConfigMap) -> Result<(&str, &str)> {
    let metadata = &map.metadata;
    metadata
        .name
        .as_deref()
        .zip(metadata.resource_version.as_deref())
        .ok_or_else(|| Error::internal("a ConfigMap has no name or version"))
}

/// Flink's order: the kubeconfig that is named, that of the environment, the pod's service account.
fn access(config: &Configuration) -> Result<Config> {
    let file = config.get_optional(&options::KUBERNETES_CONFIG_FILE)?;
    let context = config.get_optional(&options::KUBERNETES_CONTEXT)?;
    let kubeconfig = match &file {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let options = KubeConfigOptions {
        context: context.clone(),
        ..KubeConfigOptions::default()
    };
    let access = kubeconfig.and_then(|kubeconfig| {
        // It does not wait for anything.
        Config::from_custom_kubeconfig(kubeconfig, &options)
            .now_or_never()
            .unwrap_or(Err(kube::config::KubeconfigError::CurrentContextNotSet))
    });
    match access {
        Ok(access) => Ok(access),
        // What was asked for by its name must be there.
        Err(e) if file.is_some() || context.is_some() => Err(no_access(e)),
        Err(e) => Config::incluster().map_err(|_| no_access(e)),
    }
}

fn no_access(e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::user("there is no access to Kubernetes")
        .with_source(e)
        .with_hint(format!(
            "in a pod it takes a service account; elsewhere a kubeconfig: {}, {}",
            options::KUBERNETES_CONFIG_FILE.key,
            options::KUBERNETES_CONTEXT.key
        ))
}

pub(super) fn code(e: &KubeError) -> Option<u16> {
    match e {
        KubeError::Api(status) => Some(status.code),
        _ => None,
    }
}

fn place(name: &str, settings: &Settings) -> String {
    format!("ConfigMap {name}, namespace {}", settings.namespace)
}

fn no_answer(name: &str, limit: Duration, settings: &Settings) -> Error {
    Error::external(format!(
        "Kubernetes has not answered within {} ms",
        limit.as_millis()
    ))
    .with_detail(place(name, settings))
}

/// The error that a person reads.
pub(super) fn error(e: KubeError, name: &str, settings: &Settings) -> Error {
    let (error, hint) = match code(&e) {
        Some(401 | 403) => (
            Error::user("Kubernetes refuses the access"),
            "a JobManager's service account needs a Role with get, watch, create, patch and delete on configmaps, a \
             TaskManager's one with get and watch",
        ),
        Some(413 | 422) => (
            Error::user("Kubernetes refuses a ConfigMap"),
            "a ConfigMap has at most 1 MiB, and the cluster's holds the entries of all jobs",
        ),
        Some(404) => (
            Error::user("Kubernetes has no such place"),
            "is there the namespace of kubernetes.namespace?",
        ),
        _ => (
            Error::external("a request to Kubernetes failed"),
            "is the API server up?",
        ),
    };
    error
        .with_detail(place(name, settings))
        .with_source(e)
        .with_hint(hint)
}
