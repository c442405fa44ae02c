//! The kernel's tables of TCP connections: which process owns an end, and whether one does at all.
//! The kernel writes a whole table to answer about one connection.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The tables for IPv4 and IPv6.
pub(super) const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// The state of a connection that neither end has closed.
const ESTABLISHED: &str = "01";

/// The ends of a connection. An IPv4 address that is written as IPv6 is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SocketPair {
    client: SocketAddr,
    server: SocketAddr,
}

impl SocketPair {
    pub(super) fn new(client: SocketAddr, server: SocketAddr) -> Self {
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        Self {
            client: canonical(client),
            server: canonical(server),
        }
    }
}

/// The client's end of a connection.
#[derive(Debug)]
struct TableRow<'a> {
    ends: SocketPair,
    state: &'a str,
    uid: &'a str,
    /// Zero: no process has this end any more.
    inode: u64,
}

impl<'a> TableRow<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut columns = line.split_ascii_whitespace();
        Some(Self {
            ends: SocketPair::new(
                parse_hex_address(columns.nth(1)?)?,
                parse_hex_address(columns.next()?)?,
            ),
            state: columns.next()?,
            uid: columns.nth(3)?,
            inode: columns.nth(1)?.parse().ok()?,
        })
    }
}

/// The ends that a process has.
fn owned_rows(table: &str) -> impl Iterator<Item = TableRow<'_>> {
    let rows = table.lines().skip(1).filter_map(TableRow::parse);
    rows.filter(|row| row.inode != 0)
}

/// The uid of the client's end in the kernel's `table`. Only an established connection with an inode has an
/// owner: a closed socket is listed with uid 0 and inode 0.
pub(super) fn find_owner_uid(table: &str, ends: SocketPair) -> Option<u32> {
    owned_rows(table)
        .find(|row| row.ends == ends && row.state == ESTABLISHED)
        .and_then(|row| row.uid.parse().ok())
}

/// The ends on this machine that a process has, closed for writing or not.
#[derive(Debug, Default)]
struct OwnedEnds {
    /// Before the first row was read; none: never.
    as_of: Option<Instant>,
    ends: HashSet<SocketPair>,
}

impl OwnedEnds {
    fn add(&mut self, table: &str) {
        let ends = owned_rows(table).map(|row| row.ends);
        let on_this_machine = ends.filter(|ends| ends.client.ip().is_loopback());
        self.ends.extend(on_this_machine);
    }

    async fn read() -> Self {
        let mut found = Self {
            as_of: Some(Instant::now()),
            ends: HashSet::new(),
        };
        for table in TABLES {
            found.add(&tokio::fs::read_to_string(table).await.unwrap_or_default());
        }
        found
    }
}

/// Whether clients still own their ends. Questions that arrive while the tables are read share the next
/// read: a crowd of clients that leaves at once costs a few reads, not one each.
#[derive(Debug, Default)]
pub(super) struct SocketOwners(Mutex<OwnedEnds>);

impl SocketOwners {
    /// Whether a process has the client's end, though that may be closed for writing. Unreadable tables: no.
    pub(super) async fn has_owner(&self, ends: SocketPair) -> bool {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if last.as_of.is_none_or(|as_of| as_of <= asked) {
            *last = OwnedEnds::read().await;
        }
        last.ends.contains(&ends)
    }
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
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

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

    fn ends(client: &str, server: &str) -> SocketPair {
        SocketPair::new(client.parse().unwrap(), server.parse().unwrap())
    }

    #[test]
    fn the_uid_is_in_the_row_of_the_clients_end() {
        assert_eq!(
            find_owner_uid(TABLE, ends("127.0.0.1:41668", "127.0.0.1:8125")),
            Some(1001)
        );
        assert_eq!(
            find_owner_uid(TABLE, ends("[::ffff:127.0.0.1]:41668", "127.0.0.1:8125")),
            Some(1001)
        );
        assert_eq!(
            find_owner_uid(TABLE, ends("127.0.0.1:41669", "127.0.0.1:8125")),
            None
        );
        assert_eq!(
            find_owner_uid(TABLE6, ends("[::1]:41668", "[::1]:8125")),
            Some(1002)
        );
        assert_eq!(
            find_owner_uid(TABLE6, ends("127.0.0.1:41669", "127.0.0.1:8125")),
            Some(1003)
        );
        assert_eq!(
            find_owner_uid("nonsense\n1 2 3\n: : :", ends("[::1]:1", "[::1]:2")),
            None
        );
    }

    #[test]
    fn a_closed_socket_has_no_owner() {
        let row = |state: &str, inode: u32| {
            format!("head\n 1: 0100007F:A2C4 0100007F:1FBD {state} 0:0 0:0 0 0 0 {inode}\n")
        };
        let owner = |table: &str| find_owner_uid(table, ends("127.0.0.1:41668", "127.0.0.1:8125"));
        assert_eq!(owner(&row("01", 7)), Some(0), "root itself");
        // FIN_WAIT, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING, SYN_RECV; and an orphan.
        for state in ["02", "03", "04", "05", "06", "07", "08", "09", "0B", "0C"] {
            assert_eq!(owner(&row(state, 7)), None, "{state}");
        }
        assert_eq!(owner(&row("01", 0)), None);
    }

    #[test]
    fn an_end_has_an_owner_in_every_state_but_not_without_an_inode() {
        let client = ends("127.0.0.1:41668", "127.0.0.1:8125");
        for state in ["01", "04", "05", "08"] {
            for inode in [0, 7] {
                let mut owned = OwnedEnds::default();
                owned.add(&format!(
                    "head\n 1: 0100007F:A2C4 0100007F:1FBD {state} 0:0 0:0 0 0 0 {inode}\n"
                ));
                assert_eq!(owned.ends.contains(&client), inode != 0, "{state} {inode}");
            }
        }
        let mut owned = OwnedEnds::default();
        owned.add(TABLE6);
        assert!(owned.ends.contains(&ends("[::1]:41668", "[::1]:8125")));
        assert!(
            owned
                .ends
                .contains(&ends("127.0.0.1:41669", "127.0.0.1:8125"))
        );
    }

    #[tokio::test]
    async fn a_client_owns_its_end_until_it_closes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(server).await.unwrap();
        let (_accepted, address) = listener.accept().await.unwrap();
        let ends = SocketPair::new(address, server);
        let owners = SocketOwners::default();
        assert!(owners.has_owner(ends).await);
        client.shutdown().await.unwrap();
        assert!(owners.has_owner(ends).await, "half closed");
        drop(client);
        assert!(!owners.has_owner(ends).await);
    }
}
