//! Queries, one for each kind of operator with keyed state, and how they must not change.

/// A query whose rows come from an operator.
pub struct Case {
    /// What its uid begins with.
    pub operator: &'static str,
    /// Of the sink.
    pub columns: &'static str,
    /// `{orders}`, `{payments}` and `{changes}` are the tables, or views of them.
    pub query: &'static str,
    /// What is replaced in the script, and what has to be said then.
    pub refused: &'static [(&'static str, &'static str, &'static [&'static str])],
}

pub const TUMBLE: Case = Case {
    operator: "window-aggregate",
    columns: "k BIGINT, s TIMESTAMP(3), c BIGINT, total BIGINT",
    query: "SELECT k, window_start, COUNT(*), SUM(amount)
        FROM TABLE(TUMBLE(TABLE {orders}, DESCRIPTOR(`at`), INTERVAL '20' SECOND)) GROUP BY k, window_start, window_end",
    refused: &[
        ("INTERVAL '20' SECOND", "INTERVAL '30' SECOND", &["kept as slices of TUMBLE(size=[20 s])", "TUMBLE(size=[30 s])"]),
        ("amount INT", "amount BIGINT", &["SUM(orders.amount).sum INT", "SUM(orders.amount).sum BIGINT"]),
        ("SUM(amount)", "MIN(amount)", &["SUM(orders.amount)", "MIN(orders.amount)"]),
        ("k INT, amount", "k BIGINT, amount", &["keyed by (orders.k INT)", "(orders.k BIGINT)"]),
    ],
};

pub const HOP: Case = Case {
    operator: "window-aggregate",
    columns: "k INT, s TIMESTAMP(3), c BIGINT, total BIGINT",
    query: "SELECT k, window_start, COUNT(DISTINCT MOD(id, 7)), SUM(amount)
        FROM TABLE(HOP(TABLE {orders}, DESCRIPTOR(`at`), INTERVAL '10' SECOND, INTERVAL '30' SECOND))
        GROUP BY k, window_start, window_end",
    refused: &[
        (
            "INTERVAL '10' SECOND",
            "INTERVAL '15' SECOND",
            &["HOP(size=[30 s], slide=[10 s])", "slide=[15 s]"],
        ),
        (
            "INTERVAL '30' SECOND",
            "INTERVAL '40' SECOND",
            &["HOP(size=[30 s], slide=[10 s])", "size=[40 s]"],
        ),
        (
            "amount INT",
            "amount SMALLINT",
            &["SUM(orders.amount).sum INT", "SUM(orders.amount).sum SMALLINT"],
        ),
    ],
};

pub const CUMULATE: Case = Case {
    operator: "window-aggregate",
    columns: "e TIMESTAMP(3), c BIGINT, most BIGINT",
    query: "SELECT window_end, COUNT(*), MAX(amount)
        FROM TABLE(CUMULATE(TABLE {orders}, DESCRIPTOR(`at`), INTERVAL '10' SECOND, INTERVAL '40' SECOND))
        GROUP BY window_start, window_end",
    refused: &[
        (
            "INTERVAL '10' SECOND",
            "INTERVAL '20' SECOND",
            &["step=[10 s]", "step=[20 s]"],
        ),
        ("amount INT", "amount BIGINT", &["MAX(orders.amount)"]),
    ],
};

pub const SESSION: Case = Case {
    operator: "window-aggregate",
    columns: "k INT, s TIMESTAMP(3), e TIMESTAMP(3), c BIGINT, total BIGINT",
    query: "SELECT k, window_start, window_end, COUNT(*), SUM(amount)
        FROM TABLE(SESSION(TABLE {orders} PARTITION BY k, DESCRIPTOR(`at`), INTERVAL '10' SECOND))
        GROUP BY k, window_start, window_end",
    refused: &[
        (
            "INTERVAL '10' SECOND",
            "INTERVAL '12' SECOND",
            &["SESSION(gap=[10 s])", "SESSION(gap=[12 s])"],
        ),
        ("amount INT", "amount BIGINT", &["SUM(orders.amount).sum INT"]),
    ],
};

pub const SESSION_ROWS: Case = Case {
    operator: "window-table",
    columns: "k INT, id INT, s TIMESTAMP(3), e TIMESTAMP(3)",
    query: "SELECT k, id, window_start, window_end
        FROM TABLE(SESSION(TABLE {orders} PARTITION BY k, DESCRIPTOR(`at`), INTERVAL '10' SECOND))",
    refused: &[
        (
            "INTERVAL '10' SECOND",
            "INTERVAL '12' SECOND",
            &["SESSION(gap=[10 s])", "SESSION(gap=[12 s])"],
        ),
        (
            "PARTITION BY k",
            "PARTITION BY id",
            &["keyed by (orders.k INT)", "(orders.id INT)"],
        ),
    ],
};

pub const WINDOW_RANK: Case = Case {
    operator: "window-rank",
    columns: "k INT, id INT, amount BIGINT, n BIGINT",
    query: "SELECT k, id, amount, rn FROM (SELECT *, ROW_NUMBER() OVER
          (PARTITION BY window_start, window_end, k ORDER BY amount DESC) AS rn
        FROM TABLE(TUMBLE(TABLE {orders}, DESCRIPTOR(`at`), INTERVAL '20' SECOND))) WHERE rn <= 2",
    refused: &[
        (
            "INTERVAL '20' SECOND",
            "INTERVAL '30' SECOND",
            &["rows of TUMBLE(size=[20 s])", "TUMBLE(size=[30 s])"],
        ),
        (
            "amount DESC",
            "amount",
            &["orders.amount DESC", "orders.amount ASC"],
        ),
        (
            "amount INT",
            "amount BIGINT",
            &["orders.amount INT", "orders.amount BIGINT"],
        ),
    ],
};

pub const WINDOW_JOIN: Case = Case {
    operator: "window-join",
    columns: "id INT, paid BIGINT",
    query: "SELECT o.id, p.paid
        FROM (SELECT * FROM TABLE(TUMBLE(TABLE {orders}, DESCRIPTOR(`at`), INTERVAL '20' SECOND))) o
        JOIN (SELECT * FROM TABLE(TUMBLE(TABLE {payments}, DESCRIPTOR(due), INTERVAL '20' SECOND))) p
        ON o.id = p.id AND o.window_start = p.window_start AND o.window_end = p.window_end",
    refused: &[
        (
            "INTERVAL '20' SECOND",
            "INTERVAL '30' SECOND",
            &["rows of TUMBLE(size=[20 s])", "TUMBLE(size=[30 s])"],
        ),
        (
            "JOIN (SELECT",
            "LEFT JOIN (SELECT",
            &["InnerJoin", "LeftOuterJoin"],
        ),
        (
            "paid INT",
            "paid BIGINT",
            &["right.payments.paid INT", "right.payments.paid BIGINT"],
        ),
    ],
};

pub const OVER_ROWS: Case = Case {
    operator: "over",
    columns: "id INT, total BIGINT",
    query: "SELECT id, SUM(amount) OVER (PARTITION BY k ORDER BY `at` ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
        FROM {orders}",
    refused: &[
        ("UNBOUNDED PRECEDING", "4 PRECEDING", &["for ROWS BETWEEN UNBOUNDED PRECEDING", "ROWS BETWEEN 4 PRECEDING"]),
        ("PARTITION BY k", "PARTITION BY MOD(k, 2)", &["keyed by (orders.k INT)"]),
        ("amount INT", "amount BIGINT", &["orders.amount INT", "orders.amount BIGINT"]),
    ],
};

pub const OVER_RANGE: Case = Case {
    operator: "over",
    columns: "id INT, total BIGINT, c BIGINT",
    query: "SELECT id, SUM(amount) OVER w, COUNT(*) OVER w FROM {orders}
        WINDOW w AS (PARTITION BY k ORDER BY `at` RANGE BETWEEN INTERVAL '15' SECOND PRECEDING AND CURRENT ROW)",
    refused: &[("INTERVAL '15' SECOND", "INTERVAL '20' SECOND", &["RANGE BETWEEN 15000 ms PRECEDING", "20000 ms"])],
};

pub const OVER_RUNNING: Case = Case {
    operator: "over",
    columns: "id INT, total BIGINT",
    query: "SELECT id, SUM(amount) OVER (PARTITION BY k ORDER BY proc) FROM {orders}",
    refused: &[
        (
            "SUM(amount)",
            "MAX(amount)",
            &["SUM(orders.amount)", "MAX(orders.amount)"],
        ),
        (
            "amount INT",
            "amount BIGINT",
            &["SUM(orders.amount) INT", "SUM(orders.amount) BIGINT"],
        ),
    ],
};

pub const TOP_2: Case = Case {
    operator: "rank",
    columns: "k INT, id INT, amount BIGINT",
    query:
        "SELECT k, id, amount FROM
        (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY amount DESC) AS rn FROM {orders}) WHERE rn <= 2",
    refused: &[
        ("rn <= 2", "rn <= 3", &["to 2", "to 3"]),
        (
            "amount DESC",
            "amount",
            &["orders.amount DESC", "orders.amount ASC"],
        ),
        (
            "amount INT",
            "amount BIGINT",
            &["orders.amount INT", "orders.amount BIGINT"],
        ),
    ],
};

pub const TOP_OF_GROUPS: Case = Case {
    operator: "rank",
    columns: "g INT, k INT, total BIGINT",
    query: "SELECT g, k, total FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY g ORDER BY total) AS rn
        FROM (SELECT MOD(k, 2) AS g, k, SUM(amount) AS total FROM {orders} GROUP BY k)) WHERE rn <= 2",
    refused: &[("ORDER BY total", "ORDER BY total DESC", &["ASC", "DESC"])],
};

pub const FIRST_BY_ARRIVAL: Case = Case {
    operator: "rank",
    columns: "k INT, id INT",
    query:
        "SELECT k, id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY proc) AS rn FROM {orders})
        WHERE rn = 1",
    refused: &[("ORDER BY proc", "ORDER BY proc DESC", &["first row", "last row"])],
};

pub const FIRST_BY_TIME: Case = Case {
    operator: "rank",
    columns: "k INT, id INT",
    query:
        "SELECT k, id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY `at`) AS rn FROM {orders})
        WHERE rn = 1",
    refused: &[
        ("ORDER BY `at`", "ORDER BY `at` DESC", &["first row", "last row"]),
        (
            "ORDER BY `at`",
            "ORDER BY proc",
            &["first row by orders.at", "first row by clock"],
        ),
    ],
};

pub const LAST_BY_TIME: Case = Case {
    operator: "rank",
    columns: "k INT, id BIGINT",
    query: "SELECT k, id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY `at` DESC) AS rn FROM {orders})
        WHERE rn = 1",
    refused: &[("id INT, k", "id BIGINT, k", &["orders.id INT", "orders.id BIGINT"])],
};

pub const JOIN: Case = Case {
    operator: "join",
    columns: "id INT, amount BIGINT, paid BIGINT",
    query: "SELECT o.id, o.amount, p.paid FROM {orders} o JOIN {payments} p ON o.id = p.id",
    refused: &[
        (
            "JOIN {payments}",
            "LEFT JOIN {payments}",
            &["InnerJoin", "LeftOuterJoin"],
        ),
        ("o.id = p.id", "o.id = p.id + 1", &["(payments.id + 1) INT"]),
        (
            "paid INT",
            "paid BIGINT",
            &["right.payments.paid INT", "right.payments.paid BIGINT"],
        ),
    ],
};

pub const SEMI_JOIN: Case = Case {
    operator: "join",
    columns: "id INT, amount BIGINT",
    query: "SELECT id, amount FROM {orders} WHERE id IN (SELECT id FROM {payments})",
    refused: &[(" IN (SELECT", " NOT IN (SELECT", &["keyed by (orders.id INT)"])],
};

pub const INTERVAL_JOIN: Case = Case {
    operator: "interval-join",
    columns: "id INT, paid BIGINT",
    query: "SELECT o.id, p.paid FROM {orders} o JOIN {payments} p ON o.id = p.id
        AND p.due BETWEEN o.`at` - INTERVAL '30' SECOND AND o.`at` + INTERVAL '30' SECOND",
    refused: &[
        (
            "- INTERVAL '30' SECOND",
            "- INTERVAL '35' SECOND",
            &["another condition"],
        ),
        (
            "JOIN {payments}",
            "LEFT JOIN {payments}",
            &["InnerJoin", "LeftOuterJoin"],
        ),
        (
            "o.id = p.id",
            "o.k = p.id",
            &["keyed by (orders.id INT)", "(orders.k INT)"],
        ),
        (
            "paid INT",
            "paid BIGINT",
            &["right.payments.paid INT", "right.payments.paid BIGINT"],
        ),
    ],
};

pub const NORMALIZE: Case = Case {
    operator: "changelog-normalize",
    columns: "id INT, number BIGINT",
    query: "SELECT id, number FROM {changes}",
    refused: &[(
        "number INT",
        "number BIGINT",
        &["changes.number INT", "changes.number BIGINT"],
    )],
};

pub const MATERIALIZER: Case = Case {
    operator: "sink-materializer",
    columns: "bucket INT, k INT, PRIMARY KEY (bucket) NOT ENFORCED",
    query: "SELECT CAST(MOD(total, 3) AS INT), k FROM (SELECT k, SUM(amount) AS total FROM {orders} GROUP BY k)",
    refused: &[("bucket INT", "bucket BIGINT", &["INT", "BIGINT"])],
};

pub const GROUPS: Case = Case {
    operator: "group-aggregate",
    columns: "k BIGINT, c BIGINT, total BIGINT",
    query: "SELECT k, COUNT(DISTINCT MOD(id, 7)), SUM(amount) FROM {orders} GROUP BY k",
    refused: &[
        (
            "amount INT",
            "amount BIGINT",
            &["SUM(orders.amount).sum INT", "SUM(orders.amount).sum BIGINT"],
        ),
        (
            "k INT, amount",
            "k BIGINT, amount",
            &["keyed by (orders.k INT)", "(orders.k BIGINT)"],
        ),
    ],
};
