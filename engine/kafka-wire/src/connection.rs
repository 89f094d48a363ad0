//! One connection: frames, correlation ids, negotiated versions, TLS and SASL.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader, SaslAuthenticateRequest,
    SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::{ClientConfig, Sasl};
use crate::error::CallError;
use crate::sasl;

/// A response that says it is longer is taken for garbage (or for another protocol).
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One request at a time. After an error, or a call that was not awaited to its end, it must be
/// dropped: what comes next on it would be the answer to something else.
pub struct Connection {
    address: String,
    client_id: StrBytes,
    stream: Box<dyn Stream>,
    next_correlation_id: i32,
    /// API key to the broker's least and greatest version.
    versions: HashMap<i16, (i16, i16)>,
}

impl Connection {
    pub async fn open(
        address: &str,
        config: &ClientConfig,
        tls: Option<&TlsConnector>,
    ) -> Result<Connection, CallError> {
        let failed = |source| CallError::Connection {
            address: address.to_owned(),
            source,
        };
        let tcp = TcpStream::connect(address).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(tcp),
            Some(connector) => Box::new(handshake(address, connector, tcp).await?),
        };
        let mut connection = Connection {
            address: address.to_owned(),
            client_id: StrBytes::from_string(config.client_id.clone()),
            stream,
            next_correlation_id: 0,
            versions: HashMap::new(),
        };
        connection.negotiate().await?;
        if let Some(sasl) = &config.security.sasl {
            connection.authenticate(sasl).await?;
        }
        Ok(connection)
    }

    /// Sends a request in the newest version that both sides speak, from `oldest` to `newest`.
    pub async fn call<R: Request>(
        &mut self,
        request: &R,
        oldest: i16,
        newest: i16,
    ) -> Result<R::Response, CallError> {
        let version = self.version::<R>(oldest, newest)?;
        self.call_version(request, version).await
    }

    fn version<R: Request>(&self, oldest: i16, newest: i16) -> Result<i16, CallError> {
        let unsupported = || CallError::Unsupported {
            address: self.address.clone(),
            request: short_name::<R>(),
        };
        let &(least, greatest) = self.versions.get(&R::KEY).ok_or_else(unsupported)?;
        let version = greatest.min(newest).min(R::VERSIONS.max);
        if version < least.max(R::VERSIONS.min).max(oldest) {
            Err(unsupported())
        } else {
            Ok(version)
        }
    }

    async fn call_version<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, CallError> {
        let mut body = self.exchange(request, version).await?;
        R::Response::decode(&mut body, version).map_err(|e| self.malformed(e))
    }

    /// Sends a frame and gives the body of the answer, behind its header.
    async fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<Bytes, CallError> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        let mut header = RequestHeader::default();
        header.request_api_key = R::KEY;
        header.request_api_version = version;
        header.correlation_id = correlation_id;
        header.client_id = Some(self.client_id.clone());
        let mut frame = BytesMut::zeroed(4);
        header
            .encode(&mut frame, R::header_version(version))
            .and_then(|()| request.encode(&mut frame, version))
            .map_err(|e| self.malformed(e))?;
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());

        let address = self.address.clone();
        let failed = |source| CallError::Connection {
            address: address.clone(),
            source,
        };
        self.stream.write_all(&frame).await.map_err(failed)?;
        self.stream.flush().await.map_err(failed)?;
        let length = self.stream.read_u32().await.map_err(failed)? as usize;
        if !(4..=MAX_RESPONSE_BYTES).contains(&length) {
            return Err(self.malformed(format!("its length is {length} bytes")));
        }
        let mut response = vec![0; length];
        self.stream.read_exact(&mut response).await.map_err(failed)?;
        let mut response = Bytes::from(response);
        let header = ResponseHeader::decode(&mut response, R::Response::header_version(version))
            .map_err(|e| self.malformed(e))?;
        if header.correlation_id != correlation_id {
            let got = header.correlation_id;
            return Err(self.malformed(format!("correlation id {got} instead of {correlation_id}")));
        }
        Ok(response)
    }

    async fn negotiate(&mut self) -> Result<(), CallError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("millrace"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut body = self.exchange(&request, 3).await?;
        let code = body.get(..2).map(|b| i16::from_be_bytes([b[0], b[1]]));
        let response = if code == Some(ResponseError::UnsupportedVersion.code()) {
            // The broker is older: it answers in version 0, and takes that (KIP-511).
            self.call_version(&ApiVersionsRequest::default(), 0).await?
        } else {
            ApiVersionsResponse::decode(&mut body, 3).map_err(|e| self.malformed(e))?
        };
        if let Some(error) = response.error_code.err() {
            return Err(CallError::Response(error));
        }
        self.versions = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        Ok(())
    }

    async fn authenticate(&mut self, sasl: &Sasl) -> Result<(), CallError> {
        let refused = |address: &str, reason: String| CallError::Refused {
            address: address.to_owned(),
            reason: format!("SASL {}: {reason}", sasl.mechanism()),
        };
        let request =
            SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(sasl.mechanism()));
        let response = self.call_version(&request, 1).await?;
        if response.error_code.is_err() {
            let enabled: Vec<_> = response.mechanisms.iter().map(|m| m.to_string()).collect();
            return Err(refused(
                &self.address,
                format!("the broker takes only {}", enabled.join(", ")),
            ));
        }
        let token = match sasl {
            Sasl::OauthBearer(source) => {
                let source = source.clone();
                let token = tokio::task::spawn_blocking(move || source.token())
                    .await
                    .map_err(|e| refused(&self.address, e.to_string()))?
                    .map_err(|e| refused(&self.address, e.to_string()))?;
                Some(token)
            }
            _ => None,
        };
        let (mut exchange, mut message) =
            sasl::start(sasl, token.as_ref()).map_err(|e| refused(&self.address, e))?;
        loop {
            let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(message));
            let response = self.call(&request, 0, 1).await?;
            if let Some(error) = response.error_code.err() {
                let said = response.error_message.map(|m| m.to_string()).unwrap_or_default();
                return Err(refused(
                    &self.address,
                    if said.is_empty() { error.to_string() } else { said },
                ));
            }
            match exchange
                .answer(&response.auth_bytes)
                .map_err(|e| refused(&self.address, e))?
            {
                sasl::Step::Done => return Ok(()),
                sasl::Step::Send(next) => message = next,
            }
        }
    }

    fn malformed(&self, reason: impl std::fmt::Display) -> CallError {
        CallError::Malformed {
            address: self.address.clone(),
            reason: reason.to_string(),
        }
    }
}

async fn handshake(
    address: &str,
    connector: &TlsConnector,
    tcp: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, CallError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = rustls::pki_types::ServerName::try_from(host).map_err(|e| CallError::Refused {
        address: address.to_owned(),
        reason: format!("not a name that TLS can check: {e}"),
    })?;
    connector.connect(name, tcp).await.map_err(|e| {
        // A certificate that is refused now will be refused again; a lost connection will not.
        if e.kind() == io::ErrorKind::InvalidData {
            CallError::Refused {
                address: address.to_owned(),
                reason: format!("TLS: {e}"),
            }
        } else {
            CallError::Connection {
                address: address.to_owned(),
                source: e,
            }
        }
    })
}

/// `kafka_protocol::messages::end_txn_request::EndTxnRequest` to `EndTxn`.
fn short_name<R>() -> &'static str {
    let name = std::any::type_name::<R>();
    let name = name.rsplit("::").next().unwrap_or(name);
    name.strip_suffix("Request").unwrap_or(name)
}

/// Runs a call with a deadline; what it ran on is dropped when the deadline passes.
pub async fn within<T>(
    address: &str,
    limit: Duration,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => Err(CallError::Timeout {
            address: address.to_owned(),
            after: limit,
        }),
    }
}
