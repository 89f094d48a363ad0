//! What is to be known of one certificate, beside what a TLS library checks.

use std::ops::RangeInclusive;

use millrace_core::{Error, Result};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::x509::X509;
use sha1::{Digest, Sha1};

fn read(der: &[u8]) -> Result<X509> {
    X509::from_der(der).map_err(|e| Error::user("a certificate cannot be read").with_source(e))
}

/// From when to when it counts, in seconds since 1970.
pub fn validity(der: &[u8]) -> Result<RangeInclusive<i64>> {
    let certificate = read(der)?;
    let seconds = |time: &Asn1TimeRef| -> Result<i64, openssl::error::ErrorStack> {
        let since = Asn1Time::from_unix(0)?.diff(time)?;
        Ok(i64::from(since.days) * 86_400 + i64::from(since.secs))
    };
    let times =
        seconds(certificate.not_before()).and_then(|from| Ok(from..=seconds(certificate.not_after())?));
    times.map_err(|e| Error::user("the dates of a certificate cannot be read").with_source(e))
}

/// Its subject as people write it: `CN=flink.internal, O=Example`.
pub fn subject(der: &[u8]) -> Result<String> {
    let certificate = read(der)?;
    let parts = certificate.subject_name().entries().map(|entry| {
        let name = entry.object().nid().short_name().unwrap_or("?");
        format!("{name}={}", entry.data().to_string().unwrap_or_default())
    });
    Ok(parts.collect::<Vec<_>>().join(", "))
}

/// Its SHA-1 (20 bytes) and its SHA-256 (32 bytes).
pub fn fingerprints(der: &[u8]) -> [Vec<u8>; 2] {
    [Sha1::digest(der).to_vec(), openssl::sha::sha256(der).to_vec()]
}
