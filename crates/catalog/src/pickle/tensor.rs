//! The two things of torch's in a pickle: storages, which persistent ids name, and tensors, which are views of them.

use super::globals::Name;
use super::limits;
use super::reader::Refusal;
use super::value::{Object, Storage, Tensor, Tree, Value};

/// `("storage", class, key, device, count)`, and as a sixth `None` or `(key, first, count)` of a view.
pub(super) fn storage(tree: &Tree<'_>, id: Value) -> Result<Storage, Refusal> {
    let Some(Object::Tuple(parts)) = tree.of(id) else {
        return Err("a persistent id that is no tuple; torch writes none".to_owned());
    };
    let (tag, rest) = match parts.as_slice() {
        [Value::Text(tag), rest @ ..] => (tree.text(*tag), rest),
        _ => return Err("a persistent id that does not say what it is of".to_owned()),
    };
    if tag == "module" {
        return Err("it holds a whole model with its program; save its state_dict() instead".to_owned());
    }
    let (class, key, count, view) = match rest {
        [class, Value::Text(key), Value::Text(_), Value::Int(count)] => (class, key, count, None),
        [class, Value::Text(key), Value::Text(_), Value::Int(count), view] => (class, key, count, Some(*view)),
        _ => return Err("a persistent id that is not of a storage".to_owned()),
    };
    if tag != "storage" {
        return Err("a persistent id that is not of a storage".to_owned());
    }
    let Some(Object::Known(Name::Storage(dtype))) = tree.of(*class) else {
        return Err("a storage of a type that is not known".to_owned());
    };
    let view = match view.map(|view| (view, tree.items(view))) {
        None | Some((Value::None, _)) => None,
        Some((_, Some([_, Value::Int(first), Value::Int(count)]))) => Some((natural(*first)?, natural(*count)?)),
        Some(_) => return Err("a view of a storage that cannot be read".to_owned()),
    };
    Ok(Storage { dtype: *dtype, key: *key, count: natural(*count)?, view })
}

/// The arguments of `_rebuild_tensor` (storage, offset, shape, strides), of `_v2` (also: requires grad, hooks, metadata)
/// and of `_v3` (also, before the metadata: dtype).
pub(super) fn rebuild(tree: &Tree<'_>, args: &[Value]) -> Result<Tensor, Refusal> {
    let [storage, Value::Int(offset), shape, strides, rest @ ..] = args else {
        return Err("a tensor with arguments that are not torch's".to_owned());
    };
    let Value::Object(id) = *storage else { return Err("a tensor without a storage".to_owned()) };
    if !matches!(tree.of(*storage), Some(Object::Storage(_))) {
        return Err("a tensor without a storage".to_owned());
    }
    let mut dtype = None;
    for value in rest {
        match tree.of(*value) {
            Some(Object::Known(Name::Dtype(named))) => dtype = Some(*named),
            Some(Object::Dict(hooks)) if hooks.is_empty() => {}
            // `metadata` of v2: flags such as {"conj": True}, which would change what the bytes mean.
            Some(_) => return Err("a tensor with hooks or flags, which are not read".to_owned()),
            None => {}
        }
    }
    let (shape, strides) = (naturals(tree, *shape)?, naturals(tree, *strides)?);
    if shape.len() != strides.len() {
        return Err(format!("a tensor of {} axes with {} strides", shape.len(), strides.len()));
    }
    Ok(Tensor { storage: id, dtype, offset: natural(*offset)?, shape, strides })
}

fn natural(number: i64) -> Result<u64, Refusal> {
    u64::try_from(number).map_err(|_| format!("{number} where a size is needed"))
}

fn naturals(tree: &Tree<'_>, values: Value) -> Result<Vec<u64>, Refusal> {
    let Some(items) = tree.items(values) else { return Err("a tensor whose shape is no tuple".to_owned()) };
    if items.len() > limits::AXES {
        return Err(format!("a tensor of {} axes, at most {} are read", items.len(), limits::AXES));
    }
    items
        .iter()
        .map(|item| {
            let Value::Int(number) = item else { return Err("a tensor whose shape is not of numbers".to_owned()) };
            natural(*number)
        })
        .collect()
}
