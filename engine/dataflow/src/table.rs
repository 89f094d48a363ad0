//! Tables as connectors see them.

use std::collections::BTreeMap;

use millrace_expr::{DataType, Expr, Field, RowType};
use serde::{Deserialize, Serialize};

/// A declared table, after LIKE and hints: what a connector needs to open it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableSpec {
    /// The table's name as the job's author knows it.
    pub name: String,
    /// The WITH clause, `connector` included, with OPTIONS hints merged in.
    pub options: BTreeMap<String, String>,
    /// Physical columns in declared order: neither computed nor metadata.
    pub columns: Vec<Field>,
    /// Metadata columns in declared order.
    pub metadata: Vec<MetadataField>,
    /// Names of the PRIMARY KEY's columns; empty without one.
    pub primary_key: Vec<String>,
    /// Names of the PARTITIONED BY columns; empty without.
    pub partition_keys: Vec<String>,
}

/// A column that stands for something beside the record's payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetadataField {
    pub column: String,
    /// The connector's name of it: `METADATA FROM 'key'`, else the column's name.
    pub key: String,
    /// As declared; the connector gives its own type, the planner adds the cast.
    pub data_type: DataType,
    /// VIRTUAL: read, never written.
    pub is_virtual: bool,
}

/// A table as a job reads it. The stream's columns are `projection` of the physical columns,
/// then `metadata` in the connector's own types.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceSpec {
    pub table: TableSpec,
    /// Indexes into `table.columns`, in output order.
    pub projection: Vec<usize>,
    /// Keys and types (the connector's) of the metadata that is read.
    pub metadata: Vec<Field>,
}

impl SourceSpec {
    /// The stream's columns. Metadata columns carry `$metadata.` before their key.
    pub fn output(&self) -> RowType {
        let physical = self.projection.iter().map(|&i| self.table.columns[i].clone());
        let metadata = self
            .metadata
            .iter()
            .map(|m| Field::new(format!("$metadata.{}", m.name), m.data_type.clone()));
        RowType::new(physical.chain(metadata).collect())
    }
}

/// A table as a job writes it. The stream's columns are all physical columns in declared order,
/// then `metadata` in the connector's own types.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkSpec {
    pub table: TableSpec,
    pub metadata: Vec<Field>,
}

impl SinkSpec {
    pub fn input(&self) -> RowType {
        let metadata = self
            .metadata
            .iter()
            .map(|m| Field::new(format!("$metadata.{}", m.name), m.data_type.clone()));
        RowType::new(self.table.columns.iter().cloned().chain(metadata).collect())
    }
}

/// `WATERMARK FOR column AS expression`, over the columns of the stream that carries it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatermarkSpec {
    pub column: usize,
    pub expression: Expr,
    /// The table's own timeout of idle splits; else the job's counts.
    #[serde(default)]
    pub idle_timeout_millis: Option<i64>,
}
