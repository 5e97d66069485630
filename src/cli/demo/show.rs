//! How the demo is shown: as JSON lines, as a timeline with a live line below it, or as plain lines.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use crate::stage::event::StageEvent;
use crate::stage::fleet::FleetEvent;
use crate::stage::timeline::{Event, Second, Summary, What};
use crate::stage::view::Election;

/// Without a terminal, every how-manieth second has a line.
const PLAIN_EVERY: u64 = 10;
/// The live line must not wrap, or it could not be updated in place.
const COLUMNS_MAX: usize = 79;
/// A bar's cells.
const BAR: usize = 6;
/// Above this share of failures a second is shown as bad.
const BAD_SHARE: f64 = 0.02;

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";
const DIM: &str = "2";

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Live,
    Plain,
}

/// Writes events to stdout. Where nobody reads any more, nothing is written and the demo goes on.
#[derive(Debug)]
pub(super) struct Show {
    form: Form,
    colours: bool,
    seconds: u64,
    line_shown: bool,
}

impl Show {
    pub(super) fn new(json: bool, no_color: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let form = match (json, terminal) {
            (true, _) => Form::Json,
            (false, true) => Form::Live,
            (false, false) => Form::Plain,
        };
        Self { form, colours: terminal && !no_color, seconds: 0, line_shown: false }
    }

    pub(super) fn event(&mut self, event: &Event) {
        let text = match self.form {
            Form::Json => format!("{}\n", event.json()),
            Form::Live | Form::Plain => self.people(event),
        };
        let mut out = io::stdout().lock();
        let _unread = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Leaves the cursor on a line of its own.
    pub(super) fn end(&mut self) {
        let _unread = io::stdout().lock().write_all(self.clear().as_bytes());
    }

    fn people(&mut self, event: &Event) -> String {
        match &event.what {
            What::Second(second) => self.second(event.t, second),
            What::Summary(summary) => format!("{}{}", self.clear(), self.summary(summary)),
            What::Began { .. }
            | What::Override { .. }
            | What::Note { .. }
            | What::Stage(_)
            | What::Fleet(_)
            | What::Record(_) => {
                let text = event.text().unwrap_or_default();
                let line = format!("{:>6.1}s  {:<5}  {text}", event.t.as_secs_f64(), event.who());
                format!("{}{}\n", self.clear(), self.paint(colour(event), &line))
            }
        }
    }

    fn second(&mut self, t: Duration, second: &Second) -> String {
        self.seconds += 1;
        let line: String = second_line(t, second).chars().take(COLUMNS_MAX).collect();
        let colour = if second.served.failed_share() > BAD_SHARE { RED } else { CYAN };
        if self.form == Form::Live {
            let text = format!("{}{}", self.clear(), self.paint(colour, &line));
            self.line_shown = true;
            return text;
        }
        if self.seconds % PLAIN_EVERY == 1 { format!("{line}\n") } else { String::new() }
    }

    fn summary(&self, summary: &Summary) -> String {
        let since = |time: Option<Duration>| {
            time.map_or("-".to_owned(), |time| format!("{:.1} s after the fault began", time.as_secs_f64()))
        };
        let share = 100.0 * summary.served.failed_share();
        let (result, colour) = match &summary.fault {
            None => ("the agent did what was right".to_owned(), GREEN),
            Some(fault) => (format!("WRONG: {fault}"), RED),
        };
        let fleet = fleet(summary);
        format!(
            "\n  scenario    {}{}\n  requests    {}\n  failed      {} ({share:.2} %), {} of them by time-out\n  \
             verdict     {}\n  to blame    {}\n  recovered   {}\n  rollbacks   {}\n{fleet}  took        {:.0} s\n  result      {}\n",
            summary.scenario,
            if summary.judging { "" } else { ", judge off" },
            summary.served.requests,
            summary.served.failed,
            summary.served.timed_out,
            since(summary.time_to_verdict),
            summary.diagnosis.as_ref().map_or("-", |(_, why)| why.as_str()),
            since(summary.time_to_recovery),
            summary.rollbacks,
            summary.took.as_secs_f64(),
            self.paint(colour, &result),
        )
    }

    fn clear(&mut self) -> &'static str {
        if std::mem::take(&mut self.line_shown) { "\r\x1b[2K" } else { "" }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What is to be said of several agents.
fn fleet(summary: &Summary) -> String {
    if summary.replicas < 2 {
        return String::new();
    }
    let vote = match &summary.election {
        Some(Election { agent, voters, of, .. }) => {
            format!("agents agreed: {} of {of} ({}), {agent} acted", voters.len(), voters.join(", "))
        }
        None => "-".to_owned(),
    };
    let from = |(agent, from): &(String, String)| match from.as_str() {
        "" => agent.clone(),
        from => format!("{agent} from {from}"),
    };
    let baselines: Vec<String> = summary.baselines_from.iter().map(from).collect();
    let baselines = if baselines.is_empty() { "-".to_owned() } else { baselines.join(", ") };
    format!(
        "  replicas    {}\n  vote        {vote}\n  elections   {}\n  baseline    {baselines}\n",
        summary.replicas, summary.elections,
    )
}

fn colour(event: &Event) -> &'static str {
    match &event.what {
        What::Stage(
            StageEvent::FaultBegan { .. }
            | StageEvent::Unhealthy { .. }
            | StageEvent::Crashed { .. }
            | StageEvent::RollbackRefused { .. },
        ) => RED,
        What::Stage(StageEvent::WentLive { .. }) => GREEN,
        What::Fleet(FleetEvent::Elected { .. }) => YELLOW,
        What::Record(_) | What::Stage(StageEvent::RollbackTaken { .. }) => YELLOW,
        What::Override { .. } | What::Stage(_) => DIM,
        What::Began { .. } | What::Note { .. } | What::Fleet(_) | What::Second(_) | What::Summary(_) => "0",
    }
}

fn second_line(t: Duration, second: &Second) -> String {
    let served = &second.served;
    let mut line = format!(
        "{:>4}s {} {}/s failed {:.1}% p99 {:.0}ms",
        t.as_secs(),
        second.release.as_deref().unwrap_or("nothing"),
        served.requests,
        100.0 * served.failed_share(),
        served.p99_ms,
    );
    let Some(agent) = &second.agent else {
        return line + " no agent";
    };
    line += &format!(" {}", agent.verdict.replace('_', " "));
    for (name, progress) in streams(&agent.evidence) {
        line += &format!(" {name} {}", bar(progress));
    }
    line
}

/// The streams that are shown: errors, latency, and of all others the one that has come farthest, if one has.
fn streams(evidence: &[(String, f64)]) -> Vec<(&str, f64)> {
    if evidence.len() < 2 {
        return Vec::new();
    }
    let is_main = |name: &str| name == "errors" || name == "latency";
    let all = || evidence.iter().map(|(name, progress)| (name.as_str(), *progress));
    // The latency streams are judged together; only their sum has a limit of its own.
    let others = all().filter(|(name, _)| !is_main(name) && !name.starts_with("latency_"));
    let farthest = others.filter(|&(_, progress)| progress > 0.0).max_by(|a, b| a.1.total_cmp(&b.1));
    all().filter(|(name, _)| is_main(name)).chain(farthest).collect()
}

fn bar(progress: f64) -> String {
    let full = ((progress.clamp(0.0, 1.0) * BAR as f64).round() as usize).min(BAR);
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::load::Served;
    use crate::stage::view::AgentView;

    #[test]
    fn the_live_line_shows_what_clients_see_and_how_far_the_evidence_is() {
        let served = Served { requests: 98, failed: 10, timed_out: 0, p50_ms: 8.0, p99_ms: 24.6 };
        let evidence =
            vec![("errors".to_owned(), 0.52), ("latency_p50".to_owned(), 0.0), ("latency".to_owned(), 0.0)];
        let agent = AgentView { verdict: "undecided".to_owned(), evidence, ..AgentView::default() };
        let second = Second { release: Some("v2".to_owned()), served, agent: Some(agent) };
        let line = second_line(Duration::from_secs(71), &second);
        assert_eq!(line, "  71s v2 98/s failed 10.2% p99 25ms undecided errors [###...] latency [......]");
    }

    #[test]
    fn of_the_smaller_streams_only_the_one_that_has_come_farthest_is_shown() {
        let all =
            [("errors", 0.1), ("memory", 0.0), ("route_errors GET /a", 0.2), ("cpu", 0.1), ("latency", 0.0)];
        let all = all.map(|(name, progress)| (name.to_owned(), progress));
        assert_eq!(streams(&all), [("errors", 0.1), ("latency", 0.0), ("route_errors GET /a", 0.2)]);
        assert_eq!(streams(&all[..2]), [("errors", 0.1)]);
    }

    #[test]
    fn a_bar_never_leaves_its_frame() {
        assert_eq!(bar(-1.0), "[......]");
        assert_eq!(bar(7.0), "[######]");
        assert_eq!(bar(f64::NAN), "[......]");
    }
}
