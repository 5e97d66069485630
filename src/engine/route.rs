//! Which route a request asked for: a group of bounded number, whose name holds no id and no token.
//!
//! In this order: a question of a browser before it asks (`OPTIONS`) is [`PREFLIGHT`]; a route that was configured is the
//! pattern's; a file, by its suffix, is one of [`ASSETS`]; else the route is learnt from what the app answered, with
//! every segment that looks like an id, a number or a token replaced by `{id}`. What is not known (yet) is [`OTHER`].
//!
//! **Invariant:** a segment shows in a label only if it looks like a word, was seen again and again in requests that the
//! app answered, and stands where there are few different ones.
//!
//! **Invariant:** memory is bounded whatever is asked, and what does not exist (404) teaches nothing.
//!
//! Pure: the time is handed in, and the same requests in the same order give the same groups. It does not know what is
//! measured of a group.

mod groups;
mod pattern;
mod shape;
mod tree;

use crate::engine::observation::{Method, Outcome};
use crate::engine::route::groups::Groups;
use crate::engine::route::tree::{Leaf, Lesson, NodeId, Tree};
use crate::engine::time::Time;

pub use crate::engine::route::groups::{ASSETS, GROUPS_MAX, Group, GroupId, OTHER, PREFLIGHT};
pub use crate::engine::route::pattern::{Pattern, Wrong};

/// The longest path that is looked at, in bytes; of a longer one the last segment counts as a value.
pub const PATH_MAX: usize = 256;
/// How many patterns can be configured.
pub const PATTERNS_MAX: usize = 100;
/// Segments of a path that are looked at; a path with as many or more matches no pattern.
const SEGMENTS_MAX: usize = 16;
/// A route gets a group when it was asked for so often.
const ASKED_MIN: u32 = 3;
/// Suffixes of files.
const SUFFIXES: [&str; 25] = [
    "js",
    "mjs",
    "css",
    "map",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "ico",
    "webp",
    "avif",
    "bmp",
    "woff",
    "woff2",
    "ttf",
    "otf",
    "eot",
    "mp3",
    "mp4",
    "webm",
    "ogg",
    "wasm",
    "webmanifest",
    "br",
];
/// The longest of them.
const SUFFIX_MAX: usize = 11;

const METHODS: usize = Method::ALL.len();

/// Where a group stands, so that it can be taken back.
#[derive(Clone, Copy, Debug)]
enum Place {
    Configured(usize),
    Learnt(NodeId),
}

/// The routes: the configured ones, and those that were learnt.
#[derive(Clone, Debug)]
pub struct Routes {
    configured: Vec<(Pattern, [Leaf; METHODS])>,
    tree: Tree,
    groups: Groups<Place>,
}

/// A request as far as its route goes.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// Its method.
    pub method: Method,
    /// Its path, whatever bytes, without the query; at most [`PATH_MAX`] of it are looked at.
    pub path: &'a [u8],
    /// The status that was sent; 0: none.
    pub status: u16,
    /// How it ended; `None`: it has not yet.
    pub outcome: Option<Outcome>,
}

impl Routes {
    /// Nothing is learnt yet. Patterns beyond [`PATTERNS_MAX`] are left out.
    pub fn new(configured: Vec<Pattern>) -> Self {
        let configured = configured.into_iter().take(PATTERNS_MAX).map(|p| (p, [Leaf::default(); METHODS]));
        Self { configured: configured.collect(), tree: Tree::new(), groups: Groups::new() }
    }

    /// A new window begins: what is seen in it counts as one habit.
    pub fn begin(&mut self, now: Time) {
        self.tree.begin(now);
        self.groups.begin(now);
    }

    /// The request's group.
    pub fn group(&mut self, visit: &Visit<'_>) -> GroupId {
        let id = self.place(visit).unwrap_or(GroupId::other(visit.method));
        self.groups.touch(id);
        id
    }

    /// What `id` stands for now.
    pub fn get(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id)
    }

    /// All groups, those that are always there first.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    /// The places of all groups in use, ascending.
    pub fn ids(&self) -> impl Iterator<Item = GroupId> {
        self.groups.ids()
    }

    /// Memory that is held, in bytes.
    pub fn held_bytes(&self) -> usize {
        let patterns: usize = self.configured.iter().map(|(pattern, _)| pattern.text().len()).sum();
        self.tree.held_bytes() + self.groups.held_bytes() + patterns
    }

    fn place(&mut self, visit: &Visit<'_>) -> Option<GroupId> {
        let Visit { method, path, .. } = *visit;
        if method == Method::Options {
            return Some(GroupId::preflight());
        }
        let is_cut = path.len() >= PATH_MAX;
        let path = path.get(..PATH_MAX).unwrap_or(path);
        if path.first() != Some(&b'/') {
            return None;
        }
        let mut room = [[].as_slice(); SEGMENTS_MAX];
        let segments = segments(path, &mut room);
        if !is_cut && let Some(at) = self.configured_at(segments) {
            return self.of_configured(at, visit);
        }
        let file = segments.last().copied().unwrap_or_default();
        if matches!(method, Method::Get | Method::Head) && is_asset(file) {
            return Some(GroupId::assets(method));
        }
        self.of_learnt(segments, is_cut, visit)
    }

    fn configured_at(&self, segments: &[&[u8]]) -> Option<usize> {
        if segments.len() == SEGMENTS_MAX {
            return None;
        }
        self.configured.iter().position(|(pattern, _)| pattern.matches(segments))
    }

    fn of_configured(&mut self, at: usize, visit: &Visit<'_>) -> Option<GroupId> {
        let (pattern, leaves) = &mut self.configured[at];
        let leaf = &mut leaves[visit.method.index()];
        if leaf.group.is_some() {
            return leaf.group;
        }
        // A method that the app refuses is none of the route's.
        if matches!(visit.status, 405 | 501) {
            return None;
        }
        let weight = weigh(leaf, self.groups.epoch());
        let route = || Group { method: visit.method, route: pattern.text().clone() };
        let (id, loser) = self.groups.take(Place::Configured(at), weight, route)?;
        leaf.group = Some(id);
        self.forget(loser);
        Some(id)
    }

    fn of_learnt(&mut self, segments: &[&[u8]], is_cut: bool, visit: &Visit<'_>) -> Option<GroupId> {
        let lesson = lesson(visit);
        // The last segment of a path that was cut may be a part of one.
        let whole = segments.len() - usize::from(is_cut && !segments.is_empty());
        let segments = segments.iter().enumerate().map(|(i, segment)| (i < whole).then_some(*segment));
        let end = self.tree.walk(segments, lesson);
        for id in self.tree.orphans.drain(..) {
            self.groups.give_up(id);
        }
        let end = end?;
        let epoch = self.groups.epoch();
        let leaf = self.tree.leaf(end, visit.method);
        if leaf.group.is_some() || lesson != Lesson::Learn {
            return leaf.group;
        }
        let weight = weigh(leaf, epoch);
        if weight < ASKED_MIN {
            return None;
        }
        let tree = &self.tree;
        let route = || Group { method: visit.method, route: tree.label(end).into() };
        let (id, loser) = self.groups.take(Place::Learnt(end), weight, route)?;
        self.forget(loser);
        self.tree.leaf(end, visit.method).group = Some(id);
        Some(id)
    }

    /// A group gave way: where it stood, there is none now.
    fn forget(&mut self, loser: Option<(Place, Method)>) {
        let Some((place, method)) = loser else { return };
        *match place {
            Place::Configured(at) => &mut self.configured[at].1[method.index()],
            Place::Learnt(at) => self.tree.leaf(at, method),
        } = Leaf::default();
    }
}

/// One request more that has no group yet; how many there were of late.
fn weigh(leaf: &mut Leaf, epoch: u32) -> u32 {
    let halvings = epoch.saturating_sub(leaf.epoch);
    leaf.weight = leaf.weight.checked_shr(halvings).unwrap_or(0).saturating_add(1);
    leaf.epoch = epoch;
    leaf.weight
}

/// The segments that are not empty, up to the query; at most as many as there is room for, the others are left out.
fn segments<'a, 'r>(path: &'a [u8], room: &'r mut [&'a [u8]; SEGMENTS_MAX]) -> &'r [&'a [u8]] {
    let mut rest = path;
    // Whoever asks has left the query out, so this is to be sure, and cheap.
    if rest.contains(&b'?') || rest.contains(&b'#') {
        rest = rest.split(|&b| b == b'?' || b == b'#').next().unwrap_or_default();
    }
    let mut count = 0;
    while !rest.is_empty() && count < SEGMENTS_MAX {
        let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
        if end > 0 {
            room[count] = &rest[..end];
            count += 1;
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    &room[..count]
}

/// What is not found, and what the app did not answer or refused, is no route of it.
fn lesson(visit: &Visit<'_>) -> Lesson {
    let is_answered = match visit.outcome {
        Some(Outcome::Answered | Outcome::AppError | Outcome::AppTruncated | Outcome::ClientLeft) => true,
        Some(
            Outcome::AppUnreachable
            | Outcome::AppBadReply
            | Outcome::AppTimeout
            | Outcome::ClientAborted
            | Outcome::ClientFault
            | Outcome::Shed
            | Outcome::StaleConnection
            | Outcome::NotReady
            | Outcome::Draining
            | Outcome::Crossed,
        )
        | None => false,
    };
    match visit.status {
        404 => Lesson::Missing,
        100..400 | 500..600 if is_answered => Lesson::Learn,
        _ => Lesson::Look,
    }
}

fn is_asset(file: &[u8]) -> bool {
    let from = file.len().saturating_sub(SUFFIX_MAX + 1);
    let Some(dot) = file[from..].iter().rposition(|&b| b == b'.') else { return false };
    let found = &file[from + dot + 1..];
    SUFFIXES.iter().any(|suffix| found.eq_ignore_ascii_case(suffix.as_bytes()))
}
