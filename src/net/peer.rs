//! Who is on the other end of a socket, as far as the machine can tell: its address, the
//! uid that owns the socket (unix credentials, or `/proc/net/tcp` on loopback), and the
//! token it gave as proxy user info. Judges nobody.

use std::net::SocketAddr;

use crate::secret::SecretString;

/// The other end of one connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its address; none at the unix door.
    pub address: Option<SocketAddr>,
    /// Who owns the socket, where the kernel tells.
    pub uid: Option<u32>,
    /// `Proxy-Authorization`'s password (its user, if the password is empty).
    pub token: Option<SecretString>,
}

impl Peer {
    /// On this machine: the unix door, or a loopback address.
    pub fn is_local(&self) -> bool {
        self.address.is_none_or(|address| address.ip().to_canonical().is_loopback())
    }
}
