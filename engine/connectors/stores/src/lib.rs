//! Java's trust stores and key stores: JKS, PKCS12 and PEM, all turned into PEM.
//!
//! It may depend on `millrace-core`; no error holds a secret.

pub mod certificate;
mod jks;

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use millrace_core::{Error, Result};
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::x509::{X509, X509VerifyResult};

const PEM_BEGIN: &str = "-----BEGIN ";

/// `ssl.truststore.type` and `ssl.keystore.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// JKS or PKCS12, told apart by their first bytes as Java does.
    Binary,
    Pem,
}

impl Kind {
    /// As a type is called in a configuration.
    pub fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_uppercase().as_str() {
            "JKS" | "PKCS12" => Some(Kind::Binary),
            "PEM" => Some(Kind::Pem),
            _ => None,
        }
    }

    /// As a file's content shows it.
    pub fn of(path: &Path) -> Result<Self> {
        let is_pem = read(path)?
            .windows(PEM_BEGIN.len())
            .any(|bytes| bytes == PEM_BEGIN.as_bytes());
        Ok(if is_pem { Kind::Pem } else { Kind::Binary })
    }

    pub fn parse(given: &BTreeMap<String, String>, name: &str) -> Result<Self> {
        let kind = given.get(name).map_or("JKS", |v| v.trim());
        Kind::named(kind).ok_or_else(|| {
            Error::unsupported(format!("a store of type {kind} ('properties.{name}')"))
                .with_hint("it takes JKS, PKCS12 or PEM")
        })
    }
}

/// A client's certificate chain and its private key, not encrypted. Not `Debug`: it is a secret.
pub struct KeyMaterial {
    pub chain_pem: Vec<u8>,
    pub key_pem: Vec<u8>,
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| {
        Error::user("cannot read a certificate store")
            .with_detail(path.display().to_string())
            .with_source(e)
    })
}

fn wrong_password(path: &Path) -> Error {
    Error::user("a certificate store's password is wrong, or the file is damaged")
        .with_detail(path.display().to_string())
}

fn no_store(path: &Path) -> Error {
    Error::user("a file is no certificate store")
        .with_detail(path.display().to_string())
        .with_hint("it takes JKS, PKCS12, or PEM with the store's type set to 'PEM'")
}

/// All certificates that a trust store trusts, as PEM. As in Java, a store with a private key trusts that key's own
/// certificate, and not by itself those that vouch for it.
pub fn trusted(path: &Path, kind: Kind, password: Option<&str>) -> Result<Vec<u8>> {
    let bytes = read(path)?;
    let shown = path.display().to_string();
    let certificates: Vec<Vec<u8>> = match kind {
        Kind::Pem => return certificates_of_pem(&bytes, &shown),
        Kind::Binary if jks::is(&bytes) => {
            let store = jks::parse(&bytes, password).map_err(|e| e.with_detail(shown.clone()))?;
            let own = store
                .keys
                .into_iter()
                .filter_map(|key| key.chain.into_iter().next());
            store.trusted.into_iter().chain(own).collect()
        }
        Kind::Binary => {
            let store = Pkcs12::from_der(&bytes).map_err(|_| no_store(path))?;
            let parsed = store
                .parse2(password.unwrap_or_default())
                .map_err(|e| pkcs12_error(path, &e))?;
            let others = parsed.ca.iter().flat_map(|stack| stack.iter());
            let others = others.map(ToOwned::to_owned).collect();
            let trusted = match parsed.cert {
                Some(own) if parsed.pkey.is_some() => without_chain(own, others),
                own => own.into_iter().chain(others).collect(),
            };
            let ders = trusted.iter().map(|certificate| certificate.to_der());
            ders.collect::<Result<_, _>>().map_err(|_| no_store(path))?
        }
    };
    if certificates.is_empty() {
        return Err(Error::user("a trust store holds no certificate").with_detail(shown));
    }
    Ok(certificates
        .iter()
        .flat_map(|der| pem("CERTIFICATE", der))
        .collect())
}

/// A key's own certificate, and those that are in the store for more than to vouch for it. One that is there for both is
/// there twice.
fn without_chain(own: X509, mut others: Vec<X509>) -> Vec<X509> {
    let mut last = own.clone();
    loop {
        let issued = others
            .iter()
            .position(|issuer| issuer.issued(&last) == X509VerifyResult::OK);
        match issued {
            // One that has issued itself is the end.
            Some(at) => last = others.remove(at),
            None => break,
        }
        if last.issued(&last) == X509VerifyResult::OK {
            break;
        }
    }
    std::iter::once(own).chain(others).collect()
}

/// OpenSSL's errors say when a store is encrypted with what is no longer allowed; nothing secret is in them.
fn pkcs12_error(path: &Path, e: &openssl::error::ErrorStack) -> Error {
    let old = e
        .errors()
        .iter()
        .any(|e| e.reason().is_some_and(|r| r.contains("unsupported")));
    if old {
        return Error::user("a PKCS12 store is encrypted in a way that OpenSSL no longer reads")
            .with_detail(path.display().to_string())
            .with_hint("write it anew: keytool -importkeystore -srckeystore old.p12 -destkeystore new.p12 -deststoretype PKCS12");
    }
    wrong_password(path)
}

/// The key store's one private key with its chain.
pub fn key(
    path: &Path,
    kind: Kind,
    password: Option<&str>,
    key_password: Option<&str>,
) -> Result<KeyMaterial> {
    let bytes = read(path)?;
    let shown = path.display().to_string();
    match kind {
        Kind::Pem => {
            // One file with the key and the chain.
            inline(&bytes, &bytes, key_password).map_err(|e| e.with_detail(shown))
        }
        Kind::Binary if jks::is(&bytes) => {
            let store = jks::parse(&bytes, password).map_err(|e| e.with_detail(shown.clone()))?;
            let mut keys = store.keys.into_iter();
            let (Some(entry), None) = (keys.next(), keys.next()) else {
                return Err(one_key(&shown));
            };
            let password = key_password.or(password).unwrap_or_default();
            let der = jks::decrypt(&entry.protected_key, password).ok_or_else(|| wrong_password(path))?;
            Ok(KeyMaterial {
                chain_pem: entry
                    .chain
                    .iter()
                    .flat_map(|der| pem("CERTIFICATE", der))
                    .collect(),
                key_pem: pem("PRIVATE KEY", &der),
            })
        }
        Kind::Binary => {
            let store = Pkcs12::from_der(&bytes).map_err(|_| no_store(path))?;
            let parsed = store
                .parse2(password.unwrap_or_default())
                .map_err(|e| pkcs12_error(path, &e))?;
            let (Some(pkey), Some(certificate)) = (parsed.pkey, parsed.cert) else {
                return Err(one_key(&shown));
            };
            let mut chain_pem = certificate.to_pem().map_err(|_| no_store(path))?;
            for ca in parsed.ca.iter().flat_map(|stack| stack.iter()) {
                chain_pem.extend(ca.to_pem().map_err(|_| no_store(path))?);
            }
            let key_pem = pkey.private_key_to_pem_pkcs8().map_err(|_| no_store(path))?;
            Ok(KeyMaterial { chain_pem, key_pem })
        }
    }
}

fn one_key(shown: &str) -> Error {
    Error::user("a key store must hold exactly one private key").with_detail(shown.to_owned())
}

/// A chain and a key in PEM; the key may be encrypted (PKCS#8).
pub fn inline(chain: &[u8], key: &[u8], key_password: Option<&str>) -> Result<KeyMaterial> {
    let chain_pem = certificates_of_pem(chain, "the key store's certificate chain")?;
    let pkey = match key_password {
        Some(password) => PKey::private_key_from_pem_passphrase(key, password.as_bytes()),
        // The callback keeps OpenSSL from asking at the terminal.
        None => PKey::private_key_from_pem_callback(key, |_| Ok(0)),
    }
    .map_err(|_| {
        Error::user("the key store's private key cannot be read").with_hint(match key_password {
            Some(_) => "it must be PEM, and 'properties.ssl.key.password' its password",
            None => "it must be PEM; an encrypted one needs 'properties.ssl.key.password'",
        })
    })?;
    let key_pem = pkey.private_key_to_pem_pkcs8().map_err(|_| {
        Error::user("the key store's private key cannot be read").with_hint("it must be an RSA or EC key")
    })?;
    Ok(KeyMaterial { chain_pem, key_pem })
}

/// The certificates of a PEM text, and nothing else of it.
pub fn certificates_of_pem(text: &[u8], origin: &str) -> Result<Vec<u8>> {
    let wrong = || Error::user("no certificates in PEM form").with_detail(origin.to_owned());
    let certificates = X509::stack_from_pem(text).map_err(|_| wrong())?;
    if certificates.is_empty() {
        return Err(wrong());
    }
    let mut pem = Vec::new();
    for certificate in certificates {
        pem.extend(certificate.to_pem().map_err(|_| wrong())?);
    }
    Ok(pem)
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n").into_bytes();
    for line in text.as_bytes().chunks(64) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
    out
}

#[cfg(test)]
mod tests;
