//! Cost of a network for one image, section by section: parameters, operations and activations.

use crate::graph::Section;
use crate::network::Network;
use crate::shape::{Shape, ShapeError};

/// Cost of a section, or of the classifier, for one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionCost {
    /// The section's name; `classifier` for the head.
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
    /// Computes the cost of each section for one image of that size in pixels, and of the classifier, if there is one
    /// behind them.
    ///
    /// # Errors
    /// If the network does not accept such an image.
    pub fn costs(&self, height: usize, width: usize) -> Result<Vec<SectionCost>, ShapeError> {
        let shapes = self.shapes(height, width)?;
        let mut costs: Vec<_> = self.graph.sections.iter().map(|section| self.section_cost(section, &shapes)).collect();
        // A dense head is a node of the last section.
        if !self.is_headless() && !self.head.is_dense() {
            costs.push(self.classifier_cost());
        }
        Ok(costs)
    }

    fn section_cost(&self, section: &Section, shapes: &[Shape]) -> SectionCost {
        let mut cost = SectionCost {
            name: section.name.clone(),
            output: shapes[section.nodes.end],
            parameters: 0,
            flops: 0,
            activations: 0,
        };
        for index in section.nodes.clone() {
            let (node, output) = (&self.graph.nodes[index], shapes[index + 1]);
            let tensors = node.op.tensors().into_iter().map(|id| self.tensor(id));
            cost.parameters += tensors.filter(|spec| spec.role.is_trainable()).map(|spec| spec.len()).sum::<usize>();
            let input = node.inputs.first().map_or(output, |value| shapes[value.index()]);
            cost.flops += 2 * node.op.multiplications(input, output) as u64;
            cost.activations += output.len();
        }
        cost
    }

    fn classifier_cost(&self) -> SectionCost {
        let (features, classes) = (self.head.features, self.head.classes);
        SectionCost {
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
