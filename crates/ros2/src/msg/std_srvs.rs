//! Package `std_srvs`: services without arguments.

use crate::msg::{Empty, services};
use serde::{Deserialize, Serialize};

/// Response of a service that does something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TriggerResponse {
    /// Whether it was done.
    pub success: bool,
    /// What was done, or why it was not.
    pub message: String,
}

/// The response to what was done or refused.
impl From<Result<String, String>> for TriggerResponse {
    fn from(done: Result<String, String>) -> Self {
        let success = done.is_ok();
        Self { success, message: done.unwrap_or_else(|reason| reason) }
    }
}

services! { "std_srvs":
    Trigger(Empty) -> TriggerResponse = "eeff2cd6fa5ad9d27cdf4dec64818317839b62f212a91e6b5304b634b2062c5f",
}
