//! Calls of other people's HTTP services beside the data path: a platform's API, a webhook.
//!
//! Owns TLS by the public authorities (and those of an operator's file), the time limit and the bound on a reply. It
//! deliberately does not retry and follows no redirect: whether a call may be repeated, only its caller knows.
//!
//! **Was it sent?** [`CallError::is_before_sending`] says whether nothing can have reached the other side. In doubt it says no.
//!
//! An address may be a secret (a webhook's path is one), and so may a header: no error names either.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

/// The largest reply that is read; a larger one is an error.
pub const REPLY_MAX: usize = 4 * 1024 * 1024;
/// How long the rest of a reply is waited for where its head is what counts.
pub const REST_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may take to be made; the whole call's limit counts, too.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that are kept idle to one host.
const IDLE_MAX: usize = 1;
/// How long they are kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Https {
    client: reqwest::Client,
}

/// A reply, whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, at most [`REPLY_MAX`] bytes.
    pub body: Bytes,
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file of authorities.
    #[error("the authorities in {} could not be read", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// TLS.
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
    /// The client.
    #[error("the HTTP client could not be set up")]
    Client(#[source] reqwest::Error),
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection came about: nothing was sent.
    #[error("no connection to {host}")]
    Connect {
        /// The host.
        host: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// The time was over; the request may have arrived.
    #[error("no reply from {host} within {}", humantime::format_duration(*after))]
    TimedOut {
        /// The host.
        host: String,
        /// The limit.
        after: Duration,
    },
    /// The request, or the reply, was lost on the way.
    #[error("the reply from {host} was lost")]
    Lost {
        /// The host.
        host: String,
        /// How.
        #[source]
        source: reqwest::Error,
    },
    /// More than anybody should say.
    #[error("the reply from {host} is larger than {REPLY_MAX} bytes")]
    TooLarge {
        /// The host.
        host: String,
    },
}

impl CallError {
    /// Nothing can have reached the other side.
    pub const fn is_before_sending(&self) -> bool {
        matches!(self, Self::Connect { .. })
    }
}

impl Https {
    /// A client that trusts the public authorities, and those in the PEM file `authorities`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds something else.
    pub fn new(authorities: Option<&Path>) -> Result<Self, SetupError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = authorities {
            let unreadable = |source| SetupError::Authorities { path: path.to_owned(), source };
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                roots.add(certificate.map_err(unreadable)?).map_err(SetupError::Tls)?;
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(SetupError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .use_preconfigured_tls(tls)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(concat!("outrigger/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(SetupError::Client)?;
        Ok(Self { client })
    }

    /// Posts JSON and reads the whole reply, both within `timeout`.
    ///
    /// # Errors
    ///
    /// There is no reply, or it is too large. An answer of any status is no error.
    pub async fn post_json(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        let content = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = self.client.post(url.clone()).headers(headers).header(content.0, content.1).body(body);
        self.call(url, request, timeout).await
    }

    /// Posts JSON and waits at most `timeout` for the reply's head, which is what counts. A success's body is not read; of
    /// another one comes what is there within [`REST_TIMEOUT`], at most `most` bytes.
    ///
    /// # Errors
    ///
    /// There is no head. What becomes of the body is no error.
    pub async fn post_for_status(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Vec<u8>,
        timeout: Duration,
        most: usize,
    ) -> Result<Reply, CallError> {
        let host = url.host_str().unwrap_or_default();
        let content = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = self.client.post(url.clone()).headers(headers).header(content.0, content.1).body(body);
        let response = match tokio::time::timeout(timeout, request.send()).await {
            Ok(response) => response.map_err(|error| failed(host, error, timeout))?,
            Err(_late) => return Err(CallError::TimedOut { host: host.to_owned(), after: timeout }),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let body = if status.is_success() { Bytes::new() } else { beginning(response, most).await };
        Ok(Reply { status, headers, body })
    }

    /// Gets a page and reads the whole reply, both within `timeout`.
    ///
    /// # Errors
    ///
    /// As for [`Self::post_json`].
    pub async fn get(&self, url: &Url, headers: HeaderMap, timeout: Duration) -> Result<Reply, CallError> {
        self.call(url, self.client.get(url.clone()).headers(headers), timeout).await
    }

    async fn call(
        &self,
        url: &Url,
        request: reqwest::RequestBuilder,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let call = async {
            let response = request.send().await.map_err(|error| failed(&host, error, timeout))?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = whole(response, &host, timeout).await?;
            Ok(Reply { status, headers, body })
        };
        // The connection's own limit is a part of this one.
        match tokio::time::timeout(timeout, call).await {
            Ok(reply) => reply,
            Err(_late) => Err(CallError::TimedOut { host: host.clone(), after: timeout }),
        }
    }
}

async fn whole(mut response: reqwest::Response, host: &str, timeout: Duration) -> Result<Bytes, CallError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(host, error, timeout))? {
        if body.len() + chunk.len() > REPLY_MAX {
            return Err(CallError::TooLarge { host: host.to_owned() });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// What comes of a body soon, at most so many bytes.
async fn beginning(mut response: reqwest::Response, most: usize) -> Bytes {
    let mut body = BytesMut::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = most - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() >= room {
                break;
            }
        }
    };
    // What has come by then is enough.
    let _ = tokio::time::timeout(REST_TIMEOUT, read).await;
    body.freeze()
}

fn failed(host: &str, error: reqwest::Error, timeout: Duration) -> CallError {
    let (host, source) = (host.to_owned(), error.without_url());
    match () {
        () if source.is_connect() || source.is_builder() => CallError::Connect { host, source },
        () if source.is_timeout() => CallError::TimedOut { host, after: timeout },
        () => CallError::Lost { host, source },
    }
}

/// The error and all its causes on one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    async fn once(reply: &'static [u8]) -> (Url, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/secret-path", listener.local_addr().unwrap())).unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let n = stream.read(&mut head).await.unwrap();
            stream.write_all(reply).await.unwrap();
            String::from_utf8_lossy(&head[..n]).into_owned()
        });
        (url, served)
    }

    #[tokio::test]
    async fn a_reply_of_any_status_is_read_whole_and_no_redirect_is_followed() {
        let https = Https::new(None).unwrap();
        let reply = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nhm";
        let (url, served) = once(reply).await;
        let reply = https.post_json(&url, HeaderMap::new(), b"{}".to_vec(), LONG).await.unwrap();
        assert_eq!((reply.status, reply.body.as_ref()), (StatusCode::FOUND, b"hm".as_slice()));
        let head = served.await.unwrap().to_lowercase();
        assert!(
            head.starts_with("post /secret-path") && head.contains("content-type: application/json"),
            "{head}"
        );
    }

    #[tokio::test]
    async fn where_the_status_counts_a_body_that_is_lost_or_too_long_changes_nothing() {
        let https = Https::new(None).unwrap();
        let not_found = "HTTP/1.1 404 Not Found\r\ncontent-length: 10\r\n\r\n";
        let table: [(&'static str, &'static str, u16, &'static str); 4] = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", "half", 200, ""),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "no length", 200, ""),
            (not_found, "no", 404, "no"),
            (not_found, "no_service", 404, "no_s"),
        ];
        for (head, body, status, read) in table {
            let reply: &'static str = format!("{head}{body}").leak();
            let (url, _served) = once(reply.as_bytes()).await;
            let reply = https.post_for_status(&url, HeaderMap::new(), Vec::new(), LONG, 4).await.unwrap();
            assert_eq!((reply.status.as_u16(), &reply.body[..]), (status, read.as_bytes()), "{head}{body}");
        }
    }

    #[tokio::test]
    async fn what_was_not_sent_is_told_from_what_may_have_been_and_no_error_names_the_address() {
        let https = Https::new(None).unwrap();
        let closed = Url::parse("http://127.0.0.1:1/secret-path").unwrap();
        let refused = https.post_json(&closed, HeaderMap::new(), Vec::new(), LONG).await.unwrap_err();
        assert!(refused.is_before_sending(), "{refused}");
        let (url, _served) = once(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        let lost = https.post_json(&url, HeaderMap::new(), Vec::new(), LONG).await.unwrap_err();
        assert!(!lost.is_before_sending(), "{lost}");
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/secret-path", silent.local_addr().unwrap())).unwrap();
        let late = https.post_json(&url, HeaderMap::new(), Vec::new(), Duration::from_millis(50)).await;
        let late = late.unwrap_err();
        assert!(matches!(late, CallError::TimedOut { .. }), "{late}");
        for error in [refused, lost, late] {
            let text = format!("{} {error:?}", chain(&error));
            assert!(!text.contains("secret-path"), "{text}");
        }
    }
}
