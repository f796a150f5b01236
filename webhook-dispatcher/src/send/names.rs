//! Names to addresses, asked without a thread for each: a name server that hangs costs only those
//! who wait for it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use buildfleet::domain::attempt::Failure;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
};
use tokio::time::timeout;

use super::innermost;

/// The longest that finding the addresses of a name may take, all tries included.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// How long one server is waited for before it is asked again, or another.
const TRY: Duration = Duration::from_secs(2);
/// An answer is believed as long as it says, but not longer than this: receivers move.
const BELIEVED_MAX: Duration = Duration::from_secs(5 * 60);
/// That there is no such name is believed shorter: it is most often about to be.
const UNBELIEVED_MAX: Duration = Duration::from_secs(30);
/// Names that are remembered.
const REMEMBERED_MAX: u64 = 4096;

#[derive(Debug)]
pub(super) struct Names(TokioResolver);

impl Names {
    /// Asks these servers, or those of this machine if there are none.
    pub(super) fn new(servers: &[SocketAddr]) -> Result<Self, NetError> {
        let builder = if servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = servers.iter().map(|server| {
                let via = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut via| {
                    via.port = server.port();
                    via
                });
                NameServerConfig::new(server.ip(), true, via.into())
            });
            TokioResolver::builder_with_config(
                ResolverConfig::from_parts(None, Vec::new(), servers.collect()),
                TokioRuntimeProvider::default(),
            )
        };
        let mut builder = builder;
        set(builder.options_mut());
        builder.build().map(Self)
    }

    /// All addresses of a host, of both kinds.
    pub(super) async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Failure> {
        let not_resolved = |why: String| {
            Failure::transient(
                "not_resolved",
                format!("the addresses of {host} were not found: {why}"),
            )
        };
        let found = timeout(TIME_LIMIT, self.0.lookup_ip(host)).await;
        let found = found
            .map_err(|_| not_resolved(format!("no answer within {} s", TIME_LIMIT.as_secs())))?
            .map_err(|error| not_resolved(innermost(&error)))?;
        let addresses: Vec<_> = found.iter().collect();
        if addresses.is_empty() {
            Err(not_resolved("there are none".to_owned()))
        } else {
            Ok(addresses)
        }
    }
}

fn set(options: &mut ResolverOpts) {
    use hickory_resolver::config::LookupIpStrategy;

    options.timeout = TRY;
    options.attempts = 2;
    // Both kinds are judged: an address that is not asked for could not refuse its name.
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = REMEMBERED_MAX;
    options.positive_max_ttl = Some(BELIEVED_MAX);
    options.negative_max_ttl = Some(UNBELIEVED_MAX);
}
