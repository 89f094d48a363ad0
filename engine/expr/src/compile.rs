//! The expression tree made executable over Arrow batches.
//!
//! A program is a tree of nodes. Literals stay one value long, what depends on literals alone is
//! computed once at compile time, and arguments that may not be needed (the branches of CASE, the
//! right side of AND) are computed for the rows that need them only, so that a branch not taken
//! raises no error.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{FilterBuilder, and_kleene, interleave, or_kleene, prep_null_mask_filter};
use millrace_core::{Error, Result};

use crate::function::{Body, Call, Function, Lazy, Volatility, lookup};
use crate::text::zone::Zone;
use crate::value::{Value, arrow_error, literal, with_type};
use crate::{DataType, Expr, TypeKind, cast, function};

/// What expressions take from the session: Flink's `table.local-time-zone`.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    pub time_zone: Zone,
}

impl Default for Session {
    fn default() -> Self {
        Session { time_zone: Zone::UTC }
    }
}

/// The circumstances of one evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluation {
    /// What NOW() and its like give, in milliseconds since the epoch. They are never folded: a
    /// batch takes the clock when it is evaluated, once, so that its rows have one moment where
    /// Flink's may differ by what evaluation takes.
    pub now_millis: i64,
}

/// An executable expression.
pub struct Program {
    root: Node,
    data_type: DataType,
    session: Session,
}

enum Node {
    Column {
        index: usize,
        data_type: arrow::datatypes::DataType,
    },
    /// One value, as an array of length 1.
    Constant(ArrayRef),
    Call {
        function: &'static Function,
        args: Vec<Node>,
        arg_types: Vec<DataType>,
        data_type: DataType,
        fallible: bool,
        memory: AtomicU64,
    },
    Cast {
        input: Box<Node>,
        from: DataType,
        to: DataType,
        try_cast: bool,
        fallible: bool,
    },
    /// AND or OR of two operands at least. Long chains are usual, so one node has them all.
    Connective {
        and: bool,
        operands: Vec<Node>,
    },
    Case {
        branches: Vec<(Node, Node)>,
        otherwise: Box<Node>,
        data_type: DataType,
    },
    Coalesce {
        args: Vec<Node>,
        data_type: DataType,
    },
}

/// The rows that a node is evaluated over. Columns that the node does not read may have any length.
struct Rows<'a> {
    columns: &'a [ArrayRef],
    len: usize,
    session: &'a Session,
    now_millis: i64,
}

impl Program {
    /// Makes an expression executable. Fails when it names a function that does not exist, as a
    /// plan of another version may do.
    pub fn compile(expr: &Expr, session: &Session) -> Result<Program> {
        let root = compile(expr, session)?;
        Ok(Program {
            root,
            data_type: expr.data_type().clone(),
            session: *session,
        })
    }

    /// The type of the result.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// Computes the expression for every row, in exactly the Arrow type of its logical type.
    pub fn evaluate(&self, batch: &RecordBatch, evaluation: &Evaluation) -> Result<ArrayRef> {
        let rows = Rows {
            columns: batch.columns(),
            len: batch.num_rows(),
            session: &self.session,
            now_millis: evaluation.now_millis,
        };
        let array = self.root.evaluate(&rows)?.into_array(rows.len)?;
        with_type(array, &self.data_type.to_arrow())
    }

    /// Computes a condition: true where it is TRUE, false where it is FALSE or unknown.
    pub fn filter_mask(&self, batch: &RecordBatch, evaluation: &Evaluation) -> Result<BooleanArray> {
        let array = self.evaluate(batch, evaluation)?;
        let mask = array.as_boolean_opt().ok_or_else(|| {
            Error::internal(format!(
                "a condition has the type {} instead of BOOLEAN",
                self.data_type
            ))
        })?;
        Ok(definite(mask))
    }
}

/// Unknown becomes false.
fn definite(mask: &BooleanArray) -> BooleanArray {
    if mask.null_count() == 0 {
        mask.clone()
    } else {
        prep_null_mask_filter(mask)
    }
}

fn compile(expr: &Expr, session: &Session) -> Result<Node> {
    let node = match expr {
        Expr::Column { index, data_type } => {
            return Ok(Node::Column {
                index: *index,
                data_type: data_type.to_arrow(),
            });
        }
        Expr::Literal { value, data_type } => return Ok(Node::Constant(literal(value, data_type)?)),
        Expr::Cast {
            expr,
            data_type,
            try_cast,
        } => {
            let from = expr.data_type().clone();
            let fallible = !try_cast && cast::may_fail(&from, data_type);
            let input = Box::new(compile(expr, session)?);
            Node::Cast {
                input,
                from,
                to: data_type.clone(),
                try_cast: *try_cast,
                fallible,
            }
        }
        Expr::Call {
            function,
            args,
            data_type,
        } => compile_call(function, args, data_type, session)?,
    };
    Ok(fold(node, session))
}

fn compile_call(name: &str, args: &[Expr], data_type: &DataType, session: &Session) -> Result<Node> {
    let function =
        lookup(name).ok_or_else(|| Error::user(format!("the plan calls an unknown function {name}")))?;
    let too_few = || Error::internal(format!("{name} is called with too few arguments"));
    let lazy = match &function.body {
        Body::Eager { fallible, .. } => {
            return Ok(Node::Call {
                function,
                args: args.iter().map(|a| compile(a, session)).collect::<Result<_>>()?,
                arg_types: args.iter().map(|a| a.data_type().clone()).collect(),
                data_type: data_type.clone(),
                fallible: call_may_fail(name, *fallible, args),
                memory: AtomicU64::new(0),
            });
        }
        Body::Lazy(lazy) => *lazy,
    };
    match lazy {
        Lazy::And | Lazy::Or => {
            let operands = operands(name, args)
                .into_iter()
                .map(|operand| compile(operand, session))
                .collect::<Result<Vec<_>>>()?;
            if operands.is_empty() {
                return Err(too_few());
            }
            Ok(Node::Connective {
                and: lazy == Lazy::And,
                operands,
            })
        }
        Lazy::Case | Lazy::If => {
            let (otherwise, whens) = args.split_last().ok_or_else(too_few)?;
            let branches = whens
                .chunks_exact(2)
                .map(|pair| Ok((compile(&pair[0], session)?, compile(&pair[1], session)?)))
                .collect::<Result<_>>()?;
            let otherwise = Box::new(compile(otherwise, session)?);
            Ok(Node::Case {
                branches,
                otherwise,
                data_type: data_type.clone(),
            })
        }
        Lazy::Coalesce => Ok(Node::Coalesce {
            args: args.iter().map(|a| compile(a, session)).collect::<Result<_>>()?,
            data_type: data_type.clone(),
        }),
        Lazy::NullIf => {
            let [value, other] = args else {
                return Err(too_few());
            };
            let equal = function::call("=", vec![value.clone(), other.clone()])?;
            let null = Expr::literal(crate::Scalar::Null, data_type.clone());
            let branches = vec![(compile(&equal, session)?, compile(&null, session)?)];
            let otherwise = Box::new(compile(value, session)?);
            Ok(Node::Case {
                branches,
                otherwise,
                data_type: data_type.clone(),
            })
        }
    }
}

/// The operands of a tree of one connective, from left to right.
fn operands<'a>(name: &str, args: &'a [Expr]) -> Vec<&'a Expr> {
    let mut operands = Vec::with_capacity(args.len());
    let mut stack: Vec<&Expr> = args.iter().rev().collect();
    while let Some(expr) = stack.pop() {
        match expr {
            Expr::Call { function, args, .. } if function == name => stack.extend(args.iter().rev()),
            other => operands.push(other),
        }
    }
    operands
}

/// Whether a call may fail for some row, as far as the types of its arguments tell more than its
/// name: division of floating-point numbers never does, a timestamp may leave its range.
fn call_may_fail(name: &str, fallible: bool, args: &[Expr]) -> bool {
    let any = |test: fn(&TypeKind) -> bool| args.iter().any(|a| test(&a.data_type().kind));
    match name {
        "/" => !any(|kind| matches!(kind, TypeKind::Float | TypeKind::Double)),
        "+" | "-" => any(|kind| matches!(kind, TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_))),
        _ => fallible,
    }
}

/// Replaces a node over constants by its value. If it fails it stays: the error is raised when,
/// and only when, a row needs the value.
fn fold(node: Node, session: &Session) -> Node {
    let foldable = match &node {
        Node::Call { function, args, .. } => {
            function.volatility == Volatility::Immutable && args.iter().all(Node::is_constant)
        }
        Node::Cast { input, .. } => input.is_constant(),
        Node::Connective { operands, .. } => operands.iter().all(Node::is_constant),
        Node::Case {
            branches, otherwise, ..
        } => {
            branches
                .iter()
                .all(|(when, then)| when.is_constant() && then.is_constant())
                && otherwise.is_constant()
        }
        Node::Coalesce { args, .. } => args.iter().all(Node::is_constant),
        Node::Column { .. } | Node::Constant(_) => false,
    };
    if !foldable {
        return node;
    }
    let rows = Rows {
        columns: &[],
        len: 1,
        session,
        now_millis: 0,
    };
    match node.evaluate(&rows).and_then(|value| value.into_array(1)) {
        Ok(array) => Node::Constant(array),
        Err(_) => node,
    }
}

impl Node {
    fn is_constant(&self) -> bool {
        matches!(self, Node::Constant(_))
    }

    /// Whether evaluation costs nothing, so that selecting rows first would be waste.
    fn is_leaf(&self) -> bool {
        matches!(self, Node::Constant(_) | Node::Column { .. })
    }

    /// Whether some row may raise an error.
    fn may_fail(&self) -> bool {
        match self {
            Node::Column { .. } | Node::Constant(_) => false,
            Node::Call { args, fallible, .. } => *fallible || args.iter().any(Node::may_fail),
            Node::Cast { input, fallible, .. } => *fallible || input.may_fail(),
            Node::Connective { operands, .. } => operands.iter().any(Node::may_fail),
            Node::Case {
                branches, otherwise, ..
            } => {
                otherwise.may_fail()
                    || branches
                        .iter()
                        .any(|(when, then)| when.may_fail() || then.may_fail())
            }
            Node::Coalesce { args, .. } => args.iter().any(Node::may_fail),
        }
    }

    fn columns(&self, found: &mut Vec<usize>) {
        match self {
            Node::Column { index, .. } => found.push(*index),
            Node::Constant(_) => {}
            Node::Call { args, .. }
            | Node::Coalesce { args, .. }
            | Node::Connective { operands: args, .. } => args.iter().for_each(|a| a.columns(found)),
            Node::Cast { input, .. } => input.columns(found),
            Node::Case {
                branches, otherwise, ..
            } => {
                for (when, then) in branches {
                    when.columns(found);
                    then.columns(found);
                }
                otherwise.columns(found);
            }
        }
    }

    fn evaluate(&self, rows: &Rows<'_>) -> Result<Value> {
        match self {
            Node::Column { index, data_type } => {
                let column = rows.columns.get(*index).ok_or_else(|| {
                    Error::internal(format!(
                        "column {index} of a batch of {} columns",
                        rows.columns.len()
                    ))
                })?;
                Ok(Value::Array(with_type(column.clone(), data_type)?))
            }
            Node::Constant(array) => Ok(Value::Scalar(array.clone())),
            Node::Call {
                function,
                args,
                arg_types,
                data_type,
                memory,
                ..
            } => call(function, args, arg_types, data_type, memory, rows),
            Node::Cast {
                input,
                from,
                to,
                try_cast,
                ..
            } => {
                let input = input.evaluate(rows)?;
                if rows.len == 0 {
                    return Ok(empty(to));
                }
                let array = cast::evaluate(input.inner(), from, to, *try_cast, rows.session)?;
                Ok(if input.is_scalar() {
                    Value::Scalar(array)
                } else {
                    Value::Array(array)
                })
            }
            Node::Connective { and, operands } => connective(operands, rows, *and),
            Node::Case {
                branches,
                otherwise,
                data_type,
            } => case(branches, otherwise, data_type, rows),
            Node::Coalesce { args, data_type } => coalesce(args, data_type, rows),
        }
    }

    /// Evaluates the rows that are selected. `Selected::All` may hold more rows than were asked for.
    fn evaluate_selected(
        &self,
        selection: &BooleanArray,
        selected: usize,
        rows: &Rows<'_>,
    ) -> Result<Selected> {
        let whole = selected == rows.len || self.is_leaf() || (!self.may_fail() && selected * 2 > rows.len);
        if whole {
            return Ok(Selected::All(self.evaluate(rows)?));
        }
        let filter = FilterBuilder::new(selection).optimize().build();
        let mut columns = rows.columns.to_vec();
        let mut used = Vec::new();
        self.columns(&mut used);
        used.sort_unstable();
        used.dedup();
        for index in used {
            if let Some(column) = columns.get_mut(index) {
                *column = filter.filter(column).map_err(arrow_error)?;
            }
        }
        let rows = Rows {
            columns: &columns,
            len: selected,
            session: rows.session,
            now_millis: rows.now_millis,
        };
        Ok(Selected::Only(self.evaluate(&rows)?))
    }
}

enum Selected {
    /// A value for every row.
    All(Value),
    /// Values for the selected rows only, in order.
    Only(Value),
}

fn empty(data_type: &DataType) -> Value {
    Value::Array(arrow::array::new_empty_array(&data_type.to_arrow()))
}

fn call(
    function: &Function,
    args: &[Node],
    arg_types: &[DataType],
    data_type: &DataType,
    memory: &AtomicU64,
    rows: &Rows<'_>,
) -> Result<Value> {
    let args = args
        .iter()
        .map(|a| a.evaluate(rows))
        .collect::<Result<Vec<_>>>()?;
    if rows.len == 0 {
        return Ok(empty(data_type));
    }
    let Body::Eager { evaluate, .. } = &function.body else {
        return Err(Error::internal(format!("{} is evaluated eagerly", function.name)));
    };
    let scalar = function.volatility != Volatility::Volatile && args.iter().all(Value::is_scalar);
    let call = Call {
        args: &args,
        arg_types,
        data_type,
        rows: if scalar { 1 } else { rows.len },
        session: rows.session,
        now_millis: rows.now_millis,
        memory,
    };
    let array = with_type(evaluate(&call)?, &data_type.to_arrow())?;
    if array.len() != call.rows {
        return Err(Error::internal(format!(
            "{} gave {} values for {} rows",
            function.name,
            array.len(),
            call.rows
        )));
    }
    Ok(if scalar {
        Value::Scalar(array)
    } else {
        Value::Array(array)
    })
}

/// AND or OR with three values, from left to right; rows that are settled (FALSE for AND, TRUE for
/// OR) never evaluate a later operand that may fail.
fn connective(operands: &[Node], rows: &Rows<'_>, and: bool) -> Result<Value> {
    if rows.len == 0 {
        return Ok(empty(&DataType::boolean()));
    }
    let mut result: Option<Value> = None;
    for operand in operands {
        result = Some(match result {
            None => operand.evaluate(rows)?,
            Some(left) => match (left.is_scalar(), left.booleans().get(0)) {
                (true, Some(value)) if value == and => operand.evaluate(rows)?,
                (true, Some(_)) => return Ok(left),
                _ => joined(left.into_array(rows.len)?.as_boolean(), operand, rows, and)?,
            },
        });
    }
    result.ok_or_else(|| Error::internal("AND or OR of nothing"))
}

/// What the operands up to now give, with one more.
fn joined(left: &BooleanArray, operand: &Node, rows: &Rows<'_>, and: bool) -> Result<Value> {
    let settled = settled(left, !and);
    let count = settled.count_set_bits();
    if count == rows.len {
        return Ok(Value::Array(Arc::new(left.clone())));
    }
    let open = BooleanArray::new(!&settled, None);
    let right = match operand.evaluate_selected(&open, rows.len - count, rows)? {
        Selected::All(value) => value.into_array(rows.len)?,
        Selected::Only(value) => {
            let value = value.into_array(rows.len - count)?;
            let value = value.as_boolean();
            let mut next = 0;
            let scattered: BooleanArray = open
                .values()
                .iter()
                .map(|open| {
                    if !open {
                        return Some(!and);
                    }
                    next += 1;
                    value.is_valid(next - 1).then(|| value.value(next - 1))
                })
                .collect();
            Arc::new(scattered)
        }
    };
    let combine = if and { and_kleene } else { or_kleene };
    let combined = combine(left, right.as_boolean()).map_err(arrow_error)?;
    Ok(Value::Array(Arc::new(combined)))
}

/// Where an array is `value`, and not null.
fn settled(array: &BooleanArray, value: bool) -> BooleanBuffer {
    let bits = if value {
        array.values().clone()
    } else {
        !array.values()
    };
    match array.nulls() {
        Some(nulls) => &bits & nulls.inner(),
        None => bits,
    }
}

/// Puts a result together from values of several branches.
struct Choice<'a> {
    rows: &'a Rows<'a>,
    data_type: arrow::datatypes::DataType,
    values: Vec<ArrayRef>,
    /// For every row the value's index and the position in it.
    places: Vec<(usize, usize)>,
    /// The rows without a value yet.
    open: BooleanBuffer,
    open_count: usize,
}

impl<'a> Choice<'a> {
    fn new(rows: &'a Rows<'a>, data_type: &DataType) -> Self {
        Choice {
            rows,
            data_type: data_type.to_arrow(),
            values: Vec::new(),
            places: vec![(0, 0); rows.len],
            open: BooleanBuffer::new_set(rows.len),
            open_count: rows.len,
        }
    }

    /// Evaluates over the open rows; the result has a value a row, arbitrary where closed.
    fn over_open(&self, node: &Node) -> Result<Selected> {
        node.evaluate_selected(
            &BooleanArray::new(self.open.clone(), None),
            self.open_count,
            self.rows,
        )
    }

    /// Takes `value`, which has values for all rows or for those of `of` only, for the rows `taken`.
    fn take(&mut self, value: Selected, of: &BooleanBuffer, taken: &BooleanBuffer) -> Result<()> {
        let array_index = self.values.len();
        let value = match value {
            Selected::All(value) => {
                for row in taken.set_indices() {
                    self.places[row] = (array_index, value.index(row));
                }
                value
            }
            Selected::Only(value) => {
                for (position, row) in of.set_indices().enumerate() {
                    if taken.value(row) {
                        self.places[row] = (array_index, value.index(position));
                    }
                }
                value
            }
        };
        self.values
            .push(with_type(value.inner().clone(), &self.data_type)?);
        self.open = &self.open & &!taken;
        self.open_count = self.open.count_set_bits();
        Ok(())
    }

    fn finish(self) -> Result<Value> {
        let arrays: Vec<&dyn Array> = self.values.iter().map(|a| a.as_ref()).collect();
        Ok(Value::Array(
            interleave(&arrays, &self.places).map_err(arrow_error)?,
        ))
    }
}

fn case(branches: &[(Node, Node)], otherwise: &Node, data_type: &DataType, rows: &Rows<'_>) -> Result<Value> {
    if rows.len == 0 {
        return Ok(empty(data_type));
    }
    let mut choice = Choice::new(rows, data_type);
    for (when, then) in branches {
        let condition = match choice.over_open(when)? {
            Selected::All(Value::Scalar(array)) => match settled(array.as_boolean(), true).value(0) {
                true => choice.open.clone(),
                false => continue,
            },
            Selected::All(value) => &settled(value.inner().as_boolean(), true) & &choice.open,
            Selected::Only(value) => {
                let value = value.into_array(choice.open_count)?;
                let value = settled(value.as_boolean(), true);
                let mut bits = arrow::array::BooleanBufferBuilder::new(rows.len);
                bits.append_n(rows.len, false);
                for (position, row) in choice.open.set_indices().enumerate() {
                    bits.set_bit(row, value.value(position));
                }
                bits.finish()
            }
        };
        let taken = condition.count_set_bits();
        if taken == 0 {
            continue;
        }
        let mask = BooleanArray::new(condition.clone(), None);
        let value = then.evaluate_selected(&mask, taken, rows)?;
        if taken == rows.len
            && let Selected::All(value) = value
        {
            return typed(value, data_type);
        }
        choice.take(value, &condition, &condition)?;
        if choice.open_count == 0 {
            return choice.finish();
        }
    }
    let value = choice.over_open(otherwise)?;
    let open = choice.open.clone();
    if choice.open_count == rows.len
        && let Selected::All(value) = value
    {
        return typed(value, data_type);
    }
    choice.take(value, &open, &open)?;
    choice.finish()
}

fn typed(value: Value, data_type: &DataType) -> Result<Value> {
    let arrow_type = data_type.to_arrow();
    Ok(match value {
        Value::Array(array) => Value::Array(with_type(array, &arrow_type)?),
        Value::Scalar(array) => Value::Scalar(with_type(array, &arrow_type)?),
    })
}

fn coalesce(args: &[Node], data_type: &DataType, rows: &Rows<'_>) -> Result<Value> {
    if rows.len == 0 {
        return Ok(empty(data_type));
    }
    let mut choice = Choice::new(rows, data_type);
    for (i, arg) in args.iter().enumerate() {
        let last = i + 1 == args.len();
        let value = choice.over_open(arg)?;
        let open = choice.open.clone();
        let taken = match &value {
            _ if last => open.clone(),
            Selected::All(value) => match (value, value.inner().logical_nulls()) {
                (_, None) => open.clone(),
                (Value::Scalar(_), Some(_)) => continue,
                (Value::Array(_), Some(nulls)) => nulls.inner() & &open,
            },
            Selected::Only(value) => match (value, value.inner().logical_nulls()) {
                (_, None) => open.clone(),
                (Value::Scalar(_), Some(nulls)) if nulls.is_null(0) => continue,
                (Value::Scalar(_), Some(_)) => open.clone(),
                (Value::Array(_), Some(nulls)) => {
                    let mut bits = arrow::array::BooleanBufferBuilder::new(rows.len);
                    bits.append_n(rows.len, false);
                    for (position, row) in open.set_indices().enumerate() {
                        bits.set_bit(row, nulls.is_valid(position));
                    }
                    bits.finish()
                }
            },
        };
        let count = taken.count_set_bits();
        if count == rows.len
            && let Selected::All(value) = value
        {
            return typed(value, data_type);
        }
        if count == 0 {
            continue;
        }
        choice.take(value, &open, &taken)?;
        if choice.open_count == 0 {
            break;
        }
    }
    choice.finish()
}
