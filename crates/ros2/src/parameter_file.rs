//! Parameter files of ROS 2: YAML with the parameters of nodes, by the nodes' names.

use crate::parameters::Value;
use fieldfit::{escape, read_bounded};
// The values of YAML that are read are those of JSON.
use serde_json::Value as Yaml;
use std::collections::BTreeMap;
use std::path::Path;

/// The most bytes that a file may have.
const MAX_BYTES: u64 = 1 << 20;

/// Returns the parameters that a file has for a node of that full name: those for all nodes first.
///
/// # Errors
/// With the defect, if the file cannot be read.
pub fn read(path: &Path, node: String) -> Result<Vec<(String, Value)>, String> {
    let bytes = read_bounded(path, MAX_BYTES).map_err(|error| error.to_string())?;
    parse(&String::from_utf8(bytes).map_err(|error| error.to_string())?, &node)
}

fn parse(text: &str, node: &str) -> Result<Vec<(String, Value)>, String> {
    let nodes: BTreeMap<String, Yaml> = serde_saphyr::from_str(text)
        .map_err(|error| format!("expected the parameters of nodes as YAML: {}", escape(&error.to_string())))?;
    let (general, own): (Vec<_>, Vec<_>) =
        nodes.into_iter().filter(|(name, _)| is_for(name, node)).partition(|(name, _)| name.contains('*'));
    let mut values = Vec::new();
    for (name, parameters) in general.into_iter().chain(own) {
        let Some(Yaml::Object(parameters)) = parameters.get("ros__parameters").cloned() else {
            return Err(format!("`{}`: expected ros__parameters with names and values", escape(&name)));
        };
        for (parameter, found) in parameters {
            let value = scalar(found).ok_or_else(|| format!("`{}`: expected one value", escape(&parameter)))?;
            values.push((parameter, value));
        }
    }
    Ok(values)
}

/// The value of a parameter; `None` if it is a list, a map or nothing.
fn scalar(found: Yaml) -> Option<Value> {
    match found {
        Yaml::Bool(value) => Some(Value::Bool(value)),
        Yaml::String(value) => Some(Value::Text(value)),
        Yaml::Number(number) => number.as_i64().map(Value::Integer).or_else(|| number.as_f64().map(Value::Double)),
        Yaml::Null | Yaml::Array(_) | Yaml::Object(_) => None,
    }
}

/// Whether parameters under a name are for the node: its full name, with or without the first `/`, its last part, or `/**`.
fn is_for(name: &str, node: &str) -> bool {
    let last = node.rsplit_once('/').map_or(node, |(_, last)| last);
    match name.strip_suffix("/**").or_else(|| name.strip_suffix("**")) {
        Some(namespace) => node.starts_with(&format!("{}/", namespace.trim_end_matches('/'))),
        None => {
            name == node
                || Some(name) == node.strip_prefix('/')
                || name == last
                || Some(last) == name.strip_prefix("/*/")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: parameters of another node, ones for all nodes that win over the node's own, types that change.
    #[test]
    fn a_node_gets_its_own_parameters_and_those_for_all() {
        let text = "/**:\n  ros__parameters:\n    top_k: 2\n    model: base\n/robot/eyes:\n  ros__parameters:\n    model: own\n    \
                    max_rate: 5.0\n    autostart: false\nother:\n  ros__parameters:\n    model: other\n";
        let values = parse(text, "/robot/eyes").unwrap();
        let expected = [
            ("model", Value::Text("base".into())),
            ("top_k", Value::Integer(2)),
            ("autostart", Value::Bool(false)),
            ("max_rate", Value::Double(5.0)),
            ("model", Value::Text("own".into())),
        ];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value)));
        for name in ["eyes", "robot/eyes", "/robot/**", "**", "/**"] {
            assert!(is_for(name, "/robot/eyes"), "{name}");
        }
        for name in ["robot", "eye", "/robots/**", "/eyes"] {
            assert!(!is_for(name, "/robot/eyes"), "{name}");
        }
    }

    /// Catches: a file of a whole robot that is refused for what other nodes take.
    #[test]
    fn parameters_of_other_nodes_are_not_read() {
        let text = "other:\n  ros__parameters:\n    list: [1, 2]\n    nested: {a: null}\neyes:\n  ros__parameters:\n    top_k: 1\n";
        assert_eq!(parse(text, "/eyes").unwrap(), [("top_k".to_owned(), Value::Integer(1))]);
        assert!(parse(text, "/other").unwrap_err().contains("`list`"));
    }

    /// Catches: a file that is no parameter file and is taken for an empty one.
    #[test]
    fn other_files_are_refused() {
        for text in ["fieldfit: base", "- 1", "fieldfit: {ros__parameters: {nested: {b: 1}}}", "a: [", "\0"] {
            assert!(parse(text, "/fieldfit").is_err(), "{text}");
        }
    }
}
