//! The questions and orders by name. It owns which variables each needs and how lists are paged.

use std::time::Duration;

use serde_json::json;

use crate::clock::Clock;
use crate::config;
use crate::platform::railway::client::Client;
use crate::platform::railway::deployment::Deployment;
use crate::platform::railway::documents as form;
use crate::platform::railway::examination::{AutoDeploy, PlatformState, Quota, Scope, Trigger};
use crate::platform::railway::fault::ApiError;
use crate::platform::railway::gauge::Purpose;

/// How many deployments are listed at once.
const PAGE: usize = 50;
/// How many pages are read of them at most; what stands further back counts as not listed. No plan holds images long
/// enough for a service to get there, but for one that is deployed every hour.
const PAGES_MAX: usize = 4;

/// Railway's API for one service.
pub(super) struct Api {
    client: Client,
    config: config::Railway,
    clock: Clock,
}

/// Until when something must be over.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    clock: Clock,
    ends: Duration,
}

impl Deadline {
    /// What is left; zero when it is over.
    pub(super) fn left(self) -> Duration {
        self.ends.saturating_sub(self.clock.uptime())
    }
}

/// For what is asked, and how long that may take.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) purpose: Purpose,
    pub(super) deadline: Deadline,
    /// The share of what is left that one request may take.
    pub(super) share: u32,
}

impl Terms {
    fn limit(self) -> Duration {
        self.deadline.left() / self.share.max(1)
    }
}

impl Api {
    /// `None` without a token: there is nobody who could ask.
    pub(super) fn new(config: &config::Railway) -> Option<Self> {
        let token = config.token.clone()?;
        let clock = Clock::start();
        let client = Client::new(config.url.clone(), token, config.requests_per_hour, clock);
        Some(Self { client, config: config.clone(), clock })
    }

    pub(super) const fn config(&self) -> &config::Railway {
        &self.config
    }

    pub(super) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The terms of one question, which has all the time there is.
    pub(super) fn alone(&self, purpose: Purpose) -> Terms {
        Terms { purpose, deadline: self.deadline(), share: 1 }
    }

    /// Whether our own limit leaves room for so many looks.
    pub(super) fn has_room(&self, looks: u32) -> bool {
        self.client.has_room(looks)
    }

    /// The end of what begins now.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline { clock: self.clock, ends: self.clock.uptime() + self.config.timeout }
    }

    pub(super) fn quota(&self) -> Option<Quota> {
        self.client.quota()
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        document: form::Document,
        variables: serde_json::Value,
        terms: Terms,
    ) -> Result<T, ApiError> {
        self.client.ask(document, variables, terms.purpose, terms.limit()).await
    }

    /// What is live, and how Railway is.
    pub(super) async fn live(&self, terms: Terms) -> Result<form::Live, ApiError> {
        self.ask(form::LIVE, self.of_service(), terms).await
    }

    /// The same with the service's settings.
    pub(super) async fn settings(&self, terms: Terms) -> Result<form::Live, ApiError> {
        self.ask(form::SETTINGS, self.of_service(), terms).await
    }

    /// Deployments, the newest first, until `is_enough` of them were read or there are no more.
    pub(super) async fn history(
        &self,
        terms: Terms,
        is_enough: impl Fn(&[Deployment]) -> bool,
    ) -> Result<Vec<Deployment>, ApiError> {
        let config = &self.config;
        let input = json!({
            "projectId": config.project, "environmentId": config.environment, "serviceId": config.service,
        });
        let mut found = Vec::new();
        let mut after = None;
        for _page in 0..PAGES_MAX {
            let variables = json!({"input": input, "first": PAGE, "after": after});
            let mut page = self.ask::<form::History>(form::HISTORY, variables, terms).await?.deployments;
            let next =
                page.page_info.take().filter(|info| info.has_next_page).and_then(|info| info.end_cursor);
            found.append(&mut page.into_nodes());
            after = next;
            if after.is_none() || is_enough(&found) {
                break;
            }
        }
        Ok(found)
    }

    /// What the project's token is for.
    pub(super) async fn scope(&self, terms: Terms) -> Result<Scope, ApiError> {
        let token = self.ask::<form::Token>(form::TOKEN, json!({}), terms).await?.project_token;
        Ok(Scope { project: token.project_id, environment: token.environment_id, service: None })
    }

    /// The plan.
    pub(super) async fn plan(&self, terms: Terms) -> Result<String, ApiError> {
        let variables = json!({"projectId": self.config.project});
        Ok(self.ask::<form::Plan>(form::PLAN, variables, terms).await?.project.subscription_type)
    }

    /// Whether pushes are deployed.
    pub(super) async fn auto_deploy(&self, terms: Terms) -> Result<AutoDeploy, ApiError> {
        let asked = self.ask::<form::AutoDeploy>(form::AUTO_DEPLOY, self.of_all(), terms).await?;
        let status = asked.service_instance_auto_deploy_status;
        Ok(AutoDeploy { is_on: status.enabled, reason: status.reason })
    }

    /// What deploys them.
    pub(super) async fn triggers(&self, terms: Terms) -> Result<Vec<Trigger>, ApiError> {
        let asked = self.ask::<form::Triggers>(form::TRIGGERS, self.of_all(), terms).await?;
        let told = |it: form::Trigger| Trigger {
            repository: it.repository,
            branch: it.branch,
            waits_for_checks: it.check_suites,
        };
        Ok(asked.deployment_triggers.into_nodes().into_iter().map(told).collect())
    }

    /// Where volumes of the service are mounted.
    pub(super) async fn volumes(&self, terms: Terms) -> Result<Vec<String>, ApiError> {
        let variables = json!({"environmentId": self.config.environment, "projectId": self.config.project});
        let asked = self.ask::<form::Volumes>(form::VOLUMES, variables, terms).await?;
        let own = |it: &form::Volume| {
            it.deleted_at.is_none() && it.service_id.as_deref() == Some(self.config.service.as_str())
        };
        let all = asked.environment.volume_instances.into_nodes().into_iter();
        Ok(all.filter(own).map(|it| it.mount_path).collect())
    }

    /// The app's ports that TCP proxies lead to.
    pub(super) async fn tcp_ports(&self, terms: Terms) -> Result<Vec<u16>, ApiError> {
        let asked = self.ask::<form::TcpPorts>(form::TCP_PORTS, self.of_service(), terms).await?;
        let open = asked.tcp_proxies.into_iter().filter(|it| it.deleted_at.is_none());
        Ok(open.map(|it| it.application_port).collect())
    }

    /// Orders a rollback to this deployment; whether Railway says that it was done.
    pub(super) async fn roll_back(&self, id: &str, terms: Terms) -> Result<bool, ApiError> {
        Ok(self.ask::<form::RolledBack>(form::ROLL_BACK, json!({"id": id}), terms).await?.deployment_rollback)
    }

    /// Orders that this deployment is made once more; the new one's id.
    pub(super) async fn redeploy(&self, id: &str, terms: Terms) -> Result<String, ApiError> {
        Ok(self
            .ask::<form::Redeployed>(form::REDEPLOY, json!({"id": id}), terms)
            .await?
            .deployment_redeploy
            .id)
    }

    /// Cancels a deployment that is on its way; whether that was done.
    pub(super) async fn cancel(&self, id: &str, terms: Terms) -> Result<bool, ApiError> {
        Ok(self.ask::<form::Cancelled>(form::CANCEL, json!({"id": id}), terms).await?.deployment_cancel)
    }

    /// Keeps pushes from being deployed; whether they are now.
    pub(super) async fn stop_auto_deploy(&self, terms: Terms) -> Result<bool, ApiError> {
        let mut input = self.of_all();
        input["enabled"] = json!(false);
        let asked = self.ask::<form::Stopped>(form::STOP_AUTO_DEPLOY, json!({"input": input}), terms).await?;
        Ok(asked.service_instance_auto_deploy_update.enabled)
    }

    fn of_service(&self) -> serde_json::Value {
        json!({"environmentId": self.config.environment, "serviceId": self.config.service})
    }

    fn of_all(&self) -> serde_json::Value {
        let config = &self.config;
        json!({"environmentId": config.environment, "projectId": config.project, "serviceId": config.service})
    }
}

/// Railway's state in plain words; one that does not say is taken at its best: the acts speak for themselves.
pub(super) fn state_of(status: Option<form::PlatformStatus>) -> PlatformState {
    let words = |message: Option<form::Message>| message.map(|it| it.message);
    match status {
        None => PlatformState { is_stable: true, incident: None, maintenance: None },
        Some(status) => PlatformState {
            is_stable: status.is_stable,
            incident: words(status.incident),
            maintenance: words(status.maintenance),
        },
    }
}

/// Why nothing is done while Railway is not stable; `None` while it is.
pub(super) fn unstable(state: &PlatformState) -> Option<String> {
    let told = state.incident.as_deref().or(state.maintenance.as_deref());
    let told = told.unwrap_or("it names no incident");
    (!state.is_stable).then(|| format!("Railway says that it is not stable itself: {told}"))
}
