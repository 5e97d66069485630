//! What a failure is called, for somebody who reads it at night: what was tried, with whom, what came back, and what to do
//! where that is not plain. It knows no secret: a server's own words name users and databases, never passwords.

use std::error::Error as _;
use std::io;

use rustls::{CertificateError, Error as TlsError};
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::prober::dial::io_failure;
use crate::prober::postgres::session::Lost;
use crate::prober::probe::{Failure, chain};

/// Whether the server ends the session with this word.
pub(super) fn is_fatal(error: &DbError) -> bool {
    match error.parsed_severity() {
        Some(severity) => matches!(severity, Severity::Fatal | Severity::Panic),
        // Servers before 9.6, and some poolers, say it in their own language only.
        None => matches!(error.severity(), "FATAL" | "PANIC"),
    }
}

/// Whether it says that all its places are taken.
pub(super) fn is_full(error: &Error) -> bool {
    error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS)
}

/// Whether it only says that this cannot be asked here: for lack of rights, or because this server does not know the
/// question. The answer is left out then, which is no failure.
pub(super) fn is_not_for_us(error: &DbError) -> bool {
    error.code().code().starts_with("42") || *error.code() == SqlState::FEATURE_NOT_SUPPORTED
}

/// The server was reached and did not let us in.
pub(super) fn refused(server: &str, error: &Error) -> Failure {
    if let Some(said) = error.as_db_error() {
        return Failure::Down(refused_by_word(server, said));
    }
    if let Some(failed) = cause::<TlsError>(error) {
        return Failure::Down(format!("TLS with {server} failed: {}", certificate(failed)));
    }
    if let Some(failed) = cause::<io::Error>(error) {
        let what = if failed.kind() == io::ErrorKind::UnexpectedEof {
            format!(
                "{server} closed the connection before a session began (no Postgres server, or one without room)"
            )
        } else {
            format!("{server} broke off the start of a session")
        };
        return io_failure(&what, failed);
    }
    if error.is_closed() {
        return Failure::Down(format!("{server} closed the connection before a session began"));
    }
    let said = chain(error);
    Failure::Down(if said.ends_with("server does not support TLS") {
        format!(
            "{server} does not speak TLS, which sslmode asks for: switch it on there, or use sslmode=prefer"
        )
    } else if said.ends_with("password missing") {
        format!("{server} asks for a password, and none is given")
    } else {
        format!("{server} did not begin a session: {said}")
    })
}

fn refused_by_word(server: &str, said: &DbError) -> String {
    let message = said.message();
    let what = match said.code() {
        &SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            format!("{server} refused the login")
        }
        &SqlState::TOO_MANY_CONNECTIONS => format!("{server} takes no more connections"),
        &SqlState::CANNOT_CONNECT_NOW => format!("{server} takes no connections now"),
        _ => format!("{server} refused the session"),
    };
    format!("{what}: {message}{}", told_more(said))
}

/// What the server says beside its message.
fn told_more(said: &DbError) -> String {
    said.detail().or(said.hint()).map(|more| format!(" ({more})")).unwrap_or_default()
}

/// A session ended while something was asked.
pub(super) fn lost(server: &str, asked: &str, lost: &Lost) -> Failure {
    let Some(error) = &lost.0 else {
        return Failure::Down(format!("{server} closed the connection instead of answering {asked}"));
    };
    if let Some(said) = error.as_db_error() {
        return Failure::Down(format!("{server} ended the session: {}{}", said.message(), told_more(said)));
    }
    if let Some(failed) = cause::<io::Error>(error) {
        return io_failure(
            &format!("{server} broke off the connection instead of answering {asked}"),
            failed,
        );
    }
    if error.is_closed() {
        return Failure::Down(format!("{server} closed the connection instead of answering {asked}"));
    }
    Failure::Down(format!("{server} gave no proper answer to {asked}: {}", chain(error)))
}

/// A statement was refused.
pub(super) fn statement(said: &DbError) -> String {
    format!("{}{}", said.message(), told_more(said))
}

/// The first cause of that type. I/O errors hide the error that they wrap from `source`.
fn cause<T: std::error::Error + 'static>(error: &Error) -> Option<&T> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}

/// A fault of TLS, and what to do where it is the certificate.
fn certificate(error: &TlsError) -> String {
    let TlsError::InvalidCertificate(fault) = error else { return error.to_string() };
    if matches!(fault, CertificateError::Expired | CertificateError::ExpiredContext { .. }) {
        return format!("its certificate has expired ({fault})");
    }
    if matches!(fault, CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) {
        return format!("its certificate is not valid yet ({fault}); is a clock wrong?");
    }
    if matches!(fault, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) {
        return format!(
            "its certificate is for another name ({fault}); sslmode=verify-ca does not look at the name"
        );
    }
    if *fault == CertificateError::UnknownIssuer {
        return "its certificate comes from an authority that is not known here: name its file by sslrootcert or \
                ca_file, or use sslmode=require without one, which verifies nobody"
            .to_owned();
    }
    format!("its certificate is not accepted: {fault}")
}
