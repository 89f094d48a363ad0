//! What a record has beside key and value: the metadata columns of Kafka tables.

use millrace_expr::{DataType, Field, TypeKind};

/// Metadata that can be read, by Flink's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    Topic,
    Partition,
    Headers,
    LeaderEpoch,
    Offset,
    Timestamp,
    TimestampType,
}

impl Metadata {
    pub const ALL: &[Metadata] = &[
        Metadata::Topic,
        Metadata::Partition,
        Metadata::Headers,
        Metadata::LeaderEpoch,
        Metadata::Offset,
        Metadata::Timestamp,
        Metadata::TimestampType,
    ];

    pub fn key(self) -> &'static str {
        match self {
            Metadata::Topic => "topic",
            Metadata::Partition => "partition",
            Metadata::Headers => "headers",
            Metadata::LeaderEpoch => "leader-epoch",
            Metadata::Offset => "offset",
            Metadata::Timestamp => "timestamp",
            Metadata::TimestampType => "timestamp-type",
        }
    }

    pub fn data_type(self) -> DataType {
        match self {
            Metadata::Topic | Metadata::TimestampType => DataType::string().with_nullable(false),
            Metadata::Partition => DataType::not_null(TypeKind::Int),
            Metadata::Headers => DataType::not_null(TypeKind::Map(
                Box::new(DataType::string()),
                Box::new(DataType::bytes()),
            )),
            Metadata::LeaderEpoch => DataType::int(),
            Metadata::Offset => DataType::not_null(TypeKind::BigInt),
            Metadata::Timestamp => DataType::not_null(TypeKind::TimestampLtz(3)),
        }
    }

    pub fn of(key: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|m| m.key() == key)
    }

    pub fn field(self) -> Field {
        Field::new(self.key(), self.data_type())
    }
}
