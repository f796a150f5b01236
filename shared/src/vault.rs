//! Secrets of endpoints on their way to the record and back: sealed before it sees them, opened by
//! whoever signs or shows them.
//!
//! The record keeps what it is given and knows no master key. A secret is bound to its tenant, not
//! to one endpoint: a fork takes the endpoint of its build along. Without master keys secrets are
//! kept as they are, and those that were kept so before there were any are read all the same. How a
//! secret is sealed is in `domain/sealing`.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    config::Reader,
    domain::{
        sealing::{MasterKeys, Sealed, Unopened},
        signing::Secret,
    },
    draw,
};

const KNOB: &str = "BUILDFLEET_MASTER_KEYS";

/// What seals and opens; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Vault(Option<Arc<MasterKeys>>);

impl Vault {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let entries = reader.list(KNOB);
        if entries.is_empty() {
            return Self::default();
        }
        match MasterKeys::read(&entries) {
            Ok(keys) => Self(Some(Arc::new(keys))),
            Err(faults) => {
                for fault in faults {
                    reader.fault(KNOB, fault);
                }
                Self::default()
            }
        }
    }

    /// Says in the log how secrets are kept.
    pub fn tell(&self) {
        match &self.0 {
            Some(keys) => {
                let names: Vec<&str> = keys.names().collect();
                tracing::info!(keys = names.join(", "), "secrets of webhooks are kept sealed");
            }
            None => tracing::warn!(
                "secrets of webhooks are kept in the clear: whoever reads the database can sign as \
                 this fleet; {KNOB} names keys that seal them"
            ),
        }
    }

    /// A secret of a tenant as it is kept.
    pub fn seal(&self, secret: &SecretString, tenant: &str) -> SecretString {
        match &self.0 {
            Some(keys) => {
                let secret = Secret::new(secret.expose_secret());
                keys.seal(&secret, tenant, draw::salt()).as_str().into()
            }
            None => secret.clone(),
        }
    }

    /// The secret that is kept for a tenant in this form.
    pub fn open(&self, kept: &SecretString, tenant: &str) -> Result<SecretString, Unopened> {
        let Ok(sealed) = Sealed::read(kept.expose_secret()) else { return Ok(kept.clone()) };
        let keys =
            self.0.as_ref().ok_or_else(|| Unopened::NoSuchKey(sealed.master().to_owned()))?;
        keys.open(&sealed, tenant).map(|secret| secret.expose().into())
    }

    /// The form in which it should be kept, if that is another one: it is sealed under another key
    /// than the first, or not at all.
    pub fn renew(
        &self,
        kept: &SecretString,
        tenant: &str,
    ) -> Result<Option<SecretString>, Unopened> {
        let Some(keys) = &self.0 else { return Ok(None) };
        match Sealed::read(kept.expose_secret()) {
            Ok(sealed) if !keys.is_stale(&sealed) => Ok(None),
            _ => Ok(Some(self.seal(&self.open(kept, tenant)?, tenant))),
        }
    }

    /// Whether there are any keys.
    pub const fn has_keys(&self) -> bool {
        self.0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Env, Faults};

    const A: &str = "a:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const B: &str = "b:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    fn read(keys: &str) -> Result<Vault, Faults> {
        let env = Env::of([(KNOB, keys)]);
        let mut reader = Reader::new(&env);
        let vault = Vault::read(&mut reader);
        reader.finish(vault)
    }

    fn vault(keys: &[&str]) -> Vault {
        read(&keys.join(",")).unwrap()
    }

    fn opened(vault: &Vault, kept: &SecretString) -> Result<String, Unopened> {
        vault.open(kept, "ours").map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn what_was_sealed_opens_for_its_tenant_alone() {
        let (vault, secret) = (vault(&[A]), SecretString::from("sixteen-letters!"));

        let (kept, again) = (vault.seal(&secret, "ours"), vault.seal(&secret, "ours"));

        assert!(kept.expose_secret().starts_with("sealed1.a."), "{}", kept.expose_secret());
        assert_ne!(kept.expose_secret(), again.expose_secret());
        assert_eq!(opened(&vault, &kept).unwrap(), "sixteen-letters!");
        assert!(vault.open(&kept, "theirs").is_err());
        let no_key = Err(Unopened::NoSuchKey("a".to_owned()));
        assert_eq!(opened(&Vault::default(), &kept), no_key);
    }

    #[test]
    fn without_keys_a_secret_stays_as_it_is() {
        let (none, secret) = (vault(&[]), SecretString::from("sixteen-letters!"));

        assert_eq!(none.seal(&secret, "ours").expose_secret(), "sixteen-letters!");
        assert_eq!(opened(&vault(&[A]), &secret).unwrap(), "sixteen-letters!");
        assert!(none.renew(&secret, "ours").unwrap().is_none());
    }

    #[test]
    fn what_the_first_key_has_not_sealed_is_renewed() {
        let (old, new) = (vault(&[A]), vault(&[B, A]));
        let plain = SecretString::from("sixteen-letters!");
        let stale = old.seal(&plain, "ours");

        for kept in [&plain, &stale] {
            let renewed = new.renew(kept, "ours").unwrap().unwrap();

            assert!(renewed.expose_secret().starts_with("sealed1.b."));
            assert_eq!(opened(&vault(&[B]), &renewed).unwrap(), "sixteen-letters!");
            assert!(new.renew(&renewed, "ours").unwrap().is_none());
        }
        assert!(vault(&[B]).renew(&stale, "ours").is_err());
    }

    #[test]
    fn every_bad_key_is_named_and_none_is_shown() {
        let faults = read(&format!("{A},b:c2hvcnQ=,{A},nameless")).unwrap_err().to_string();

        assert_eq!(faults.matches(KNOB).count(), 3, "{faults}");
        assert!(!faults.contains("c2hvcnQ") && !faults.contains("AQEB"), "{faults}");
    }
}
