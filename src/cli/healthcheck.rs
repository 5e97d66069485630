//! `outrigger healthcheck`: what a container's HEALTHCHECK runs, for an image need not hold a shell or curl.
//!
//! Owns where the agent's own health page is, by the same configuration as `outrigger run`, and one request to it. What
//! counts as healthy it does not know: the agent says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::cli::{EXIT_FAILED, EXIT_USAGE, print};
use crate::config::{Config, Faults, Flags, Sources, load};

/// How long all of it may take; after that the agent is called hung. Below what HEALTHCHECK allows, so that the reason
/// is still told.
const LIMIT: Duration = Duration::from_secs(2);
/// The longest body that is looked at for a reason, in bytes; a longer one is not told.
const BODY_MAX: usize = 16 * 1024;
/// The longest word of the agent's that is told, in characters; the rest is cut.
const WORD_MAX: usize = 40;
/// The health page on the admin port, which is asked where the public port has none.
const ADMIN_PAGE: &str = "/api/health";

/// Asks the agent that runs with the same configuration.
#[derive(Debug, Default, Args)]
#[command(
    after_help = "The port is that of the configuration, so give PORT or OUTRIGGER__LISTEN__PUBLIC to the container rather than \
                  --listen to `run`.\n\nExit codes: 0 healthy, 1 not healthy or no answer within 2 s, 64 wrong configuration."
)]
pub(super) struct HealthcheckArgs {
    /// The configuration file [default: outrigger.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "OUTRIGGER_CONFIG")]
    config: Option<PathBuf>,
    /// The agent's public address, where `run` was given it as a flag
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A page to be asked for, at the first of these addresses that takes a connection.
#[derive(Debug, PartialEq)]
struct Page {
    addresses: Vec<SocketAddr>,
    path: String,
}

/// What the agent said.
#[derive(Debug)]
struct Answer {
    address: SocketAddr,
    status: StatusCode,
    /// Its own word for it, such as `starting`.
    word: Option<String>,
}

/// Why it is not healthy, or cannot be asked.
#[derive(Debug, thiserror::Error)]
enum Unhealthy {
    #[error("the configuration does not say where the agent is:\n{0}")]
    Configuration(Faults),
    #[error(
        "there is nothing to ask: `proxy.health_path` and `listen.admin` are both off, or have port 0; turn one on, \
         with a port"
    )]
    NothingToAsk,
    #[error("no connection to {address}: does the agent run, and with the same configuration?")]
    Connect {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("no answer from {address} within {}", humantime::format_duration(*limit))]
    TimedOut { address: SocketAddr, limit: Duration },
    #[error("the exchange with {address} broke off")]
    Broken {
        address: SocketAddr,
        #[source]
        source: hyper::Error,
    },
    #[error("{}", said(.0))]
    Status(Answer),
}

impl Unhealthy {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::NothingToAsk => EXIT_USAGE,
            Self::Connect { .. } | Self::TimedOut { .. } | Self::Broken { .. } | Self::Status(_) => {
                EXIT_FAILED
            }
        }
    }
}

/// Asks, and says in one line what came of it. On this thread alone: a container may be near its limit of processes, and
/// threads count.
pub(super) fn healthcheck(args: &HealthcheckArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("outrigger: could not start: build the runtime: {error}");
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let asked = page_of(args).and_then(|page| runtime.block_on(ask_within(LIMIT, &page)));
    match asked {
        Ok(answer) if args.json => {
            print(
                &json!({ "healthy": true, "status": answer.status.as_u16(), "reason": said(&answer) })
                    .to_string(),
            );
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            print(&said(&answer));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let code = ExitCode::from(error.exit_code());
            let status =
                if let Unhealthy::Status(answer) = &error { Some(answer.status.as_u16()) } else { None };
            let reason = format!("{:#}", anyhow::Error::from(error));
            if args.json {
                print(&json!({ "healthy": false, "status": status, "reason": reason }).to_string());
            } else {
                eprintln!("outrigger: not healthy: {reason}");
            }
            code
        }
    }
}

fn page_of(args: &HealthcheckArgs) -> Result<Page, Unhealthy> {
    let flags = Flags { listen: args.listen.clone(), ..Flags::default() };
    let loaded = load(Sources::of_process(args.config.clone(), flags)).map_err(Unhealthy::Configuration)?;
    page(&loaded.config).ok_or(Unhealthy::NothingToAsk)
}

/// The public port first: a container that cannot be reached there is of no use. Its page may be left to the app, and
/// then the admin port has one. Port 0 was chosen by the kernel and is not known here.
fn page(config: &Config) -> Option<Page> {
    let public = config.proxy.health_path.clone().map(|path| (config.listen.public, path));
    let admin = config.listen.admin.map(|admin| (admin, ADMIN_PAGE.to_owned()));
    let (address, path) = [public, admin].into_iter().flatten().find(|(address, _)| address.port() != 0)?;
    Some(Page { addresses: reached_by(address), path })
}

/// Where a listener on this address is reached from the same machine. One on `[::]` takes IPv4, too, unless the kernel
/// says otherwise; so both loopbacks are tried.
fn reached_by(listener: SocketAddr) -> Vec<SocketAddr> {
    let port = listener.port();
    match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![(Ipv4Addr::LOCALHOST, port).into()],
        IpAddr::V6(ip) if ip.is_unspecified() => {
            vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
        }
        IpAddr::V4(_) | IpAddr::V6(_) => vec![listener],
    }
}

async fn ask_within(limit: Duration, page: &Page) -> Result<Answer, Unhealthy> {
    let address = page.addresses[0];
    let asked = tokio::time::timeout(limit, ask(page)).await;
    let answer = asked.map_err(|_late| Unhealthy::TimedOut { address, limit })??;
    if answer.status.is_success() { Ok(answer) } else { Err(Unhealthy::Status(answer)) }
}

async fn ask(page: &Page) -> Result<Answer, Unhealthy> {
    let (stream, address) = connect(&page.addresses).await?;
    let request = Request::get(&page.path)
        .header(header::HOST, "localhost")
        .header(header::USER_AGENT, concat!("outrigger-healthcheck/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .expect("the configuration checked that the path is one");
    let broken = |source| Unhealthy::Broken { address, source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async {
        let reply = sender.send_request(request).await.map_err(broken)?;
        let status = reply.status();
        // The status decides; a body that breaks off or is too long only leaves the reason untold.
        let body = Limited::new(reply.into_body(), BODY_MAX).collect().await;
        let word = body.ok().and_then(|body| word(&body.to_bytes()));
        Ok(Answer { address, status, word })
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The connection may end in the same poll that delivers the last of the answer.
        _ended = connection => exchange.await,
    }
}

async fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), Unhealthy> {
    let mut first = None;
    for &address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok((stream, address)),
            Err(source) => first = first.or(Some(Unhealthy::Connect { address, source })),
        }
    }
    Err(first.expect("a page has at least one address"))
}

/// The agent's own word in its answer.
fn word(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let word = answer.get("status")?.as_str()?;
    Some(word.chars().filter(|c| !c.is_control()).take(WORD_MAX).collect())
}

fn said(answer: &Answer) -> String {
    let Answer { address, status, word } = answer;
    match word {
        Some(word) => format!("the agent at {address} says `{word}` ({})", status.as_u16()),
        None => format!("the agent at {address} answered {}", status.as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    fn configured(options: &[(&str, &str)]) -> Option<Page> {
        let env = options.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let sources =
            Sources { file: None, directory: Path::new("/nowhere").into(), env, flags: Flags::default() };
        page(&load(sources).unwrap().config)
    }

    fn expected(addresses: &[&str], path: &str) -> Option<Page> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Some(Page { addresses, path: path.to_owned() })
    }

    #[test]
    fn the_page_is_where_the_configuration_puts_it() {
        let both = ["127.0.0.1:8080", "[::1]:8080"];
        assert_eq!(configured(&[]), expected(&both, "/api/health"));
        let own = [("PORT", "81"), ("OUTRIGGER__PROXY__HEALTH_PATH", "/up")];
        assert_eq!(configured(&own), expected(&["127.0.0.1:81", "[::1]:81"], "/up"));
        let four = [("OUTRIGGER__LISTEN__PUBLIC", "0.0.0.0:82")];
        assert_eq!(configured(&four), expected(&["127.0.0.1:82"], "/api/health"));
        let named = [("OUTRIGGER__LISTEN__PUBLIC", "10.1.2.3:83")];
        assert_eq!(configured(&named), expected(&["10.1.2.3:83"], "/api/health"));
    }

    #[test]
    fn where_the_public_port_has_no_page_the_admin_port_is_asked() {
        let no_path = ("OUTRIGGER__PROXY__HEALTH_PATH", "off");
        let admin = ["127.0.0.1:9900", "[::1]:9900"];
        assert_eq!(configured(&[no_path]), expected(&admin, "/api/health"));
        let any_port = ("OUTRIGGER__LISTEN__PUBLIC", "127.0.0.1:0");
        assert_eq!(configured(&[any_port]), expected(&admin, "/api/health"));
        assert_eq!(configured(&[no_path, ("OUTRIGGER__LISTEN__ADMIN", "off")]), None);
    }

    /// Asks a listener that answers so; the address is left out of what was said.
    async fn asked(answer: &str) -> Result<String, (u8, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let page = Page { addresses: vec![address], path: "/api/health".to_owned() };
        let served = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
            }
            assert!(head.starts_with(b"GET /api/health HTTP/1.1\r\nhost: localhost\r\n"), "{head:?}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (result, ()) = tokio::join!(ask_within(LIMIT, &page), served);
        let plain = |text: String| text.replace(&address.to_string(), "ADDRESS");
        result
            .map(|answer| plain(said(&answer)))
            .map_err(|error| (error.exit_code(), plain(format!("{:#}", anyhow::Error::from(error)))))
    }

    fn reply(status: u16, body: &str) -> String {
        format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn only_2xx_is_healthy_and_the_agents_word_is_told() {
        let healthy = asked(&reply(200, r#"{"status":"healthy"}"#)).await;
        assert_eq!(healthy, Ok("the agent at ADDRESS says `healthy` (200)".to_owned()));
        assert_eq!(asked(&reply(204, "")).await, Ok("the agent at ADDRESS answered 204".to_owned()));
        let starting = asked(&reply(503, r#"{"status":"starting"}"#)).await;
        assert_eq!(starting, Err((1, "the agent at ADDRESS says `starting` (503)".to_owned())));
        assert_eq!(
            asked(&reply(302, "moved")).await,
            Err((1, "the agent at ADDRESS answered 302".to_owned()))
        );
        let long = asked(&reply(503, &"x".repeat(BODY_MAX + 1))).await;
        assert_eq!(long, Err((1, "the agent at ADDRESS answered 503".to_owned())));
    }

    #[tokio::test]
    async fn what_is_no_http_is_not_healthy() {
        for answer in ["", "hello\r\n\r\n"] {
            let (code, reason) = asked(answer).await.unwrap_err();
            assert_eq!(code, 1);
            assert!(reason.starts_with("the exchange with ADDRESS broke off: "), "{reason}");
        }
    }

    #[tokio::test]
    async fn an_agent_that_takes_the_connection_and_is_silent_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let page = Page { addresses: vec![address], path: "/".to_owned() };
        let limit = Duration::from_millis(20);
        let error = ask_within(limit, &page).await.unwrap_err();
        assert_eq!(error.to_string(), format!("no answer from {address} within 20ms"));
        assert_eq!(error.exit_code(), 1);
    }

    #[tokio::test]
    async fn the_second_address_is_tried_where_the_first_refuses() {
        let open = TcpListener::bind("[::1]:0").await.unwrap();
        let open_at = open.local_addr().unwrap();
        // Bound, so that nobody else takes the port, and not listening, so that it refuses.
        let closed = TcpSocket::new_v4().unwrap();
        closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let closed_at = closed.local_addr().unwrap();
        assert_eq!(connect(&[closed_at, open_at]).await.unwrap().1, open_at);
        let error = connect(&[closed_at]).await.unwrap_err();
        let told =
            format!("no connection to {closed_at}: does the agent run, and with the same configuration?");
        assert_eq!((error.to_string(), error.exit_code()), (told, 1));
    }
}
