//! Adapts by a method of your own: L1-SP, which pulls each weight back to the base by a fixed amount per step, so
//! that most weights stay exactly the base's and the delta is small.
//!
//! ```text
//! cargo run --release -p fieldfit --example custom_method -- MODEL IMAGES STORE
//! cargo run --release -p fieldfit --example custom_method -- models/efficientnet-lite0 tests/data/emoji/google
//! adaptations
//! ```

use fieldfit::Runtime;
use fieldfit::data::{Dataset, FolderOptions};
use fieldfit::train::method::{HeadStart, HostSession, HostSteps, Method, MethodEntry, Reporter, Setting, Steps};
use fieldfit::train::{AdaptError, Options};
use std::env;
use std::path::Path;

/// The one hyper-parameter, `Options::settings["threshold"]`.
const THRESHOLD: Setting = Setting {
    name: "threshold",
    default: Some(2e-5),
    range: 0.0..=1.0,
    about: "how far each weight is pulled back towards the base after a step",
};

/// What a run needs to know: name, help, hyper-parameters, and how to build the method.
pub const L1_SP: MethodEntry = MethodEntry::new(
    "l1-sp",
    "as lp-ft, with a penalty on the absolute distance from the base",
    &[THRESHOLD],
    |options, _| Ok(Box::new(L1Sp { threshold: THRESHOLD.of(options) as f32 })),
);

/// L1-SP (Li et al., ICML 2018, arXiv 1802.01483): a penalty on ‖δ‖₁, by its proximal step (Daubechies et al., CPAM
/// 2004), δ ← sign(δ)·max(|δ| − threshold, 0). The new head has no origin in the base and stays free.
struct L1Sp {
    threshold: f32,
}

impl Method for L1Sp {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    fn steps(&mut self) -> Steps<'_> {
        Steps::Host(self)
    }
}

impl HostSteps for L1Sp {
    fn after_step(&mut self, _: u64, session: &mut HostSession<'_>, _: &mut Reporter<'_>) -> Result<(), AdaptError> {
        for (_, spec, delta) in session.state.deltas_mut() {
            if !spec.role.is_head() {
                delta.iter_mut().for_each(|value| *value -= value.clamp(-self.threshold, self.threshold));
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [model, images, store] = arguments.as_slice() else {
        return Err("usage: custom_method MODEL IMAGES STORE".into());
    };
    let runtime = Runtime::builder(model).store_or_new(store).open()?;
    let images = Dataset::open(Path::new(images), &FolderOptions::default())?;
    let options = Options::default().with_size(Some(96)).with_epochs(2);
    let adapted = runtime.adaptation(&images).options(options).method(L1_SP).run()?;
    println!("version {}, {} bytes: {}", adapted.version, adapted.delta_bytes, adapted.reason);
    Ok(())
}
