//! Which store a checkpoint folder's path or URI means.

use std::sync::{Arc, OnceLock};

use millrace_core::{Configuration, Error, Result, options};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore};
use tokio::runtime::Handle;

use crate::local::LocalStore;
use crate::object::ObjectFolder;
use crate::store::Store;

/// The scheme of a store that a test has put in place of S3.
const MODEL: &str = "model";

static MODELLED: OnceLock<fn() -> Arc<dyn ObjectStore>> = OnceLock::new();

/// From now on `model://prefix` is a folder in this store. For tests; only the first one counts.
pub fn provide_model(open: fn() -> Arc<dyn ObjectStore>) {
    let _ = MODELLED.set(open);
}

/// Opens `path`, `file:///path` or `s3://bucket/prefix` (`s3a`, `s3p` as Flink writes them too).
pub fn open(location: &str, config: &Configuration, runtime: &Handle) -> Result<Arc<dyn Store>> {
    let Some((scheme, rest)) = location.split_once("://") else {
        let path = location.strip_prefix("file:").unwrap_or(location);
        return Ok(Arc::new(LocalStore::new(path)));
    };
    match scheme {
        "file" if rest.starts_with('/') => Ok(Arc::new(LocalStore::new(rest))),
        "file" => Err(Error::user("a file URI must have an absolute path")
            .with_detail(location)
            .with_hint("write file:///absolute/path, or the path alone")),
        "s3" | "s3a" | "s3p" => open_s3(location, rest, config, runtime),
        MODEL if MODELLED.get().is_some() => {
            let store = MODELLED.get().map(|open| open());
            let store = store.ok_or_else(|| Error::internal("a store was there and is gone"))?;
            let (path, location) = (Path::from(rest), location.to_owned());
            Ok(Arc::new(ObjectFolder::new(
                store,
                path,
                location,
                runtime.clone(),
            )))
        }
        other => Err(Error::unsupported(format!("the storage scheme '{other}'"))
            .with_detail(location)
            .with_hint("use a local path, file:// or s3://")),
    }
}

fn open_s3(location: &str, rest: &str, config: &Configuration, runtime: &Handle) -> Result<Arc<dyn Store>> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(Error::user("an S3 URI must name a bucket").with_detail(location));
    }
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_region(config.get(&options::S3_REGION)?)
        .with_virtual_hosted_style_request(!config.get(&options::S3_PATH_STYLE)?)
        .with_conditional_put(S3ConditionalPut::ETagMatch);
    if let Some(endpoint) = config.get_optional(&options::S3_ENDPOINT)? {
        let plain = endpoint.starts_with("http://");
        builder = builder
            .with_endpoint(endpoint)
            .with_client_options(ClientOptions::new().with_allow_http(plain));
    }
    if let Some(key) = config.get_optional(&options::S3_ACCESS_KEY)? {
        builder = builder.with_access_key_id(key);
    }
    if let Some(secret) = config.get_optional(&options::S3_SECRET_KEY)? {
        builder = builder.with_secret_access_key(secret);
    }
    let store = builder.build().map_err(|e| {
        Error::user("the S3 configuration is not usable")
            .with_detail(location)
            .with_source(e)
            .with_hint("set s3.endpoint, s3.access-key and s3.secret-key, or the AWS environment variables")
    })?;
    let folder = ObjectFolder::new(
        Arc::new(store),
        Path::from(prefix),
        location.to_owned(),
        runtime.clone(),
    );
    Ok(Arc::new(folder))
}
