//! What the configuration says about TLS; the stores are not read yet.

use std::path::PathBuf;
use std::sync::Arc;

use millrace_core::config::ConfigOption;
use millrace_core::options::ssl;
use millrace_core::{Configuration, Error, Result};
use millrace_stores::Kind;
use tokio_rustls::rustls::SupportedProtocolVersion;
use tokio_rustls::rustls::crypto::CryptoProvider;

use super::suites;

/// The options of one use of TLS.
struct Options {
    keystore: ConfigOption<String>,
    keystore_password: ConfigOption<String>,
    key_password: ConfigOption<String>,
    keystore_type: ConfigOption<String>,
    truststore: ConfigOption<String>,
    truststore_password: ConfigOption<String>,
    truststore_type: ConfigOption<String>,
    fingerprint: ConfigOption<String>,
}

const INTERNAL: Options = Options {
    keystore: ssl::INTERNAL_KEYSTORE,
    keystore_password: ssl::INTERNAL_KEYSTORE_PASSWORD,
    key_password: ssl::INTERNAL_KEY_PASSWORD,
    keystore_type: ssl::INTERNAL_KEYSTORE_TYPE,
    truststore: ssl::INTERNAL_TRUSTSTORE,
    truststore_password: ssl::INTERNAL_TRUSTSTORE_PASSWORD,
    truststore_type: ssl::INTERNAL_TRUSTSTORE_TYPE,
    fingerprint: ssl::INTERNAL_FINGERPRINT,
};

const REST: Options = Options {
    keystore: ssl::REST_KEYSTORE,
    keystore_password: ssl::REST_KEYSTORE_PASSWORD,
    key_password: ssl::REST_KEY_PASSWORD,
    keystore_type: ssl::REST_KEYSTORE_TYPE,
    truststore: ssl::REST_TRUSTSTORE,
    truststore_password: ssl::REST_TRUSTSTORE_PASSWORD,
    truststore_type: ssl::REST_TRUSTSTORE_TYPE,
    fingerprint: ssl::REST_FINGERPRINT,
};

/// A file of keys or certificates. Not `Debug`: it has secrets.
pub struct Store {
    /// The option that names the file, and the one with its password.
    pub option: &'static str,
    pub password_option: &'static str,
    pub path: PathBuf,
    /// None: the content shows it.
    pub kind: Option<Kind>,
    pub password: Option<String>,
}

pub struct KeyStore {
    pub store: Store,
    pub key_password_option: &'static str,
    /// None: the store's.
    pub key_password: Option<String>,
}

/// What TLS configurations are made of.
pub struct Settings {
    pub key: Option<KeyStore>,
    /// None for a client that has the machine's trust anchors, and a server that asks for no certificate.
    pub trust: Option<Store>,
    /// Peers' certificates must be one of these too; empty where that does not count.
    pub fingerprints: Vec<Vec<u8>>,
    /// Whether a server's certificate must have the name that it was reached by.
    pub names_count: bool,
    /// What is spoken over it, as both sides say (ALPN); nothing within the cluster.
    pub alpn: Vec<Vec<u8>>,
    pub provider: Arc<CryptoProvider>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
}

impl Settings {
    pub fn internal(config: &Configuration) -> Result<Settings> {
        let common = Settings::common(config, &INTERNAL)?;
        Ok(Settings {
            key: Some(key_store(config, &INTERNAL)?),
            trust: Some(trust_store(config, &INTERNAL)?),
            ..common
        })
    }

    pub fn rest_server(config: &Configuration) -> Result<Settings> {
        let trust = match config.get(&ssl::REST_AUTHENTICATION_ENABLED)? {
            true => Some(trust_store(config, &REST)?),
            false => None,
        };
        let common = Settings::common(config, &REST)?;
        Ok(Settings {
            key: Some(key_store(config, &REST)?),
            trust,
            alpn: vec![b"http/1.1".to_vec()],
            ..common
        })
    }

    pub fn rest_client(config: &Configuration) -> Result<Settings> {
        let key = match config.get(&ssl::REST_AUTHENTICATION_ENABLED)? {
            true => Some(key_store(config, &REST)?),
            false => None,
        };
        let trust = match config.get_optional(&ssl::REST_TRUSTSTORE)? {
            Some(_) => Some(trust_store(config, &REST)?),
            None => None,
        };
        let common = Settings::common(config, &REST)?;
        Ok(Settings {
            key,
            trust,
            names_count: config.get(&ssl::VERIFY_HOSTNAME)?,
            alpn: vec![b"http/1.1".to_vec()],
            ..common
        })
    }

    fn common(config: &Configuration, options: &Options) -> Result<Settings> {
        let (provider, versions) = suites::chosen(config)?;
        Ok(Settings {
            key: None,
            trust: None,
            fingerprints: fingerprints(config, &options.fingerprint)?,
            names_count: false,
            alpn: Vec::new(),
            provider: Arc::new(provider),
            versions,
        })
    }

    /// The files that all of it is made of.
    pub fn files(&self) -> Vec<PathBuf> {
        let key = self.key.iter().map(|key| &key.store);
        key.chain(&self.trust).map(|store| store.path.clone()).collect()
    }
}

fn key_store(config: &Configuration, options: &Options) -> Result<KeyStore> {
    let store = store(
        config,
        &options.keystore,
        &options.keystore_password,
        &options.keystore_type,
    )?;
    Ok(KeyStore {
        store,
        key_password_option: options.key_password.key,
        key_password: config.get_optional(&options.key_password)?,
    })
}

fn trust_store(config: &Configuration, options: &Options) -> Result<Store> {
    store(
        config,
        &options.truststore,
        &options.truststore_password,
        &options.truststore_type,
    )
}

fn store(
    config: &Configuration,
    path: &ConfigOption<String>,
    password: &ConfigOption<String>,
    kind: &ConfigOption<String>,
) -> Result<Store> {
    let kind = match config.get_optional(kind)? {
        None => None,
        Some(name) => Some(Kind::named(&name).ok_or_else(|| {
            Error::unsupported(format!("a store of type '{name}'"))
                .with_detail(kind.key)
                .with_hint("it takes PKCS12, JKS or PEM")
        })?),
    };
    Ok(Store {
        option: path.key,
        password_option: password.key,
        path: config.get(path)?.into(),
        kind,
        password: config.get_optional(password)?,
    })
}

/// Hexadecimal, with or without colons, several with commas.
fn fingerprints(config: &Configuration, option: &ConfigOption<String>) -> Result<Vec<Vec<u8>>> {
    let given = config.get_optional(option)?.unwrap_or_default();
    let each = given.split(',').map(str::trim).filter(|text| !text.is_empty());
    let parsed = each.map(|text| {
        let bytes = hex::decode(text.replace(':', "")).unwrap_or_default();
        match bytes.len() {
            20 | 32 => Ok(bytes),
            _ => Err(Error::user("a certificate's fingerprint is wrong")
                .with_detail(format!("{}: '{text}'", option.key))
                .with_hint("it takes the SHA-1 (40 digits) or the SHA-256 (64 digits) of a certificate in hexadecimal")),
        }
    });
    parsed.collect()
}
