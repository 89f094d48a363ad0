//! Deviations and variances as they are planned, sums and counts with expressions around them: the plan is run
//! over random rows that come and go, against the variance of the rows that are left.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array,
    RecordBatch,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType as ArrowType, Decimal128Type, Field, Float64Type, Schema, SchemaRef};
use millrace_dataflow::{GroupAggregate, Operator};
use millrace_expr::DataType;
use millrace_expr::aggregate::{Calls, Grouped, HeapMaps};
use millrace_expr::compile::{Evaluation, Program, Session};
use proptest::prelude::*;

use crate::fixtures::{graph, session};

const GROUPS: usize = 3;

/// What a plan does with rows, without the source and the sink.
struct Plan(Vec<Stage>);

enum Stage {
    Calc {
        condition: Option<Program>,
        projection: Vec<Program>,
        schema: SchemaRef,
    },
    Aggregate(Box<Aggregate>),
}

struct Aggregate {
    plan: GroupAggregate,
    calls: Calls,
    maps: HeapMaps,
    rows: [usize; GROUPS],
    schema: SchemaRef,
}

impl Plan {
    /// Over a changelog of groups, values of a type and a BOOLEAN.
    fn of(arg: &str, result: &str) -> Plan {
        let functions = ["VAR_POP", "VAR_SAMP", "STDDEV_POP", "STDDEV_SAMP"];
        let call = |form: fn(&str) -> String| functions.map(form).join(", ");
        let script = format!(
            "CREATE TABLE t (g INT NOT NULL, x {arg}, pass BOOLEAN) \
             WITH ('connector' = 'test', 'topic' = 't', 'mode' = 'cdc'); \
             CREATE TABLE results (g INT, {columns}) WITH ('connector' = 'test', 'topic' = 'r', 'mode' = 'cdc'); \
             INSERT INTO results SELECT g, {all}, {distinct}, {filtered} FROM t GROUP BY g;",
            columns = (0..12)
                .map(|n| format!("r{n} {result}"))
                .collect::<Vec<_>>()
                .join(", "),
            all = call(|f| format!("{f}(x)")),
            distinct = call(|f| format!("{f}(DISTINCT x)")),
            filtered = call(|f| format!("{f}(x) FILTER (WHERE pass)")),
        );
        let graph = graph(&mut session(), &script);
        let compile = |expr| Program::compile(expr, &Session::default()).unwrap();
        let mut stages = Vec::new();
        for node in &graph.nodes {
            assert!(node.inputs.len() <= 1);
            let schema = node.output.to_arrow();
            stages.push(match &node.operator {
                Operator::Source(_) | Operator::Sink(_) => continue,
                Operator::Calc {
                    condition,
                    projection,
                } => Stage::Calc {
                    condition: condition.as_ref().map(compile),
                    projection: projection.iter().map(compile).collect(),
                    schema,
                },
                Operator::GroupAggregate(plan) => {
                    assert!(plan.retracts && plan.keys == [0]);
                    let mut calls = Calls::new(&plan.calls, true).unwrap();
                    let mut maps = HeapMaps::default();
                    calls.resize(GROUPS);
                    maps.resize(GROUPS);
                    Stage::Aggregate(Box::new(Aggregate {
                        plan: plan.clone(),
                        calls,
                        maps,
                        rows: [0; GROUPS],
                        schema,
                    }))
                }
                other => panic!("{other:?}"),
            });
        }
        assert!(stages.iter().any(|stage| matches!(stage, Stage::Aggregate(_))));
        Plan(stages)
    }

    /// What each row's group has behind it.
    fn run(&mut self, mut rows: RecordBatch, retract: &[bool]) -> RecordBatch {
        let evaluation = Evaluation { now_millis: 0 };
        for stage in &mut self.0 {
            match stage {
                Stage::Calc {
                    condition,
                    projection,
                    schema,
                } => {
                    assert!(condition.is_none());
                    let columns = projection.iter().map(|p| p.evaluate(&rows, &evaluation).unwrap());
                    rows = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
                }
                Stage::Aggregate(aggregate) => rows = aggregate.run(&rows, retract),
            }
        }
        rows
    }
}

impl Aggregate {
    fn run(&mut self, rows: &RecordBatch, retract: &[bool]) -> RecordBatch {
        let groups: &Int32Array = rows.column(self.plan.keys[0]).as_primitive();
        let slots: Vec<u32> = groups.values().iter().map(|group| *group as u32).collect();
        let mut first = Vec::new();
        for (slot, back) in slots.iter().zip(retract) {
            let count = &mut self.rows[*slot as usize];
            first.push(*count == 0);
            *count = if *back { *count - 1 } else { *count + 1 };
        }
        let grouped = Grouped {
            columns: rows.columns(),
            slots: &slots,
            retract: Some(retract),
            first: Some(&first),
            pass: None,
        };
        let (_, after) = self.calls.trace(&grouped, &mut self.maps).unwrap();
        let columns = [rows.column(self.plan.keys[0]).clone()];
        RecordBatch::try_new(self.schema.clone(), columns.into_iter().chain(after).collect()).unwrap()
    }
}

/// A type of the argument, some of its values, and how a quotient of it is rounded.
struct Argument {
    name: &'static str,
    result: &'static str,
    /// Of a decimal its digits, of a double sixteenths. No two have the same square: what is DISTINCT are the
    /// squares, in one of the sums.
    values: &'static [i64],
    rounding: Rounding,
}

#[derive(Clone, Copy, PartialEq)]
enum Rounding {
    /// To whole numbers, towards 0.
    Cut,
    /// To six digits after the point.
    HalfUp,
    /// Sums of such numbers are exact in any order.
    Double,
    /// Those of others are not: each that is taken back leaves a little.
    DoubleOf(f64),
}

const ARGUMENTS: [Argument; 6] = [
    Argument {
        name: "INT",
        result: "INT",
        values: &[-7, -3, 0, 1, 2, 1000],
        rounding: Rounding::Cut,
    },
    Argument {
        name: "BIGINT",
        result: "BIGINT",
        values: &[-70_000, -3, 0, 1, 1 << 20],
        rounding: Rounding::Cut,
    },
    Argument {
        name: "DECIMAL(6, 2)",
        result: "DECIMAL(38, 6)",
        values: &[-70_000, -3, 0, 1, 25, 999_999],
        rounding: Rounding::HalfUp,
    },
    Argument {
        name: "DOUBLE",
        result: "DOUBLE",
        values: &[-200, -36, 0, 8, 48, 16_384],
        rounding: Rounding::Double,
    },
    Argument {
        name: "DOUBLE",
        result: "DOUBLE",
        values: &[-200, -36, 0, 8, 48, 16_384],
        rounding: Rounding::DoubleOf(0.1),
    },
    Argument {
        name: "DOUBLE",
        result: "DOUBLE",
        values: &[-2_000_001, -36, 0, 7, 48, 16_384],
        rounding: Rounding::DoubleOf(std::f64::consts::PI),
    },
];

impl Argument {
    fn column(&self, values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
        match self.rounding {
            Rounding::HalfUp => {
                let digits = Decimal128Array::from_iter(values.map(|v| v.map(i128::from)));
                Arc::new(digits.with_precision_and_scale(6, 2).unwrap())
            }
            Rounding::Cut => {
                let whole = Int64Array::from_iter(values);
                let data_type = if self.name == "INT" {
                    DataType::int()
                } else {
                    DataType::bigint()
                };
                cast(&whole, &data_type.to_arrow()).unwrap()
            }
            _ => Arc::new(Float64Array::from_iter(values.map(|v| v.map(|v| self.number(v))))),
        }
    }

    /// The number that a value stands for.
    fn number(&self, value: i64) -> f64 {
        match self.rounding {
            Rounding::Cut => value as f64,
            Rounding::HalfUp => value as f64 / 100.0,
            Rounding::Double => value as f64 / 16.0,
            Rounding::DoubleOf(unit) => value as f64 * unit,
        }
    }

    /// What the sums of values give, exactly: of the population or of a sample of it.
    fn variance(&self, values: &[i64], divisor: i64) -> f64 {
        let count = values.len() as i128;
        match self.rounding {
            Rounding::Cut | Rounding::HalfUp => {
                // Squares of two digits after the point have four: two more make six.
                let unit = if self.rounding == Rounding::Cut { 1 } else { 100 };
                let divide = |a: i128, b: i128| match self.rounding {
                    Rounding::Cut => a / b,
                    _ => a / b + a.signum() * i128::from(2 * (a % b).abs() >= b),
                };
                let squares: i128 = values.iter().map(|v| i128::from(*v).pow(2)).sum();
                let sum: i128 = values.iter().map(|v| i128::from(*v)).sum();
                let difference = unit * squares - divide(unit * sum * sum, count);
                divide(difference, divisor.into()) as f64 / if unit == 1 { 1.0 } else { 1e6 }
            }
            _ => {
                let numbers = || values.iter().map(|v| self.number(*v));
                let squares: f64 = numbers().map(|v| v * v).sum();
                let sum: f64 = numbers().sum();
                (squares - sum * sum / count as f64) / divisor as f64
            }
        }
    }

    /// A root, to as many digits as there are.
    fn root(&self, variance: f64) -> f64 {
        match self.rounding {
            Rounding::Cut => variance.sqrt().trunc(),
            Rounding::HalfUp => format!("{:.6}", variance.sqrt()).parse().unwrap(),
            _ => variance.sqrt(),
        }
    }

    /// VAR_POP, VAR_SAMP, STDDEV_POP and STDDEV_SAMP of values.
    fn results(&self, values: &[i64]) -> [Option<f64>; 4] {
        let count = values.len() as i64;
        let variance = |divisor: i64| (divisor > 0).then(|| self.variance(values, divisor));
        let (population, sample) = (variance(count), variance(count - 1));
        let root = |variance: Option<f64>| variance.map(|v| self.root(v));
        [population, sample, root(population), root(sample)]
    }

    /// How far a variance and a deviation may be from those of the numbers, which lie within `spread`.
    fn tolerance(&self, is_root: bool, spread: f64) -> f64 {
        match self.rounding {
            // Both quotients and the root may lose almost 1.
            Rounding::Cut => 2.0,
            Rounding::HalfUp if is_root => 2e-3,
            Rounding::HalfUp => 2e-6,
            _ if is_root => 1e-5 * (1.0 + spread),
            _ => 1e-11 * (1.0 + spread * spread),
        }
    }

    fn check(&self, found: &[Option<f64>], values: &[i64]) -> Result<(), TestCaseError> {
        let numbers: Vec<f64> = values.iter().map(|v| self.number(*v)).collect();
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        let squares: f64 = numbers.iter().map(|v| (v - mean).powi(2)).sum();
        // What was there before and is taken back counts too.
        let most = self.values.iter().map(|v| self.number(*v).abs());
        let spread = most.fold(0.0, f64::max);
        for (at, (found, wanted)) in found.iter().zip(self.results(values)).enumerate() {
            let name = format!("{} {at}: {found:?} of {numbers:?}", self.name);
            prop_assert_eq!(found.is_some(), wanted.is_some(), "{}", name);
            let (Some(found), Some(wanted)) = (found, wanted) else {
                continue;
            };
            let is_root = at >= 2;
            let exact = match self.rounding {
                Rounding::Double if is_root => (found - wanted).abs() <= 1e-12 * wanted,
                Rounding::DoubleOf(_) => true,
                _ => *found == wanted,
            };
            prop_assert!(exact, "{name}, not {wanted}");
            let variance = squares / (numbers.len() - at % 2) as f64;
            let truth = if is_root { variance.sqrt() } else { variance };
            // Less than nothing has no root.
            let is_near = (found - truth).abs() <= self.tolerance(is_root, spread)
                || found.is_nan() && truth < self.tolerance(true, spread);
            prop_assert!(is_near, "{name}, which is not about {truth}");
        }
        Ok(())
    }
}

/// The numbers of a column, whatever its type.
fn numbers(column: &ArrayRef) -> Vec<Option<f64>> {
    match column.data_type() {
        ArrowType::Decimal128(_, 6) => {
            let digits = column.as_primitive::<Decimal128Type>().iter();
            digits.map(|v| v.map(|v| v as f64 / 1e6)).collect()
        }
        _ => {
            let doubles = cast(column, &ArrowType::Float64).unwrap();
            doubles.as_primitive::<Float64Type>().iter().collect()
        }
    }
}

/// A row: group, value by its place, whether it passes the FILTER.
type Row = (usize, Option<usize>, bool);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn variances_are_those_of_the_rows_that_are_left(
        of in 0..ARGUMENTS.len(),
        steps in prop::collection::vec(
            ((0..GROUPS, prop::option::of(0..100usize), any::<bool>()), prop::option::of(any::<usize>())),
            1..60,
        ),
        batch in 1..20usize,
    ) {
        let argument = &ARGUMENTS[of];
        let mut plan = Plan::of(argument.name, argument.result);
        let (mut live, mut played): (Vec<Row>, Vec<(Row, bool)>) = Default::default();
        for ((group, value, pass), back) in steps {
            match back.filter(|_| !live.is_empty()) {
                Some(at) => played.push((live.swap_remove(at % live.len()), true)),
                None => {
                    let row = (group, value.map(|at| at % argument.values.len()), pass);
                    live.push(row);
                    played.push((row, false));
                }
            }
        }
        live.clear();
        let schema = Schema::new(vec![
            Field::new("g", ArrowType::Int32, false),
            Field::new("x", argument.column(std::iter::empty()).data_type().clone(), true),
            Field::new("pass", ArrowType::Boolean, true),
        ]);
        for part in played.chunks(batch) {
            let values = part.iter().map(|((_, value, _), _)| value.map(|at| argument.values[at]));
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int32Array::from_iter_values(part.iter().map(|(row, _)| row.0 as i32))),
                argument.column(values),
                Arc::new(BooleanArray::from_iter(part.iter().map(|(row, _)| Some(row.2)))),
            ];
            let retract: Vec<bool> = part.iter().map(|(_, back)| *back).collect();
            let rows = RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap();
            let found: Vec<Vec<Option<f64>>> = plan.run(rows, &retract).columns()[1..].iter().map(numbers).collect();
            prop_assert_eq!(found.len(), 12);
            for (at, (row, back)) in part.iter().enumerate() {
                match back {
                    false => live.push(*row),
                    true => drop(live.swap_remove(live.iter().position(|known| known == row).unwrap())),
                }
                let of_group = || live.iter().filter(|known| known.0 == row.0);
                if of_group().next().is_none() {
                    continue;
                }
                let values = |rows: Vec<&Row>| -> Vec<i64> {
                    rows.iter().filter_map(|row| row.1).map(|at| argument.values[at]).collect()
                };
                let all = values(of_group().collect());
                let mut once = all.clone();
                once.sort_unstable();
                once.dedup();
                let filtered = values(of_group().filter(|row| row.2).collect());
                let results: Vec<Option<f64>> = found.iter().map(|column| column[at]).collect();
                argument.check(&results[..4], &all)?;
                argument.check(&results[4..8], &once)?;
                argument.check(&results[8..], &filtered)?;
            }
        }
    }
}
