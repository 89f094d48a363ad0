//! The certificates of these tests.

use std::path::Path;
use std::sync::LazyLock;

use millrace_core::Configuration;
use millrace_testkit::scratch::Scratch;
use millrace_testkit::tls::{Authority, Identity, KEY_PASSWORD, STORE_PASSWORD, Validity};

pub struct Certificates {
    pub folder: Scratch,
    pub authority: Authority,
    /// Nobody in the cluster trusts it.
    pub other: Authority,
    pub ours: Identity,
    pub expired: Identity,
    pub foreign: Identity,
}

pub static CERTIFICATES: LazyLock<Certificates> = LazyLock::new(|| {
    let folder = Scratch::new("cluster-tls").unwrap();
    let authority = Authority::new(folder.path(), "authority").unwrap();
    let other = Authority::new(folder.path(), "other").unwrap();
    Certificates {
        ours: authority.issue("ours", Validity::Now, &[]).unwrap(),
        expired: authority.issue("expired", Validity::Past, &[]).unwrap(),
        foreign: other.issue("foreign", Validity::Now, &[]).unwrap(),
        folder,
        authority,
        other,
    }
});

/// TLS within the cluster, with these files.
pub fn with_stores(config: &mut Configuration, key: &Path, trust: &Path) {
    for (name, value) in [
        ("enabled", "true"),
        ("keystore", key.to_str().unwrap()),
        ("keystore-password", STORE_PASSWORD),
        ("key-password", KEY_PASSWORD),
        ("truststore", trust.to_str().unwrap()),
        ("truststore-password", STORE_PASSWORD),
    ] {
        config.set(format!("security.ssl.internal.{name}"), value);
    }
}

/// TLS with a key that the authority vouches for, or not.
pub fn with_identity(config: &mut Configuration, identity: &Identity) {
    let trust = CERTIFICATES.authority.truststore_pem();
    with_stores(config, &identity.pem().unwrap(), &trust);
}
