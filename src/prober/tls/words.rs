//! What went wrong in a TLS handshake, for people.

use std::io;
use std::time::Duration;

use rustls::{CertificateError, Error as TlsError};

use crate::engine::time::Time;
use crate::prober::dial::io_failure;
use crate::prober::probe::{Failure, chain};

/// How many of the names in a certificate are told; the others are not.
const NAMES_MAX: usize = 4;

/// A TLS handshake with `server` that failed.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's own errors: the others have no better words than its"
)]
pub(crate) fn failure(server: &str, error: &io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    let Some(inner) = inner else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                Failure::Down(format!("{server} closed the connection during the TLS handshake"))
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Failure::Down(format!("{server} reset the connection during the TLS handshake"))
            }
            _ => io_failure(&format!("no TLS handshake with {server}"), error),
        };
    };
    match inner {
        TlsError::FailedToGetCurrentTime | TlsError::FailedToGetRandomBytes => {
            Failure::Unable(format!("no TLS handshake was possible: {}", chain(inner)))
        }
        TlsError::InvalidCertificate(why) => Failure::Down(format!("{server}: {}", certificate(why))),
        TlsError::InvalidMessage(_) => {
            Failure::Down(format!("{server} does not speak TLS on this port: {}", chain(inner)))
        }
        TlsError::AlertReceived(alert) => {
            Failure::Down(format!("{server} ended the TLS handshake with the alert {alert:?}"))
        }
        TlsError::PeerIncompatible(_) => Failure::Down(format!(
            "{server} has no version or cipher of TLS in common with us: {}",
            chain(inner)
        )),
        other => Failure::Down(format!("no TLS handshake with {server}: {}", chain(other))),
    }
}

/// Why a certificate is not taken.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's own errors: the others have no better words than its"
)]
fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::ExpiredContext { time, not_after } => {
            let (now, ended) = (Duration::from_secs(time.as_secs()), Duration::from_secs(not_after.as_secs()));
            format!("its certificate ended {} ago, on {}", lasting(now.saturating_sub(ended)), at(ended))
        }
        CertificateError::Expired => "its certificate has ended".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            let begins = Duration::from_secs(not_before.as_secs());
            format!("its certificate is not valid before {}", at(begins))
        }
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().take(NAMES_MAX).map(|name| bare(name)).collect();
            let more = if presented.len() > NAMES_MAX { " and others" } else { "" };
            let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
            format!("its certificate is for {names}{more}, not for {}", expected.to_str())
        }
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::UnknownIssuer => {
            "its certificate comes from an authority that is not known here; a private one is made known by a file of \
             authorities in the probe's options"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "its certificate was not signed with the key of the authority that it names; perhaps the authority was made \
             anew, and one side still has the old one"
                .to_owned()
        }
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        other => format!("its certificate was not accepted: {other}"),
    }
}

/// The name in the library's way of writing it, `DnsName("api")`.
fn bare(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, inner)| inner).trim_matches(['"', ')'])
}

fn at(since_epoch: Duration) -> Time {
    Time::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// A time that is days, or else hours.
pub(crate) fn lasting(time: Duration) -> String {
    let hours = time.as_secs() / 3_600;
    match (hours / 24, hours) {
        (0, 0) => "less than an hour".to_owned(),
        (0, 1) => "1 hour".to_owned(),
        (0, hours) => format!("{hours} hours"),
        (1, _) => "1 day".to_owned(),
        (days, _) => format!("{days} days"),
    }
}
