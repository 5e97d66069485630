//! What the docs name exists: paths, links, metrics, subcommands and flags.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};

use crate::source::{Fault, File};

const OUR_FOLDERS: [&str; 7] = ["src/", "docs/", "tests/", "scripts/", "benches/", "examples/", ".ci/"];

/// What every clap program answers to.
const GIVEN: [&str; 3] = ["help", "version", "V"];

/// A piece of code in a page: between backticks, or a line between fences.
#[derive(Debug, PartialEq)]
struct Code<'a> {
    line: usize,
    text: &'a str,
}

/// Every piece of code in the page; fenced lines whole, without the fences.
fn code(doc: &File) -> Vec<Code<'_>> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (i, line) in doc.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push(Code { line: i + 1, text: line.trim() });
        } else {
            // Every second piece between backticks is code.
            found.extend(line.split('`').skip(1).step_by(2).map(|text| Code { line: i + 1, text }));
        }
    }
    found
}

/// Every word that looks like a path of this repository must be one.
pub(crate) fn paths(doc: &File, exists: &dyn Fn(&str) -> bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    for piece in code(doc) {
        for word in piece.text.split_whitespace() {
            let path = word.trim_start_matches("./").trim_matches(|c: char| "\"'(),;:[]".contains(c));
            let is_ours = OUR_FOLDERS.iter().any(|folder| path.starts_with(folder));
            // A pattern stands for many: only its folder can be looked for.
            let fixed = match path.find(['*', '…', '<', '{', ':', '#']) {
                Some(at) => path[..at].rfind('/').map_or("", |slash| &path[..slash]),
                None => path,
            };
            if is_ours && !exists(fixed) {
                faults.push(doc.fault(piece.line, format!("`{path}` does not exist")));
            }
        }
    }
    faults
}

pub(crate) fn links(doc: &File, exists: &dyn Fn(&str) -> bool) -> Vec<Fault> {
    let folder = doc.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut faults = Vec::new();
    for (i, line) in doc.text.lines().enumerate() {
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split([')', ' ']).next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            if !exists(format!("{folder}/{path}").trim_start_matches('/')) {
                faults.push(doc.fault(i + 1, format!("the link `{target}` leads nowhere")));
            }
        }
    }
    faults
}

/// `code`: all the source, as one text.
pub(crate) fn metrics(doc: &File, code: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (i, line) in doc.text.lines().enumerate() {
        for (at, prefix) in line.match_indices("outrigger_") {
            let end = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            let name = line[at..].split(end).next().unwrap_or_default();
            let whole = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            // `outrigger_*` and the like are patterns.
            if whole && name != prefix && !name.ends_with('_') && !is_metric(name, code) {
                faults.push(doc.fault(i + 1, format!("the metric `{name}` does not occur in src/")));
            }
        }
    }
    faults
}

/// A histogram is shown as three series.
fn is_metric(name: &str, code: &str) -> bool {
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    [Some(name), base].into_iter().flatten().any(|name| code.contains(&format!("\"{name}\"")))
}

/// The words that the command line understands: identifiers (clap derives names from them) and texts in `src/cli`, and
/// the flags of our scripts.
#[derive(Debug, Default)]
pub(crate) struct Verbs {
    words: BTreeSet<String>,
    scripts: String,
}

impl Verbs {
    pub(crate) fn of<'a>(
        cli: impl Iterator<Item = &'a File>,
        scripts: impl Iterator<Item = &'a File>,
    ) -> Self {
        let mut verbs = Self { scripts: scripts.map(|f| f.text.as_str()).collect(), ..Self::default() };
        cli.for_each(|file| verbs.take(file.tokens()));
        verbs
    }

    fn take(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.take(group.stream()),
                TokenTree::Ident(word) => {
                    self.words.insert(kebab(&word.to_string()));
                }
                TokenTree::Literal(text) => {
                    self.words.insert(text.to_string().trim_matches('"').to_owned());
                }
                TokenTree::Punct(_) => {}
            }
        }
    }

    fn knows(&self, word: &str) -> bool {
        self.words.contains(word) || GIVEN.contains(&word)
    }
}

/// `dry_run` and `DryRun` are both `dry-run` on the command line.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for c in name.trim_start_matches("r#").chars() {
        if c == '_' {
            out.push('-');
        } else {
            if c.is_uppercase() && !out.is_empty() {
                out.push('-');
            }
            out.extend(c.to_lowercase());
        }
    }
    out
}

/// Subcommands and flags after `outrigger`, and flags that stand alone between backticks.
pub(crate) fn commands(doc: &File, verbs: &Verbs) -> Vec<Fault> {
    let mut faults = Vec::new();
    for piece in code(doc) {
        let clean = |w: &'_ str| w.trim_matches(|c: char| "\"'`[](),;.…|".contains(c)).to_owned();
        let words: Vec<String> = piece.text.split_whitespace().map(clean).collect();
        let ours = words.iter().position(|w| w == "outrigger" || w.ends_with("/outrigger"));
        let ours = ours.or_else(|| through_cargo(&words));
        let after = ours.map_or(0, |at| at + 1);
        // What follows a bare `--`, a pipe or a comment belongs to someone else.
        let own: Vec<&String> =
            words[after..].iter().take_while(|w| !matches!(w.as_str(), "--" | "" | "#" | "&&")).collect();
        if ours.is_none() && !words.first().is_some_and(|w| w.starts_with("--") && w.len() > 2) {
            continue;
        }
        if is_command(&words, ours)
            && let Some(verb) = own.first().filter(|w| w.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
            && !verb.starts_with('-')
            && !verbs.knows(verb)
        {
            faults.push(doc.fault(piece.line, format!("`outrigger {verb}` does not exist")));
        }
        for flag in own.iter().filter_map(|w| w.strip_prefix("--")) {
            let name = flag.split(['=', ' ', '[']).next().unwrap_or_default();
            if !verbs.knows(name) && !verbs.scripts.contains(&format!("--{name}")) {
                faults.push(doc.fault(piece.line, format!("the flag `--{name}` does not exist")));
            }
        }
    }
    faults
}

/// `cargo run --release -- demo`: what follows the bare `--` is ours.
fn through_cargo(words: &[String]) -> Option<usize> {
    words
        .starts_with(&["cargo".to_owned(), "run".to_owned()])
        .then(|| words.iter().position(|w| w == "--"))?
}

/// `outrigger` is what is run here, not an argument of something else: it comes first, but for a prompt and variables.
fn is_command(words: &[String], ours: Option<usize>) -> bool {
    let before =
        |w: &String| matches!(w.as_str(), "$" | "exec" | "sudo" | "ENTRYPOINT" | "CMD") || w.contains('=');
    ours.is_some_and(|at| words[at] == "--" || words[..at].iter().all(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> File {
        File::new("docs/PAGE.md", text)
    }

    #[test]
    fn a_path_that_does_not_exist_is_refused() {
        let exists = |path: &str| ["src/engine", "src/engine/mod.rs", "scripts/test"].contains(&path);
        for text in ["see `src/engine/gone.rs`", "```\nscripts/gone --quick\n```", "`src/gone/*.rs`"] {
            assert_eq!(paths(&page(text), &exists).len(), 1, "{text}");
        }
        for text in [
            "`src/engine/mod.rs`",
            "`./scripts/test --quick`",
            "`src/engine/*.rs`",
            "`src/engine/mod.rs:12`",
            "src/prose",
        ] {
            assert!(paths(&page(text), &exists).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_refused() {
        let exists = |path: &str| path == "docs/OTHER.md";
        assert_eq!(links(&page("[a](GONE.md) and [b](OTHER.md#part)"), &exists).len(), 1);
        assert!(
            links(&page("[a](https://example.org/x) [b](#part) [c](mailto:a@example.org)"), &exists)
                .is_empty()
        );
    }

    #[test]
    fn a_metric_that_nothing_writes_is_refused() {
        let code = "(\"outrigger_requests_total\", \"outrigger_latency_seconds\")";
        assert_eq!(metrics(&page("`outrigger_request_total` counts"), code).len(), 1);
        assert_eq!(
            metrics(&page("`outrigger_requests_total_bucket`, `outrigger_gone_bucket`"), code).len(),
            1
        );
        for text in [
            "`outrigger_requests_total{method=\"get\"}`",
            "`outrigger_latency_seconds_bucket`",
            "`outrigger_*`",
        ] {
            assert!(metrics(&page(text), code).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_subcommand_or_flag_that_does_not_exist_is_refused() {
        let cli = File::new(
            "src/cli/mod.rs",
            "enum Command { Run { dry_run: bool }, Status } const X: &str = \"listen\";",
        );
        let script = File::new("scripts/test", "--quick) quick=1;;");
        let verbs = Verbs::of([&cli].into_iter(), [&script].into_iter());
        for text in [
            "`outrigger walk`",
            "`outrigger run --lisent A`",
            "`--lisent`",
            "```\n$ PORT=1 outrigger walk\n```",
            "```\nENTRYPOINT [\"outrigger\", \"walk\"]\n```",
            "```\ncp target/outrigger x --wrong\n```",
            "`cargo run --release -- walk`",
            "`cargo run -- run --lisent`",
        ] {
            assert_eq!(commands(&page(text), &verbs).len(), 1, "{text}");
        }
        for text in [
            "`outrigger run [--listen A] [--dry-run] -- app --workers 4`",
            "`outrigger status --help`",
            "`--quick`",
            "`cargo build --release`",
            "`cargo run --release -- run --listen A`",
            "`outrigger`",
            "```\nCOPY --from=build /target/release/outrigger /usr/bin/outrigger\n```",
        ] {
            assert!(commands(&page(text), &verbs).is_empty(), "{text}");
        }
    }
}
