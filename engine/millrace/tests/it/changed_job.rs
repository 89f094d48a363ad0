//! A job that stops in the middle of its files, is changed, and goes on: what was counted before must be
//! in what comes out, or the change must be refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::state::newest;
use super::{Folder, output, text};

const ROWS: i64 = 60;

/// A folder with orders, payments, and the checkpoints of a job over them.
struct Bench(Folder);

/// The tables, with columns of `orders` more.
fn tables(folder: &Folder, more: &str) -> String {
    let source = |name: &str| {
        format!(
            "('connector' = 'filesystem', 'path' = '{}', 'format' = 'json')",
            folder.path(name).display()
        )
    };
    format!(
        "SET 'pipeline.name' = 'changed';
         CREATE TABLE orders (id INT, k INT, amount INT{more}) WITH {};
         CREATE TABLE payments (id INT, paid INT) WITH {};
         CREATE TABLE totals (k INT, orders BIGINT, total INT) WITH ('connector' = 'print');
         CREATE TABLE wider (k INT, orders BIGINT, total INT, twice INT) WITH ('connector' = 'print');
         CREATE TABLE parts (part STRING, k INT, total INT) WITH ('connector' = 'print');
         CREATE TABLE most (k INT, most INT) WITH ('connector' = 'print');
         CREATE TABLE pairs (id INT, paid INT) WITH ('connector' = 'print');\n",
        source("orders.json"),
        source("payments.json")
    )
}

const TOTALS: &str = "INSERT INTO totals SELECT k, COUNT(*), SUM(amount) FROM orders GROUP BY k;";
const PAIRS: &str =
    "INSERT INTO pairs SELECT o.id, p.paid FROM orders o JOIN payments p ON o.id = p.id WHERE o.amount > 0;";
const PARTS: [&str; 2] = [
    "SELECT 'odd', k, SUM(amount) FROM orders WHERE MOD(amount, 2) = 1 GROUP BY k",
    "SELECT 'even', k, SUM(amount) FROM orders WHERE MOD(amount, 2) = 0 GROUP BY k",
];

impl Bench {
    fn new() -> Bench {
        let folder = Folder::new();
        let order = |id: i64| {
            format!(
                "{{\"id\":{id},\"k\":{},\"amount\":{id},\"note\":\"n{id}\"}}\n",
                id % 5
            )
        };
        folder.write("orders.json", &(1..=ROWS).map(order).collect::<String>());
        // The payments of early orders are late, and the other way round.
        let payment = |id: i64| format!("{{\"id\":{id},\"paid\":{}}}\n", 10 * id);
        folder.write(
            "payments.json",
            &(1..=ROWS).rev().map(payment).collect::<String>(),
        );
        Bench(folder)
    }

    fn script(&self, more: &str, statements: &[&str]) -> String {
        let set = format!("BEGIN STATEMENT SET;\n{}\nEND;\n", statements.join("\n"));
        self.0.write("job.sql", &(tables(&self.0, more) + &set))
    }

    fn checkpoints(&self) -> PathBuf {
        self.0.path("checkpoints")
    }

    /// Runs to the end, or until the job stops; what was printed.
    fn run(&self, script: &str, settings: &[&str]) -> Result<String, String> {
        let checkpoints = format!("execution.checkpointing.dir={}", self.checkpoints().display());
        let mut arguments = vec![
            "run",
            script,
            "-D",
            &checkpoints,
            "-D",
            "millrace.batch.max-rows=5",
        ];
        arguments.extend(settings.iter().flat_map(|setting| ["-D", setting]));
        let output = output(&arguments);
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    /// Runs the first half of the rows.
    fn stop_in_the_middle(&self, statements: &[&str]) {
        let script = self.script("", statements);
        let settings = [
            "millrace.test.checkpoint-after-rows=30",
            "millrace.test.stop-at-checkpoint=true",
        ];
        self.run(&script, &settings).unwrap();
    }

    fn explain(&self, script: &str) -> String {
        let checkpoint = newest(&self.checkpoints()).unwrap().display().to_string();
        let output = output(&["explain", script, "--compatible-with", &checkpoint]);
        text(&output.stdout) + &text(&output.stderr)
    }

    /// The changed job goes on: nothing is lost or starts anew but what is said, and what it prints at last.
    fn goes_on(&self, more: &str, statements: &[&str], new: usize) -> String {
        let script = self.script(more, statements);
        let said = self.explain(&script);
        // A sink that prints has nothing to keep.
        let is_new = |line: &&str| line.ends_with("new: starts empty") && !line.starts_with("sink:");
        assert_eq!(said.lines().filter(is_new).count(), new, "{said}");
        assert!(!said.contains("lost") && !said.contains("incompatible"), "{said}");
        self.run(&script, &[]).unwrap()
    }

    /// The changed job is refused, by explain and by run in the same words, which these are among.
    fn is_refused(&self, statements: &[&str], words: &[&str]) {
        let script = self.script("", statements);
        let said = self.explain(&script);
        let line = said.lines().find(|line| line.contains(": incompatible: "));
        let line = line.unwrap_or_else(|| panic!("{said}"));
        for word in words {
            assert!(line.contains(word), "{word} in {line}");
        }
        let refused = self.run(&script, &[]).unwrap_err();
        assert!(refused.contains(line), "{line} in {refused}");
        assert!(refused.contains("--fresh"), "{refused}");
        // And nothing has happened to the job: what it was goes on.
        let script = self.script("", &[TOTALS, PAIRS]);
        assert_eq!(last_rows(&self.run(&script, &[]).unwrap(), 1), totals(|_| true));
    }
}

/// Of printed changes the newest row of each key, which is so many columns long. Tables of two columns, which
/// print too, are left out.
fn last_rows(printed: &str, keys: usize) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    for line in printed.lines() {
        let Some(at) = line.find("+I[").or_else(|| line.find("+U[")) else {
            continue;
        };
        let row = line[at + 3..].trim_end_matches(']');
        let columns: Vec<&str> = row.split(", ").collect();
        if columns.len() > 2 {
            rows.insert(columns[..keys].join(", "), columns[keys..].join(", "));
        }
    }
    rows
}

/// The number of orders and their sum by key, over all rows.
fn totals(passes: fn(i64) -> bool) -> BTreeMap<String, String> {
    let mut totals: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for id in (1..=ROWS).filter(|id| passes(*id)) {
        let (count, sum) = totals.entry(id % 5).or_default();
        *count += 1;
        *sum += id;
    }
    let row = |(k, (count, sum)): (i64, (i64, i64))| (k.to_string(), format!("{count}, {sum}"));
    totals.into_iter().map(row).collect()
}

#[test]
fn a_column_more_in_the_source_and_one_in_the_sink_keep_the_sums() {
    let bench = Bench::new();
    bench.stop_in_the_middle(&[TOTALS]);
    let printed = bench.goes_on(", note STRING", &[TOTALS], 0);
    assert_eq!(last_rows(&printed, 1), totals(|_| true));

    let bench = Bench::new();
    let wider = "INSERT INTO wider SELECT k, COUNT(*), SUM(amount), SUM(amount) * 2 FROM orders GROUP BY k;";
    let before = "INSERT INTO wider SELECT k, COUNT(*), SUM(amount), 0 FROM orders GROUP BY k;";
    bench.stop_in_the_middle(&[before]);
    let printed = bench.goes_on(", note STRING", &[wider], 0);
    for (key, row) in totals(|_| true) {
        let sum: i64 = row.split(", ").nth(1).unwrap().parse().unwrap();
        assert_eq!(last_rows(&printed, 1)[&key], format!("{row}, {}", 2 * sum));
    }
}

#[test]
fn other_names_a_view_and_statements_in_another_order_keep_all_state() {
    let bench = Bench::new();
    bench.stop_in_the_middle(&[TOTALS, PAIRS]);
    let renamed = "INSERT INTO totals SELECT g, c, s FROM
        (SELECT f.k AS g, COUNT(*) AS c, SUM(f.n) AS s FROM (SELECT amount AS n, k FROM orders) AS f GROUP BY f.k) AS x;";
    let pairs = "INSERT INTO pairs SELECT mine.number, yours.money
        FROM (SELECT id AS number, amount AS worth FROM orders) mine
        JOIN (SELECT id AS of_order, paid AS money FROM payments) yours ON mine.number = yours.of_order
        WHERE mine.worth > 0;";
    let printed = bench.goes_on("", &[pairs, renamed], 0);
    assert_eq!(last_rows(&printed, 1), totals(|_| true));
}

#[test]
fn a_sink_more_that_groups_by_the_same_key_takes_no_other_state() {
    let bench = Bench::new();
    bench.stop_in_the_middle(&[TOTALS]);
    let most = "INSERT INTO most SELECT k, MAX(amount) FROM orders GROUP BY k;";
    let printed = bench.goes_on("", &[most, TOTALS], 1);
    assert_eq!(last_rows(&printed, 1), totals(|_| true));
}

/// The same sums under other names, of columns in another order: an operator of its own, which goes on from what
/// the one has kept; and so does that.
#[test]
fn a_statement_more_that_keeps_what_another_keeps_shares_its_state() {
    let bench = Bench::new();
    let one = "INSERT INTO parts SELECT 'one', k, SUM(amount) FROM orders GROUP BY k;";
    let two = "INSERT INTO parts SELECT 'two', g, s FROM
        (SELECT g, SUM(n) AS s FROM (SELECT amount AS n, k AS g FROM orders) GROUP BY g);";
    bench.stop_in_the_middle(&[one]);
    // Checkpoints after that name its files twice, and those before it go.
    let settings = [
        "millrace.test.checkpoint-after-rows=10",
        "millrace.test.stop-at-checkpoint=true",
    ];
    let script = bench.script("", &[two, one]);
    let before = bench.run(&script, &settings).unwrap() + &bench.run(&script, &settings).unwrap();
    let printed = before + &bench.goes_on("", &[one, two], 0);
    let rows = last_rows(&printed, 2);
    for (key, row) in totals(|_| true) {
        let sum = row.split(", ").nth(1).unwrap();
        for part in ["one", "two"] {
            assert_eq!(rows[&format!("{part}, {key}")], sum, "{part}, {key}");
        }
    }
}

#[test]
fn a_source_more_is_read_from_its_beginning_and_the_others_go_on() {
    let bench = Bench::new();
    bench.stop_in_the_middle(&[TOTALS]);
    let paid = "INSERT INTO most SELECT id, paid FROM payments;";
    let generated = "INSERT INTO pairs SELECT n, n FROM generated WHERE n > 1000;";
    let script = bench.script("", &[TOTALS, paid, generated]);
    let sql = std::fs::read_to_string(&script).unwrap();
    let generator =
        "CREATE TABLE generated (n INT) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence',
        'fields.n.start' = '1001', 'fields.n.end' = '1020');";
    std::fs::write(
        &script,
        sql.replace("BEGIN STATEMENT", &format!("{generator}\nBEGIN STATEMENT")),
    )
    .unwrap();
    let said = bench.explain(&script);
    assert!(said.contains("source:payments (Source: payments"), "{said}");
    let printed = bench.run(&script, &[]).unwrap();
    assert_eq!(last_rows(&printed, 1), totals(|_| true));
    for id in 1..=ROWS {
        assert!(
            printed.contains(&format!("+I[{id}, {}]\n", 10 * id)),
            "{id} of {printed}"
        );
    }
    let of_generator = printed
        .lines()
        .filter(|line| line.starts_with("+I[10") && line.len() == "+I[1001, 1001]".len());
    assert_eq!(of_generator.count(), 20, "{printed}");
}

#[test]
fn parts_of_a_union_keep_their_own_sums_whatever_stands_before_them() {
    let bench = Bench::new();
    let union = |parts: &[&str]| format!("INSERT INTO parts {};", parts.join(" UNION ALL "));
    bench.stop_in_the_middle(&[&union(&PARTS)]);
    let fifth = "SELECT 'fifth', k, SUM(amount) FROM orders WHERE MOD(amount, 5) = 0 GROUP BY k";
    let printed = bench.goes_on("", &[&union(&[fifth, PARTS[1], PARTS[0]])], 1);
    let rows = last_rows(&printed, 2);
    for (part, passes) in [
        ("odd", (|id| id % 2 == 1) as fn(i64) -> bool),
        ("even", |id| id % 2 == 0),
    ] {
        for (key, row) in totals(passes) {
            let sum = row.split(", ").nth(1).unwrap();
            assert_eq!(rows[&format!("{part}, {key}")], sum, "{part}, {key}");
        }
    }
}

#[test]
fn a_join_keeps_both_of_its_sides() {
    let bench = Bench::new();
    bench.stop_in_the_middle(&[PAIRS]);
    let half = bench.run(&bench.script(", note STRING", &[PAIRS]), &[]).unwrap();
    let pairs: Vec<&str> = half.lines().filter(|line| line.contains("+I[")).collect();
    // Payments come the other way round: until the middle no order has met its own.
    assert_eq!(pairs.len() as i64, ROWS, "{half}");
}

#[test]
fn what_would_start_with_another_ones_state_is_refused() {
    for (changed, words) in [
        // An aggregate more would have to know the rows that are gone.
        (
            "INSERT INTO wider SELECT k, COUNT(*), SUM(amount), MAX(amount) FROM orders GROUP BY k;",
            ["MAX(orders.amount)", "SUM(orders.amount)"],
        ),
        (
            "INSERT INTO totals SELECT MOD(id, 7), COUNT(*), SUM(amount) FROM orders GROUP BY MOD(id, 7);",
            ["keyed by (orders.k INT)", "MOD(orders.id, 7)"],
        ),
        (
            "INSERT INTO totals SELECT k, COUNT(*), SUM(amount) FROM orders WHERE amount > 5 GROUP BY k;",
            ["of the rows of orders,", "orders WHERE (orders.amount > 5)"],
        ),
        (
            "INSERT INTO totals SELECT k, COUNT(*), SUM(id) FROM orders GROUP BY k;",
            ["SUM(orders.amount)", "SUM(orders.id)"],
        ),
    ] {
        let bench = Bench::new();
        bench.stop_in_the_middle(&[TOTALS, PAIRS]);
        bench.is_refused(&[changed, PAIRS], &words);
    }
}
