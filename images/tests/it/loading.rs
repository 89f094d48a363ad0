//! `nix run .#load-images`, and what it says where it cannot.

use std::process::{Command, Output, Stdio};

use millrace_images::{alone_on_this_machine, app, docker, named};
use millrace_testkit::process::Process;
use millrace_testkit::wait;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_cannot_be_loaded_is_said() {
    let absent = [("DOCKER_HOST", "unix:///nonexistent/docker.sock")];
    let output = app("load-images", &["docker", "job-server"], &absent);
    assert_eq!(output.status.code(), Some(69));
    assert!(
        said(&output).contains("Docker does not answer. Start it"),
        "{}",
        said(&output)
    );

    let output = app("load-images", &["docker", "job-servr"], &[]);
    assert_eq!(output.status.code(), Some(64));
    assert!(
        said(&output).contains("there is no image 'job-servr'; there are: "),
        "{}",
        said(&output)
    );

    let output = app("load-images", &["kind", "no-such-cluster", "job-server"], &[]);
    assert_eq!(output.status.code(), Some(69));
    assert!(
        said(&output).contains("no node of a kind cluster 'no-such-cluster' runs"),
        "{}",
        said(&output)
    );
}

/// A Docker engine whose disk is a small one in memory.
struct Small {
    folder: tempfile::TempDir,
    engine: Option<Process>,
}

impl Small {
    fn start(megabytes: u32) -> Small {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(&data)
            .status()
            .unwrap();
        assert!(mounted.success());
        let mut small = Small { folder, engine: None };
        // In a network of its own: with no bridge it would take away the machine's engine's.
        let mut command = Command::new("unshare");
        command
            .args([
                "--net",
                "--",
                "dockerd",
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
            ])
            .arg(format!("--host={}", small.host()))
            .arg("--data-root")
            .arg(&data)
            .arg("--exec-root")
            .arg(small.path("exec"))
            .arg("--pidfile")
            .arg(small.path("pid"));
        small.engine = Some(Process::start(command, &small.path("log")).unwrap());
        wait::until("a second Docker engine", PATIENCE, || {
            Ok(small.docker(&["version"]).status.success().then_some(()))
        })
        .unwrap();
        small
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn host(&self) -> String {
        format!("unix://{}", self.path("socket").display())
    }

    fn docker(&self, arguments: &[&str]) -> Output {
        Command::new("docker")
            .env("DOCKER_HOST", self.host())
            .args(arguments)
            .output()
            .unwrap()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Some(mut engine) = self.engine.take() {
            engine.stop(PATIENCE).ok();
        }
        Command::new("umount").arg(self.path("data")).status().ok();
    }
}

#[test]
fn a_full_disk_is_said_and_no_half_an_image_is_left() {
    if !crate::is_root("a full disk of Docker's") {
        return;
    }
    let small = Small::start(48);
    let host = small.host();
    let output = app("load-images", &["docker", "zookeeper"], &[("DOCKER_HOST", &host)]);
    assert_eq!(output.status.code(), Some(74));
    assert!(
        said(&output).contains("zookeeper could not be loaded; is Docker's disk full? (docker system df)"),
        "{}",
        said(&output)
    );
    let images = small.docker(&["images", "--all", "--quiet"]);
    assert!(
        images.status.success() && images.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&images.stdout)
    );
    // What fits is taken.
    let output = app(
        "load-images",
        &["docker", "job-server"],
        &[("DOCKER_HOST", &host)],
    );
    assert!(output.status.success(), "{}", said(&output));
}

const NODE: &str = "millrace-test/node:containerd";

/// Of a node of kind what loading needs: containerd, by its label.
struct Node(String);

impl Node {
    fn start(cluster: &str) -> Node {
        alone_on_this_machine();
        // The machine's own, with the libraries that they want, and Debian's static shell tools.
        let made = Command::new("sh")
            .arg("-c")
            .arg(
                r#"set -e
                root=$(mktemp -d)
                trap 'rm -rf "$root"' EXIT
                mkdir -p "$root/bin" "$root/tmp" "$root/run" "$root/var/lib/containerd"
                for program in containerd ctr; do
                    path=$(readlink -f "$(command -v $program)")
                    cp "$path" "$root/bin/$program"
                    ldd "$path" | grep -o '/[^ ]*' | while read -r library; do cp -nL --parents "$library" "$root"; done
                done
                tar -C "$root" -c . | docker import - "$0""#,
            )
            .arg(NODE)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        let id = docker(&[
            "run",
            "--detach",
            // What it mounts with; nodes are privileged, which not every machine can give.
            "--cap-add=SYS_ADMIN",
            "--security-opt=seccomp=unconfined",
            "--security-opt=apparmor=unconfined",
            "--network=none",
            &format!("--label=io.x-k8s.kind.cluster={cluster}"),
            "--tmpfs=/var/lib/containerd",
            "--tmpfs=/run",
            NODE,
            "/bin/containerd",
        ])
        .unwrap();
        let node = Node(id.trim().to_owned());
        wait::until("containerd", PATIENCE, || {
            Ok(node.ctr(&["version"]).is_ok().then_some(()))
        })
        .unwrap();
        node
    }

    fn ctr(&self, arguments: &[&str]) -> anyhow::Result<String> {
        docker(&[&["exec", &self.0, "ctr", "--namespace=k8s.io"], arguments].concat())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        docker(&["rm", "--force", "--volumes", &self.0]).ok();
        docker(&["rmi", "--force", NODE]).ok();
    }
}

#[test]
fn a_node_of_kind_gets_an_image_under_its_name() {
    let node = Node::start("images-loading");
    let output = app("load-images", &["kind", "images-loading", "job-server"], &[]);
    assert!(output.status.success(), "{}", said(&output));
    let image = named("job-server").reference();
    let list = node.ctr(&["images", "list", "--quiet"]).unwrap();
    assert!(
        list.lines().any(|line| line == format!("docker.io/{image}")),
        "{list}"
    );
}
