//! What a gRPC server answered, in words.

use std::io;

use http::HeaderMap;

use crate::config::probes::Server;
use crate::prober::dial::{io_cause, io_failure, is_own};
use crate::prober::grpc::{Answer, PREFIX_LEN};
use crate::prober::probe::{Failure, chain};

/// The longest message of a server that is told, in characters; what is longer is cut.
const MESSAGE_LEN_MAX: usize = 120;

/// The codes of gRPC.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const NOT_FOUND: usize = 5;
const PERMISSION_DENIED: usize = 7;
const UNIMPLEMENTED: usize = 12;
const UNAUTHENTICATED: usize = 16;

/// What the health service answers.
const SERVING: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// `SERVING`, or why it is not well.
pub(super) fn serving(told: &str, answer: &Answer) -> Result<&'static str, String> {
    let Some(code) = code(&answer.end) else {
        return Err(if answer.is_grpc {
            format!("{told} ended its answer without a gRPC status")
        } else {
            format!("{told} answered with HTTP {} and not with gRPC", answer.http_status)
        });
    };
    let said = message(&answer.end);
    match code {
        0 => {}
        NOT_FOUND => {
            return Err(format!("{told} is not known to the server's health service (NOT_FOUND{said})"));
        }
        UNIMPLEMENTED => {
            let what = "has no health service (UNIMPLEMENTED";
            return Err(format!("{told} {what}{said}); it must offer grpc.health.v1.Health"));
        }
        PERMISSION_DENIED | UNAUTHENTICATED => {
            let name = CODES[code];
            return Err(format!("{told} does not let us ask its health service ({name}{said})"));
        }
        code => {
            let name = CODES.get(code).copied().unwrap_or("a code that gRPC does not have");
            return Err(format!("{told} answered with the gRPC status {code}, {name}{said}"));
        }
    }
    match status(&answer.message) {
        Some(1) => Ok(SERVING[1]),
        Some(status) => {
            let name = SERVING.get(status).copied().unwrap_or("a status that is not known here");
            Err(format!("{told} says that it is not serving: {name}"))
        }
        None => Err(format!("{told} answered with a message that is not the health service's")),
    }
}

/// The status in the health service's reply, which is field 1; 0 where it is left out.
fn status(framed: &[u8]) -> Option<usize> {
    const FIELD_1_NUMBER: u8 = 0x08;
    let (prefix, message) = framed.split_at_checked(PREFIX_LEN)?;
    let len = u32::from_be_bytes(prefix[1..].try_into().expect("the prefix is five bytes long"));
    // A packed message was not asked for.
    if prefix[0] != 0 || usize::try_from(len).ok()? != message.len() {
        return None;
    }
    match message {
        [] => Some(0),
        [FIELD_1_NUMBER, status @ 0..=0x7f] => Some(usize::from(*status)),
        _ => None,
    }
}

fn code(end: &HeaderMap) -> Option<usize> {
    end.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// The server's own words, with a colon before them. They come with a percent sign before each byte beyond ASCII.
fn message(end: &HeaderMap) -> String {
    let Some(text) = end.get("grpc-message").filter(|text| !text.is_empty()) else { return String::new() };
    let text = unescaped(text.as_bytes());
    let text = String::from_utf8_lossy(&text);
    match text.char_indices().nth(MESSAGE_LEN_MAX) {
        Some((end, _)) => format!(": {}…", &text[..end]),
        None => format!(": {text}"),
    }
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// No answer at all.
pub(super) fn no_answer(told: &str, server: &Server, error: &hyper::Error) -> Failure {
    match io_cause(error) {
        Some(cause) if is_own(cause) => io_failure(&format!("no answer of {told}"), cause),
        Some(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
            Failure::Down(format!("{server} closed the connection without an answer for {told}"))
        }
        Some(cause) if matches!(cause.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            Failure::Down(format!("{server} reset the connection before it answered for {told}"))
        }
        Some(_) | None => {
            Failure::Down(format!("no answer of {told}: {} (does {server} speak HTTP/2?)", chain(error)))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn answered(code: &str, message: &[u8]) -> Result<&'static str, String> {
        let mut end = HeaderMap::new();
        end.insert("grpc-status", code.parse().unwrap());
        end.insert("grpc-message", "kaputt %C3%A4h".parse().unwrap());
        let answer = Answer {
            http_status: StatusCode::OK,
            is_grpc: true,
            end,
            message: message.to_vec(),
            latency: std::time::Duration::ZERO,
        };
        serving("x", &answer)
    }

    #[test]
    fn each_status_of_the_health_service_is_told() {
        assert_eq!(answered("0", &[0, 0, 0, 0, 2, 8, 1]), Ok("SERVING"));
        for (message, name) in [
            (&[0, 0, 0, 0, 2, 8, 2][..], "not serving: NOT_SERVING"),
            (&[0, 0, 0, 0, 2, 8, 3], "not serving: SERVICE_UNKNOWN"),
            (&[0, 0, 0, 0, 0], "not serving: UNKNOWN"),
            (&[0, 0, 0, 0, 2, 8, 9], "a status that is not known here"),
            (&[1, 0, 0, 0, 2, 8, 1], "a message that is not the health service's"),
            (&[0, 0, 0, 0, 3, 8, 1], "a message that is not the health service's"),
            (&[0, 0], "a message that is not the health service's"),
        ] {
            let said = answered("0", message).unwrap_err();
            assert!(said.ends_with(name), "{said}");
        }
    }

    #[test]
    fn each_code_is_told_with_the_servers_words() {
        let said = |code: &str| answered(code, &[]).unwrap_err();
        assert_eq!(said("14"), "x answered with the gRPC status 14, UNAVAILABLE: kaputt äh");
        assert_eq!(
            said("12"),
            "x has no health service (UNIMPLEMENTED: kaputt äh); it must offer grpc.health.v1.Health"
        );
        assert!(said("5").contains("is not known"));
        assert!(said("16").contains("does not let us ask"));
        assert!(said("99").contains("a code that gRPC does not have"));
        assert_eq!(said("x"), "x ended its answer without a gRPC status");
    }
}
