//! A ROS 2 node that classifies a camera's images by Fieldfit's runtime, adapts on the robot, and rolls back.
//!
//! [`Node`] is the node without a network: it takes messages and returns messages. [`middleware`] connects it with topics and
//! services, over DDS (feature `dds`) or zenoh (feature `zenoh`). [`msg`] has the messages.
//!
//! ```
//! use fieldfit_ros2::image::CameraImage;
//! use fieldfit_ros2::lifecycle::Transition;
//! use fieldfit_ros2::msg::sensor_msgs::Image;
//! use fieldfit_ros2::{Answer, Events, Node, Parameters};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let parameters = Parameters { model: "../../models/efficientnet-lite0".into(), ..Parameters::default() };
//! let (events, _lines) = Events::channel();
//! let node = Node::new("/fieldfit", parameters, events);
//! node.change(Transition::Configure)?;
//! node.change(Transition::Activate)?;
//! let data = vec![128; 640 * 480 * 3];
//! let image = Image { width: 640, height: 480, step: 640 * 3, encoding: "rgb8".into(), data, ..Image::default() };
//! node.image(CameraImage::Raw(image));
//! node.answer(|answer| match answer {
//!     Answer::Image(classification) => assert_eq!(classification.results.len(), 5),
//!     Answer::Detections(_) => unreachable!("no detector runs"),
//! });
//! # Ok(())
//! # }
//! ```

pub mod arguments;
mod classification;
mod counters;
mod detections;
mod diagnostics;
mod engine;
mod event;
mod gate;
pub mod image;
mod inbox;
pub mod lifecycle;
pub mod middleware;
pub mod msg;
mod names;
mod node;
mod pace;
mod parameter_file;
mod parameters;
mod wiring;

pub use classification::AnswerOptions;
pub use counters::{Counter, Counters, Recent};
pub use detections::{DetectionError, ImageBuffer};
pub use event::{Events, NodeEvent};
pub use gate::Gate;
pub use names::{NameError, Names, Remapping};
pub use node::{Answer, Node};
pub use parameters::{Classify, ImageTransport, Parameters, SPECIFICATIONS, Specification, Value};
pub use wiring::run;
