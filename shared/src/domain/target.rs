//! Which URLs may be registered for webhooks.
//!
//! Looks at what is written and asks no name server: what a name leads to is judged by the
//! dispatcher at each dial, with `address.rs`. Refusing here what is plainly private tells the
//! client at once. Every spelling of an address (decimal, octal, hex, full-width) is one to the
//! parser.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::address::{Allowed, is_of_another_protocol};

const URL_BYTES_MAX: usize = 2048;

/// Names at which clouds hand credentials to whoever asks from inside. They resolve to addresses
/// that are refused anyway; here the client hears it at once.
const METADATA: [&str; 4] =
    ["metadata", "metadata.google.internal", "metadata.goog", "instance-data"];

/// What a URL must be, if it is not so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("must have at most {URL_BYTES_MAX} bytes")]
    TooLong,
    #[error("must be a URL such as https://example.com/hooks: {0}")]
    NotAUrl(url::ParseError),
    #[error("must begin with http: or https:, not {0}:")]
    Scheme(String),
    #[error("must not name a user or a password")]
    UserInfo,
    #[error("must not have a fragment (#...)")]
    Fragment,
    #[error("must not have the port 0")]
    PortZero,
    #[error("must name a host")]
    NoHost,
    #[error("must not lead into a private network or to this machine; an operator can allow that")]
    Private,
    #[error("must not have the port {0}, which belongs to another protocol than HTTP")]
    Port(u16),
}

/// Reads the URL of a webhook, or says what it must be.
pub fn read(text: &str, allowed: &Allowed) -> Result<Url, Refusal> {
    if URL_BYTES_MAX < text.len() {
        return Err(Refusal::TooLong);
    }
    let url = Url::parse(text).map_err(Refusal::NotAUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refusal::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(Refusal::Fragment);
    }
    let port = url.port_or_known_default().unwrap_or_default();
    if port == 0 {
        return Err(Refusal::PortZero);
    }
    let (is_allowed, is_listed) = match url.host() {
        None => return Err(Refusal::NoHost),
        Some(Host::Ipv4(address)) => address_is(allowed, address.into()),
        Some(Host::Ipv6(address)) => address_is(allowed, address.into()),
        Some(Host::Domain(name)) => name_is(allowed, name),
    };
    if !is_allowed {
        return Err(Refusal::Private);
    }
    if is_of_another_protocol(port) && !is_listed {
        return Err(Refusal::Port(port));
    }
    Ok(url)
}

/// Whether an address is allowed, and whether that is since the operator listed it.
fn address_is(allowed: &Allowed, address: IpAddr) -> (bool, bool) {
    (allowed.address(address), allowed.explicitly(address))
}

/// The same of a name, by what is written.
fn name_is(allowed: &Allowed, name: &str) -> (bool, bool) {
    let listed = allowed.name(name);
    if is_localhost(name) {
        let loopback = allowed.explicitly(Ipv4Addr::LOCALHOST.into())
            || allowed.explicitly(Ipv6Addr::LOCALHOST.into());
        return (listed || loopback, listed || loopback);
    }
    let bare = name.trim_end_matches('.');
    let is_metadata = METADATA.iter().any(|other| bare.eq_ignore_ascii_case(other));
    (listed || !is_metadata, listed)
}

/// RFC 6761: `localhost` and everything below it is this machine.
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::address::is_public;

    #[test]
    fn public_addresses_are_taken() {
        for url in [
            "https://example.com/hooks?a=b",
            "http://93.184.215.14:8080/",
            "https://[2606:2800:220:1::1]/x",
            "https://hooks.example.com.",
            "https://münchen.example/x",
        ] {
            assert!(read(url, &Allowed::default()).is_ok(), "{url}");
        }
    }

    #[test]
    fn private_addresses_are_refused_in_every_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://10.1.2.3/",
            "http://172.16.0.1/",
            "http://192.168.0.1/",
            "http://169.254.169.254/latest",
            "http://0.0.0.0/",
            "http://100.64.0.1/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "http://[64:ff9b::a00:1]/",
            "http://[2002:7f00:1::]/",
            "http://localhost/",
            "http://LOCALHOST.:80/",
            "http://a.localhost/",
            "http://１２７.0.0.1/",
            "http://127。0。0。1/",
            "http://%31%32%37.0.0.1/",
            "http://127.0.0.1./",
            "http://017700000001/",
            "http://0x7f.1/",
            "http:127.0.0.1/",
            "http:\\\\127.0.0.1\\",
            "http://[::7f00:1]/",
            "http://[0:0:0:0:0:ffff:7f00:1]/",
            "http://[64:ff9b:1::a00:1]/",
            "http://[fec0::1]/",
            "http://[2001::1]/",
            "http://metadata.google.internal/computeMetadata/v1/",
            "http://METADATA/",
        ] {
            assert!(read(url, &Allowed::default()).is_err(), "{url}");
        }
    }

    #[test]
    fn what_an_operator_allows_is_taken_and_nothing_beside_it() {
        let targets = Allowed::read(&["127.0.0.0/8".to_owned()]).unwrap();

        assert!(read("http://127.0.0.1:9000/x", &targets).is_ok());
        assert!(read("http://localhost:9000/x", &targets).is_ok());
        assert!(read("http://10.0.0.1/", &targets).is_err());
    }

    #[test]
    fn urls_that_hide_something_are_refused() {
        for url in [
            "",
            "example.com",
            "/hooks",
            "ftp://example.com",
            "file:///etc/passwd",
            "https://",
            "https://user@example.com/",
            "https://:pw@example.com/",
            "https://example.com/#x",
            "https://example.com:0/",
            "http://example.com:25/",
            "http://example.com:6379/",
            "http://[fe80::1%25eth0]/",
            "http://127.0.0.256/",
            "http://1.2.3.4.5/",
        ] {
            assert!(read(url, &Allowed::default()).is_err(), "{url}");
        }
        assert!(
            read(&format!("https://example.com/{}", "x".repeat(2048)), &Allowed::default())
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn every_spelling_of_an_ipv4_address_is_judged_like_the_plain_one(bits: u32) {
            let plain = Ipv4Addr::from(bits);
            let [a, b, c, d] = plain.octets();
            let (low, lower) = (bits & 0xff_ffff, bits & 0xffff);
            for host in [
                format!("{bits}"),
                format!("0x{bits:x}"),
                format!("0{bits:o}"),
                format!("0x{a:x}.0x{b:X}.0x{c:x}.0x{d:x}"),
                format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
                format!("{a}.{low}"),
                format!("{a}.{b}.{lower}"),
                format!("{a}.0x{b:x}.0{lower:o}"),
                format!("{a}.{b}.{c}.{d}."),
                format!("{a}\u{3002}{b}\u{ff0e}{c}\u{ff61}{d}"),
            ] {
                let read = read(&format!("http://{host}/"), &Allowed::default());

                prop_assert_eq!(read.is_ok(), is_public(plain.into()), "{}", host);
            }
        }

        #[test]
        fn every_spelling_of_an_ipv6_address_is_judged_like_the_plain_one(bits: u128, few: u32) {
            // Most random addresses are public, most of those with few bits are not.
            for address in [Ipv6Addr::from(bits), Ipv6Addr::from(u128::from(few))] {
                let [a, b, c, d, e, f, g, h] = address.segments();
                for host in [
                    format!("{address}"),
                    format!("{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}:{g:x}:{h:x}"),
                    format!("{a:04X}:{b:04X}:{c:04X}:{d:04X}:{e:04X}:{f:04X}:{g:04X}:{h:04X}"),
                ] {
                    let read = read(&format!("https://[{host}]/"), &Allowed::default());

                    prop_assert_eq!(read.is_ok(), is_public(address.into()), "{}", host);
                }
            }
        }
    }
}
