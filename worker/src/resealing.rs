//! Secrets of webhooks that the first master key has not sealed are sealed anew: so one key takes
//! the place of another, and what was kept in the clear is so no longer.
//!
//! Whoever is still being restarted writes in the old form meanwhile: hence again and again.

use std::time::Duration;

use buildfleet::{
    member::Member,
    store::{Error, Store},
    vault::Vault,
};
use tokio::time::sleep;

/// How often all secrets are looked at.
const PERIOD: Duration = Duration::from_secs(3600);
/// Until it is tried again after the store did not answer.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Between two steps.
const PAUSE: Duration = Duration::from_millis(100);
/// Endpoints that are looked at in one step.
const STEP: u32 = 500;

/// What became of the secrets that are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resealed {
    pub anew: u64,
    /// Sealed under a key that is not there, or not as they were written.
    pub unopened: u64,
}

/// Looks after the secrets until the member is stopped. Several may.
pub async fn run(vault: &Vault, member: &Member) {
    if !vault.has_keys() {
        return;
    }
    loop {
        let looked = tokio::select! {
            looked = once(vault, &*member.store) => looked,
            () = member.stop.cancelled() => return,
        };
        let pause = match looked {
            Ok(resealed) => {
                tell(resealed);
                PERIOD
            }
            Err(error) => {
                tracing::warn!(error = %error, "sealing secrets anew was put off");
                AGAIN_AFTER
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = member.stop.cancelled() => return,
        }
    }
}

fn tell(Resealed { anew, unopened }: Resealed) {
    if 0 < unopened {
        tracing::warn!(
            unopened,
            anew,
            "secrets of webhooks do not open: their master key is not in BUILDFLEET_MASTER_KEYS, \
             or they were changed"
        );
    } else if 0 < anew {
        tracing::info!(anew, "secrets of webhooks were sealed anew");
    } else {
        tracing::info!("no secret of a webhook was left to be sealed anew");
    }
}

/// Looks at every secret once, and seals anew what is not sealed under the first key.
pub async fn once(vault: &Vault, store: &dyn Store) -> Result<Resealed, Error> {
    let mut resealed = Resealed::default();
    let mut after = None;
    loop {
        let kept = store.kept_secrets(after, STEP).await?;
        let Some(last) = kept.last() else { return Ok(resealed) };
        after = Some(last.endpoint);
        for of in &kept {
            for secret in &of.secrets {
                match vault.renew(secret, &of.tenant) {
                    Ok(None) => {}
                    // Whoever was faster has rotated it, or sealed it anew as well.
                    Ok(Some(new)) => {
                        let swapped = store.swap_secret(of.endpoint, secret, &new).await?;
                        resealed.anew += u64::from(swapped);
                    }
                    Err(_) => resealed.unopened += 1,
                }
            }
        }
        sleep(PAUSE).await;
    }
}
