//! Top-N and OVER as EXPLAIN shows them.

use millrace_expr::RowType;

use super::{column_name, column_names, window_columns};
use crate::ranking::{Frame, OverAggregate, Rank, RankStrategy, SortKey, WindowRank};

/// `Rank(strategy=[AppendFastStrategy], rankType=[ROW_NUMBER], rankRange=[rankStart=1, rankEnd=2], ...)`
pub(super) fn rank(rank: &Rank, input: &RowType, output: &RowType) -> String {
    let strategy = match &rank.strategy {
        RankStrategy::AppendFast => "AppendFastStrategy".to_owned(),
        RankStrategy::Retract => "RetractStrategy".to_owned(),
        RankStrategy::UpdateFast { keys } => {
            let keys: Vec<String> = keys.iter().map(usize::to_string).collect();
            format!("UpdateFastStrategy[{}]", keys.join(","))
        }
    };
    if let Some(deduplicate) = rank.deduplicates() {
        return format!(
            "Deduplicate(keep=[{}], key=[{}], order=[{}], outputInsertOnly=[{}])",
            if deduplicate.keep_last {
                "LastRow"
            } else {
                "FirstRow"
            },
            column_names(input, &rank.partition),
            if deduplicate.rowtime.is_some() {
                "ROWTIME"
            } else {
                "PROCTIME"
            },
            !deduplicate.keep_last
        );
    }
    format!(
        "Rank(strategy=[{strategy}], rankType=[ROW_NUMBER], rankRange=[rankStart={}, rankEnd={}], \
         partitionBy=[{}], orderBy=[{}], select=[{}])",
        rank.start,
        rank.end,
        column_names(input, &rank.partition),
        order(&rank.order, input),
        output.names().join(", ")
    )
}

/// `WindowRank(window=[TUMBLE(win_start=[s], win_end=[e], size=[5 s])], rankType=[ROW_NUMBER], ...)`
pub(super) fn window_rank(rank: &WindowRank, input: &RowType, output: &RowType) -> String {
    format!(
        "WindowRank(window=[{}], rankType=[ROW_NUMBER], rankRange=[rankStart={}, rankEnd={}], \
         partitionBy=[{}], orderBy=[{}], select=[{}])",
        window_columns(&rank.window, input),
        rank.start,
        rank.end,
        column_names(input, &rank.partition),
        order(&rank.order, input),
        output.names().join(", ")
    )
}

fn order(keys: &[SortKey], input: &RowType) -> String {
    let key = |key: &SortKey| {
        let direction = if key.descending { "DESC" } else { "ASC" };
        let nulls = match (key.descending, key.nulls_first) {
            (true, true) => " NULLS FIRST",
            (false, false) => " NULLS LAST",
            _ => "",
        };
        let column = match key.column {
            SortKey::UNREAD => "PROCTIME()".to_owned(),
            column => column_name(input, column),
        };
        format!("{column} {direction}{nulls}")
    };
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}

/// `OverAggregate(partitionBy=[a], orderBy=[ts ASC], window=[...], select=[a, ts, SUM(b) AS w0$o0])`
pub(super) fn over(over: &OverAggregate, input: &RowType, output: &RowType) -> String {
    let partition = match over.partition.as_slice() {
        [] => String::new(),
        columns => format!("partitionBy=[{}], ", column_names(input, columns)),
    };
    // Flink's own spelling and space.
    let (unit, start) = match over.frame {
        Frame::Rows(rows) => ("ROWS", rows.map(|n| n.to_string())),
        Frame::Range(millis) => ("RANG", millis.map(|n| n.to_string())),
    };
    let start = start.unwrap_or_else(|| "UNBOUNDED".to_owned());
    let mut select = input.names();
    let results = output.fields.iter().skip(select.len());
    for (call, field) in over.calls.iter().zip(results) {
        let written = call.written(&|column| column_name(input, column));
        select.push(format!("{written} AS {}", field.name));
    }
    format!(
        "OverAggregate({partition}orderBy=[{} ASC], window=[ {unit} BETWEEN {start} PRECEDING AND CURRENT ROW], select=[{}])",
        column_name(input, over.time),
        select.join(", ")
    )
}
