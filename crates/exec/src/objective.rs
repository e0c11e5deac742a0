//! Training objectives: losses of each image's logits, with their gradients.

use crate::ExecError;
use fieldfit_tensor::Real;

/// Training objective: a loss per image, of which an [`Executor`](crate::Executor) computes the mean over a batch.
///
/// A list of `u32` labels, one per image, is the cross-entropy of the head's classes.
pub trait Objective<T>: Sync {
    /// Checks that the objective applies to a batch.
    ///
    /// # Errors
    /// If the objective is for another number of images, or of an image's logits: one a class or, in a dense network, `[H, W,
    /// classes]`.
    fn check(&self, images: usize, columns: usize) -> Result<(), ExecError>;

    /// Returns the loss of one image of the batch, in nats, and replaces its logits, one a class or `[H, W, classes]`, by the
    /// loss's gradient.
    fn loss_and_gradient(&self, image: usize, logits: &mut [T]) -> f64;
}

impl<T: Real, L: AsRef<[u32]> + Sync> Objective<T> for L {
    fn check(&self, images: usize, columns: usize) -> Result<(), ExecError> {
        let labels = self.as_ref();
        if labels.len() != images {
            return Err(ExecError::LabelCount { images, labels: labels.len() });
        }
        match labels.iter().position(|&label| label as usize >= columns) {
            Some(position) => Err(ExecError::Label { position, found: labels[position], classes: columns }),
            None => Ok(()),
        }
    }

    fn loss_and_gradient(&self, image: usize, logits: &mut [T]) -> f64 {
        cross_entropy(logits, self.as_ref()[image])
    }
}

/// Computes the cross-entropy, `−ln softmax(logits)[label]`, in nats; replaces the logits by its gradient,
/// `softmax(logits) − one-hot`.
///
/// # Panics
/// If `label` is not an index of `logits`.
pub fn cross_entropy<T: Real>(logits: &mut [T], label: u32) -> f64 {
    let (largest, sum) = normaliser(logits);
    let label = label as usize;
    let loss = sum.ln() - (logits[label] - largest).wide();
    for (class, value) in logits.iter_mut().enumerate() {
        let probability = (*value - largest).wide().exp() / sum;
        *value = T::of(probability - f64::from(u8::from(class == label)));
    }
    loss
}

/// Computes the weighted sum of the cross-entropies of an image's pixels, in nats; replaces their logits, `[pixels, classes]`,
/// by its gradient. `factor` is that of a pixel's class; where it is 0 the pixel does not count, and its class may be any.
///
/// # Panics
/// If a class that counts is not an index of a pixel's logits.
pub fn pixel_cross_entropy<T: Real>(logits: &mut [T], mask: &[u8], factor: impl Fn(u8) -> f64) -> f64 {
    let classes = logits.len() / mask.len().max(1);
    let mut total = 0.0;
    for (logits, &class) in logits.chunks_exact_mut(classes.max(1)).zip(mask) {
        let factor = factor(class);
        if factor == 0.0 {
            logits.fill(T::zero());
            continue;
        }
        total += factor * cross_entropy(logits, class.into());
        logits.iter_mut().for_each(|slope| *slope *= T::of(factor));
    }
    total
}

/// Computes the KL divergence, `KL(p ‖ softmax(logits)) = Σ p·(ln p − ln softmax(logits))`, in nats; replaces the
/// logits by its gradient, `softmax(logits) − p`. `probabilities` is p and must sum to 1.
///
/// # Panics
/// If `logits` and `probabilities` differ in length.
pub fn kl_divergence<T: Real>(logits: &mut [T], probabilities: &[T]) -> f64 {
    assert_eq!(logits.len(), probabilities.len(), "a probability for each logit");
    let (largest, sum) = normaliser(logits);
    let mut loss = 0.0;
    for (value, probability) in logits.iter_mut().zip(probabilities) {
        let (log, expected) = ((*value - largest).wide() - sum.ln(), probability.wide());
        if expected > 0.0 {
            loss += expected * (expected.ln() - log);
        }
        *value = T::of(log.exp() - expected);
    }
    loss
}

/// Computes the mean over labels of the binary cross-entropy of their logits, in nats, as PyTorch's `BCEWithLogitsLoss`: of each
/// label times the factor of one that the image has, if it has it (`pos_weight`). Replaces the logits by its gradient.
///
/// # Panics
/// If there are more logits than labels.
pub fn binary_cross_entropy<T: Real>(logits: &mut [T], has: &[u8], factor: impl Fn(usize) -> f64) -> f64 {
    let share = 1.0 / logits.len().max(1) as f64;
    let mut total = 0.0;
    for (label, value) in logits.iter_mut().enumerate() {
        let logit = value.wide();
        let (sign, factor) = if has[label] > 0 { (1.0, factor(label)) } else { (-1.0, 1.0) };
        // −ln σ(sign·x), without overflow on either side.
        total += factor * ((-logit.abs()).exp().ln_1p() + (-sign * logit).max(0.0));
        *value = T::of(-share * factor * sign * logistic(-sign * logit));
    }
    share * total
}

/// Computes 1 / (1 + e^−x).
pub fn logistic(logit: f64) -> f64 {
    if logit >= 0.0 { 1.0 / (1.0 + (-logit).exp()) } else { logit.exp() / (1.0 + logit.exp()) }
}

/// Computes the mean over targets of Huber's loss with δ = 1, as PyTorch's `HuberLoss`: half the square of an error, or from 1 on the
/// error less a half (Huber, 1964). Replaces the outputs by its gradient.
///
/// # Panics
/// If `expected` is called for an output that it has no value for.
pub fn huber<T: Real>(outputs: &mut [T], expected: impl Fn(usize) -> f64) -> f64 {
    let share = 1.0 / outputs.len().max(1) as f64;
    let mut total = 0.0;
    for (target, value) in outputs.iter_mut().enumerate() {
        let error = value.wide() - expected(target);
        total += if error.abs() < 1.0 { 0.5 * error * error } else { error.abs() - 0.5 };
        *value = T::of(share * error.clamp(-1.0, 1.0));
    }
    share * total
}

/// Computes softmax in place.
pub fn softmax<T: Real>(logits: &mut [T]) {
    let (largest, sum) = normaliser(logits);
    logits.iter_mut().for_each(|value| *value = T::of((*value - largest).wide().exp() / sum));
}

/// Returns the largest logit, and the sum of the exponentials of the differences to it.
fn normaliser<T: Real>(logits: &[T]) -> (T, f64) {
    let largest = logits.iter().copied().fold(T::neg_infinity(), T::max);
    (largest, logits.iter().map(|&value| (value - largest).wide().exp()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f64; 4] = [0.3, -1.2, 2.0, 0.0];
    const BINARY: f64 = 1.429288611272328;
    const HUBER: f64 = 0.69125;

    /// Compares a gradient with central differences of its loss.
    fn check_gradient(loss: impl Fn(&mut [f64]) -> f64) {
        let mut gradient = LOGITS;
        loss(&mut gradient);
        for (index, gradient) in gradient.into_iter().enumerate() {
            let at = |step: f64| {
                let mut logits = LOGITS;
                logits[index] += step;
                loss(&mut logits)
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((gradient - slope).abs() < 1e-9, "{index}: {gradient}, not {slope}");
        }
    }

    /// Catches: a gradient of another loss than the one that is reported.
    #[test]
    fn gradients_are_those_of_the_losses() {
        check_gradient(|logits| cross_entropy(logits, 2));
        check_gradient(|logits| kl_divergence(logits, &[0.1, 0.2, 0.0, 0.7]));
        check_gradient(|logits| binary_cross_entropy(logits, &[1, 0, 0, 1], |label| 1.0 + label as f64));
        check_gradient(|logits| huber(logits, |target| [0.0, 1.0, 0.5, -0.2][target]));
    }

    /// Catches: losses other than PyTorch 2.15's `binary_cross_entropy_with_logits` with `pos_weight` 1, 2, 3, 4, and `huber_loss`,
    /// of the same values in f64.
    #[test]
    fn losses_are_pytorchs() {
        let of_labels = binary_cross_entropy(&mut LOGITS.clone(), &[1, 0, 0, 1], |label| 1.0 + label as f64);
        assert!((of_labels - BINARY).abs() < 1e-12, "{of_labels}");
        let of_values = huber(&mut LOGITS.clone(), |target| [0.0, 1.0, 0.5, -0.2][target]);
        assert!((of_values - HUBER).abs() < 1e-12, "{of_values}");
    }

    /// Catches: logits of a few hundred, whose exponentials overflow, in the losses of labels.
    #[test]
    fn large_logits_of_labels_stay_finite() {
        let mut logits = [800.0_f64, -800.0];
        assert_eq!(binary_cross_entropy(&mut logits, &[0, 1], |_| 1.0), 800.0);
        assert_eq!(logits, [0.5, -0.5]);
    }

    /// Catches: a divergence that is not 0 where the two agree, or that turns a probability of 0 into a NaN.
    #[test]
    fn what_agrees_does_not_diverge() {
        let mut own = LOGITS;
        softmax(&mut own);
        assert!((own.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        let mut logits = LOGITS;
        assert!(kl_divergence(&mut logits, &own).abs() < 1e-15);
        assert!(logits.iter().all(|gradient| gradient.abs() < 1e-15), "{logits:?}");

        let mut logits = LOGITS;
        let certain = kl_divergence(&mut logits, &[0.0, 0.0, 1.0, 0.0]);
        assert!((certain - cross_entropy(&mut LOGITS.clone(), 2)).abs() < 1e-15);
    }

    /// Catches: logits of a few hundred, whose exponentials overflow.
    #[test]
    fn large_logits_stay_finite() {
        let mut logits = [500.0_f32, -500.0];
        assert_eq!(cross_entropy(&mut logits, 1), 1000.0);
        assert_eq!(logits, [1.0, -1.0]);
    }
}
