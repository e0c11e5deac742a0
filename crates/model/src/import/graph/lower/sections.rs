//! Sections: groups nodes by the modules that called them.

use super::sketch::Sketch;
use fieldfit_nets::Section;
use std::collections::{HashMap, HashSet};

/// Returns the sections of a sketch: neighbours of one module are one section.
pub(super) fn sections(sketch: &Sketch) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut names = Names::default();
    let mut current = String::new();
    for (index, path) in sketch.paths.iter().enumerate() {
        let module = module(path);
        let continues = !sections.is_empty() && (module.is_empty() || module == current);
        if !continues {
            let name = if module.is_empty() { "stem" } else { module };
            sections.push(Section { name: names.distinct(name), nodes: index..index });
            module.clone_into(&mut current);
        }
        if let Some(section) = sections.last_mut() {
            section.nodes.end = index + 1;
        }
    }
    sections
}

/// Returns the part of a path that names a block: up to the first number, and the numbers that follow it.
pub(super) fn module(path: &str) -> &str {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut end = path.find('.').unwrap_or(path.len());
    let mut start = 0;
    let mut was_number = false;
    for part in path.split('.') {
        let here = start + part.len();
        if is_number(part) {
            end = here;
            was_number = true;
        } else if was_number {
            break;
        }
        start = here + 1;
    }
    &path[..end]
}

/// Names of sections, and the number that was put behind each last.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    numbers: HashMap<String, usize>,
}

impl Names {
    /// Returns the name, with a number behind it if another section has it.
    fn distinct(&mut self, name: &str) -> String {
        let mut distinct = name.to_owned();
        while !self.taken.insert(distinct.clone()) {
            let number = self.numbers.entry(name.to_owned()).or_insert(1);
            *number += 1;
            distinct = format!("{name}#{number}");
        }
        distinct
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a block that is cut at another module than its own.
    #[test]
    fn blocks_are_found_by_their_numbers() {
        let cases = [
            ("layer1.0.conv1", "layer1.0"),
            ("blocks.1.0.conv_pw", "blocks.1.0"),
            ("features.3.block.0.0", "features.3"),
            ("conv_stem", "conv_stem"),
            ("classifier.1", "classifier.1"),
            ("backbone.body.conv1", "backbone"),
            ("", ""),
        ];
        for (path, expected) in cases {
            assert_eq!(module(path), expected, "{path}");
        }
    }
}
