//! A finding, and how findings look.

use serde_json::json;

use crate::cli::explain::table::wrapped;

/// The width of the text.
const WIDTH: usize = 88;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Info,
    /// It will hurt some day.
    Warning,
    /// A rollback would fail, or harm.
    Fault,
}

impl Level {
    /// The name in JSON.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }

    const fn heading(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warning => "WARNING",
            Self::Fault => "FAULT",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// How bad it is.
    pub(super) level: Level,
    /// Its stable name.
    pub(super) code: &'static str,
    /// What was found.
    pub(super) what: String,
    /// Why it matters; empty where it goes without saying.
    pub(super) why: String,
    /// What to do, and where; empty where there is nothing to do.
    pub(super) todo: String,
}

impl Finding {
    pub(super) fn ok(code: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Ok, code, what: what.into(), why: String::new(), todo: String::new() }
    }

    pub(super) fn info(code: &'static str, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { level: Level::Info, code, what: what.into(), why: why.into(), todo: String::new() }
    }

    pub(super) fn warning(
        code: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warning, code, what: what.into(), why: why.into(), todo: todo.into() }
    }

    pub(super) fn fault(
        code: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self { level: Level::Fault, ..Self::warning(code, what, why, todo) }
    }
}

/// One JSON object.
pub(super) fn json(findings: &[Finding]) -> String {
    let is_ok = findings.iter().all(|finding| finding.level != Level::Fault);
    let all: Vec<_> = findings
        .iter()
        .map(|f| json!({ "level": f.level.label(), "code": f.code, "what": f.what, "why": f.why, "do": f.todo }))
        .collect();
    format!("{:#}\n", json!({ "ok": is_ok, "findings": all }))
}

/// The worst first.
pub(super) fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for level in [Level::Fault, Level::Warning, Level::Info, Level::Ok] {
        for finding in findings.iter().filter(|finding| finding.level == level) {
            text.push_str(&paragraph(finding));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    text + &format!("\n{} faults, {} warnings\n", count(Level::Fault), count(Level::Warning))
}

fn paragraph(finding: &Finding) -> String {
    let mut lines = Vec::new();
    for (title, said) in
        [(finding.level.heading(), &finding.what), ("  why", &finding.why), ("  do", &finding.todo)]
    {
        for (at, line) in wrapped(said, WIDTH).iter().enumerate() {
            let title = if at == 0 { title } else { "" };
            lines.push(format!("{title:<9}{line}\n"));
        }
    }
    lines.concat()
}
