//! Functions over ARRAY, MAP and ROW.
//!
//! Results are put together by place: for every element of the result, where it stands among the
//! arguments. So one code serves every element type.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, MapBuilder, NullBufferBuilder, StringBuilder, StructArray,
    make_comparator, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, interleave};
use arrow::datatypes::{self as a, DataType as ArrowType};
use millrace_core::{Error, Result};

use super::comparison::align;
use super::equality::equal;
use super::support::{
    boolean, booleans, int, is_null_type, kind, literal_integer, literal_string, primitives, strict, string,
    string_kind, strings, to_kind, try_primitives,
};
use crate::cast::common_type;
use crate::function::{Call, Function, Resolution};
use crate::value::{Value, arrow_error, with_type};
use crate::{DataType, Expr, Field, TypeKind};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::eager("ARRAY", "ARRAY[any, ...] of a common type", array_type, array),
    Function::eager("MAP", "MAP[key, value, ...] of common types", map_type, map),
    Function::eager("ROW", "ROW(any, ...)", row_type, row),
    Function::eager("FIELD", "row.field", field_type, field),
    Function::eager("ITEM", "array[integer], map[key]", item_type, item).fallible(),
    Function::eager(
        "CARDINALITY",
        "CARDINALITY(array or map)",
        cardinality_type,
        cardinality,
    ),
    Function::eager("ELEMENT", "ELEMENT(array)", element_type, element).fallible(),
    Function::eager(
        "ARRAY_CONTAINS",
        "ARRAY_CONTAINS(array, element)",
        contains_type,
        |call| {
            let (lists, needle) = (call.args[0].lists(), &call.args[1]);
            booleans(call.rows, |row| {
                let list = lists.get(row)?;
                let at = needle.index(row);
                Some((0..list.len()).any(|i| equal(&list, i, needle.inner(), at)))
            })
        },
    ),
    Function::eager(
        "ARRAY_POSITION",
        "ARRAY_POSITION(array, element)",
        position_type,
        |call| {
            let (lists, needle) = (call.args[0].lists(), &call.args[1]);
            primitives::<a::Int32Type>(call.rows, |row| {
                let list = lists.get(row)?;
                if needle.is_null(row) {
                    return None;
                }
                let at = needle.index(row);
                Some(
                    (0..list.len())
                        .position(|i| equal(&list, i, needle.inner(), at))
                        .map_or(0, |i| i as i32 + 1),
                )
            })
        },
    ),
    Function::eager(
        "ARRAY_JOIN",
        "ARRAY_JOIN(ARRAY<STRING>, STRING [, STRING])",
        join_type,
        join,
    ),
    Function::eager("ARRAY_DISTINCT", "ARRAY_DISTINCT(array)", one_list, |call| {
        select(call, |list, _| unique(list, (0..list.len()).collect()))
    }),
    Function::eager("ARRAY_REVERSE", "ARRAY_REVERSE(array)", one_list, |call| {
        select(call, |list, _| (0..list.len()).rev().collect())
    }),
    Function::eager(
        "ARRAY_SLICE",
        "ARRAY_SLICE(array, INT [, INT])",
        slice_type,
        slice,
    ),
    Function::eager(
        "ARRAY_REMOVE",
        "ARRAY_REMOVE(array, element)",
        remove_type,
        |call| {
            let needle = &call.args[1];
            select(call, |list, row| {
                (0..list.len())
                    .filter(|i| !equal(list, *i, needle.inner(), needle.index(row)))
                    .collect()
            })
        },
    ),
    Function::eager(
        "ARRAY_SORT",
        "ARRAY_SORT(array [, BOOLEAN ascending [, BOOLEAN nulls first]])",
        sort_type,
        sort,
    ),
    Function::eager("ARRAY_CONCAT", "ARRAY_CONCAT(array, ...)", concat_type, |call| {
        combine(call, |lists| {
            lists
                .iter()
                .enumerate()
                .flat_map(|(i, l)| (0..l.len()).map(move |k| (i, k)))
                .collect()
        })
    }),
    Function::eager("ARRAY_UNION", "ARRAY_UNION(array, array)", two_lists, |call| {
        combine(call, |lists| {
            let all = lists
                .iter()
                .enumerate()
                .flat_map(|(i, l)| (0..l.len()).map(move |k| (i, k)))
                .collect();
            unique_places(lists, all)
        })
    }),
    Function::eager(
        "ARRAY_INTERSECT",
        "ARRAY_INTERSECT(array, array)",
        two_lists,
        |call| combine(call, |lists| common(lists, true)),
    ),
    Function::eager("ARRAY_EXCEPT", "ARRAY_EXCEPT(array, array)", two_lists, except),
    Function::eager(
        "ARRAY_APPEND",
        "ARRAY_APPEND(array, element)",
        append_type,
        |call| append(call, false),
    ),
    Function::eager(
        "ARRAY_PREPEND",
        "ARRAY_PREPEND(array, element)",
        append_type,
        |call| append(call, true),
    ),
    Function::eager("ARRAY_MAX", "ARRAY_MAX(array)", extreme_type, |call| {
        extreme(call, Ordering::Greater)
    }),
    Function::eager("ARRAY_MIN", "ARRAY_MIN(array)", extreme_type, |call| {
        extreme(call, Ordering::Less)
    }),
    Function::eager("MAP_KEYS", "MAP_KEYS(map)", keys_type, |call| {
        part_of_map(call, 0)
    }),
    Function::eager("MAP_VALUES", "MAP_VALUES(map)", values_type, |call| {
        part_of_map(call, 1)
    }),
    Function::eager("MAP_ENTRIES", "MAP_ENTRIES(map)", entries_type, |call| {
        let map = call.args[0].maps().array;
        let ArrowType::List(field) = call.data_type.to_arrow() else {
            return Err(not_list());
        };
        let entries = with_type(Arc::new(map.entries().clone()), field.data_type())?;
        list(field, map.offsets().clone(), entries, map.nulls().cloned())
    }),
    Function::eager(
        "MAP_FROM_ARRAYS",
        "MAP_FROM_ARRAYS(array, array)",
        from_arrays_type,
        from_arrays,
    )
    .fallible(),
    Function::eager("MAP_UNION", "MAP_UNION(map, ...)", union_type, union),
];

/// A builder of MAP<STRING, STRING>.
pub(super) fn map_builder() -> MapBuilder<StringBuilder, StringBuilder> {
    MapBuilder::new(None, StringBuilder::new(), StringBuilder::new())
}

fn not_list() -> Error {
    Error::internal("an array function gives no array")
}

fn element_of(arg: &Expr) -> Option<DataType> {
    match kind(arg) {
        TypeKind::Array(element) => Some((**element).clone()),
        _ => None,
    }
}

/// Casts all these arguments to their common type, elements nullable if some argument is.
fn unify(args: &mut [&mut Expr]) -> Option<DataType> {
    let types: Vec<DataType> = args.iter().map(|a| a.data_type().clone()).collect();
    let common = common_type(&types)?;
    for arg in args.iter_mut() {
        to_kind(arg, &common.kind);
    }
    Some(common)
}

fn array_type(args: &mut Vec<Expr>) -> Resolution {
    if args.is_empty() {
        return Resolution::Refused(Error::unsupported("an ARRAY without elements"));
    }
    match unify(&mut args.iter_mut().collect::<Vec<_>>()) {
        Some(element) => Resolution::Type(DataType::not_null(TypeKind::Array(Box::new(element)))),
        None => Resolution::Mismatch,
    }
}

fn map_type(args: &mut Vec<Expr>) -> Resolution {
    if args.is_empty() || !args.len().is_multiple_of(2) {
        return Resolution::Mismatch;
    }
    let mut keys = Vec::new();
    let mut values = Vec::new();
    for (i, arg) in args.iter_mut().enumerate() {
        if i % 2 == 0 {
            keys.push(arg)
        } else {
            values.push(arg)
        }
    }
    match (unify(&mut keys), unify(&mut values)) {
        (Some(key), Some(_)) if key.nullable => {
            Resolution::Refused(Error::unsupported("a MAP with keys that may be NULL"))
        }
        (Some(key), Some(value)) => {
            Resolution::Type(DataType::not_null(TypeKind::Map(Box::new(key), Box::new(value))))
        }
        _ => Resolution::Mismatch,
    }
}

fn row_type(args: &mut Vec<Expr>) -> Resolution {
    if args.is_empty() {
        return Resolution::Mismatch;
    }
    let fields = args
        .iter()
        .enumerate()
        .map(|(i, arg)| Field::new(format!("EXPR${i}"), arg.data_type().clone()))
        .collect();
    Resolution::Type(DataType::not_null(TypeKind::Row(fields)))
}

fn field_type(args: &mut Vec<Expr>) -> Resolution {
    let [row, name] = args.as_slice() else {
        return Resolution::Mismatch;
    };
    let (TypeKind::Row(fields), Some(name)) = (kind(row), literal_string(name)) else {
        return Resolution::Mismatch;
    };
    match fields.iter().find(|f| f.name == name) {
        Some(field) => {
            let nullable = field.data_type.nullable || row.data_type().nullable;
            Resolution::Type(field.data_type.clone().with_nullable(nullable))
        }
        None => {
            let names = fields
                .iter()
                .map(|f| f.name.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            Resolution::Refused(
                Error::user(format!("unknown field {name}")).with_detail(format!("the row has: {names}")),
            )
        }
    }
}

fn item_type(args: &mut Vec<Expr>) -> Resolution {
    let [container, index] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    match kind(container).clone() {
        TypeKind::Array(element) if super::support::bigint(index) => {
            if let Some(index) = literal_integer(index).filter(|i| *i < 1) {
                return Resolution::Refused(Error::user(format!(
                    "an element of an array has a position from 1, not {index}"
                )));
            }
            Resolution::Type(element.with_nullable(true))
        }
        TypeKind::Map(key, value) => {
            let mut other = Expr::literal(crate::Scalar::Null, (*key).clone());
            let mut given = index.clone();
            if !align(&mut given, &mut other) || other.data_type().kind != key.kind {
                return Resolution::Mismatch;
            }
            let mut kind = key.kind.clone();
            // Strings compare whatever their lengths.
            if index.data_type().is_string() {
                kind = super::support::kind(index).clone();
            }
            to_kind(index, &kind);
            Resolution::Type(value.with_nullable(true))
        }
        _ => Resolution::Mismatch,
    }
}

fn cardinality_type(args: &mut Vec<Expr>) -> Resolution {
    match args.as_slice() {
        [arg]
            if matches!(
                kind(arg),
                TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_)
            ) =>
        {
            strict(TypeKind::Int, args)
        }
        _ => Resolution::Mismatch,
    }
}

fn element_type(args: &mut Vec<Expr>) -> Resolution {
    match args.as_slice() {
        [arg] => element_of(arg).map(|e| e.with_nullable(true)).into(),
        _ => Resolution::Mismatch,
    }
}

/// An array and a value of its element's type, which only nullability and string lengths may
/// differ from.
fn with_element(args: &mut [Expr]) -> Option<DataType> {
    let [list, value] = args else { return None };
    let element = element_of(list)?;
    if is_null_type(value) {
        to_kind(value, &element.kind);
    }
    let same = value.data_type().kind == element.kind
        || (value.data_type().is_string() && element.is_string())
        || common_type(&[value.data_type().clone(), element.clone()]).is_some_and(|c| c.kind == element.kind);
    if !same {
        return None;
    }
    if !value.data_type().is_string() {
        to_kind(value, &element.kind);
    }
    Some(element)
}

fn contains_type(args: &mut Vec<Expr>) -> Resolution {
    match with_element(args) {
        Some(_) => {
            let nullable = args[0].data_type().nullable;
            Resolution::Type(DataType {
                kind: TypeKind::Boolean,
                nullable,
            })
        }
        None => Resolution::Mismatch,
    }
}

fn position_type(args: &mut Vec<Expr>) -> Resolution {
    if with_element(args).is_some() {
        strict(TypeKind::Int, args)
    } else {
        Resolution::Mismatch
    }
}

fn remove_type(args: &mut Vec<Expr>) -> Resolution {
    if with_element(args).is_some() {
        Resolution::Type(args[0].data_type().clone())
    } else {
        Resolution::Mismatch
    }
}

fn append_type(args: &mut Vec<Expr>) -> Resolution {
    let Some(element) = with_element(args) else {
        return Resolution::Mismatch;
    };
    let nullable = element.nullable || args[1].data_type().nullable;
    let common = common_type(&[element.clone(), args[1].data_type().clone()]);
    let element = common.unwrap_or(element).with_nullable(nullable);
    Resolution::Type(DataType {
        kind: TypeKind::Array(Box::new(element)),
        nullable: args[0].data_type().nullable || args[1].data_type().nullable,
    })
}

fn join_type(args: &mut Vec<Expr>) -> Resolution {
    let [list, texts @ ..] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    let fits = element_of(list).is_some_and(|e| e.is_string())
        && matches!(texts.len(), 1 | 2)
        && texts.iter_mut().all(string);
    if fits {
        strict(string_kind(), args)
    } else {
        Resolution::Mismatch
    }
}

fn one_list(args: &mut Vec<Expr>) -> Resolution {
    match args.as_slice() {
        [arg] if element_of(arg).is_some() => Resolution::Type(arg.data_type().clone()),
        _ => Resolution::Mismatch,
    }
}

fn slice_type(args: &mut Vec<Expr>) -> Resolution {
    let [list, bounds @ ..] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    if element_of(list).is_none() || !matches!(bounds.len(), 1 | 2) || !bounds.iter_mut().all(int) {
        return Resolution::Mismatch;
    }
    let kind = kind(list).clone();
    strict(kind, args)
}

fn sort_type(args: &mut Vec<Expr>) -> Resolution {
    let [list, flags @ ..] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    let comparable = element_of(list).is_some_and(|e| is_ordered(&e.kind));
    if !comparable || flags.len() > 2 || !flags.iter_mut().all(boolean) {
        return Resolution::Mismatch;
    }
    let kind = kind(list).clone();
    strict(kind, args)
}

fn is_ordered(kind: &TypeKind) -> bool {
    !matches!(
        kind,
        TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_) | TypeKind::Null
    )
}

fn concat_type(args: &mut Vec<Expr>) -> Resolution {
    if args.is_empty() || args.iter().any(|a| element_of(a).is_none()) {
        return Resolution::Mismatch;
    }
    unify(&mut args.iter_mut().collect::<Vec<_>>()).into()
}

fn two_lists(args: &mut Vec<Expr>) -> Resolution {
    if args.len() == 2 {
        concat_type(args)
    } else {
        Resolution::Mismatch
    }
}

fn extreme_type(args: &mut Vec<Expr>) -> Resolution {
    match args.as_slice() {
        [arg] => element_of(arg)
            .filter(|e| is_ordered(&e.kind))
            .map(|e| e.with_nullable(true))
            .into(),
        _ => Resolution::Mismatch,
    }
}

fn map_parts(arg: &Expr) -> Option<(DataType, DataType)> {
    match kind(arg) {
        TypeKind::Map(key, value) => Some(((**key).clone(), (**value).clone())),
        _ => None,
    }
}

fn one_map(args: &[Expr], element: impl Fn(DataType, DataType) -> DataType) -> Resolution {
    match args {
        [arg] => match map_parts(arg) {
            Some((key, value)) => strict(TypeKind::Array(Box::new(element(key, value))), args),
            None => Resolution::Mismatch,
        },
        _ => Resolution::Mismatch,
    }
}

fn keys_type(args: &mut Vec<Expr>) -> Resolution {
    one_map(args, |key, _| key)
}

fn values_type(args: &mut Vec<Expr>) -> Resolution {
    one_map(args, |_, value| value)
}

fn entries_type(args: &mut Vec<Expr>) -> Resolution {
    one_map(args, |key, value| {
        DataType::nullable(TypeKind::Row(vec![
            Field::new("key", key),
            Field::new("value", value),
        ]))
    })
}

fn from_arrays_type(args: &mut Vec<Expr>) -> Resolution {
    let [keys, values] = args.as_slice() else {
        return Resolution::Mismatch;
    };
    match (element_of(keys), element_of(values)) {
        (Some(key), Some(_)) if key.nullable => {
            Resolution::Refused(Error::unsupported("MAP_FROM_ARRAYS with keys that may be NULL"))
        }
        (Some(key), Some(value)) => strict(TypeKind::Map(Box::new(key), Box::new(value)), args),
        _ => Resolution::Mismatch,
    }
}

fn union_type(args: &mut Vec<Expr>) -> Resolution {
    if args.is_empty() || args.iter().any(|a| map_parts(a).is_none()) {
        return Resolution::Mismatch;
    }
    unify(&mut args.iter_mut().collect::<Vec<_>>()).into()
}

/// Where the elements of the result's lists stand: (source, position).
struct Lists {
    places: Vec<(usize, usize)>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Lists {
    fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Lists {
            places: Vec::new(),
            offsets,
            nulls: NullBufferBuilder::new(rows),
        }
    }

    fn push(&mut self, places: impl IntoIterator<Item = (usize, usize)>) {
        self.places.extend(places);
        self.nulls.append_non_null();
        self.offsets.push(self.places.len() as i32);
    }

    fn push_null(&mut self) {
        self.nulls.append_null();
        self.offsets.push(self.places.len() as i32);
    }

    fn gather(places: &[(usize, usize)], sources: &[ArrayRef], to: &ArrowType) -> Result<ArrayRef> {
        let sources = sources
            .iter()
            .map(|s| with_type(s.clone(), to))
            .collect::<Result<Vec<_>>>()?;
        let sources: Vec<&dyn Array> = sources.iter().map(|s| s.as_ref()).collect();
        if places.is_empty() || sources.is_empty() {
            return Ok(arrow::array::new_empty_array(to));
        }
        interleave(&sources, places).map_err(arrow_error)
    }

    fn finish(mut self, sources: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
        let ArrowType::List(field) = data_type.to_arrow() else {
            return Err(not_list());
        };
        let values = Self::gather(&self.places, sources, field.data_type())?;
        list(
            field,
            OffsetBuffer::new(self.offsets.into()),
            values,
            self.nulls.finish(),
        )
    }

    /// As maps; every place is of an entry, with the key in `keys` and the value in `values`.
    fn finish_map(
        mut self,
        keys: &[ArrayRef],
        values: &[ArrayRef],
        data_type: &DataType,
    ) -> Result<ArrayRef> {
        let ArrowType::Map(field, sorted) = data_type.to_arrow() else {
            return Err(not_list());
        };
        let ArrowType::Struct(fields) = field.data_type() else {
            return Err(not_list());
        };
        let columns = vec![
            Self::gather(&self.places, keys, fields[0].data_type())?,
            Self::gather(&self.places, values, fields[1].data_type())?,
        ];
        let entries = StructArray::try_new(fields.clone(), columns, None).map_err(arrow_error)?;
        let offsets = OffsetBuffer::new(self.offsets.into());
        let map = MapArray::try_new(field.clone(), offsets, entries, self.nulls.finish(), sorted);
        Ok(Arc::new(map.map_err(arrow_error)?))
    }
}

fn list(
    field: a::FieldRef,
    offsets: OffsetBuffer<i32>,
    values: ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let values = with_type(values, field.data_type())?;
    Ok(Arc::new(
        ListArray::try_new(field, offsets, values, nulls).map_err(arrow_error)?,
    ))
}

fn array(call: &Call<'_>) -> Result<ArrayRef> {
    let mut lists = Lists::new(call.rows);
    for row in 0..call.rows {
        lists.push(call.args.iter().enumerate().map(|(i, v)| (i, v.index(row))));
    }
    let sources: Vec<ArrayRef> = call.args.iter().map(|v| v.inner().clone()).collect();
    lists.finish(&sources, call.data_type)
}

/// Of equal keys the last one stays, at the place of the first.
fn last_of_equal(entries: Vec<(usize, usize)>, keys: &[ArrayRef]) -> Vec<(usize, usize)> {
    let mut kept: Vec<(usize, usize)> = Vec::with_capacity(entries.len());
    for (source, at) in entries {
        match kept
            .iter_mut()
            .find(|(s, k)| equal(&keys[*s], *k, &keys[source], at))
        {
            Some(same) => *same = (source, at),
            None => kept.push((source, at)),
        }
    }
    kept
}

fn map(call: &Call<'_>) -> Result<ArrayRef> {
    let part = |odd: usize| -> Vec<ArrayRef> {
        call.args
            .iter()
            .skip(odd)
            .step_by(2)
            .map(|v| v.inner().clone())
            .collect()
    };
    let (keys, values) = (part(0), part(1));
    // A key and its value may be of different lengths, if one of them is a scalar.
    let entries = call.args.len() / 2;
    let expand = |arrays: Vec<ArrayRef>, odd: usize| -> Result<Vec<ArrayRef>> {
        (0..entries)
            .map(|i| match &call.args[2 * i + odd] {
                Value::Array(array) => Ok(array.clone()),
                Value::Scalar(_) => crate::value::repeat(&arrays[i], call.rows),
            })
            .collect()
    };
    let (keys, values) = (expand(keys, 0)?, expand(values, 1)?);
    let mut lists = Lists::new(call.rows);
    for row in 0..call.rows {
        lists.push(last_of_equal((0..entries).map(|i| (i, row)).collect(), &keys));
    }
    lists.finish_map(&keys, &values, call.data_type)
}

fn row(call: &Call<'_>) -> Result<ArrayRef> {
    let ArrowType::Struct(fields) = call.data_type.to_arrow() else {
        return Err(Error::internal("ROW gives a row"));
    };
    let columns = call
        .args
        .iter()
        .zip(fields.iter())
        .map(|(v, field)| with_type(v.clone().into_array(call.rows)?, field.data_type()))
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(
        StructArray::try_new(fields, columns, None).map_err(arrow_error)?,
    ))
}

fn field(call: &Call<'_>) -> Result<ArrayRef> {
    let name = call.args[1].strings().get(0).unwrap_or_default();
    let row = call.args[0].inner().as_struct();
    let index = match &call.arg_types[0].kind {
        TypeKind::Row(fields) => fields.iter().position(|f| f.name == name),
        _ => None,
    };
    let column = index
        .map(|i| row.column(i))
        .ok_or_else(|| Error::internal(format!("a row without the field {name}")))?;
    if row.nulls().is_none_or(|n| n.null_count() == 0) || column.data_type() == &ArrowType::Null {
        return Ok(column.clone());
    }
    let nulls = NullBuffer::union(column.nulls(), row.nulls());
    let data = column
        .to_data()
        .into_builder()
        .nulls(nulls)
        .build()
        .map_err(arrow_error)?;
    Ok(arrow::array::make_array(data))
}

/// Takes one element for every row, from `sources` by place; none is null.
fn pick(
    call: &Call<'_>,
    source: &ArrayRef,
    place: impl Fn(usize) -> Result<Option<usize>>,
) -> Result<ArrayRef> {
    let to = call.data_type.to_arrow();
    let source = with_type(source.clone(), &to)?;
    let null = new_null_array(&to, 1);
    let places = (0..call.rows)
        .map(|row| Ok(place(row)?.map_or((1, 0), |at| (0, at))))
        .collect::<Result<Vec<_>>>()?;
    interleave(&[source.as_ref(), null.as_ref()], &places).map_err(arrow_error)
}

fn item(call: &Call<'_>) -> Result<ArrayRef> {
    let (container, index) = (&call.args[0], &call.args[1]);
    if let TypeKind::Array(_) = call.arg_types[0].kind {
        let lists = container.inner().as_list::<i32>();
        let positions = index.primitives::<a::Int64Type>();
        return pick(call, lists.values(), |row| {
            if container.is_null(row) {
                return Ok(None);
            }
            let Some(position) = positions.get(row) else {
                return Ok(None);
            };
            let at = container.index(row);
            let (start, length) = (
                lists.value_offsets()[at] as i64,
                i64::from(lists.value_length(at)),
            );
            Ok((1..=length)
                .contains(&position)
                .then(|| (start + position - 1) as usize))
        });
    }
    let maps = container.inner().as_map();
    pick(call, maps.values(), |row| {
        if container.is_null(row) || index.is_null(row) {
            return Ok(None);
        }
        let at = container.index(row);
        let (start, end) = (
            maps.value_offsets()[at] as usize,
            maps.value_offsets()[at + 1] as usize,
        );
        Ok((start..end).find(|i| equal(maps.keys(), *i, index.inner(), index.index(row))))
    })
}

fn cardinality(call: &Call<'_>) -> Result<ArrayRef> {
    let value = &call.args[0];
    let length: Box<dyn Fn(usize) -> i32> = match call.arg_types[0].kind {
        TypeKind::Array(_) => {
            let lists = value.inner().as_list::<i32>();
            Box::new(|at| lists.value_length(at))
        }
        _ => {
            let maps = value.inner().as_map();
            Box::new(|at| maps.value_length(at))
        }
    };
    primitives::<a::Int32Type>(call.rows, |row| {
        (!value.is_null(row)).then(|| length(value.index(row)))
    })
}

fn element(call: &Call<'_>) -> Result<ArrayRef> {
    let value = &call.args[0];
    let lists = value.inner().as_list::<i32>();
    pick(call, lists.values(), |row| {
        if value.is_null(row) {
            return Ok(None);
        }
        let at = value.index(row);
        match lists.value_length(at) {
            0 => Ok(None),
            1 => Ok(Some(lists.value_offsets()[at] as usize)),
            length => Err(Error::user(format!(
                "ELEMENT takes an array of one element, not of {length}"
            ))),
        }
    })
}

fn join(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, separators) = (call.args[0].lists(), call.args[1].strings());
    let replacements = call.args.get(2).map(Value::strings);
    strings(call.rows, |row, out| {
        let (Some(list), Some(separator)) = (lists.get(row), separators.get(row)) else {
            return false;
        };
        let replacement = match &replacements {
            None => None,
            Some(column) => match column.get(row) {
                Some(text) => Some(text),
                None => return false,
            },
        };
        let list = list.as_string::<i32>();
        let mut first = true;
        for i in 0..list.len() {
            let text = if list.is_valid(i) {
                Some(list.value(i))
            } else {
                replacement
            };
            let Some(text) = text else { continue };
            if !first {
                out.extend_from_slice(separator.as_bytes());
            }
            first = false;
            out.extend_from_slice(text.as_bytes());
        }
        true
    })
}

/// Keeps elements of the first argument, which `choose` names by their positions.
fn select(call: &Call<'_>, mut choose: impl FnMut(&ArrayRef, usize) -> Vec<usize>) -> Result<ArrayRef> {
    let value = &call.args[0];
    let array = value.inner().as_list::<i32>();
    let mut lists = Lists::new(call.rows);
    for row in 0..call.rows {
        if value.is_null(row) {
            lists.push_null();
            continue;
        }
        let at = value.index(row);
        let start = array.value_offsets()[at] as usize;
        lists.push(choose(&array.value(at), row).into_iter().map(|i| (0, start + i)));
    }
    lists.finish(&[array.values().clone()], call.data_type)
}

fn unique(list: &ArrayRef, positions: Vec<usize>) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::with_capacity(positions.len());
    for i in positions {
        if !kept.iter().any(|k| equal(list, *k, list, i)) {
            kept.push(i);
        }
    }
    kept
}

fn unique_places(lists: &[ArrayRef], places: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    let mut kept: Vec<(usize, usize)> = Vec::with_capacity(places.len());
    for (source, i) in places {
        if !kept.iter().any(|(s, k)| equal(&lists[*s], *k, &lists[source], i)) {
            kept.push((source, i));
        }
    }
    kept
}

/// Elements of the first list that the second has too, once each.
fn common(lists: &[ArrayRef], wanted: bool) -> Vec<(usize, usize)> {
    let found = |i: &usize| (0..lists[1].len()).any(|k| equal(&lists[0], *i, &lists[1], k));
    let places = (0..lists[0].len())
        .filter(|i| found(i) == wanted)
        .map(|i| (0, i))
        .collect();
    unique_places(lists, places)
}

fn except(call: &Call<'_>) -> Result<ArrayRef> {
    combine(call, |lists| common(lists, false))
}

fn slice(call: &Call<'_>) -> Result<ArrayRef> {
    let starts = call.args[1].primitives::<a::Int32Type>();
    let ends = call.args.get(2).map(|v| v.primitives::<a::Int32Type>());
    let list = &call.args[0];
    let array = list.inner().as_list::<i32>();
    let mut lists = Lists::new(call.rows);
    for row in 0..call.rows {
        let end = ends.as_ref().map_or(Some(i32::MAX), |e| e.get(row));
        let (false, Some(start), Some(end)) = (list.is_null(row), starts.get(row), end) else {
            lists.push_null();
            continue;
        };
        let at = list.index(row);
        let length = i64::from(array.value_length(at));
        let position = |index: i32| match i64::from(index) {
            0 => 1,
            negative @ ..0 => length + negative + 1,
            positive => positive,
        };
        let (from, to) = (position(start).max(1), position(end).min(length));
        let first = array.value_offsets()[at] as i64 - 1;
        lists.push((from..=to).map(|i| (0, (first + i) as usize)));
    }
    lists.finish(&[array.values().clone()], call.data_type)
}

/// NULL where a flag is.
fn sort(call: &Call<'_>) -> Result<ArrayRef> {
    let flag = |index: usize| call.args.get(index).map(Value::booleans);
    let (ascending, nulls_first) = (flag(1), flag(2));
    let value = &call.args[0];
    let array = value.inner().as_list::<i32>();
    let mut lists = Lists::new(call.rows);
    for row in 0..call.rows {
        let ascending = ascending.as_ref().map_or(Some(true), |f| f.get(row));
        let nulls_first = nulls_first
            .as_ref()
            .map_or(Some(ascending.unwrap_or(true)), |f| f.get(row));
        let (false, Some(ascending), Some(nulls_first)) = (value.is_null(row), ascending, nulls_first) else {
            lists.push_null();
            continue;
        };
        let at = value.index(row);
        let list = array.value(at);
        let options = SortOptions {
            descending: !ascending,
            nulls_first,
        };
        let compare = make_comparator(&list, &list, options).map_err(arrow_error)?;
        let mut positions: Vec<usize> = (0..list.len()).collect();
        positions.sort_by(|l, r| compare(*l, *r));
        let start = array.value_offsets()[at] as usize;
        lists.push(positions.into_iter().map(|i| (0, start + i)));
    }
    lists.finish(&[array.values().clone()], call.data_type)
}

/// Puts a list together from the lists of a row; null where one of them is.
fn combine(call: &Call<'_>, choose: impl Fn(&[ArrayRef]) -> Vec<(usize, usize)>) -> Result<ArrayRef> {
    let arrays: Vec<&ListArray> = call.args.iter().map(|v| v.inner().as_list::<i32>()).collect();
    let mut lists = Lists::new(call.rows);
    for row in 0..call.rows {
        if call.args.iter().any(|v| v.is_null(row)) {
            lists.push_null();
            continue;
        }
        let at: Vec<usize> = call.args.iter().map(|v| v.index(row)).collect();
        let of_row: Vec<ArrayRef> = arrays
            .iter()
            .zip(&at)
            .map(|(array, at)| array.value(*at))
            .collect();
        let starts: Vec<usize> = arrays
            .iter()
            .zip(&at)
            .map(|(array, at)| array.value_offsets()[*at] as usize)
            .collect();
        lists.push(
            choose(&of_row)
                .into_iter()
                .map(|(source, i)| (source, starts[source] + i)),
        );
    }
    let sources: Vec<ArrayRef> = arrays.iter().map(|a| a.values().clone()).collect();
    lists.finish(&sources, call.data_type)
}

fn append(call: &Call<'_>, before: bool) -> Result<ArrayRef> {
    let (list, value) = (&call.args[0], &call.args[1]);
    let array = list.inner().as_list::<i32>();
    let mut lists = Lists::new(call.rows);
    for row in 0..call.rows {
        if list.is_null(row) {
            lists.push_null();
            continue;
        }
        let at = list.index(row);
        let elements =
            (array.value_offsets()[at] as usize..array.value_offsets()[at + 1] as usize).map(|i| (0, i));
        let added = (1, value.index(row));
        if before {
            lists.push(std::iter::once(added).chain(elements));
        } else {
            lists.push(elements.chain(std::iter::once(added)));
        }
    }
    lists.finish(&[array.values().clone(), value.inner().clone()], call.data_type)
}

fn extreme(call: &Call<'_>, wanted: Ordering) -> Result<ArrayRef> {
    let value = &call.args[0];
    let array = value.inner().as_list::<i32>();
    let values = array.values();
    let compare = make_comparator(values, values, SortOptions::default()).map_err(arrow_error)?;
    pick(call, values, |row| {
        if value.is_null(row) {
            return Ok(None);
        }
        let at = value.index(row);
        let range = array.value_offsets()[at] as usize..array.value_offsets()[at + 1] as usize;
        Ok(range
            .filter(|i| values.is_valid(*i))
            .reduce(|best, i| if compare(i, best) == wanted { i } else { best }))
    })
}

fn part_of_map(call: &Call<'_>, column: usize) -> Result<ArrayRef> {
    let map = call.args[0].maps().array;
    let ArrowType::List(field) = call.data_type.to_arrow() else {
        return Err(not_list());
    };
    list(
        field,
        map.offsets().clone(),
        map.entries().column(column).clone(),
        map.nulls().cloned(),
    )
}

fn from_arrays(call: &Call<'_>) -> Result<ArrayRef> {
    let (keys, values) = (call.args[0].lists(), call.args[1].lists());
    // First the lengths: the error comes before anything is built.
    try_primitives::<a::Int32Type>(call.rows, |row| match (keys.get(row), values.get(row)) {
        (Some(keys), Some(values)) if keys.len() != values.len() => Err(Error::user(format!(
            "MAP_FROM_ARRAYS takes arrays of one length, not of {} and {}",
            keys.len(),
            values.len()
        ))),
        _ => Ok(None),
    })?;
    let mut lists = Lists::new(call.rows);
    let (mut key_arrays, mut value_arrays) = (Vec::new(), Vec::new());
    for row in 0..call.rows {
        let (Some(keys), Some(values)) = (keys.get(row), values.get(row)) else {
            lists.push_null();
            continue;
        };
        let source = key_arrays.len();
        let count = keys.len();
        key_arrays.push(keys);
        value_arrays.push(values);
        lists.push(last_of_equal(
            (0..count).map(|i| (source, i)).collect(),
            &key_arrays,
        ));
    }
    lists.finish_map(&key_arrays, &value_arrays, call.data_type)
}

fn union(call: &Call<'_>) -> Result<ArrayRef> {
    let maps: Vec<&MapArray> = call.args.iter().map(|v| v.inner().as_map()).collect();
    let keys: Vec<ArrayRef> = maps.iter().map(|m| m.keys().clone()).collect();
    let values: Vec<ArrayRef> = maps.iter().map(|m| m.values().clone()).collect();
    let mut lists = Lists::new(call.rows);
    for row in 0..call.rows {
        if call.args.iter().any(|v| v.is_null(row)) {
            lists.push_null();
            continue;
        }
        let mut entries = Vec::new();
        for (source, (map, value)) in maps.iter().zip(call.args).enumerate() {
            let at = value.index(row);
            let range = map.value_offsets()[at] as usize..map.value_offsets()[at + 1] as usize;
            entries.extend(range.map(|i| (source, i)));
        }
        lists.push(last_of_equal(entries, &keys));
    }
    lists.finish_map(&keys, &values, call.data_type)
}
