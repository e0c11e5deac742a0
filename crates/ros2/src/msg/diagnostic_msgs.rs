//! Package `diagnostic_msgs`: the state of the node's parts, which `rqt_robot_monitor` shows.

use crate::msg::interfaces;
use crate::msg::std_msgs::Header;
use serde::{Deserialize, Serialize};

/// A figure of a part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeyValue {
    /// Name of the figure.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// State of a part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiagnosticStatus {
    /// [`OK`](Self::OK), [`WARN`](Self::WARN), [`ERROR`](Self::ERROR) or [`STALE`](Self::STALE).
    pub level: u8,
    /// Name of the part, with that of the node.
    pub name: String,
    /// The state in a sentence.
    pub message: String,
    /// Name of the hardware.
    pub hardware_id: String,
    /// Figures.
    pub values: Vec<KeyValue>,
}

impl DiagnosticStatus {
    /// The part works.
    pub const OK: u8 = 0;
    /// The part works, and something needs attention.
    pub const WARN: u8 = 1;
    /// The part does not work.
    pub const ERROR: u8 = 2;
    /// The part is not heard of.
    pub const STALE: u8 = 3;
}

/// States of several parts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiagnosticArray {
    /// Time of the report.
    pub header: Header,
    /// The parts.
    pub status: Vec<DiagnosticStatus>,
}

interfaces! { "diagnostic_msgs":
    DiagnosticArray = "5a8a36efb05fb25070fa0fb3810290c0e6cd4862b54a8fb975a1ee8dc55a333e",
}
