//! The names that a pickle may mention, and what becomes of each. An allow-list: what stands here has a meaning; what
//! is part of Python's library, and does not stand here, is refused at the mention; any other name is an inert token.

use crate::tensor_type::TensorType;

use super::stdlib;

/// A name with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// `collections.OrderedDict` and other mappings.
    Mapping,
    /// `set`, `list` and other sequences.
    Sequence,
    /// A class of storages and the type of its elements; `None` for bytes.
    Storage(Option<TensorType>),
    /// A type of elements that a tensor may have.
    Dtype(TensorType),
    /// `torch._utils._rebuild_tensor`, and the versions 2 and 3 of it.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter` and `_rebuild_parameter_with_state`.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`.
    RebuildFromType,
    /// A class that a tensor may have: `torch.Tensor`, `torch.nn.parameter.Parameter`.
    TensorClass,
    /// `torch.nn.modules.container.ParameterDict`: a mapping in the clothes of an object.
    ParameterDict,
    /// A class whose instances are data that do not matter here: a numpy scalar, a path, a date.
    Data,
}

/// What becomes of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Known(Name),
    /// Inert. It may be called where `may_be_called`: the call makes an inert object.
    Foreign {
        may_be_called: bool,
    },
    /// Part of Python, and none of the names above.
    Refused,
}

/// Looks a name up.
pub(super) fn verdict(module: &str, name: &str) -> Verdict {
    if let Some(known) = known(module, name) {
        return Verdict::Known(known);
    }
    if stdlib::contains(module) {
        return Verdict::Refused;
    }
    let root = module.split('.').next().unwrap_or(module);
    // torch and numpy can run code in many ways (`torch.load`, `torch.hub.load`, `numpy.load`); of other packages only
    // classes may be instantiated, which Python spells with a capital. Nothing is run in either case: this names attacks.
    let own = matches!(root, "torch" | "numpy");
    let is_class = name.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_uppercase()));
    Verdict::Foreign { may_be_called: is_class && !own }
}

fn known(module: &str, name: &str) -> Option<Name> {
    Some(match (module, name) {
        ("collections", "OrderedDict" | "defaultdict" | "Counter")
        | ("builtins" | "__builtin__", "dict")
        | ("argparse", "Namespace")
        | ("types", "SimpleNamespace") => Name::Mapping,
        ("builtins" | "__builtin__", "set" | "frozenset" | "list" | "tuple")
        | ("collections", "deque")
        | ("torch", "Size") => Name::Sequence,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3") => Name::RebuildTensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Name::RebuildParameter,
        ("torch._tensor", "_rebuild_from_type_v2") => Name::RebuildFromType,
        ("torch", "Tensor") | ("torch.nn.parameter", "Parameter" | "Buffer") => Name::TensorClass,
        ("torch.nn.modules.container", "ParameterDict") => Name::ParameterDict,
        ("torch" | "torch.cuda" | "torch.storage", class) if class.ends_with("Storage") => storage(class)?,
        ("torch", dtype) => return dtype_of(dtype).map(Name::Dtype).or((dtype == "device").then_some(Name::Data)),
        (module, name) if is_data(module, name) => Name::Data,
        ("numpy.dtypes", class) if class.ends_with("DType") => Name::Data,
        _ => return None,
    })
}

/// Classes and functions that make data: numbers, texts, dates, paths, numpy's scalars and arrays.
fn is_data(module: &str, name: &str) -> bool {
    let names: &[&str] = match module {
        "builtins" | "__builtin__" => &[
            "int",
            "float",
            "bool",
            "str",
            "bytes",
            "bytearray",
            "complex",
            "object",
            "range",
            "xrange",
            "slice",
            "unicode",
            "long",
        ],
        "copyreg" | "copy_reg" => &["_reconstructor"],
        "_codecs" => &["encode"],
        "datetime" => &["datetime", "date", "time", "timedelta", "timezone"],
        "decimal" => &["Decimal"],
        "fractions" => &["Fraction"],
        "uuid" => &["UUID"],
        "pathlib" | "pathlib._local" => &["PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"],
        "numpy" => &["dtype", "ndarray", "bool_", "int32", "int64", "float16", "float32", "float64"],
        "numpy.core.multiarray" | "numpy._core.multiarray" | "numpy.core.numeric" | "numpy._core.numeric" => {
            &["scalar", "_reconstruct", "_frombuffer"]
        }
        _ => &[],
    };
    names.contains(&name)
}

fn storage(class: &str) -> Option<Name> {
    Some(Name::Storage(Some(match class {
        "FloatStorage" => TensorType::F32,
        "DoubleStorage" => TensorType::F64,
        "HalfStorage" => TensorType::F16,
        "BFloat16Storage" => TensorType::BF16,
        "ByteStorage" => TensorType::U8,
        "CharStorage" => TensorType::I8,
        "ShortStorage" => TensorType::I16,
        "IntStorage" => TensorType::I32,
        "LongStorage" => TensorType::I64,
        "BoolStorage" => TensorType::Bool,
        "UntypedStorage" => return Some(Name::Storage(None)),
        _ => return None,
    })))
}

fn dtype_of(name: &str) -> Option<TensorType> {
    Some(match name {
        "float32" | "float" => TensorType::F32,
        "float64" | "double" => TensorType::F64,
        "float16" | "half" => TensorType::F16,
        "bfloat16" => TensorType::BF16,
        "float8_e4m3fn" => TensorType::F8E4M3,
        "float8_e5m2" => TensorType::F8E5M2,
        "uint8" => TensorType::U8,
        "int8" => TensorType::I8,
        "uint16" => TensorType::U16,
        "int16" | "short" => TensorType::I16,
        "uint32" => TensorType::U32,
        "int32" | "int" => TensorType::I32,
        "uint64" => TensorType::U64,
        "int64" | "long" => TensorType::I64,
        "bool" => TensorType::Bool,
        _ => return None,
    })
}
