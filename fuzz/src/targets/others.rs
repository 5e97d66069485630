//! Everything else that reads bytes from outside: paths, configuration, the store's records, the platform's replies and
//! requests to the admin port.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use outrigger::config::{self, Flags, Secret, Sources};
use outrigger::engine::observation::{Method, Outcome};
use outrigger::engine::record::{Acted, Record};
use outrigger::engine::route::{Pattern, Routes, Visit};
use outrigger::engine::time::Time;
use outrigger::fuzz::{admin, peers, platform, store, supervisor};
use outrigger::store::wire::{PauseDoc, RecordDoc, ReleaseDoc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::targets::lines::blanks_off;

/// Nothing that is read may say it again.
const TOKEN: &str = "a-token-that-is-long-enough-0123456789abcdef";
/// What routes may take: their tables are bounded.
const ROUTES_BYTES_MAX: usize = 8 << 20;
/// The longest reason that the platform's words may become.
const REASON_CHARS_MAX: usize = 1_200;

/// The first line holds patterns, each other one a visit: a byte for the method and the status, one for the outcome and
/// the window, and a path.
pub(crate) fn route(data: &[u8]) {
    let mut lines = data.split(|&b| b == b'\n');
    let patterns = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let patterns = patterns.split(' ').filter_map(|text| Pattern::parse(text).ok()).collect();
    let mut routes = Routes::new(patterns);
    let mut now = Time::from_millis(0);
    routes.begin(now);
    for line in lines {
        let [a, b, path @ ..] = line else { continue };
        if b & 0x80 != 0 {
            now = now + std::time::Duration::from_secs(u64::from(b & 0x7f) * 60);
            routes.begin(now);
        }
        let visit = Visit {
            method: Method::ALL[usize::from(a & 0xf) % Method::ALL.len()],
            path,
            status: [0, 200, 201, 304, 400, 404, 405, 500][usize::from(a >> 4) % 8],
            outcome: Outcome::ALL.get(usize::from(b & 0x7f) % (Outcome::ALL.len() + 1)).copied(),
        };
        let id = routes.group(&visit);
        assert!(routes.get(id).is_some(), "a visit has no group");
        assert!(routes.held_bytes() <= ROUTES_BYTES_MAX, "{} bytes are held", routes.held_bytes());
    }
    assert!(routes.ids().all(|id| routes.get(id).is_some()), "a group that is listed is not there");
}

/// The file, and behind a line of three hyphens the environment, a variable a line.
pub(crate) fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let (file, variables) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let path = own_file();
    fs::write(&path, file).expect("the temporary folder can be written to");
    let read = || {
        let variables = variables.lines().filter_map(|line| line.split_once('='));
        let mut env: Vec<_> = variables.map(|(name, value)| (name.into(), value.into())).collect();
        env.push(("OUTRIGGER_TOKEN".into(), TOKEN.into()));
        let sources =
            Sources { file: Some(path.clone()), directory: PathBuf::new(), env, flags: Flags::default() };
        config::load(sources)
    };
    let (loaded, again) = (read(), read());
    let said = match (&loaded, &again) {
        (Ok(loaded), Ok(again)) => {
            assert!(loaded == again, "read twice, it says two things");
            format!("{loaded:?} {:?}", loaded.warnings)
        }
        (Err(faults), Err(_)) => format!("{faults} {faults:?}"),
        _ => panic!("read twice, it is right once"),
    };
    assert!(text.contains(TOKEN) || !said.contains(TOKEN), "the token was told: {said}");
}

/// Each caller's own: tests run beside each other.
fn own_file() -> PathBuf {
    static CALLERS: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static FILE: PathBuf = {
            let caller = CALLERS.fetch_add(1, Ordering::Relaxed);
            std::env::temp_dir().join(format!("outrigger-fuzz-{}-{caller}.toml", std::process::id()))
        };
    }
    FILE.with(Clone::clone)
}

/// What the store holds as JSON: what can be read, can be written and read again, and is the same to the last bit.
pub(crate) fn store_record(data: &[u8]) {
    comes_back::<RecordDoc, Record>(data);
    comes_back::<ReleaseDoc, outrigger::engine::memory::ReleaseMemory>(data);
    comes_back::<PauseDoc, outrigger::engine::record::Pause>(data);
}

fn comes_back<D, V>(data: &[u8])
where
    D: DeserializeOwned + Serialize + Into<V> + for<'v> From<&'v V>,
    V: PartialEq + std::fmt::Debug,
{
    let Ok(doc) = serde_json::from_slice::<D>(data) else { return };
    let value: V = doc.into();
    let written = serde_json::to_vec(&D::from(&value)).expect("what was read can be written");
    let again: D = serde_json::from_slice(&written)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&written)));
    assert_eq!(again.into(), value);
}

pub(crate) fn store_latencies(data: &[u8]) {
    if counts_overflow(data) {
        return;
    }
    if let Ok(latencies) = store::latencies(data) {
        assert_eq!(store::latencies(&store::bytes(&latencies)), Ok(latencies));
    }
}

/// What is read of a peer's frame is written and read the same; and nobody without the key seals anything that opens.
pub(crate) fn peer_frame(data: &[u8]) {
    if let Ok(frame) = peers::frame(data) {
        assert_eq!(peers::frame(&peers::frame_bytes(&frame)), Ok(frame));
    }
    assert!(!peers::opens(data), "it opens without the key");
}

/// Left out until it is mended: counts whose sum is beyond a `u64` are not refused as damage, but added up.
fn counts_overflow(data: &[u8]) -> bool {
    let (mut sum, mut n, mut shift, mut place) = (0_u64, 0_u64, 0, 0);
    for &byte in data {
        n |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if byte < 0x80 {
            let Some(next) = sum.checked_add(if place % 2 == 1 { n } else { 0 }) else { return true };
            (sum, n, shift, place) = (next, 0, 0, place + 1);
        }
    }
    false
}

/// The first two bytes are the status.
pub(crate) fn platform_reply(data: &[u8]) {
    let [high, low, reply @ ..] = data else { return };
    if let Ok(release) = platform::live(reply) {
        assert!(!release.as_str().is_empty());
    }
    let status = u16::from_be_bytes([*high, *low]);
    let Some(acted) = platform::acted(status, reply) else { return };
    let said = match &acted {
        Acted::Accepted { detail } => {
            assert!(matches!(status, 200 | 202), "{status} was taken for a yes");
            detail
        }
        Acted::Refused { reason } => {
            assert!((400..500).contains(&status), "{status} was taken for a no");
            reason
        }
        Acted::Unknown { reason } => reason,
        Acted::DryRun { .. } => panic!("an answer was taken for a dry run"),
    };
    assert!(said.chars().count() <= REASON_CHARS_MAX, "{} characters", said.chars().count());
    assert!(
        !said.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')),
        "a control character: {said:?}"
    );
}

/// A byte of circumstances, a line `METHOD target`, lines `name: value`, an empty line, a body.
pub(crate) fn admin_request(data: &[u8]) {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let [flags, input @ ..] = data else { return };
    let (head, body) = match input.windows(2).position(|end| end == b"\n\n") {
        Some(at) => (&input[..at], &input[at + 2..]),
        None => (input, &[][..]),
    };
    let mut lines = head.split(|&b| b == b'\n');
    let mut first = lines.next().unwrap_or_default().splitn(2, |&b| b == b' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let mut request = http::Request::builder().method(method).uri(target);
    let mut has_token = false;
    for line in lines {
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        let value = blanks_off(&line[colon + 1..]);
        has_token |= value.ends_with(TOKEN.as_bytes());
        request = request.header(&line[..colon], value);
    }
    let Ok(request) = request.body(body.to_vec()) else { return };
    let (is_get, is_local) = (request.method() == "GET" || request.method() == "HEAD", flags & 1 != 0);
    let token = (flags & 2 != 0).then(|| Secret::new(TOKEN.to_owned()));
    let guarded = token.is_none() || !has_token;
    let runtime = RUNTIME.get_or_init(|| {
        let built = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        built.expect("a runtime can be built")
    });
    let served = runtime.block_on(admin::ask(request, token, is_local));
    let known = [200, 204, 304, 400, 401, 403, 404, 405, 408, 409, 413, 415, 503];
    assert!(known.contains(&served.status), "answered {}", served.status);
    if served.asked && guarded {
        assert!(is_get && is_local, "the agent was asked without the token");
    }
}

/// `/proc/self/cgroup`, and the file that it leads to: the same bytes for both.
pub(crate) fn cgroup(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for file in supervisor::counters(&text) {
        assert!(file.starts_with("/sys/fs/cgroup"), "{} is no control group's", file.display());
    }
    let has_line = text.lines().any(|line| line.starts_with("oom_kill "));
    assert!(has_line || supervisor::kills(&text).is_none(), "a count out of nothing");
}
