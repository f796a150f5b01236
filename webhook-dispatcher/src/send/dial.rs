//! Making a connection: every address of the name is judged, then what was judged is dialled.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buildfleet::domain::{
    address::{Allowed, Refusal},
    attempt::Failure,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rustls::{ClientConfig, RootCertStore, client::Resumption, pki_types::ServerName};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::{
    BLOCKED, Error, broken,
    connection::Connection,
    innermost,
    names::Names,
    pool::Ready,
    sent::{Timings, Version},
    stream::Stream,
};

/// How long one address is given before the next one is dialled beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of one name that are dialled; all are judged.
const DIALLED_MAX: usize = 8;
/// TLS sessions that are remembered, so that a receiver that is seen again needs half a handshake.
const SESSIONS_MAX: usize = 1024;

pub(super) struct Dialer {
    names: Names,
    allowed: Allowed,
    tls: TlsConnector,
    opened: AtomicU64,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Dialer {
    pub(super) fn new(
        allowed: Allowed,
        name_servers: &[SocketAddr],
        roots: Option<Arc<RootCertStore>>,
    ) -> Result<Self, Error> {
        let names = Names::new(name_servers).map_err(Error::Names)?;
        let tls = TlsConnector::from(Arc::new(tls(roots)?));
        Ok(Self { names, allowed, tls, opened: AtomicU64::new(0) })
    }

    pub(super) const fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// Connections opened so far.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Connects to where a URL leads, if it may lead there.
    pub(super) async fn dial(&self, url: &Url, timings: &mut Timings) -> Result<Ready, Failure> {
        let addresses = self.vetted(url, timings).await?;
        let begun = Instant::now();
        let stream = connect(&addresses).await.map_err(|error| {
            Failure::transient("not_connected", format!("{}: {error}", listed(&addresses)))
        })?;
        timings.connect = Some(begun.elapsed());
        self.opened.fetch_add(1, Ordering::Relaxed);
        let peer = stream
            .peer_addr()
            .map_err(|error| Failure::transient("not_connected", error.to_string()))?;
        let (stream, version) = match url.scheme() {
            "https" => self.secure(url, stream, timings).await?,
            _ => (Stream::Plain(stream), Version::Http1),
        };
        let connection = Connection::open(stream, version).await.map_err(|error| broken(&error))?;
        Ok(Ready { connection, peer, dialled_at: Instant::now() })
    }

    /// The addresses of a URL's host, all of them judged.
    async fn vetted(&self, url: &Url, timings: &mut Timings) -> Result<Vec<SocketAddr>, Failure> {
        let port = url.port_or_known_default().unwrap_or_default();
        let host = url.host_str().unwrap_or_default();
        let addresses: Vec<IpAddr> = match url.host() {
            Some(Host::Ipv4(address)) => vec![address.into()],
            Some(Host::Ipv6(address)) => vec![address.into()],
            Some(Host::Domain(name)) => {
                let begun = Instant::now();
                let found = self.names.resolve(name).await;
                timings.dns = Some(begun.elapsed());
                found?
            }
            None => Vec::new(),
        };
        self.allowed
            .judge(host, port, &addresses)
            .and_then(|()| self.not_this_machine(host, &addresses))
            .map_err(|refusal| Failure::permanent(BLOCKED, refusal.to_string()))?;
        Ok(addresses.into_iter().take(DIALLED_MAX).map(|ip| SocketAddr::new(ip, port)).collect())
    }

    /// A public address may be one of this machine's own: behind it listens what was never meant
    /// for strangers, on the other side of the firewall.
    fn not_this_machine(&self, host: &str, addresses: &[IpAddr]) -> Result<(), Refusal> {
        if self.allowed.name(host) {
            return Ok(());
        }
        let own = addresses
            .iter()
            .find(|address| !self.allowed.explicitly(**address) && is_of_this_machine(**address));
        match own {
            Some(address) => Err(Refusal::Itself { host: host.to_owned(), address: *address }),
            None => Ok(()),
        }
    }

    async fn secure(
        &self,
        url: &Url,
        stream: TcpStream,
        timings: &mut Timings,
    ) -> Result<(Stream, Version), Failure> {
        let failed = |why: String| Failure::transient("tls_failed", why);
        let name = match url.host() {
            Some(Host::Ipv4(address)) => ServerName::from(IpAddr::from(address)),
            Some(Host::Ipv6(address)) => ServerName::from(IpAddr::from(address)),
            Some(Host::Domain(name)) => ServerName::try_from(name.trim_end_matches('.').to_owned())
                .map_err(|error| failed(error.to_string()))?,
            None => return Err(failed("the URL has no host".to_owned())),
        };
        let begun = Instant::now();
        let stream =
            self.tls.connect(name, stream).await.map_err(|error| failed(innermost(&error)))?;
        timings.tls = Some(begun.elapsed());
        let version = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Version::Http2,
            _ => Version::Http1,
        };
        Ok((Stream::Tls(Box::new(stream)), version))
    }
}

/// Whether an address is one of this machine's own: only such can be bound to. A machine that is
/// set up to bind to any address cannot be asked; that shows at addresses that nobody has.
pub(super) fn is_of_this_machine(address: IpAddr) -> bool {
    let nobodys: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let is_bound = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    is_bound(address) && !is_bound(nobodys)
}

/// TLS 1.2 and 1.3; the receiver chooses between HTTP/2 and HTTP/1.1.
fn tls(roots: Option<Arc<RootCertStore>>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let mut config = match roots {
        Some(roots) => builder.with_root_certificates(roots),
        None => builder.with_platform_verifier()?,
    }
    .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(config)
}

/// Dials the addresses in their order, each with a head start before the next; the first that
/// stands is taken. An error is that of the last one to fail.
async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter();
    let mut dialling = FuturesUnordered::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(next) = waiting.next() {
            dialling.push(TcpStream::connect(next));
        } else if dialling.is_empty() {
            return Err(last);
        }
        let head_start = if waiting.len() == 0 { Duration::MAX } else { HEAD_START };
        match timeout(head_start, dialling.next()).await {
            Ok(Some(Ok(stream))) => {
                // A webhook is one write: there is nothing to gather.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Some(Err(error))) => last = error,
            Ok(None) | Err(_) => {}
        }
    }
}

fn listed(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
