//! Values that are not shown.

/// What is shown in their place, as in Flink.
pub const HIDDEN: &str = "******";

/// Parts of keys whose values are secrets: Flink's list.
const PARTS: &[&str] = &[
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

/// The value of an option as it may be shown.
pub fn shown<'a>(key: &str, value: &'a str) -> &'a str {
    let key = key.to_ascii_lowercase();
    match PARTS.iter().any(|part| key.contains(part)) {
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
            "s3.secret-key",
            "security.ssl.rest.key-password",
            "properties.sasl.jaas.config",
            "Some.Token",
        ] {
            assert_eq!(shown(key, "x"), HIDDEN, "{key}");
        }
        assert_eq!(shown("parallelism.default", "2"), "2");
    }
}
