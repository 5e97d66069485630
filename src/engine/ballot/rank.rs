//! Who comes first: the order of those that may call, the same on all agents that know the same of them.
//!
//! It owns the hash; it does not know who is there. Two agents that know of different callers may both think that they are
//! first. That costs an election, never a second call.

use crate::engine::ballot::Key;
use crate::engine::peer::{Boot, Peer};

/// The place of `me` among those that may call, from 0, whether or not it is in the list.
pub fn rank(me: &Peer, callers: &[Peer], key: &Key) -> u32 {
    let order = |peer: &Peer| (mix(key, peer.boot, 0), peer.boot, peer.replica.clone());
    let own = order(me);
    let before = callers.iter().filter(|peer| order(peer) < own).count();
    u32::try_from(before).unwrap_or(u32::MAX)
}

/// FNV-1a over the key, the boot and a round, then one step of splitmix64: FNV alone hardly mixes what comes last into the
/// high bits. The same on every machine and in every version, for agents of both must agree.
pub(super) fn mix(key: &Key, boot: Boot, round: u8) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = key.deployment.as_str().bytes().chain(boot.0.to_le_bytes()).chain([round]);
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    let z = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
