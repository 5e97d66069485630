//! A deployment's own port: the app's before the app listens there, and still its own between two starts.
//!
//! A port that was merely found free may be given to somebody else before the app binds it: the system gives the same
//! ones to every listener that asks for any and to every connection. Then another process would answer for the app, the
//! health check too, and the app would end at once. So the port is bound here and never listened on. The system then
//! gives it to nobody, and who asks for it by number gets it only with `SO_REUSEADDR`, which the demo's app sets. An
//! agent that starts any app cannot do the same: not every app sets that option.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port on loopback, held while this lives. Until the app listens on it, it refuses.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _held: TcpSocket,
}

impl Port {
    /// Any free one.
    pub(crate) fn hold() -> io::Result<Self> {
        let held = TcpSocket::new_v4()?;
        held.set_reuseaddr(true)?;
        held.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { number: held.local_addr()?.port(), _held: held })
    }

    /// Its number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_held_port_is_the_apps_and_nobody_elses() {
        let port = Port::hold().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        let other = TcpSocket::new_v4().unwrap();
        assert_eq!(other.bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        for _start in 0..2 {
            let refused = TcpStream::connect(address).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            let app = TcpListener::bind(address).await.unwrap();
            let client = TcpStream::connect(address).await.unwrap();
            drop((app.accept().await.unwrap(), client));
        }
    }
}
