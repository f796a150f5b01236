//! What a `REDIS_URL` says: which servers, how they hang together, and how to be let in.
//!
//! Reading it asks nobody. The certificates that it names are read when the queue is opened; who is
//! where is found out in `node.rs`.

use std::time::Duration;

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisConnectionInfo, TlsCertificates, io::tcp::TcpSettings,
};
use url::form_urlencoded;

use crate::queue::Error;

/// What is said when a URL begins with none of these.
const FORMS: &str = "must begin with redis:, rediss:, redis+unix:, redis+cluster:, \
     rediss+cluster:, redis+sentinel: or rediss+sentinel:";

/// A cut that nobody was told of is noticed after so long by whoever has sent something.
const UNHEARD_WITHIN: Duration = Duration::from_secs(10);
const SENTINEL_PORT: u16 = 26_379;

/// Where a queue is.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) kind: Kind,
    /// One server; or nodes of a cluster, or sentinels, to ask for the others. Never empty.
    pub(super) nodes: Vec<ConnectionInfo>,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Server,
    Cluster,
    /// The login is for the servers; that of the sentinels stands with the nodes.
    Sentinel {
        service: String,
        login: RedisConnectionInfo,
    },
}

/// Answers with what would be right, if the queue cannot be opened with this URL.
pub(in crate::queue) fn check(url: &str) -> Result<(), String> {
    Spelled::read(url).map(drop)
}

impl Address {
    pub(super) async fn open(url: &str) -> Result<Self, Error> {
        let spelled = Spelled::read(url).map_err(|reason| Error { source: reason.into() })?;
        let mut address = spelled.address;
        if let Some(certificates) = spelled.files.read().await? {
            for node in &mut address.nodes {
                let client = Client::build_with_tls(node.clone(), certificates.clone())?;
                *node = client.get_connection_info().clone();
            }
        }
        Ok(address)
    }
}

/// A URL taken apart.
struct Spelled {
    address: Address,
    files: Files,
}

/// The files of certificates that a URL names, by the words that Postgres has for them.
#[derive(Default)]
struct Files {
    roots: Option<String>,
    own: Option<String>,
    key: Option<String>,
}

impl Files {
    async fn read(&self) -> Result<Option<TlsCertificates>, Error> {
        let client_tls = match (&self.own, &self.key) {
            (Some(own), Some(key)) => Some(ClientTlsConfig {
                client_cert: read(own).await?,
                client_key: read(key).await?,
            }),
            _ => None,
        };
        let root_cert = match &self.roots {
            Some(roots) => Some(read(roots).await?),
            None => None,
        };
        let any = client_tls.is_some() || root_cert.is_some();
        Ok(any.then_some(TlsCertificates { client_tls, root_cert }))
    }
}

async fn read(path: &str) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path)
        .await
        .map_err(|error| Error { source: format!("REDIS_URL names {path}: {error}").into() })
}

impl Spelled {
    fn read(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or(FORMS)?;
        let (wire, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        if !matches!(wire, "redis" | "rediss") {
            return Err(FORMS.to_owned());
        }
        match kind {
            "" | "cluster" | "sentinel" => Parts::of(wire, rest)?.read(kind),
            "unix" if wire == "redis" => {
                let address = Address { kind: Kind::Server, nodes: vec![understood(url)?] };
                Ok(Self { address, files: Files::default() })
            }
            _ => Err(FORMS.to_owned()),
        }
    }
}

/// `[login@]hosts[/path][?query]`, where `url` would stumble over the commas between hosts.
struct Parts<'a> {
    wire: &'a str,
    login: &'a str,
    hosts: Vec<&'a str>,
    path: &'a str,
    query: Vec<(String, String)>,
}

impl<'a> Parts<'a> {
    fn of(wire: &'a str, rest: &'a str) -> Result<Self, String> {
        if rest.contains('#') {
            return Err("must have no #fragment; certificates are always checked, against the \
                 system's or ?sslrootcert=FILE"
                .to_owned());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ok(Self { wire, login, hosts: hosts.split(',').collect(), path, query })
    }

    fn read(self, kind: &str) -> Result<Spelled, String> {
        let mut files = Files::default();
        let mut asked = Login::default();
        for (name, value) in &self.query {
            let place = match (name.as_str(), kind) {
                ("sslrootcert", _) if self.wire == "rediss" => &mut files.roots,
                ("sslcert", _) if self.wire == "rediss" => &mut files.own,
                ("sslkey", _) if self.wire == "rediss" => &mut files.key,
                ("db", "sentinel") => &mut asked.db,
                ("sentinel_user", "sentinel") => &mut asked.user,
                ("sentinel_password", "sentinel") => &mut asked.password,
                _ => return Err(format!("has no use for {name:?}{}", Self::useful(kind))),
            };
            *place = Some(value.clone());
        }
        if files.own.is_some() != files.key.is_some() {
            return Err("must have both of sslcert and sslkey, or none".to_owned());
        }
        let address = match kind {
            "sentinel" => self.sentinel(&asked)?,
            "cluster" if !self.path.is_empty() => {
                return Err("must name no database: a cluster has but one".to_owned());
            }
            "cluster" => Address { kind: Kind::Cluster, nodes: self.nodes(self.login, "")? },
            _ if self.hosts.len() > 1 => {
                return Err("must name one server; several are for redis+cluster: and \
                     redis+sentinel:"
                    .to_owned());
            }
            _ => Address { kind: Kind::Server, nodes: self.nodes(self.login, self.path)? },
        };
        Ok(Spelled { address, files })
    }

    fn useful(kind: &str) -> &'static str {
        match kind {
            "sentinel" => {
                "; there are db, sentinel_user, sentinel_password, and for rediss sslrootcert, \
                 sslcert, sslkey"
            }
            _ => "; there are sslrootcert, sslcert and sslkey, for rediss",
        }
    }

    fn sentinel(&self, asked: &Login) -> Result<Address, String> {
        if self.path.is_empty() || self.path.contains('/') {
            return Err("must name the service that the sentinels watch, as in \
                 redis+sentinel://host1:26379,host2:26379/SERVICE"
                .to_owned());
        }
        let db = asked.db.as_deref().unwrap_or_default();
        let servers = self.nodes(self.login, db)?;
        let login = servers[0].redis_settings().clone();
        let mut sentinels = self.nodes("", "")?;
        for (sentinel, host) in sentinels.iter_mut().zip(&self.hosts) {
            let mut settings = RedisConnectionInfo::default();
            if let Some(user) = &asked.user {
                settings = settings.set_username(user);
            }
            if let Some(password) = &asked.password {
                settings = settings.set_password(password);
            }
            let mut node = sentinel.clone().set_redis_settings(settings);
            if !names_port(host) {
                node = at(&node, None, SENTINEL_PORT);
            }
            *sentinel = node;
        }
        let service = self.path.to_owned();
        Ok(Address { kind: Kind::Sentinel { service, login }, nodes: sentinels })
    }

    fn nodes(&self, login: &str, db: &str) -> Result<Vec<ConnectionInfo>, String> {
        let at = if login.is_empty() { "" } else { "@" };
        self.hosts
            .iter()
            .map(|host| understood(&format!("{}://{login}{at}{host}/{db}", self.wire)))
            .collect()
    }
}

/// What the query of a URL of sentinels says of logins.
#[derive(Default)]
struct Login {
    db: Option<String>,
    user: Option<String>,
    password: Option<String>,
}

fn names_port(host: &str) -> bool {
    // The colons of an IPv6 address stand in brackets.
    host.rsplit(']').next().unwrap_or_default().contains(':')
}

fn understood(url: &str) -> Result<ConnectionInfo, String> {
    // The URL holds a password, and is not repeated.
    let info = url.into_connection_info().map_err(|error| {
        format!("must be like redis://user:password@host:6379/0 ({})", error.category())
    })?;
    let settings = TcpSettings::default().set_nodelay(true).set_user_timeout(UNHEARD_WITHIN);
    Ok(info.set_tcp_settings(settings))
}

/// The same way in, elsewhere; at the same host, if none is given.
pub(super) fn at(info: &ConnectionInfo, host: Option<String>, port: u16) -> ConnectionInfo {
    let addr = match info.addr().clone() {
        ConnectionAddr::Tcp(same, _) => ConnectionAddr::Tcp(host.unwrap_or(same), port),
        ConnectionAddr::TcpTls { host: same, insecure, tls_params, .. } => {
            let host = host.unwrap_or(same);
            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
        }
        // Nobody beside a socket of this machine tells of other hosts.
        other => other,
    };
    info.clone().set_addr(addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        Spelled::read(url).unwrap_or_else(|reason| panic!("{url}: {reason}")).address
    }

    fn places(address: &Address) -> Vec<String> {
        address.nodes.iter().map(|node| node.addr().to_string()).collect()
    }

    #[test]
    fn a_server_is_named_with_and_without_its_parts() {
        let plain = address("redis://here");
        assert_eq!(places(&plain), ["here:6379"]);
        assert_eq!(plain.nodes[0].redis_settings().password(), None);

        let full = address("redis://me:pass%40word@[::1]:7000/3");
        assert_eq!(places(&full), ["::1:7000"]);
        let login = full.nodes[0].redis_settings();
        assert_eq!(login.username(), Some("me"));
        assert_eq!(login.password(), Some("pass@word"));
        assert_eq!(login.db(), 3);

        assert_eq!(places(&address("redis+unix:///run/redis.sock?db=1")), ["/run/redis.sock"]);
        let tls = address("rediss://:word@here:7000/?sslrootcert=/etc/ca.pem");
        assert!(matches!(tls.nodes[0].addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
    }

    #[test]
    fn nodes_of_a_cluster_share_a_login() {
        let cluster = address("redis+cluster://me:word@one:7000,two,[::1]:7002");

        assert!(matches!(cluster.kind, Kind::Cluster));
        assert_eq!(places(&cluster), ["one:7000", "two:6379", "::1:7002"]);
        assert!(cluster.nodes.iter().all(|node| node.redis_settings().password() == Some("word")));
    }

    #[test]
    fn sentinels_and_their_servers_have_logins_of_their_own() {
        let url = "rediss+sentinel://me:word@one,two:5000/main?db=2&sentinel_password=other";

        let address = address(url);

        assert_eq!(places(&address), ["one:26379", "two:5000"]);
        assert_eq!(address.nodes[1].redis_settings().password(), Some("other"));
        assert_eq!(address.nodes[1].redis_settings().username(), None);
        let Kind::Sentinel { service, login } = address.kind else { panic!("no sentinels") };
        assert_eq!(service, "main");
        assert_eq!((login.username(), login.password(), login.db()), (Some("me"), Some("word"), 2));
        assert!(matches!(address.nodes[0].addr(), ConnectionAddr::TcpTls { .. }));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_would_be_right() {
        for (url, wanted) in [
            ("http://here", "redis+cluster:"),
            ("here:6379", "redis:"),
            ("redis+tls://here", "rediss:"),
            ("rediss+unix:///run/redis.sock", "redis+unix:"),
            ("redis://", "redis://user:password@host:6379/0"),
            ("redis://here/first", "host:6379/0"),
            ("redis://one,two", "redis+cluster:"),
            ("rediss://here/#insecure", "sslrootcert"),
            ("redis://here?sslrootcert=/ca.pem", "for rediss"),
            ("rediss://here?sslcert=/own.pem", "sslkey"),
            ("redis+cluster://one,two/3", "no database"),
            ("redis+cluster://one,,two", "host"),
            ("redis+sentinel://one,two", "/SERVICE"),
            ("redis+sentinel://one/main?database=1", "db"),
        ] {
            let reason = check(url).expect_err(url);
            assert!(reason.contains(wanted), "{url}: {reason}");
        }
    }

    #[test]
    fn a_refusal_does_not_repeat_the_password() {
        let reason = check("redis://me:hush@here:port").expect_err("no port");

        assert!(!reason.contains("hush"), "{reason}");
    }
}
