//! `outrigger judge` as a person or a pipeline meets it: the real binary on files, its exit codes and both of its
//! outputs.

#[path = "judge/faults.rs"]
mod faults;
#[path = "judge/json.rs"]
mod json;
#[path = "judge/place.rs"]
mod place;
#[path = "judge/recorded.rs"]
mod recorded;
#[path = "judge/table.rs"]
mod table;
#[path = "judge/verdicts.rs"]
mod verdicts;
