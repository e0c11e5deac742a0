//! Pickle globals: the names that a checkpoint's pickle may refer to, and their meaning. Nothing named here is executed.
//!
//! The list covers what `torch.load(…, weights_only=True)` accepts, and the plain data that training programs keep beside
//! the weights: arguments, numbers of numpy, dates, paths.

use super::storage::Element;

/// Meaning of a global name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// A dictionary's class.
    Dict,
    /// A tensor of a storage, its offset, its shape and its strides.
    RebuildTensor,
    /// The same, and the tensor's type, where the storage is untyped.
    RebuildTypedTensor,
    /// A tensor that is the first argument: a parameter, or one that moved from another device.
    RebuildParameter,
    /// A call of another of these, on a tensor with attributes.
    RebuildFromType,
    /// A tensor without plain values of its own.
    RebuildUnusable(Unusable),
    /// A storage's class.
    Storage(Element),
    /// A tensor's type.
    Dtype(Element),
    /// Data that is of no use for inference: whatever is made of it is skipped.
    Data,
    /// A class or function of the program that saved the checkpoint. Objects of such a class are skipped, a call of it is
    /// refused.
    Foreign,
    /// Function that acts on the system, and is refused.
    Refused,
}

/// Tensor without plain values of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unusable {
    /// What it is.
    pub what: &'static str,
    /// How to make a plain one of it.
    pub advice: &'static str,
}

const QUANTISED: Unusable =
    Unusable { what: "a quantised tensor", advice: "save the network before it is quantised, or tensor.dequantize()" };
const SPARSE: Unusable = Unusable { what: "a sparse tensor", advice: "save tensor.to_dense()" };
const NESTED: Unusable = Unusable { what: "a nested tensor", advice: "save plain tensors" };
const META: Unusable = Unusable {
    what: "a tensor of the meta device, without values",
    advice: "save the network once its weights are loaded",
};
const WRAPPER: Unusable = Unusable {
    what: "a tensor of a class that wraps others",
    advice: "save tensor.full_tensor() of a distributed one (DTensor), and tensor.dequantize() of a quantised one",
};
const OTHER_DEVICE: Unusable =
    Unusable { what: "a tensor of a device that has its values in another form", advice: "save tensor.cpu()" };

/// Modules whose names are refused wherever they stand.
const REFUSED_MODULES: &[&str] = &[
    "__builtin__",
    "builtins",
    "commands",
    "ctypes",
    "importlib",
    "nt",
    "os",
    "posix",
    "pty",
    "runpy",
    "shutil",
    "socket",
    "subprocess",
    "sys",
];

/// Classes and functions of plain data, by module.
const DATA: &[(&str, &[&str])] = &[
    ("_codecs", &["encode"]),
    ("argparse", &["Namespace"]),
    ("builtins", PLAIN_TYPES),
    ("__builtin__", PLAIN_TYPES),
    ("collections", &["Counter", "deque"]),
    ("copy_reg", &["_reconstructor"]),
    ("copyreg", &["_reconstructor"]),
    ("datetime", &["date", "datetime", "time", "timedelta", "timezone"]),
    ("decimal", &["Decimal"]),
    ("fractions", &["Fraction"]),
    ("functools", &["partial"]),
    ("numpy", &["dtype", "ndarray"]),
    ("numpy._core.multiarray", NUMPY_VALUES),
    ("numpy._core.numeric", &["_frombuffer"]),
    ("numpy.core.multiarray", NUMPY_VALUES),
    ("numpy.core.numeric", &["_frombuffer"]),
    ("numpy.random._pickle", &["__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"]),
    ("numpy.random.bit_generator", &["SeedSequence", "__pyx_unpickle_SeedSequence"]),
    ("pathlib", PATHS),
    ("pathlib._local", PATHS),
    ("time", &["struct_time"]),
    ("torch", &["Generator", "Size", "Tensor", "device"]),
    ("torch.serialization", &["_get_layout"]),
    ("types", &["SimpleNamespace"]),
    ("uuid", &["SafeUUID", "UUID"]),
];

const PLAIN_TYPES: &[&str] = &[
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "long",
    "object",
    "range",
    "set",
    "slice",
    "str",
    "tuple",
    "type",
    "unicode",
    "xrange",
];
const NUMPY_VALUES: &[&str] = &["_reconstruct", "scalar"];
const PATHS: &[&str] = &["Path", "PosixPath", "PureWindowsPath", "PurePath", "PurePosixPath", "WindowsPath"];

/// Returns the meaning of a global name.
pub(super) fn find(module: &str, name: &str) -> Global {
    match module {
        "collections" if ["OrderedDict", "defaultdict"].contains(&name) => Global::Dict,
        "torch._utils" | "torch._tensor" => rebuild(name),
        "torch" if dtype(name).is_some() => dtype(name).map_or(Global::Foreign, Global::Dtype),
        "torch" | "torch.storage" if Element::of_storage(name).is_some() => {
            Element::of_storage(name).map_or(Global::Foreign, Global::Storage)
        }
        _ if is_data(module, name) => Global::Data,
        _ if REFUSED_MODULES.contains(&module.split('.').next().unwrap_or_default()) => Global::Refused,
        _ => Global::Foreign,
    }
}

fn is_data(module: &str, name: &str) -> bool {
    let is_listed = DATA.iter().any(|(listed, names)| *listed == module && names.contains(&name));
    is_listed || module == "numpy.dtypes"
}

fn rebuild(name: &str) -> Global {
    match name {
        "_rebuild_tensor" | "_rebuild_tensor_v2" => Global::RebuildTensor,
        "_rebuild_tensor_v3" => Global::RebuildTypedTensor,
        "_rebuild_parameter" | "_rebuild_parameter_with_state" | "_rebuild_device_tensor_from_cpu_tensor" => {
            Global::RebuildParameter
        }
        "_rebuild_from_type_v2" => Global::RebuildFromType,
        "_rebuild_qtensor" => Global::RebuildUnusable(QUANTISED),
        "_rebuild_sparse_tensor" => Global::RebuildUnusable(SPARSE),
        "_rebuild_nested_tensor" => Global::RebuildUnusable(NESTED),
        "_rebuild_meta_tensor_no_storage" => Global::RebuildUnusable(META),
        "_rebuild_wrapper_subclass" => Global::RebuildUnusable(WRAPPER),
        "_rebuild_device_tensor_from_numpy" | "_rebuild_xla_tensor" => Global::RebuildUnusable(OTHER_DEVICE),
        _ => Global::Foreign,
    }
}

fn dtype(name: &str) -> Option<Element> {
    Some(match name {
        "float16" | "half" => Element::F16,
        "bfloat16" => Element::Bf16,
        "float32" | "float" => Element::F32,
        "float64" | "double" => Element::F64,
        "int64" | "long" => Element::Other("int64", 8),
        "uint64" => Element::Other("uint64", 8),
        "int32" | "int" => Element::Other("int32", 4),
        "uint32" => Element::Other("uint32", 4),
        "int16" | "short" => Element::Other("int16", 2),
        "uint16" => Element::Other("uint16", 2),
        "int8" => Element::Other("int8", 1),
        "uint8" => Element::Other("uint8", 1),
        "bool" => Element::Other("bool", 1),
        "complex64" | "cfloat" => Element::Other("complex64", 8),
        "complex128" | "cdouble" => Element::Other("complex128", 16),
        "float8_e4m3fn" | "float8_e4m3fnuz" | "float8_e5m2" | "float8_e5m2fnuz" | "float8_e8m0fnu" => {
            Element::Other("float8", 1)
        }
        "qint8" | "quint8" => Element::Other("a quantised integer", 1),
        "qint32" => Element::Other("a quantised integer", 4),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a name that runs code put among the data, or a plain type taken for one that does.
    #[test]
    fn names_that_act_are_refused_and_plain_data_is_not() {
        for (module, name) in
            [("os", "system"), ("builtins", "eval"), ("__builtin__", "getattr"), ("importlib.util", "find_spec")]
        {
            assert_eq!(find(module, name), Global::Refused, "{module}.{name}");
        }
        for (module, name) in [("torch", "load"), ("torch.storage", "_load_from_bytes"), ("numpy", "load")] {
            assert_eq!(find(module, name), Global::Foreign, "{module}.{name}");
        }
        for (module, name) in [("builtins", "set"), ("argparse", "Namespace"), ("numpy._core.multiarray", "scalar")] {
            assert_eq!(find(module, name), Global::Data, "{module}.{name}");
        }
        assert_eq!(find("torch", "float32"), Global::Dtype(Element::F32));
        assert_eq!(find("torch", "BFloat16Storage"), Global::Storage(Element::Bf16));
    }
}
