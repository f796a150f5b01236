//! Two tokens that everything long-lived listens to.

use tokio_util::sync::CancellationToken;

/// How a process is told to end.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take on nothing more; let what runs come to its end.
    pub gently: CancellationToken,
    /// Whoever asks twice does not want to wait.
    pub at_once: CancellationToken,
}

/// The exit code of a process that was asked twice.
pub const AT_ONCE: u8 = 130;

impl Stop {
    /// For who holds nothing that would have to be given back: a second signal ends the process.
    pub fn or_exit(self) -> CancellationToken {
        let at_once = self.at_once;
        listen(async move {
            at_once.cancelled().await;
            std::process::exit(AT_ONCE.into());
        });
        self.gently
    }
}

/// Listens to SIGTERM and SIGINT: the first one asks gently, the second asks to end at once.
pub fn on_signal() -> std::io::Result<Stop> {
    use tokio::signal::unix::{SignalKind, signal};

    let stop = Stop::default();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let told = stop.clone();
    listen(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        told.gently.cancel();
        next().await;
        told.at_once.cancel();
    });
    Ok(stop)
}

#[expect(clippy::disallowed_methods, reason = "a listener to signals lives as long as the process")]
fn listen(listener: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(listener);
}
