//! The images as their users run them: on a Docker engine, with a read-only root and memory limits.
//!
//! Which images there are stands in images/manifest.json, which `make images` writes. It may depend on
//! testcontainers and the test kit, and on nothing of the engine.

mod clusters;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
pub use clusters::{Brokers, ZooKeeper};
use millrace_testkit::{cache, wait};
use serde::Deserialize;
use testcontainers::core::Mount;
use testcontainers::{Container, ContainerRequest, GenericImage, ImageExt};

/// How long a server may take until it answers.
pub const READY: Duration = Duration::from_secs(120);

/// An image as the manifest has it.
#[derive(Debug, Clone, Deserialize)]
pub struct Image {
    pub name: String,
    pub tag: String,
    /// The digest of the image's configuration.
    pub id: String,
    /// Of the sources that it is made from.
    revision: String,
    layers: Vec<Layer>,
    #[serde(rename = "compressedBytes")]
    pub compressed_bytes: u64,
}

#[derive(Debug, Clone, Deserialize)]
struct Layer {
    digest: String,
}

impl Image {
    pub fn reference(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }

    /// By layers and revision: an engine that keeps images in containerd has ids of its own for them.
    fn is_loaded(&self) -> bool {
        let format =
            r#"{{index .Config.Labels "org.opencontainers.image.revision"}} {{join .RootFS.Layers " "}}"#;
        let there = docker(&["image", "inspect", "--format", format, &self.reference()]).unwrap_or_default();
        let mut words = there.split_whitespace();
        words.next() == Some(self.revision.as_str())
            && words.eq(self.layers.iter().map(|layer| &layer.digest))
    }
}

/// All images, by the names of their files.
pub fn all() -> &'static BTreeMap<String, Image> {
    static ALL: OnceLock<BTreeMap<String, Image>> = OnceLock::new();
    ALL.get_or_init(|| {
        alone_on_this_machine();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifest.json");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{}: {e}; run `make images`", path.display()));
        let all: BTreeMap<String, Image> = serde_json::from_str(&text).unwrap();
        for image in all.values() {
            assert!(
                image.is_loaded(),
                "{}: what is loaded is not what was built; run `make images`",
                image.reference()
            );
        }
        all
    })
}

/// A line for who runs the tests. Not by println: a test that passes has that kept from it.
pub fn say(line: &str) {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").unwrap();
}

/// Containers have the same names in every run: a second run waits for the end of the first.
pub fn alone_on_this_machine() {
    static LOCK: OnceLock<File> = OnceLock::new();
    LOCK.get_or_init(|| {
        let folder = cache::folder().unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        let lock = File::create(folder.join("image-tests.lock")).unwrap();
        if lock.try_lock().is_err() {
            say("waits for another run's tests of images");
            lock.lock().unwrap();
        }
        lock
    });
}

pub fn named(name: &str) -> &'static Image {
    all()
        .get(name)
        .unwrap_or_else(|| panic!("there is no image {name} in images/manifest.json"))
}

/// A container of an image, with a root that cannot be written and `/tmp` in memory, as the manifests run it.
pub fn container(name: &str) -> ContainerRequest<GenericImage> {
    let image = named(name);
    ContainerRequest::from(GenericImage::new(&image.name, &image.tag))
        .with_readonly_rootfs(true)
        .with_mount(Mount::tmpfs_mount("/tmp"))
        .with_cap_drop("ALL")
        .with_security_opt("no-new-privileges")
        .with_startup_timeout(READY)
}

/// Takes away what a run that was killed has left under that name.
pub fn without_leftover(name: String) -> String {
    docker(&["rm", "--force", "--volumes", &name]).ok();
    name
}

/// With so much memory, and a swap of none.
pub fn limited(request: ContainerRequest<GenericImage>, mebibytes: i64) -> ContainerRequest<GenericImage> {
    request.with_host_config_modifier(move |host| {
        host.memory = Some(mebibytes << 20);
        host.memory_swap = Some(mebibytes << 20);
    })
}

/// As a user that the image does not know: a platform may choose one (OpenShift does).
pub fn as_anybody(request: ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage> {
    request.with_user("54321:54321")
}

/// A program of the flake's (`nix run`), and how it went.
pub fn app(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(top().join("scripts/nix"))
        .current_dir(top())
        .args(["run", &format!(".#{name}"), "--"])
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

/// The checkout.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The docker command; its standard output.
pub fn docker(arguments: &[&str]) -> Result<String> {
    let output = Command::new("docker")
        .args(arguments)
        .output()
        .context("docker")?;
    if !output.status.success() {
        bail!(
            "docker {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// GET, until the answer is one that `accept` takes.
pub fn answers(url: &str, accept: impl Fn(&str) -> bool) -> Result<String> {
    wait::until(url, READY, || Ok(get(url).ok().filter(|text| accept(text))))
}

pub fn get(url: &str) -> Result<String> {
    match request("GET", url, "")? {
        (200, text) => Ok(text),
        (status, text) => bail!("{url}: {status}: {text}"),
    }
}

/// Status and text of an answer to JSON.
pub fn request(method: &str, url: &str, body: &str) -> Result<(u16, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let request = reqwest::Client::new()
            .request(method.parse()?, url)
            .header("Content-Type", "application/vnd.schemaregistry.v1+json")
            .body(body.to_owned());
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    })
}

/// Ends a container as Kubernetes does: SIGTERM, and SIGKILL after ten seconds. It must not come to the second.
pub fn ends_cleanly(container: &Container<GenericImage>) {
    // 143: the JVM's own answer to SIGTERM, once its shutdown hooks are done.
    ends_with(container, &[0, 143]);
}

/// The same of Apache Flink, which ends with 239 where one of its threads meets an error while it shuts down: of a
/// TaskManager that sees its JobManager go, say.
pub fn flink_ends(container: &Container<GenericImage>) {
    ends_with(container, &[0, 143, 239]);
}

fn ends_with(container: &Container<GenericImage>, accepted: &[i64]) {
    container.stop_with_timeout(Some(10)).unwrap();
    let code: i64 = docker(&["inspect", "--format", "{{.State.ExitCode}}", container.id()])
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    if !accepted.contains(&code) {
        let log = docker(&["logs", "--tail", "60", container.id()]).unwrap_or_default();
        panic!("exit code {code}; its log ends with:\n{log}");
    }
    let killed = docker(&["inspect", "--format", "{{.State.OOMKilled}}", container.id()]).unwrap();
    assert_eq!(killed.trim(), "false", "it needed more memory than it has");
}
