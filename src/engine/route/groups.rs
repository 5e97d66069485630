//! The groups that figures are kept of: at most [`GROUPS_MAX`], whatever is asked.

use std::sync::Arc;

use crate::engine::observation::Method;
use crate::engine::time::Time;

/// Groups in all. At the bound one that was not asked for in `AGE_MAX_MS`, or that is asked for far less often, gives
/// way to a new one; where none does, the request counts as [`OTHER`].
pub const GROUPS_MAX: usize = 200;
/// What has no group of its own. It is not judged: scanners ask for what does not exist.
pub const OTHER: &str = "_other";
/// Questions of browsers before they ask.
pub const PREFLIGHT: &str = "_preflight";
/// Files that an app serves beside its own work.
pub const ASSETS: &str = "_assets";

/// A group that was not asked for in so long gives way.
const AGE_MAX_MS: u64 = 900_000;
/// A new one must be asked for so many times as often as the one that gives way to it.
const WEIGHT_RATIO: u32 = 2;
/// Weights are halved so often, so that they tell of the recent past.
const EPOCH_MS: u64 = 600_000;

const METHODS: usize = Method::ALL.len();
/// `_other` and `_assets` by method, and `_preflight`.
const FIXED: usize = 2 * METHODS + 1;

/// A group's place, from 0 to [`GROUPS_MAX`]. It is given to another group when its own gave way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId(u16);

impl GroupId {
    /// Its place.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    pub(super) const fn other(method: Method) -> Self {
        Self(method.index() as u16)
    }

    pub(super) const fn assets(method: Method) -> Self {
        Self((METHODS + method.index()) as u16)
    }

    pub(super) const fn preflight() -> Self {
        Self(2 * METHODS as u16)
    }
}

/// Requests that are alike: a method and a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The method.
    pub method: Method,
    /// The route: a configured pattern, a learnt one (`/users/{id}`), or one of the names that begin with `_`.
    pub route: Arc<str>,
}

#[derive(Clone, Debug)]
struct Kept<T> {
    group: Group,
    /// Where it stands, for who asks for it back.
    place: Option<T>,
    last: Time,
    weight: u32,
}

/// The groups in use; `T` is the place of one, by which its owner finds it.
#[derive(Clone, Debug)]
pub(super) struct Groups<T> {
    kept: Vec<Option<Kept<T>>>,
    epoch: u32,
    now: Time,
}

impl<T: Copy> Groups<T> {
    pub(super) fn new() -> Self {
        let fixed = |route: &str, method| {
            let group = Group { method, route: route.into() };
            Some(Kept { group, place: None, last: Time::default(), weight: 0 })
        };
        let mut kept: Vec<_> = Method::ALL.iter().map(|&method| fixed(OTHER, method)).collect();
        kept.extend(Method::ALL.iter().map(|&method| fixed(ASSETS, method)));
        kept.push(fixed(PREFLIGHT, Method::Options));
        kept.resize_with(GROUPS_MAX, || None);
        Self { kept, epoch: 0, now: Time::default() }
    }

    /// A new window begins.
    pub(super) fn begin(&mut self, now: Time) {
        self.now = now;
        let epoch = (now.as_millis() / EPOCH_MS) as u32;
        let halvings = epoch.saturating_sub(self.epoch);
        if halvings > 0 {
            for kept in self.kept.iter_mut().flatten() {
                kept.weight = kept.weight.checked_shr(halvings).unwrap_or(0);
            }
        }
        self.epoch = epoch;
    }

    pub(super) const fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn get(&self, id: GroupId) -> Option<&Group> {
        self.kept.get(id.index()).and_then(Option::as_ref).map(|kept| &kept.group)
    }

    /// One request more of it.
    pub(super) fn touch(&mut self, id: GroupId) {
        if let Some(Some(kept)) = self.kept.get_mut(id.index()) {
            kept.last = self.now;
            kept.weight = kept.weight.saturating_add(1);
        }
    }

    pub(super) fn give_up(&mut self, id: GroupId) {
        if id.index() >= FIXED {
            self.kept[id.index()] = None;
        }
    }

    /// A group for `place` that was asked for `weight` times of late; with it the place whose group gave way.
    pub(super) fn take(
        &mut self,
        place: T,
        weight: u32,
        group: impl FnOnce() -> Group,
    ) -> Option<(GroupId, Option<(T, Method)>)> {
        let free = (FIXED..GROUPS_MAX).find(|&i| self.kept[i].is_none());
        let at = free.or_else(|| self.gives_way(weight))?;
        let kept = Kept { group: group(), place: Some(place), last: self.now, weight };
        let before = self.kept[at].replace(kept);
        let loser = before.and_then(|kept| kept.place.map(|place| (place, kept.group.method)));
        Some((GroupId(at as u16), loser))
    }

    fn gives_way(&self, weight: u32) -> Option<usize> {
        // Only now and then: who is refused asks again with the next request.
        if !weight.is_power_of_two() {
            return None;
        }
        let of = |i: &usize| self.kept[*i].as_ref().map(|kept| (kept.weight, kept.last));
        let least = (FIXED..GROUPS_MAX).min_by_key(of)?;
        let oldest = (FIXED..GROUPS_MAX).min_by_key(|i| self.kept[*i].as_ref().map(|kept| kept.last))?;
        let age_ms = |last: Time| self.now.as_millis().saturating_sub(last.as_millis());
        let is_old = self.kept[oldest].as_ref().is_some_and(|kept| age_ms(kept.last) > AGE_MAX_MS);
        let is_light = self.kept[least]
            .as_ref()
            .is_some_and(|kept| weight >= (kept.weight + 1).saturating_mul(WEIGHT_RATIO));
        if is_old { Some(oldest) } else { is_light.then_some(least) }
    }

    /// The groups in use.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.kept.iter().flatten().map(|kept| &kept.group)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = GroupId> {
        (0..GROUPS_MAX).filter(|&i| self.kept[i].is_some()).map(|i| GroupId(i as u16))
    }

    /// Memory that is held, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        let labels: usize = self.iter().map(|group| group.route.len()).sum();
        self.kept.capacity() * size_of::<Option<Kept<T>>>() + labels
    }
}
