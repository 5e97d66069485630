//! Network namespaces: one for each agent, all on one bridge, with a way to this process. Nothing of them is left behind:
//! they go when this is dropped, and those of a run that was killed go at the next start.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the names of all our namespaces and interfaces begin with; the process's id follows.
const MARK: &str = "ogp";
/// Where `ip netns` looks for files that take the place of those in `/etc`.
const NETNS_FILES: &str = "/etc/netns";
/// The first agent's number in its address; those below it are ours.
const FIRST: u16 = 0x100;

/// The bridge's namespace and those of the agents.
pub(crate) struct Land {
    name: String,
    net: [u16; 2],
    places: usize,
}

/// Whether namespaces can be made here; otherwise why these tests do nothing.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration: the environment is theirs")]
pub(crate) fn is_possible() -> bool {
    let skip = |why: &str| {
        eprintln!("SKIPPED: {why}");
        false
    };
    if std::env::var("NETNS").is_ok_and(|value| value == "off") {
        return skip("no network namespace is made, for NETNS is off");
    }
    let tried = ["ip -V", "ip6tables -V", "ip netns list"].map(|words| {
        let words: Vec<&str> = words.split(' ').collect();
        Command::new(words[0]).args(&words[1..]).output().is_ok_and(|ran| ran.status.success())
    });
    let possible = tried == [true; 3] && nix::unistd::geteuid().is_root();
    let must = std::env::var("CI").is_ok_and(|value| !value.is_empty());
    assert!(possible || !must, "network namespaces need root, `ip` and `ip6tables`");
    possible || skip("network namespaces need root, `ip` and `ip6tables`; scripts/test installs them")
}

fn ran(words: &str) -> Output {
    let mut words = words.split(' ');
    Command::new(words.next().unwrap()).args(words).output().unwrap()
}

fn run(words: &str) {
    let ran = ran(words);
    assert!(ran.status.success(), "`{words}`: {}", String::from_utf8_lossy(&ran.stderr));
}

impl Land {
    /// The bridge, and this process's way to it.
    pub(crate) fn open() -> Self {
        sweep();
        let pid = std::process::id();
        let name = format!("{MARK}{pid}");
        let land = Self { net: [(pid >> 16) as u16, pid as u16], places: 0, name };
        let (name, host) = (&land.name, land.host());
        run(&format!("ip netns add {name}"));
        run(&format!("ip -n {name} link set lo up"));
        run(&format!("ip -n {name} link add br0 type bridge"));
        run(&format!("ip -n {name} link set br0 up"));
        run(&format!("ip link add {name}h type veth peer name host netns {name}"));
        run(&format!("ip -n {name} link set host master br0"));
        run(&format!("ip -n {name} link set host up"));
        run(&format!("ip -6 addr add {host}/64 dev {name}h nodad"));
        run(&format!("ip link set {name}h up"));
        land
    }

    /// Where this process is reached.
    pub(crate) fn host(&self) -> Ipv6Addr {
        self.address(1)
    }

    fn address(&self, number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd12, self.net[0], self.net[1], 0, 0, 0, 0, number)
    }

    /// A namespace for one more agent, which asks us for names.
    pub(crate) fn place(&mut self) -> Place {
        self.places += 1;
        let number = self.places;
        let (land, place) = (&self.name, format!("{}a{number}", self.name));
        let address = self.address(FIRST + u16::try_from(number).unwrap());
        let files = Path::new(NETNS_FILES).join(&place);
        std::fs::create_dir_all(&files).unwrap();
        let names = format!("nameserver {}\noptions timeout:2 attempts:1\n", self.host());
        std::fs::write(files.join("resolv.conf"), names).unwrap();
        run(&format!("ip netns add {place}"));
        run(&format!("ip -n {place} link set lo up"));
        run(&format!("ip -n {land} link add a{number} type veth peer name eth0 netns {place}"));
        run(&format!("ip -n {land} link set a{number} master br0"));
        run(&format!("ip -n {land} link set a{number} up"));
        run(&format!("ip -6 -n {place} addr add {address}/64 dev eth0 nodad"));
        run(&format!("ip -n {place} link set eth0 up"));
        let siblings = format!("{}/120", self.address(FIRST));
        Place { name: place, address, siblings }
    }
}

impl Drop for Land {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// One agent's namespace.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    name: String,
    pub(crate) address: Ipv6Addr,
    siblings: String,
}

impl Place {
    /// The words before a command that runs here.
    pub(crate) fn command(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Drops whatever siblings send here or are sent; the platform and clients stay.
    pub(crate) fn cut_off(&self) {
        for (chain, side) in [("INPUT", "-s"), ("OUTPUT", "-d")] {
            let (name, siblings) = (&self.name, &self.siblings);
            run(&format!("ip netns exec {name} ip6tables -I {chain} {side} {siblings} -j DROP"));
        }
    }

    /// Drops what siblings send here; what is sent to them arrives.
    pub(crate) fn deafen(&self) {
        run(&format!("ip netns exec {} ip6tables -I INPUT -s {} -j DROP", self.name, self.siblings));
    }

    /// Drops nothing any more.
    pub(crate) fn heal(&self) {
        run(&format!("ip netns exec {} ip6tables -F", self.name));
    }
}

/// Ends whatever runs in the namespaces whose names begin so, and removes them.
fn remove(prefix: &str) {
    // It would go with the bridge's namespace, but later.
    let _gone = ran(&format!("ip link del {prefix}h"));
    let listed = String::from_utf8(ran("ip netns list").stdout).unwrap();
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    for name in names.filter(|name| name.strip_prefix(prefix).is_some_and(|rest| !rest.starts_with(is_digit)))
    {
        let pids = String::from_utf8(ran(&format!("ip netns pids {name}")).stdout).unwrap();
        for pid in pids.lines() {
            // Whoever has ended meanwhile is as well.
            let _ended = ran(&format!("kill -9 {pid}"));
        }
        let _gone = ran(&format!("ip netns del {name}"));
        let files: PathBuf = Path::new(NETNS_FILES).join(name);
        let _gone = std::fs::remove_dir_all(files);
    }
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit()
}

/// Removes what runs left that were killed.
fn sweep() {
    let listed = String::from_utf8(ran("ip netns list").stdout).unwrap();
    for line in listed.lines() {
        let Some(rest) = line.strip_prefix(MARK) else { continue };
        let pid: String = rest.chars().take_while(char::is_ascii_digit).collect();
        if !pid.is_empty() && !Path::new("/proc").join(&pid).exists() {
            remove(&format!("{MARK}{pid}"));
        }
    }
}
