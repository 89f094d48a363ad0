//! Who is trusted.
//!
//! A peer's certificate counts if the trust store has it, or has who vouches for it, and if it is one of the fingerprints
//! where such are configured. As in Java, a certificate that is in the trust store itself needs nobody to vouch for it,
//! may be one that vouches for others, and may be for any use: whoever put it there has named it.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use millrace_stores::certificate;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{
    verify_server_cert_signed_by_trust_anchor as verify_chain, verify_server_name,
};
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

/// Why a certificate is not taken, in words of our own.
#[derive(Debug)]
pub struct Rejected(pub String);

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Rejected {}

fn rejected(why: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Rejected(why)))))
}

/// Certificates and fingerprints that peers are checked against.
#[derive(Debug)]
pub struct Trust {
    pub roots: Arc<RootCertStore>,
    /// The trust store's certificates in DER, with the seconds since 1970 that they are valid in.
    pub exact: HashMap<Vec<u8>, RangeInclusive<i64>>,
    pub fingerprints: Vec<Vec<u8>>,
}

impl Trust {
    /// Whether a certificate is trusted by itself. An error: it is not taken, whoever vouches for it.
    fn is_known(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.fingerprints.is_empty() {
            let of_it = certificate::fingerprints(certificate);
            if !self.fingerprints.iter().any(|wanted| of_it.contains(wanted)) {
                return Err(rejected(format!(
                    "its certificate has the SHA-1 {}, which is none of the fingerprints that are configured",
                    hex::encode(&of_it[0])
                )));
            }
        }
        let Some(validity) = self.exact.get(certificate.as_ref()) else {
            return Ok(false);
        };
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match now {
            _ if now < *validity.start() => Err(Error::InvalidCertificate(CertificateError::NotValidYet)),
            _ if now > *validity.end() => Err(Error::InvalidCertificate(CertificateError::Expired)),
            _ => Ok(true),
        }
    }
}

/// Checks servers.
#[derive(Debug)]
pub struct Servers {
    pub trust: Trust,
    pub names_count: bool,
    pub algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        if !self.trust.is_known(certificate, now)? {
            let (roots, algorithms) = (&self.trust.roots, self.algorithms.all);
            verify_chain(&parsed, roots, intermediates, now, algorithms)?;
        }
        if self.names_count {
            verify_server_name(&parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks clients, all of which have to show a certificate.
#[derive(Debug)]
pub struct Clients {
    pub trust: Trust,
    /// For what the trust store does not have itself.
    pub chains: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.trust.is_known(certificate, now)? {
            true => Ok(ClientCertVerified::assertion()),
            false => self.chains.verify_client_cert(certificate, intermediates, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
