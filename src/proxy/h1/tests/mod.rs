//! What the codec promises, rule by rule.

mod simple;
