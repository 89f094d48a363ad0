//! Dates, times and numbers as text, as Flink's casts write them and as the formats share them.
//!
//! Parsers take bytes and give nothing for what they do not accept; writers append to a buffer.
//! Neither allocates.
