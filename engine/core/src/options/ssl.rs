//! TLS, under Flink's keys: `internal` among JobManagers and TaskManagers, `rest` for REST and its clients.

use crate::config::ConfigOption;

options! {
    pub const INTERNAL_ENABLED: ConfigOption<bool> = ConfigOption::new(
        "security.ssl.internal.enabled",
        Some("false"),
        "whether JobManagers and TaskManagers speak TLS with one another, and check each other's certificates",
    );
    pub const RPC_ENABLED: ConfigOption<bool> = ConfigOption::new(
        "pekko.ssl.enabled",
        Some("true"),
        "whether security.ssl.internal.enabled counts for control",
    )
    .with_fallback(&["akka.ssl.enabled"]);
    pub const DATA_ENABLED: ConfigOption<bool> = ConfigOption::new(
        "taskmanager.data.ssl.enabled",
        Some("true"),
        "whether security.ssl.internal.enabled counts for data between TaskManagers",
    );
    pub const INTERNAL_KEYSTORE: ConfigOption<String> = ConfigOption::new(
        "security.ssl.internal.keystore",
        None,
        "file with the private key and its certificates for TLS within the cluster: PKCS12, JKS or PEM",
    )
    .with_fallback(&["security.ssl.keystore"]);
    pub const INTERNAL_KEYSTORE_PASSWORD: ConfigOption<String> = ConfigOption::new(
        "security.ssl.internal.keystore-password",
        None,
        "password of security.ssl.internal.keystore",
    )
    .with_fallback(&["security.ssl.keystore-password"]);
    pub const INTERNAL_KEY_PASSWORD: ConfigOption<String> = ConfigOption::new(
        "security.ssl.internal.key-password",
        None,
        "password of the key in security.ssl.internal.keystore; without it the store's",
    )
    .with_fallback(&["security.ssl.key-password"]);
    pub const INTERNAL_KEYSTORE_TYPE: ConfigOption<String> = ConfigOption::new(
        "security.ssl.internal.keystore-type",
        None,
        "PKCS12, JKS or PEM; without it the file shows it",
    );
    pub const INTERNAL_TRUSTSTORE: ConfigOption<String> = ConfigOption::new(
        "security.ssl.internal.truststore",
        None,
        "file with the certificates that peers within the cluster are checked against: PKCS12, JKS or PEM",
    )
    .with_fallback(&["security.ssl.truststore"]);
    pub const INTERNAL_TRUSTSTORE_PASSWORD: ConfigOption<String> = ConfigOption::new(
        "security.ssl.internal.truststore-password",
        None,
        "password of security.ssl.internal.truststore",
    )
    .with_fallback(&["security.ssl.truststore-password"]);
    pub const INTERNAL_TRUSTSTORE_TYPE: ConfigOption<String> = ConfigOption::new(
        "security.ssl.internal.truststore-type",
        None,
        "PKCS12, JKS or PEM; without it the file shows it",
    );
    pub const INTERNAL_FINGERPRINT: ConfigOption<String> = ConfigOption::new(
        "security.ssl.internal.cert.fingerprint",
        None,
        "SHA-1 or SHA-256 of the certificates that peers within the cluster may have, with commas; without it all that \
         the trust store vouches for",
    );
    pub const INTERNAL_HANDSHAKE_TIMEOUT: ConfigOption<i64> = ConfigOption::new(
        "security.ssl.internal.handshake-timeout",
        Some("-1"),
        "milliseconds that a peer within the cluster has for its handshake; -1 for 10 seconds",
    )
    .with_fallback(&["security.ssl.handshake-timeout"]);

    pub const REST_ENABLED: ConfigOption<bool> = ConfigOption::new(
        "security.ssl.rest.enabled",
        Some("false"),
        "whether REST is spoken over TLS",
    );
    pub const REST_AUTHENTICATION_ENABLED: ConfigOption<bool> = ConfigOption::new(
        "security.ssl.rest.authentication-enabled",
        Some("false"),
        "whether clients of REST have to show a certificate that security.ssl.rest.truststore vouches for",
    );
    pub const REST_KEYSTORE: ConfigOption<String> = ConfigOption::new(
        "security.ssl.rest.keystore",
        None,
        "file with the private key and its certificates for REST: PKCS12, JKS or PEM",
    )
    .with_fallback(&["security.ssl.keystore"]);
    pub const REST_KEYSTORE_PASSWORD: ConfigOption<String> = ConfigOption::new(
        "security.ssl.rest.keystore-password",
        None,
        "password of security.ssl.rest.keystore",
    )
    .with_fallback(&["security.ssl.keystore-password"]);
    pub const REST_KEY_PASSWORD: ConfigOption<String> = ConfigOption::new(
        "security.ssl.rest.key-password",
        None,
        "password of the key in security.ssl.rest.keystore; without it the store's",
    )
    .with_fallback(&["security.ssl.key-password"]);
    pub const REST_KEYSTORE_TYPE: ConfigOption<String> = ConfigOption::new(
        "security.ssl.rest.keystore-type",
        None,
        "PKCS12, JKS or PEM; without it the file shows it",
    );
    pub const REST_TRUSTSTORE: ConfigOption<String> = ConfigOption::new(
        "security.ssl.rest.truststore",
        None,
        "file with the certificates that the other side of REST is checked against: PKCS12, JKS or PEM; without it a \
         client has the machine's",
    )
    .with_fallback(&["security.ssl.truststore"]);
    pub const REST_TRUSTSTORE_PASSWORD: ConfigOption<String> = ConfigOption::new(
        "security.ssl.rest.truststore-password",
        None,
        "password of security.ssl.rest.truststore",
    )
    .with_fallback(&["security.ssl.truststore-password"]);
    pub const REST_TRUSTSTORE_TYPE: ConfigOption<String> = ConfigOption::new(
        "security.ssl.rest.truststore-type",
        None,
        "PKCS12, JKS or PEM; without it the file shows it",
    );
    pub const REST_FINGERPRINT: ConfigOption<String> = ConfigOption::new(
        "security.ssl.rest.cert.fingerprint",
        None,
        "SHA-1 or SHA-256 of the certificates that the other side of REST may have, with commas; without it all that \
         the trust store vouches for",
    );

    pub const PROTOCOL: ConfigOption<String> = ConfigOption::new(
        "security.ssl.protocol",
        None,
        "TLSv1.2 and TLSv1.3, with a comma; without it both",
    );
    pub const ALGORITHMS: ConfigOption<String> = ConfigOption::new(
        "security.ssl.algorithms",
        None,
        "cipher suites in their standard names, with commas; without it all that are there",
    );
    pub const VERIFY_HOSTNAME: ConfigOption<bool> = ConfigOption::new(
        "security.ssl.verify-hostname",
        Some("true"),
        "whether a client of REST checks that the server's certificate has the name it was reached by",
    );
}
