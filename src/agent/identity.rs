//! Which release is running: by the operator's word, or by what it is made of.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::engine::release::Release;

/// Variables that say nothing about the release: they differ from session to session or are the platform's own.
const NOT_THE_RELEASES: [&str; 22] = [
    "PORT",
    "HOSTNAME",
    "HOST",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
    "HOME",
    "USER",
    "LOGNAME",
    "TERM",
    "TERMINFO",
    "COLORTERM",
    "COLUMNS",
    "LINES",
    "DISPLAY",
    "MAIL",
    "NO_COLOR",
    "LS_COLORS",
    "TMPDIR",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
];
const NOT_THE_RELEASES_PREFIXES: [&str; 7] =
    ["OUTRIGGER_", "RAILWAY_", "SSH_", "XDG_", "DBUS_", "TMUX", "KUBERNETES_"];
/// Secrets that key the digest over the release's variables; the first that is set.
const KEYS: [&str; 2] = ["OUTRIGGER_PEER_KEY", "OUTRIGGER_TOKEN"];
/// Of an executable, so much is read: more than any server's. A longer one is told apart by its first part and length.
const EXECUTABLE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// The release of `command` in `env`.
///
/// `named` is the operator's own name and stands as it is. `commit` is the platform's word for the source: the command and
/// the variables are added to it, for an edited variable redeploys the same commit and has to be judged. Without either
/// the executable's own digest takes the commit's place. A release that cannot be known is a new one at every start.
pub fn fingerprint(
    named: Option<&str>,
    commit: Option<&str>,
    command: &[OsString],
    env: &[(OsString, OsString)],
    boot: u16,
) -> Release {
    if let Some(release) = named.and_then(Release::new) {
        return release;
    }
    let base = match (commit, command.first()) {
        (Some(commit), _) => Some(commit.chars().take(12).collect()),
        (None, Some(program)) => executable_digest(program, env),
        (None, None) => None,
    };
    let text = match base {
        Some(base) => format!("{base}-{}", surroundings(command, env)),
        None => format!("unknown-{boot:04x}"),
    };
    Release::new(&text).unwrap_or_else(|| {
        Release::new(&format!("unknown-{boot:04x}")).expect("letters and digits are visible ASCII")
    })
}

/// Eight digits that change with the command and with every variable of the release. Values do not leave this function:
/// 32 bits of a digest over all of them together say little about any one, and nothing to whoever has not the key. The key
/// is a secret that all replicas share, where there is one; with a new one the same release counts as a new one.
fn surroundings(command: &[OsString], env: &[(OsString, OsString)]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"outrigger release v2\0");
    let key = KEYS.iter().find_map(|key| env.iter().find(|(name, _)| name == key));
    if let Some((_, key)) = key {
        hash.update((key.len() as u64).to_le_bytes());
        hash.update(key.as_encoded_bytes());
    }
    for argument in command {
        hash.update(argument.as_encoded_bytes());
        hash.update(b"\0");
    }
    let mut variables: Vec<_> = env.iter().filter(|(name, _)| is_the_releases(name)).collect();
    variables.sort();
    for (name, value) in variables {
        hash.update(b"\x01");
        hash.update(name.as_encoded_bytes());
        hash.update(b"=");
        hash.update(value.as_encoded_bytes());
    }
    hex(&hash.finalize()[..4])
}

fn is_the_releases(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    !NOT_THE_RELEASES.contains(&name.as_ref())
        && !NOT_THE_RELEASES_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn executable_digest(program: &OsStr, env: &[(OsString, OsString)]) -> Option<String> {
    let path = find(Path::new(program), env)?;
    let file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut hash = Sha256::new();
    hash.update(length.to_le_bytes());
    let mut rest = file.take(EXECUTABLE_BYTES_MAX);
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match rest.read(&mut chunk).ok()? {
            0 => return Some(hex(&hash.finalize()[..6])),
            n => hash.update(&chunk[..n]),
        }
    }
}

fn find(program: &Path, env: &[(OsString, OsString)]) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.to_owned());
    }
    let (_, path) = env.iter().find(|(name, _)| name == "PATH")?;
    std::env::split_paths(path).map(|dir| dir.join(program)).find(|p| p.is_file())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))).collect()
    }

    fn of(commit: Option<&str>, args: &[&str], pairs: &[(&str, &str)]) -> Release {
        let command: Vec<OsString> = args.iter().map(OsString::from).collect();
        fingerprint(None, commit, &command, &env(pairs), 7)
    }

    #[test]
    fn the_operators_name_stands_as_it_is() {
        assert_eq!(fingerprint(Some("v1.2"), Some("abc"), &[], &[], 7).as_str(), "v1.2");
    }

    #[test]
    fn an_edited_variable_is_a_new_release_and_a_redeploy_is_not() {
        let commit = Some("0123456789abcdef");
        let one = of(
            commit,
            &["node", "a.js"],
            &[("DATABASE_URL", "x"), ("PORT", "1"), ("RAILWAY_REPLICA_ID", "a")],
        );
        let redeployed = of(
            commit,
            &["node", "a.js"],
            &[("DATABASE_URL", "x"), ("PORT", "2"), ("RAILWAY_REPLICA_ID", "b")],
        );
        let edited = of(commit, &["node", "a.js"], &[("DATABASE_URL", "y")]);
        let other_command = of(commit, &["node", "b.js"], &[("DATABASE_URL", "x")]);
        assert_eq!(one, redeployed);
        assert!(one != edited && one != other_command);
        assert!(one.as_str().starts_with("0123456789ab-"), "{one}");
    }

    #[test]
    fn without_the_key_the_digits_say_nothing() {
        let of = |pairs: &[(&str, &str)]| of(Some("0123456789ab"), &["node"], pairs);
        let plain = of(&[("A", "1")]);
        let keyed = of(&[("A", "1"), ("OUTRIGGER_PEER_KEY", "k")]);
        assert!(plain != keyed && keyed == of(&[("OUTRIGGER_PEER_KEY", "k"), ("A", "1")]));
        assert!(keyed != of(&[("A", "1"), ("OUTRIGGER_PEER_KEY", "l")]));
    }

    #[test]
    fn without_a_commit_the_executable_counts() {
        let a = of(None, &["/bin/sh", "-c", "true"], &[]);
        let b = of(None, &["/bin/ls"], &[]);
        assert!(a != b && !a.as_str().starts_with("unknown"), "{a} {b}");
        assert_eq!(of(None, &[], &[]).as_str(), "unknown-0007");
    }
}
