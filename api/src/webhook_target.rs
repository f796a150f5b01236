//! Which webhook addresses may be registered.
//!
//! Looks at what is written in the URL and asks no name server: what a name leads to is judged by
//! the dispatcher, each time it sends. Refusing here what is plainly private tells the client at
//! once.

use std::net::{Ipv4Addr, Ipv6Addr};

use buildfleet::domain::address::Allowed;
use url::{Host, Url};

const URL_BYTES_MAX: usize = 2048;

/// Reads the URL of a webhook, or says what it must be.
pub fn read(text: &str, targets: &Allowed) -> Result<Url, String> {
    if URL_BYTES_MAX < text.len() {
        return Err(format!("must have at most {URL_BYTES_MAX} bytes"));
    }
    let url = Url::parse(text)
        .map_err(|error| format!("must be a URL such as https://example.com/hooks: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("must begin with http: or https:, not {}:", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not name a user or a password".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not have a fragment (#...)".to_owned());
    }
    if url.port() == Some(0) {
        return Err("must not have the port 0".to_owned());
    }
    let allowed = match url.host() {
        None => return Err("must name a host".to_owned()),
        Some(Host::Ipv4(address)) => targets.address(address.into()),
        Some(Host::Ipv6(address)) => targets.address(address.into()),
        Some(Host::Domain(name)) => {
            !is_localhost(name)
                || targets.name(name)
                || targets.address(Ipv4Addr::LOCALHOST.into())
                || targets.address(Ipv6Addr::LOCALHOST.into())
        }
    };
    if allowed {
        return Ok(url);
    }
    Err("must not lead into a private network or to this machine; an operator can allow that"
        .to_owned())
}

/// RFC 6761: `localhost` and everything below it is this machine.
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert!(read(url, &Allowed::default()).is_err(), "{url}");
        }
        assert!(
            read(&format!("https://example.com/{}", "x".repeat(2048)), &Allowed::default())
                .is_err()
        );
    }
}
