//! What a person gets back whose input is wrong: every fault at once, by its file and line, and nothing on stdout.

use crate::place::Place;

const GOOD: &str = "{\"t\":5,\"requests\":300,\"errors\":0}\n";
const FILES: [&str; 4] = ["--baseline", "base", "--candidate", "new"];

#[test]
fn faults_of_all_files_are_told_at_once() {
    let place = Place::with(&[
        ("base", "{\"t\":5,\"requests\":300,\"erors\":0}\n"),
        ("new", "{\"t\":5,\"requests\":3,\"errors\":4}\n\nnonsense\n"),
        ("o.toml", "[judge]\nwacht = \"5m\"\n"),
    ]);
    let asked = [&FILES[..], &["--control", "gone", "--config", "o.toml", "--json"]].concat();
    let ended = place.judge(&asked, "");
    assert_eq!((ended.code, ended.out.as_str()), (64, ""));
    let lines: Vec<&str> = ended.err.lines().collect();
    let starts =
        ["o.toml:2: ", "base:1: ", "new:1: `errors` is 4 of 3", "new:3: not JSON", "gone: cannot be read"];
    assert_eq!(lines.len(), starts.len(), "{}", ended.err);
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start) && line.contains(';'), "{line:?} should begin with {start:?}");
    }
}

#[test]
fn recordings_that_do_not_fit_together_are_faults() {
    let cases = [
        (("", GOOD), &[][..], "new: holds no tick"),
        ((GOOD, ""), &["--control", "control"], "control: holds no tick"),
        (
            (GOOD, "{\"t\":7,\"requests\":1,\"errors\":0}"),
            &["--control", "control"],
            "control: has no t that new has",
        ),
        ((GOOD, ""), &["--control", "-", "--candidate", "-"], "cannot be used multiple times"),
    ];
    for ((new, control), more, told) in cases {
        let place = Place::with(&[("base", GOOD), ("new", new), ("control", control)]);
        let ended = place.judge(&[&FILES[..], more].concat(), "");
        assert_eq!((ended.code, ended.out.as_str()), (64, ""), "{told}");
        assert!(ended.err.contains(told), "{}", ended.err);
    }
    let place = Place::with(&[("base", GOOD)]);
    let ended = place.judge(&["--baseline", "-", "--candidate", "-"], GOOD);
    assert_eq!(ended.code, 64);
    assert!(ended.err.contains("stdin, which can be read once"), "{}", ended.err);
}

#[test]
fn help_shows_a_line_of_input_and_an_example() {
    let ended = Place::with(&[]).judge(&["--help"], "");
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    for part in [
        "--baseline",
        "--exit-code",
        "\"latency_us\"",
        "outrigger judge --baseline",
        "64",
        "docs/JUDGE_INPUT.md",
    ] {
        assert!(ended.out.contains(part), "{part} is not in:\n{}", ended.out);
    }
}
