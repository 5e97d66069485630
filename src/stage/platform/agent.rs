//! What one agent is told: its configuration and its arguments.
//!
//! One agent alone is told no more than a person would write. Of several each has a name, knows of how many it is one, to
//! which deployment it belongs, and where the others are.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::stage::app::AppPlan;
use crate::stage::platform::DeploymentRow;
use crate::stage::{StageOptions, railway};

/// How long a call of the platform may take where several agents vote, in place of a minute: voters keep to what they granted
/// for as long.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// One agent, and what surrounds it.
pub(super) struct AgentPlan<'a> {
    pub(super) options: &'a StageOptions,
    pub(super) api: SocketAddr,
    pub(super) database: Option<SocketAddr>,
    pub(super) deployment: &'a DeploymentRow,
    pub(super) app: AppPlan,
    pub(super) agent: &'a str,
    pub(super) volume: PathBuf,
    pub(super) app_port: u16,
    /// `None`: it does not speak to others.
    pub(super) peer_port: Option<u16>,
    /// Where all agents speak to one another, its own port among them.
    pub(super) peer_ports: Vec<u16>,
}

impl AgentPlan<'_> {
    /// The configuration file's text.
    pub(super) fn config(&self) -> String {
        let release = quoted(&self.deployment.release);
        let railway = self.options.railway.as_ref();
        let mut text = match railway {
            // All of that is said by the platform's variables.
            Some(_) => "[service]\n".to_owned(),
            None => format!("[service]\nname = \"demo\"\nenvironment = \"demo\"\nrelease = {release}\n"),
        };
        let several = self.options.replicas > 1;
        if several && railway.is_some() {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "replicas = {}", self.options.replicas);
        } else if several {
            let (agent, deployment) = (quoted(self.agent), quoted(&self.deployment.id));
            let replicas = self.options.replicas;
            // Writing to a text cannot fail.
            let _ = writeln!(text, "replica = {agent}\nreplicas = {replicas}\ndeployment = {deployment}");
        }
        let _ = writeln!(text, "\n[app]\nport = {}", self.app_port);
        let (kind, url) = match railway {
            Some(railway) => ("railway", railway.url.clone()),
            None => ("local", format!("http://{}", self.api)),
        };
        let _ = writeln!(text, "\n[platform]\nkind = {}\nurl = {}", quoted(kind), quoted(&url));
        let timeout = railway.map(|railway| railway.call).or_else(|| several.then_some(CALL_TIMEOUT));
        if let Some(timeout) = timeout {
            let timeout = humantime::format_duration(timeout).to_string().replace(' ', "");
            let _ = writeln!(text, "timeout = \"{timeout}\"");
        }
        if let Some(port) = self.peer_port {
            let addresses: Vec<String> =
                self.peer_ports.iter().map(|port| quoted(&format!("127.0.0.1:{port}"))).collect();
            let addresses = addresses.join(", ");
            let _ = writeln!(text, "\n[listen]\npeers = \"127.0.0.1:{port}\"");
            let _ = writeln!(text, "\n[peers]\naddresses = [{addresses}]");
        }
        let dir = quoted(&self.volume.to_string_lossy());
        let _ =
            writeln!(text, "\n[store]\ndir = {dir}\n\n[log]\nformat = \"json\"\n\n{}", self.options.settings);
        text
    }

    /// Its arguments, with the app's command.
    pub(super) fn arguments(&self, config: &Path) -> Vec<OsString> {
        let app = self.app;
        let mut arguments: Vec<OsString> = vec!["run".into(), "--config".into(), config.into()];
        arguments.extend(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"].map(OsString::from));
        arguments.extend([OsString::from(&self.volume), OsString::from("--")]);
        let railway = self.options.railway.is_some();
        if railway {
            arguments.extend(railway::shell().map(OsString::from));
        }
        arguments.extend(self.options.outrigger.iter().cloned());
        arguments.extend(["demo-app", "--port", "{port}", "--release"].map(OsString::from));
        arguments.push(self.deployment.release.clone().into());
        let after = humantime::format_duration(app.after).to_string().replace(' ', "");
        if !railway {
            arguments.extend(["--behave", app.behave.label(), "--after", &after].map(OsString::from));
        }
        arguments.extend([OsString::from("--seed"), app.seed.to_string().into()]);
        if let Some(database) = self.database {
            arguments.extend([OsString::from("--database"), database.to_string().into()]);
        }
        arguments
    }
}

/// A JSON string is a TOML basic string as well.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
