use std::path::PathBuf;
use std::process::Command;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::symm::Cipher;
use openssl::x509::{X509, X509Name};
use sha1::{Digest, Sha1};

use super::*;

const PASSWORD: &str = "pässword";

fn self_signed(name: &str) -> (PKey<Private>, X509) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder
        .set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap())
        .unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(30).unwrap())
        .unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (key, builder.build())
}

/// A folder of the test's own that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("millrace-stores-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let sum = Sha1::new()
        .chain_update(utf16(PASSWORD))
        .chain_update(b"Mighty Aphrodite")
        .chain_update(&body)
        .finalize();
    body.extend_from_slice(&sum);
    body
}

fn certificate_entry(out: &mut Vec<u8>, certificate: &X509) {
    out.extend_from_slice(&[0, 5]);
    out.extend_from_slice(b"X.509");
    let der = certificate.to_der().unwrap();
    out.extend_from_slice(&(der.len() as u32).to_be_bytes());
    out.extend_from_slice(&der);
}

fn jks_header(entries: u32) -> Vec<u8> {
    [0xFEED_FEEDu32, 2, entries]
        .iter()
        .flat_map(|n| n.to_be_bytes())
        .collect()
}

fn jks_trust(certificates: &[&X509]) -> Vec<u8> {
    let mut body = jks_header(certificates.len() as u32);
    for certificate in certificates {
        body.extend_from_slice(&2u32.to_be_bytes());
        body.extend_from_slice(&[0, 2, b'c', b'a']);
        body.extend_from_slice(&[0; 8]);
        certificate_entry(&mut body, certificate);
    }
    sealed(body)
}

/// What Sun's key protector makes of a key.
fn protect(plain: &[u8], password: &str) -> Vec<u8> {
    let salt = [7u8; 20];
    let mut digest = salt.to_vec();
    let mut data = salt.to_vec();
    for chunk in plain.chunks(20) {
        digest = Sha1::new()
            .chain_update(utf16(password))
            .chain_update(&digest)
            .finalize()
            .to_vec();
        data.extend(chunk.iter().zip(&digest).map(|(p, d)| p ^ d));
    }
    data.extend_from_slice(
        &Sha1::new()
            .chain_update(utf16(password))
            .chain_update(plain)
            .finalize(),
    );
    let tlv = |tag: u8, body: &[u8]| {
        let n = body.len();
        let mut out = vec![tag, 0x82, (n >> 8) as u8, n as u8];
        out.extend_from_slice(body);
        out
    };
    let oid = [
        0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01, 0x05, 0x00,
    ];
    tlv(0x30, &[tlv(0x30, &oid), tlv(0x04, &data)].concat())
}

fn jks_key(key: &PKey<Private>, certificate: &X509, key_password: &str) -> Vec<u8> {
    let mut body = jks_header(1);
    body.extend_from_slice(&1u32.to_be_bytes());
    body.extend_from_slice(&[0, 2, b'm', b'e']);
    body.extend_from_slice(&[0; 8]);
    let protected = protect(&key.private_key_to_pkcs8().unwrap(), key_password);
    body.extend_from_slice(&(protected.len() as u32).to_be_bytes());
    body.extend_from_slice(&protected);
    body.extend_from_slice(&1u32.to_be_bytes());
    certificate_entry(&mut body, certificate);
    sealed(body)
}

fn names(pem: &[u8]) -> Vec<String> {
    X509::stack_from_pem(pem)
        .unwrap()
        .iter()
        .map(|c| {
            let name = c
                .subject_name()
                .entries()
                .next()
                .unwrap()
                .data()
                .as_slice()
                .to_vec();
            String::from_utf8(name).unwrap()
        })
        .collect()
}

fn same_key(material: &KeyMaterial, key: &PKey<Private>) {
    let read = PKey::private_key_from_pem(&material.key_pem).unwrap();
    assert!(read.public_eq(key));
}

#[test]
fn certificates_of_a_jks_trust_store() {
    let folder = Folder::new("jks-trust");
    let ((_, a), (_, b)) = (self_signed("a"), self_signed("b"));
    let path = folder.write("trust.jks", &jks_trust(&[&a, &b]));
    assert_eq!(
        names(&trusted(&path, Kind::Binary, Some(PASSWORD)).unwrap()),
        ["a", "b"]
    );
    // As in Java: without a password the store is read and not checked.
    assert_eq!(names(&trusted(&path, Kind::Binary, None).unwrap()), ["a", "b"]);
    let e = trusted(&path, Kind::Binary, Some("other"))
        .unwrap_err()
        .to_string();
    assert!(e.contains("password is wrong") && e.contains("trust.jks"), "{e}");
}

#[test]
fn a_damaged_jks_store_is_an_error() {
    let folder = Folder::new("jks-damaged");
    let (_, a) = self_signed("a");
    let good = jks_trust(&[&a]);
    for n in [4, 12, 20, 40, good.len() - 1] {
        let path = folder.write("cut.jks", &good[..n]);
        assert!(trusted(&path, Kind::Binary, None).is_err(), "{n} bytes");
    }
}

#[test]
fn the_key_of_a_jks_key_store() {
    let folder = Folder::new("jks-key");
    let (key, certificate) = self_signed("me");
    let path = folder.write("key.jks", &jks_key(&key, &certificate, "key password"));
    let material = super::key(&path, Kind::Binary, Some(PASSWORD), Some("key password")).unwrap();
    assert_eq!(names(&material.chain_pem), ["me"]);
    same_key(&material, &key);
    assert!(super::key(&path, Kind::Binary, Some(PASSWORD), Some("wrong")).is_err());
}

#[test]
fn pkcs12_stores() {
    let folder = Folder::new("pkcs12");
    let ((key, certificate), (_, ca)) = (self_signed("me"), self_signed("ca"));
    let mut chain = Stack::new().unwrap();
    chain.push(ca.clone()).unwrap();
    let store = openssl::pkcs12::Pkcs12::builder()
        .name("me")
        .pkey(&key)
        .cert(&certificate)
        .ca(chain)
        .build2(PASSWORD)
        .unwrap();
    let path = folder.write("key.p12", &store.to_der().unwrap());
    let material = super::key(&path, Kind::Binary, Some(PASSWORD), None).unwrap();
    assert_eq!(names(&material.chain_pem), ["me", "ca"]);
    same_key(&material, &key);
    let e = super::key(&path, Kind::Binary, Some("wr0ng"), None)
        .err()
        .unwrap()
        .to_string();
    assert!(e.contains("password is wrong") && !e.contains("wr0ng"), "{e}");
    assert!(trusted(&folder.write("no", b"hello"), Kind::Binary, None).is_err());
}

#[test]
fn pem_stores_and_inline_pem() {
    let folder = Folder::new("pem");
    let (key, certificate) = self_signed("me");
    let encrypted = key
        .private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret")
        .unwrap();
    let both = [certificate.to_pem().unwrap(), encrypted.clone()].concat();
    let path = folder.write("me.pem", &both);
    let material = super::key(&path, Kind::Pem, None, Some("secret")).unwrap();
    same_key(&material, &key);
    assert!(
        super::key(&path, Kind::Pem, None, None).is_err(),
        "an encrypted key without its password"
    );
    same_key(
        &inline(&certificate.to_pem().unwrap(), &encrypted, Some("secret")).unwrap(),
        &key,
    );
    assert_eq!(names(&trusted(&path, Kind::Pem, None).unwrap()), ["me"]);
    assert!(
        certificates_of_pem(b"nothing", "here")
            .unwrap_err()
            .to_string()
            .contains("here")
    );
}

/// `issuer` vouches for what is made of `name`.
fn signed(name: &str, issuer: &(PKey<Private>, X509)) -> (PKey<Private>, X509) {
    let (key, _) = self_signed(name);
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder
        .set_serial_number(&BigNum::from_u32(2).unwrap().to_asn1_integer().unwrap())
        .unwrap();
    builder.set_subject_name(&subject.build()).unwrap();
    builder.set_issuer_name(issuer.1.subject_name()).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder
        .set_not_before(&Asn1Time::from_unix(1_000_000_000).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::from_unix(1_700_000_000).unwrap())
        .unwrap();
    builder.sign(&issuer.0, MessageDigest::sha256()).unwrap();
    (key, builder.build())
}

#[test]
fn a_key_store_as_a_trust_store_trusts_its_own_certificate_alone() {
    let folder = Folder::new("own");
    let ca = self_signed("ca");
    let (key, certificate) = signed("me", &ca);
    let pkcs12 = |name: &str, others: &[&X509]| {
        let mut stack = Stack::new().unwrap();
        for other in others {
            stack.push((*other).clone()).unwrap();
        }
        let mut builder = openssl::pkcs12::Pkcs12::builder();
        let store = builder.name("me").pkey(&key).cert(&certificate).ca(stack);
        folder.write(name, &store.build2(PASSWORD).unwrap().to_der().unwrap())
    };
    let trusts = |path: &PathBuf| names(&trusted(path, Kind::Binary, Some(PASSWORD)).unwrap());
    assert_eq!(trusts(&pkcs12("chain.p12", &[&ca.1])), ["me"]);
    let (_, other) = self_signed("other");
    assert_eq!(trusts(&pkcs12("other.p12", &[&ca.1, &other])), ["me", "other"]);
    // It vouches for the key, and is trusted besides.
    assert_eq!(trusts(&pkcs12("both.p12", &[&ca.1, &ca.1])), ["me", "ca"]);
    let jks = folder.write("key.jks", &jks_key(&key, &certificate, PASSWORD));
    assert_eq!(trusts(&jks), ["me"]);
}

#[test]
fn a_store_shows_what_it_is() {
    let folder = Folder::new("kinds");
    let (_, a) = self_signed("a");
    let pem = [b"# a note\n".to_vec(), a.to_pem().unwrap()].concat();
    assert_eq!(Kind::of(&folder.write("pem", &pem)).unwrap(), Kind::Pem);
    let jks = folder.write("jks", &jks_trust(&[&a]));
    assert_eq!(Kind::of(&jks).unwrap(), Kind::Binary);
    assert!(Kind::of(&folder.0.join("none")).is_err());
}

#[test]
fn facts_of_a_certificate() {
    let (_, certificate) = signed("me", &self_signed("ca"));
    let der = certificate.to_der().unwrap();
    assert_eq!(
        certificate::validity(&der).unwrap(),
        1_000_000_000..=1_700_000_000
    );
    assert_eq!(certificate::subject(&der).unwrap(), "CN=me");
    let [sha1, sha256] = certificate::fingerprints(&der);
    assert_eq!(sha1, *certificate.digest(MessageDigest::sha1()).unwrap());
    assert_eq!(sha256, *certificate.digest(MessageDigest::sha256()).unwrap());
    assert!(certificate::validity(b"nothing").is_err());
}

/// Where a JDK is installed, its own files are read too.
#[test]
fn stores_that_keytool_makes() {
    let folder = Folder::new("keytool");
    for kind in ["JKS", "PKCS12"] {
        let store = folder.0.join(format!("key.{kind}"));
        let trust = folder.0.join(format!("trust.{kind}"));
        let certificate = folder.0.join(format!("{kind}.pem"));
        let run = |arguments: &[&str]| {
            let all = ["-storepass", "changeit", "-storetype", kind];
            Command::new("keytool").args(arguments).args(all).output()
        };
        let path = |p: &PathBuf| p.to_str().unwrap().to_owned();
        let generate = run(&[
            "-genkeypair",
            "-alias",
            "me",
            "-keyalg",
            "EC",
            "-dname",
            "CN=me",
            "-keypass",
            "changeit",
            "-keystore",
            &path(&store),
        ]);
        let Ok(output) = generate else { return };
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        run(&[
            "-exportcert",
            "-rfc",
            "-alias",
            "me",
            "-file",
            &path(&certificate),
            "-keystore",
            &path(&store),
        ])
        .unwrap();
        run(&[
            "-importcert",
            "-noprompt",
            "-alias",
            "ca",
            "-file",
            &path(&certificate),
            "-keystore",
            &path(&trust),
        ])
        .unwrap();
        assert_eq!(
            names(&trusted(&trust, Kind::Binary, Some("changeit")).unwrap()),
            ["me"],
            "{kind}"
        );
        let material = super::key(&store, Kind::Binary, Some("changeit"), None).unwrap();
        let read = X509::from_pem(&std::fs::read(&certificate).unwrap()).unwrap();
        let key = PKey::private_key_from_pem(&material.key_pem).unwrap();
        assert!(read.public_key().unwrap().public_eq(&key), "{kind}");
    }
}
