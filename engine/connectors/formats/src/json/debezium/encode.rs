//! Rows of all kinds to records: an update is written as a deletion and a creation, as Flink's
//! `DebeziumJsonSerializationSchema` does, for a row does not know its partner.

use millrace_connector_api::ChangeBatch;
use millrace_connector_api::format::{Encoder, Payloads};
use millrace_core::{Result, RowKind};
use millrace_expr::{Field, RowType};

use super::super::encode::{Settings, each_row, members, object};

pub struct DebeziumEncoder {
    fields: Vec<Field>,
    settings: Settings,
}

impl DebeziumEncoder {
    pub fn new(fields: &RowType, settings: Settings) -> Self {
        DebeziumEncoder {
            fields: fields.fields.clone(),
            settings,
        }
    }
}

impl Encoder for DebeziumEncoder {
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Payloads) -> Result<()> {
        let columns = members(&self.fields, batch)?;
        let nulls = !self.settings.ignore_null_fields;
        each_row(batch.len(), columns.len() + 1, out, |row, data| {
            let (head, tail): (&[u8], &[u8]) = match (batch.kind(row), nulls) {
                (RowKind::Insert | RowKind::UpdateAfter, true) => {
                    (br#"{"before":null,"after":"#, br#","op":"c"}"#)
                }
                (RowKind::Insert | RowKind::UpdateAfter, false) => (br#"{"after":"#, br#","op":"c"}"#),
                (_, true) => (br#"{"before":"#, br#","after":null,"op":"d"}"#),
                (_, false) => (br#"{"before":"#, br#","op":"d"}"#),
            };
            data.extend_from_slice(head);
            object(&columns, row, data, &self.settings)?;
            data.extend_from_slice(tail);
            Ok(())
        })
    }
}
