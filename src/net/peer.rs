//! The other end of a socket: its address, the uid that owns the socket (unix credentials, or
//! `/proc/net/tcp` on loopback), and the token that it sent as proxy user info. Makes no access
//! decision. To look up one socket the kernel writes its whole table, which costs more than a
//! hundred requests: the lookup runs only when the uid is needed, once per connection.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::net::socket_table::{SocketPair, TABLES, find_owner_uid};
use crate::secret::SecretString;

/// The other end of one connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its address; none at the unix socket.
    pub address: Option<SocketAddr>,
    /// The uid that owns the socket, if it is known already.
    pub uid: Option<u32>,
    /// The connection for which to look the owner up in the kernel's table.
    pub socket: Option<Arc<LoopbackSocket>>,
    /// `Proxy-Authorization`'s password (its user, if the password is empty).
    pub token: Option<SecretString>,
}

/// An accepted loopback connection, as identified in the kernel's table.
#[derive(Debug)]
pub struct LoopbackSocket {
    ends: SocketPair,
    owner: OnceCell<Option<u32>>,
    /// Whether a second lookup, before the first attempt, found the same owner.
    confirmed: OnceCell<bool>,
}

impl LoopbackSocket {
    async fn owner_uid(&self) -> Option<u32> {
        *self.owner.get_or_init(|| self.lookup_owner_uid()).await
    }

    /// A socket that was closed meanwhile has no owner any more.
    async fn confirm_owner(&self) -> bool {
        let Some(owner) = self.owner.get().copied().flatten() else {
            return true;
        };
        let confirm = || async move { self.lookup_owner_uid().await == Some(owner) };
        *self.confirmed.get_or_init(confirm).await
    }

    /// The client's end and ours.
    pub(super) fn ends(&self) -> SocketPair {
        self.ends
    }

    async fn lookup_owner_uid(&self) -> Option<u32> {
        for table in TABLES {
            let table = tokio::fs::read_to_string(table).await.unwrap_or_default();
            if let Some(uid) = find_owner_uid(&table, self.ends) {
                return Some(uid);
            }
        }
        None
    }
}

impl Peer {
    /// The client of an accepted TCP connection.
    pub fn from_tcp(client: SocketAddr, server: SocketAddr) -> Self {
        let mut peer = Self {
            address: Some(client),
            ..Self::default()
        };
        peer.socket = peer.is_local().then(|| {
            Arc::new(LoopbackSocket {
                ends: SocketPair::new(client, server),
                owner: OnceCell::new(),
                confirmed: OnceCell::new(),
            })
        });
        peer
    }

    /// The uid that owns the client's end, if the kernel reports it: at the unix socket, and on loopback.
    pub async fn owner_uid(&self) -> Option<u32> {
        match (self.uid, &self.socket) {
            (Some(uid), _) => Some(uid),
            (None, Some(socket)) => socket.owner_uid().await,
            (None, None) => None,
        }
    }

    /// Whether the uid that was found is still the owner's; reads the kernel's table once per connection.
    pub async fn confirm_uid(&self) -> bool {
        match &self.socket {
            Some(socket) => socket.confirm_owner().await,
            None => true,
        }
    }

    /// The client of a unix connection.
    pub fn from_unix(uid: Option<u32>) -> Self {
        Self {
            uid,
            ..Self::default()
        }
    }

    /// Whether the client connected to a unix socket.
    pub fn is_unix(&self) -> bool {
        self.address.is_none()
    }

    /// Whether the peer is on this machine: at a unix socket, or at a loopback address.
    pub fn is_local(&self) -> bool {
        self.is_unix()
            || self
                .address
                .is_some_and(|address| address.ip().to_canonical().is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_has_gone_is_not_confirmed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = || tokio::net::TcpStream::connect(listener.local_addr().unwrap());
        for leaves in [false, true] {
            let client = open().await.unwrap();
            let (_accepted, address) = listener.accept().await.unwrap();
            let peer = Peer::from_tcp(address, listener.local_addr().unwrap());
            assert_eq!(
                peer.owner_uid().await,
                Some(rustix::process::getuid().as_raw())
            );
            let client = (!leaves).then_some(client);
            assert_eq!(peer.confirm_uid().await, !leaves);
            drop(client);
        }
        let gone = open().await.unwrap();
        let (_accepted, address) = listener.accept().await.unwrap();
        drop(gone);
        let peer = Peer::from_tcp(address, listener.local_addr().unwrap());
        assert_eq!(
            peer.owner_uid().await,
            None,
            "a closed socket is not root's"
        );
    }

    #[tokio::test]
    async fn the_kernel_reports_our_own_uid() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let peer = Peer::from_tcp(client.local_addr().unwrap(), client.peer_addr().unwrap());
        assert_eq!(peer.uid, None, "nobody has asked yet");
        assert_eq!(
            peer.owner_uid().await,
            Some(rustix::process::getuid().as_raw())
        );
        assert!(peer.is_local());
    }

    #[test]
    fn a_token_is_not_printed() {
        let peer = Peer {
            token: Some(SecretString::from("hunter22")),
            ..Peer::default()
        };
        assert!(!format!("{peer:?}").contains("hunter22"));
    }
}
