//! TLS and SASL: from Java's properties to what both clients take.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_core::{Error, Result};
use millrace_kafka_wire::{ClientCertificate, Roots, Sasl, ScramHash, Security, Tls};

use super::RdConfig;
use super::jaas::{self, Login};
use super::token::{self, FileToken, UnsecuredToken};
use millrace_stores::{self as stores, KeyMaterial};

/// `security.protocol` and the login, checked; files of TLS are read by `load`.
#[derive(Clone)]
pub struct Settings {
    tls: bool,
    sasl: Option<Sasl>,
}

impl Settings {
    pub fn parse(given: &BTreeMap<String, String>) -> Result<Self> {
        let get = |name: &str| given.get(name).map(|v| v.trim());
        let (tls, with_sasl) = match get("security.protocol")
            .unwrap_or("PLAINTEXT")
            .to_ascii_uppercase()
            .as_str()
        {
            "PLAINTEXT" => (false, false),
            "SSL" => (true, false),
            "SASL_PLAINTEXT" => (false, true),
            "SASL_SSL" => (true, true),
            _ => {
                return Err(wrong(
                    given,
                    "security.protocol",
                    "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
                ));
            }
        };
        if tls {
            check_protocols(given)?;
        }
        Ok(Settings {
            tls,
            sasl: if with_sasl { Some(sasl(given)?) } else { None },
        })
    }

    /// The property that leaves TLS 1.3 out, which is not kept to.
    pub fn without_tls13(&self, given: &BTreeMap<String, String>) -> Option<&'static str> {
        let leaves_out = |value: &String| names(value).all(|v| v == "TLSv1.2");
        PROTOCOLS
            .into_iter()
            .find(|name| self.tls && given.get(*name).is_some_and(leaves_out))
    }

    /// Reads the files that TLS needs.
    pub fn load(&self, given: &BTreeMap<String, String>) -> Result<Security> {
        let tls = if self.tls { Some(tls(given)?) } else { None };
        Ok(Security {
            tls,
            sasl: self.sasl.clone(),
        })
    }
}

fn wrong(given: &BTreeMap<String, String>, name: &str, expected: &str) -> Error {
    Error::user("an option has a wrong value")
        .with_detail(format!(
            "'properties.{name}' = '{}'",
            given.get(name).map(String::as_str).unwrap_or_default()
        ))
        .with_hint(format!("it takes {expected}"))
}

/// Both libraries speak TLS 1.2 and 1.3 and agree on the newest that the broker speaks, as Java does.
/// librdkafka has no option for less, so TLS 1.2 cannot be ruled out.
fn check_protocols(given: &BTreeMap<String, String>) -> Result<()> {
    for name in PROTOCOLS {
        let Some(value) = given.get(name) else { continue };
        if !names(value).any(|v| matches!(v, "TLS" | "TLSv1.2" | "TLSv1.3")) {
            return Err(wrong(
                given,
                name,
                "TLSv1.2 and TLSv1.3; older protocols are not spoken",
            ));
        }
    }
    let enabled = given.get("ssl.enabled.protocols");
    if enabled.is_some_and(|v| names(v).all(|v| v == "TLSv1.3")) {
        return Err(Error::unsupported(
            "TLS 1.3 alone ('properties.ssl.enabled.protocols' = 'TLSv1.3')",
        )
        .with_hint(
            "TLS 1.2 can be ruled out at the brokers; here it takes 'TLSv1.2,TLSv1.3', and the newest wins",
        ));
    }
    Ok(())
}

const PROTOCOLS: [&str; 2] = ["ssl.protocol", "ssl.enabled.protocols"];

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|v| !v.is_empty())
}

fn sasl(given: &BTreeMap<String, String>) -> Result<Sasl> {
    let mechanism = given.get("sasl.mechanism").map_or("GSSAPI", |v| v.trim());
    if mechanism == "GSSAPI" {
        let e = Error::unsupported("SASL mechanism GSSAPI (Kerberos)");
        let hint = "set 'properties.sasl.mechanism' to PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER";
        return Err(match given.get("sasl.mechanism") {
            Some(_) => e.with_hint(hint),
            None => e
                .with_detail("it is the default of 'properties.sasl.mechanism'")
                .with_hint(hint),
        });
    }
    let Some(text) = given.get("sasl.jaas.config") else {
        return Err(Error::user("SASL is used without a login")
            .with_hint("add 'properties.sasl.jaas.config' = '...LoginModule required ...;'"));
    };
    let login = jaas::parse(text)?;
    let class = login.module.rsplit('.').next().unwrap_or_default();
    let expected = match mechanism {
        "PLAIN" => "PlainLoginModule",
        "SCRAM-SHA-256" | "SCRAM-SHA-512" => "ScramLoginModule",
        "OAUTHBEARER" => "OAuthBearerLoginModule",
        _ => {
            return Err(wrong(
                given,
                "sasl.mechanism",
                "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
            ));
        }
    };
    if class == "Krb5LoginModule" {
        return Err(Error::unsupported("login module Krb5LoginModule (Kerberos)"));
    }
    if class != expected {
        return Err(Error::user(format!(
            "login module '{}' does not fit SASL mechanism {mechanism}",
            login.module
        ))
        .with_detail("'properties.sasl.jaas.config'")
        .with_hint(format!("{mechanism} takes {expected}")));
    }
    if mechanism != "OAUTHBEARER" && given.contains_key("sasl.login.callback.handler.class") {
        return Err(Error::unsupported(
            "option 'properties.sasl.login.callback.handler.class' for this mechanism",
        )
        .with_hint("a Java class cannot be loaded"));
    }
    let option = |name: &str| {
        login.options.get(name).cloned().ok_or_else(|| {
            Error::user(format!("login module {expected} lacks the option '{name}'"))
                .with_detail("'properties.sasl.jaas.config'")
        })
    };
    match mechanism {
        "PLAIN" => Ok(Sasl::Plain {
            username: option("username")?,
            password: option("password")?,
        }),
        "OAUTHBEARER" => oauthbearer(given, &login),
        scram => {
            if login
                .options
                .get("tokenauth")
                .is_some_and(|v| v.eq_ignore_ascii_case("true"))
            {
                return Err(Error::unsupported(
                    "login by delegation token ('tokenauth' of ScramLoginModule)",
                ));
            }
            let hash = if scram == "SCRAM-SHA-256" {
                ScramHash::Sha256
            } else {
                ScramHash::Sha512
            };
            Ok(Sasl::Scram {
                hash,
                username: option("username")?,
                password: option("password")?,
            })
        }
    }
}

fn oauthbearer(given: &BTreeMap<String, String>, login: &Login) -> Result<Sasl> {
    if let Some(handler) = given.get("sasl.login.callback.handler.class") {
        let class = handler.trim().rsplit('.').next().unwrap_or_default();
        if ![
            "OAuthBearerLoginCallbackHandler",
            "OAuthBearerUnsecuredLoginCallbackHandler",
        ]
        .contains(&class)
        {
            return Err(Error::unsupported("a login callback handler of one's own")
                .with_detail(format!("'properties.sasl.login.callback.handler.class' = '{handler}'"))
                .with_hint("keep a token fresh in a file and set 'properties.sasl.oauthbearer.token.endpoint.url' = 'file:///...'"));
        }
    }
    if let Some(key) = login.options.keys().find(|k| token::is_extension(k)) {
        return Err(Error::unsupported(format!(
            "a SASL extension (option '{key}' of the login module)"
        )));
    }
    match given.get("sasl.oauthbearer.token.endpoint.url") {
        None => Ok(Sasl::OauthBearer(Arc::new(UnsecuredToken::from_login(login)?))),
        Some(url) => {
            let Some(path) = url.trim().strip_prefix("file:") else {
                return Err(Error::unsupported("asking an identity provider for tokens")
                    .with_detail(format!(
                        "'properties.sasl.oauthbearer.token.endpoint.url' = '{}'",
                        url.trim()
                    ))
                    .with_hint("keep a token fresh in a file and give its address: 'file:///...'"));
            };
            let path = path.strip_prefix("//").unwrap_or(path);
            let subject = given
                .get("sasl.oauthbearer.sub.claim.name")
                .map_or("sub", |v| v.trim())
                .to_owned();
            Ok(Sasl::OauthBearer(Arc::new(FileToken {
                path: PathBuf::from(path),
                subject,
            })))
        }
    }
}

fn tls(given: &BTreeMap<String, String>) -> Result<Tls> {
    let verify_hostname = match given
        .get("ssl.endpoint.identification.algorithm")
        .map(|v| v.trim())
    {
        None => true,
        Some("") => false,
        Some(v) if v.eq_ignore_ascii_case("https") => true,
        Some(_) => {
            return Err(wrong(
                given,
                "ssl.endpoint.identification.algorithm",
                "https, or nothing to check no host names",
            ));
        }
    };
    Ok(Tls {
        roots: roots(given)?,
        client: client_certificate(given)?,
        verify_hostname,
    })
}

fn roots(given: &BTreeMap<String, String>) -> Result<Roots> {
    if let Some(pem) = given.get("ssl.truststore.certificates") {
        let found = stores::certificates_of_pem(pem.as_bytes(), "'properties.ssl.truststore.certificates'")?;
        return Ok(Roots::Pem(found));
    }
    let Some(location) = given
        .get("ssl.truststore.location")
        .filter(|l| !l.trim().is_empty())
    else {
        return Ok(Roots::System);
    };
    let password = given.get("ssl.truststore.password").map(String::as_str);
    let kind = stores::Kind::parse(given, "ssl.truststore.type")?;
    Ok(Roots::Pem(stores::trusted(
        Path::new(location.trim()),
        kind,
        password,
    )?))
}

fn client_certificate(given: &BTreeMap<String, String>) -> Result<Option<ClientCertificate>> {
    let key_password = given.get("ssl.key.password").map(String::as_str);
    let material = match (
        given.get("ssl.keystore.key"),
        given.get("ssl.keystore.certificate.chain"),
    ) {
        (Some(key), Some(chain)) => stores::inline(chain.as_bytes(), key.as_bytes(), key_password)?,
        (None, None) => {
            let Some(location) = given
                .get("ssl.keystore.location")
                .filter(|l| !l.trim().is_empty())
            else {
                return Ok(None);
            };
            let password = given.get("ssl.keystore.password").map(String::as_str);
            let kind = stores::Kind::parse(given, "ssl.keystore.type")?;
            stores::key(Path::new(location.trim()), kind, password, key_password)?
        }
        _ => {
            return Err(Error::user("one of 'properties.ssl.keystore.key' and 'properties.ssl.keystore.certificate.chain' is missing")
                .with_hint("a client certificate needs both"));
        }
    };
    let KeyMaterial { chain_pem, key_pem } = material;
    Ok(Some(ClientCertificate { chain_pem, key_pem }))
}

/// Puts TLS and SASL into librdkafka's configuration, everything inline.
pub fn configure(security: &Security, config: &mut RdConfig) -> Result<()> {
    let protocol = match (&security.tls, &security.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::internal("a certificate's PEM form is not text"))
    };
    if let Some(tls) = &security.tls {
        if let Roots::Pem(pem) = &tls.roots {
            config.set("ssl.ca.pem", text(pem)?);
        }
        if let Some(client) = &tls.client {
            config.set("ssl.certificate.pem", text(&client.chain_pem)?);
            config.set("ssl.key.pem", text(&client.key_pem)?);
        }
        config.set(
            "ssl.endpoint.identification.algorithm",
            if tls.verify_hostname { "https" } else { "none" },
        );
    }
    if let Some(sasl) = &security.sasl {
        config.set("sasl.mechanism", sasl.mechanism());
        if let Sasl::Plain { username, password }
        | Sasl::Scram {
            username, password, ..
        } = sasl
        {
            config.set("sasl.username", username.as_str());
            config.set("sasl.password", password.as_str());
        }
    }
    Ok(())
}
