//! With which deployment a release is put back. Pure.
//!
//! Railway's word that a deployment can be rolled back to says that it still holds the image, not that it was any good: that
//! the agents know. So the ids that are known decide, and the image stands in for an id only where commit and digest both
//! are the same.

use crate::engine::record::Known;
use crate::engine::release::Release;
use crate::platform::railway::deployment::Deployment;
use crate::platform::railway::live::images_of;

/// With what a release is put back.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Target<'a> {
    /// This deployment, from the image that is held.
    RollBack(&'a Deployment),
    /// This one, by deploying it once more: its image is not held, or Railway does not say so.
    Redeploy(&'a Deployment),
    /// Nothing.
    Gone(String),
}

/// The deployment to put `release` back with, in place of `live`. `history` is the newest first.
pub(super) fn choose<'a>(
    release: &Release,
    live: &Deployment,
    known: &Known,
    history: &'a [Deployment],
) -> Target<'a> {
    if known.quarantined.contains(release) {
        return Target::Gone(format!("release {release} was itself rolled back"));
    }
    let fits: Vec<&Deployment> = history.iter().filter(|it| may_be_put_back(it, live, known)).collect();
    let mut own = fits.iter().copied().filter(|it| is_of(it, release, known));
    if let Some(found) = own.clone().find(|it| it.can_rollback) {
        return Target::RollBack(found);
    }
    let is_twin = |it: &&&Deployment| {
        let mut images = images_of(release, known, history);
        it.can_rollback
            && known.release_of(&it.id).is_none()
            && images.any(|image| image.is_identical(&it.image))
    };
    if let Some(twin) = fits.iter().find(is_twin) {
        return Target::RollBack(twin);
    }
    match own.find(|it| it.can_redeploy) {
        Some(found) => Target::Redeploy(found),
        None => Target::Gone(why(release, live, known, history)),
    }
}

/// Everything that could be put back, whatever release it is of, the newest first.
pub(super) fn restorable<'a>(
    live: &'a Deployment,
    known: &'a Known,
    history: &'a [Deployment],
) -> impl Iterator<Item = (&'a Deployment, &'a Release)> {
    let fits = history.iter().filter(|it| it.can_rollback && may_be_put_back(it, live, known));
    fits.filter_map(|it| Some((it, known.release_of(&it.id)?)))
}

/// It was live before what is live now, and nothing is known against it.
fn may_be_put_back(it: &Deployment, live: &Deployment, known: &Known) -> bool {
    let is_bad = known.release_of(&it.id).is_some_and(|release| known.quarantined.contains(release));
    it.id != live.id && it.status.was_live() && live.is_newer_than(it) && !is_bad
}

fn is_of(it: &Deployment, release: &Release, known: &Known) -> bool {
    known.deployments_of(release).iter().any(|id| id.as_str() == it.id)
}

/// Why nothing of a release can be put back, by the newest of its deployments.
fn why(release: &Release, live: &Deployment, known: &Known, history: &[Deployment]) -> String {
    let ids = known.deployments_of(release);
    if ids.is_empty() {
        return format!("no deployment of release {release} is known");
    }
    let Some(newest) = history.iter().find(|it| is_of(it, release, known)) else {
        return format!(
            "Railway lists none of the deployments of release {release} any more ({} known, the newest {})",
            ids.len(),
            ids.last().map_or("", |id| id.as_str())
        );
    };
    let id = &newest.id;
    if newest.id == live.id {
        return format!("deployment {id} of release {release} is live itself");
    }
    if !newest.status.was_live() {
        return format!("deployment {id} of release {release} is {}", newest.status.word());
    }
    if !live.is_newer_than(newest) {
        return format!("deployment {id} of release {release} is not older than the live one");
    }
    let since = newest.status_at.map_or_else(String::new, |at| format!(" (it was removed {at})"));
    format!(
        "Railway does not hold the image of deployment {id} of release {release} any more: the plan's retention is \
         over{since}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::railway::deployment::{Image, Status};
    use crate::platform::railway::samples::{deployment, known, release};

    fn live() -> Deployment {
        Deployment { status: Status::Success, ..deployment("bad-1", 50, "c9") }
    }

    fn chosen(history: &[Deployment]) -> Result<(&str, &'static str), String> {
        match choose(&release("good"), &live(), &known(), history) {
            Target::RollBack(it) => Ok((&it.id, "roll back")),
            Target::Redeploy(it) => Ok((&it.id, "redeploy")),
            Target::Gone(why) => Err(why),
        }
    }

    #[test]
    fn the_newest_known_deployment_that_is_held_is_put_back() {
        let history = [live(), deployment("good-2", 30, "c1"), deployment("good-1", 10, "c1")];
        assert_eq!(chosen(&history), Ok(("good-2", "roll back")));
        let lost = Deployment { can_rollback: false, ..history[1].clone() };
        assert_eq!(chosen(&[live(), lost, history[2].clone()]), Ok(("good-1", "roll back")));
    }

    #[test]
    fn neither_status_nor_age_nor_name_let_a_wrong_one_pass() {
        for (what, wrong) in [
            ("failed", Deployment { status: Status::Failed, ..deployment("good-2", 30, "c1") }),
            ("crashed", Deployment { status: Status::Crashed, ..deployment("good-2", 30, "c1") }),
            (
                "unknown status",
                Deployment { status: Status::Other("X".into()), ..deployment("good-2", 30, "c1") },
            ),
            ("newer", deployment("good-2", 60, "c1")),
            ("as old", deployment("good-2", 50, "c1")),
            ("undated", Deployment { created_at: None, ..deployment("good-2", 30, "c1") }),
            ("quarantined", deployment("worse-1", 30, "c1")),
            ("another release", deployment("bad-1", 30, "c1")),
            (
                "not known, like by one of both",
                Deployment {
                    image: Image { commit: Some("c1".into()), digest: None },
                    ..deployment("twin", 30, "c1")
                },
            ),
        ] {
            let known_one =
                Deployment { can_rollback: false, can_redeploy: false, ..deployment("good-1", 10, "c1") };
            assert!(chosen(&[wrong, known_one]).is_err(), "{what}");
        }
    }

    #[test]
    fn an_identical_image_stands_in_for_an_id() {
        let gone = Deployment { can_rollback: false, ..deployment("good-1", 10, "c1") };
        let history = [live(), deployment("twin", 30, "c1"), gone];
        assert_eq!(chosen(&history), Ok(("twin", "roll back")));
    }

    #[test]
    fn without_an_image_it_is_deployed_once_more() {
        let gone = Deployment { can_rollback: false, ..deployment("good-1", 10, "c1") };
        assert_eq!(chosen(&[live(), gone]), Ok(("good-1", "redeploy")));
    }

    #[test]
    fn why_there_is_nothing_is_told() {
        assert!(chosen(&[live()]).unwrap_err().contains("lists none of the deployments of release good"));
        let gone = Deployment { can_rollback: false, can_redeploy: false, ..deployment("good-1", 10, "c1") };
        let why = chosen(&[live(), gone.clone()]).unwrap_err();
        assert!(
            why.contains("good-1") && why.contains("retention") && why.contains("1970-01-01T00:11:00Z"),
            "{why}"
        );
        let failed = Deployment { status: Status::Failed, ..gone };
        assert!(chosen(&[live(), failed]).unwrap_err().contains("is FAILED"));
        let history = [live(), deployment("worse-1", 10, "c3")];
        let unknown = choose(&release("never"), &live(), &known(), &history);
        assert_eq!(unknown, Target::Gone("no deployment of release never is known".to_owned()));
        let bad = choose(&release("worse"), &live(), &known(), &history);
        assert_eq!(bad, Target::Gone("release worse was itself rolled back".to_owned()));
    }

    #[test]
    fn what_could_be_put_back_leaves_out_what_is_bad_and_what_nobody_knows() {
        let history = [
            live(),
            deployment("good-2", 30, "c1"),
            deployment("worse-1", 20, "c2"),
            deployment("strange", 15, "c3"),
            Deployment { can_rollback: false, ..deployment("good-1", 10, "c1") },
        ];
        let (live, known) = (live(), known());
        let found: Vec<_> =
            restorable(&live, &known, &history).map(|(it, of)| (it.id.as_str(), of.as_str())).collect();
        assert_eq!(found, [("good-2", "good")]);
    }
}
