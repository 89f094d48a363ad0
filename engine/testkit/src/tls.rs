//! Certificates for tests of TLS, in stores that openssl and the JDK's keytool make.
//!
//! ```no_run
//! use millrace_testkit::tls::{Authority, Validity};
//! let folder = std::path::Path::new("/tmp/certificates");
//! let authority = Authority::new(folder, "authority").unwrap();
//! let server = authority.issue("jobmanager", Validity::Now, &["DNS:localhost", "IP:127.0.0.1"]).unwrap();
//! let (keystore, truststore) = (server.pkcs12().unwrap(), authority.truststore_jks().unwrap());
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

/// Of all stores.
pub const STORE_PASSWORD: &str = "testkit-store";
/// Of keys in JKS stores and in encrypted PEM files; a PKCS12 store has one password for both.
pub const KEY_PASSWORD: &str = "testkit-key";

/// When certificates are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    Now,
    /// It ended years ago.
    Past,
}

/// An authority with a folder of its own.
#[derive(Debug, Clone)]
pub struct Authority {
    folder: PathBuf,
    name: String,
}

/// A key with its certificate, vouched for by an authority.
#[derive(Debug, Clone)]
pub struct Identity {
    folder: PathBuf,
    name: String,
}

const CONFIGURATION: &str = "
[ca]
default_ca = this
[this]
database = index
new_certs_dir = .
policy = policy
default_md = sha256
rand_serial = yes
unique_subject = no
[policy]
commonName = supplied
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
";

impl Authority {
    /// Makes one in `parent/name`.
    pub fn new(parent: &Path, name: &str) -> Result<Authority> {
        let folder = parent.join(name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("openssl.cnf"), CONFIGURATION)?;
        fs::write(folder.join("index"), "")?;
        let authority = Authority {
            folder,
            name: name.to_owned(),
        };
        let request = format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout ca.key -out ca.csr"
        );
        authority.openssl(&request)?;
        authority.openssl(
            "ca -batch -notext -config openssl.cnf -selfsign -keyfile ca.key -in ca.csr -out ca.pem -days 3650 -extensions authority",
        )?;
        Ok(authority)
    }

    fn openssl(&self, arguments: &str) -> Result<()> {
        openssl(&self.folder, arguments)
    }

    /// A key of an elliptic curve, and a certificate for `names` (`DNS:...`, `IP:...`).
    pub fn issue(&self, name: &str, validity: Validity, names: &[&str]) -> Result<Identity> {
        let key = "ec -pkeyopt ec_paramgen_curve:P-256";
        self.issue_with(key, name, validity, names)
    }

    /// The same with an RSA key.
    pub fn issue_rsa(&self, name: &str, validity: Validity, names: &[&str]) -> Result<Identity> {
        self.issue_with("rsa:2048", name, validity, names)
    }

    fn issue_with(&self, key: &str, name: &str, validity: Validity, names: &[&str]) -> Result<Identity> {
        self.openssl(&format!(
            "req -newkey {key} -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ))?;
        // With an extension at least: without one it would be a certificate of version 1.
        let mut extensions = "authorityKeyIdentifier = keyid\n".to_owned();
        if !names.is_empty() {
            extensions += &format!("subjectAltName = {}\n", names.join(","));
        }
        fs::write(self.folder.join(format!("{name}.ext")), extensions)?;
        let dates = match validity {
            Validity::Now => "-days 365",
            Validity::Past => "-startdate 20200101000000Z -enddate 20210101000000Z",
        };
        self.openssl(&format!(
            "ca -batch -notext -config openssl.cnf -cert ca.pem -keyfile ca.key -in {name}.csr -out {name}.crt -extfile {name}.ext {dates}"
        ))?;
        Ok(Identity {
            folder: self.folder.clone(),
            name: name.to_owned(),
        })
    }

    /// Its own certificate.
    pub fn truststore_pem(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub fn truststore_pkcs12(&self) -> Result<PathBuf> {
        self.truststore("PKCS12", "trust.p12")
    }

    pub fn truststore_jks(&self) -> Result<PathBuf> {
        self.truststore("JKS", "trust.jks")
    }

    /// By keytool: Java trusts an entry of a PKCS12 store only with an attribute that openssl does not set.
    fn truststore(&self, kind: &str, file: &str) -> Result<PathBuf> {
        once(self.folder.join(file), |_| {
            let import = format!(
                "-importcert -noprompt -alias {} -file ca.pem -storetype {kind} -keystore {file} -storepass {STORE_PASSWORD}",
                self.name
            );
            keytool(&self.folder, &import)
        })
    }
}

impl Identity {
    fn file(&self, end: &str) -> PathBuf {
        self.folder.join(format!("{}.{end}", self.name))
    }

    /// The certificate alone, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.file("crt")
    }

    /// The key alone, in PEM, not encrypted.
    pub fn key(&self) -> PathBuf {
        self.file("key")
    }

    /// One PEM file with the certificate, its authority's and the key, which is not encrypted.
    pub fn pem(&self) -> Result<PathBuf> {
        self.together(&self.key(), "pem")
    }

    /// The same with a key that `KEY_PASSWORD` encrypts.
    pub fn encrypted_pem(&self) -> Result<PathBuf> {
        let name = &self.name;
        let key = once(self.file("encrypted.key"), |_| {
            openssl(
                &self.folder,
                &format!(
                    "pkcs8 -topk8 -in {name}.key -out {name}.encrypted.key -passout pass:{KEY_PASSWORD}"
                ),
            )
        })?;
        self.together(&key, "encrypted.pem")
    }

    fn together(&self, key: &Path, end: &str) -> Result<PathBuf> {
        once(self.file(end), |path| {
            let parts = [&self.certificate(), &self.folder.join("ca.pem"), key];
            let parts = parts.map(|path| fs::read(path).with_context(|| path.display().to_string()));
            let parts: Vec<Vec<u8>> = parts.into_iter().collect::<Result<_>>()?;
            Ok(fs::write(path, parts.concat())?)
        })
    }

    /// By openssl.
    pub fn pkcs12(&self) -> Result<PathBuf> {
        let name = &self.name;
        once(self.file("p12"), |_| {
            openssl(
                &self.folder,
                &format!(
                    "pkcs12 -export -name {name} -in {name}.crt -inkey {name}.key -certfile ca.pem -out {name}.p12 -passout pass:{STORE_PASSWORD}"
                ),
            )
        })
    }

    /// By keytool, with another password for the key.
    pub fn jks(&self) -> Result<PathBuf> {
        self.pkcs12()?;
        let name = &self.name;
        once(self.file("jks"), |_| {
            keytool(
                &self.folder,
                &format!(
                    "-importkeystore -noprompt -alias {name} -srckeystore {name}.p12 -srcstorepass {STORE_PASSWORD} \
                     -destkeystore {name}.jks -deststoretype JKS -deststorepass {STORE_PASSWORD} -destkeypass {KEY_PASSWORD}"
                ),
            )
        })
    }
}

/// A file that is made by who asks for it first; others wait for it.
fn once(path: PathBuf, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(|e| e.into_inner());
    if !path.exists() {
        make(&path)?;
    }
    Ok(path)
}

/// What Flink's documentation makes for the inside of a cluster: one PKCS12 store with a key that is vouched for by
/// nobody else, to be key store and trust store of all processes.
pub fn shared_store(folder: &Path, name: &str) -> Result<PathBuf> {
    let file = format!("{name}.p12");
    keytool(
        folder,
        &format!(
            "-genkeypair -alias {name} -keyalg RSA -keysize 2048 -dname CN={name} -storetype PKCS12 -keystore {file} -storepass {STORE_PASSWORD}"
        ),
    )?;
    Ok(folder.join(file))
}

fn openssl(folder: &Path, arguments: &str) -> Result<()> {
    run(folder, "openssl", arguments)
}

fn keytool(folder: &Path, arguments: &str) -> Result<()> {
    run(folder, "keytool", arguments)
}

fn run(folder: &Path, program: &str, arguments: &str) -> Result<()> {
    let output = Command::new(program)
        .current_dir(folder)
        .args(arguments.split_whitespace())
        .output()
        .with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let also = String::from_utf8_lossy(&output.stdout);
        bail!("{program} {arguments}: {}: {said}{also}", output.status);
    }
    Ok(())
}
