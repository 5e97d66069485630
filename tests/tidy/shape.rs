//! How long files and functions are, what modules are called and how they open, and which shortcuts are refused.

use proc_macro2::Span;
use syn::visit::{self, Visit};

use crate::source::{Fault, File};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// A name that fits everything attracts everything.
const NAMES_FOR_EVERYTHING: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];

pub(crate) fn file_length(file: &File) -> Vec<Fault> {
    let lines = file.text.lines().count();
    let fault = || file.fault(FILE_LINES_MAX, format!("{lines} lines; {FILE_LINES_MAX} are the most"));
    (lines > FILE_LINES_MAX).then(fault).into_iter().collect()
}

/// Lines of code between a function's braces; blank lines and comments are free, as in clippy's `too_many_lines`.
pub(crate) fn function_length(file: &File) -> Vec<Fault> {
    if file.is_test() {
        return Vec::new();
    }
    let mut functions = Functions::default();
    functions.visit_file(&file.syntax());
    let lines: Vec<&str> = file.text.lines().collect();
    let mut faults = Vec::new();
    for (name, from, to) in functions.found {
        let inside = lines.get(from..to.saturating_sub(1)).unwrap_or_default();
        let code = inside.iter().map(|l| l.trim()).filter(|l| !l.is_empty() && !l.starts_with("//")).count();
        if code > FUNCTION_LINES_MAX {
            faults.push(
                file.fault(from, format!("`{name}` has {code} lines; {FUNCTION_LINES_MAX} are the most")),
            );
        }
    }
    faults
}

#[derive(Default)]
struct Functions {
    /// Name, and the lines of the opening and the closing brace.
    found: Vec<(String, usize, usize)>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let brace = block.brace_token.span;
        let line = |span: Span| span.start().line;
        self.found.push((signature.ident.to_string(), line(brace.open()), line(brace.close())));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !module.attrs.iter().any(is_cfg_test) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    let test = |list: &syn::MetaList| list.path.is_ident("cfg") && list.tokens.to_string() == "test";
    attribute.meta.require_list().is_ok_and(test)
}

pub(crate) fn names(file: &File) -> Vec<Fault> {
    let fault = |line: usize, name: &str| file.fault(line, format!("`{name}` fits everything: name a noun"));
    let is_banned = |name: &str| NAMES_FOR_EVERYTHING.contains(&name);
    let of_path = file.path.trim_end_matches(".rs").split('/').filter(|p| is_banned(p)).map(|p| fault(1, p));
    let mut faults: Vec<Fault> = of_path.collect();
    let mut modules = Modules::default();
    modules.visit_file(&file.syntax());
    faults.extend(
        modules.inline.iter().filter(|(name, _)| is_banned(name)).map(|(name, line)| fault(*line, name)),
    );
    faults
}

#[derive(Default)]
struct Modules {
    inline: Vec<(String, usize)>,
}

impl<'ast> Visit<'ast> for Modules {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.content.is_some() {
            self.inline.push((module.ident.to_string(), module.ident.span().start().line));
        }
        visit::visit_item_mod(self, module);
    }
}

pub(crate) fn opening(file: &File) -> Vec<Fault> {
    let first = file.text.lines().find(|l| !l.trim().is_empty() && !l.starts_with("#!")).unwrap_or_default();
    let says = first.strip_prefix("//!").is_some_and(|said| !said.trim().is_empty());
    let fault = || file.fault(1, "a module opens with `//!`: what it owns, what it does not know");
    (!says).then(fault).into_iter().collect()
}

/// Lints are lifted by `#[expect(…, reason = "…")]`, which complains once it is not needed.
pub(crate) fn allows(file: &File) -> Vec<Fault> {
    let mut attributes = Attributes::default();
    attributes.visit_file(&file.syntax());
    let fault = |line: &usize| file.fault(*line, "an `allow`: use `#[expect(…, reason = …)]`");
    attributes.allows.iter().map(fault).collect()
}

#[derive(Default)]
struct Attributes {
    allows: Vec<usize>,
}

impl<'ast> Visit<'ast> for Attributes {
    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let inside = attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
        let conditional =
            attribute.path().is_ident("cfg_attr") && inside.replace(' ', "").contains(",allow(");
        if attribute.path().is_ident("allow") || conditional {
            self.allows.push(attribute.pound_token.spans[0].start().line);
        }
    }
}

/// `use super::*` in a test module is the one exception.
pub(crate) fn globs(file: &File) -> Vec<Fault> {
    let mut globs = Globs { depth_of_tests: usize::from(file.is_test()), found: Vec::new() };
    globs.visit_file(&file.syntax());
    let fault = |line: &usize| file.fault(*line, "a glob import: name what you use");
    globs.found.iter().map(fault).collect()
}

struct Globs {
    depth_of_tests: usize,
    found: Vec<usize>,
}

impl<'ast> Visit<'ast> for Globs {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let test = usize::from(module.attrs.iter().any(is_cfg_test));
        self.depth_of_tests += test;
        visit::visit_item_mod(self, module);
        self.depth_of_tests -= test;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if let syn::UseTree::Path(path) = &item.tree
            && path.ident == "super"
            && matches!(*path.tree, syn::UseTree::Glob(_))
            && self.depth_of_tests > 0
        {
            return;
        }
        visit::visit_item_use(self, item);
    }

    fn visit_use_glob(&mut self, glob: &'ast syn::UseGlob) {
        self.found.push(glob.star_token.spans[0].start().line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snippet(text: &str) -> File {
        File::new("src/proxy/pool.rs", text)
    }

    #[test]
    fn a_long_file_is_refused() {
        assert_eq!(file_length(&snippet(&"\n".repeat(501))).len(), 1);
        assert!(file_length(&snippet(&"\n".repeat(500))).is_empty());
    }

    #[test]
    fn a_long_function_is_refused_wherever_it_stands() {
        let body = "f();\n".repeat(71);
        for text in [
            format!("fn a() {{\n{body}}}"),
            format!("impl A {{ fn a() {{\n{body}}} }}"),
            format!("trait A {{ fn a() {{\n{body}}} }}"),
            format!("mod inner {{ fn a() {{\n{body}}} }}"),
        ] {
            assert_eq!(function_length(&snippet(&text)).len(), 1);
        }
        let short = format!("fn a() {{\n// why\n\n{}}}", "f();\n".repeat(70));
        assert!(function_length(&snippet(&short)).is_empty());
        assert!(
            function_length(&snippet(&format!("#[cfg(test)] mod tests {{ fn a() {{\n{body}}} }}")))
                .is_empty()
        );
    }

    #[test]
    fn a_name_that_fits_everything_is_refused() {
        for path in ["src/util.rs", "src/proxy/helper.rs", "src/misc/mod.rs", "tests/common/mod.rs"] {
            assert_eq!(names(&File::new(path, "")).len(), 1, "{path}");
        }
        assert_eq!(names(&snippet("mod manager { }")).len(), 1);
        assert!(names(&snippet("mod tests { }")).is_empty());
    }

    #[test]
    fn a_module_that_does_not_say_what_it_owns_is_refused() {
        for text in ["use std::fmt;", "// Not a doc.\n", "//!\nuse std::fmt;", ""] {
            assert_eq!(opening(&snippet(text)).len(), 1, "{text}");
        }
        assert!(opening(&snippet("//! Owns the pool.\n")).is_empty());
    }

    #[test]
    fn an_allow_is_refused() {
        for text in [
            "#[allow(dead_code)] fn a() {}",
            "#![allow(dead_code)]",
            "#[cfg_attr(test, allow(dead_code))] fn a() {}",
            "fn a() { #[allow(unused)] let x = 1; }",
        ] {
            assert_eq!(allows(&snippet(text)).len(), 1, "{text}");
        }
        assert!(allows(&snippet("#[expect(dead_code, reason = \"allow (it)\")] fn a() {}")).is_empty());
    }

    #[test]
    fn a_glob_is_refused() {
        for text in
            ["use crate::engine::*;", "use std::{fmt, io::*};", "use super::*;", "mod a { use super::*; }"]
        {
            assert_eq!(globs(&snippet(text)).len(), 1, "{text}");
        }
        assert_eq!(globs(&snippet("#[cfg(test)] mod tests { use proptest::prelude::*; }")).len(), 1);
        assert!(globs(&snippet("#[cfg(test)] mod tests { use super::*; }")).is_empty());
        assert!(globs(&File::new("src/proxy/tests/pool.rs", "use super::*;")).is_empty());
    }
}
