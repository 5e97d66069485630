//! What is deployed, and putting a release back.
