//! `nix run .#push-images` into Debian's docker-registry.

use std::process::Command;
use std::time::Duration;

use millrace_images::{answers, app, named, request};
use millrace_testkit::ports;
use millrace_testkit::process::Process;

#[test]
fn a_registry_gets_images_and_kustomize_their_digests() {
    let folder = tempfile::tempdir().unwrap();
    let port = ports::free().unwrap();
    let configuration = folder.path().join("config.yml");
    std::fs::write(
        &configuration,
        format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
            folder.path().join("data").display()
        ),
    )
    .unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&configuration);
    let mut registry = Process::start(command, &folder.path().join("log")).unwrap();
    let address = format!("127.0.0.1:{port}");
    answers(&format!("http://{address}/v2/"), |_| true).unwrap();

    let plain = [("PUSH_OPTIONS", "--dest-tls-verify=false")];
    let output = app("push-images", &[&address, "job-server", "zookeeper"], &plain);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let list = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 7, "{list}");
    assert_eq!(lines[0], "images:");
    for (image, entry) in ["job-server", "zookeeper"].into_iter().zip(lines[1..].chunks(3)) {
        let name = &named(image).name;
        assert_eq!(entry[0], format!("  - name: millrace/{image}"));
        assert_eq!(entry[1], format!("    newName: {address}/{name}"));
        let digest = entry[2].strip_prefix("    digest: ").unwrap();
        // What the registry has under the digest is the image that was built.
        let (status, manifest) = request(
            "GET",
            &format!("http://{address}/v2/{name}/manifests/{digest}"),
            "",
        )
        .unwrap();
        assert_eq!(status, 200, "{manifest}");
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(
            manifest["config"]["digest"],
            named(image).id.as_str(),
            "sources have changed since `make images`: run it"
        );
    }
    registry.stop(Duration::from_secs(10)).unwrap();

    let output = app("push-images", &[&address, "job-server"], &plain);
    assert_eq!(output.status.code(), Some(76));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains(&format!("{address} did not take job-server. Does it answer")),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}
