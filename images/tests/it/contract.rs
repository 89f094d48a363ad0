//! What every image promises, whatever is in it.

use std::collections::BTreeSet;

use millrace_images::{all, docker};

fn inspect(reference: &str) -> serde_json::Value {
    let text = docker(&["image", "inspect", reference]).unwrap();
    serde_json::from_str::<Vec<_>>(&text).unwrap().remove(0)
}

/// The entries of an image's files, as tar lists them: mode, owner, size, name.
fn files(reference: &str) -> Vec<String> {
    let container = docker(&["create", reference]).unwrap();
    let list = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!(
            "docker export {0} | tar -tv --numeric-owner; docker rm --volumes {0} >/dev/null",
            container.trim()
        ))
        .output()
        .unwrap();
    String::from_utf8(list.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_user_is_not_root_and_the_labels_say_what_it_is() {
    for image in all().values() {
        let config = &inspect(&image.reference())["Config"];
        let user = config["User"].as_str().unwrap();
        let uid: u32 = user.split(':').next().unwrap().parse().unwrap();
        assert!(uid >= 1000, "{}: user {user}", image.name);
        for label in ["version", "revision", "source", "licenses", "title"] {
            let value = &config["Labels"][format!("org.opencontainers.image.{label}")];
            assert!(
                value.as_str().is_some_and(|v| !v.is_empty()),
                "{}: label {label}: {value}",
                image.name
            );
        }
    }
}

#[test]
fn no_file_is_setuid_and_there_is_no_package_manager() {
    for image in all().values() {
        let files = files(&image.reference());
        assert!(files.len() > 10, "{}: {files:?}", image.name);
        for line in &files {
            let mode = line.split(' ').next().unwrap();
            assert!(!mode.contains(['s', 'S']), "{}: {line}", image.name);
            let name = line.rsplit('/').next().unwrap();
            for manager in [
                "apt", "apt-get", "dpkg", "rpm", "apk", "yum", "dnf", "nix", "pip", "opkg",
            ] {
                assert!(
                    name != manager && !name.starts_with(&format!("{manager} -> ")),
                    "{}: {line}",
                    image.name
                );
            }
        }
    }
}

#[test]
fn the_engines_image_has_no_shell_and_is_small() {
    let image = &all()["millrace"];
    for line in files(&image.reference()) {
        let name = line.split(" -> ").next().unwrap().rsplit('/').next().unwrap();
        assert!(!["sh", "bash", "ash", "busybox"].contains(&name), "{line}");
    }
    assert!(
        image.compressed_bytes <= 60_000_000,
        "{} bytes compressed",
        image.compressed_bytes
    );
}

#[test]
fn the_variant_for_debugging_has_a_shell() {
    let image = all()["millrace-debug"].reference();
    let said = docker(&[
        "run",
        "--rm",
        "--entrypoint",
        "/bin/sh",
        &image,
        "-c",
        "millrace --version",
    ])
    .unwrap();
    assert!(said.starts_with("millrace "), "{said}");
}

#[test]
fn each_has_a_list_of_what_is_inside() {
    for (file, image) in all() {
        let container = docker(&["create", &image.reference()]).unwrap();
        let name = image.name.rsplit('/').next().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        let path = format!("{}:/usr/share/sbom/{name}.cdx.json", container.trim());
        let copied = docker(&["cp", "--follow-link", &path, list.to_str().unwrap()]);
        docker(&["rm", "--volumes", container.trim()]).unwrap();
        copied.unwrap();
        let text = std::fs::read_to_string(&list).unwrap();
        let sbom: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(sbom["bomFormat"], "CycloneDX");
        let components = sbom["components"].as_array().unwrap();
        assert!(!components.is_empty());
        let mut seen = BTreeSet::new();
        let mut parts: Vec<&serde_json::Value> = components.iter().collect();
        while let Some(part) = parts.pop() {
            let license = part["licenses"][0]["expression"].as_str().unwrap_or_default();
            let words = license.split([' ', '(', ')']).filter(|word| !word.is_empty());
            let is_name = |word: &str| {
                word.chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-.+".contains(c))
            };
            assert!(
                words.clone().count() > 0 && words.into_iter().all(is_name),
                "{file}: {part}"
            );
            assert!(
                seen.insert(part["bom-ref"].as_str().unwrap().to_owned()),
                "{file}, twice: {part}"
            );
            parts.extend(part["components"].as_array().into_iter().flatten());
        }
        // Each jar of the image is in the list, by its hash.
        let is_jar = |line: &&String| line.ends_with(".jar") && !line.contains(" -> ");
        let jars = files(&image.reference()).iter().filter(is_jar).count();
        assert_eq!(text.matches("SHA-256").count(), jars, "{file}");
        // And what a program is linked from.
        for (linked, kind) in [("millrace", "pkg:cargo/"), ("object-store", "pkg:golang/")] {
            assert!(name != linked || text.contains(kind), "{file}: nothing of {kind}");
        }
    }
}
