//! Putting a release back, step by step. It owns the order of the steps and what each failure means for the act.
//!
//! Up to the call everything that fails leads to "refused, nothing was done", but for the two precautions, which may fail
//! and be reported. After the call nothing is repeated, whatever its answer: the new deployment is only looked for.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::engine::record::{ActStep, Acted, Known, Order};
use crate::https::chain;
use crate::platform::Journal;
use crate::platform::railway::api::{Api, Deadline, Terms, state_of, unstable};
use crate::platform::railway::deployment::{Deployment, Image, Status};
use crate::platform::railway::fault::ApiError;
use crate::platform::railway::gauge::Purpose;
use crate::platform::railway::live::{images_of, newest};
use crate::platform::railway::target::{Target, choose};

/// How many deployments an act cancels at most; more are left, and said.
const CANCELLED_MAX: usize = 8;
/// When the new deployment is looked for after the call, each time after the last; then it is left to `current`.
const LOOKS: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(4)];
/// When it is looked for after a refusal.
const LOOK_ONCE: [Duration; 1] = [Duration::from_secs(2)];
/// Precautions and reads before the call take at most this share of what is left each, so that there is time for the call.
const SHARE: u32 = 4;

/// What the act is about, as it was read.
#[derive(Debug)]
struct Plan {
    live: Deployment,
    target: Deployment,
    is_redeploy: bool,
    /// What will go live after it if nobody keeps it from that.
    pending: Vec<Deployment>,
    /// What the target was made from, by all its deployments.
    images: Vec<Image>,
    /// What was there before the call.
    before: BTreeSet<String>,
}

/// What became of an order, and the deployment that it made, where that was found.
pub(super) struct Done {
    pub(super) acted: Acted,
    pub(super) made: Option<String>,
}

impl Done {
    fn refused(reason: String) -> Self {
        Self { acted: Acted::Refused { reason }, made: None }
    }
}

/// Puts `order.to` back.
pub(super) async fn roll_back(api: &Api, order: &Order, known: &Known, journal: &Journal) -> Done {
    let deadline = api.deadline();
    journal.begun(ActStep::Read);
    let plan = match survey(api, order, known, deadline).await {
        Ok(plan) => plan,
        Err(reason) => {
            journal.failed(ActStep::Read, &reason);
            return Done::refused(reason);
        }
    };
    journal.done(ActStep::Read, plan.told(order));
    let mut before = Vec::new();
    before.extend(cancel(api, &plan, journal, deadline).await);
    before.extend(stop_auto_deploy(api, journal, deadline).await);
    let mut done = match read_again(api, order, known, journal, deadline).await {
        Ok(()) => call(api, order, &plan, journal, deadline).await,
        Err(reason) => Done::refused(reason),
    };
    if let Acted::Refused { reason } = &mut done.acted
        && !before.is_empty()
    {
        *reason = format!("{reason} (but before that: {})", before.join("; "));
    }
    done
}

/// The precautions take their time, in which something else may have gone live: where they were to be taken, it is looked once more.
async fn read_again(
    api: &Api,
    order: &Order,
    known: &Known,
    journal: &Journal,
    deadline: Deadline,
) -> Result<(), String> {
    if !api.config().cancel_queued && !api.config().stop_auto_deploy {
        return Ok(());
    }
    journal.begun(ActStep::Read);
    match survey_live(api, order, known, terms(deadline, SHARE)).await {
        Ok(live) => {
            journal.done(ActStep::Read, format!("deployment {} is still live", live.id));
            Ok(())
        }
        Err(reason) => {
            journal.failed(ActStep::Read, &reason);
            Err(reason)
        }
    }
}

fn terms(deadline: Deadline, share: u32) -> Terms {
    Terms { purpose: Purpose::Act, deadline, share }
}

/// Reads what is live and chooses the target, or says why nothing may be done.
async fn survey(api: &Api, order: &Order, known: &Known, deadline: Deadline) -> Result<Plan, String> {
    let terms = terms(deadline, SHARE);
    let live = survey_live(api, order, known, terms).await?;
    let is_enough = |found: &[Deployment]| {
        matches!(choose(&order.to, &live, known, found), Target::RollBack(_))
            && found.iter().any(|it| live.is_newer_than(it))
    };
    let history = api.history(terms, is_enough).await.map_err(|error| chain(&error))?;
    plan(&live, order, known, &history)
}

/// What is live, if that is what is accused and the platform is well.
async fn survey_live(api: &Api, order: &Order, known: &Known, terms: Terms) -> Result<Deployment, String> {
    let read = api.live(terms).await.map_err(|error| chain(&error))?;
    if let Some(reason) = unstable(&state_of(read.platform_status)) {
        return Err(reason);
    }
    let live =
        newest(&read.service_instance.active_deployments).ok_or("no deployment of the service is active")?;
    require_accused(live, order, known)?;
    Ok(live.clone())
}

/// What is live must still be what is accused.
fn require_accused(live: &Deployment, order: &Order, known: &Known) -> Result<(), String> {
    let own = known.own.as_ref().filter(|(_, release)| *release == order.from).map(|(own, _)| own.as_str());
    let is_accused = match own {
        Some(own) => live.id == own,
        None => known.deployments_of(&order.from).iter().any(|id| id.as_str() == live.id),
    };
    if is_accused {
        return Ok(());
    }
    let of = known
        .release_of(&live.id)
        .map_or_else(|| "an unknown release".to_owned(), |it| format!("release {it}"));
    Err(format!(
        "deployment {} of {of} is live now, and not the accused one of release {}; nothing was done",
        live.id, order.from
    ))
}

fn plan(live: &Deployment, order: &Order, known: &Known, history: &[Deployment]) -> Result<Plan, String> {
    let images: Vec<Image> = images_of(&order.to, known, history).cloned().collect();
    let others = || history.iter().filter(|it| it.id != live.id);
    let is_of_target = |it: &&Deployment| images.iter().any(|image| image.is_like(&it.image));
    // What is on its way goes live after what is live now, whichever was made first.
    let is_under_way =
        |it: &&Deployment| it.status.is_moving() || (it.status == Status::Success && it.is_newer_than(live));
    if let Some(other) = others().filter(is_under_way).find(is_of_target) {
        return Err(format!(
            "deployment {} ({}) puts release {} back already; nothing was done",
            other.id,
            other.status.word(),
            order.to
        ));
    }
    let (target, is_redeploy) = match choose(&order.to, live, known, history) {
        Target::RollBack(target) => (target.clone(), false),
        Target::Redeploy(target) => (target.clone(), true),
        Target::Gone(why) => return Err(why),
    };
    // What has waited for a person since before the live one was made is left to that person.
    let may_go_live =
        |it: &&Deployment| it.status.is_moving() || (it.status.is_pending() && !live.is_newer_than(it));
    let pending = others().filter(may_go_live).filter(|it| !is_of_target(it)).cloned().collect();
    let before = history.iter().chain([live]).map(|it| it.id.clone()).collect();
    let images = images.into_iter().chain([target.image.clone()]).collect();
    Ok(Plan { live: live.clone(), target, is_redeploy, pending, images, before })
}

impl Plan {
    fn told(&self, order: &Order) -> String {
        let made = self.target.created_at.map_or_else(String::new, |at| format!(", made {at}"));
        let how = if self.is_redeploy {
            ", to be deployed once more as a fall-back: Railway does not hold its image any more"
        } else {
            ""
        };
        format!(
            "deployment {} of release {} is live; target: deployment {} of release {}{made}{how}",
            self.live.id, order.from, self.target.id, order.to
        )
    }

    /// The deployment that the call made: it was not there before, and is made from what the target is made from.
    fn find<'a>(&self, history: &'a [Deployment]) -> Option<&'a Deployment> {
        let is_new = |it: &&Deployment| it.is_newer_than(&self.live) && !self.before.contains(&it.id);
        history.iter().filter(is_new).find(|it| self.images.iter().any(|image| image.is_like(&it.image)))
    }
}

/// Keeps what is on its way from going live after the target. That may fail: the target is put back all the same. Says what it
/// did, where it did anything.
async fn cancel(api: &Api, plan: &Plan, journal: &Journal, deadline: Deadline) -> Option<String> {
    if !api.config().cancel_queued || plan.pending.is_empty() {
        return None;
    }
    journal.begun(ActStep::CancelQueued);
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for it in plan.pending.iter().take(CANCELLED_MAX) {
        match api.cancel(&it.id, terms(deadline, SHARE)).await {
            Ok(true) => done.push(it.id.clone()),
            Ok(false) => failed.push(format!("{}: Railway says that it was not cancelled", it.id)),
            Err(error) => failed.push(format!("{}: {}", it.id, chain(&error))),
        }
    }
    let left = plan.pending.len().saturating_sub(CANCELLED_MAX);
    if left > 0 {
        failed.push(format!("{left} more were left"));
    }
    let told = (!done.is_empty()).then(|| format!("cancelled {}", done.join(", ")));
    if let Some(told) = &told {
        journal.done(ActStep::CancelQueued, told);
    }
    if !failed.is_empty() {
        let reason = format!("{}; what is on its way goes live after the rollback", failed.join("; "));
        journal.failed(ActStep::CancelQueued, reason);
    }
    told
}

/// A rollback does not touch the branch. This may fail, too. Says what it did, where it did anything.
async fn stop_auto_deploy(api: &Api, journal: &Journal, deadline: Deadline) -> Option<String> {
    if !api.config().stop_auto_deploy {
        return None;
    }
    journal.begun(ActStep::StopAutoDeploy);
    let still_on = match api.stop_auto_deploy(terms(deadline, SHARE)).await {
        Ok(false) => {
            let detail = "pushes are not deployed by themselves until a person switches that on again";
            journal.done(ActStep::StopAutoDeploy, detail);
            return Some("automatic deployments were switched off".to_owned());
        }
        Ok(true) => "Railway says that it is still on".to_owned(),
        Err(error) => chain(&error),
    };
    let reason = format!(
        "AUTOMATIC DEPLOYMENTS ARE STILL ON: the next push ships the bad release again. Switch them off in the service's \
         settings, under Source, until the fault is mended ({still_on})"
    );
    journal.failed(ActStep::StopAutoDeploy, reason);
    None
}

async fn call(api: &Api, order: &Order, plan: &Plan, journal: &Journal, deadline: Deadline) -> Done {
    let left = deadline.left();
    journal.begun(ActStep::Call);
    if left.is_zero() {
        let reason = "the time (platform.timeout) was over before Railway could be called; nothing was done"
            .to_owned();
        journal.failed(ActStep::Call, &reason);
        return Done::refused(reason);
    }
    let target = &plan.target.id;
    let (what, answer) = if plan.is_redeploy {
        ("deploymentRedeploy", api.redeploy(target, terms(deadline, 1)).await.map(Some))
    } else {
        let answer = api.roll_back(target, terms(deadline, 1)).await;
        ("deploymentRollback", answer.map(|taken| taken.then(String::new)))
    };
    match answer {
        Ok(Some(id)) => {
            journal.done(ActStep::Call, format!("Railway took {what}({target})"));
            let made =
                if id.is_empty() { find(api, plan, &LOOKS, journal, deadline).await } else { Some(id) };
            let fall_back = if plan.is_redeploy { ", deployed once more as a fall-back" } else { "" };
            let detail = match &made {
                Some(made) => format!("deployment {made} from {target}{fall_back}"),
                None => format!("from {target}{fall_back}; the new deployment is not listed yet"),
            };
            Done { acted: Acted::Accepted { detail }, made }
        }
        Ok(None) => {
            let reason = format!("Railway answered false to {what}({target}) and did nothing");
            journal.failed(ActStep::Call, &reason);
            Done::refused(reason)
        }
        Err(error) => {
            let reason = chain(&error);
            journal.failed(ActStep::Call, &reason);
            // A refusal in words that are not known may have come after the act; whether it has is seen.
            let is_certain = error.is_certain();
            let looks: &[Duration] = match (matches!(error, ApiError::Refused { .. }), is_certain) {
                (true, _) => &LOOK_ONCE,
                (false, true) => &[],
                (false, false) => &LOOKS,
            };
            let made = find(api, plan, looks, journal, deadline).await;
            if is_certain && made.is_none() {
                return Done::refused(reason);
            }
            let found = match &made {
                Some(made) => format!("deployment {made} of release {} has appeared since", order.to),
                None => format!("no new deployment of release {} was seen since", order.to),
            };
            Done { acted: Acted::Unknown { reason: format!("{reason}; {found}") }, made }
        }
    }
}

/// Looks for what the call made. Not finding it means nothing: it may take longer to be listed.
async fn find(
    api: &Api,
    plan: &Plan,
    looks: &[Duration],
    journal: &Journal,
    deadline: Deadline,
) -> Option<String> {
    if looks.is_empty() {
        return None;
    }
    journal.begun(ActStep::Find);
    let mut why = "it is not listed yet".to_owned();
    for &pause in looks {
        if deadline.left() <= pause {
            break;
        }
        tokio::time::sleep(pause).await;
        match api.history(terms(deadline, 1), |_| true).await {
            Ok(history) => {
                if let Some(made) = plan.find(&history) {
                    journal.done(ActStep::Find, format!("deployment {} is {}", made.id, made.status.word()));
                    return Some(made.id.clone());
                }
            }
            Err(error) => why = chain(&error),
        }
    }
    journal.failed(ActStep::Find, why);
    None
}

#[cfg(test)]
#[path = "act_tests.rs"]
mod tests;
