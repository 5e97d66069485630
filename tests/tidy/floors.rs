//! The floors: a module imports only from floors below its own, so no two neighbours know each other.

use crate::source::{Fault, File, named};

/// Where each room stands. A new line here is the kind of change that is talked over first.
const FLOORS: [(&str, u8); 25] = [
    ("engine", 0),
    ("clock", 1),
    ("config", 1),
    ("recorder", 1),
    ("https", 1),
    ("pack", 1),
    ("proxy", 2),
    ("supervisor", 2),
    ("prober", 2),
    ("host", 2),
    ("peers", 2),
    ("platform", 2),
    ("store", 2),
    ("registry", 2),
    ("notify", 2),
    ("admin", 2),
    ("agent", 3),
    ("stage", 3),
    ("ops", 3),
    ("offline", 3),
    ("cli", 4),
    // A list of the entry points in the other rooms.
    ("fuzz", 4),
    // The entrances: they hold no logic and may name everything.
    ("lib", u8::MAX),
    ("main", u8::MAX),
    ("bin", u8::MAX),
];

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|&(_, floor)| floor)
}

pub(crate) fn without_floor(rooms: &[String]) -> Vec<Fault> {
    let fault = |room: &String| Fault {
        path: format!("src/{room}"),
        line: 1,
        what: "a module without a floor: give it one in tests/tidy/floors.rs".to_owned(),
    };
    rooms.iter().filter(|room| floor(room).is_none()).map(fault).collect()
}

pub(crate) fn check(file: &File) -> Vec<Fault> {
    let Some(own) = floor(file.room()) else { return without_floor(&[file.room().to_owned()]) };
    if own == u8::MAX {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for path in named(file) {
        let [root, room, ..] = path.segments.as_slice() else { continue };
        if root != "crate" || room == file.room() {
            continue;
        }
        let what = match floor(room) {
            None => format!("`crate::{room}` is no room with a floor"),
            Some(theirs) if theirs >= own => {
                format!("`{}` (floor {own}) must not name `{room}` (floor {theirs})", file.room())
            }
            Some(_) => continue,
        };
        faults.push(file.fault(path.line, what));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, text: &str) -> Vec<String> {
        check(&File::new(path, text)).into_iter().map(|f| f.what).collect()
    }

    #[test]
    fn a_neighbour_is_refused_in_a_use_and_in_a_path() {
        for text in [
            "use crate::store::Store;",
            "use crate::{engine::time::Time, store};",
            "fn f() { crate::store::open() }",
            "fn f() { tokio::select! { _ = crate::store::open() => {} } }",
            "use super::super::store::Store;",
            "mod tests { use crate::store::Store; }",
        ] {
            assert_eq!(
                faults("src/proxy/pool.rs", text),
                ["`proxy` (floor 2) must not name `store` (floor 2)"]
            );
        }
    }

    #[test]
    fn a_higher_floor_is_refused_and_a_lower_one_is_not() {
        assert_eq!(faults("src/store/mod.rs", "use crate::agent::Agent;").len(), 1);
        assert_eq!(faults("src/recorder.rs", "use crate::clock::Clock;").len(), 1);
        assert_eq!(faults("src/stage/edge.rs", "use crate::agent::Agent;").len(), 1);
        assert!(faults("src/stage/edge.rs", "use crate::store::Store;").is_empty());
        assert!(
            faults("src/store/mod.rs", "use crate::engine::time::Time; use crate::store::Row;").is_empty()
        );
        assert!(faults("src/main.rs", "use crate::cli::run;").is_empty());
    }

    #[test]
    fn a_module_without_a_floor_is_refused() {
        assert_eq!(faults("src/cellar.rs", "").len(), 1);
        assert_eq!(faults("src/agent.rs", "use crate::cellar::Wine;").len(), 1);
        assert_eq!(without_floor(&["cellar".to_owned(), "engine".to_owned()]).len(), 1);
    }
}
