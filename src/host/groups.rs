//! Where our control groups lie.
//!
//! By `/proc/self/cgroup` (a line a hierarchy: which group we are in) and `/proc/self/mountinfo` (where it is mounted, and
//! from which group on). A controller that has a hierarchy of v1 is looked for there, else in the unified one. In a
//! container the group may be named as the machine sees it while only the container's own part is mounted; then that part
//! is ours.

use std::path::{Component, Path, PathBuf};

use crate::host::files::Root;

/// So many groups above our own are looked at; those further out are not. Containers in containers have some eight.
const LEVELS_MAX: usize = 16;

/// Which interface a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// A hierarchy a controller.
    One,
    /// One hierarchy for all.
    Two,
}

/// Our group of one controller, and those above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) version: Version,
    /// Our own first, then outwards to where it is mounted; never empty.
    levels: Vec<PathBuf>,
}

/// Our groups; `None`: not mounted, or not to be found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Groups {
    pub(super) cpu: Option<Group>,
    pub(super) cpuacct: Option<Group>,
    pub(super) memory: Option<Group>,
    pub(super) pids: Option<Group>,
    /// By which they were found.
    membership: Option<String>,
}

impl Group {
    /// Our own group.
    pub(super) fn own(&self) -> &Path {
        self.levels.first().expect("a group has a level")
    }

    /// The outermost that we see.
    pub(super) fn outermost(&self) -> &Path {
        self.levels.last().expect("a group has a level")
    }

    /// The level with the smallest limit, and the limit; of equal ones the outer, which is used up first.
    pub(super) fn tightest(&self, limit: impl Fn(&Path) -> Option<u64>) -> Option<(&Path, u64)> {
        let limits = self.levels.iter().rev().filter_map(|level| Some((level.as_path(), limit(level)?)));
        limits.min_by_key(|&(_, limit)| limit)
    }

    /// The level that lies as far inwards as `level` does in `of`: the same group in another hierarchy.
    pub(super) fn beside(&self, of: &Self, level: &Path) -> &Path {
        let inside = level.strip_prefix(of.outermost()).unwrap_or(Path::new(""));
        let wanted = self.outermost().join(inside);
        self.levels.iter().find(|&level| *level == wanted).map_or_else(|| self.own(), PathBuf::as_path)
    }
}

impl Groups {
    /// Looks again when we were moved since the last time; where that is not told, they are what they were.
    pub(super) fn refresh(&mut self, root: &Root) {
        let Some(membership) = root.text("/proc/self/cgroup") else { return };
        if Some(&membership) == self.membership.as_ref() {
            return;
        }
        let mounts = root.text("/proc/self/mountinfo").unwrap_or_default();
        let found = |controller| find(root, &membership, &mounts, controller);
        *self = Self {
            cpu: found("cpu"),
            cpuacct: found("cpuacct"),
            memory: found("memory"),
            pids: found("pids"),
            membership: Some(membership),
        };
    }
}

fn find(root: &Root, membership: &str, mounts: &str, controller: &str) -> Option<Group> {
    let one = || {
        let group = group_of(membership, |_, controllers| listed(controllers, controller))?;
        Some((Version::One, mount(mounts, "cgroup", controller)?, group))
    };
    let two = || {
        let group = group_of(membership, |id, controllers| id == "0" && controllers.is_empty())?;
        Some((Version::Two, mount(mounts, "cgroup2", "")?, group))
    };
    let (version, (part, at), group) = one().or_else(two)?;
    let inside = inside(group, part);
    let own = at.join(&inside);
    // What is named as the machine sees it may not be there.
    let own = if root.has(&own) { own } else { at.to_owned() };
    let levels: Vec<PathBuf> = own
        .ancestors()
        .take_while(|level| level.starts_with(at))
        .take(LEVELS_MAX)
        .map(Path::to_owned)
        .collect();
    (root.has(at) && !levels.is_empty()).then_some(Group { version, levels })
}

/// The group of a hierarchy by its line, `id:controllers:/group`.
fn group_of(membership: &str, is_it: impl Fn(&str, &str) -> bool) -> Option<&str> {
    membership.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (id, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
        is_it(id, controllers).then_some(group)
    })
}

/// Which part of a hierarchy is mounted and where, by a line such as
/// `36 35 0:29 /part /mounted/at rw,nosuid shared:9 - cgroup cgroup rw,memory`. Of several mounts the last covers the others.
fn mount<'a>(mounts: &'a str, kind: &str, controller: &str) -> Option<(&'a Path, &'a Path)> {
    let mut matching = mounts.lines().rev().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let (mut front, mut back) = (front.split(' '), back.split(' '));
        let (part, at) = (front.nth(3)?, front.next()?);
        let (found, options) = (back.next()?, back.nth(1)?);
        let fits = found == kind && (controller.is_empty() || listed(options, controller));
        (fits && at.starts_with('/')).then(|| (Path::new(part), Path::new(at)))
    });
    matching.next()
}

fn listed(names: &str, name: &str) -> bool {
    names.split(',').any(|one| one == name)
}

/// The way from the mounted part to our group; empty where the one does not lie in the other.
fn inside(group: &str, part: &Path) -> PathBuf {
    let inside = Path::new(group).strip_prefix(part).unwrap_or(Path::new(""));
    let is_plain = inside.components().all(|step| matches!(step, Component::Normal(_)));
    if is_plain { inside.to_owned() } else { PathBuf::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside_of(group: &str, part: &str) -> String {
        inside(group, Path::new(part)).display().to_string()
    }

    #[test]
    fn the_way_to_our_group_begins_at_what_is_mounted() {
        assert_eq!(inside_of("/", "/"), "");
        assert_eq!(inside_of("/user.slice/app.service", "/"), "user.slice/app.service");
        assert_eq!(inside_of("/docker/abc", "/docker/abc"), "");
        assert_eq!(inside_of("/docker/abc/inner", "/docker/abc"), "inner");
        assert_eq!(inside_of("/docker/abc", "/elsewhere"), "");
        assert_eq!(inside_of("/../../etc", "/"), "", "a process from outside of the name space");
        assert_eq!(inside_of("", ""), "");
    }

    #[test]
    fn a_mount_is_found_by_its_kind_and_controller() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            36 31 0:29 /docker/a /sys/fs/cgroup/cpu,cpuacct ro,nosuid shared:9 master:2 - cgroup cgroup rw,cpu,cpuacct\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
            nonsense\n1 2 - cgroup\n - cgroup cgroup rw,memory\n";
        let at = |kind, controller| {
            mount(mounts, kind, controller).map(|(part, at)| format!("{} {}", part.display(), at.display()))
        };
        assert_eq!(at("cgroup", "cpu").unwrap(), "/docker/a /sys/fs/cgroup/cpu,cpuacct");
        assert_eq!(at("cgroup", "cpuacct"), at("cgroup", "cpu"));
        assert_eq!(at("cgroup2", "").unwrap(), "/ /sys/fs/cgroup/unified");
        assert_eq!(at("cgroup", "memory"), None);
    }

    #[test]
    fn of_equal_limits_the_outer_counts() {
        let level = |name: &str| Path::new("/g").join(name);
        let group = Group { version: Version::Two, levels: vec![level("a/b"), level("a"), "/g".into()] };
        let limits = |limits: [Option<u64>; 3]| {
            let of = |path: &Path| limits[group.levels.iter().position(|level| level == path).unwrap()];
            group.tightest(of).map(|(level, limit)| (level.to_owned(), limit))
        };
        assert_eq!(limits([Some(5), Some(5), None]), Some((level("a"), 5)));
        assert_eq!(limits([Some(4), Some(5), Some(9)]), Some((level("a/b"), 4)));
        assert_eq!(limits([None; 3]), None);
        let other = Group { version: Version::One, levels: vec!["/o/a".into(), "/o".into()] };
        assert_eq!(other.beside(&group, &level("a")), Path::new("/o/a"));
        assert_eq!(other.beside(&group, &level("a/b")), Path::new("/o/a"), "it has none so far in");
        assert_eq!(other.beside(&group, Path::new("/g")), Path::new("/o"));
    }
}
