//! Tree of outputs: the names that a caller of the network has for its results.

use serde::Deserialize;

/// Tree of lists and dictionaries, as `torch.utils._pytree` writes it.
#[derive(Deserialize)]
struct TreeSpec {
    /// The class of a node; `None` of a leaf.
    #[serde(rename = "type")]
    class: Option<String>,
    /// Of a dictionary, its keys: a list, as JSON in a text.
    context: Option<String>,
    children_spec: Vec<TreeSpec>,
}

/// Classes whose context is their keys.
const DICTIONARIES: [&str; 2] = ["builtins.dict", "collections.OrderedDict"];

/// The most bytes of all names: nested keys could have any number.
const MAX_BYTES: usize = 1 << 16;

/// The names of `count` outputs: keys and positions from the root on, joined by dots. `None` if the network has one output
/// alone, or the tree isn't one of that many.
pub(super) fn output_names(spec: &str, count: usize) -> Option<Vec<String>> {
    let (_version, root): (u32, TreeSpec) = serde_json::from_str(spec).ok()?;
    root.class.as_ref()?;
    let (mut names, mut room) = (Vec::new(), MAX_BYTES);
    add_leaves(&root, "", &mut names, &mut room)?;
    (names.len() == count).then_some(names)
}

/// Adds the names of the leaves; `None` if they have no room.
fn add_leaves(tree: &TreeSpec, path: &str, names: &mut Vec<String>, room: &mut usize) -> Option<()> {
    *room = room.checked_sub(path.len())?;
    let Some(class) = &tree.class else {
        names.push(path.to_owned());
        return Some(());
    };
    let keys = tree.context.as_deref().filter(|_| DICTIONARIES.contains(&class.as_str()));
    let keys: Option<Vec<String>> = keys.and_then(|keys| serde_json::from_str(keys).ok());
    for (position, child) in tree.children_spec.iter().enumerate() {
        let key = keys.as_ref().and_then(|keys| keys.get(position).cloned());
        let key = key.unwrap_or_else(|| position.to_string());
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        add_leaves(child, &path, names, room)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAF: &str = r#"{"type": null, "context": null, "children_spec": []}"#;

    /// Catches: outputs whose names are those of their values rather than those that the network's author gave them.
    #[test]
    fn outputs_have_the_names_of_their_keys() {
        let names = |spec: &str, count| output_names(&format!("[1, {spec}]"), count);
        let list = format!(r#"{{"type": "builtins.tuple", "context": "null", "children_spec": [{LEAF}, {LEAF}]}}"#);
        assert_eq!(names(&list, 2).unwrap(), ["0", "1"]);
        let keys = r#""context": "[\"out\", \"aux\"]""#;
        let dict = format!(r#"{{"type": "collections.OrderedDict", {keys}, "children_spec": [{LEAF}, {list}]}}"#);
        assert_eq!(names(&dict, 3).unwrap(), ["out", "aux.0", "aux.1"]);
        assert_eq!(names(&dict, 2), None);
        assert_eq!(names(LEAF, 1), None);
        assert_eq!(output_names("", 1), None);
    }
}
