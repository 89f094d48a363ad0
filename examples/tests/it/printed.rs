//! Jobs that print.

use millrace_testkit::engine;

use crate::workspace;

fn printed(job: &str) -> Vec<String> {
    let workspace = workspace("printed");
    let output = engine::run_to_end(workspace.path(), &["run", job]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut rows: Vec<String> = text
        .lines()
        .filter(|line| line.contains("+I["))
        .map(str::to_owned)
        .collect();
    rows.sort();
    rows
}

#[test]
fn hello_prints_ten_squares() {
    let mut expected: Vec<String> = (1..=10)
        .map(|n| format!("+I[hello, {n} squared is {}]", n * n))
        .collect();
    expected.sort();
    assert_eq!(printed("examples/hello.sql"), expected);
}

#[test]
fn statement_set_prints_events_and_what_is_rejected() {
    assert_eq!(
        printed("examples/statement-set.sql"),
        [
            "events> +I[order, 2, grace]",
            "events> +I[order, 5, barbara]",
            "events> +I[order, 6, grace]",
            "events> +I[return, 2, grace]",
            "events> +I[return, 4, linus]",
            "rejected> +I[3, no quantity]",
            "rejected> +I[7, no price]",
        ]
    );
}
