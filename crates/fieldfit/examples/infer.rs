//! Classifies images with a base model, or with the active version of a store.
//!
//! ```text
//! cargo run --release -p fieldfit --example infer -- MODEL IMAGE...
//! cargo run --release -p fieldfit --example infer -- models/efficientnet-lite0 tests/data/emoji/google/*/1f34e.png
//! ```

use fieldfit::{Frame, Runtime, all_cores};
use std::env;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let model = arguments.next().ok_or("usage: infer MODEL IMAGE...")?;
    let runtime = Runtime::builder(model).device(all_cores()).open()?;
    for image in arguments {
        let bytes = std::fs::read(&image)?;
        let prediction = runtime.infer(&Frame::Encoded(&bytes))?;
        for class in prediction.top().take(3) {
            println!("{image}: {:5.1} %  {}", 100.0 * class.probability, class.label);
        }
    }
    Ok(())
}
