//! The verdict of this moment in full: why, whose fault it is, what would change it, and why it is not another one.

use serde_json::Value;

use crate::cli::explain::figures::{number, text_or, thousands, time, whole};
use crate::cli::explain::{table, words};

/// The width that all of it fits.
const WIDTH: usize = 98;

/// Why the agent says of the running release what it says, from its snapshot.
pub fn now(snapshot: &Value) -> String {
    let verdict = snapshot.get("verdict").unwrap_or(&Value::Null);
    let release = text_or(snapshot, "release", "(unknown)");
    let mut text = format!("Release {release}: {}", words::verdict(verdict));
    if verdict.get("since").is_some_and(Value::is_string) {
        text.push_str(&format!(", since {}", time(verdict.get("since"))));
    }
    if let Some(score) = number(snapshot, "score") {
        text.push_str(&format!(", health score {score:.2}"));
    }
    text.push_str("\n\n");
    let mut section = |title: &str, lines: Vec<String>| {
        let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        if !lines.is_empty() {
            text.push_str(&format!("{title}\n"));
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
            text.push('\n');
        }
    };
    let said = |of: &Value, key: &str| table::wrapped(&text_or(of, key, ""), WIDTH - 2);
    section("Why", said(verdict, "why"));
    section("Who is to blame", whose(snapshot, WIDTH - 2));
    section("What it is weighed against", against(snapshot));
    let streams = snapshot.get("evidence").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let streams: Vec<&Value> = streams.iter().collect();
    let mut rows = table::evidence(&streams, number(snapshot, "latency_progress"));
    rows.extend(how_to_read(!streams.is_empty()));
    section("How each stream stands", rows);
    let guards = streams.iter().filter(|stream| table::is_main(stream));
    let guards =
        guards.filter_map(|stream| table::guard(stream, snapshot.get("policy").unwrap_or(&Value::Null)));
    section("What counts as bad", guards.flat_map(|line| in_list(&line)).collect());
    section("What would change it", said(verdict, "changes"));
    section(
        "How long a decision needs",
        snapshot.get("outlook").map(|o| said(o, "says")).unwrap_or_default(),
    );
    section("What is done, or would be", said(verdict, "next"));
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// The diagnosis of a snapshot, and dependencies that are in trouble.
pub(super) fn whose(snapshot: &Value, width: usize) -> Vec<String> {
    let diagnosis = snapshot.get("diagnosis").filter(|diagnosis| diagnosis.is_object());
    let mut lines = diagnosis.map(|d| table::wrapped(&text_or(d, "why", ""), width)).unwrap_or_default();
    let worse = snapshot.get("worse_dependencies").and_then(Value::as_array);
    let worse: Vec<&str> = worse.into_iter().flatten().filter_map(Value::as_str).collect();
    if !worse.is_empty() {
        let names = crate::cli::explain::figures::clean(&worse.join(", "));
        lines.push(format!("Worse than it used to be, by evidence of its own: {names}."));
    }
    lines
}

fn against(snapshot: &Value) -> Vec<String> {
    let Some(baseline) = snapshot.get("baseline").filter(|baseline| baseline.is_object()) else {
        return vec!["no baseline: only the rules that need none can tell".to_owned()];
    };
    let mut lines = table::wrapped(&words::baseline(baseline), WIDTH - 2);
    let judged = snapshot.get("watch").and_then(|watch| whole(watch, "judged_requests"));
    lines.extend(judged.map(|n| format!("{} requests of this release were judged", thousands(n))));
    lines
}

/// An entry of a list, its later lines set in.
pub(super) fn in_list(line: &str) -> Vec<String> {
    let lines = table::wrapped(line, WIDTH - 4);
    let marked = |(at, line): (usize, String)| format!("{} {line}", if at == 0 { "-" } else { " " });
    lines.into_iter().enumerate().map(marked).collect()
}

/// What the columns of a table of evidence mean.
pub(super) fn how_to_read(has_rows: bool) -> Vec<String> {
    let lines = [
        "(TIMES is how often the last minute's figure is what is allowed. REQUESTS and TICKS are how",
        "much of the evidence that \"degraded\" takes there is, by request and by tick: both must be",
        "complete, for latency over its streams together.)",
    ];
    if has_rows { lines.map(str::to_owned).to_vec() } else { Vec::new() }
}
