//! Package `fieldfit_interfaces`, whose sources are beside this crate: the service that labels images.

use crate::msg::services;
use crate::msg::std_srvs::TriggerResponse;
use serde::{Deserialize, Serialize};

/// Request of `Label`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LabelRequest {
    /// Name of the class.
    pub class_name: String,
    /// Time up to the newest image, in seconds, whose images are labelled; 0 labels the newest alone.
    pub seconds: f64,
}

services! { "fieldfit_interfaces":
    Label(LabelRequest) -> TriggerResponse = "c76eaf983f9cf69f75023adf3abc3d87c736a9767075ffef8d82a5fd06558dd1",
}
