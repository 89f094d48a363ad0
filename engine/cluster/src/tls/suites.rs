//! Protocols and cipher suites by their standard names, which are Java's.

use millrace_core::options::ssl;
use millrace_core::{Configuration, Error, Result};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{SupportedCipherSuite, SupportedProtocolVersion};

type Versions = Vec<&'static SupportedProtocolVersion>;

/// What `security.ssl.algorithms` and `security.ssl.protocol` leave of what is there.
pub fn chosen(config: &Configuration) -> Result<(CryptoProvider, Versions)> {
    let mut provider = ring::default_provider();
    if let Some(names) = config.get_optional(&ssl::ALGORITHMS)? {
        provider.cipher_suites = suites(&provider.cipher_suites, &names)?;
    }
    let wanted = match config.get_optional(&ssl::PROTOCOL)? {
        Some(names) => versions(&names)?,
        None => vec![&TLS13, &TLS12],
    };
    let has_suite = |version: &&SupportedProtocolVersion| {
        let mut suites = provider.cipher_suites.iter();
        suites.any(|suite| suite.version().version == version.version)
    };
    let usable: Versions = wanted.into_iter().filter(has_suite).collect();
    if usable.is_empty() {
        return Err(Error::user(
            "no cipher suite of security.ssl.algorithms is one of security.ssl.protocol",
        )
        .with_hint("names that begin with TLS_ECDHE_ are of TLSv1.2, the others of TLSv1.3"));
    }
    Ok((provider, usable))
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty())
}

fn versions(list: &str) -> Result<Versions> {
    let wrong = |name: &str| {
        Error::user("a TLS protocol is unknown")
            .with_detail(format!("security.ssl.protocol: '{name}'"))
            .with_hint("it takes TLSv1.2, TLSv1.3 or both with a comma; without it both are spoken")
    };
    let each = names(list).map(|name| match name {
        "TLSv1.2" => Ok(&TLS12),
        "TLSv1.3" => Ok(&TLS13),
        other => Err(wrong(other)),
    });
    let found: Versions = each.collect::<Result<_>>()?;
    if found.is_empty() {
        return Err(wrong(list));
    }
    Ok(found)
}

fn suites(known: &[SupportedCipherSuite], list: &str) -> Result<Vec<SupportedCipherSuite>> {
    let each = names(list).map(|name| {
        let found = known.iter().find(|suite| name_of(suite) == name);
        found.copied().ok_or_else(|| {
            Error::user("a cipher suite is not one of those that TLS has here")
                .with_detail(format!("security.ssl.algorithms: '{name}'"))
                .with_hint(format!(
                    "without security.ssl.algorithms all of these may be used: {}",
                    known.iter().map(name_of).collect::<Vec<_>>().join(", ")
                ))
        })
    });
    each.collect()
}

/// rustls puts the version into the names of TLS 1.3's; the standard does not.
fn name_of(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.replacen("TLS13_", "TLS_", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(algorithms: Option<&str>, protocol: Option<&str>) -> Result<(Vec<String>, Versions)> {
        let mut config = Configuration::default();
        for (option, value) in [(&ssl::ALGORITHMS, algorithms), (&ssl::PROTOCOL, protocol)] {
            if let Some(value) = value {
                config.set(option.key, value);
            }
        }
        let (provider, versions) = chosen(&config)?;
        Ok((provider.cipher_suites.iter().map(name_of).collect(), versions))
    }

    #[test]
    fn without_a_word_all_that_is_there() {
        let (suites, versions) = choose(None, None).unwrap();
        assert!(suites.iter().any(|name| name == "TLS_AES_256_GCM_SHA384"));
        assert!(
            suites
                .iter()
                .any(|name| name == "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
        );
        assert_eq!(versions, [&TLS13, &TLS12]);
    }

    #[test]
    fn suites_in_the_order_given_and_the_versions_they_are_of() {
        let given = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        let (suites, versions) = choose(Some(given), None).unwrap();
        assert_eq!(suites.join(", "), given);
        assert_eq!(versions, [&TLS12]);
        let (_, versions) = choose(None, Some("TLSv1.3")).unwrap();
        assert_eq!(versions, [&TLS13]);
    }

    #[test]
    fn what_is_not_there_is_refused_by_its_name() {
        let flinks = choose(Some("TLS_RSA_WITH_AES_128_CBC_SHA"), None).unwrap_err();
        let flinks = flinks.to_string();
        assert!(
            flinks.contains("security.ssl.algorithms: 'TLS_RSA_WITH_AES_128_CBC_SHA'"),
            "{flinks}"
        );
        assert!(
            flinks.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            "{flinks}"
        );
        for protocol in ["TLSv1.1", "TLS", "SSLv3,TLSv1.2", ","] {
            let error = choose(None, Some(protocol)).unwrap_err().to_string();
            assert!(error.contains("security.ssl.protocol"), "{error}");
        }
        let error = choose(Some("TLS_AES_256_GCM_SHA384"), Some("TLSv1.2")).unwrap_err();
        assert!(error.to_string().contains("security.ssl.protocol"), "{error}");
    }
}
