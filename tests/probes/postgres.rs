//! The Postgres probe against real servers, a streaming replica and a pgbouncer.

#[path = "postgres/access.rs"]
mod access;
#[path = "postgres/cluster.rs"]
pub(crate) mod cluster;
#[path = "postgres/crowd.rs"]
mod crowd;
#[path = "postgres/faults.rs"]
mod faults;
#[path = "postgres/pooled.rs"]
mod pooled;
#[path = "postgres/replicas.rs"]
mod replicas;
