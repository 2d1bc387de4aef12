//! Who a request really comes from, when proxies stand before the server (PROTOCOL.md 1, `TRUSTED_PROXIES`).

use std::net::{IpAddr, SocketAddr};

/// The rightmost hop of `X-Forwarded-For` that is no trusted proxy. `None`: there is no such header, or what stands where
/// the client should stand is no address. Where all hops are trusted, the leftmost is the client.
pub(crate) fn client<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let values: Vec<&[u8]> = values.collect();
    let mut last = None;
    for hop in values.iter().flat_map(|value| value.split(|byte| *byte == b',')).rev() {
        let address = parse(hop.trim_ascii())?;
        last = Some(address);
        if !trusted(address) {
            break;
        }
    }
    last
}

/// An address, with or without a port, IPv6 with or without brackets.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address =
        bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_rightmost_hop_that_is_not_trusted() {
        let trusted = |address: IpAddr| address.to_string().starts_with("10.");
        for (values, expected) in [
            (&["203.0.113.7"][..], Some("203.0.113.7")),
            (&["1.1.1.1, 203.0.113.7, 10.0.0.1"], Some("203.0.113.7")),
            (&["1.1.1.1", "203.0.113.7,10.0.0.1"], Some("203.0.113.7")),
            (&["10.0.0.2, 10.0.0.1"], Some("10.0.0.2")),
            (&["[2001:db8::1]:443"], Some("2001:db8::1")),
            (&["203.0.113.7:1234"], Some("203.0.113.7")),
            (&["somebody"], None),
            (&["1.1.1.1, somebody"], None),
            (&[], None),
        ] {
            let found = client(values.iter().map(|value| value.as_bytes()), trusted);
            assert_eq!(found.map(|address| address.to_string()).as_deref(), expected, "{values:?}");
        }
    }
}
