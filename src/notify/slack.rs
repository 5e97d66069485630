//! The message that is posted to Slack's incoming webhook: Block Kit, with its limits.
//!
//! Slack knows no key by which it would leave out the same message: where it is not known whether one arrived, it is sent
//! again and may stand there twice.

use serde_json::{Value, json};

use crate::engine::alert::{Alert, Figure, Severity};

/// The longest header.
const HEADER_MAX: usize = 150;
/// The longest text of a section; Slack takes 3000 characters, escaped ones count as what they become.
const SECTION_MAX: usize = 2900;
/// The longest text of a field, without its name; Slack takes 2000 characters for both, escaped.
const FIELD_MAX: usize = 1900;
/// The longest text of one thing in the context.
const CONTEXT_MAX: usize = 1900;
/// The longest text of a list; what is beyond is left out and said so.
const LINES_MAX: usize = 20;

/// The message as JSON.
pub(super) fn body(alert: &Alert) -> Vec<u8> {
    serde_json::to_vec(&message(alert)).expect("JSON made of texts can be written")
}

fn message(alert: &Alert) -> Value {
    let mut blocks = vec![header(&title(alert)), section(&alert.summary)];
    blocks.extend(alert.progress.as_deref().map(section));
    let fallback = escaped_within(&alert.title, SECTION_MAX);
    json!({
        // What a notification shows, where blocks cannot be.
        "text": escaped_within(&title(alert), SECTION_MAX),
        "blocks": blocks,
        "attachments": [{ "color": color(alert.severity), "fallback": fallback, "blocks": details(alert) }],
    })
}

fn title(alert: &Alert) -> String {
    format!("[{}] {}: {}", alert.severity.label(), place(alert), alert.title)
}

fn place(alert: &Alert) -> String {
    format!("{} ({})", alert.service, alert.environment)
}

const fn color(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "#b00020",
        Severity::High => "#e67700",
        Severity::Medium => "#1971c2",
        Severity::Low => "#868e96",
    }
}

fn details(alert: &Alert) -> Vec<Value> {
    let mut blocks: Vec<Value> = alert.figures.iter().map(figure).collect();
    let releases = [("Release", &alert.release), ("Put back", &alert.target), ("Agreed", &alert.agreed)];
    let fields: Vec<Value> =
        releases.into_iter().filter_map(|(name, text)| Some(field(name, text.as_deref()?))).collect();
    if !fields.is_empty() {
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    blocks.extend(list("Why", &alert.reasons));
    blocks.extend(list("Done", &alert.steps));
    blocks.push(context(alert));
    blocks
}

/// A figure with what it is compared to: four fields of the ten that a section may have.
fn figure(of: &Figure) -> Value {
    let recent = of.recent.as_deref().unwrap_or("not measured");
    let fields = [
        ("What", of.what.as_str()),
        ("Last minute", recent),
        ("Allowed", &of.limit),
        ("Baseline", &of.baseline),
    ];
    json!({ "type": "section", "fields": fields.map(|(name, text)| field(name, text)) })
}

fn field(name: &str, text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": format!("*{name}*\n{}", escaped_within(text, FIELD_MAX)) })
}

fn list(name: &str, lines: &[String]) -> Option<Value> {
    let mut text =
        lines.iter().take(LINES_MAX).map(|line| format!("• {line}")).collect::<Vec<_>>().join("\n");
    if lines.len() > LINES_MAX {
        text.push_str(&format!("\n… and {} more", lines.len() - LINES_MAX));
    }
    (!lines.is_empty()).then(|| markdown(&format!("*{name}*\n{}", escaped_within(&text, SECTION_MAX))))
}

fn header(text: &str) -> Value {
    json!({ "type": "header", "text": { "type": "plain_text", "text": cut(text, HEADER_MAX) } })
}

fn section(text: &str) -> Value {
    markdown(&escaped_within(text, SECTION_MAX))
}

fn markdown(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
}

/// When, which record, and where to look.
fn context(alert: &Alert) -> Value {
    let mut texts = vec![alert.at.to_string()];
    texts.extend(
        alert.record.as_ref().map(|record| format!("record `{}`", escaped_within(record, CONTEXT_MAX))),
    );
    // Half an address leads nowhere.
    let link = alert.link.as_deref().map(address).filter(|link| link.chars().count() <= CONTEXT_MAX);
    texts.extend(link.map(|link| format!("<{link}|Dashboard>")));
    let elements: Vec<Value> =
        texts.into_iter().map(|text| json!({ "type": "mrkdwn", "text": text })).collect();
    json!({ "type": "context", "elements": elements })
}

/// What would end the link early is written as URLs write it.
fn address(link: &str) -> String {
    escaped(&link.replace('|', "%7C").replace('>', "%3E").replace('<', "%3C"))
}

/// Slack's own three characters.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Escaped, and no longer than so many characters after it.
fn escaped_within(text: &str, most: usize) -> String {
    let mut cut_to = most;
    loop {
        let text = escaped(&cut(text, cut_to));
        let length = text.chars().count();
        if length <= most {
            return text;
        }
        cut_to = cut_to.saturating_sub(length - most).max(1).min(cut_to - 1);
    }
}

/// No longer than so many characters; never empty, which Slack refuses.
fn cut(text: &str, most: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(most) {
        _ if text.is_empty() => "-".to_owned(),
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}
