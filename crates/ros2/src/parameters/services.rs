//! Services of `rcl_interfaces` over the parameters, as pure functions from request to response.

use super::{Parameters, SPECIFICATIONS, Specification, Value};
use crate::msg::rcl_interfaces::{
    FloatingPointRange, IntegerRange, ListParametersRequest, ListParametersResult, Parameter, ParameterDescriptor,
    ParameterValue,
};

impl Parameters {
    /// Returns the values of parameters; not set where there is no such parameter.
    pub fn messages(&self, names: &[String]) -> Vec<ParameterValue> {
        names.iter().map(|name| self.get(name).map(Value::message).unwrap_or_default()).collect()
    }

    /// Returns the numbers of the parameters' types; 0 where there is no such parameter.
    pub fn types(&self, names: &[String]) -> Vec<u8> {
        names.iter().map(|name| self.get(name).map_or(0, |value| value.type_number())).collect()
    }

    /// Sets a parameter of the running node by its message.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_message(&mut self, parameter: Parameter) -> Result<(), String> {
        let Parameter { name, value } = parameter;
        let value =
            Value::of_message(value).map_err(|found| format!("`{}`: found {found}", fieldfit::escape(&name)))?;
        self.set(&name, value)
    }

    /// Sets all parameters, or none of them.
    ///
    /// # Errors
    /// As [`set`](Self::set), of the first that is refused.
    pub fn set_all(&mut self, parameters: Vec<Parameter>) -> Result<(), String> {
        let mut changed = self.clone();
        parameters.into_iter().try_for_each(|parameter| changed.set_message(parameter))?;
        *self = changed;
        Ok(())
    }

    /// Returns the names that have one of the prefixes, all names if there is none. No name has more than one level.
    pub fn list(request: &ListParametersRequest) -> ListParametersResult {
        let is_listed =
            |name: &&str| request.prefixes.is_empty() || request.prefixes.iter().any(|prefix| prefix == name);
        let names = SPECIFICATIONS.iter().map(|specification| specification.name).filter(is_listed);
        ListParametersResult { names: names.map(str::to_owned).collect(), prefixes: Vec::new() }
    }

    /// Returns the descriptions of parameters; without a type where there is no such parameter.
    pub fn describe(&self, names: &[String]) -> Vec<ParameterDescriptor> {
        let described = |name: &String| {
            let specification = SPECIFICATIONS.iter().find(|specification| specification.name == name);
            let unknown = || ParameterDescriptor { name: name.clone(), ..ParameterDescriptor::default() };
            specification.map_or_else(unknown, |specification| specification.descriptor(self))
        };
        names.iter().map(described).collect()
    }

    /// Returns the parameters whose values differ from those before.
    pub fn changes_since(&self, before: &Self) -> Vec<Parameter> {
        let has_changed = |specification: &&Specification| (specification.get)(self) != (specification.get)(before);
        let message = |specification: &Specification| Parameter {
            name: specification.name.into(),
            value: (specification.get)(self).message(),
        };
        SPECIFICATIONS.iter().filter(has_changed).map(message).collect()
    }
}

impl Specification {
    fn descriptor(&self, parameters: &Parameters) -> ParameterDescriptor {
        let value = (self.get)(parameters);
        let is_integer = matches!(value, Value::Integer(_));
        let integers = self.range.filter(|_| is_integer).map(|(from, to)| IntegerRange {
            from_value: from as i64,
            to_value: to as i64,
            step: 1,
        });
        let doubles = self.range.filter(|_| !is_integer).map(|(from_value, to_value)| FloatingPointRange {
            from_value,
            to_value,
            step: 0.0,
        });
        ParameterDescriptor {
            name: self.name.into(),
            r#type: value.type_number(),
            description: self.description.into(),
            additional_constraints: String::new(),
            read_only: self.is_read_only,
            dynamic_typing: false,
            floating_point_range: doubles.into_iter().collect(),
            integer_range: integers.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(name: &str, value: Value) -> Parameter {
        Parameter { name: name.into(), value: value.message() }
    }

    /// Catches: a request of several parameters that is done by half.
    #[test]
    fn parameters_are_set_together_or_not_at_all() {
        let mut parameters = Parameters::default();
        let before = parameters.clone();
        let half = vec![parameter("top_k", Value::Integer(3)), parameter("model", Value::Text("other".into()))];
        assert!(parameters.set_all(half).unwrap_err().contains("read-only"));
        assert!(parameters.changes_since(&before).is_empty());
        parameters.set_all(vec![parameter("top_k", Value::Integer(3))]).unwrap();
        assert_eq!(parameters.changes_since(&before), [parameter("top_k", Value::Integer(3))]);
        let deleted = Parameter { name: "top_k".into(), value: ParameterValue::default() };
        assert!(parameters.set_message(deleted).unwrap_err().contains("delete"));
    }

    /// Catches: a tool that is told nothing of a range, or that a parameter that is read-only may change.
    #[test]
    fn descriptions_tell_ranges_and_what_is_read_only() {
        let parameters = Parameters::default();
        let names = ["model", "top_k", "max_rate", "absent"].map(str::to_owned);
        let [model, top, rate, absent] = parameters.describe(&names).try_into().unwrap();
        assert!(model.read_only && model.r#type == 4);
        assert_eq!((top.read_only, top.integer_range[0].to_value), (false, 16));
        assert_eq!(rate.floating_point_range[0].to_value, 1000.0);
        assert_eq!((absent.name.as_str(), absent.r#type), ("absent", 0));
        assert_eq!(parameters.types(&names), [4, 2, 3, 0]);
        assert_eq!(parameters.messages(&names)[3], ParameterValue::default());
    }

    /// Catches: a list without a parameter, or prefixes that are ignored.
    #[test]
    fn names_are_listed_by_prefix() {
        let list = |prefixes: &[&str]| {
            let prefixes = prefixes.iter().map(|&prefix| prefix.into()).collect();
            Parameters::list(&ListParametersRequest { prefixes, depth: 0 }).names
        };
        assert_eq!(list(&[]).len(), SPECIFICATIONS.len());
        assert_eq!(list(&["model", "mod"]), ["model"]);
    }
}
