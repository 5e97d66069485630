//! `docs/CONFIGURATION.md` is the whole truth: its file parses, holds every option and no other, and changes nothing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use outrigger::config::{Flags, Loaded, Origin, Sources, load};

const PAGE: &str = include_str!("../docs/CONFIGURATION.md");

/// The first block is the whole file with its defaults, the second one holds examples of probes.
fn blocks() -> Vec<&'static str> {
    let ended = |text: &'static str| &text[..text.find("```").expect("the block ends")];
    PAGE.split("```toml\n").skip(1).map(ended).collect()
}

fn block() -> &'static str {
    blocks()[0]
}

fn load_from(directory: &Path, file: Option<PathBuf>, env: &[(&str, &str)]) -> Loaded {
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    let sources = Sources { file, directory: directory.to_owned(), env, flags: Flags::default() };
    load(sources).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Each option with the text of its value, as it stands on the page.
fn written() -> Vec<(String, String)> {
    let mut section = String::new();
    let mut options = Vec::new();
    for line in block().lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else {
            let (key, value) = line.split_once(" = ").expect("an option stands on one line");
            options.push((format!("{section}.{key}"), value.to_owned()));
        }
    }
    options
}

#[test]
fn the_page_holds_every_option_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let known: BTreeSet<String> = load_from(dir.path(), None, &[]).origins.into_keys().collect();
    let page: BTreeSet<String> = written().into_iter().map(|(option, _)| option).collect();
    assert_eq!(page, known);
    assert!(known.len() > 40, "only {} options were looked at", known.len());
}

#[test]
fn the_page_shows_the_defaults_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let origins = load_from(dir.path(), None, &[]).origins;
    for (option, value) in written() {
        let default = &origins[option.as_str()].default;
        let same_time = |text: &str| humantime::parse_duration(text.trim_matches('"')).ok();
        let same =
            *default == value || same_time(default).is_some_and(|time| Some(time) == same_time(&value));
        assert!(same, "{option} = {value} on the page, {default} in the code");
    }
}

#[test]
fn loading_the_page_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("page.toml");
    std::fs::write(&file, block()).unwrap();
    let page = load_from(dir.path(), Some(file), &[]);
    let defaults = load_from(dir.path(), None, &[]);
    assert_eq!(page.config, defaults.config);
    assert_eq!(page.warnings, defaults.warnings);
    assert!(page.warnings.is_empty(), "{:?}", page.warnings);
    assert!(matches!(page.origins["judge.watch"].origin, Origin::File { .. }));
}

#[test]
fn the_examples_of_probes_load_and_each_of_them_runs() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("page.toml");
    let examples = blocks()[1];
    std::fs::write(&file, examples).unwrap();
    let env = [
        ("REDIS_URL", "redis://cache"),
        ("ORDERS_DATABASE_URL", "postgres://me:secret@db/orders"),
        ("BILLING_AUTHORIZATION", "Bearer secret"),
    ];
    let page = load_from(dir.path(), Some(file), &env);
    assert_eq!(page.config.probes.list.len(), examples.matches("[probe.").count());
    assert!(page.warnings.is_empty() && page.config.probes.left_out.is_empty(), "{:?}", page.config.probes);
}

#[test]
fn each_key_of_a_probe_is_on_the_page() {
    let keys = include_str!("../src/config/dependencies/kinds.rs");
    let lists = keys.split_once("const COMMON").and_then(|(_, rest)| rest.split_once("fn amend")).unwrap().0;
    let words: BTreeSet<&str> = lists.split('"').skip(1).step_by(2).collect();
    assert!(words.len() > 25, "{words:?}");
    for word in words.iter().filter(|word| **word != "url") {
        assert!(PAGE.contains(&format!("`{word}`")), "`{word}` is not on the page");
    }
}

#[test]
fn each_option_has_a_comment_above_it() {
    let mut explained = false;
    for line in block().lines() {
        match line {
            "" => explained = false,
            line if line.starts_with('#') => explained = true,
            line if line.starts_with('[') => {}
            line => {
                assert!(explained, "nothing is said of `{line}`");
                explained = false;
            }
        }
    }
}

#[test]
fn each_option_can_be_set_by_its_variable() {
    let dir = tempfile::tempdir().unwrap();
    let origins = load_from(dir.path(), None, &[]).origins;
    let mut seen = 0;
    for (option, value) in written() {
        let variable = format!("OUTRIGGER__{}", option.replace('.', "__").to_uppercase());
        let plain = value.trim_matches('"');
        if plain.is_empty() {
            continue;
        }
        let loaded = load_from(dir.path(), None, &[(&variable, plain)]);
        assert_eq!(loaded.origins[option.as_str()].origin, Origin::Variable(variable));
        assert_eq!(origins.len(), loaded.origins.len());
        seen += 1;
    }
    assert!(seen > 35, "only {seen} variables were looked at");
}

#[test]
fn each_variable_of_the_page_exists() {
    let sources = [
        include_str!("../src/config/environment.rs"),
        include_str!("../src/config/sections.rs"),
        include_str!("../src/config/platform.rs"),
        include_str!("../src/config/dependencies/discovery.rs"),
        include_str!("../src/agent/life.rs"),
    ]
    .concat();
    let names = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
        let known = ["RAILWAY_", "DATABASE_", "POSTGRES_", "REDIS_", "MYSQL", "PG", "REDIS"];
        let is_one = |word: &&str| word.len() > 5 && known.iter().any(|start| word.starts_with(start));
        words.filter(is_one).map(str::to_owned).collect()
    };
    let page = names(PAGE);
    assert!(page.len() >= 30, "{page:?}");
    for name in page {
        assert!(sources.contains(&name), "{name} is on the page and not in the code");
    }
}
