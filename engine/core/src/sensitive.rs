//! What of a configuration nobody is shown.

/// What stands in place of a secret, as in Flink.
pub const HIDDEN: &str = "******";

/// Words that make the value of a key a secret, wherever they stand in it: Flink's list.
const WORDS: &[&str] = &[
    "password",
    "secret",
    "fs.azure.account.key",
    "apikey",
    "api-key",
    "auth-params",
    "service-key",
    "token",
    "basic-auth",
    "jaas.config",
    "http-headers",
];

/// Whether the value of an option, of the configuration or of a table, is a secret.
pub fn is_sensitive(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    WORDS.iter().any(|word| key.contains(word))
}

/// A value as it may be logged, printed and served.
pub fn shown<'a>(key: &str, value: &'a str) -> &'a str {
    match is_sensitive(key) {
        true => HIDDEN,
        false => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_keys() {
        for key in [
            "security.ssl.internal.keystore-password",
            "security.ssl.key-password",
            "s3.secret-key",
            "fs.azure.account.key.store.blob.core.windows.net",
            "properties.sasl.jaas.config",
            "rest.client.Http-Headers",
            "avro-confluent.basic-auth.user-info",
            "my.TOKEN",
        ] {
            assert_eq!(shown(key, "x"), HIDDEN, "{key}");
        }
        for key in [
            "security.ssl.internal.keystore",
            "s3.endpoint",
            "parallelism.default",
        ] {
            assert_eq!(shown(key, "x"), "x", "{key}");
        }
    }
}
