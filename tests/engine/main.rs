//! The engine in virtual time: scripts that read like an incident, and the promises with figures, by simulation from
//! seeds. No clock, no socket, no sleep.

mod fallen;
mod fleet;
mod play;
mod promises;
mod rollback;
mod routes;
mod scripts;
mod whose;
mod world;
