//! State of long strings stays within the memory that is set for it: the peak of a real process, measured beside
//! that of the same job over few keys. Without the bound it would be several times as much.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use millrace_testkit::wait;

use crate::{Folder, millrace, text};

const MANAGED: u64 = 64 << 20;
/// Beside the managed memory and what the process takes without state: batches on their way through wider states,
/// and what the allocator keeps for a second.
const OVERHEAD: u64 = 120 << 20;
/// Rows of about 1 KiB, so that they are several times the memory.
const ROWS: u64 = 250_000;

/// Rows with a `text` of 1,000 characters; `k` counts up to the number of keys and begins anew. The generator gives
/// few characters, which are made many: it is not what is measured.
fn source(keys: u64) -> String {
    format!(
        "SET 'taskmanager.memory.managed.size' = '{MANAGED} b';
        SET 'table.exec.mini-batch.enabled' = 'false';
        CREATE TABLE numbers (n BIGINT, short STRING, at AS PROCTIME(), ts AS TO_TIMESTAMP_LTZ(n, 3),
          WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen',
          'rows-per-second' = '1000000000', 'fields.short.length' = '50',
          'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{ROWS}');
        CREATE TEMPORARY VIEW texts AS
          SELECT n, MOD(n, {keys}) AS k, REPEAT(short, 20) AS text, at, ts FROM numbers;"
    )
}

/// The most memory that a job took, in bytes.
fn peak(query: &str, keys: u64) -> u64 {
    let folder = Folder::new();
    let sql = format!("{} {query}", source(keys))
        .replace("${three}", &(3 * keys).to_string())
        .replace("${keys}", &keys.to_string());
    let file = folder.write("job.sql", &sql);
    let scratch = format!("io.tmp.dirs={}", folder.path("scratch").display());
    let mut job = millrace(&["run", &file, "-D", &scratch])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", job.id());
    let mut peak = 0;
    wait::until("the end of the job", Duration::from_secs(240), || {
        peak = high_water(Path::new(&status)).unwrap_or(0).max(peak);
        Ok(job.try_wait()?)
    })
    .unwrap();
    let output = job.wait_with_output().unwrap();
    assert!(output.status.success(), "{query}: {}", text(&output.stderr));
    assert!(peak > 0, "nothing was measured of {query}");
    peak
}

/// `VmHWM`: the largest resident set so far.
fn high_water(status: &Path) -> Option<u64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// `query` over as many keys as rows, beside the same over few.
fn stays_within_its_memory(query: &str) {
    compared(query, ROWS);
}

fn compared(query: &str, keys: u64) {
    let (few, many) = (peak(query, 100), peak(query, keys));
    let mib = |bytes: u64| bytes >> 20;
    assert!(
        many <= few + MANAGED + OVERHEAD,
        "{} MiB of {} MiB over few keys and {} MiB managed: {query}",
        mib(many),
        mib(few),
        mib(MANAGED)
    );
}

#[test]
fn groups_of_long_values_stay_within_their_memory() {
    stays_within_its_memory(
        "CREATE TABLE hole (k BIGINT, a STRING, b STRING) WITH ('connector' = 'blackhole');
        INSERT INTO hole SELECT k, LAST_VALUE(text), MAX(text) FROM texts GROUP BY k;",
    );
}

#[test]
fn groups_of_long_keys_stay_within_their_memory() {
    stays_within_its_memory(
        "CREATE TABLE hole (k STRING, c BIGINT) WITH ('connector' = 'blackhole');
        INSERT INTO hole SELECT CAST(k AS STRING) || REPEAT('k', 1000), COUNT(*) FROM texts
        GROUP BY CAST(k AS STRING) || REPEAT('k', 1000);",
    );
}

#[test]
fn lists_of_long_values_stay_within_their_memory() {
    // Each group has three values.
    compared(
        "CREATE TABLE hole (k BIGINT, a STRING) WITH ('connector' = 'blackhole');
        INSERT INTO hole SELECT k, LISTAGG(text) FROM texts WHERE n <= ${three} GROUP BY k;",
        ROWS / 3,
    );
}

#[test]
fn long_values_over_windows_of_rows_stay_within_their_memory() {
    stays_within_its_memory(
        "CREATE TABLE hole (k BIGINT, a STRING, b STRING) WITH ('connector' = 'blackhole');
        INSERT INTO hole SELECT k, LAST_VALUE(text) OVER w, MAX(text) OVER w FROM texts
        WINDOW w AS (PARTITION BY k ORDER BY at);",
    );
}

#[test]
fn first_rows_of_100_kilobytes_by_window_stay_within_their_memory() {
    // All of them come at the end.
    compared(
        "CREATE TABLE hole (k BIGINT, text STRING) WITH ('connector' = 'blackhole');
        -- Few at a time: a batch of such rows is a lot by itself, also what comes at once when the machine was busy.
        SET 'millrace.batch.max-rows' = '64';
        CREATE TABLE slow WITH ('rows-per-second' = '2000', 'fields.n.end' = '${keys}') LIKE numbers (OVERWRITING OPTIONS);
        CREATE TEMPORARY VIEW longer AS SELECT n AS k, REPEAT(short, 2000) AS text, ts FROM slow;
        INSERT INTO hole SELECT k, text FROM
          (SELECT k, text, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY ts) AS r
           FROM TABLE(TUMBLE(TABLE longer, DESCRIPTOR(ts), INTERVAL '1' DAY))) WHERE r = 1;",
        4_000,
    );
}

#[test]
fn lists_of_100_kilobytes_by_window_stay_within_their_memory() {
    compared(
        "CREATE TABLE hole (k BIGINT, text STRING) WITH ('connector' = 'blackhole');
        INSERT INTO hole SELECT MOD(k, 2500), LISTAGG(text)
        FROM TABLE(TUMBLE(TABLE texts, DESCRIPTOR(ts), INTERVAL '1' DAY))
        GROUP BY window_start, window_end, MOD(k, 2500);",
        2_500,
    );
}

#[test]
fn the_first_long_rows_by_partition_stay_within_their_memory() {
    stays_within_its_memory(
        "CREATE TABLE hole (k BIGINT, text STRING, r BIGINT) WITH ('connector' = 'blackhole');
        INSERT INTO hole SELECT k, text, r FROM
          (SELECT k, text, ROW_NUMBER() OVER (PARTITION BY k ORDER BY text DESC) AS r FROM texts) WHERE r <= 2;",
    );
}

#[test]
fn the_last_long_rows_by_key_stay_within_their_memory() {
    stays_within_its_memory(
        "CREATE TABLE hole (k BIGINT, text STRING) WITH ('connector' = 'blackhole');
        INSERT INTO hole SELECT k, text FROM
          (SELECT k, text, ROW_NUMBER() OVER (PARTITION BY k ORDER BY at DESC) AS r FROM texts) WHERE r = 1;",
    );
}

#[test]
fn long_rows_that_are_joined_stay_within_their_memory() {
    // Whatever the keys are, each has one row on the right.
    stays_within_its_memory(
        "CREATE TABLE hole (k BIGINT, a STRING, b STRING) WITH ('connector' = 'blackhole');
        INSERT INTO hole SELECT l.k, l.text, r.text FROM
          (SELECT k, MAX(text) AS text FROM texts GROUP BY k) AS l
          JOIN (SELECT k, MIN(text) AS text FROM texts WHERE n <= 100000 GROUP BY k) AS r ON l.k = r.k;",
    );
}

#[test]
fn long_rows_of_one_key_that_are_joined_stay_within_their_memory() {
    stays_within_its_memory(
        "CREATE TABLE hole (n BIGINT, a STRING, b STRING) WITH ('connector' = 'blackhole');
        INSERT INTO hole SELECT l.n, l.text, r.text
        FROM (SELECT n, MOD(n, 1) AS one, text FROM texts WHERE n <= ${keys}) AS l
        LEFT JOIN (SELECT n, MOD(n, 1) AS one, text FROM texts WHERE n <= ${keys} AND MOD(n, 50000) = 1) AS r
        ON l.one = r.one AND l.n <> r.n;",
    );
}

#[test]
fn long_rows_of_one_key_within_an_interval_stay_within_their_memory() {
    stays_within_its_memory(
        "CREATE TABLE hole (n BIGINT, a STRING, b STRING) WITH ('connector' = 'blackhole');
        INSERT INTO hole SELECT l.n, l.text, r.text
        FROM (SELECT n, MOD(n, 1) AS one, text, ts FROM texts WHERE n <= ${keys}) AS l
        LEFT JOIN (SELECT n, MOD(n, 1) AS one, text, ts FROM texts WHERE n <= ${keys} AND MOD(n, 50000) = 1) AS r
        ON l.one = r.one AND l.ts BETWEEN r.ts - INTERVAL '1' DAY AND r.ts + INTERVAL '1' DAY AND l.n <> r.n;",
    );
}

#[test]
fn long_rows_of_one_key_in_a_window_of_time_stay_within_their_memory() {
    stays_within_its_memory(
        "CREATE TABLE hole (n BIGINT, text STRING, c BIGINT) WITH ('connector' = 'blackhole');
        INSERT INTO hole SELECT n, text, COUNT(*) OVER (PARTITION BY MOD(k, 1) ORDER BY ts
          RANGE BETWEEN INTERVAL '1' DAY PRECEDING AND CURRENT ROW) FROM texts WHERE n <= ${keys};",
    );
}
