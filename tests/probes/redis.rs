//! Redis: alone, with a replica, and behind three Sentinels.

#[path = "redis/certificates.rs"]
pub(crate) mod certificates;
#[path = "redis/node.rs"]
mod node;
#[path = "redis/replicas.rs"]
mod replicas;
#[path = "redis/rights.rs"]
mod rights;
#[path = "redis/server.rs"]
mod server_faults;
#[path = "redis/tls.rs"]
mod tls;
#[path = "redis/wire.rs"]
mod wire;
