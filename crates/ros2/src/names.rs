//! Names of the node, its topics and its services, with remappings.

use fieldfit::escape;
use thiserror::Error;

/// Name of the node where no other is given.
const NODE: &str = "fieldfit";

/// Remapping of one name to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remapping {
    /// The name in the program: `~/image`, `image`, `/diagnostics`.
    pub from: String,
    /// The name on the network.
    pub to: String,
}

/// A name that ROS 2 does not take.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the name `{}` is invalid: expected {expected}", escape(name))]
pub struct NameError {
    /// The name.
    pub name: String,
    /// What is expected.
    pub expected: &'static str,
}

/// Names of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    namespace: String,
    node: String,
    /// Remappings of full names.
    remappings: Vec<Remapping>,
}

impl Names {
    /// Returns the names under remappings; `__node` and `__ns` name the node itself.
    ///
    /// # Errors
    /// If a name has other letters than ROS 2 takes.
    pub fn new(remappings: Vec<Remapping>) -> Result<Self, NameError> {
        let mut names = Self { namespace: "/".into(), node: NODE.into(), remappings: Vec::new() };
        for Remapping { from, to } in &remappings {
            match from.as_str() {
                "__node" | "__name" => names.node = base_name(to)?,
                "__ns" => names.namespace = namespace(to)?,
                _ => {}
            }
        }
        let is_topic = |remapping: &&Remapping| !remapping.from.starts_with("__");
        for remapping in remappings.iter().filter(is_topic) {
            let [from, to] = [&remapping.from, &remapping.to].map(|name| names.expand(name));
            names.remappings.push(Remapping { from: full_name(from)?, to: full_name(to)? });
        }
        Ok(names)
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the name of the node without its namespace.
    pub fn base_name(&self) -> &str {
        &self.node
    }

    /// Returns the name of the node with its namespace.
    pub fn node(&self) -> String {
        format!("{}/{}", self.namespace.trim_end_matches('/'), self.node)
    }

    /// Returns the full name of a topic or service on the network. The first remapping that applies decides.
    pub fn resolve(&self, name: &str) -> String {
        let name = self.expand(name);
        let remapped = self.remappings.iter().find(|remapping| remapping.from == name);
        remapped.map_or(name, |remapping| remapping.to.clone())
    }

    /// The full name: `~/` begins with the node, other names without `/` with the namespace.
    fn expand(&self, name: &str) -> String {
        match name.strip_prefix("~/") {
            Some(private) => format!("{}/{private}", self.node()),
            None if name.starts_with('/') => name.to_owned(),
            None => format!("{}/{name}", self.namespace.trim_end_matches('/')),
        }
    }
}

fn base_name(name: &str) -> Result<String, NameError> {
    let expected = "letters, digits and `_`, beginning with no digit";
    if is_token(name) { Ok(name.to_owned()) } else { Err(NameError { name: name.to_owned(), expected }) }
}

fn namespace(name: &str) -> Result<String, NameError> {
    if name == "/" { Ok(name.to_owned()) } else { full_name(name.to_owned()) }
}

fn full_name(name: String) -> Result<String, NameError> {
    let is_full = name.strip_prefix('/').is_some_and(|tokens| tokens.split('/').all(is_token));
    let expected = "`/` and names of letters, digits and `_`, beginning with no digit, with `/` between them";
    if is_full { Ok(name) } else { Err(NameError { name, expected }) }
}

fn is_token(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(is_letter)
        && !name.contains("__")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(remappings: &[(&str, &str)]) -> Result<Names, NameError> {
        let remapping = |(from, to): &(&str, &str)| Remapping { from: (*from).into(), to: (*to).into() };
        Names::new(remappings.iter().map(remapping).collect())
    }

    /// Catches: a camera's topic that is not found because a name is expanded in another way than ROS 2 does.
    #[test]
    fn names_are_expanded_and_remapped_as_ros_2_does() {
        let plain = names(&[]).unwrap();
        assert_eq!((plain.node().as_str(), plain.resolve("~/image").as_str()), ("/fieldfit", "/fieldfit/image"));
        assert_eq!(plain.resolve("image"), "/image");
        let robot = names(&[
            ("__ns", "/robot/one"),
            ("__node", "eyes"),
            ("~/image", "camera/image_raw"),
            ("/diagnostics", "/d"),
        ]);
        let robot = robot.unwrap();
        assert_eq!(robot.node(), "/robot/one/eyes");
        assert_eq!(robot.resolve("~/image"), "/robot/one/camera/image_raw");
        assert_eq!(robot.resolve("/robot/one/eyes/image"), "/robot/one/camera/image_raw");
        assert_eq!(robot.resolve("/diagnostics"), "/d");
        assert_eq!(robot.resolve("~/adapt"), "/robot/one/eyes/adapt");
    }

    /// Catches: a name that the middleware would panic at, or send to the wrong place.
    #[test]
    fn names_that_ros_2_does_not_take_are_refused() {
        for (from, to) in [
            ("__node", "two words"),
            ("__node", ""),
            ("__node", "1st"),
            ("__ns", "robot"),
            ("__ns", "/robot/"),
            ("~/image", "/camera//image"),
            ("~/image", ""),
            ("~/image", "/ca-mera"),
            ("a__b", "/c"),
            ("~/image", "~"),
        ] {
            assert!(names(&[(from, to)]).is_err(), "{from} {to}");
        }
        assert_eq!(names(&[("__ns", "/")]).unwrap().node(), "/fieldfit");
    }
}
