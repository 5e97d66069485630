//! Reads options one by one from the highest layer that sets them, notes which exist, and collects what is wrong. Knows
//! no option by name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::environment::{FIXED, PROBE, variable_of};
use crate::config::fault::{Fault, Faults, meant};
use crate::config::file::{self, File};
use crate::config::units::{self, NAME_LEN_MAX, Wrong};
use crate::config::value::{Layer, Origin, Value};
use crate::config::{Setting, units::duration_text};

/// The most items of a list, and the longest of them in characters.
const ITEMS_MAX: usize = 64;
const ITEM_LEN_MAX: usize = 4096;

/// Where secrets belong, for people who put them into the file.
const SECRET_NAMES: [&str; 4] = ["token", "secret", "password", "key"];

/// What is told of a value.
#[derive(Clone, Copy)]
pub(super) enum Show {
    /// The value, unless it looks like a secret.
    Value,
    /// The value where it is a word, as the names of variables are; else only its length.
    Name,
    /// Its length.
    Nothing,
}

fn is_word(value: &Value) -> bool {
    let is_word = |text: &str| {
        text.len() <= NAME_LEN_MAX && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    value.text().is_some_and(is_word)
}

/// Reads options and collects faults.
pub(super) struct Reader {
    file: Layer,
    sections: Vec<(String, Origin)>,
    tables: Vec<(String, Origin)>,
    variables: Layer,
    flags: Layer,
    presets: Layer,
    secrets: Vec<String>,
    known: BTreeMap<String, Setting>,
    faulty: BTreeSet<String>,
    /// Options that were asked for by nobody and whose faults are told already.
    claimed: BTreeSet<String>,
    faults: Vec<Fault>,
}

impl Reader {
    /// With the faults that were found while the layers were read.
    pub(super) fn new(
        file: File,
        variables: Layer,
        flags: Layer,
        secrets: Vec<String>,
        faults: Vec<Fault>,
    ) -> Self {
        Self {
            file: file.layer,
            sections: file.sections,
            tables: file.tables,
            variables,
            flags,
            presets: Layer::new(),
            secrets,
            known: BTreeMap::new(),
            faulty: BTreeSet::new(),
            claimed: BTreeSet::new(),
            faults,
        }
    }

    /// What the platform says: above the defaults, below all else.
    pub(super) fn preset(&mut self, presets: Layer) {
        self.presets = presets;
    }

    /// A duration.
    pub(super) fn duration(&mut self, option: &str, default: Duration, least: &str, most: &str) -> Duration {
        let bound = |text| humantime::parse_duration(text).expect("the bounds of options are durations");
        let text = format!("{:?}", duration_text(default));
        let remedy = format!("give a duration from {least:?} to {most:?}, such as {text}");
        let parse = |value: &Value| units::duration(value, bound(least), bound(most));
        self.read(option, text, &remedy, Show::Value, parse).unwrap_or(default)
    }

    /// A whole number.
    pub(super) fn count(&mut self, option: &str, default: u64, least: u64, most: u64) -> u64 {
        let remedy = format!("give a whole number from {least} to {most}, such as {default}");
        let parse = |value: &Value| units::count(value, least, most);
        self.read(option, default.to_string(), &remedy, Show::Value, parse).unwrap_or(default)
    }

    /// A small whole number.
    pub(super) fn small(&mut self, option: &str, default: u32, least: u32, most: u32) -> u32 {
        let number = self.count(option, default.into(), least.into(), most.into());
        u32::try_from(number).expect("the range of a small number ends within u32")
    }

    /// A multiple.
    pub(super) fn ratio(&mut self, option: &str, default: f64, least: f64, most: f64) -> f64 {
        let remedy = format!("give a number from {least} to {most}, such as {default:?}");
        let parse = |value: &Value| units::number(value, least, most);
        self.read(option, format!("{default:?}"), &remedy, Show::Value, parse).unwrap_or(default)
    }

    /// A share of one.
    pub(super) fn share(&mut self, option: &str, default: f64, least: f64, most: f64) -> f64 {
        let remedy = format!(
            "give a share from {least} to {most}, such as {default:?}, or in quotes as a percentage, such as \"{}%\"",
            default * 100.0
        );
        let parse = |value: &Value| units::share(value, least, most);
        self.read(option, format!("{default:?}"), &remedy, Show::Value, parse).unwrap_or(default)
    }

    /// A switch.
    pub(super) fn truth(&mut self, option: &str, default: bool) -> bool {
        self.read(option, default.to_string(), "give true or false", Show::Value, units::truth)
            .unwrap_or(default)
    }

    /// One of a few words; the first is the default.
    pub(super) fn choice<T: Copy>(&mut self, option: &str, words: &[(&str, T)]) -> T {
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let remedy = format!("give one of {}", quoted.join(", "));
        let parse = |value: &Value| {
            let text = value.text().ok_or("is not text in quotes")?;
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|&(_, choice)| choice).ok_or("is not one of the words that are known")
        };
        self.read(option, quoted[0].clone(), &remedy, Show::Value, parse).unwrap_or(words[0].1)
    }

    /// Text that `parse` makes something of; `default` is in the file's form, and parses.
    pub(super) fn parsed<T>(
        &mut self,
        option: &str,
        default: &str,
        remedy: &str,
        parse: impl Fn(&Value) -> Result<T, Wrong>,
    ) -> T {
        let found = self.read(option, format!("{default:?}"), remedy, Show::Value, &parse);
        let fallback = || parse(&Value::Text(default.to_owned())).expect("the default of an option parses");
        found.unwrap_or_else(fallback)
    }

    /// Text that may be absent: `""` is as good as nothing, and leaves the word to the platform.
    pub(super) fn optional<T>(
        &mut self,
        option: &str,
        remedy: &str,
        parse: impl Fn(&Value) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.optional_as(option, remedy, Show::Value, parse)
    }

    /// The same, shown as `show` says.
    pub(super) fn optional_as<T>(
        &mut self,
        option: &str,
        remedy: &str,
        show: Show,
        parse: impl Fn(&Value) -> Result<T, Wrong>,
    ) -> Option<T> {
        for layer in [&mut self.flags, &mut self.variables, &mut self.file] {
            layer.retain(|name, (value, _)| name != option || value.text() != Some(""));
        }
        self.read(option, "\"\"".to_owned(), remedy, show, parse)
    }

    /// One of a few words, where the default is another than the first.
    pub(super) fn choice_or<T: Copy + PartialEq>(
        &mut self,
        option: &str,
        words: &[(&str, T)],
        default: T,
    ) -> T {
        let (first, others): (Vec<_>, Vec<_>) =
            words.iter().copied().partition(|(_, choice)| *choice == default);
        self.choice(option, &[first, others].concat())
    }

    /// One of a few words, or none: `""`.
    pub(super) fn optional_choice<T: Copy>(&mut self, option: &str, words: &[(&str, T)]) -> Option<T> {
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let parse = |value: &Value| {
            let text = value.text().ok_or("is not text in quotes")?;
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|&(_, choice)| choice).ok_or("is not one of the words that are known")
        };
        self.optional(option, &format!("give one of {}", quoted.join(", ")), parse)
    }

    /// A duration, or none: `""`.
    pub(super) fn optional_duration(&mut self, option: &str, least: &str, most: &str) -> Option<Duration> {
        let bound = |text| humantime::parse_duration(text).expect("the bounds of options are durations");
        let remedy = format!("give a duration from {least:?} to {most:?}, or \"\" for none");
        self.optional(option, &remedy, |value| units::duration(value, bound(least), bound(most)))
    }

    /// A list of texts of which only the number is told; `None` where no layer has one, or a wrong one.
    pub(super) fn hidden_texts<T>(
        &mut self,
        option: &str,
        default: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let items = |value: &Value| items(value, ITEMS_MAX, &parse);
        self.read(option, default.to_owned(), remedy, Show::Nothing, items)
    }

    /// A program and its arguments; `[]` is none.
    pub(super) fn list(&mut self, option: &str) -> Vec<String> {
        let remedy =
            r#"give a list of at most 64 texts, the program first, as in ["./roll-back.sh", "--now"]"#;
        let items = |value: &Value| {
            let text =
                |text: &str| (!text.contains('\0')).then(|| text.to_owned()).ok_or("holds a null character");
            let items = items(value, ITEMS_MAX, text)?;
            if items.first().is_some_and(String::is_empty) { Err("names no program") } else { Ok(items) }
        };
        self.read(option, "[]".to_owned(), remedy, Show::Value, items).unwrap_or_default()
    }

    /// A list of texts that `parse` makes something of.
    pub(super) fn texts<T>(
        &mut self,
        option: &str,
        items_max: usize,
        remedy: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let items = |value: &Value| items(value, items_max, &parse);
        self.read(option, "[]".to_owned(), remedy, Show::Value, items).unwrap_or_default()
    }

    /// Adds what was found in the surroundings to the lowest layer.
    pub(super) fn add_presets(&mut self, mut presets: Layer) {
        self.presets.append(&mut presets);
    }

    /// The keys that any layer holds below `prefix`, with the highest place of each.
    pub(super) fn below(&self, prefix: &str) -> BTreeMap<String, Origin> {
        // The lower layers first, so that the higher ones overwrite them.
        let all = [&self.presets, &self.file, &self.variables, &self.flags].into_iter().flatten();
        let below = |option: &str| option.strip_prefix(prefix).map(str::to_owned);
        all.filter_map(|(option, (_, origin))| Some((below(option)?, origin.clone()))).collect()
    }

    /// The tables of the file that have their own names, with their lines.
    pub(super) fn tables(&self) -> &[(String, Origin)] {
        &self.tables
    }

    /// Something wrong with an option that its value alone does not tell.
    pub(super) fn blame(&mut self, option: &str, text: &str) {
        let origin = self.origin(option).clone();
        self.blame_at(&origin, option, text);
    }

    /// Something wrong with an option that stands there, or should.
    pub(super) fn blame_at(&mut self, origin: &Origin, option: &str, text: &str) {
        self.faults.push(Fault::at(origin, format!("{option}{text}")));
        self.faulty.insert(option.to_owned());
        self.claimed.insert(option.to_owned());
    }

    /// Leaves an option alone that nobody asks for, because more cannot be said of it.
    pub(super) fn claim(&mut self, option: &str) {
        self.claimed.insert(option.to_owned());
    }

    /// A fault that belongs to no place.
    pub(super) fn blame_all(&mut self, text: String) {
        self.faults.push(Fault::between(text));
    }

    /// Whether an option is at fault by itself.
    pub(super) fn is_faulty(&self, option: &str) -> bool {
        self.faulty.contains(option)
    }

    /// Where an option that was read stands.
    pub(super) fn origin(&self, option: &str) -> &Origin {
        self.known.get(option).map_or(&Origin::Default, |setting| &setting.origin)
    }

    /// Whether an option that was read has its default value, wherever it stands.
    pub(super) fn is_at_default(&self, option: &str) -> bool {
        self.known
            .get(option)
            .is_none_or(|setting| setting.value == setting.default || setting.value == "[0 items]")
    }

    /// A fault between options, unless one of them is at fault by itself. The text names each with its value and place.
    pub(super) fn require(&mut self, holds: bool, options: &[&str], rule: &str) {
        if holds || options.iter().any(|option| self.faulty.contains(*option)) {
            return;
        }
        let told: Vec<String> = options.iter().map(|option| self.told(option)).collect();
        self.faults.push(Fault::between(format!("{}: {rule}", told.join(" and "))));
    }

    fn told(&self, option: &str) -> String {
        let setting = self.known.get(option);
        setting.map_or_else(String::new, |s| format!("{option} = {} ({})", s.value, s.origin))
    }

    /// The settings that were read, or all faults: also every key that nobody asked for.
    pub(super) fn finish(mut self) -> Result<BTreeMap<String, Setting>, Faults> {
        let mut strangers = Vec::new();
        for (section, origin) in &self.sections {
            if !self.sections_known().any(|known| known == section) {
                let hint = meant(section, self.sections_known());
                let hint = hint.map(|name| format!("; did you mean [{name}]?")).unwrap_or_default();
                strangers.push(Fault::at(origin, format!("[{section}]: there is no such section{hint}")));
            }
        }
        for (option, (_, origin)) in &self.file {
            let section = option.split_once('.').map_or("", |(section, _)| section);
            if !self.is_told(option) && self.sections_known().any(|known| known == section) {
                strangers.push(Fault::at(origin, format!("{option}: {}", self.stranger(option))));
            }
        }
        for (option, (_, origin)) in &self.variables {
            if !self.is_told(option) {
                strangers.push(Fault::at(origin, self.strange_variable(&origin.to_string())));
            }
        }
        self.faults.append(&mut strangers);
        Faults::from_list(self.faults).map_or(Ok(self.known), Err)
    }

    fn sections_known(&self) -> impl Iterator<Item = &str> {
        let known = self.known.keys().filter_map(|option| option.split_once('.').map(|(section, _)| section));
        known.chain([PROBE])
    }

    fn is_told(&self, option: &str) -> bool {
        self.known.contains_key(option) || self.claimed.contains(option)
    }

    fn stranger(&self, option: &str) -> String {
        let (section, key) = option.split_once('.').unwrap_or(("", option));
        if SECRET_NAMES.iter().any(|name| key.contains(name)) {
            return "there is no such option; secrets are only taken from the environment: the token of the admin \
                    port is OUTRIGGER_TOKEN"
                .to_owned();
        }
        let elsewhere = self.known.keys().find(|known| known.split_once('.').is_some_and(|(_, k)| k == key));
        let beside =
            self.known.keys().filter_map(|known| known.split_once('.')).filter(|(s, _)| *s == section);
        let near = meant(key, beside.map(|(_, key)| key)).map(|key| format!("{section}.{key}"));
        let far = || meant(option, self.known.keys().map(String::as_str)).map(str::to_owned);
        match elsewhere.map(|known| (*known).to_owned()).or(near).or_else(far) {
            Some(name) => format!("there is no such option; did you mean {name}?"),
            None => "there is no such option; docs/CONFIGURATION.md lists all".to_owned(),
        }
    }

    fn strange_variable(&self, variable: &str) -> String {
        let names: Vec<String> = self.known.keys().map(|option| variable_of(option)).collect();
        let candidates = names.iter().map(String::as_str).chain(FIXED);
        match meant(variable, candidates) {
            Some(name) => format!("there is no such variable; did you mean {name}?"),
            None => "there is no such variable; options are named as in OUTRIGGER__JUDGE__WATCH".to_owned(),
        }
    }

    /// The highest layer's word on an option, parsed; `None` when no layer has one, or a wrong one.
    fn read<T>(
        &mut self,
        option: &str,
        default: String,
        remedy: &str,
        show: Show,
        parse: impl Fn(&Value) -> Result<T, Wrong>,
    ) -> Option<T> {
        let layers = [&self.flags, &self.variables, &self.file, &self.presets];
        let Some((value, origin)) = layers.iter().find_map(|layer| layer.get(option)) else {
            let value = default.clone();
            self.known.insert(option.to_owned(), Setting { value, default, origin: Origin::Default });
            return None;
        };
        let shown = match show {
            Show::Value => value.shown(&self.secrets),
            Show::Name if is_word(value) => value.shown(&self.secrets),
            Show::Name | Show::Nothing => value.hidden(),
        };
        let parsed = parse(value).map_err(|wrong| format!("{option} = {shown} {wrong}; {remedy}"));
        let origin = origin.clone();
        let parsed = parsed.map_err(|text| {
            self.faults.push(Fault::at(&origin, text));
            self.faulty.insert(option.to_owned());
        });
        self.known.insert(option.to_owned(), Setting { value: shown, default, origin });
        parsed.ok()
    }
}

/// The items of a list, as it stands in the file or in a variable.
fn items<T>(value: &Value, most: usize, parse: impl Fn(&str) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    let parsed = match value.plain() {
        Some(text) => &file::list(text).ok_or("is not a list")?,
        None => value,
    };
    let Value::List(items) = parsed else { return Err("is not a list") };
    if items.len() > most {
        return Err("is too long");
    }
    let text = |item: &Value| {
        let text = item.text().filter(|text| text.len() <= ITEM_LEN_MAX);
        parse(text.ok_or("holds something else than text of at most 4096 characters")?)
    };
    items.iter().map(text).collect()
}
