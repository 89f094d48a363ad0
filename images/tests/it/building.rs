//! What `make images` says where it cannot build.

use std::process::{Command, Output};

use millrace_images::top;
use tempfile::TempDir;

/// A clone of what is committed: something may be changed there.
fn clone() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let cloned = Command::new("git")
        .args(["clone", "--quiet"])
        .arg(top())
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(cloned.success());
    folder
}

fn replace(clone: &TempDir, file: &str, from: &str, to: &str) {
    let path = clone.path().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
}

fn output(command: &mut Command) -> (Output, String) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn a_wrong_hash_is_said() {
    let clone = clone();
    let lock = std::fs::read_to_string(clone.path().join("nix/java/dashboard/lock")).unwrap();
    let digest = lock.split(' ').next().unwrap();
    replace(&clone, "nix/java/dashboard/lock", digest, &"0".repeat(64));
    let cache = tempfile::tempdir().unwrap();
    let (output, said) = output(
        Command::new(clone.path().join("scripts/fetch-java"))
            .arg("dashboard")
            .env("MILLRACE_CACHE", cache.path()),
    );
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("what Maven gave for dashboard is not what its lock names."),
        "{said}"
    );
    assert!(!cache.path().join("downloads/dashboard").exists());
}

#[test]
fn a_wrong_hash_of_nixs_is_said() {
    let clone = clone();
    let file = "nix/packages/versitygw.nix";
    let text = std::fs::read_to_string(clone.path().join(file)).unwrap();
    let hash = text.split('"').find(|word| word.starts_with("sha256-")).unwrap();
    replace(&clone, file, hash, &format!("sha256-{}=", "A".repeat(43)));
    let (output, said) = output(
        Command::new("scripts/images")
            .args(["--no-load", "object-store"])
            .current_dir(clone.path()),
    );
    assert_ne!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("images: what was downloaded is not what the lock names"),
        "{said}"
    );
}

#[test]
fn a_missing_network_is_said() {
    let cache = tempfile::tempdir().unwrap();
    // In a network of its own, which has nothing.
    let (output, said) = output(
        Command::new("unshare")
            .args(["--map-root-user", "--net", "--"])
            .arg(top().join("scripts/fetch-java"))
            .arg("dashboard")
            .env("MILLRACE_CACHE", cache.path())
            .env(
                "MAVEN_OPTS",
                format!("-Dmaven.repo.local={}", cache.path().join("repository").display()),
            ),
    );
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(
            "Maven could not fetch dashboard. Is there a network, or a mirror in ~/.m2/settings.xml?"
        ),
        "{said}"
    );
    assert!(!cache.path().join("downloads/dashboard").exists());
}

#[test]
fn a_full_disk_is_said() {
    if !crate::is_root("a full disk of Nix's") {
        return;
    }
    let clone = clone();
    let place = "    mkdir -p $out/etc\n";
    replace(
        &clone,
        "nix/packages/image.nix",
        place,
        &format!("{place}    head -c 8M /dev/zero > zeros\n"),
    );
    let small = tempfile::tempdir().unwrap();
    // The mount is the name space's own, and goes with it.
    let script = r#"mount -t tmpfs -o size=2m tmpfs "$1" && NIX_CONFIG="build-dir = $1" exec scripts/images --no-load job-server"#;
    let (output, said) = output(
        Command::new("unshare")
            .args(["--mount", "--", "sh", "-c", script, "sh"])
            .arg(small.path())
            .current_dir(clone.path()),
    );
    assert_ne!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("images: a disk is full: /nix has the store"),
        "{said}"
    );
}
