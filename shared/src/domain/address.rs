//! Which addresses a webhook may go to.
//!
//! A URL comes from a client, and the dispatcher stands inside the operator's network: without
//! this, anybody could make it talk to machines that only it can reach. Judged are addresses, never
//! names, and they are judged where the connection is made, so that a name cannot change its mind
//! between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What the operator allows beside the public internet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    networks: Vec<IpNet>,
    /// Lower-case host names that may resolve to any address.
    names: Vec<String>,
}

impl Allowed {
    /// Reads words such as `10.1.0.0/16`, `127.0.0.1`, `hooks.internal` and `loopback`; the words
    /// that are none of these come back as they are.
    pub fn read(words: &[String]) -> Result<Self, Vec<String>> {
        let mut allowed = Self::default();
        let mut unknown = Vec::new();
        for word in words {
            if word == "loopback" {
                allowed = allowed.with_loopback();
            } else if let Ok(network) = word.parse::<IpNet>() {
                allowed.networks.push(network);
            } else if let Ok(address) = word.parse::<IpAddr>() {
                allowed.networks.push(IpNet::from(address));
            } else if is_host_name(word) {
                allowed.names.push(word.to_ascii_lowercase());
            } else {
                unknown.push(word.clone());
            }
        }
        if unknown.is_empty() { Ok(allowed) } else { Err(unknown) }
    }

    /// The same and this machine itself.
    #[must_use]
    pub fn with_loopback(mut self) -> Self {
        self.networks.push(IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        if let Ok(loopback) = "127.0.0.0/8".parse() {
            self.networks.push(loopback);
        }
        self
    }

    /// Whether a request may be sent to this address.
    pub fn address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address)) || is_public(address)
    }

    /// Whether a host may be anywhere.
    pub fn name(&self, host: &str) -> bool {
        self.names.iter().any(|name| host.eq_ignore_ascii_case(name))
    }
}

fn is_host_name(word: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    word.len() <= 253 && word.split('.').all(label)
}

/// Whether an address belongs to the public internet, by the registries of special-purpose
/// addresses (IANA, RFC 6890 and its successors). Addresses that carry an IPv4 address for a
/// translator are judged by the one they carry.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224..=255, _, _)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    match segments {
        // NAT64: what counts is the address behind the translator.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Unspecified, loopback, IPv4-mapped and -compatible, and the rest of ::/8.
        [0..=0xff, ..] => false,
        // Discard-only.
        [0x100, 0, 0, 0, ..] => false,
        // Protocol assignments (Teredo, benchmarking, ORCHID) but for those that are global.
        [0x2001, 0x1, 0, 0, 0, 0, 0, 1..=3] => true,
        [0x2001, 0x3, ..] | [0x2001, 0x4, 0x112, ..] => true,
        [0x2001, 0x20..=0x3f, ..] => true,
        [0x2001, 0..=0x1ff, ..] => false,
        // Documentation, 6to4, segment routing.
        [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] | [0x5f00, ..] => false,
        // Unique local, link-local, site-local, multicast.
        [0xfc00..=0xfdff, ..] | [0xfe80..=0xfeff, ..] | [0xff00..=0xffff, ..] => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_that_only_we_can_reach_are_not_public() {
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001:82b::200e",
            "64:ff9b::808:808",
            "2001:4860:4860::8888",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_operator_may_allow_networks_and_names() {
        let words = ["loopback", "10.1.0.0/16", "192.168.1.7", "hooks.internal"];
        let allowed = Allowed::read(&words.map(str::to_owned)).unwrap();

        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "192.168.1.7"] {
            assert!(allowed.address(address.parse().unwrap()), "{address}");
        }
        assert!(!allowed.address("10.2.0.1".parse().unwrap()));
        assert!(allowed.name("HOOKS.internal"));
        assert!(!allowed.name("other.internal"));
    }

    #[test]
    fn words_that_mean_nothing_are_named() {
        let words = ["10.0.0.0/33", "loopback", "a b"].map(str::to_owned);

        assert_eq!(Allowed::read(&words), Err(vec!["10.0.0.0/33".into(), "a b".into()]));
    }

    proptest! {
        #[test]
        fn an_address_behind_nat64_is_judged_like_the_one_it_carries(bits: u32) {
            let inner = Ipv4Addr::from(bits);
            let [a, b, c, d] = inner.octets().map(u16::from);
            let outer = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a << 8 | b, c << 8 | d);

            prop_assert_eq!(is_public(outer.into()), is_public(inner.into()));
        }

        #[test]
        fn a_mapped_address_is_allowed_exactly_if_the_plain_one_is(bits: u32) {
            let plain = Ipv4Addr::from(bits);
            let allowed = Allowed::default().with_loopback();

            prop_assert_eq!(
                allowed.address(plain.to_ipv6_mapped().into()),
                allowed.address(plain.into())
            );
        }
    }
}
