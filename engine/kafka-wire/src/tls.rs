//! TLS by rustls: whom to trust, who we are, and whether the host's name counts.

use std::path::Path;
use std::sync::Arc;

use millrace_core::{Error, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::config::{Roots, Tls};

/// Where distributions keep their certificate bundle; Debian's first.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

pub fn connector(tls: &Tls) -> Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(roots(&tls.roots)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|e| Error::user("the TLS trust anchors cannot be used").with_source(e))?;
    let verifier: Arc<dyn ServerCertVerifier> = if tls.verify_hostname {
        verifier
    } else {
        Arc::new(AnyHostname { verifier })
    };
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal("TLS could not be set up").with_source(e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let chain = certificates(&client.chain_pem, "the TLS client certificate")?;
            builder
                .with_client_auth_cert(chain, private_key(&client.key_pem)?)
                .map_err(|e| {
                    Error::user("the TLS client certificate and its key do not fit").with_source(e)
                })?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(roots: &Roots) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::Pem(pem) => {
            for certificate in certificates(pem, "the TLS trust store")? {
                store.add(certificate).map_err(|e| {
                    Error::user("a certificate of the TLS trust store cannot be used").with_source(e)
                })?;
            }
        }
        Roots::System => {
            let Some(path) = SYSTEM_BUNDLES.iter().find(|p| Path::new(p).exists()) else {
                return Err(Error::user("this machine has no bundle of trusted certificates")
                    .with_detail(format!("looked for {}", SYSTEM_BUNDLES.join(", ")))
                    .with_hint(
                        "install the package ca-certificates, or set 'properties.ssl.truststore.location'",
                    ));
            };
            let pem = std::fs::read(path).map_err(|e| {
                Error::external("the bundle of trusted certificates cannot be read")
                    .with_detail(*path)
                    .with_source(e)
            })?;
            // Bundles hold a few certificates that webpki does not take; the others count.
            store.add_parsable_certificates(certificates(&pem, path)?);
        }
    }
    if store.is_empty() {
        return Err(Error::user("the TLS trust store holds no certificate"));
    }
    Ok(store)
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = rustls_pemfile::certs(&mut &*pem).collect();
    let found = found.map_err(|e| Error::user(format!("{what} is not valid PEM")).with_source(e))?;
    if found.is_empty() {
        return Err(Error::user(format!("{what} holds no certificate in PEM form")));
    }
    Ok(found)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    rustls_pemfile::private_key(&mut &*pem)
        .map_err(|e| Error::user("the key of the TLS client certificate is not valid PEM").with_source(e))?
        .ok_or_else(|| Error::user("the key of the TLS client certificate is missing or encrypted"))
}

/// Checks the chain, not the name: what an empty `ssl.endpoint.identification.algorithm` means.
#[derive(Debug)]
struct AnyHostname {
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for AnyHostname {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The name is what the verifier checks last, so this error means that the rest was good.
        match self
            .verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
