//! Work that panics has failed like any other: with a reason, and for the one build only.

use std::{any::Any, panic::AssertUnwindSafe};

use buildfleet::domain::attempt::Failure;
use futures_util::FutureExt as _;

/// Does the work; a panic in it is a failure of this code. It is permanent: the same work would
/// meet the same panic.
pub async fn caught<T>(
    code: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    // What the work leaves behind is dropped with it, so nobody sees it half done.
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(Failure::permanent(code, format!("it panicked: {}", words(&*panic)))),
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why")
}
