//! How a cluster is reached: addresses, TLS, SASL, deadlines.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millrace_core::Result;

/// What a client is made with. `Default` reaches nothing: `bootstrap` must be filled.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `host:port`, tried in order; IPv6 hosts in brackets.
    pub bootstrap: Vec<String>,
    pub client_id: String,
    pub security: Security,
    /// For one request on one connection, connecting included.
    pub request_timeout: Duration,
    /// For a whole call with all its retries (Java: `default.api.timeout.ms`).
    pub call_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            bootstrap: Vec::new(),
            client_id: "millrace".to_owned(),
            security: Security::default(),
            request_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
        }
    }
}

/// `security.protocol` taken apart: PLAINTEXT is neither, SASL_SSL both.
#[derive(Debug, Clone, Default)]
pub struct Security {
    pub tls: Option<Tls>,
    pub sasl: Option<Sasl>,
}

#[derive(Clone)]
pub struct Tls {
    pub roots: Roots,
    /// For brokers that ask for a client certificate.
    pub client: Option<ClientCertificate>,
    /// `ssl.endpoint.identification.algorithm`: `https` is true, empty is false.
    pub verify_hostname: bool,
}

/// Whom to trust.
#[derive(Clone)]
pub enum Roots {
    /// The machine's certificate bundle.
    System,
    /// One or more certificates.
    Pem(Vec<u8>),
}

#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate, then those between it and the root.
    pub chain_pem: Vec<u8>,
    /// Not encrypted: PKCS#8, PKCS#1 or SEC1.
    pub key_pem: Vec<u8>,
}

#[derive(Clone)]
pub enum Sasl {
    Plain {
        username: String,
        password: String,
    },
    Scram {
        hash: ScramHash,
        username: String,
        password: String,
    },
    OauthBearer(Arc<dyn TokenSource>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScramHash {
    Sha256,
    Sha512,
}

/// Gives a token for each new connection.
pub trait TokenSource: Send + Sync {
    /// A token that is valid now. May block (an identity provider is asked).
    fn token(&self) -> Result<Token>;
}

#[derive(Clone)]
pub struct Token {
    /// The compact form of a JWT, or whatever else the broker takes.
    pub value: String,
    /// Who the token is about.
    pub principal: String,
    /// Milliseconds since the epoch.
    pub expires_at: i64,
    /// SASL extensions (KIP-342).
    pub extensions: Vec<(String, String)>,
}

impl Sasl {
    /// The mechanism's name as Kafka writes it.
    pub fn mechanism(&self) -> &'static str {
        match self {
            Sasl::Plain { .. } => "PLAIN",
            Sasl::Scram {
                hash: ScramHash::Sha256,
                ..
            } => "SCRAM-SHA-256",
            Sasl::Scram {
                hash: ScramHash::Sha512,
                ..
            } => "SCRAM-SHA-512",
            Sasl::OauthBearer(_) => "OAUTHBEARER",
        }
    }
}

// Secrets stay out of logs: neither keys nor passwords are shown.

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mechanism())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("roots", &self.roots)
            .field("client", &self.client.is_some())
            .field("verify_hostname", &self.verify_hostname)
            .finish()
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Roots::System => "System",
            Roots::Pem(_) => "Pem",
        })
    }
}
