//! One token that everything long-lived listens to.

use tokio_util::sync::CancellationToken;

/// A token that is cancelled by SIGTERM or SIGINT. A second signal ends the process at once, with
/// exit code 130: whoever asks twice does not want to wait.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};

    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let fired = token.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "the signal listener lives as long as the process"
    )]
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        fired.cancel();
        next().await;
        std::process::exit(130);
    });
    Ok(token)
}
