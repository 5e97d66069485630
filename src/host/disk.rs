//! The file system of a directory.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::engine::host::Disk;

/// Nothing is known of a directory that is not there. Of the space, what is kept for root counts neither as free nor as
/// used, as for `df`.
pub(super) fn read(directory: &Path) -> Disk {
    let Ok(found) = statvfs(directory) else { return Disk::default() };
    let blocks = [found.blocks(), found.blocks_free(), found.blocks_available()];
    of(found.fragment_size(), blocks, [found.files(), found.files_free()])
}

/// By the size of a block, the blocks (all, free, free for us) and the inodes (all, free).
fn of(size: u64, [all, free, ours]: [u64; 3], [inodes, inodes_free]: [u64; 2]) -> Disk {
    let used = all.saturating_sub(free);
    let share = |used: u64, of: u64| (of > 0).then(|| used as f64 / of as f64);
    Disk {
        total: (all > 0).then(|| all.saturating_mul(size)),
        available: (all > 0).then(|| ours.saturating_mul(size)),
        used_share: share(used, used.saturating_add(ours)).filter(|_| all > 0),
        inodes_used_share: share(inodes.saturating_sub(inodes_free), inodes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_root_is_neither_used_nor_free() {
        let disk = of(4096, [1000, 300, 200], [100, 25]);
        assert_eq!((disk.total, disk.available), (Some(4_096_000), Some(819_200)));
        assert_eq!((disk.used_share, disk.inodes_used_share), (Some(700.0 / 900.0), Some(0.75)));
        let full = of(4096, [1000, 50, 0], [0, 0]);
        assert_eq!((full.used_share, full.inodes_used_share), (Some(1.0), None));
    }

    #[test]
    fn nonsense_is_no_figure() {
        assert_eq!(of(0, [0, 0, 0], [0, 0]), Disk::default());
        let odd = of(u64::MAX, [1, 5, u64::MAX], [1, 9]);
        assert_eq!((odd.used_share, odd.inodes_used_share), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn a_directory_that_is_there_has_a_size_and_one_that_is_not_has_none() {
        let disk = read(&std::env::temp_dir());
        assert!(disk.total > Some(0) && disk.available <= disk.total, "{disk:?}");
        assert!(disk.used_share.is_some_and(|share| (0.0..=1.0).contains(&share)), "{disk:?}");
        assert_eq!(read(Path::new("/no/such/directory")), Disk::default());
    }
}
