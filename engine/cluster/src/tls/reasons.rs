//! Why there is no connection, in words that say what to look at.

use std::error::Error as StdError;
use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use super::verify::Rejected;

/// All that an error is caused by, the outermost first, each once.
pub fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut told = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if told.last().is_none_or(|last| !last.contains(&text)) {
            told.push(text);
        }
        next = cause.source();
    }
    told.join(": ")
}

/// What a handshake has failed with, or what was read after it.
pub fn why(error: &io::Error) -> String {
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match of_tls {
        Some(error) => of_rustls(error),
        None => causes(error),
    }
}

/// The same error in those words.
pub fn told(error: io::Error) -> io::Error {
    match error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        true => io::Error::new(error.kind(), why(&error)),
        false => error,
    }
}

fn of_rustls(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => "it shows no certificate".to_owned(),
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => "it does not speak TLS".to_owned(),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::PeerIncompatible(why) => {
            format!("it has no protocol or cipher suite in common with this side ({why:?})")
        }
        other => other.to_string(),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate is not in the trust store, and is of an authority that is not there either"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".to_owned()
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<Rejected>() {
            Some(rejected) => rejected.to_string(),
            None => format!("its certificate is not valid: {}", other.0),
        },
        other => format!("its certificate is not valid: {other}"),
    }
}

/// What the peer has said about this side.
fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => {
            "it refuses this side's certificate: its trust store does not have it, nor its authority"
                .to_owned()
        }
        AlertDescription::CertificateExpired => {
            "it refuses this side's certificate: it has expired".to_owned()
        }
        AlertDescription::CertificateRequired => {
            "it asks for a certificate, and this side shows none".to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked => format!("it refuses this side's certificate ({alert:?})"),
        AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion => {
            format!("it has no protocol or cipher suite in common with this side ({alert:?})")
        }
        other => format!("it has ended the connection ({other:?})"),
    }
}
