//! The format `avro-confluent`: records that name the schema they are written in, by its number in a
//! schema registry. A zero byte, the number in four bytes, big-endian, then the values.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millrace_connector_api::format::{DecodeError, Decoded, Decoder, Encoder, Format, Payloads};
use millrace_connector_api::{ChangeBatch, OptionSpec, Options};
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;
use millrace_expr::{DataType, Field, RowType, TypeKind};
use millrace_formats::column::RowColumns;

use crate::decode::{self, Input};
use crate::derive::{self, Legacy};
use crate::encode::Records;
use crate::plain::{decode_all, in_table};
use crate::plan::{self, RecordPlan};
use crate::registry::{self, Client};
use crate::schema::{self, Logical, Schema, Shape, Type};

pub struct AvroConfluent;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::required("url", "the schema registry's address, or several with commas"),
    OptionSpec::optional(
        "subject",
        None,
        "the subject that the schema of written records is registered under; of Kafka tables '<topic>-value' or \
         '<topic>-key'",
    ),
    OptionSpec::optional(
        "schema",
        None,
        "the schema of records that are written, and what those that are read become; derived from the columns \
         without it",
    ),
    OptionSpec::optional(
        "ssl.keystore.location",
        None,
        "a file with a certificate to show, JKS or PKCS12",
    ),
    OptionSpec::optional("ssl.keystore.password", None, "its password"),
    OptionSpec::optional(
        "ssl.truststore.location",
        None,
        "a file with certificates to trust, JKS or PKCS12",
    ),
    OptionSpec::optional("ssl.truststore.password", None, "its password"),
    OptionSpec::optional(
        "basic-auth.credentials-source",
        None,
        "URL (user:password@ in the address) or USER_INFO",
    ),
    OptionSpec::optional("basic-auth.user-info", None, "user:password, with USER_INFO"),
    OptionSpec::optional("bearer-auth.credentials-source", None, "STATIC_TOKEN"),
    OptionSpec::optional("bearer-auth.token", None, "the token"),
    OptionSpec::optional(
        "properties.*",
        None,
        "the same in the names of Confluent's client, such as 'basic.auth.user.info'",
    ),
];

/// What the options say, before anybody is asked.
struct Settings {
    client: registry::Settings,
    subject: Option<String>,
    schema: Option<String>,
}

impl Settings {
    fn new(table: &TableSpec, prefix: &str) -> Result<Settings> {
        let options = Options::new(&table.name, &table.options);
        let get = |key: &str| options.raw(&format!("{prefix}{key}")).map(str::to_owned);
        let url: String = options.require(&format!("{prefix}url"))?;
        let mut properties: BTreeMap<String, String> = options
            .iter()
            .filter_map(|(key, value)| {
                let name = key.strip_prefix(prefix)?.strip_prefix("properties.")?;
                Some((name.to_owned(), value.to_owned()))
            })
            .collect();
        for (key, name) in [
            ("ssl.keystore.location", "schema.registry.ssl.keystore.location"),
            ("ssl.keystore.password", "schema.registry.ssl.keystore.password"),
            (
                "ssl.truststore.location",
                "schema.registry.ssl.truststore.location",
            ),
            (
                "ssl.truststore.password",
                "schema.registry.ssl.truststore.password",
            ),
            ("basic-auth.credentials-source", "basic.auth.credentials.source"),
            ("basic-auth.user-info", "basic.auth.user.info"),
            ("bearer-auth.credentials-source", "bearer.auth.credentials.source"),
            ("bearer-auth.token", "bearer.auth.token"),
        ] {
            if let Some(value) = get(key) {
                properties.insert(name.to_owned(), value);
            }
        }
        Ok(Settings {
            client: registry::Settings::new(&table.name, &url, &properties)?,
            subject: get("subject"),
            schema: get("schema"),
        })
    }

    /// The schema of the table's records: the given one, if it is that of the columns, or the derived.
    fn schema(&self, table: &TableSpec, fields: &[Field]) -> Result<(String, Schema)> {
        let Some(text) = &self.schema else {
            let json = derive::of_row(fields, Legacy(true)).map_err(|e| in_table(e, &table.name))?;
            let text = json.to_string();
            let schema = schema::parse(&text)?;
            return Ok((text, schema));
        };
        let schema = schema::parse(text).map_err(|e| in_table(e, &table.name))?;
        let given = data_type(&schema, &schema.root, 0).map(|t| t.with_nullable(false));
        let wanted = DataType::not_null(TypeKind::Row(fields.to_vec()));
        if given.as_ref() != Some(&wanted) {
            return Err(Error::user(
                "schema provided for 'avro-confluent' format does not match the table schema",
            )
            .with_detail(format!(
                "table '{}'\nthe table has {wanted}\nthe schema is {}",
                table.name,
                given.map_or_else(|| "none that a table can have".to_owned(), |t| t.to_string())
            ))
            .with_hint(
                "leave the option out to have it derived, or declare the columns as the schema has them",
            ));
        }
        Ok((text.clone(), schema))
    }
}

/// The type that Flink reads a schema as (`AvroSchemaConverter.convertToDataType`).
fn data_type(schema: &Schema, of: &Type, depth: usize) -> Option<DataType> {
    if depth > 100 {
        return None;
    }
    let any = |of: &Type| data_type(schema, of, depth + 1);
    let kind = match (&of.shape, of.logical) {
        (Shape::Null, _) => return Some(DataType::nullable(TypeKind::Null)),
        (Shape::Boolean, _) => TypeKind::Boolean,
        (Shape::Int, Some(Logical::Date)) => TypeKind::Date,
        (Shape::Int, Some(Logical::TimeMillis)) => TypeKind::Time(3),
        (Shape::Int, _) => TypeKind::Int,
        (Shape::Long, Some(Logical::TimeMicros)) => TypeKind::Time(6),
        (Shape::Long, Some(Logical::TimestampMillis | Logical::LocalTimestampMillis)) => {
            TypeKind::Timestamp(3)
        }
        (Shape::Long, Some(Logical::TimestampMicros | Logical::LocalTimestampMicros)) => {
            TypeKind::Timestamp(6)
        }
        (Shape::Long, _) => TypeKind::BigInt,
        (Shape::Float, _) => TypeKind::Float,
        (Shape::Double, _) => TypeKind::Double,
        (Shape::Bytes | Shape::Fixed(_), Some(Logical::Decimal { precision, scale })) => {
            TypeKind::Decimal { precision, scale }
        }
        (Shape::Bytes, _) => DataType::bytes().kind,
        (Shape::Fixed(size), _) => TypeKind::Varbinary(u32::try_from(*size).ok()?),
        (Shape::String | Shape::Enum, _) => DataType::string().kind,
        (Shape::Array(items), _) => TypeKind::Array(Box::new(any(items)?)),
        (Shape::Map(values), _) => TypeKind::Map(
            Box::new(DataType::string().with_nullable(false)),
            Box::new(any(values)?),
        ),
        (Shape::Record(number), _) => {
            let fields = schema.records[*number].fields.iter();
            let fields = fields.map(|f| Some(Field::new(&f.name, any(&f.of)?)));
            TypeKind::Row(fields.collect::<Option<_>>()?)
        }
        (Shape::Union(variants), _) => {
            return match variants.as_slice() {
                [one] => any(one),
                [a, b] if matches!(a.shape, Shape::Null) => Some(any(b)?.with_nullable(true)),
                [a, b] if matches!(b.shape, Shape::Null) => Some(any(a)?.with_nullable(true)),
                _ => None,
            };
        }
    };
    Some(DataType::not_null(kind))
}

impl Format for AvroConfluent {
    fn identifier(&self) -> &'static str {
        "avro-confluent"
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn finds_fields_by_name(&self) -> bool {
        true
    }

    fn decoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Decoder>> {
        let settings = Settings::new(table, prefix)?;
        derive::of_row(&fields.fields, Legacy(true)).map_err(|e| in_table(e, &table.name))?;
        let defaults = match &settings.schema {
            None => Vec::new(),
            Some(text) => with_defaults(&schema::parse(text)?),
        };
        Ok(Box::new(ConfluentDecoder {
            client: Client::new(settings.client)?,
            fields: fields.fields.clone(),
            defaults,
            row: RowColumns::new(&fields.fields),
            writers: HashMap::new(),
        }))
    }

    fn encoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Encoder>> {
        let settings = Settings::new(table, prefix)?;
        let Some(subject) = settings.subject.clone() else {
            return Err(
                Error::user(format!("option '{prefix}subject' is required for serialization"))
                    .with_detail(format!("table '{}'", table.name))
                    .with_hint("add it to the table's WITH clause"),
            );
        };
        let (text, schema) = settings.schema(table, &fields.fields)?;
        Ok(Box::new(ConfluentEncoder {
            client: Client::new(settings.client)?,
            subject,
            text,
            records: Records::new(&schema, &fields.fields)?,
            head: None,
        }))
    }

    fn validate(&self, table: &TableSpec, prefix: &str, fields: &[Field]) -> Result<()> {
        let settings = Settings::new(table, prefix)?;
        settings.schema(table, fields)?;
        Client::new(settings.client).map(drop)
    }
}

/// Fields of a record with a default value that is not null.
fn with_defaults(schema: &Schema) -> Vec<String> {
    let Shape::Record(number) = schema.root.shape else {
        return Vec::new();
    };
    let fields = schema.records[number].fields.iter();
    fields.filter(|f| f.defaults).map(|f| f.name.clone()).collect()
}

struct Writer {
    schema: Schema,
    plan: RecordPlan,
}

struct ConfluentDecoder {
    client: Client,
    fields: Vec<Field>,
    /// Fields of the given schema that are not null where a writer has none.
    defaults: Vec<String>,
    row: RowColumns,
    /// By number, the schemas that were met.
    writers: HashMap<u32, Arc<Writer>>,
}

impl Decoder for ConfluentDecoder {
    fn decode(&mut self, payloads: &Payloads) -> Result<Decoded, DecodeError> {
        let ConfluentDecoder {
            client,
            fields,
            defaults,
            row,
            writers,
        } = self;
        decode_all(payloads, row, |bytes, row| {
            let (head, values) = bytes
                .split_first_chunk::<5>()
                .ok_or_else(|| Error::user("the record is shorter than the number of its schema"))?;
            let [0, id @ ..] = *head else {
                return Err(
                    Error::user("unknown data format: the magic number does not match")
                        .with_detail(format!("the record begins with byte {}", head[0]))
                        .with_hint("records without a schema's number have the format 'avro'"),
                );
            };
            let id = u32::from_be_bytes(id);
            let writer = match writers.get(&id) {
                Some(writer) => writer.clone(),
                None => {
                    let schema = schema::parse(&client.schema(id)?)?;
                    let plan = plan::of_record(&schema, &decode::named(fields))?;
                    if let Some(column) = plan.missing.iter().find(|c| defaults.contains(&fields[**c].name)) {
                        return Err(Error::unsupported(
                            "a default value of a field that the writer does not have",
                        )
                        .with_detail(format!("field '{}', schema {id}", fields[*column].name)));
                    }
                    let writer = Arc::new(Writer { schema, plan });
                    writers.insert(id, writer.clone());
                    writer
                }
            };
            decode::record(&writer.schema, &writer.plan, row, &mut Input::new(values)).map_err(Error::user)
        })
    }
}

struct ConfluentEncoder {
    client: Client,
    subject: String,
    text: String,
    records: Records,
    /// The zero byte and the number of the schema, once it is registered.
    head: Option<[u8; 5]>,
}

impl Encoder for ConfluentEncoder {
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Payloads) -> Result<()> {
        let head = match self.head {
            Some(head) => head,
            None if batch.is_empty() => return Ok(()),
            None => {
                let [a, b, c, d] = self.client.register(&self.subject, &self.text)?.to_be_bytes();
                let head = [0, a, b, c, d];
                self.head = Some(head);
                head
            }
        };
        self.records.encode(&head, batch, out)
    }
}
