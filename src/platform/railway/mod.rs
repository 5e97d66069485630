//! Railway, by its public GraphQL API: what is live, whether a rollback would be possible, and putting a release back.
//!
//! Railway knows deployments, the agents know releases; which deployment was which release comes in as [`Known`]. Facts that
//! decide the design: a rollback makes a *new* deployment from a held image and answers a plain `true`; deployments that were
//! replaced are `REMOVED`, not `SUCCESS`; `canRollback` says that the image is held, not that it was any good; the latest
//! deployment need not be live; errors come with HTTP 200; requests are few.
//!
//! Without a token nothing is asked: another agent may have one.

mod act;
mod api;
mod client;
mod deployment;
#[doc(hidden)]
pub mod documents;
mod examination;
mod fault;
mod gather;
mod gauge;
mod live;
mod readiness;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod script;
mod target;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config;
use crate::engine::peer;
use crate::engine::record::{Acted, Known, Live, Order, Readiness, Sight};
use crate::engine::release::Release;
use crate::https::chain;
use crate::platform::railway::api::{Api, state_of, unstable};
use crate::platform::railway::deployment::Deployment;
use crate::platform::railway::gather::{Depth, Lasting, gather, unread};
use crate::platform::railway::gauge::Purpose;
use crate::platform::railway::live::{by_image, newest};
use crate::platform::{BoxFuture, Journal, Platform};

pub use crate::platform::railway::examination::{
    AutoDeploy, Choice, Domain, Examination, LiveDeployment, Manifest, PlatformState, Quota, Reading,
    Restorable, Scope, Settings, Trigger,
};

const NO_TOKEN: &str =
    "neither RAILWAY_TOKEN nor RAILWAY_API_TOKEN is set, so this agent asks Railway nothing";
/// How old an answer may be that is given once more: what is live is asked for every few seconds while a rollback is seen
/// through, and each request counts. An order reads anew.
const LIVE_FRESH: Duration = Duration::from_secs(8);
/// How many requests a look ahead makes at most; where our own limit leaves room for fewer, there is none.
const LOOKS: u32 = 8;
/// How many deployments are remembered that our own orders made; the oldest is forgotten first.
const MADE_MAX: usize = 8;

/// Reads everything that a rollback depends on, for `known`. It changes nothing, and makes twelve requests at most.
pub async fn examine(config: &config::Railway, known: &Known) -> Examination {
    match Api::new(config) {
        None => unread(config, NO_TOKEN),
        Some(api) => gather(&api, known, Depth::All, &mut Lasting::default()).await,
    }
}

/// Railway.
pub(super) struct Railway {
    api: Option<Api>,
    memo: Mutex<Memo>,
}

/// What is remembered to ask less. Nothing of it is needed.
#[derive(Default)]
struct Memo {
    lasting: Lasting,
    /// What is live, and when it was read.
    live: Option<(Deployment, Duration)>,
    /// Which release the live deployment is that was not known, as long as the target is the same.
    found: Option<(String, Option<Release>, Release)>,
    /// The deployments that our orders made.
    made: VecDeque<(String, Release)>,
}

impl Railway {
    pub(super) fn new(config: &config::Railway) -> Self {
        Self { api: Api::new(config), memo: Mutex::default() }
    }

    async fn live(&self, api: &Api, known: &Known) -> Result<Release, String> {
        let live = &self.live_deployment(api, Purpose::Read).await?;
        if let Some(release) = known.release_of(&live.id) {
            return Ok(release.clone());
        }
        if let Some(release) = self.memo().release_of(live, known) {
            return Ok(release);
        }
        let history = api.history(api.alone(Purpose::Read), |_| true).await.map_err(|error| chain(&error))?;
        let release = by_image(live, known, &history)?;
        self.memo().found = Some((live.id.clone(), known.target.clone(), release.clone()));
        Ok(release)
    }

    async fn live_deployment(&self, api: &Api, purpose: Purpose) -> Result<Deployment, String> {
        let now = api.clock().uptime();
        let fresh = self.memo().live.clone().filter(|(_, read)| now.saturating_sub(*read) < LIVE_FRESH);
        if let Some((live, _)) = fresh {
            return Ok(live);
        }
        let read = api.live(api.alone(purpose)).await.map_err(|error| chain(&error))?;
        if let Some(reason) = unstable(&state_of(read.platform_status)) {
            return Err(reason);
        }
        let live = newest(&read.service_instance.active_deployments);
        let live = live.ok_or("no deployment of the service is active")?.clone();
        self.memo().live = Some((live.clone(), now));
        Ok(live)
    }

    fn memo(&self) -> MutexGuard<'_, Memo> {
        self.memo.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memo {
    fn release_of(&self, live: &Deployment, known: &Known) -> Option<Release> {
        let made = self.made.iter().find(|(id, _)| *id == live.id).map(|(_, release)| release);
        let found = self.found.as_ref().filter(|(id, target, _)| *id == live.id && *target == known.target);
        made.or(found.map(|(_, _, release)| release)).cloned()
    }

    fn made(&mut self, id: String, release: Release) {
        self.made.push_back((id, release));
        if self.made.len() > MADE_MAX {
            self.made.pop_front();
        }
    }
}

impl Platform for Railway {
    fn kind(&self) -> &'static str {
        "railway"
    }

    fn roll_back<'a>(
        &'a self,
        order: &'a Order,
        known: &'a Known,
        journal: &'a Journal,
    ) -> BoxFuture<'a, Acted> {
        Box::pin(async move {
            let Some(api) = &self.api else { return Acted::Refused { reason: NO_TOKEN.to_owned() } };
            let done = act::roll_back(api, order, known, journal).await;
            self.memo().live = None;
            if let Some(made) = done.made {
                self.memo().made(made, order.to.clone());
            }
            done.acted
        })
    }

    fn current<'a>(&'a self, known: &'a Known) -> BoxFuture<'a, Live> {
        Box::pin(async move {
            let Some(api) = &self.api else { return Live::Unknown { reason: NO_TOKEN.to_owned() } };
            match self.live(api, known).await {
                Ok(release) => Live::Release(release),
                Err(reason) => Live::Unread { reason },
            }
        })
    }

    fn readiness<'a>(&'a self, known: &'a Known) -> BoxFuture<'a, Option<Readiness>> {
        Box::pin(async move {
            let api = self.api.as_ref().filter(|api| api.has_room(LOOKS))?;
            let mut lasting = self.memo().lasting.clone();
            let found = gather(api, known, Depth::Readiness, &mut lasting).await;
            self.memo().lasting = lasting;
            Some(readiness::weigh(&found, api.clock().now()))
        })
    }

    fn sight(&self) -> BoxFuture<'_, Option<Sight>> {
        Box::pin(async move {
            let api = self.api.as_ref()?;
            // What cannot be read says nothing; that it cannot is told by `readiness`. Nor does a platform that is unstable.
            let live = self.live_deployment(api, Purpose::Look).await.ok()?;
            let deployment = peer::Deployment::new(&live.id)?;
            Some(Sight { deployment, up: live.up, down: live.down })
        })
    }
}
