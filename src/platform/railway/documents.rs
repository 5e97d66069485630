//! What the API is asked, in its own language, and the forms of its answers.
//!
//! It owns the names of fields. **Lenient:** words that are not known are kept as they are, and a field that is missing,
//! null or of another type than expected is absent, unless nothing can be done without it: an id.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::platform::railway::deployment::Deployment;

/// One operation.
#[derive(Clone, Copy, Debug)]
pub struct Document {
    /// The name of its file, and in errors.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! documents {
    ($($constant:ident $name:literal),* $(,)?) => {
        $(pub(super) const $constant: Document =
            Document { name: $name, text: include_str!(concat!("documents/", $name, ".graphql")) };)*

        /// All of them.
        pub const ALL: &[Document] = &[$($constant),*];
    };
}

documents! {
    LIVE "live",
    HISTORY "history",
    SETTINGS "settings",
    TOKEN "token",
    PLAN "plan",
    AUTO_DEPLOY "auto_deploy",
    TRIGGERS "triggers",
    VOLUMES "volumes",
    TCP_PORTS "tcp_ports",
    ROLL_BACK "roll_back",
    REDEPLOY "redeploy",
    CANCEL "cancel",
    STOP_AUTO_DEPLOY "stop_auto_deploy",
}

/// A field as it is, or nothing.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(serde_json::from_value(value).ok())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Live {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) platform_status: Option<PlatformStatus>,
    pub(super) service_instance: ServiceInstance,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlatformStatus {
    pub(super) is_stable: bool,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) incident: Option<Message>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) maintenance: Option<Message>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) message: String,
}

/// Both of what is live and, where it was asked for, of the settings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceInstance {
    pub(super) active_deployments: Vec<Deployment>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) service_name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) num_replicas: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) healthcheck_path: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) healthcheck_timeout: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) overlap_seconds: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) draining_seconds: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) sleep_application: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) restart_policy_type: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) restart_policy_max_retries: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) start_command: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) cron_schedule: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) railway_config_file: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) source: Option<Source>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) domains: Option<Domains>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Source {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) image: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) repo: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Domains {
    #[serde(default)]
    pub(super) service_domains: Vec<Domain>,
    #[serde(default)]
    pub(super) custom_domains: Vec<Domain>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Domain {
    pub(super) domain: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) target_port: Option<u16>,
}

/// A list as the API pages it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    edges: Vec<Edge<T>>,
    #[serde(default = "Option::default", deserialize_with = "lenient")]
    pub(super) page_info: Option<PageInfo>,
}

#[derive(Debug, Deserialize)]
struct Edge<T> {
    node: T,
}

impl<T> Page<T> {
    /// What is listed, in its order.
    pub(super) fn into_nodes(self) -> Vec<T> {
        self.edges.into_iter().map(|edge| edge.node).collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageInfo {
    pub(super) has_next_page: bool,
    pub(super) end_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct History {
    pub(super) deployments: Page<Deployment>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Token {
    pub(super) project_token: ProjectToken,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProjectToken {
    pub(super) project_id: String,
    pub(super) environment_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Plan {
    pub(super) project: Project,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Project {
    pub(super) subscription_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AutoDeploy {
    pub(super) service_instance_auto_deploy_status: AutoDeployStatus,
}

#[derive(Debug, Deserialize)]
pub(super) struct AutoDeployStatus {
    pub(super) enabled: bool,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Triggers {
    pub(super) deployment_triggers: Page<Trigger>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trigger {
    pub(super) repository: String,
    pub(super) branch: String,
    #[serde(default)]
    pub(super) check_suites: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Volumes {
    pub(super) environment: Environment,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Environment {
    pub(super) volume_instances: Page<Volume>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Volume {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) service_id: Option<String>,
    pub(super) mount_path: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) deleted_at: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TcpPorts {
    pub(super) tcp_proxies: Vec<TcpProxy>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TcpProxy {
    pub(super) application_port: u16,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) deleted_at: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RolledBack {
    pub(super) deployment_rollback: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Redeployed {
    pub(super) deployment_redeploy: Named,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cancelled {
    pub(super) deployment_cancel: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stopped {
    pub(super) service_instance_auto_deploy_update: Switch,
}

#[derive(Debug, Deserialize)]
pub(super) struct Switch {
    pub(super) enabled: bool,
}
