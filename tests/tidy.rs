//! The house rules as a test: what a machine can check, a machine checks.
//!
//! Each rule is a function over files that returns its faults; here they meet the real tree. Beside each rule stand
//! tests that show it failing on a bad snippet, for a check that cannot fail says nothing.

#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/doors.rs"]
mod doors;
#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/logs.rs"]
mod logs;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use source::{Fault, File, Tree};

/// Holds one rule against each of the files.
fn hold<'a>(files: impl Iterator<Item = &'a File>, rule: impl Fn(&File) -> Vec<Fault>) {
    let mut looked_at = 0;
    let faults: Vec<Fault> = files.inspect(|_| looked_at += 1).flat_map(rule).collect();
    assert!(looked_at > 0, "the rule met no file");
    none(&faults);
}

#[track_caller]
fn none(faults: &[Fault]) {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert!(faults.is_empty(), "{} against the rules:\n{}", faults.len(), lines.join("\n"));
}

#[test]
fn imports_go_down() {
    hold(Tree::load().rust_under("src"), floors::check);
}

#[test]
fn every_room_has_a_floor() {
    none(&floors::without_floor(&Tree::load().rooms()));
}

#[test]
fn the_engine_is_pure() {
    hold(Tree::load().rust_under("src/engine"), doors::engine);
}

#[test]
fn one_crate_has_one_door() {
    hold(Tree::load().rust_under("src"), doors::check);
}

#[test]
fn every_dependency_has_a_door() {
    none(&doors::without_door(Tree::load().text("Cargo.toml")));
}

#[test]
fn files_and_functions_are_short() {
    let tree = Tree::load();
    hold(tree.rust(), shape::file_length);
    hold(tree.rust_under("src"), shape::function_length);
}

#[test]
fn a_module_is_a_noun_and_says_what_it_owns() {
    let tree = Tree::load();
    hold(tree.rust(), shape::names);
    hold(tree.rust(), shape::opening);
}

#[test]
fn nothing_is_allowed_imported_whole_or_left_without_an_owner() {
    let tree = Tree::load();
    hold(tree.rust(), shape::allows);
    hold(tree.rust(), shape::globs);
    hold(tree.files(), words::left_open);
}

#[test]
fn a_log_message_is_a_constant_and_is_listed_for_operators() {
    let tree = Tree::load();
    hold(tree.rust_under("src"), logs::constant);
    let said: Vec<logs::Said> = tree.rust_under("src").flat_map(logs::said).collect();
    none(&logs::listed(&said, tree.find("docs/OPERATIONS.md")));
}

#[test]
fn what_the_docs_name_exists() {
    let tree = Tree::load();
    let code: String = tree.rust_under("src").map(|f| f.text.as_str()).collect();
    let verbs =
        docs::Verbs::of(tree.rust_under("src/cli"), tree.files().filter(|f| f.path.starts_with("scripts/")));
    hold(tree.docs(), |doc| docs::paths(doc, &|path| tree.exists(path)));
    hold(tree.docs(), |doc| docs::links(doc, &|path| tree.exists(path)));
    hold(tree.docs(), |doc| docs::metrics(doc, &code));
    hold(tree.docs(), |doc| docs::commands(doc, &verbs));
}

#[test]
fn nothing_names_what_is_outside_the_tree() {
    hold(Tree::load().files(), words::outside);
}
