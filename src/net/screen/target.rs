//! Which addresses a request may name: never the cloud's metadata service, never the sidecar
//! itself, and private ranges only for clients on this machine. The check runs twice: on the
//! name, and on every address that it resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::authority::Authority;
use crate::net::screen::ScreenError;

/// Metadata services outside the link-local range.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];
const METADATA_NAMES: [&str; 3] = ["metadata.google.internal", "metadata", "instance-data"];

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
    let ip = embedded_ipv4(address.ip());
    let shown = || address.ip().to_string();
    if METADATA.contains(&ip) || is_link_local(ip) {
        return Err(ScreenError::MetadataAddress(shown()));
    }
    if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(ScreenError::NotUnicast(shown()));
    }
    if own.iter().any(|own| is_own(*own, ip, address.port())) {
        return Err(ScreenError::OwnAddress(address.to_string()));
    }
    if !local && is_private(ip) {
        return Err(ScreenError::PrivateAddress(shown()));
    }
    Ok(())
}

/// The IPv4 address that an IPv6 address embeds (mapped, compatible, NAT64, 6to4).
fn embedded_ipv4(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = ip.to_canonical() else {
        return ip.to_canonical();
    };
    let four =
        |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match six.segments() {
        // `::` and `::1` embed none.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => IpAddr::V6(six),
        [0 | 0x64, 0 | 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => four(high, low),
        _ => IpAddr::V6(six),
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
