//! A client of a fleet that may be dead when it is asked.

use std::time::Duration;

use serde_json::{Value, json};

use crate::patience;

/// Signs the webhooks of everything that is posted.
pub const SECRET: &str = "whsec_dGhpcnR5LXR3byBieXRlcyBtYWtlIGEgZ29vZCBrZXk=";

/// What one posts, and posts again until it was answered.
#[derive(Debug, Clone)]
pub struct Post {
    pub prompt: &'static str,
    pub key: String,
    pub webhook: Option<String>,
}

pub struct Client {
    http: reqwest::Client,
}

impl Client {
    pub fn new() -> Self {
        // Fails if a provider is in place already, which serves as well.
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            // A pool would hold connections to processes that are dead.
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client without special wishes");
        Self { http }
    }

    /// Posts a brief once; `None` if nobody answered. Answers with the build's id.
    pub async fn try_submit(&self, url: &str, api_key: &str, post: &Post) -> Option<String> {
        let mut body = json!({ "prompt": post.prompt });
        if let Some(url) = &post.webhook {
            body["webhook"] = json!({ "url": url, "secret": SECRET });
        }
        let answer = self
            .http
            .post(format!("{}/v1/builds", url.trim_end_matches('/')))
            .bearer_auth(api_key)
            .header("idempotency-key", &post.key)
            .json(&body)
            .send()
            .await
            .ok()?;
        let status = answer.status();
        let said: Value = answer.json().await.ok()?;
        if status == 503 {
            return None; // Honest: it asks to be asked again.
        }
        assert_eq!(status, 202, "{said}");
        Some(said["id"].as_str().expect("an id").to_owned())
    }

    /// Posts a brief until it is answered.
    pub async fn submit(&self, url: &str, api_key: &str, post: &Post) -> String {
        let what = format!("the API at {url} took a brief");
        patience::until_some(&what, Duration::from_secs(30), async || {
            self.try_submit(url, api_key, post).await
        })
        .await
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}
