//! A topic that is added to a job which goes on from a checkpoint.

use super::{command, kafka, write};

fn rows(from: u32) -> Vec<(String, Option<String>)> {
    let row = |n: u32| (n.to_string(), Some(format!(r#"{{"n":{n}}}"#)));
    (from..from + 4).map(row).collect()
}

fn table(name: &str, topic: &str, startup: &str) -> String {
    format!(
        "CREATE TABLE {name} (n INT) WITH ('connector' = 'kafka', 'topic' = '{topic}', 'format' = 'json',
           'properties.bootstrap.servers' = '{}', 'scan.startup.mode' = '{startup}', 'scan.bounded.mode' = 'latest-offset');
         CREATE TABLE of_{name} (n INT) WITH ('connector' = 'print', 'print-identifier' = '{name}');\n",
        kafka().bootstrap()
    )
}

#[test]
fn a_topic_more_begins_where_its_startup_mode_says_and_the_others_go_on() {
    let topics = ["read", "all", "newest"].map(|name| kafka().unique_topic(name, 1));
    for (topic, from) in topics.iter().zip([0, 10, 20]) {
        write(topic, &rows(from));
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |tables: &[(&str, &str, &str)], settings: &[&str]| {
        let declared: String = tables
            .iter()
            .map(|(name, topic, mode)| table(name, topic, mode))
            .collect();
        let inserted = tables
            .iter()
            .map(|(name, ..)| format!("INSERT INTO of_{name} SELECT n FROM {name};\n"));
        let script = format!(
            "SET 'pipeline.name' = 'added';\n{declared}BEGIN STATEMENT SET;\n{}END;\n",
            inserted.collect::<String>()
        );
        let settings = [&["parallelism.default=1", "millrace.batch.max-rows=1"], settings].concat();
        let output = command(folder.path(), &script, &settings).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let printed = String::from_utf8(output.stdout).unwrap();
        printed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let read = ("read", topics[0].as_str(), "earliest-offset");
    let half = [
        "millrace.test.checkpoint-after-rows=2",
        "millrace.test.stop-at-checkpoint=true",
    ];
    assert_eq!(run(&[read], &half), ["read> +I[0]", "read> +I[1]"]);
    let all = ("all", topics[1].as_str(), "earliest-offset");
    let newest = ("newest", topics[2].as_str(), "latest-offset");
    let mut rest = run(&[newest, read, all], &[]);
    rest.sort_unstable();
    let expected = [
        "all> +I[10]",
        "all> +I[11]",
        "all> +I[12]",
        "all> +I[13]",
        "read> +I[2]",
        "read> +I[3]",
    ];
    assert_eq!(rest, expected);
}
