//! Which tables of an operator's keyed state forget rows that were not written for long, as Flink's
//! operators do with `table.exec.state.ttl`.

use millrace_dataflow::{Frame, Node, Operator, TimeKind};
use millrace_state::keyed::Lifetimes;

use crate::operators::deduplicate;
use crate::operators::rank::{CANDIDATES, COUNTS};

/// The lifetimes of the tables of an operator.
pub fn lifetimes(node: &Node) -> Lifetimes {
    let all = Lifetimes::default();
    let ttl = node.state_ttl(0);
    match &node.operator {
        Operator::GroupAggregate(_) | Operator::GlobalGroupAggregate(_) => {
            all.with("groups", ttl).with("groups-maps", ttl)
        }
        Operator::ChangelogNormalize(_) | Operator::SinkMaterializer(_) => all.with("rows", ttl),
        Operator::Rank(plan) => match plan.deduplicates() {
            Some(kept) => deduplicate::lifetimes(kept, ttl),
            None => all.with(CANDIDATES, ttl).with(COUNTS, ttl),
        },
        // Other windows have timers that forget a key as a whole.
        Operator::OverAggregate(plan)
            if plan.kind == TimeKind::Processing
                && matches!(plan.frame, Frame::Rows(None) | Frame::Range(None)) =>
        {
            all.with("accumulators", ttl).with("accumulators-maps", ttl)
        }
        Operator::Join(_) => all.with("left", ttl).with("right", node.state_ttl(1)),
        // Without state, or with state that time itself ends.
        Operator::OverAggregate(_)
        | Operator::WindowAggregate(_)
        | Operator::IntervalJoin(_)
        | Operator::WindowJoin(_)
        | Operator::WindowRank(_)
        | Operator::Source(_)
        | Operator::Calc { .. }
        | Operator::Watermark(_)
        | Operator::DropUpdateBefore
        | Operator::Union
        | Operator::Values { .. }
        | Operator::ConstraintEnforcer { .. }
        | Operator::WindowTable(_)
        | Operator::Expand(_)
        | Operator::LocalGroupAggregate(_)
        | Operator::Sink(_) => all,
    }
}
