//! A line to a server that speaks in plain text or over TLS, opened anew each time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::probes::{Server, Tls};
use crate::engine::health::Phase;
use crate::engine::time::Time;
use crate::prober::dial::{Dialed, Dialer, Stage};
use crate::prober::probe::{Failure, Reply, chain};
use crate::prober::tls;

/// What is spoken over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens lines to one server.
#[derive(Debug)]
pub(crate) struct Line {
    server: Server,
    tls: Option<Tls>,
    /// The protocol that TLS is to agree on.
    alpn: &'static [u8],
    dialer: Dialer,
    /// Made of `tls` at the first need, and made anew after a handshake that failed: the file of authorities may have
    /// changed.
    config: Option<Arc<ClientConfig>>,
}

/// An open line.
pub(crate) struct Opened {
    pub(crate) stream: Box<dyn Stream>,
    address: SocketAddr,
    phases: Vec<Phase>,
    agreed: Option<Agreed>,
}

/// What TLS came to.
struct Agreed {
    version: &'static str,
    /// When the server's certificate ends.
    ends: Option<Time>,
}

impl Line {
    /// To `server`, over TLS where there is `tls`.
    pub(crate) fn new(server: Server, tls: Option<Tls>, alpn: &'static [u8], dialer: Dialer) -> Self {
        Self { server, tls, alpn, dialer, config: None }
    }

    /// The server.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// What it dials with.
    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Whether it is encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Opens it.
    pub(crate) async fn open(&mut self, stage: &mut Stage) -> Result<Opened, Failure> {
        let config = self.config()?;
        let Dialed { stream, address, resolve, connect } = self.dialer.connect(&self.server, stage).await?;
        let mut phases =
            vec![Phase { name: "resolve", took: resolve }, Phase { name: "connect", took: connect }];
        let Some(config) = config else {
            return Ok(Opened { stream: Box::new(stream), address, phases, agreed: None });
        };
        let began = self.dialer.instant();
        let stream = self.encrypt(config, stream, stage).await.inspect_err(|_| self.config = None)?;
        phases.push(Phase { name: "tls", took: self.dialer.instant().duration_since(began) });
        let (_, session) = stream.get_ref();
        let own = session.peer_certificates().and_then(|all| all.first());
        let agreed = Agreed { version: version(session.protocol_version()), ends: own.and_then(tls::expiry) };
        Ok(Opened { stream: Box::new(stream), address, phases, agreed: Some(agreed) })
    }

    fn config(&mut self) -> Result<Option<Arc<ClientConfig>>, Failure> {
        let Some(tls) = &self.tls else { return Ok(None) };
        if self.config.is_none() {
            let made = tls::client(tls, &[self.alpn]).map_err(|error| Failure::Unable(chain(&error)))?;
            self.config = Some(made);
        }
        Ok(self.config.clone())
    }

    async fn encrypt(
        &self,
        config: Arc<ClientConfig>,
        stream: TcpStream,
        stage: &mut Stage,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let Server { host, .. } = &self.server;
        let name = ServerName::try_from(host.clone())
            .map_err(|_| Failure::Unable(format!("`{host}` is no name that a certificate could be for")))?;
        stage.enter(format!("the TLS handshake with {}", self.server));
        TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| tls::failure(&self.server.to_string(), &error))
    }
}

impl Opened {
    /// Tells what was learnt on the way: the phases so far, `address`, and over TLS `tls_version`, `certificate_days` and
    /// `certificate_ends`; and a concern where the certificate ends within `certificate_min`.
    pub(crate) fn tell(&mut self, now: Time, certificate_min: Duration, reply: &mut Reply) {
        reply.phases.append(&mut self.phases);
        reply.text("address", self.address.to_string());
        let Some(Agreed { version, ends }) = &self.agreed else { return };
        reply.text("tls_version", *version);
        let Some(ends) = *ends else { return };
        reply.number("certificate_days", days(now, ends));
        reply.text("certificate_ends", ends.to_string());
        if ends <= now {
            reply.concern(format!("its certificate ended {} ago, on {ends}", tls::lasting(now.since(ends))));
        } else if ends.since(now) < certificate_min {
            reply.concern(format!("its certificate ends in {}, on {ends}", tls::lasting(ends.since(now))));
        }
    }
}

/// Whole days from `now` to `ends`; below zero where that is over.
fn days(now: Time, ends: Time) -> f64 {
    const DAY_MS: f64 = 86_400_000.0;
    ((ends.as_millis() as f64 - now.as_millis() as f64) / DAY_MS).floor()
}

fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        // The library speaks no other.
        Some(_) | None => "unknown",
    }
}
