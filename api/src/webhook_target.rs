//! Which webhook addresses may be registered: the rule is the domain's, in words of the API.

use buildfleet::domain::{address::Allowed, target};
use url::Url;

/// Reads the URL of a webhook, or says what it must be.
pub fn read(text: &str, targets: &Allowed) -> Result<Url, String> {
    target::read(text, targets).map_err(|refusal| refusal.to_string())
}
