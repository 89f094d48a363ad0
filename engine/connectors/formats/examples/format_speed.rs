//! Records a second, on one core, of reading and writing what the benchmarks do.
//!
//! `cargo run --release -p millrace-formats --example format_speed`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use millrace_connector_api::format::{Format, Payloads};
use millrace_connector_api::{ChangeBatch, Registry};
use millrace_core::Result;
use millrace_dataflow::TableSpec;
use millrace_expr::{DataType, Field, RowType, TypeKind};

const RECORDS: usize = 8192;
const TIME: Duration = Duration::from_millis(700);
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    let mut registry = Registry::default();
    millrace_formats::register(&mut registry);
    let format = registry.format("speed", "json")?;
    let flat = RowType::new(vec![
        Field::new("id", DataType::bigint()),
        Field::new("k", DataType::string()),
        Field::new("v", DataType::bigint()),
        Field::new("ts", DataType::nullable(TypeKind::Timestamp(3))),
    ]);
    let record = |i: usize| {
        format!(
            r#"{{"id":{i},"k":"k{}","v":{},"ts":"2023-11-14 22:{:02}:{:02}.{:03}"}}"#,
            i % 100,
            i % 10,
            i / 60 % 60,
            i % 60,
            i % 1000
        )
    };
    measure("id, k, v, ts", format.as_ref(), &flat, record)?;
    let wide = RowType::new(vec![
        Field::new("price", DataType::decimal(10, 2)),
        Field::new("ratio", DataType::double()),
        Field::new("ok", DataType::boolean()),
        Field::new(
            "tags",
            DataType::nullable(TypeKind::Array(Box::new(DataType::string()))),
        ),
        Field::new(
            "place",
            DataType::nullable(TypeKind::Row(vec![
                Field::new("lat", DataType::double()),
                Field::new("lon", DataType::double()),
            ])),
        ),
    ]);
    let record = |i: usize| {
        format!(
            r#"{{"price":{}.{:02},"ratio":0.{i},"ok":true,"unknown":{{"a":[1,2]}},"tags":["a","b"],"place":{{"lat":{}.5,"lon":-1.25}}}}"#,
            i,
            i % 100,
            i % 90
        )
    };
    measure("decimals, doubles, nested", format.as_ref(), &wide, record)?;
    let raw = registry.format("speed", "raw")?;
    let record = |i: usize| format!("{i:064}");
    for data_type in [DataType::bytes(), DataType::string()] {
        let fields = RowType::new(vec![Field::new("value", data_type.clone())]);
        measure(&format!("raw {data_type}"), raw.as_ref(), &fields, record)?;
    }
    Ok(())
}

fn measure(
    name: &str,
    format: &dyn Format,
    fields: &RowType,
    record: impl Fn(usize) -> String,
) -> Result<()> {
    let table = TableSpec {
        name: "speed".to_owned(),
        options: BTreeMap::new(),
        columns: fields.fields.clone(),
        metadata: Vec::new(),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    };
    let mut payloads = Payloads::new();
    for i in 0..RECORDS {
        payloads.push(Some(record(i).as_bytes()));
    }
    let prefix = format!("{}.", format.identifier());
    let mut decoder = format.decoder(&table, &prefix, fields)?;
    let mut encoder = format.encoder(&table, &prefix, fields)?;
    let decoded = decoder.decode(&payloads).map_err(|e| e.error)?;
    let batch = RecordBatch::try_new(fields.to_arrow(), decoded.columns)
        .map_err(|e| millrace_core::Error::internal("columns do not fit").with_source(e))?;
    let batch = ChangeBatch::inserts(batch);
    let mut out = Payloads::new();
    encoder.encode(&batch, &mut out)?;
    println!(
        "{name}: {} bytes a record read, {} written",
        payloads.data.len() / RECORDS,
        out.data.len() / RECORDS
    );
    let read = best(|| decoder.decode(&payloads).map(|d| d.rows).unwrap_or(0));
    let written = best(|| {
        out.clear();
        encoder.encode(&batch, &mut out).map(|()| out.len()).unwrap_or(0)
    });
    println!(
        "  decode {:6.2} M records/s\n  encode {:6.2} M records/s",
        read / 1e6,
        written / 1e6
    );
    Ok(())
}

/// Records a second of the best of some rounds.
fn best(mut work: impl FnMut() -> usize) -> f64 {
    let mut best = 0.0f64;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let mut records = 0;
        while begin.elapsed() < TIME {
            records += work();
        }
        best = best.max(records as f64 / begin.elapsed().as_secs_f64());
    }
    best
}
