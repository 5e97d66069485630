//! The segments that were seen, as a tree: which of them are words of the app and which are values.
//!
//! Every segment that does not look like an id is only a candidate at first. It becomes a word of the app, and may show in a
//! label, when it was seen [`SEEN_MIN`] times in [`WINDOWS_MIN`] different windows in requests that the app answered, at a
//! position that has few different ones. Words that nobody wrote into the app's code come in an endless stream: such a
//! position is found by how many of its values are new, and then shows none of them.
//!
//! Its size is bounded whatever is asked: candidates are replaced by newer ones, and what was seen last long ago goes first.

use crate::engine::observation::Method;
use crate::engine::route::groups::GroupId;
use crate::engine::route::shape::Word;
use crate::engine::time::Time;

/// Segments kept in all. At the bound candidates that were not seen in this window give way; where none does, the path
/// is not learnt.
const NODES_MAX: usize = 4096;
/// How many nodes are looked at to find one that gives way.
const SWEEP_MAX: usize = 64;
/// Segments of a path that are told apart; what follows is one.
const DEPTH_MAX: usize = 12;
/// Candidates at one position. At the bound the one that was seen least gives way.
const CANDIDATES_MAX: u16 = 32;
/// Words of the app at one position; with more, the position holds values.
const WORDS_MAX: u16 = 20;
/// The same at the path's beginning, where apps name their parts: root, and behind `api`, `v1` and their like.
const FIRST_WORDS_MAX: u16 = 60;
/// A candidate becomes a word when it was seen so often
const SEEN_MIN: u32 = 8;
/// in so many windows: a burst is no habit.
const WINDOWS_MIN: u16 = 3;
/// A position is open when it had so many new values
const NOVEL_MIN: u32 = 20;
/// and they are one in so many of what is asked there.
const NOVEL_ONE_IN: u32 = 4;
/// At the path's beginning, not before it was asked for so often: an app's own parts are new once, too.
const FIRST_TOLD_MIN: u32 = 400;
/// Counts of a position are halved here, so that they tell of the recent past.
const TOLD_MAX: u32 = 4096;
/// At an open beginning of paths, a new word must be one in so many of what is asked there.
const OPEN_ONE_IN: u32 = 100;
/// A word that was not seen for so long may give way.
const AGE_MAX_MS: u64 = 3_600_000;
/// Parts of a path that only lead to where the app's own parts begin.
const PREFIXES: [&str; 4] = ["api", "rest", "rpc", "internal"];

const METHODS: usize = Method::ALL.len();

/// A place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(u32);

const ROOT: NodeId = NodeId(0);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    Word(Word),
    /// A value.
    Any,
    /// All that follows.
    Rest,
}

/// What a request says about the app's routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lesson {
    /// The app answered as it does where it has a route.
    Learn,
    /// Nothing.
    Look,
    /// The app said that there is none.
    Missing,
}

/// What is known of one method at a route's end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaf {
    /// Its group.
    pub(super) group: Option<GroupId>,
    /// How often it was asked for without a group; halved at each epoch.
    pub(super) weight: u32,
    /// The epoch of the weight.
    pub(super) epoch: u32,
}

#[derive(Clone, Debug)]
struct Node {
    piece: Piece,
    parent: NodeId,
    first: Option<NodeId>,
    next: Option<NodeId>,
    seen: u32,
    windows: u16,
    window: u32,
    last: Time,
    is_free: bool,
    /// It may show in a label.
    is_known: bool,
    /// The app's own parts begin behind it.
    is_first: bool,
    /// Many of its values are new: to become a word takes more.
    is_open: bool,
    /// It has values only, no words.
    is_wide: bool,
    words: u16,
    candidates: u16,
    told: u32,
    novel: u32,
    leaves: [Leaf; METHODS],
}

/// The tree.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    free: Vec<NodeId>,
    hand: usize,
    window: u32,
    now: Time,
    /// Groups of what was cut off, for the caller to take back.
    pub(super) orphans: Vec<GroupId>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let root = Node::new(Piece::Any, ROOT, true, Time::default());
        let nodes = vec![Node { is_known: true, ..root }];
        Self { nodes, free: Vec::new(), hand: 0, window: 0, now: Time::default(), orphans: Vec::new() }
    }

    /// A new window begins.
    pub(super) fn begin(&mut self, now: Time) {
        self.window = self.window.wrapping_add(1);
        self.now = now;
    }

    /// Where the path ends, when all of it is known. `None`: a segment that may be a part of one.
    pub(super) fn walk<'a>(
        &mut self,
        segments: impl Iterator<Item = Option<&'a [u8]>>,
        lesson: Lesson,
    ) -> Option<NodeId> {
        let (mut at, mut is_known) = (ROOT, true);
        self.sight(ROOT, lesson);
        for (depth, segment) in segments.enumerate() {
            if depth == DEPTH_MAX {
                at = self.step(at, Piece::Rest, lesson)?;
                break;
            }
            at = self.step_by_segment(at, segment, lesson)?;
            is_known &= self.node(at).is_known;
        }
        is_known.then_some(at)
    }

    pub(super) fn leaf(&mut self, at: NodeId, method: Method) -> &mut Leaf {
        &mut self.nodes[at.0 as usize].leaves[method.index()]
    }

    /// The route that ends at `at`, in letters, digits and `/{}-_.~` only.
    pub(super) fn label(&self, mut at: NodeId) -> String {
        let mut pieces = Vec::new();
        while at != ROOT {
            let node = self.node(at);
            pieces.push(match &node.piece {
                Piece::Word(word) => word.text(),
                Piece::Any => "{id}",
                Piece::Rest => "{rest}",
            });
            at = node.parent;
        }
        pieces.reverse();
        format!("/{}", pieces.join("/"))
    }

    /// Memory that is held, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.free.capacity() * size_of::<NodeId>()
            + self.orphans.capacity() * size_of::<GroupId>()
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    fn children(&self, of: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(self.node(of).first, |&child| self.node(child).next)
    }

    fn child(&self, of: NodeId, piece: &Piece) -> Option<NodeId> {
        self.children(of).find(|&child| self.node(child).piece == *piece)
    }

    /// A value: any will do. That there is none at the very beginning says nothing about the app's routes.
    fn step_by_value(&mut self, at: NodeId, lesson: Lesson) -> Option<NodeId> {
        if at == ROOT && lesson == Lesson::Missing {
            return None;
        }
        self.step(at, Piece::Any, lesson)
    }

    fn step(&mut self, at: NodeId, piece: Piece, lesson: Lesson) -> Option<NodeId> {
        let child = match (self.child(at, &piece), lesson) {
            (Some(child), _) => child,
            (None, Lesson::Learn) => self.add(at, piece)?,
            (None, Lesson::Look | Lesson::Missing) => return None,
        };
        self.sight(child, lesson);
        Some(child)
    }

    fn step_by_segment(&mut self, at: NodeId, segment: Option<&[u8]>, lesson: Lesson) -> Option<NodeId> {
        let Some(segment) = segment.filter(|_| !self.node(at).is_wide) else {
            return self.step_by_value(at, lesson);
        };
        // What is in the tree as a word was looked at before, and is mostly written as it is.
        let is_same =
            |&child: &NodeId| matches!(&self.node(child).piece, Piece::Word(word) if word.is(segment));
        let same = self.children(at).find(is_same);
        if let Some(child) = same {
            return self.step_by_word(at, Ok(child), lesson);
        }
        match Word::read(segment) {
            Some(word) => match self.child(at, &Piece::Word(word)) {
                Some(child) => self.step_by_word(at, Ok(child), lesson),
                None if word.looks_like_id() => self.step_by_value(at, lesson),
                None => self.step_by_word(at, Err(word), lesson),
            },
            None => self.step_by_value(at, lesson),
        }
    }

    /// `found`: the word's node, or the word, where there is none.
    fn step_by_word(&mut self, at: NodeId, found: Result<NodeId, Word>, lesson: Lesson) -> Option<NodeId> {
        if lesson == Lesson::Learn {
            self.tell(at, found.is_err());
        }
        let child = match found {
            _ if self.node(at).is_wide => None,
            Ok(child) => Some(child),
            Err(word) if lesson == Lesson::Learn => self.add(at, Piece::Word(word)),
            Err(_) => None,
        };
        if let Some(child) = child {
            self.sight(child, lesson);
        }
        let node = self.node(at);
        match child.filter(|_| !node.is_wide) {
            Some(child) if self.node(child).is_known || !node.is_open => Some(child),
            Some(_) | None if node.is_open || node.is_wide => self.step_by_value(at, lesson),
            Some(_) | None => None,
        }
    }

    /// A word was asked for at a position: is this the place of an endless stream of them?
    fn tell(&mut self, at: NodeId, is_novel: bool) {
        let node = self.node_mut(at);
        node.told += 1;
        node.novel += u32::from(is_novel);
        if node.told >= TOLD_MAX {
            node.told /= 2;
            node.novel /= 2;
        }
        let is_told = !node.is_first || node.told >= FIRST_TOLD_MIN;
        let is_open = is_told && node.novel > NOVEL_MIN && node.novel * NOVEL_ONE_IN >= node.told;
        if is_novel && is_open && !node.is_open {
            node.is_open = true;
            if !node.is_first {
                self.widen(at);
            }
        }
    }

    /// From now on the position has values only.
    fn widen(&mut self, at: NodeId) {
        let words: Vec<NodeId> =
            self.children(at).filter(|&child| matches!(self.node(child).piece, Piece::Word(_))).collect();
        for word in words {
            self.cut(word);
        }
        self.node_mut(at).is_wide = true;
    }

    fn sight(&mut self, id: NodeId, lesson: Lesson) {
        let (window, now) = (self.window, self.now);
        let node = self.node_mut(id);
        node.last = now;
        if lesson != Lesson::Learn {
            return;
        }
        node.seen = node.seen.saturating_add(1);
        if node.window != window || node.windows == 0 {
            node.window = window;
            node.windows = node.windows.saturating_add(1);
        }
        if node.is_known || node.seen < SEEN_MIN || node.windows < WINDOWS_MIN {
            return;
        }
        let (seen, parent) = (node.seen, node.parent);
        let place = self.node_mut(parent);
        if place.is_open && seen.saturating_mul(OPEN_ONE_IN) < place.told {
            return;
        }
        place.words += 1;
        place.candidates = place.candidates.saturating_sub(1);
        let words_max = if place.is_first { FIRST_WORDS_MAX } else { WORDS_MAX };
        if place.words > words_max {
            self.widen(parent);
        } else {
            self.node_mut(id).is_known = true;
        }
    }

    fn add(&mut self, parent: NodeId, piece: Piece) -> Option<NodeId> {
        let is_word = matches!(piece, Piece::Word(_));
        if is_word && self.node(parent).candidates >= CANDIDATES_MAX {
            let of = |&id: &NodeId| (self.node(id).seen, self.node(id).last);
            let is_candidate = |&id: &NodeId| !self.node(id).is_known;
            let least = self.children(parent).filter(is_candidate).min_by_key(of)?;
            self.cut(least);
        }
        let id = self.room(parent)?;
        let leads = match &piece {
            Piece::Word(word) => PREFIXES.contains(&word.text()) || word.is_version(),
            Piece::Any | Piece::Rest => false,
        };
        let place = self.node_mut(parent);
        place.candidates += u16::from(is_word);
        let node = Node::new(piece, parent, place.is_first && leads, self.now);
        let node = Node { next: self.node(parent).first, is_known: !is_word, ..node };
        *self.node_mut(id) = node;
        self.node_mut(parent).first = Some(id);
        Some(id)
    }

    /// A free place, where need be that of a node that gives way; never `keep` or what it stands on.
    fn room(&mut self, keep: NodeId) -> Option<NodeId> {
        if let Some(id) = self.free.pop() {
            return Some(id);
        }
        if self.nodes.len() < NODES_MAX {
            let id = NodeId(self.nodes.len() as u32);
            self.nodes.push(Node { is_free: true, ..Node::new(Piece::Any, ROOT, false, self.now) });
            return Some(id);
        }
        for _ in 0..SWEEP_MAX {
            self.hand = (self.hand + 1) % self.nodes.len();
            let id = NodeId(self.hand as u32);
            let node = self.node(id);
            let age_ms = self.now.as_millis().saturating_sub(node.last.as_millis());
            let is_quiet = age_ms > if self.is_settled(id) { AGE_MAX_MS } else { 0 };
            let is_in_use = id == ROOT || id == keep || node.is_free || node.first.is_some();
            if is_quiet && !is_in_use {
                self.cut(id);
                return self.free.pop();
            }
        }
        None
    }

    /// Whether all of the route to `id` is known.
    fn is_settled(&self, id: NodeId) -> bool {
        let up = |&id: &NodeId| (id != ROOT).then(|| self.node(id).parent);
        std::iter::successors(Some(id), up).all(|id| self.node(id).is_known)
    }

    /// Takes a node out, with all that stands on it.
    fn cut(&mut self, id: NodeId) {
        let (parent, next) = (self.node(id).parent, self.node(id).next);
        let before = self.children(parent).find(|&child| self.node(child).next == Some(id));
        match before {
            Some(before) => self.node_mut(before).next = next,
            None => self.node_mut(parent).first = next,
        }
        let (is_known, is_word) = (self.node(id).is_known, matches!(self.node(id).piece, Piece::Word(_)));
        let place = self.node_mut(parent);
        match (is_word, is_known) {
            (true, true) => place.words = place.words.saturating_sub(1),
            (true, false) => place.candidates = place.candidates.saturating_sub(1),
            (false, _) => {}
        }
        let mut gone = vec![id];
        while let Some(id) = gone.pop() {
            gone.extend(self.children(id));
            let node = self.node_mut(id);
            (node.is_free, node.first) = (true, None);
            let groups = node.leaves.map(|leaf| leaf.group);
            self.orphans.extend(groups.into_iter().flatten());
            self.free.push(id);
        }
    }
}

impl Node {
    fn new(piece: Piece, parent: NodeId, is_first: bool, now: Time) -> Self {
        Self {
            piece,
            parent,
            first: None,
            next: None,
            seen: 0,
            windows: 0,
            window: 0,
            last: now,
            is_free: false,
            is_known: false,
            is_first,
            is_open: false,
            is_wide: false,
            words: 0,
            candidates: 0,
            told: 0,
            novel: 0,
            leaves: [Leaf::default(); METHODS],
        }
    }
}
