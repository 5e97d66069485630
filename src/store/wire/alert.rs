//! An alert on the wire: what is queued for people until it was told.

use serde::{Deserialize, Serialize};

use crate::engine::alert::{Alert, Event, Figure, Severity};
use crate::store::wire::text::TimeText;

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertDoc {
    /// The same for what is the same.
    pub key: String,
    /// The event's name.
    pub event: String,
    /// The severity's name.
    pub severity: String,
    /// When it happened.
    pub at: TimeText,
    /// One line.
    pub title: String,
    /// A few sentences.
    pub summary: String,
    /// What got worse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<FigureDoc>,
    /// Why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Who agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<String>,
    /// What was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The release that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The release that is put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Where the dashboard is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// What got worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FigureDoc {
    /// What was measured.
    pub what: String,
    /// The stream's name.
    pub stream: String,
    /// What the baseline had.
    pub baseline: String,
    /// What is allowed.
    pub limit: String,
    /// What it was in the last minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent: Option<String>,
}

impl From<&Alert> for AlertDoc {
    fn from(of: &Alert) -> Self {
        let Alert { key, event, severity, at, title, summary, figures, reasons, agreed, steps, .. } =
            of.clone();
        let Alert { progress, service, environment, release, target, record, link, .. } = of.clone();
        let figure = |Figure { what, stream, baseline, limit, recent }| FigureDoc {
            what,
            stream,
            baseline,
            limit,
            recent,
        };
        Self {
            key,
            event: event.label().to_owned(),
            severity: severity.label().to_owned(),
            at: TimeText(at),
            title,
            summary,
            figures: figures.into_iter().map(figure).collect(),
            reasons,
            agreed,
            steps,
            progress,
            service,
            environment,
            release,
            target,
            record,
            link,
        }
    }
}

impl AlertDoc {
    /// The alert; `None` where this agent does not know the event or the severity.
    pub fn into_alert(self) -> Option<Alert> {
        let figure = |FigureDoc { what, stream, baseline, limit, recent }| Figure {
            what,
            stream,
            baseline,
            limit,
            recent,
        };
        Some(Alert {
            event: Event::named(&self.event)?,
            severity: Severity::named(&self.severity)?,
            at: self.at.0,
            figures: self.figures.into_iter().map(figure).collect(),
            key: self.key,
            title: self.title,
            summary: self.summary,
            reasons: self.reasons,
            agreed: self.agreed,
            steps: self.steps,
            progress: self.progress,
            service: self.service,
            environment: self.environment,
            release: self.release,
            target: self.target,
            record: self.record,
            link: self.link,
        })
    }
}
