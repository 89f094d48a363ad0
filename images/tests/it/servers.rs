//! The object store and the job server.

use millrace_images::{
    answers, as_anybody, container, docker, ends_cleanly, limited, named, without_leftover,
};
use millrace_testkit::ports;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use testcontainers::core::{IntoContainerPort, Mount};
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

pub const BUCKET: &str = "bucket";
pub const ACCESS_KEY: &str = "images";
pub const SECRET_KEY: &str = "images-secret";

/// An object store with a bucket, on a network under the name `NETWORK-store`.
pub fn object_store(network: &str) -> Container<GenericImage> {
    let server = limited(as_anybody(container("object-store")), 256)
        .with_mount(Mount::tmpfs_mount("/var/lib/objects").with_mode(0o1777))
        .with_network(network)
        .with_container_name(without_leftover(format!("{network}-store")))
        .with_env_var("ROOT_ACCESS_KEY", ACCESS_KEY)
        .with_env_var("ROOT_SECRET_KEY", SECRET_KEY)
        .with_mapped_port(ports::free().unwrap(), 7070.tcp())
        .start()
        .unwrap();
    answers(&format!("{}/healthz", address(&server)), |_| true).unwrap();
    // A bucket is a folder there.
    let folder = format!("/var/lib/objects/buckets/{BUCKET}");
    docker(&["exec", server.id(), "mkdir", &folder]).unwrap();
    server
}

fn address(server: &Container<GenericImage>) -> String {
    format!("http://127.0.0.1:{}", server.get_host_port_ipv4(7070).unwrap())
}

#[test]
fn the_object_store_takes_an_object_once_where_that_is_asked_for() {
    let server = object_store("images-store");
    let store = AmazonS3Builder::new()
        .with_endpoint(address(&server))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(BUCKET)
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(SECRET_KEY)
        .build()
        .unwrap();
    let path = Path::from("checkpoints/1");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        store
            .put_opts(&path, "first".into(), PutMode::Create.into())
            .await
            .unwrap();
        let again = store
            .put_opts(&path, "second".into(), PutMode::Create.into())
            .await;
        assert!(
            matches!(again, Err(object_store::Error::AlreadyExists { .. })),
            "{again:?}"
        );
        let kept = store.get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(kept, "first");
    });
    ends_cleanly(&server);
}

#[test]
fn the_object_store_says_what_it_lacks() {
    let said = docker(&["run", "--rm", &named("object-store").reference()])
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("ROOT_ACCESS_KEY or ROOT_SECRET_KEY is missing"),
        "{said}"
    );
}

#[test]
fn the_job_server_serves_what_is_mounted() {
    let jobs = crate::readable(&[("flights.sql", include_bytes!("../../../examples/flights.sql"))]);
    let server = limited(as_anybody(container("job-server")), 64)
        .with_mount(crate::mounted(&jobs, "/srv/jobs"))
        .with_mapped_port(ports::free().unwrap(), 8080.tcp())
        .start()
        .unwrap();
    let port = server.get_host_port_ipv4(8080).unwrap();
    let text = answers(&format!("http://127.0.0.1:{port}/jobs/flights.sql"), |_| true).unwrap();
    assert_eq!(text, include_str!("../../../examples/flights.sql"));
    ends_cleanly(&server);
}
