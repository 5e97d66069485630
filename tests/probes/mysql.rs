//! MariaDB: killed, frozen, full, with few rights, with TLS.

#[path = "mysql/node.rs"]
mod node;
#[path = "mysql/rights.rs"]
mod rights;
#[path = "mysql/server.rs"]
mod server_faults;
