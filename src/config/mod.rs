//! All options: read once, checked once, all faults at once.
//!
//! Owns the layers (defaults, what the platform says, `outrigger.toml`, the environment, flags), their order, the only
//! look at the process's environment, and every range. It deliberately does not know what an option is for: it hands
//! out a [`Config`] and forgets.
//!
//! **Invariant:** a misspelt option is a fault, never a silent default. Every key that a layer holds and that no
//! section asked for is reported, with the name that was probably meant.

pub mod alerts;
mod dependencies;
mod environment;
mod fault;
mod file;
mod options;
mod peers;
mod platform;
pub mod probes;
mod reader;
mod sections;
mod units;
mod urls;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use crate::config::environment::{admin_token, process_environment, user_name};
pub use crate::config::fault::{Fault, Faults};
pub use crate::config::options::{
    Address, Admin, App, Config, Health, Host, Listen, Log, Peers, Platform, Proxy, Railway, RailwayToken,
    Reach, Restart, Secret, Service, Store, TokenKind,
};
pub use crate::config::value::Origin;

use crate::config::environment::Surroundings;
use crate::config::reader::Reader;
use crate::config::value::{Layer, Value};

/// The file that is read when none is named.
pub const FILE: &str = "outrigger.toml";

/// Where options may come from. It holds secrets, so it cannot be printed.
pub struct Sources {
    /// The file that `--config` names.
    pub file: Option<PathBuf>,
    /// Where [`FILE`] is looked for when no file is named: the working directory.
    pub directory: PathBuf,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
    /// The flags that are options.
    pub flags: Flags,
}

impl Sources {
    /// This process's environment and working directory, with what the command line says.
    pub fn of_process(file: Option<PathBuf>, flags: Flags) -> Self {
        Self { file, directory: PathBuf::new(), env: process_environment(), flags }
    }
}

/// Flags that stand above all other layers, as they were typed.
#[derive(Clone, Default)]
pub struct Flags {
    /// `--listen`: `listen.public`.
    pub listen: Option<String>,
    /// `--admin`: `listen.admin`.
    pub admin: Option<String>,
    /// `--upstream`: `app.upstream`.
    pub upstream: Option<String>,
    /// `--data`: `store.dir`.
    pub data: Option<PathBuf>,
    /// What `outrigger probe` is to ask, if it is no probe's name: a URL, or a variable that holds one. It becomes the probe
    /// [`BY_HAND`].
    pub probe: Option<ByHand>,
}

/// Where the probe stands that the command line describes.
const COMMAND: &str = "outrigger probe";
/// The probe that the command line describes.
pub const BY_HAND: &str = "by-hand";

/// What a probe is made of that only the command line knows.
#[derive(Clone)]
pub enum ByHand {
    /// A URL, which whoever lists processes sees.
    Url(String),
    /// The name of a variable that holds one.
    Variable(String),
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The options, checked.
    pub config: Config,
    /// What will hurt, for people: sentences to be logged once at start.
    pub warnings: Vec<String>,
    /// Every option by its name, with its default and where its value stands.
    pub origins: BTreeMap<String, Setting>,
}

/// One option as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value as people may see it: what looks like a secret is left out.
    pub value: String,
    /// The default as it is written in the file.
    pub default: String,
    /// Where the value stands.
    pub origin: Origin,
}

/// Reads all layers and checks every option.
///
/// # Errors
///
/// All faults of all layers at once.
pub fn load(sources: Sources) -> Result<Loaded, Faults> {
    let mut faults = Vec::new();
    let surroundings = Surroundings::read(&sources.env, &mut faults);
    let variables = environment::layer(&sources.env, &mut faults);
    let flags = flag_layer(&sources.flags, &mut faults);
    let file = match chosen_file(&sources, &surroundings) {
        None => file::File::default(),
        Some((path, required)) => file::read(&path, required, &mut faults),
    };
    let broken = file.broken;
    let mut reader = Reader::new(file, variables, flags, surroundings.secrets.clone(), faults);
    let mut config = sections::read(&mut reader, &surroundings);
    let mut warnings = Vec::new();
    config.probes = dependencies::read(&mut reader, &sources.env, broken, &mut warnings);
    // With a file that cannot be parsed, what depends on several options at once would be reported wrongly.
    if !broken {
        sections::cross_check(&mut reader, &config);
    }
    let lowered = sections::forbid_acting(&mut config, &surroundings);
    warnings.append(&mut sections::warnings(&reader, &config, &surroundings, lowered));
    reader.finish().map(|origins| Loaded { config, warnings, origins })
}

/// The file to read, and whether it must exist.
fn chosen_file(sources: &Sources, surroundings: &Surroundings) -> Option<(PathBuf, bool)> {
    let named = sources.file.as_ref().or(surroundings.file.as_ref());
    let found = named.map(|path| (path.clone(), true));
    found.or_else(|| Some((default_file(&sources.directory), false)))
}

/// Without `./` in front, so that faults read as people write the name.
fn default_file(directory: &Path) -> PathBuf {
    if directory.as_os_str().is_empty() { PathBuf::from(FILE) } else { directory.join(FILE) }
}

fn flag_layer(flags: &Flags, faults: &mut Vec<Fault>) -> Layer {
    let mut layer = Layer::new();
    let mut add = |option: &str, flag, text: Option<String>| {
        if let Some(text) = text {
            layer.insert(option.to_owned(), (Value::Plain(text), Origin::Flag(flag)));
        }
    };
    add("listen.public", "--listen", flags.listen.clone());
    add("listen.admin", "--admin", flags.admin.clone());
    add("app.upstream", "--upstream", flags.upstream.clone());
    match flags.probe.clone() {
        None => {}
        Some(ByHand::Url(url)) => add("probe.by-hand.url", COMMAND, Some(url)),
        Some(ByHand::Variable(name)) => add("probe.by-hand.url_from", COMMAND, Some(name)),
    }
    match flags.data.as_deref().map(Path::to_str) {
        None => {}
        Some(Some(text)) => add("store.dir", "--data", Some(text.to_owned())),
        Some(None) => faults.push(Fault::at(
            &Origin::Flag("--data"),
            "store.dir: the path is not UTF-8; give a directory whose name is".to_owned(),
        )),
    }
    layer
}
