//! The other end of a socket: its address, the uid that owns the socket (unix credentials, or
//! `/proc/net/tcp` on loopback), and the token that it sent as proxy user info. Makes no access
//! decision. To look up one socket the kernel writes its whole table, which costs more than a
//! hundred requests: the lookup runs only when the uid is needed, once per connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::OnceCell;

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
    client: SocketAddr,
    server: SocketAddr,
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

    async fn lookup_owner_uid(&self) -> Option<u32> {
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let table = tokio::fs::read_to_string(table).await.unwrap_or_default();
            if let Some(uid) = find_owner_uid(&table, self.client, self.server) {
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
                client,
                server,
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

/// The uid of the socket from `client` to `server` in the kernel's `table`. Only an established connection
/// with an inode has an owner: a closed socket is listed with uid 0 and inode 0.
fn find_owner_uid(table: &str, client: SocketAddr, server: SocketAddr) -> Option<u32> {
    const ESTABLISHED: &str = "01";
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let local = parse_hex_address(columns.nth(1)?)?;
        let remote = parse_hex_address(columns.next()?)?;
        let state = columns.next()?;
        let uid = columns.nth(3)?;
        let inode: u64 = columns.nth(1)?.parse().ok()?;
        let is_connection = local == canonical(client) && remote == canonical(server);
        (is_connection && state == ESTABLISHED && inode != 0)
            .then(|| uid.parse().ok())
            .flatten()
    })
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// `0100007F:1F90`: 32-bit words in the machine's byte order, then the port in plain hexadecimal.
fn parse_hex_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words: Option<Vec<u32>> = address.as_bytes().chunks(8).map(parse_hex_u32).collect();
    let bytes: Vec<u8> = words?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = match (
        <[u8; 4]>::try_from(bytes.as_slice()),
        <[u8; 16]>::try_from(bytes.as_slice()),
    ) {
        (Ok(four), _) => IpAddr::V4(Ipv4Addr::from(four)),
        (_, Ok(six)) => IpAddr::V6(Ipv6Addr::from(six)).to_canonical(),
        (Err(_), Err(_)) => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

fn parse_hex_u32(digits: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1FBD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:A2C4 0100007F:1FBD 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0 20 4 30 10 -1
   2: 0100007F:1FBD 0100007F:A2C4 01 00000000:00000000 00:00000000 00000000     7        0 3 1 0 20 4 30 10 -1
";
    const TABLE6: &str = "head
   0: 00000000000000000000000001000000:A2C4 00000000000000000000000001000000:1FBD 01 0:0 0:0 0  1002 0 2
   1: 0000000000000000FFFF00000100007F:A2C5 0000000000000000FFFF00000100007F:1FBD 01 0:0 0:0 0  1003 0 2
";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_uid_is_in_the_row_of_the_clients_end() {
        assert_eq!(
            find_owner_uid(TABLE, at("127.0.0.1:41668"), at("127.0.0.1:8125")),
            Some(1001)
        );
        assert_eq!(
            find_owner_uid(TABLE, at("[::ffff:127.0.0.1]:41668"), at("127.0.0.1:8125")),
            Some(1001)
        );
        assert_eq!(
            find_owner_uid(TABLE, at("127.0.0.1:41669"), at("127.0.0.1:8125")),
            None
        );
        assert_eq!(
            find_owner_uid(TABLE6, at("[::1]:41668"), at("[::1]:8125")),
            Some(1002)
        );
        assert_eq!(
            find_owner_uid(TABLE6, at("127.0.0.1:41669"), at("127.0.0.1:8125")),
            Some(1003)
        );
        assert_eq!(
            find_owner_uid("nonsense\n1 2 3\n: : :", at("[::1]:1"), at("[::1]:2")),
            None
        );
    }

    #[test]
    fn a_closed_socket_has_no_owner() {
        let row = |state: &str, inode: u32| {
            format!("head\n 1: 0100007F:A2C4 0100007F:1FBD {state} 0:0 0:0 0 0 0 {inode}\n")
        };
        let owner =
            |table: &str| find_owner_uid(table, at("127.0.0.1:41668"), at("127.0.0.1:8125"));
        assert_eq!(owner(&row("01", 7)), Some(0), "root itself");
        // FIN_WAIT, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING, SYN_RECV; and an orphan.
        for state in ["02", "03", "04", "05", "06", "07", "08", "09", "0B", "0C"] {
            assert_eq!(owner(&row(state, 7)), None, "{state}");
        }
        assert_eq!(owner(&row("01", 0)), None);
    }

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
