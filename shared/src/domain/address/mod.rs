//! Which addresses a webhook may go to.
//!
//! A URL comes from a client, and the dispatcher stands inside the operator's network: without
//! this, anybody could make it talk to machines that only it can reach. Judged are addresses, never
//! names, and they are judged where the connection is made, so that a name cannot change its mind
//! between. `target.rs` judges what can be seen in a URL alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The setting that allows more.
pub const SETTING: &str = "BUILDFLEET_WEBHOOK_ALLOW";

/// What the operator allows beside the public internet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    networks: Vec<IpNet>,
    /// Lower-case host names that may resolve to any address.
    names: Vec<String>,
    /// The same for everything below a name; written with a dot in front.
    suffixes: Vec<String>,
}

/// Why a connection is not made. Trying again would end in the same way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "{host} leads to {address}, which is not on the public internet; an operator can allow it \
         with {SETTING}"
    )]
    Address { host: String, address: IpAddr },
    #[error(
        "{host} leads to {address}, which is this machine; an operator can allow it with {SETTING}"
    )]
    Itself { host: String, address: IpAddr },
    #[error(
        "port {port} of {host} belongs to another protocol than HTTP; an operator can allow the \
         host with {SETTING}"
    )]
    Port { host: String, port: u16 },
}

impl Allowed {
    /// Reads words such as `10.1.0.0/16`, `127.0.0.1`, `hooks.internal`, `*.hooks.internal` and
    /// `loopback`; the words that are none of these come back as they are.
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
            } else if let Some(above) = word.strip_prefix("*.").filter(|above| is_host_name(above))
            {
                allowed.suffixes.push(format!(".{}", above.to_ascii_lowercase()));
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
        self.explicitly(address) || is_public(address)
    }

    /// Whether the operator listed a network with this address in it. An IPv4 address that is
    /// written as an IPv6 one is looked up as what it is.
    pub fn explicitly(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether a host may be anywhere.
    pub fn name(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        self.names.contains(&host) || self.suffixes.iter().any(|suffix| host.ends_with(suffix))
    }

    /// Judges all that a host resolved to, before any of it is dialled. One address that is refused
    /// refuses the host: an honest one has none.
    pub fn judge(&self, host: &str, port: u16, addresses: &[IpAddr]) -> Result<(), Refusal> {
        if self.name(host) {
            return Ok(());
        }
        if let Some(address) = addresses.iter().find(|address| !self.address(**address)) {
            return Err(Refusal::Address { host: host.to_owned(), address: *address });
        }
        if is_of_another_protocol(port) && !addresses.iter().all(|one| self.explicitly(*one)) {
            return Err(Refusal::Port { host: host.to_owned(), port });
        }
        Ok(())
    }
}

/// Whether a port belongs to something that a POST could be mistaken for a command by, such as mail
/// or printing: the ports that browsers do not speak HTTP to (WHATWG Fetch, "bad ports"), and the
/// ones of common databases, which listen next to whatever is public.
pub fn is_of_another_protocol(port: u16) -> bool {
    matches!(
        port,
        0 | 1 | 7 | 9 | 11 | 13 | 15 | 17 | 19..=23 | 25 | 37 | 42 | 43 | 53 | 69 | 77 | 79 | 87
            | 95 | 101..=104 | 109..=111 | 113 | 115 | 117 | 119 | 123 | 135 | 137 | 139 | 143
            | 161 | 179 | 389 | 427 | 465 | 512..=515 | 526 | 530..=532 | 540 | 548 | 554 | 556
            | 563 | 587 | 601 | 636 | 989 | 990 | 993 | 995 | 1719 | 1720 | 1723 | 2049 | 3659
            | 4045 | 4190 | 5060 | 5061 | 6000 | 6566 | 6665..=6669 | 6679 | 6697 | 10080
            // MySQL, PostgreSQL, Redis, Memcached.
            | 3306 | 5432 | 6379 | 11211
    )
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
        // Discard-only, and the dummy prefix next to it.
        [0x100, 0, 0, 0 | 1, ..] => false,
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
mod tests;
