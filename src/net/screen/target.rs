//! Which addresses a request may name: never the cloud's metadata service, never the sidecar
//! itself, and private ranges only for clients on this machine. The check runs twice: on the
//! name, and on every address that it resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::authority::Authority;
use crate::net::screen::ScreenError;

/// Where clouds have metadata, credentials and their other services for the machine itself, beside the
/// link-local ranges (`169.254.0.0/16` and `fe80::/10`): an address, the number of bits that count, and
/// who documents it.
const METADATA: [(IpAddr, u32); 8] = [
    // Alibaba Cloud ECS: https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata
    (v4(100, 100, 100, 200), 32),
    // Azure's wire server: https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
    (v4(168, 63, 129, 16), 32),
    // Oracle Cloud's former address, of IANA's 192.0.0.0/24: https://docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm
    (v4(192, 0, 0, 192), 32),
    // AWS: ::254 metadata, ::253 DNS, ::123 time, ::23 credentials of pods:
    // https://docs.aws.amazon.com/whitepapers/latest/ipv6-on-aws/supporting-amazon-vpc-services.html
    // https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html
    (v6([0xfd00, 0xec2], [0, 0x254]), 32),
    // Google Cloud: https://cloud.google.com/compute/docs/metadata/querying-metadata
    (v6([0xfd20, 0xce], [0, 0x254]), 128),
    // Oracle Cloud: https://docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm
    (v6([0xfd00, 0xc1], [0xa9fe, 0xa9fe]), 128),
    // Scaleway: https://www.scaleway.com/en/developers/api/instances/ (user data and metadata)
    (v6([0xfd00, 0x42], [0, 0x42]), 128),
    // The first address of every cloud, as the last bits of an address behind a NAT64 prefix of one's own.
    (v4(169, 254, 169, 254), 32),
];
const METADATA_NAMES: [&str; 5] = [
    "metadata.google.internal",
    "metadata.goog",
    "metadata.tencentyun.com",
    "metadata",
    "instance-data",
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// Its first and last two segments; those between are zero.
const fn v6(prefix: [u16; 2], last: [u16; 2]) -> IpAddr {
    let [first, second] = prefix;
    let [before_last, last] = last;
    IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, before_last, last))
}

/// Checks a host by its name alone, before it is resolved.
pub fn check_host(
    authority: &Authority,
    own: &[SocketAddr],
    local: bool,
) -> Result<(), ScreenError> {
    if METADATA_NAMES.contains(&authority.host.as_str()) {
        return Err(ScreenError::MetadataAddress(authority.host.clone()));
    }
    if let Ok(ip) = authority.host.parse::<IpAddr>() {
        return check_address(SocketAddr::new(ip, authority.port), own, local);
    }
    if authority.host == "localhost" || authority.host.ends_with(".localhost") {
        return check_address(
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), authority.port),
            own,
            local,
        );
    }
    Ok(())
}

/// Checks an address before connecting to it.
pub fn check_address(
    address: SocketAddr,
    own: &[SocketAddr],
    local: bool,
) -> Result<(), ScreenError> {
    let meant = reachable_as(address.ip());
    let any = |test: &dyn Fn(IpAddr) -> bool| meant.iter().any(|ip| test(*ip));
    let shown = || address.ip().to_string();
    if any(&is_metadata) || ends_as_metadata(address.ip()) {
        return Err(ScreenError::MetadataAddress(shown()));
    }
    if any(&|ip| ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)) {
        return Err(ScreenError::NotUnicast(shown()));
    }
    let is_ours = |ip: IpAddr| own.iter().any(|own| is_own(*own, ip, address.port()));
    if any(&is_ours) {
        return Err(ScreenError::OwnAddress(address.to_string()));
    }
    if !local && any(&is_private) {
        return Err(ScreenError::PrivateAddress(shown()));
    }
    Ok(())
}

/// The address, and the IPv4 addresses that a translator reads in an IPv6 address: mapped and compatible
/// (RFC 4291), translated (RFC 2765), NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380),
/// ISATAP (RFC 5214).
fn reachable_as(ip: IpAddr) -> Vec<IpAddr> {
    let mut all = vec![ip.to_canonical()];
    let IpAddr::V6(six) = ip else {
        return all;
    };
    let four =
        |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match six.segments() {
        // `::` and `::1` embed none.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => {}
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => all.push(four(high, low)),
        [0x64, 0xff9b, 1, prefixed, third, fourth, high, low] => {
            all.push(four(high, low));
            all.push(four(prefixed, third << 8 | fourth >> 8));
        }
        [0x2001, 0, server_high, server_low, .., high, low] => {
            all.push(four(server_high, server_low));
            all.push(four(!high, !low));
        }
        _ => {}
    }
    all
}

fn is_metadata(ip: IpAddr) -> bool {
    is_link_local(ip)
        || METADATA
            .iter()
            .any(|(known, bits)| shares_prefix(*known, ip, *bits))
}

/// A NAT64 prefix can be any network; its last bits are the IPv4 address.
fn ends_as_metadata(ip: IpAddr) -> bool {
    let IpAddr::V6(six) = ip else {
        return false;
    };
    let [.., a, b, c, d] = six.octets();
    METADATA.iter().any(|(known, _)| *known == v4(a, b, c, d))
}

fn shares_prefix(known: IpAddr, ip: IpAddr, bits: u32) -> bool {
    match (known, ip) {
        (IpAddr::V4(known), IpAddr::V4(ip)) => {
            (known.to_bits() ^ ip.to_bits()).leading_zeros() >= bits
        }
        (IpAddr::V6(known), IpAddr::V6(ip)) => {
            (known.to_bits() ^ ip.to_bits()).leading_zeros() >= bits
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    }
}

fn is_own(own: SocketAddr, ip: IpAddr, port: u16) -> bool {
    let here = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    own.port() == port
        && (own.ip().to_canonical() == ip
            || own.ip().is_unspecified() && here(ip)
            || own.ip().is_loopback() && here(ip))
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(four) => {
            let [first, second, ..] = four.octets();
            four.is_private()
                || four.is_loopback()
                || first == 0
                || first == 100 && (64..128).contains(&second)
        }
        IpAddr::V6(six) => six.is_loopback() || six.is_unspecified() || six.is_unique_local(),
    }
}
