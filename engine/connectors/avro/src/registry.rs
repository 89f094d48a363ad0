//! The client of a schema registry that speaks Confluent's REST API.
//!
//! A call waits for its answer: it is made once for each schema.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millrace_core::{Error, Result};
use millrace_stores::Kind;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Attempts where an answer may come later, over all addresses.
const ATTEMPTS: usize = 3;
const JSON: &str = "application/vnd.schemaregistry.v1+json";

/// Who is asked and how.
#[derive(Clone)]
pub struct Settings {
    table: String,
    urls: Vec<Url>,
    authorization: Authorization,
    trust: Option<(String, Option<String>)>,
    key: Option<(String, Option<String>)>,
}

#[derive(Clone)]
enum Authorization {
    /// What the address says before its `@`.
    Url,
    Basic(String),
    Bearer(String),
}

impl Settings {
    /// `properties` are in the names of Confluent's client.
    pub fn new(table: &str, urls: &str, properties: &BTreeMap<String, String>) -> Result<Settings> {
        let wrong = |what: String, hint: &str| {
            Err(Error::user(what)
                .with_detail(format!("table '{table}'"))
                .with_hint(hint.to_owned()))
        };
        let mut known = Known::default();
        for (name, value) in properties {
            let value = value.clone();
            match name.strip_prefix("schema.registry.").unwrap_or(name) {
                "basic.auth.credentials.source" => known.basic_source = Some(value),
                "basic.auth.user.info" => known.user_info = Some(value),
                "bearer.auth.credentials.source" => known.bearer_source = Some(value),
                "bearer.auth.token" => known.token = Some(value),
                "ssl.truststore.location" => known.trust = Some(value),
                "ssl.truststore.password" => known.trust_password = Some(value),
                "ssl.keystore.location" => known.key = Some(value),
                "ssl.keystore.password" => known.key_password = Some(value),
                _ => {
                    return Err(
                        Error::unsupported(format!("the schema registry's property '{name}'"))
                            .with_detail(format!("table '{table}'"))
                            .with_hint("take it away"),
                    );
                }
            }
        }
        let mut parsed = Vec::new();
        for url in urls.split(',').map(str::trim).filter(|url| !url.is_empty()) {
            match Url::parse(url) {
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => parsed.push(url),
                _ => {
                    return wrong(
                        "the schema registry's address is none".to_owned(),
                        "it takes http://host:port or https://host:port, with a path if there is one",
                    );
                }
            }
        }
        if parsed.is_empty() {
            return wrong(
                "the schema registry has no address".to_owned(),
                "set the format's option 'url'",
            );
        }
        let basic = known
            .basic_source
            .as_deref()
            .map(|s| s.trim().to_ascii_uppercase());
        let bearer = known
            .bearer_source
            .as_deref()
            .map(|s| s.trim().to_ascii_uppercase());
        let authorization = match (basic.as_deref(), bearer.as_deref()) {
            (Some(_), Some(_)) => {
                return wrong(
                    "a schema registry is asked with basic or with bearer authentication, not with both"
                        .to_owned(),
                    "take one of the two credentials-source away",
                );
            }
            (None, None) if known.user_info.is_some() => {
                return wrong(
                    "'basic-auth.user-info' is used with a credentials-source only".to_owned(),
                    "set 'basic-auth.credentials-source' = 'USER_INFO'",
                );
            }
            (None, None) if known.token.is_some() => {
                return wrong(
                    "'bearer-auth.token' is used with a credentials-source only".to_owned(),
                    "set 'bearer-auth.credentials-source' = 'STATIC_TOKEN'",
                );
            }
            (None | Some("URL"), None) => Authorization::Url,
            (Some("USER_INFO"), None) => match known.user_info {
                Some(info) => Authorization::Basic(info),
                None => {
                    return wrong(
                        "'basic-auth.credentials-source' = 'USER_INFO' needs 'basic-auth.user-info'"
                            .to_owned(),
                        "set it to user:password",
                    );
                }
            },
            (None, Some("STATIC_TOKEN")) => match known.token {
                Some(token) => Authorization::Bearer(token),
                None => {
                    return wrong(
                        "'bearer-auth.credentials-source' = 'STATIC_TOKEN' needs 'bearer-auth.token'"
                            .to_owned(),
                        "set it",
                    );
                }
            },
            (Some(source), None) => {
                return Err(
                    Error::unsupported(format!("'basic-auth.credentials-source' = '{source}'"))
                        .with_detail(format!("table '{table}'"))
                        .with_hint("it takes URL or USER_INFO"),
                );
            }
            (None, Some(source)) => {
                return Err(
                    Error::unsupported(format!("'bearer-auth.credentials-source' = '{source}'"))
                        .with_detail(format!("table '{table}'"))
                        .with_hint("it takes STATIC_TOKEN"),
                );
            }
        };
        Ok(Settings {
            table: table.to_owned(),
            urls: parsed,
            authorization,
            trust: known.trust.map(|location| (location, known.trust_password)),
            key: known.key.map(|location| (location, known.key_password)),
        })
    }
}

#[derive(Default)]
struct Known {
    basic_source: Option<String>,
    user_info: Option<String>,
    bearer_source: Option<String>,
    token: Option<String>,
    trust: Option<String>,
    trust_password: Option<String>,
    key: Option<String>,
    key_password: Option<String>,
}

pub struct Client {
    settings: Settings,
    client: Option<reqwest::Client>,
}

impl Client {
    /// Asks nobody yet.
    pub fn new(settings: Settings) -> Result<Client> {
        if let Authorization::Basic(info) = &settings.authorization
            && !info.contains(':')
        {
            return Err(Error::user("'basic-auth.user-info' is not user:password")
                .with_detail(format!("table '{}'", settings.table)));
        }
        Ok(Client {
            settings,
            client: None,
        })
    }

    /// The text of the schema with a number.
    pub fn schema(&mut self, id: u32) -> Result<String> {
        let path = ["schemas", "ids", &id.to_string()];
        let answer = self.call(Method::GET, &path, None)?;
        if answer
            .get("references")
            .and_then(Value::as_array)
            .is_some_and(|r| !r.is_empty())
        {
            return Err(
                Error::unsupported("a schema that refers to others in the registry")
                    .with_detail(format!("schema {id}")),
            );
        }
        let kind = answer.get("schemaType").and_then(Value::as_str).unwrap_or("AVRO");
        if kind != "AVRO" {
            return Err(
                Error::user("a record's schema is not Avro").with_detail(format!("schema {id} is {kind}"))
            );
        }
        match answer.get("schema").and_then(Value::as_str) {
            Some(schema) => Ok(schema.to_owned()),
            None => Err(Error::external("the schema registry's answer has no schema")
                .with_detail(format!("schema {id}"))),
        }
    }

    /// Registers a schema under a subject, if it is not there; its number.
    pub fn register(&mut self, subject: &str, schema: &str) -> Result<u32> {
        let path = ["subjects", subject, "versions"];
        let answer = self.call(Method::POST, &path, Some(json!({ "schema": schema })))?;
        answer
            .get("id")
            .and_then(Value::as_u64)
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| Error::external("the schema registry's answer has no number of the schema"))
    }

    fn call(&mut self, method: Method, path: &[&str], body: Option<Value>) -> Result<Value> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.client.insert(connect(&self.settings)?).clone(),
        };
        let settings = &self.settings;
        waiting(async {
            let mut last = None;
            for attempt in 0..ATTEMPTS.max(settings.urls.len()) {
                let base = &settings.urls[attempt % settings.urls.len()];
                match once(&client, settings, base, method.clone(), path, body.as_ref()).await {
                    Ok(answer) => return Ok(answer),
                    Err(Failure::Final(e)) => return Err(e),
                    Err(Failure::Passing(e)) => last = Some(e),
                }
                tokio::time::sleep(Duration::from_millis(200 << attempt.min(4))).await;
            }
            Err(last.unwrap_or_else(|| Error::internal("a schema registry was not asked")))
        })
    }
}

enum Failure {
    /// Another attempt may do better.
    Passing(Error),
    Final(Error),
}

async fn once(
    client: &reqwest::Client,
    settings: &Settings,
    base: &Url,
    method: Method,
    path: &[&str],
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let mut url = base.clone();
    let from_url = (!url.username().is_empty()).then(|| {
        let password = url.password().unwrap_or_default();
        format!("{}:{password}", url.username())
    });
    // Neither is ever refused for an http address.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    let shown = format!("table '{}': {method} {url}", settings.table);
    let authorization = match &settings.authorization {
        Authorization::Url => from_url.map(|info| format!("Basic {}", STANDARD.encode(decoded(&info)))),
        Authorization::Basic(info) => Some(format!("Basic {}", STANDARD.encode(info))),
        Authorization::Bearer(token) => Some(format!("Bearer {token}")),
    };
    let mut request = client
        .request(method, url)
        .header(ACCEPT, format!("{JSON}, application/json"));
    if let Some(authorization) = authorization {
        let mut value = HeaderValue::from_str(&authorization).map_err(|_| {
            Failure::Final(
                Error::user("credentials of a schema registry cannot be sent").with_detail(shown.clone()),
            )
        })?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    if let Some(body) = body {
        request = request.header(CONTENT_TYPE, JSON).body(body.to_string());
    }
    let unreachable = |e: reqwest::Error| {
        let mut cause: &dyn std::error::Error = &e;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let cause = cause.to_string();
        // What the other end of a TLS connection says has no type here.
        let hint = match cause.contains("fatal alert") {
            true => {
                "it refuses the connection: see whether it wants a certificate, and trusts that of \
                 'ssl.keystore.location'"
            }
            false => "see whether it runs, and whether the option 'url' is right",
        };
        Failure::Passing(
            Error::external("the schema registry does not answer")
                .with_detail(format!("{shown}: {cause}"))
                .with_hint(hint),
        )
    };
    let answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    let text = answer.text().await.map_err(unreachable)?;
    if status.is_success() {
        return serde_json::from_str(&text).map_err(|e| {
            Failure::Final(
                Error::external("the schema registry's answer is no JSON")
                    .with_detail(shown.clone())
                    .with_hint("the option 'url' may lack a path, as '/apis/ccompat/v7' of Apicurio")
                    .with_source(e),
            )
        });
    }
    let said: Option<Value> = serde_json::from_str(&text).ok();
    let said = said
        .as_ref()
        .and_then(|v| v.get("message").or_else(|| v.get("title")))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let detail = format!("{shown}: {status} {said}");
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Final(
            Error::user("the schema registry refuses the credentials")
                .with_detail(detail)
                .with_hint("see the options 'basic-auth.*' and 'bearer-auth.*'"),
        ),
        StatusCode::NOT_FOUND => Failure::Final(
            Error::user("the schema registry does not have what it is asked for")
                .with_detail(detail)
                .with_hint("see whether the option 'url' names the right registry, with its path"),
        ),
        StatusCode::CONFLICT => Failure::Final(
            Error::user(
                "the schema registry refuses a schema that is not compatible with the subject's earlier one",
            )
            .with_detail(detail)
            .with_hint("take another subject, or change the subject's compatibility"),
        ),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Failure::Passing(Error::external("the schema registry fails").with_detail(detail))
        }
        _ => Failure::Final(Error::user("the schema registry refuses the request").with_detail(detail)),
    })
}

/// Percent signs of an address resolved.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

fn connect(settings: &Settings) -> Result<reqwest::Client> {
    let failed = |e: reqwest::Error| {
        Error::user("the schema registry's certificates cannot be used")
            .with_detail(format!("table '{}'", settings.table))
            .with_source(e)
    };
    let mut builder = reqwest::Client::builder().timeout(TIMEOUT).use_rustls_tls();
    if let Some((location, password)) = &settings.trust {
        let pem = millrace_stores::trusted(Path::new(location.trim()), Kind::Binary, password.as_deref())?;
        builder = builder.tls_built_in_root_certs(false);
        for certificate in reqwest::Certificate::from_pem_bundle(&pem).map_err(failed)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    if let Some((location, password)) = &settings.key {
        let key = millrace_stores::key(
            Path::new(location.trim()),
            Kind::Binary,
            password.as_deref(),
            password.as_deref(),
        )?;
        let both = [key.key_pem, key.chain_pem].concat();
        builder = builder.identity(reqwest::Identity::from_pem(&both).map_err(failed)?);
    }
    builder.build().map_err(failed)
}

/// Runs a call to its end, whatever thread this is: one of a runtime may not wait for its own.
fn waiting<T: Send>(call: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| {
                Error::external("no thread for asking the schema registry could be started").with_source(e)
            })?;
        runtime.block_on(call)
    };
    std::thread::scope(|scope| {
        scope
            .spawn(run)
            .join()
            .unwrap_or_else(|_| Err(Error::internal("asking the schema registry ended in a panic")))
    })
}
