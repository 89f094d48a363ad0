//! rustls configurations, made of the stores.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use millrace_core::options::ssl;
use millrace_core::{Error, Result};
use millrace_stores::{self as stores, Kind, certificate};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::settings::{KeyStore, Settings, Store};
use super::verify::{Clients, Servers, Trust};

/// Where distributions keep their certificate bundle, unless SSL_CERT_FILE says it.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

pub fn server(settings: &Settings) -> Result<ServerConfig> {
    let (Some(store), Some((chain, key))) = (&settings.key, own(settings)?) else {
        return Err(Error::internal("a server of TLS has no key store"));
    };
    let builder = ServerConfig::builder_with_provider(settings.provider.clone())
        .with_protocol_versions(&settings.versions)
        .map_err(not_set_up)?;
    let builder = match &settings.trust {
        None => builder.with_no_client_auth(),
        Some(trust_store) => {
            let trust = trust(settings, Some(trust_store))?;
            let chains =
                WebPkiClientVerifier::builder_with_provider(trust.roots.clone(), settings.provider.clone());
            let chains = chains.build().map_err(not_set_up)?;
            builder.with_client_cert_verifier(Arc::new(Clients { trust, chains }))
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|e| unusable(store, &e))?;
    config.alpn_protocols.clone_from(&settings.alpn);
    if settings.trust.is_some() {
        // A session that is taken up again would not show its certificate again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

pub fn client(settings: &Settings) -> Result<ClientConfig> {
    let servers = Servers {
        trust: trust(settings, settings.trust.as_ref())?,
        names_count: settings.names_count,
        algorithms: settings.provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_provider(settings.provider.clone())
        .with_protocol_versions(&settings.versions)
        .map_err(not_set_up)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(servers));
    let mut config = match (&settings.key, own(settings)?) {
        (Some(store), Some((chain, key))) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| unusable(store, &e))?,
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols.clone_from(&settings.alpn);
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn not_set_up(e: impl StdError + Send + Sync + 'static) -> Error {
    Error::internal("TLS could not be set up").with_source(e)
}

fn unusable(key: &KeyStore, e: &tokio_rustls::rustls::Error) -> Error {
    Error::user("the certificate or the key of a key store cannot be used")
        .with_detail(format!("{}: {}\n{e}", key.store.option, key.store.path.display()))
        .with_hint(
            "it takes an RSA key of 2048 bits at least, or an EC key of P-256 or P-384, and X.509 certificates of version 3, \
             the key's own first",
        )
}

/// What could not be read, by its option; what was given as a password is not said.
fn unreadable(store: &Store, passwords: &str, error: &Error) -> Error {
    let why = match error.source() {
        Some(source) => format!("{}: {source}", error.message()),
        None => error.message().to_owned(),
    };
    let hint = format!("it takes PKCS12, JKS or PEM; {passwords}");
    Error::user("a store of TLS cannot be read")
        .with_detail(format!("{}: {}\n{why}", store.option, store.path.display()))
        .with_hint(hint)
}

fn kind_of(store: &Store) -> Result<Kind> {
    match store.kind {
        Some(kind) => Ok(kind),
        None => Kind::of(&store.path),
    }
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The key that this process shows, with its certificates.
fn own(settings: &Settings) -> Result<Option<Own>> {
    let Some(key_store) = &settings.key else {
        return Ok(None);
    };
    let store = &key_store.store;
    let passwords = format!(
        "its password is in {}, the key's in {}",
        store.password_option, key_store.key_password_option
    );
    let read = kind_of(store).and_then(|kind| {
        let password = store.password.as_deref();
        let key_password = key_store.key_password.as_deref();
        // A PEM file has no password of its own: what is given is the key's.
        let key_password = match kind {
            Kind::Pem => key_password.or(password),
            Kind::Binary => key_password,
        };
        stores::key(&store.path, kind, password, key_password)
    });
    let material = read.map_err(|e| unreadable(store, &passwords, &e))?;
    let chain = certificates(&material.chain_pem)?;
    let key = PrivateKeyDer::from_pem_slice(&material.key_pem)
        .map_err(|e| Error::internal("a private key was not written as PEM").with_source(e))?;
    if let Some(first) = chain.first() {
        tell(store, first)?;
    }
    Ok(Some((chain, key)))
}

/// Whose certificate it is, and that it does not count now: peers will refuse it.
fn tell(store: &Store, certificate: &CertificateDer<'_>) -> Result<()> {
    let validity = certificate::validity(certificate)?;
    let subject = certificate::subject(certificate)?;
    let file = store.path.display();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64);
    let days_left = (validity.end() - now) / 86_400;
    match validity.contains(&now) {
        true => tracing::info!(%file, subject, days_left, "certificate for TLS"),
        false => tracing::warn!(
            %file, subject, days_left,
            "the certificate has expired or is not valid yet: peers will refuse it"
        ),
    }
    Ok(())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| Error::user("certificates are not valid PEM").with_source(e))
}

fn trust(settings: &Settings, store: Option<&Store>) -> Result<Trust> {
    let (pem, file) = match store {
        Some(store) => {
            let passwords = format!("its password is in {}", store.password_option);
            let read =
                kind_of(store).and_then(|kind| stores::trusted(&store.path, kind, store.password.as_deref()));
            let pem = read.map_err(|e| unreadable(store, &passwords, &e))?;
            (pem, store.path.display().to_string())
        }
        None => bundle()?,
    };
    let mut roots = RootCertStore::empty();
    let mut exact = HashMap::new();
    let mut left_out = 0;
    for certificate in certificates(&pem)? {
        let validity = certificate::validity(&certificate);
        match (roots.add(certificate.clone()), validity) {
            (Ok(()), Ok(validity)) => drop(exact.insert(certificate.to_vec(), validity)),
            _ => left_out += 1,
        }
    }
    if roots.is_empty() {
        return Err(
            Error::user("none of the certificates of a trust store can be used").with_detail(match store {
                Some(store) => format!("{}: {file}", store.option),
                None => file,
            }),
        );
    }
    if left_out > 0 {
        tracing::warn!(
            file,
            left_out,
            "certificates of a trust store cannot be used: nobody is trusted by them"
        );
    }
    Ok(Trust {
        roots: Arc::new(roots),
        exact: match store {
            Some(_) => exact,
            // Of the machine's authorities none is a server.
            None => HashMap::new(),
        },
        fingerprints: settings.fingerprints.clone(),
    })
}

/// The machine's trust anchors, and where they were.
fn bundle() -> Result<(Vec<u8>, String)> {
    let given = std::env::var_os("SSL_CERT_FILE");
    let mut places = given.iter().map(Path::new).chain(BUNDLES.iter().map(Path::new));
    let Some(path) = places.find(|path| path.is_file()) else {
        return Err(Error::user("this machine has no bundle of trusted certificates")
            .with_detail(format!("looked for {}", BUNDLES.join(", ")))
            .with_hint(format!("set {}", ssl::REST_TRUSTSTORE.key)));
    };
    let file = path.display().to_string();
    let pem = std::fs::read(path).map_err(|e| {
        Error::user("the bundle of trusted certificates cannot be read")
            .with_detail(&file)
            .with_source(e)
    })?;
    Ok((pem, file))
}
