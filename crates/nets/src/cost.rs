//! Cost of a network for one image, stage by stage: parameters, operations and activations.

use crate::network::{Network, Op, Role, Shortcut, Stage};
use crate::shape::{Shape, ShapeError};

/// Cost of a stage, or of the classifier, for one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageCost {
    /// The stage's name; `classifier` for the head.
    pub name: String,
    /// Output shape.
    pub output: Shape,
    /// Trainable values.
    pub parameters: usize,
    /// Floating-point operations of its matrix products: two per multiply-add. Excludes norms, activations, pooling and
    /// shortcuts.
    pub flops: u64,
    /// Output values of its ops, all of which a backward pass reads.
    pub activations: usize,
}

impl Network {
    /// Computes the cost of each stage for one image of that size in pixels, and of the classifier, if there is one.
    ///
    /// # Errors
    /// If the network does not accept such an image.
    pub fn costs(&self, height: usize, width: usize) -> Result<Vec<StageCost>, ShapeError> {
        let mut input = Shape { height, width, channels: self.channels };
        let mut costs = Vec::with_capacity(self.stages.len() + 1);
        for stage in &self.stages {
            let cost = self.stage_cost(stage, input)?;
            input = cost.output;
            costs.push(cost);
        }
        if !self.is_headless() {
            costs.push(self.classifier_cost());
        }
        Ok(costs)
    }

    fn stage_cost(&self, stage: &Stage, input: Shape) -> Result<StageCost, ShapeError> {
        let parameters = stage.tensors().map(|id| self.tensor(id)).filter(|spec| spec.role.is_trainable());
        let mut cost = StageCost {
            name: stage.name.clone(),
            output: input,
            parameters: parameters.map(|spec| spec.len()).sum(),
            flops: 0,
            activations: 0,
        };
        for op in &stage.ops {
            let output = op.output_shape(cost.output)?;
            cost.flops += 2 * self.multiplications(op, output);
            cost.activations += output.len();
            cost.output = output;
        }
        if let Some(Shortcut::Projection(conv)) = stage.shortcut {
            let op = Op::Conv(conv);
            let output = op.output_shape(input)?;
            cost.flops += 2 * self.multiplications(&op, output);
            cost.activations += output.len();
        }
        Ok(cost)
    }

    /// Returns the multiplications of an op: each output pixel, or token, times the whole kernel.
    fn multiplications(&self, op: &Op, output: Shape) -> u64 {
        let kernels = op.tensors().into_iter().map(|id| self.tensor(id));
        let kernel: usize =
            kernels.filter(|spec| matches!(spec.role, Role::Kernel | Role::LinearWeight)).map(|spec| spec.len()).sum();
        let pixels = output.pixels();
        let products = match op {
            // Prefix tokens are not products.
            Op::Embed(embed) => (pixels - embed.prefix) * kernel,
            // Queries times keys, and probabilities times values.
            Op::Attention(attention) => 2 * pixels * pixels * attention.width,
            _ => pixels * kernel,
        };
        products as u64
    }

    fn classifier_cost(&self) -> StageCost {
        let (features, classes) = (self.head.features, self.head.classes);
        StageCost {
            name: "classifier".to_owned(),
            output: Shape { height: 1, width: 1, channels: classes },
            parameters: classes * (features + 1),
            flops: 2 * (classes * features) as u64,
            activations: classes,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::by_name;

    /// Catches: a group, a stride or a projection that is not counted, a token too many: multiplications as published,
    /// in millions (torchvision's model tables; DeiT's paper, table 5, rounds to 1.3 thousand), and parameters.
    #[test]
    fn costs_are_the_published_ones() {
        for (architecture, millions, parameters) in [
            ("mobilenetv2", 300, 3_504_872),
            ("resnet18", 1814, 11_689_512),
            ("resnet50", 4089, 25_557_032),
            ("deit-tiny", 1258, 5_717_416),
        ] {
            let network = by_name(architecture).unwrap().with_classes(1000);
            let costs = network.costs(224, 224).unwrap();
            let flops: u64 = costs.iter().map(|cost| cost.flops).sum();
            let found = flops as f64 / 2e6;
            assert!((found - f64::from(millions)).abs() < 0.01 * f64::from(millions), "{architecture}: {found} M");
            assert_eq!(costs.iter().map(|cost| cost.parameters).sum::<usize>(), parameters, "{architecture}");
        }
    }

    /// Catches: a headless network that is charged for a head.
    #[test]
    fn a_missing_head_costs_nothing() {
        let network = by_name("mobilenetv2").unwrap().with_classes(0);
        assert_eq!(network.costs(64, 64).unwrap().last().unwrap().name, "pool");
    }
}
