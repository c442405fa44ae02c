//! Who runs a command at the control socket: the user whose credentials the kernel reports.

use tokio::io::AsyncReadExt;

use crate::net::peer::Peer;
use crate::telemetry::Operator;

/// Longer lists of users are not searched to their end.
const MAX_PASSWD_BYTES: u64 = 1 << 20;
const MAX_NAME_CHARS: usize = 32;

/// The user at the other end of a unix socket, with its name if `/etc/passwd` has one.
pub async fn operator(peer: &Peer) -> Operator {
    let Some(uid) = peer.uid else {
        return Operator::default();
    };
    let mut users = String::new();
    if let Ok(file) = tokio::fs::File::open("/etc/passwd").await {
        let mut file = file.take(MAX_PASSWD_BYTES);
        // A user without a name is still known by its uid.
        file.read_to_string(&mut users).await.unwrap_or_default();
    }
    Operator {
        uid: Some(uid),
        name: find_name(&users, uid),
    }
}

/// The name of `uid` in the text of `/etc/passwd`.
fn find_name(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let is_user = fields.nth(1)?.parse() == Ok(uid);
        (is_user && is_name(name)).then(|| name.to_owned())
    })
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_CHARS).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_has_the_name_of_its_user() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\n\nbad\ndeploy:x:1001:1001::/:/bin/sh\n<b>:x:7:7::/:\n";
        assert_eq!(find_name(users, 0).as_deref(), Some("root"));
        assert_eq!(find_name(users, 1001).as_deref(), Some("deploy"));
        assert_eq!((find_name(users, 7), find_name(users, 8)), (None, None));
        let root = operator(&Peer::from_unix(Some(0))).await;
        assert_eq!(root.to_string(), "root (uid 0)");
        let stranger = operator(&Peer::from_unix(Some(4_000_000_000))).await;
        assert_eq!(stranger.to_string(), "uid 4000000000");
        assert_eq!(
            operator(&Peer::default()).await.to_string(),
            "an unknown user"
        );
    }
}
