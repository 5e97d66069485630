//! Baselines, evidence, decision records: SQLite on its own thread.
