//! TPGM, the trainable projected gradient method: distances, projections, trainable radii, and related update rules.
//!
//! Fine-tuning moves a tensor from its pre-trained values θ0 (the *base*) by δ = θ − θ0 (the *delta*). TPGM keeps every
//! δ inside a ball around zero whose *radius* γ is itself learned, on images that never train the weights: Tian et al.,
//! *Trainable Projected Gradient Method for Robust Fine-tuning*, CVPR 2023, arXiv 2303.10720.
//!
//! | what | here | paper |
//! |---|---|---|
//! | ‖δ‖, over the tensor (L2) or a row at a time (MARS, the maximum absolute row sum) | [`distances`] | § 3.2 |
//! | `r = clamp(γ / (n + ε), 0, 1)`, one a norm | [`ratios`] | § 3.2 |
//! | the projection, `δ ← r · δ` | [`project`], [`rescale`] | § 3.2 |
//! | `∂L/∂γ = Σ_{i active} ⟨G_i, δ_i⟩ / (n_i + ε)`, with G the loss's gradient at θ0 + r·δ | [`radius_gradient`] | § 3.3 |
//! | γ's start, its Adam and its clipping | [`initial_radius`], [`Radius::update`], [`Radius::clip`] | § 3.4 |
//!
//! Update rules of other methods that constrain δ:
//!
//! | method | here | paper |
//! |---|---|---|
//! | FTP: radii from the training gradient, without validation images | [`FastRadius`] | NeurIPS 2023, arXiv 2310.19182 |
//! | SPD: decay of a tensor's growth if the loss decreases towards the base | [`selected_distance`], [`selective_decay`] | NeurIPS 2024, arXiv 2411.01713 |
//! | DiGraP: the part of a gradient that leads straight away from the base, less a learned share | [`DirectionalProjection`] | ICLR 2025, arXiv 2502.15895 |
//! | L2-SP: a quadratic penalty on ‖δ‖ | [`pull_to_base`] | ICML 2018, arXiv 1802.01483 |
//! | MARS-SP: a fixed radius, under [`Norm::Mars`](fieldfit_tensor::Norm::Mars) | [`project`] | ICLR 2021, arXiv 2002.08253 |
//! | WiSE-FT: `δ ← α·δ` after training | [`rescale`] | CVPR 2022, arXiv 2109.01903 |
//!
//! The state of a training run is δ, never θ − θ0 recovered from rounded weights. A radius step needs the unprojected δ
//! and the gradient at the projected weights, without autograd through the projection, in which γ is only a factor.
//!
//! **Dead zone.** If γ has been clipped to the norm itself, `γ / (n + ε)` is just below 1 in f64 and exactly 1 in f32,
//! so a rule that requires a ratio below 1 would lose the gradient in f32 permanently. Here a norm is *active* iff `0 <
//! γ ≤ n`, in either type.
//!
//! One iteration of the every-step setting, for one tensor:
//!
//! ```
//! use fieldfit_tensor::Norm;
//! use fieldfit_tpgm::{Radius, RadiusAdam, distances, initial_radius, project, radius_gradient};
//!
//! let rows = 2;
//! let mut delta = [0.3_f32, -0.4, 0.0, 0.0, 0.2, -0.1]; // as the optimiser left it, [2, 3]
//! let gradient = [0.5_f32, 0.1, 0.0, 0.2, 0.3, 0.1]; // of the validation loss, at the projected weights
//!
//! let mut norms = Vec::new();
//! distances(Norm::Mars, &delta, rows, &mut norms);
//! let furthest = norms.iter().copied().fold(0.0, f32::max);
//!
//! let mut radius = Radius::new(initial_radius(&norms).unwrap_or(0.0));
//! let slope = radius_gradient(&gradient, &delta, &norms, radius.value);
//! radius.update(slope, &RadiusAdam::default());
//! radius.clip(furthest);
//! project(Norm::Mars, &mut delta, rows, radius.value);
//!
//! distances(Norm::Mars, &delta, rows, &mut norms);
//! assert!(norms.iter().all(|&norm| norm <= radius.value * 1.000_001));
//! ```
//!
//! All functions take and return slices; the crate has no networks, files or threads. The caller chooses the
//! constrained tensors; a new head has no pre-trained values and must not be one. Non-finite values are propagated and
//! visible in the caller's loss.

mod digrap;
mod ftp;
mod l2_sp;
mod norm;
mod projection;
mod radius;
mod spd;
mod sum;

pub use digrap::DirectionalProjection;
pub use ftp::FastRadius;
pub use l2_sp::pull_to_base;
pub use norm::distances;
pub use projection::{project, ratios, rescale};
pub use radius::{MINIMUM_RADIUS, Radius, RadiusAdam, initial_radius, radius_gradient, radius_gradient_from_products};
pub use spd::{selected_distance, selective_decay};

/// ε: added to every norm before it divides.
pub const EPSILON: f64 = 1e-8;
