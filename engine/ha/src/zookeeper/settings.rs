//! The options of `high-availability.zookeeper.*`.

use std::time::Duration;

use millrace_core::{Configuration, Result, options};
use zookeeper_client::{Acls, CreateMode, CreateOptions};

use super::paths::Paths;
use crate::settings::{positive, wrong};

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `host:port,host:port`, without spaces.
    pub(super) quorum: String,
    pub(super) paths: Paths,
    pub(super) session_timeout: Duration,
    pub(super) connection_timeout: Duration,
    pub(super) retry_wait: Duration,
    pub(super) retry_attempts: u32,
    acls: Acls<'static>,
    /// Scheme and authorization.
    pub(super) logins: Vec<(String, String)>,
    /// Whether a leader leads on without a connection, for as long as its session cannot be over.
    pub(super) tolerates_suspension: bool,
}

impl Settings {
    pub(crate) fn from_config(config: &Configuration) -> Result<Settings> {
        let quorum = config.get(&options::HA_ZOOKEEPER_QUORUM)?;
        let quorum: String = quorum.split_whitespace().collect();
        if quorum.split(',').any(|server| !is_server(server)) {
            return Err(wrong(
                options::HA_ZOOKEEPER_QUORUM.key,
                &quorum,
                "it takes servers: host:port,host:port",
            ));
        }
        let logins = match config.get_optional(&options::HA_ZOOKEEPER_AUTHORIZATION)? {
            None => Vec::new(),
            Some(text) => logins(&text)?,
        };
        let acls = match config.get(&options::HA_ZOOKEEPER_ACL)?.as_str() {
            "open" => Acls::anyone_all(),
            "creator" if !logins.is_empty() => Acls::creator_all(),
            "creator" => {
                return Err(wrong(
                    options::HA_ZOOKEEPER_ACL.key,
                    "creator",
                    "the creator has to log in: set high-availability.zookeeper.client.authorization, such as \
                     digest:user:password (SASL is not supported)",
                ));
            }
            other => {
                return Err(wrong(
                    options::HA_ZOOKEEPER_ACL.key,
                    other,
                    "it takes open or creator",
                ));
            }
        };
        Ok(Settings {
            quorum,
            paths: Paths::from_config(config)?,
            session_timeout: positive(config, &options::HA_ZOOKEEPER_SESSION_TIMEOUT)?,
            connection_timeout: positive(config, &options::HA_ZOOKEEPER_CONNECTION_TIMEOUT)?,
            retry_wait: config.get(&options::HA_ZOOKEEPER_RETRY_WAIT)?,
            retry_attempts: config.get(&options::HA_ZOOKEEPER_RETRY_ATTEMPTS)?,
            acls,
            logins,
            tolerates_suspension: config.get(&options::HA_ZOOKEEPER_TOLERATE_SUSPENSION)?,
        })
    }

    /// For how long a session lives at least after its connection was found to be lost. That is found out within the
    /// connection timeout, which for the client is two fifths of the session's if it is more than three.
    pub(super) fn left_without_connection(&self, session_timeout: Duration) -> Duration {
        let noticed = match self.connection_timeout > session_timeout * 3 / 5 {
            true => session_timeout * 2 / 5,
            false => self.connection_timeout,
        };
        session_timeout * 9 / 10 - noticed
    }

    pub(super) fn node(&self, mode: CreateMode) -> CreateOptions<'static> {
        mode.with_acls(self.acls)
    }
}

/// A name or address, perhaps a port, perhaps a path that all nodes are below.
fn is_server(text: &str) -> bool {
    let address = text.split('/').next().unwrap_or_default();
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    !host.is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// `scheme:authorization`; several are separated by commas, as Flink writes a map.
fn logins(text: &str) -> Result<Vec<(String, String)>> {
    let login = |entry: &str| {
        let (scheme, authorization) = entry.split_once(':')?;
        Some((scheme.trim().to_owned(), authorization.trim().to_owned()))
    };
    let logins: Option<Vec<_>> = text.split(',').map(login).collect();
    // The value is a secret, and not shown.
    logins.ok_or_else(|| {
        wrong(
            options::HA_ZOOKEEPER_AUTHORIZATION.key,
            "***",
            "it takes scheme:authorization, such as digest:user:password",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Configuration {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn refused(pairs: &[(&str, &str)]) -> String {
        Settings::from_config(&config(pairs)).unwrap_err().to_string()
    }

    #[test]
    fn a_missing_quorum_is_named() {
        assert!(refused(&[]).contains("high-availability.zookeeper.quorum"));
        for quorum in ["", "a:1,", "a:x", ":2181", "a:0"] {
            let e = refused(&[("high-availability.zookeeper.quorum", quorum)]);
            assert!(e.contains("high-availability.zookeeper.quorum"), "{e}");
        }
    }

    #[test]
    fn a_quorum_is_servers_with_spaces_or_without() {
        for quorum in ["a:1, b:2 ,c", "[::1]:2181,b/chroot"] {
            let settings =
                Settings::from_config(&config(&[("high-availability.zookeeper.quorum", quorum)])).unwrap();
            assert_eq!(settings.quorum, quorum.replace(' ', ""));
            assert_eq!(settings.session_timeout, Duration::from_secs(60));
        }
    }

    #[test]
    fn a_session_outlives_its_connection_by_what_is_left_of_its_timeout() {
        let mut config = config(&[("high-availability.zookeeper.quorum", "a")]);
        for (connection, session, left) in [(15, 60, 39), (15, 4, 2), (2, 30, 25)] {
            let key = "high-availability.zookeeper.client.connection-timeout";
            config.set(key, format!("{connection} s"));
            let settings = Settings::from_config(&config).unwrap();
            let session = Duration::from_secs(session);
            assert_eq!(
                settings.left_without_connection(session),
                Duration::from_secs(left)
            );
        }
    }

    #[test]
    fn creators_must_log_in_and_a_login_is_not_shown() {
        let quorum = ("high-availability.zookeeper.quorum", "a");
        let creator = ("high-availability.zookeeper.client.acl", "creator");
        let login = "high-availability.zookeeper.client.authorization";
        assert!(refused(&[quorum, creator]).contains(login));
        let settings =
            Settings::from_config(&config(&[quorum, creator, (login, "digest:me:secret")])).unwrap();
        assert_eq!(settings.logins, [("digest".to_owned(), "me:secret".to_owned())]);
        let e = refused(&[quorum, (login, "secret")]);
        assert!(e.contains(login) && !e.contains("secret'"), "{e}");
    }
}
