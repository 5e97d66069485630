//! A value before its option has given it a type, where it stands, and how it may be shown. Knows no option.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The longest text that a fault shows, in characters; longer ones are cut.
const SHOWN_MAX: usize = 60;
/// From this length on, an unbroken run of letters and digits may be a token and is not shown.
const TOKEN_LEN_MIN: usize = 20;

/// The options of one layer, by name.
pub(super) type Layer = BTreeMap<String, (Value, Origin)>;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is the default.
    Default,
    /// A variable that the platform sets.
    Platform(&'static str),
    /// A line of a file.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag.
    Flag(&'static str),
}

impl Origin {
    /// Whether a person wrote it for this agent, rather than the platform or nobody.
    pub const fn is_explicit(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Variable(_) | Self::Flag(_))
    }

    /// Which of two layers holds: the higher one.
    pub(super) const fn height(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Platform(_) => 1,
            Self::File { .. } => 2,
            Self::Variable(_) => 3,
            Self::Flag(_) => 4,
        }
    }

    /// For sorting faults: file first, in the order of its lines.
    pub(super) const fn rank(&self) -> (u8, usize) {
        match self {
            Self::File { line, .. } => (0, *line),
            Self::Platform(_) | Self::Default => (1, 0),
            Self::Variable(_) => (2, 0),
            Self::Flag(_) => (3, 0),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::Platform(name) => f.write_str(name),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value as it was found.
#[derive(Clone)]
pub(super) enum Value {
    /// From the environment or a flag: the option says what it is.
    Plain(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML float.
    Float(f64),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array.
    List(Vec<Value>),
    /// What no option is: a table, a date, a number out of all bounds.
    Other(&'static str),
}

impl Value {
    /// The text, where it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(text) | Self::Text(text) => Some(text),
            Self::Integer(_) | Self::Float(_) | Self::Boolean(_) | Self::List(_) | Self::Other(_) => None,
        }
    }

    /// The text, where its option must say what it is.
    pub(super) fn plain(&self) -> Option<&str> {
        if let Self::Plain(text) = self { Some(text) } else { None }
    }

    /// Where the value itself is nobody's business.
    pub(super) fn hidden(&self) -> String {
        match self {
            Self::Plain(text) | Self::Text(text) => {
                format!("[{} characters, not shown]", text.chars().count())
            }
            Self::List(items) => format!("[{} items]", items.len()),
            Self::Integer(_) | Self::Float(_) | Self::Boolean(_) | Self::Other(_) => "[not shown]".to_owned(),
        }
    }

    /// As people may see it. Lists hold commands, and commands hold tokens: only their length is told.
    pub(super) fn shown(&self, secrets: &[String]) -> String {
        match self {
            Self::Plain(text) | Self::Text(text) => shown_text(text, secrets),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Boolean(value) => value.to_string(),
            Self::List(items) => format!("[{} items]", items.len()),
            Self::Other(kind) => (*kind).to_owned(),
        }
    }
}

fn shown_text(text: &str, secrets: &[String]) -> String {
    let length = text.chars().count();
    if secrets.iter().any(|secret| text.contains(secret.as_str())) || may_hold_secret(text) {
        return format!("[{length} characters, not shown]");
    }
    if length <= SHOWN_MAX {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN_MAX).collect();
    format!("{start:?}... ({length} characters)")
}

/// Whether the text looks like a token, or holds credentials as a URL does, before its host or in its query.
fn may_hold_secret(text: &str) -> bool {
    let is_token = |run: &str| {
        let has = |test: fn(&u8) -> bool| run.bytes().any(|b| test(&b));
        let mixed = has(u8::is_ascii_digit) || has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
        run.len() >= TOKEN_LEN_MIN && has(u8::is_ascii_alphabetic) && mixed
    };
    let in_run = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '=');
    text.contains("://") && text.contains(['@', '?']) || text.split(|c| !in_run(c)).any(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        shown_text(text, &["hunter2".to_owned()])
    }

    #[test]
    fn what_looks_like_a_token_is_not_shown() {
        assert_eq!(shown("15 mintues"), r#""15 mintues""#);
        assert_eq!(shown("/var/lib/outrigger/some/long/path"), r#""/var/lib/outrigger/some/long/path""#);
        assert_eq!(shown("http://u:p@host"), "[15 characters, not shown]");
        assert_eq!(shown("x hunter2 y"), "[11 characters, not shown]");
        assert_eq!(shown("0f6c1a9e-7b1d-4d3c-9f0e-2b7f3a5c6d7e"), "[36 characters, not shown]");
        assert_eq!(shown("abcdefghijKLMNOPQRSTUVWXYZ"), "[26 characters, not shown]");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(shown(&"a b ".repeat(30)), format!("{:?}... (120 characters)", "a b ".repeat(15)));
    }
}
