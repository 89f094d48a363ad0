//! Certificates of the registry and of those who ask it, and the TLS end of a proxy before it.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use openssl::pkcs12::Pkcs12;
use openssl::ssl::{HandshakeError, SslAcceptor, SslMethod, SslStream, SslVerifyMode};

use super::{KEYSTORE, TRUSTSTORE};

/// A key and its self-signed certificate, in the stores that Java knows. All have one password.
#[derive(Debug, Clone)]
pub struct Identity {
    pub pkcs12: PathBuf,
    pub jks: PathBuf,
    /// The certificate alone.
    pub pem: PathBuf,
    pub password: &'static str,
}

/// A certificate for 127.0.0.1, and a store that trusts it.
pub fn certificates(folder: &Path, password: &str) -> Result<()> {
    let san = ["-ext", "san=ip:127.0.0.1"];
    key_pair(
        folder,
        ("registry", "127.0.0.1"),
        "PKCS12",
        KEYSTORE,
        password,
        &san,
    )?;
    certificate(folder, "registry", KEYSTORE, "registry.pem", password)?;
    keytool(
        folder,
        password,
        &[
            "-importcert",
            "-noprompt",
            "-alias",
            "registry",
            "-file",
            "registry.pem",
            "-storetype",
            "PKCS12",
            "-keystore",
            TRUSTSTORE,
        ],
    )
}

pub fn identity(folder: &Path, name: &str, password: &'static str) -> Result<Identity> {
    let [pkcs12, jks, pem] = ["p12", "jks", "pem"].map(|end| format!("{name}.{end}"));
    key_pair(folder, (name, name), "PKCS12", &pkcs12, password, &[])?;
    certificate(folder, name, &pkcs12, &pem, password)?;
    let from = ["-srckeystore", &pkcs12, "-srcstorepass", password];
    let to = ["-destkeystore", &jks, "-deststoretype", "JKS"];
    let import = [&["-importkeystore", "-noprompt"], &from[..], &to].concat();
    keytool_with(folder, &["-deststorepass", password], &import)?;
    Ok(Identity {
        pkcs12: folder.join(pkcs12),
        jks: folder.join(jks),
        pem: folder.join(pem),
        password,
    })
}

/// Of somebody called by an alias in the store and a name in the certificate.
fn key_pair(
    folder: &Path,
    (alias, name): (&str, &str),
    kind: &str,
    store: &str,
    password: &str,
    more: &[&str],
) -> Result<()> {
    let name = format!("CN={name}");
    let key = ["-keyalg", "RSA", "-keysize", "2048", "-validity", "30"];
    let to = ["-storetype", kind, "-keystore", store];
    let who = ["-genkeypair", "-alias", alias, "-dname", &name];
    keytool(folder, password, &[&who[..], &key, &to, more].concat())
}

fn certificate(folder: &Path, alias: &str, store: &str, file: &str, password: &str) -> Result<()> {
    let arguments = [
        "-exportcert",
        "-rfc",
        "-alias",
        alias,
        "-keystore",
        store,
        "-file",
        file,
    ];
    keytool(folder, password, &arguments)
}

fn keytool(folder: &Path, password: &str, arguments: &[&str]) -> Result<()> {
    keytool_with(folder, &["-storepass", password], arguments)
}

fn keytool_with(folder: &Path, password: &[&str], arguments: &[&str]) -> Result<()> {
    let output = Command::new("keytool")
        .current_dir(folder)
        .args(arguments)
        .args(password)
        .output()?;
    if !output.status.success() {
        bail!("keytool: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

/// Has the key of a store, and wants to see a certificate that a PEM file holds.
pub fn acceptor(store: &Path, password: &str, trusted: &Path) -> Result<SslAcceptor> {
    let own = Pkcs12::from_der(&std::fs::read(store)?)?.parse2(password)?;
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    acceptor.set_private_key(own.pkey.as_ref().context("the store has no key")?)?;
    acceptor.set_certificate(own.cert.as_ref().context("the store has no certificate")?)?;
    acceptor.set_ca_file(trusted)?;
    acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    Ok(acceptor.build())
}

/// None where the client shows no certificate that is trusted, which it is told.
pub fn accept(acceptor: &SslAcceptor, client: TcpStream) -> Option<SslStream<TcpStream>> {
    match acceptor.accept(client) {
        Ok(stream) => Some(stream),
        Err(HandshakeError::Failure(failed)) => {
            // What it has sent meanwhile is read: with it unread the alert would be lost in a reset.
            let mut client = failed.get_ref();
            client.shutdown(Shutdown::Write).ok()?;
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).ok()?;
            None
        }
        Err(_) => None,
    }
}
