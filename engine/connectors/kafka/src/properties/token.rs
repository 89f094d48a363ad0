//! Tokens of SASL/OAUTHBEARER: read from a file, or unsecured ones for development.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_core::{Error, Result};
use millrace_kafka_wire::{Token, TokenSource};
use serde_json::{Map, Value};

use super::jaas::Login;

fn now_millis() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64)
}

/// A JWT in a file that something else keeps fresh (a mounted service-account token, for one).
pub struct FileToken {
    pub path: PathBuf,
    /// The claim that names the principal: `sub` unless configured.
    pub subject: String,
}

impl TokenSource for FileToken {
    fn token(&self) -> Result<Token> {
        let shown = self.path.display();
        let text = std::fs::read_to_string(&self.path).map_err(|e| {
            Error::external("cannot read the token's file")
                .with_detail(shown.to_string())
                .with_source(e)
        })?;
        let value = text.trim().to_owned();
        let wrong = |what: &str| {
            Error::external(format!("the token's file holds no usable token: {what}"))
                .with_detail(shown.to_string())
        };
        let claims = claims(&value).ok_or_else(|| wrong("not a JWT"))?;
        let principal = claims
            .get(&self.subject)
            .and_then(Value::as_str)
            .ok_or_else(|| wrong("no claim that names the principal"))?;
        let expires = claims
            .get("exp")
            .and_then(Value::as_f64)
            .ok_or_else(|| wrong("no claim 'exp'"))?;
        Ok(Token {
            principal: principal.to_owned(),
            expires_at: (expires * 1000.0) as i64,
            value,
            extensions: Vec::new(),
        })
    }
}

fn claims(jwt: &str) -> Option<Map<String, Value>> {
    let mut parts = jwt.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Value::Object(claims) => Some(claims),
        _ => None,
    }
}

/// What Java's `OAuthBearerUnsecuredLoginCallbackHandler` makes: a JWS without a signature.
pub struct UnsecuredToken {
    claims: Map<String, Value>,
    principal: String,
    lifetime_seconds: i64,
}

impl UnsecuredToken {
    /// From the options of `OAuthBearerLoginModule`.
    pub fn from_login(login: &Login) -> Result<Self> {
        let mut claims = Map::new();
        let mut principal_claim = "sub".to_owned();
        let mut lifetime_seconds = 3600;
        let wrong = |key: &str| {
            Error::user(format!(
                "login module OAuthBearerLoginModule has a wrong option '{key}'"
            ))
            .with_detail("'properties.sasl.jaas.config'")
        };
        for (key, value) in &login.options {
            if let Some(name) = key.strip_prefix("unsecuredLoginStringClaim_") {
                claims.insert(name.to_owned(), Value::String(value.clone()));
            } else if let Some(name) = key.strip_prefix("unsecuredLoginNumberClaim_") {
                let number: f64 = value.parse().map_err(|_| wrong(key))?;
                claims.insert(name.to_owned(), serde_json::json!(number));
            } else if let Some(name) = key.strip_prefix("unsecuredLoginListClaim_") {
                claims.insert(name.to_owned(), list_claim(value));
            } else {
                match key.as_str() {
                    "unsecuredLoginPrincipalClaimName" => principal_claim = value.clone(),
                    "unsecuredLoginLifetimeSeconds" => {
                        lifetime_seconds = value.parse().map_err(|_| wrong(key))?
                    }
                    "unsecuredLoginScopeClaimName" => {}
                    _ => return Err(wrong(key)),
                }
            }
        }
        let principal = claims
            .get(&principal_claim)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| {
                Error::user("login module OAuthBearerLoginModule lacks the claim that names the principal")
                .with_hint(format!(
                    "add unsecuredLoginStringClaim_{principal_claim}=\"...\", or read tokens from a file: \
                     'properties.sasl.oauthbearer.token.endpoint.url' = 'file:///...'"
                ))
            })?;
        Ok(UnsecuredToken {
            claims,
            principal,
            lifetime_seconds,
        })
    }
}

/// `|a|b` is a list whose separator is its first character.
fn list_claim(value: &str) -> Value {
    let mut chars = value.chars();
    let items: Vec<Value> = match chars.next() {
        Some(separator) => chars
            .as_str()
            .split(separator)
            .map(|s| Value::String(s.to_owned()))
            .collect(),
        None => Vec::new(),
    };
    Value::Array(items)
}

impl TokenSource for UnsecuredToken {
    fn token(&self) -> Result<Token> {
        let now = now_millis();
        let expires = now + self.lifetime_seconds * 1000;
        let mut claims = self.claims.clone();
        claims
            .entry("iat")
            .or_insert_with(|| serde_json::json!(now as f64 / 1000.0));
        claims
            .entry("exp")
            .or_insert_with(|| serde_json::json!(expires as f64 / 1000.0));
        let body = URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string());
        let value = format!("{}.{body}.", URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}"));
        Ok(Token {
            value,
            principal: self.principal.clone(),
            expires_at: expires,
            extensions: Vec::new(),
        })
    }
}

/// Whether a login module's option is a SASL extension (KIP-342), which librdkafka's Rust side
/// cannot set again when it refreshes a token.
pub fn is_extension(option: &str) -> bool {
    option.starts_with("extension_") || option.starts_with("unsecuredLoginExtension_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::jaas;

    #[test]
    fn an_unsecured_token_says_who_and_how_long() {
        let login = jaas::parse(
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
             unsecuredLoginStringClaim_sub=\"alice\" unsecuredLoginListClaim_scope=\"|a|b\" unsecuredLoginLifetimeSeconds=\"60\";",
        )
        .unwrap();
        let token = UnsecuredToken::from_login(&login).unwrap().token().unwrap();
        assert_eq!(token.principal, "alice");
        let claims = claims(&token.value).unwrap();
        assert_eq!(claims["sub"], "alice");
        assert_eq!(claims["scope"], serde_json::json!(["a", "b"]));
        let lifetime = claims["exp"].as_f64().unwrap() - claims["iat"].as_f64().unwrap();
        assert!((lifetime - 60.0).abs() < 0.01, "{lifetime}");
    }

    #[test]
    fn a_token_from_a_file() {
        let payload = URL_SAFE_NO_PAD.encode("{\"sub\":\"bob\",\"exp\":2000000000}");
        let jwt = format!("{}.{payload}.sig", URL_SAFE_NO_PAD.encode("{\"alg\":\"RS256\"}"));
        let path = std::env::temp_dir().join(format!("millrace-token-{}", std::process::id()));
        std::fs::write(&path, format!("{jwt}\n")).unwrap();
        let source = FileToken {
            path: path.clone(),
            subject: "sub".to_owned(),
        };
        let token = source.token().unwrap();
        assert_eq!(
            (token.principal.as_str(), token.expires_at),
            ("bob", 2_000_000_000_000)
        );
        assert_eq!(token.value, jwt);
        std::fs::write(&path, "nonsense").unwrap();
        assert!(source.token().is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(source.token().is_err());
    }
}
