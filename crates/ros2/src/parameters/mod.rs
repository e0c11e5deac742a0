//! Parameters of the node: their values, what they accept, and which of them may change while the node runs.

mod services;
mod value;

pub use value::Value;

use crate::image::{self, Encoding};
use fieldfit::train::Options;
use fieldfit::{Device, MAX_TOP, all_cores, escape};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

/// Values of the parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// Model folder.
    pub model: PathBuf,
    /// Store of versions, made if it is missing; `None` runs the base alone.
    pub store: Option<PathBuf>,
    /// Collection of labelled images, made if it is missing; `None` collects none.
    pub collection: Option<PathBuf>,
    /// Threads of inference; `None` takes all cores.
    pub threads: Option<NonZeroUsize>,
    /// Transport of images.
    pub image_transport: ImageTransport,
    /// What is classified.
    pub classify: Classify,
    /// Whether the node configures and activates itself.
    pub autostart: bool,
    /// Number of images between two events with drift figures; `None` for none.
    pub drift_every: Option<NonZeroU32>,
    /// Images a second that are answered at most; 0 for all.
    pub max_rate: f64,
    /// Number of classes of an answer.
    pub top_k: usize,
    /// Probability below which a class is left out of an answer, 0..1.
    pub min_probability: f64,
    /// Encoding that is read in place of each image's own.
    pub pixel_format: Option<Encoding>,
    /// Options of an adaptation, as a JSON object.
    pub adaptation: String,
}

/// Transport of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageTransport {
    /// Pixels, `sensor_msgs/Image`.
    Raw,
    /// Files, `sensor_msgs/CompressedImage`, on the topic `compressed` below the image's.
    Compressed,
}

/// What is classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Classify {
    /// Whole images.
    Images,
    /// The boxes of a detector.
    Detections,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            model: PathBuf::new(),
            store: None,
            collection: None,
            threads: None,
            image_transport: ImageTransport::Raw,
            classify: Classify::Images,
            autostart: true,
            drift_every: NonZeroU32::new(256),
            max_rate: 0.0,
            top_k: 5,
            min_probability: 0.0,
            pixel_format: None,
            adaptation: r#"{"nice":10}"#.into(),
        }
    }
}

/// Longest time between two answers: one that a clock can be moved on by.
const LONGEST_INTERVAL: Duration = Duration::from_secs(365 * 86_400);

impl Parameters {
    /// Returns the device of inference.
    pub fn device(&self) -> Device {
        self.threads.map_or_else(all_cores, |threads| Device::Cpu { threads: threads.get() })
    }

    /// Returns the least time between two answers.
    pub fn interval(&self) -> Duration {
        match self.max_rate > 0.0 {
            true => Duration::try_from_secs_f64(1.0 / self.max_rate).unwrap_or(Duration::MAX).min(LONGEST_INTERVAL),
            false => Duration::ZERO,
        }
    }

    /// Returns the options of an adaptation, which computes where inference does.
    ///
    /// # Errors
    /// If the parameter `adaptation` is not a JSON object of options.
    pub fn options(&self) -> Result<Options, String> {
        options(&self.adaptation).map(|options| options.with_device(self.device()))
    }

    /// Sets a parameter before the node starts.
    ///
    /// # Errors
    /// If there is no such parameter, or it does not accept the value.
    pub fn declare(&mut self, name: &str, value: Value) -> Result<(), String> {
        (specification(name)?.set)(self, value).map_err(|expected| refused(name, &expected))
    }

    /// Sets a parameter of the running node. Setting a parameter to what it is changes nothing and is accepted.
    ///
    /// # Errors
    /// If there is no such parameter, it is read-only, or it does not accept the value.
    pub fn set(&mut self, name: &str, value: Value) -> Result<(), String> {
        let specification = specification(name)?;
        if specification.is_read_only && (specification.get)(self) != value {
            return Err(format!("`{name}` is read-only: start the node anew with -p {name}:=VALUE"));
        }
        self.declare(name, value)
    }

    /// Returns the value of a parameter; `None` if there is none of that name.
    pub fn get(&self, name: &str) -> Option<Value> {
        specification(name).ok().map(|specification| (specification.get)(self))
    }
}

/// Specification of a parameter.
pub struct Specification {
    /// Name.
    pub name: &'static str,
    /// What it sets.
    pub description: &'static str,
    /// Whether it cannot be changed while the node runs.
    pub is_read_only: bool,
    /// Range of a number.
    pub range: Option<(f64, f64)>,
    /// Returns its value.
    pub get: fn(&Parameters) -> Value,
    /// Sets its value; the error says what is expected and what was found.
    pub set: fn(&mut Parameters, Value) -> Result<(), String>,
}

/// The parameters, by name.
pub static SPECIFICATIONS: [Specification; 14] = [
    Specification {
        name: "adaptation",
        description: "Options of an adaptation as a JSON object, such as {\"epochs\":4,\"nice\":10}",
        is_read_only: false,
        range: None,
        get: |parameters| Value::Text(parameters.adaptation.clone()),
        set: |parameters, value| {
            let json = text(value)?;
            options(&json)?;
            parameters.adaptation = json;
            Ok(())
        },
    },
    Specification {
        name: "autostart",
        description: "Whether the node configures and activates itself",
        is_read_only: true,
        range: None,
        get: |parameters| Value::Bool(parameters.autostart),
        set: |parameters, value| {
            parameters.autostart = truth(value)?;
            Ok(())
        },
    },
    Specification {
        name: "classify",
        description: "What is classified: images, or detections (the boxes of a detector)",
        is_read_only: true,
        range: None,
        get: |parameters| Value::Text(parameters.classify.name().into()),
        set: |parameters, value| {
            parameters.classify = choice(value, &[Classify::Images, Classify::Detections], Classify::name)?;
            Ok(())
        },
    },
    Specification {
        name: "collection",
        description: "Folder of labelled images; empty collects none",
        is_read_only: true,
        range: None,
        get: |parameters| path_value(parameters.collection.as_ref()),
        set: |parameters, value| {
            parameters.collection = optional_path(value)?;
            Ok(())
        },
    },
    Specification {
        name: "device",
        description: "Device of inference: cpu",
        is_read_only: true,
        range: None,
        get: |_| Value::Text("cpu".into()),
        set: |_, value| match text(value)?.as_str() {
            "cpu" => Ok(()),
            other => Err(format!("expected cpu, the device that this build has, found `{}`", escape(other))),
        },
    },
    Specification {
        name: "drift_every",
        description: "Number of images between two events with drift figures; 0 for none",
        is_read_only: true,
        range: Some((0.0, u32::MAX as f64)),
        get: |parameters| Value::Integer(parameters.drift_every.map_or(0, NonZeroU32::get).into()),
        set: |parameters, value| {
            parameters.drift_every = NonZeroU32::new(integer(value, 0, u32::MAX)?);
            Ok(())
        },
    },
    Specification {
        name: "image_transport",
        description: "Transport of images: raw or compressed",
        is_read_only: true,
        range: None,
        get: |parameters| Value::Text(parameters.image_transport.name().into()),
        set: |parameters, value| {
            let transports = [ImageTransport::Raw, ImageTransport::Compressed];
            parameters.image_transport = choice(value, &transports, ImageTransport::name)?;
            Ok(())
        },
    },
    Specification {
        name: "max_rate",
        description: "Images a second that are answered at most; 0 for all",
        is_read_only: false,
        range: Some((0.0, 1000.0)),
        get: |parameters| Value::Double(parameters.max_rate),
        set: |parameters, value| {
            parameters.max_rate = double(value, 0.0, 1000.0)?;
            Ok(())
        },
    },
    Specification {
        name: "min_probability",
        description: "Probability below which a class is left out of an answer",
        is_read_only: false,
        range: Some((0.0, 1.0)),
        get: |parameters| Value::Double(parameters.min_probability),
        set: |parameters, value| {
            parameters.min_probability = double(value, 0.0, 1.0)?;
            Ok(())
        },
    },
    Specification {
        name: "model",
        description: "Model folder",
        is_read_only: true,
        range: None,
        get: |parameters| path_value(Some(&parameters.model)),
        set: |parameters, value| {
            parameters.model = text(value)?.into();
            Ok(())
        },
    },
    Specification {
        name: "pixel_format",
        description: "Encoding that is read in place of each image's own; auto for that",
        is_read_only: false,
        range: None,
        get: |parameters| Value::Text(parameters.pixel_format.map_or(image::AUTO, |encoding| encoding.name).into()),
        set: |parameters, value| {
            let name = text(value)?;
            let encoding = Encoding::named(&name);
            if encoding.is_none() && name != image::AUTO {
                return Err(format!("expected auto or one of {}, found `{}`", image::encodings(), escape(&name)));
            }
            parameters.pixel_format = encoding;
            Ok(())
        },
    },
    Specification {
        name: "store",
        description: "Folder of the versions; empty runs the base alone",
        is_read_only: true,
        range: None,
        get: |parameters| path_value(parameters.store.as_ref()),
        set: |parameters, value| {
            parameters.store = optional_path(value)?;
            Ok(())
        },
    },
    Specification {
        name: "threads",
        description: "Threads of inference; 0 takes all cores",
        is_read_only: true,
        range: Some((0.0, 1024.0)),
        get: |parameters| Value::Integer(parameters.threads.map_or(0, |threads| threads.get() as i64)),
        set: |parameters, value| {
            parameters.threads = NonZeroUsize::new(integer(value, 0, 1024)? as usize);
            Ok(())
        },
    },
    Specification {
        name: "top_k",
        description: "Number of classes of an answer",
        is_read_only: false,
        range: Some((1.0, MAX_TOP as f64)),
        get: |parameters| Value::Integer(parameters.top_k as i64),
        set: |parameters, value| {
            parameters.top_k = integer(value, 1, MAX_TOP as u32)? as usize;
            Ok(())
        },
    },
];

impl ImageTransport {
    /// Returns the name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Compressed => "compressed",
        }
    }
}

impl Classify {
    /// Returns the name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Detections => "detections",
        }
    }
}

fn specification(name: &str) -> Result<&'static Specification, String> {
    let found = SPECIFICATIONS.iter().find(|specification| specification.name == name);
    found.ok_or_else(|| {
        let names = SPECIFICATIONS.each_ref().map(|specification| specification.name).join(", ");
        format!("there is no parameter `{}`: expected one of {names}", escape(name))
    })
}

/// The reason of a refusal.
fn refused(name: &str, expected: &str) -> String {
    format!("`{name}`: {expected}")
}

fn options(json: &str) -> Result<Options, String> {
    let options: Options =
        serde_json::from_str(json).map_err(|error| format!("expected a JSON object of options: {error}"))?;
    options.validate().map_err(|error| error.to_string())?;
    Ok(options)
}

fn truth(value: Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(value),
        other => Err(format!("expected true or false, found {other}")),
    }
}

fn text(value: Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(format!("expected a string, found {other}")),
    }
}

fn path_value(path: Option<&PathBuf>) -> Value {
    Value::Text(path.map_or_else(String::new, |path| path.to_string_lossy().into_owned()))
}

fn optional_path(value: Value) -> Result<Option<PathBuf>, String> {
    text(value).map(|path| (!path.is_empty()).then(|| path.into()))
}

fn choice<T: Copy>(value: Value, choices: &[T], name: fn(T) -> &'static str) -> Result<T, String> {
    let found = text(value)?;
    choices.iter().copied().find(|&choice| name(choice) == found).ok_or_else(|| {
        let expected: Vec<&str> = choices.iter().map(|&choice| name(choice)).collect();
        format!("expected {}, found `{}`", expected.join(" or "), escape(&found))
    })
}

fn integer(value: Value, least: u32, most: u32) -> Result<u32, String> {
    let number = match value {
        Value::Integer(number) => u32::try_from(number).ok().filter(|number| (least..=most).contains(number)),
        Value::Bool(_) | Value::Double(_) | Value::Text(_) => None,
    };
    number.ok_or_else(|| format!("expected an integer of {least} to {most}, found {value}"))
}

/// A number in a range; also one that was written without its point.
fn double(value: Value, least: f64, most: f64) -> Result<f64, String> {
    let number = match value {
        Value::Double(number) => Some(number),
        Value::Integer(number) => Some(number as f64),
        Value::Bool(_) | Value::Text(_) => None,
    };
    let number = number.filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("expected a number of {least} to {most}, found {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a parameter whose value is another after it was set to itself, or two of one name.
    #[test]
    fn every_parameter_accepts_its_own_value() {
        let mut parameters = Parameters::default();
        for specification in &SPECIFICATIONS {
            let value = parameters.get(specification.name).unwrap();
            assert_eq!(parameters.set(specification.name, value.clone()), Ok(()), "{}", specification.name);
            assert_eq!(parameters.get(specification.name), Some(value));
        }
        assert!(SPECIFICATIONS.windows(2).all(|pair| pair[0].name < pair[1].name), "by name, each once");
    }

    /// Catches: a model that changes under a running node, and a refusal that does not say why.
    #[test]
    fn read_only_parameters_are_refused_with_the_reason() {
        let mut parameters = Parameters::default();
        parameters.declare("model", Value::Text("a".into())).unwrap();
        let reason = parameters.set("model", Value::Text("b".into())).unwrap_err();
        assert_eq!(reason, "`model` is read-only: start the node anew with -p model:=VALUE");
        assert_eq!(parameters.model, PathBuf::from("a"));
    }

    /// Catches: a value out of range that is accepted, one that is clipped in silence, one that is set before it is refused.
    #[test]
    fn values_that_do_not_fit_are_refused_with_what_is_expected() {
        let mut parameters = Parameters::default();
        let before = parameters.clone();
        let cases = [
            ("top_k", Value::Integer(0), "`top_k`: expected an integer of 1 to 16, found the integer 0"),
            ("top_k", Value::Double(2.0), "`top_k`: expected an integer of 1 to 16, found the double 2"),
            ("max_rate", Value::Double(f64::NAN), "`max_rate`: expected a number of 0 to 1000, found the double NaN"),
            ("min_probability", Value::Double(1.5), "expected a number of 0 to 1"),
            ("pixel_format", Value::Text("rgb9".into()), "expected auto or one of rgb8, bgr8"),
            ("adaptation", Value::Text("{\"epochs\":0}".into()), "`adaptation`: "),
            ("adaptation", Value::Text("{\"epoch\":1}".into()), "unknown field `epoch`"),
            ("use_sim_time", Value::Bool(true), "there is no parameter `use_sim_time`: expected one of adaptation"),
        ];
        for (name, value, expected) in cases {
            let reason = parameters.set(name, value).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
        assert!(parameters == before);
        assert_eq!(parameters.set("max_rate", Value::Integer(10)), Ok(()), "a number without its point");
        assert_eq!(parameters.interval(), Duration::from_millis(100));
    }
}
