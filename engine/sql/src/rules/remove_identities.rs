//! A Calc that hands on its input as it is, and a union of one, are left out.

use millrace_expr::Expr;

use crate::plan::{Op, Rel};

pub(super) fn apply(rel: Rel) -> Rel {
    let mut rel = rel.map_inputs(&mut apply);
    let removed = match &rel.op {
        Op::Calc {
            condition: None,
            projection,
        } => is_identity(&rel.inputs[0], projection),
        Op::Union => rel.inputs.len() == 1,
        _ => false,
    };
    match (removed, rel.inputs.len()) {
        (true, 1) => rel.inputs.remove(0),
        _ => rel,
    }
}

fn is_identity(input: &Rel, projection: &[Expr]) -> bool {
    let fields = &input.output.fields;
    // A change of nullability alone is none of the values.
    fields.len() == projection.len()
        && projection.iter().enumerate().all(|(i, e)| {
            matches!(e, Expr::Column { index, data_type } if *index == i && *data_type == fields[i].data_type)
        })
}
