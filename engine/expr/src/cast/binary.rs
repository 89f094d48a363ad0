//! CAST to BINARY and VARBINARY.

use arrow::array::{Array, ArrayRef, AsArray};
use millrace_core::Result;

use super::rules::fits_string;
use crate::value::BytesBuilder;
use crate::{DataType, TypeKind};

/// Takes bytes, or the UTF-8 bytes of strings, cut to the length of the target and for BINARY
/// padded with zeros.
pub(super) fn cast(array: &ArrayRef, from: &DataType, to: &DataType) -> Result<ArrayRef> {
    if from.is_binary() && fits_string(&from.kind, &to.kind) {
        return Ok(array.clone());
    }
    let (length, pad) = match to.kind {
        TypeKind::Binary(n) => (n as usize, true),
        TypeKind::Varbinary(n) => (n as usize, false),
        _ => (usize::MAX, false),
    };
    let rows = array.len();
    let mut builder = BytesBuilder::new(rows, rows * 16);
    for row in 0..rows {
        if array.is_null(row) {
            builder.push_null();
            continue;
        }
        let bytes = if from.is_binary() {
            array.as_binary::<i32>().value(row)
        } else {
            array.as_string::<i32>().value(row).as_bytes()
        };
        builder.write(|out| {
            out.extend_from_slice(&bytes[..bytes.len().min(length)]);
            if pad && bytes.len() < length {
                out.resize(out.len() + length - bytes.len(), 0);
            }
            true
        });
    }
    builder.bytes()
}
