//! A Calc that hands on its input as it is, and a union of one, are left out.

use millrace_expr::Expr;

use crate::plan::Rel;

pub(super) fn apply(rel: Rel) -> Rel {
    match rel.map_inputs(&mut apply) {
        Rel::Calc {
            input,
            condition: None,
            projection,
            ..
        } if is_identity(&input, &projection) => *input,
        Rel::Union { mut inputs, output } if inputs.len() == 1 => inputs.pop().unwrap_or(Rel::Values {
            rows: Vec::new(),
            output,
        }),
        other => other,
    }
}

fn is_identity(input: &Rel, projection: &[Expr]) -> bool {
    let fields = input.output().fields;
    // A change of nullability alone is none of the values.
    fields.len() == projection.len()
        && projection.iter().enumerate().all(|(i, e)| {
            matches!(e, Expr::Column { index, data_type } if *index == i && *data_type == fields[i].data_type)
        })
}
