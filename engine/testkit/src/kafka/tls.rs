//! Certificates, users and broker settings of the SASL_SSL listener.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Secure;

const USER: &str = "millrace";
const PASSWORD: &str = "millrace-secret";
const SCOPE: &str = "testkit";
const STORE_PASSWORD: &str = "testkit-store";

/// Makes an authority and a certificate for 127.0.0.1 in `folder`, unless they are there.
pub(super) fn prepare(folder: &Path, ports: impl Iterator<Item = u16>) -> Result<Secure> {
    let ca_pem = folder.join("ca.pem");
    let truststore = folder.join("truststore.p12");
    if !ca_pem.exists() {
        openssl(
            folder,
            "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=millrace-testkit-authority -keyout ca.key -out ca.tmp",
        )?;
        openssl(
            folder,
            "req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout broker.key -out broker.csr",
        )?;
        std::fs::write(
            folder.join("names"),
            "subjectAltName=IP:127.0.0.1,DNS:localhost\n",
        )?;
        openssl(
            folder,
            "x509 -req -in broker.csr -CA ca.tmp -CAkey ca.key -CAcreateserial -days 30 -extfile names -out broker.pem",
        )?;
        openssl(
            folder,
            &format!(
                "pkcs12 -export -name broker -in broker.pem -inkey broker.key -certfile ca.tmp -out keystore.p12 -passout pass:{STORE_PASSWORD}"
            ),
        )?;
        // keytool, for a trust store: Java trusts an entry only with an attribute that openssl does not set.
        let mut keytool = Command::new("keytool");
        keytool
            .current_dir(folder)
            .args(["-importcert", "-noprompt", "-alias", "ca", "-file", "ca.tmp"])
            .args([
                "-storetype",
                "PKCS12",
                "-keystore",
                "truststore.p12",
                "-storepass",
                STORE_PASSWORD,
            ]);
        run(keytool)?;
        std::fs::rename(folder.join("ca.tmp"), &ca_pem)?;
    }
    let bootstrap: Vec<String> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
    Ok(Secure {
        bootstrap: bootstrap.join(","),
        ca_pem,
        truststore,
        truststore_password: STORE_PASSWORD,
        user: USER,
        password: PASSWORD,
        scope: SCOPE,
    })
}

/// Settings of one broker; `folder` is its own, below the one that `prepare` was given.
pub(super) fn broker_properties(folder: &Path) -> Vec<(&'static str, String)> {
    let keystore = folder.with_file_name("keystore.p12").display().to_string();
    let jaas =
        |module: &str, rest: &str| format!("org.apache.kafka.common.security.{module} required{rest};");
    vec![
        ("ssl.keystore.type", "PKCS12".to_owned()),
        ("ssl.keystore.location", keystore),
        ("ssl.keystore.password", STORE_PASSWORD.to_owned()),
        (
            "sasl.enabled.mechanisms",
            "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER".to_owned(),
        ),
        (
            "listener.name.sasl_ssl.plain.sasl.jaas.config",
            jaas("plain.PlainLoginModule", &format!(" user_{USER}=\"{PASSWORD}\"")),
        ),
        (
            "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config",
            jaas("scram.ScramLoginModule", ""),
        ),
        (
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config",
            jaas("scram.ScramLoginModule", ""),
        ),
        // Without callback handlers Kafka makes and takes unsecured tokens.
        (
            "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config",
            jaas(
                "oauthbearer.OAuthBearerLoginModule",
                &format!(
                    " unsecuredLoginStringClaim_sub=\"{USER}\" unsecuredValidatorRequiredScope=\"{SCOPE}\""
                ),
            ),
        ),
    ]
}

/// What `StorageTool format` is told, so that the SCRAM user exists from the start.
pub(super) fn format_arguments() -> Vec<String> {
    ["SCRAM-SHA-256", "SCRAM-SHA-512"]
        .into_iter()
        .flat_map(|mechanism| {
            [
                "--add-scram".to_owned(),
                format!("{mechanism}=[name={USER},password={PASSWORD}]"),
            ]
        })
        .collect()
}

fn openssl(folder: &Path, arguments: &str) -> Result<()> {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(arguments.split(' '));
    run(command)
}

fn run(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("running {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let also = String::from_utf8_lossy(&output.stdout);
        bail!("{name} failed ({}): {said}{also}", output.status);
    }
    Ok(())
}
