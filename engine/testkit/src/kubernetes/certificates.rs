//! An authority, a certificate for 127.0.0.1, and the key that accounts' tokens are signed with.

use std::path::Path;

use anyhow::Result;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};

/// Writes `ca.pem`, `server.pem` with `server.key`, and `accounts.key` with `accounts.pub`.
pub fn write(folder: &Path) -> Result<()> {
    let (ca_key, server_key, accounts_key) = (key()?, key()?, key()?);
    let ca_name = name("testkit-ca")?;
    let mut ca = certificate(&ca_name, &ca_name, &ca_key)?;
    ca.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    ca.append_extension(KeyUsage::new().critical().key_cert_sign().build()?)?;
    ca.sign(&ca_key, MessageDigest::sha256())?;
    let ca = ca.build();
    let server_name = name("kube-apiserver")?;
    let mut server = certificate(&server_name, &ca_name, &server_key)?;
    let names = SubjectAlternativeName::new()
        .ip("127.0.0.1")
        .build(&server.x509v3_context(Some(&ca), None))?;
    server.append_extension(names)?;
    server.sign(&ca_key, MessageDigest::sha256())?;
    std::fs::write(folder.join("ca.pem"), ca.to_pem()?)?;
    std::fs::write(folder.join("server.pem"), server.build().to_pem()?)?;
    std::fs::write(folder.join("server.key"), server_key.private_key_to_pem_pkcs8()?)?;
    std::fs::write(
        folder.join("accounts.key"),
        accounts_key.private_key_to_pem_pkcs8()?,
    )?;
    std::fs::write(folder.join("accounts.pub"), accounts_key.public_key_to_pem()?)?;
    Ok(())
}

fn key() -> Result<PKey<Private>> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    Ok(PKey::from_ec_key(EcKey::generate(&group)?)?)
}

fn name(common: &str) -> Result<X509Name> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", common)?;
    Ok(name.build())
}

fn certificate(
    subject: &openssl::x509::X509NameRef,
    issuer: &openssl::x509::X509NameRef,
    key: &PKey<Private>,
) -> Result<X509Builder> {
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let serial = serial.to_asn1_integer()?;
    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    certificate.set_serial_number(&serial)?;
    certificate.set_subject_name(subject)?;
    certificate.set_issuer_name(issuer)?;
    let (from, to) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(30)?);
    certificate.set_not_before(&from)?;
    certificate.set_not_after(&to)?;
    certificate.set_pubkey(key)?;
    Ok(certificate)
}
