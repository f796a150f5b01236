//! Addresses in all their forms, against the union of what the best guards refuse.

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::{prelude::*, sample::Index};

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
    fn every_ipv4_address_is_judged_by_the_list(bits: u32) {
        let address = Ipv4Addr::from(bits);

        prop_assert_eq!(is_public(address.into()), !is_listed_v4(address), "{}", address);
    }

    #[test]
    fn every_ipv6_address_is_judged_by_the_list(bits: u128) {
        let address = Ipv6Addr::from(bits);

        prop_assert_eq!(is_public(address.into()), !is_listed_v6(address), "{}", address);
    }

    #[test]
    fn the_ends_and_the_inside_of_each_network_are_judged_by_the_list(
        one in any::<Index>(),
        bits: u128,
    ) {
        let network: Ipv4Net = one.get(V4).parse().unwrap();
        let inside = u32::from(network.network()) | bits as u32 & u32::from(network.hostmask());
        prop_assert!(!is_public(Ipv4Addr::from(inside).into()), "{}", network);
        let (first, last) = (u32::from(network.network()), u32::from(network.broadcast()));
        for at in [first.saturating_sub(1), first, last, last.saturating_add(1)] {
            let address = Ipv4Addr::from(at);
            prop_assert_eq!(is_public(address.into()), !is_listed_v4(address), "{}", address);
        }
        let networks = [V6, V6_GLOBAL].concat();
        let network: Ipv6Net = one.get(&networks).parse().unwrap();
        let inside = u128::from(network.network()) | bits & u128::from(network.hostmask());
        let (first, last) = (u128::from(network.network()), u128::from(network.broadcast()));
        for at in [first.saturating_sub(1), first, inside, last, last.saturating_add(1)] {
            let address = Ipv6Addr::from(at);
            prop_assert_eq!(is_public(address.into()), !is_listed_v6(address), "{}", address);
        }
    }

    #[test]
    fn an_ipv4_address_in_the_clothes_of_ipv6_reaches_nothing_by_itself(bits: u32) {
        let plain = Ipv4Addr::from(bits);
        let [a, b, c, d] = plain.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        for dressed in [
            plain.to_ipv6_mapped(),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            Ipv6Addr::new(0, 0, 0, 0, 0x200, 0x5efe, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, high, low, 0, 0, 0, 0),
            Ipv6Addr::new(0x64, 0xff9b, 1, high, low, 0, 0, 0),
        ] {
            prop_assert!(!Allowed::default().address(dressed.into()), "{}", dressed);
        }
    }

    #[test]
    fn a_mapped_address_is_allowed_by_the_network_of_the_plain_one(bits: u32) {
        let plain = Ipv4Addr::from(bits);
        let allowed = Allowed::read(&["10.0.0.0/8".to_owned()]).unwrap();

        let is_inside = plain.octets()[0] == 10;
        prop_assert_eq!(allowed.address(plain.to_ipv6_mapped().into()), is_inside);
        prop_assert_eq!(allowed.address(plain.into()), is_inside || is_public(plain.into()));
    }

    #[test]
    fn one_bad_address_refuses_all(
        good in prop::collection::vec(1u8..=9, 0..6),
        at in any::<Index>(),
    ) {
        let mut addresses: Vec<IpAddr> =
            good.iter().map(|last| Ipv4Addr::new(8, 8, 8, *last).into()).collect();
        prop_assert_eq!(Allowed::default().judge("a.example", 443, &addresses), Ok(()));
        let bad = IpAddr::from([10, 0, 0, 1]);
        addresses.insert(at.index(addresses.len() + 1), bad);

        let judged = Allowed::default().judge("a.example", 443, &addresses);

        prop_assert_eq!(
            judged,
            Err(Refusal::Address { host: "a.example".to_owned(), address: bad })
        );
    }
}

/// What no webhook may reach, by the registries of IANA and what the best guards refuse beyond.
const V4: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
];

const V6: &[&str] = &[
    "::/8",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// What is global all the same within 2001::/23.
const V6_GLOBAL: &[&str] = &[
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:1::3/128",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:20::/28",
    "2001:30::/28",
];

fn is_listed_v4(address: Ipv4Addr) -> bool {
    V4.iter().any(|network| network.parse::<Ipv4Net>().unwrap().contains(&address))
}

fn is_listed_v6(address: Ipv6Addr) -> bool {
    let within =
        |list: &[&str]| list.iter().any(|net| net.parse::<Ipv6Net>().unwrap().contains(&address));
    let nat64: Ipv6Net = "64:ff9b::/96".parse().unwrap();
    if nat64.contains(&address) {
        return is_listed_v4(Ipv4Addr::from(u128::from(address) as u32));
    }
    within(V6) && !within(V6_GLOBAL)
}

#[test]
fn ports_of_other_protocols_are_refused_unless_the_address_was_listed() {
    let loopback = Allowed::default().with_loopback();
    let (public, local) = (IpAddr::from([8, 8, 8, 8]), IpAddr::from([127, 0, 0, 1]));
    for port in [22, 25, 587, 5432, 6379, 11_211] {
        let refusal = Err(Refusal::Port { host: "a.example".to_owned(), port });
        assert_eq!(loopback.judge("a.example", port, &[public]), refusal);
        assert_eq!(loopback.judge("a.example", port, &[local]), Ok(()));
    }
    for port in [80, 443, 3000, 8000, 8080, 8443, 9000, 65_535] {
        assert_eq!(loopback.judge("a.example", port, &[public]), Ok(()), "{port}");
    }
}

#[test]
fn a_name_that_an_operator_lists_may_lead_anywhere() {
    let words = ["hooks.internal", "*.svc.cluster.local"].map(str::to_owned);
    let allowed = Allowed::read(&words).unwrap();
    let private = [IpAddr::from([10, 0, 0, 1])];

    for host in
        ["hooks.internal", "HOOKS.internal.", "a.svc.cluster.local", "a.b.svc.cluster.local"]
    {
        assert_eq!(allowed.judge(host, 6379, &private), Ok(()), "{host}");
    }
    for host in ["internal", "a.hooks.internal", "svc.cluster.local", "asvc.cluster.local"] {
        assert!(allowed.judge(host, 80, &private).is_err(), "{host}");
    }
}

#[test]
fn a_refusal_names_the_host_the_address_and_the_setting() {
    let refusal = Allowed::default().judge("a.example", 80, &["169.254.169.254".parse().unwrap()]);

    let text = refusal.unwrap_err().to_string();
    for part in ["a.example", "169.254.169.254", SETTING] {
        assert!(text.contains(part), "{text}");
    }
}
