//! The tree as text, and Rust as tokens.
//!
//! Paths are read from the token stream, not from the syntax tree: what stands inside a macro (`select!`, `json!`) is
//! opaque to a parser, and a rule that cannot see it could be walked around.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Made by tools or held elsewhere; never ours to check.
const NOT_OURS: [&str; 4] = ["target", ".git", "node_modules", "Cargo.lock"];

/// Files above this are data; none of ours comes near. It is skipped.
const TEXT_BYTES_MAX: u64 = 1 << 20;

const BEFORE_A_PATH: [&str; 11] =
    ["use", "return", "in", "if", "match", "while", "else", "impl", "dyn", "for", "mut"];

#[derive(Debug)]
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    #[cfg(test)]
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(crate) fn fault(&self, line: usize, what: impl Into<String>) -> Fault {
        Fault { path: self.path.clone(), line, what: what.into() }
    }

    /// The file as tokens; a file that is not Rust is the compiler's to report.
    pub(crate) fn tokens(&self) -> TokenStream {
        self.text.parse().unwrap_or_else(|e| panic!("{} is not Rust: {e}", self.path))
    }

    pub(crate) fn syntax(&self) -> syn::File {
        syn::parse_file(&self.text).unwrap_or_else(|e| panic!("{} is not Rust: {e}", self.path))
    }

    /// The file is a test module of its own: `tests.rs`, `pool_tests.rs`, or anything in a folder `tests`.
    pub(crate) fn is_test(&self) -> bool {
        let mut parts = self.path.trim_end_matches(".rs").split('/');
        parts.any(|part| part == "tests" || part.ends_with("_tests"))
    }

    /// The room it belongs to: `proxy` for `src/proxy/pool.rs` and for `src/proxy.rs`.
    pub(crate) fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    /// Its module path below the crate: `["proxy", "pool"]`.
    fn module(&self) -> Vec<String> {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path).trim_end_matches(".rs");
        inside.split('/').filter(|s| !matches!(*s, "mod" | "lib" | "main")).map(str::to_owned).collect()
    }
}

#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    files: Vec<File>,
}

impl Tree {
    pub(crate) fn load() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        read_into(&root, &root, &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { root, files }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.path.ends_with(".rs"))
    }

    pub(crate) fn rust_under<'a>(&'a self, place: &str) -> impl Iterator<Item = &'a File> {
        let (folder, file) = (format!("{place}/"), format!("{place}.rs"));
        self.rust().filter(move |f| f.path.starts_with(&folder) || f.path == file)
    }

    /// README, CONTRIBUTING and what is in `docs/`.
    pub(crate) fn docs(&self) -> impl Iterator<Item = &File> {
        let is_doc = |p: &str| p == "README.md" || p == "CONTRIBUTING.md" || p.starts_with("docs/");
        self.files.iter().filter(move |f| f.path.ends_with(".md") && is_doc(&f.path))
    }

    pub(crate) fn rooms(&self) -> Vec<String> {
        let mut rooms: Vec<String> = self.rust_under("src").map(|f| f.room().to_owned()).collect();
        rooms.dedup();
        rooms
    }

    pub(crate) fn find(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|f| f.path == path)
    }

    pub(crate) fn text(&self, path: &str) -> &File {
        self.find(path).unwrap_or_else(|| panic!("{path} does not exist"))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }
}

fn read_into(root: &Path, folder: &Path, files: &mut Vec<File>) {
    const READABLE: &str = "the tree is a checkout that we may read";
    for entry in fs::read_dir(folder).expect(READABLE) {
        let entry = entry.expect(READABLE);
        let (path, kind) = (entry.path(), entry.file_type().expect(READABLE));
        if NOT_OURS.iter().any(|n| entry.file_name() == *n) || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() {
            read_into(root, &path, files);
        } else if entry.metadata().is_ok_and(|m| m.len() <= TEXT_BYTES_MAX)
            && let Ok(text) = fs::read_to_string(&path)
        {
            let path = path.strip_prefix(root).expect("it was found below the root");
            files.push(File { path: path.to_string_lossy().into_owned(), text });
        }
    }
}

/// A path as the code names it, `super` resolved.
#[derive(Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

impl Named {
    pub(crate) fn starts_with(&self, prefix: &[&str]) -> bool {
        self.segments.len() >= prefix.len() && self.segments.iter().zip(prefix).all(|(a, b)| a == b)
    }

    pub(crate) fn ends_with(&self, suffix: &[&str]) -> bool {
        self.segments.len() >= suffix.len()
            && self.segments.iter().rev().zip(suffix.iter().rev()).all(|(a, b)| a == b)
    }
}

/// Every path in the file: `use` trees spread out, inline paths, and those inside macros.
pub(crate) fn named(file: &File) -> Vec<Named> {
    let mut found = Vec::new();
    spread(file.tokens(), &[], &file.module(), &mut found);
    found
}

fn spread(tokens: TokenStream, prefix: &[String], module: &[String], found: &mut Vec<Named>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut i = 0;
    while i < tokens.len() {
        match &tokens[i] {
            TokenTree::Group(group) => spread(group.stream(), &[], module, found),
            TokenTree::Ident(word) if word == "as" => i += 1,
            // A path from the root (`use ::std::fs`) begins behind the keyword, not with it.
            TokenTree::Ident(word) if BEFORE_A_PATH.iter().any(|keyword| word == keyword) => {}
            TokenTree::Ident(word) if word == "mod" => {
                if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                    (tokens.get(i + 1), tokens.get(i + 2))
                {
                    let inner: Vec<String> = module.iter().cloned().chain([name.to_string()]).collect();
                    spread(body.stream(), &[], &inner, found);
                    i += 2;
                }
            }
            TokenTree::Ident(word) => {
                let line = word.span().start().line;
                let mut segments = prefix.to_vec();
                segments.push(word.to_string());
                while is_colons(&tokens, i + 1) {
                    match tokens.get(i + 3) {
                        Some(TokenTree::Ident(next)) => segments.push(next.to_string()),
                        Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Brace => {
                            spread(g.stream(), &segments, module, found);
                        }
                        _ => break,
                    }
                    i += 3;
                }
                found.push(Named { segments: resolve(segments, module), line });
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        i += 1;
    }
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |t: Option<&TokenTree>| matches!(t, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(tokens.get(at)) && colon(tokens.get(at + 1))
}

fn resolve(segments: Vec<String>, module: &[String]) -> Vec<String> {
    let own = usize::from(segments.first().is_some_and(|s| s == "self"));
    let up = segments[own..].iter().take_while(|s| *s == "super").count();
    if up == 0 {
        return segments;
    }
    let above = &module[..module.len().saturating_sub(up)];
    ["crate".to_owned()]
        .into_iter()
        .chain(above.iter().cloned())
        .chain(segments[own + up..].to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(path: &str, text: &str) -> Vec<String> {
        named(&File::new(path, text))
            .iter()
            .map(|n| n.segments.join("::"))
            .filter(|p| p.contains("::"))
            .collect()
    }

    #[test]
    fn use_trees_are_spread_out() {
        let found = paths("src/a.rs", "use crate::{b::{self, C as D}, e};");
        assert_eq!(found, ["crate::b::self", "crate::b::C", "crate::b", "crate::e"]);
    }

    #[test]
    fn paths_inside_macros_are_seen() {
        assert_eq!(
            paths("src/a.rs", "fn f() { select! { x = crate::store::open() => {} } }"),
            ["crate::store::open"]
        );
    }

    #[test]
    fn super_is_resolved_through_files_and_inline_modules() {
        assert_eq!(paths("src/proxy/pool.rs", "use super::super::store::X;"), ["crate::store::X"]);
        assert_eq!(paths("src/proxy.rs", "mod tests { use super::super::store::X; }"), ["crate::store::X"]);
        assert_eq!(paths("src/proxy/mod.rs", "mod tests { use super::X; }"), ["crate::proxy::X"]);
    }
}
