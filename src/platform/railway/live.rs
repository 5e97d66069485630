//! Which release a live deployment is. Pure.
//!
//! A deployment whose id is known is what it is known as. A rollback makes a *new* deployment, with an id that nobody has
//! seen: it is known by what it was made from.

use crate::engine::record::Known;
use crate::engine::release::Release;
use crate::platform::railway::deployment::{Deployment, Image};

/// The newest of those that are active: during a change there are two.
pub(super) fn newest(active: &[Deployment]) -> Option<&Deployment> {
    active.iter().reduce(|newest, next| if next.is_newer_than(newest) { next } else { newest })
}

/// The images of what is listed of a release.
pub(super) fn images_of<'a>(
    release: &'a Release,
    known: &'a Known,
    history: &'a [Deployment],
) -> impl Iterator<Item = &'a Image> {
    let is_of = |it: &&Deployment| known.deployments_of(release).iter().any(|id| id.as_str() == it.id);
    history.iter().filter(is_of).map(|it| &it.image)
}

/// Which release a live deployment is whose id is not known.
pub(super) fn by_image(live: &Deployment, known: &Known, history: &[Deployment]) -> Result<Release, String> {
    let own = known.own.as_ref();
    let listed = |id: &str| history.iter().find(|it| it.id == id);
    let own_listed = own.and_then(|(id, _)| listed(id.as_str()));
    // What is not among the newest is older than all of them.
    let is_after_own = match own_listed {
        Some(own) => live.is_newer_than(own),
        None => own.is_some() && listed(&live.id).is_some(),
    };
    let is_target = known.target.as_ref().filter(|target| {
        is_after_own && images_of(target, known, history).any(|image| image.is_like(&live.image))
    });
    // Railway deploys anew by itself, too: what was live already, under another id.
    let is_own = own_listed.filter(|own| own.image.is_like(&live.image)).and(own).map(|(_, release)| release);
    match (is_target, is_own) {
        (Some(target), Some(own)) if target != own => Err(format!(
            "deployment {} is live, and made from what both release {target} and release {own} were made from",
            live.id
        )),
        (Some(release), _) | (None, Some(release)) => Ok(release.clone()),
        (None, None) => foreign(live),
    }
}

/// The name of a release that nobody knows.
fn foreign(live: &Deployment) -> Result<Release, String> {
    let named = Release::new(&format!("railway:{}", live.id));
    named.ok_or_else(|| "the live deployment has no usable id".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::railway::samples::{deployment, known, release};

    #[test]
    fn of_two_that_are_active_the_newer_is_live() {
        let both = [deployment("old", 1, "c1"), deployment("new", 5, "c2"), deployment("mid", 3, "c3")];
        assert_eq!(newest(&both).unwrap().id, "new");
        assert!(newest(&[]).is_none());
    }

    #[test]
    fn a_new_deployment_of_the_targets_image_is_the_target_put_back() {
        let history =
            [deployment("fresh", 9, "c1"), deployment("bad-1", 5, "c2"), deployment("good-1", 1, "c1")];
        assert_eq!(by_image(&history[0], &known(), &history), Ok(release("good")));
    }

    #[test]
    fn one_that_is_older_than_the_accused_is_not_what_a_rollback_made() {
        let history =
            [deployment("bad-1", 5, "c2"), deployment("older", 3, "c1"), deployment("good-1", 1, "c1")];
        assert_eq!(by_image(&history[1], &known(), &history), Ok(release("railway:older")));
    }

    #[test]
    fn the_accused_deployed_anew_is_still_the_accused() {
        let history =
            [deployment("again", 9, "c2"), deployment("bad-1", 5, "c2"), deployment("good-1", 1, "c1")];
        assert_eq!(by_image(&history[0], &known(), &history), Ok(release("bad")));
    }

    #[test]
    fn a_strange_one_is_named_by_its_id() {
        let history =
            [deployment("strange", 9, "c7"), deployment("bad-1", 5, "c2"), deployment("good-1", 1, "c1")];
        assert_eq!(by_image(&history[0], &known(), &history), Ok(release("railway:strange")));
        let untold = Deployment { image: Image::default(), ..history[0].clone() };
        assert_eq!(by_image(&untold, &known(), &history), Ok(release("railway:strange")));
    }

    #[test]
    fn what_was_made_from_the_same_as_both_is_not_guessed_at() {
        let history =
            [deployment("fresh", 9, "c1"), deployment("bad-1", 5, "c1"), deployment("good-1", 1, "c1")];
        assert!(
            by_image(&history[0], &known(), &history)
                .unwrap_err()
                .contains("both release good and release bad")
        );
    }
}
