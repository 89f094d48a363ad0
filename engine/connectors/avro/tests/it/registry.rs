//! `avro-confluent` with a registry: what is registered, what is found, who is let in.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use millrace_connector_api::ChangeBatch;
use millrace_connector_api::format::{DecodeError, Decoded, Format, Payloads};
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;
use millrace_expr::{DataType, Field, RowType};
use millrace_testkit::registry::Registry;

const PREFIX: &str = "avro-confluent.";

fn table(fields: &[Field], options: &[(&str, &str)]) -> TableSpec {
    let option = |(key, value): &(&str, &str)| (format!("{PREFIX}{key}"), (*value).to_owned());
    TableSpec {
        name: "t".to_owned(),
        options: options.iter().map(option).collect(),
        columns: fields.to_vec(),
        metadata: Vec::new(),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    }
}

fn rows(fields: &[Field], columns: Vec<ArrayRef>) -> ChangeBatch {
    ChangeBatch::inserts(RecordBatch::try_new(RowType::new(fields.to_vec()).to_arrow(), columns).unwrap())
}

fn write(fields: &[Field], options: &[(&str, &str)], batch: &ChangeBatch) -> Result<Payloads> {
    let table = table(fields, options);
    millrace_avro::AvroConfluent.validate(&table, PREFIX, fields)?;
    let row_type = RowType::new(fields.to_vec());
    let mut encoder = millrace_avro::AvroConfluent.encoder(&table, PREFIX, &row_type)?;
    let mut out = Payloads::new();
    encoder.encode(batch, &mut out)?;
    Ok(out)
}

fn read(fields: &[Field], options: &[(&str, &str)], payloads: &Payloads) -> Result<Decoded, DecodeError> {
    let table = table(fields, options);
    let row_type = RowType::new(fields.to_vec());
    let decoder = millrace_avro::AvroConfluent.decoder(&table, PREFIX, &row_type);
    decoder
        .map_err(|error| DecodeError { payload: 0, error })?
        .decode(payloads)
}

fn said<T>(result: Result<T>) -> String {
    result.err().map(|e: Error| e.to_string()).unwrap_or_default()
}

fn id_and_name() -> Vec<Field> {
    vec![
        Field::new("id", DataType::int().with_nullable(false)),
        Field::new("name", DataType::string()),
    ]
}

fn two_rows() -> ChangeBatch {
    rows(
        &id_and_name(),
        vec![
            Arc::new(Int32Array::from(vec![1, 2])),
            Arc::new(StringArray::from(vec![Some("a"), None])),
        ],
    )
}

fn schema_number(payload: &[u8]) -> u32 {
    assert_eq!(payload[0], 0);
    u32::from_be_bytes(payload[1..5].try_into().unwrap())
}

#[test]
fn the_schema_is_registered_and_found_again_by_its_number() {
    let registry = Registry::shared();
    let url = registry.url();
    let options = [("url", url.as_str()), ("subject", "orders/2-value")];
    let written = write(&id_and_name(), &options, &two_rows()).unwrap();
    let number = schema_number(written.get(0).unwrap());
    assert_eq!(&written.get(0).unwrap()[5..], [2, 2, 2, b'a']);
    assert_eq!(&written.get(1).unwrap()[5..], [4, 0]);
    let subjects = registry.get("/subjects").unwrap();
    assert!(subjects.contains("orders/2-value"), "{subjects}");
    let schema = registry.get(&format!("/schemas/ids/{number}")).unwrap();
    assert!(schema.contains("org.apache.flink.avro.generated"), "{schema}");
    // Once more it is the same number.
    let again = write(&id_and_name(), &options, &two_rows()).unwrap();
    assert_eq!(schema_number(again.get(0).unwrap()), number);
    let decoded = read(&id_and_name(), &options[..1], &written).unwrap();
    assert_eq!(decoded.rows, 2);
    assert_eq!(&decoded.columns[0], two_rows().rows.column(0));
    assert_eq!(&decoded.columns[1], two_rows().rows.column(1));
}

#[test]
fn a_writers_schema_becomes_the_readers() {
    let url = Registry::shared().url();
    let options = [("url", url.as_str()), ("subject", "evolving")];
    let mut all = write(&id_and_name(), &options, &two_rows()).unwrap();
    // A later writer has another order, another column, and none of the old ones but one.
    let later = vec![
        Field::new("note", DataType::string()),
        Field::new("id", DataType::int().with_nullable(false)),
    ];
    let batch = rows(
        &later,
        vec![
            Arc::new(StringArray::from(vec!["n"])),
            Arc::new(Int32Array::from(vec![3])),
        ],
    );
    let more = write(&later, &options, &batch).unwrap();
    all.push(more.get(0));
    all.push(None);
    // The reader has a wider number, and both columns.
    let reader = vec![
        Field::new("name", DataType::string()),
        Field::new("note", DataType::string()),
        Field::new("id", DataType::bigint().with_nullable(false)),
    ];
    let decoded = read(&reader, &options[..1], &all).unwrap();
    let text = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
    assert_eq!(&decoded.columns[0], &text(vec![Some("a"), None, None]));
    assert_eq!(&decoded.columns[1], &text(vec![None, None, Some("n")]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    assert_eq!(&decoded.columns[2], &ids);
    assert_eq!(decoded.row_sources, Some(vec![0, 1, 2]));
    // A column that has to be there is missing in the later schema.
    let strict = vec![Field::new("name", DataType::string().with_nullable(false))];
    let error = read(&strict, &options[..1], &more)
        .err()
        .unwrap()
        .error
        .to_string();
    assert!(error.contains("missing the required field 'name'"), "{error}");
    let narrow = vec![Field::new("id", DataType::string())];
    let error = read(&narrow, &options[..1], &more)
        .err()
        .unwrap()
        .error
        .to_string();
    assert!(error.contains("found int, expecting null or string"), "{error}");
}

#[test]
fn a_given_schema_has_to_be_the_tables() {
    let url = Registry::shared().url();
    let given = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
        {"name":"id","type":"int"},{"name":"name","type":["string","null"],"default":"none"}]}"#;
    let options = [("url", url.as_str()), ("subject", "given"), ("schema", given)];
    let written = write(&id_and_name(), &options, &two_rows()).unwrap();
    // The union's order is the schema's.
    assert_eq!(&written.get(0).unwrap()[5..], [2, 0, 2, b'a']);
    assert_eq!(&written.get(1).unwrap()[5..], [4, 2]);
    let decoded = read(&id_and_name(), &options[..1], &written).unwrap();
    assert_eq!(&decoded.columns[1], two_rows().rows.column(1));
    let other = vec![Field::new("id", DataType::int())];
    let batch = rows(&other, vec![Arc::new(Int32Array::from(vec![1]))]);
    let error = said(write(&other, &options, &batch));
    assert!(error.contains("does not match the table schema"), "{error}");
}

#[test]
fn what_is_not_compatible_or_not_there_is_said() {
    let url = Registry::shared().url();
    let options = [("url", url.as_str()), ("subject", "strict")];
    write(&id_and_name(), &options, &two_rows()).unwrap();
    let other = vec![Field::new("id", DataType::string().with_nullable(false))];
    let batch = rows(&other, vec![Arc::new(StringArray::from(vec!["x"]))]);
    // Compatibility is asked for by subject.
    set_compatibility("strict");
    let error = said(write(&other, &options, &batch));
    assert!(error.contains("not compatible"), "{error}");
    let mut unknown = Payloads::new();
    unknown.push(Some(&[0, 0x7f, 0xff, 0xff, 0xff, 0]));
    let error = read(&id_and_name(), &options[..1], &unknown)
        .err()
        .unwrap()
        .error
        .to_string();
    assert!(error.contains("does not have what it is asked for"), "{error}");
    let mut other_format = Payloads::new();
    other_format.push(Some(b"{\"id\":1}"));
    let error = read(&id_and_name(), &options[..1], &other_format)
        .err()
        .unwrap()
        .error
        .to_string();
    assert!(error.contains("magic number does not match"), "{error}");
    let wrong_path = url.replace("/apis/ccompat/v7", "");
    let error = said(write(
        &id_and_name(),
        &[("url", &wrong_path), ("subject", "x")],
        &two_rows(),
    ));
    assert!(error.contains("'url'"), "{error}");
    let nobody = "http://127.0.0.1:1/";
    let error = said(write(
        &id_and_name(),
        &[("url", nobody), ("subject", "x")],
        &two_rows(),
    ));
    assert!(error.contains("does not answer"), "{error}");
    // The second address is asked where the first does not answer.
    let both = format!("{nobody},{url}/");
    write(
        &id_and_name(),
        &[("url", &both), ("subject", "second")],
        &two_rows(),
    )
    .unwrap();
    let error = said(write(&id_and_name(), &[("url", &url)], &two_rows()));
    assert!(error.contains("'avro-confluent.subject' is required"), "{error}");
}

fn set_compatibility(subject: &str) {
    let client = reqwest::Client::new();
    let request = client
        .put(format!("{}/config/{subject}", Registry::shared().url()))
        .header("content-type", "application/json")
        .body(r#"{"compatibility":"BACKWARD"}"#);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = runtime.block_on(request.send()).unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

#[test]
fn credentials_go_with_each_request() {
    let registry = Registry::shared();
    // user:pa:ss
    let basic = registry.guarded("Basic dXNlcjpwYTpzcw==").unwrap();
    let url = format!("http://{}", basic.address());
    let error = said(write(
        &id_and_name(),
        &[("url", &url), ("subject", "guarded")],
        &two_rows(),
    ));
    assert!(error.contains("refuses the credentials"), "{error}");
    let by_info = [
        ("url", url.as_str()),
        ("subject", "guarded"),
        ("basic-auth.credentials-source", "USER_INFO"),
        ("basic-auth.user-info", "user:pa:ss"),
    ];
    let written = write(&id_and_name(), &by_info, &two_rows()).unwrap();
    let in_url = format!("http://user:pa%3Ass@{}", basic.address());
    assert_eq!(
        read(&id_and_name(), &[("url", &in_url)], &written).unwrap().rows,
        2
    );
    let by_property = [
        ("url", url.as_str()),
        ("properties.basic.auth.credentials.source", "USER_INFO"),
        ("properties.basic.auth.user.info", "user:pa:ss"),
    ];
    assert_eq!(read(&id_and_name(), &by_property, &written).unwrap().rows, 2);
    assert_eq!(basic.passed(), 3);
    let bearer = registry.guarded("Bearer secret-token").unwrap();
    let url = format!("http://{}", bearer.address());
    let by_token = [
        ("url", url.as_str()),
        ("bearer-auth.credentials-source", "STATIC_TOKEN"),
        ("bearer-auth.token", "secret-token"),
    ];
    assert_eq!(read(&id_and_name(), &by_token, &written).unwrap().rows, 2);
    let wrong = read(
        &id_and_name(),
        &[&by_token[..2], &[("bearer-auth.token", "other")]].concat(),
        &written,
    );
    let error = wrong.err().unwrap().error.to_string();
    assert!(
        error.contains("refuses the credentials") && !error.contains("other"),
        "{error}"
    );
}

#[test]
fn a_registry_over_tls_has_to_be_trusted() {
    let registry = Registry::shared();
    let url = registry.tls_url();
    let (truststore, password) = registry.truststore();
    let trusted = [
        ("url", url.as_str()),
        ("subject", "tls"),
        ("ssl.truststore.location", truststore.to_str().unwrap()),
        ("ssl.truststore.password", password),
    ];
    let written = write(&id_and_name(), &trusted, &two_rows()).unwrap();
    assert_eq!(read(&id_and_name(), &trusted, &written).unwrap().rows, 2);
    let error = said(write(&id_and_name(), &trusted[..2], &two_rows()));
    assert!(
        error.contains("does not answer") && error.to_lowercase().contains("certificate"),
        "{error}"
    );
    let error = said(write(
        &id_and_name(),
        &[&trusted[..3], &[("ssl.truststore.password", "no")]].concat(),
        &two_rows(),
    ));
    assert!(error.contains("password is wrong"), "{error}");
}

#[test]
fn a_registry_that_wants_a_certificate_is_shown_the_key_stores() {
    let registry = Registry::shared();
    let (me, stranger) = (
        registry.identity("client").unwrap(),
        registry.identity("stranger").unwrap(),
    );
    let proxy = registry.mutual(&me.pem).unwrap();
    let url = format!("https://{}", proxy.address());
    let (truststore, password) = registry.truststore();
    let trusting = [
        ("url", url.as_str()),
        ("subject", "mutual-tls"),
        ("ssl.truststore.location", truststore.to_str().unwrap()),
        ("ssl.truststore.password", password),
    ];
    let with = |more: &[(&'static str, &str)]| {
        let options = [&trusting[..], more].concat();
        write(&id_and_name(), &options, &two_rows())
    };
    let (pkcs12, jks) = (me.pkcs12.to_str().unwrap(), me.jks.to_str().unwrap());
    let stored = |location| {
        [
            ("ssl.keystore.location", location),
            ("ssl.keystore.password", me.password),
        ]
    };
    let written = with(&stored(pkcs12)).unwrap();
    assert_eq!(
        schema_number(with(&stored(jks)).unwrap().get(0).unwrap()),
        schema_number(written.get(0).unwrap())
    );
    let by_property = [
        ("properties.schema.registry.ssl.keystore.location", pkcs12),
        ("properties.schema.registry.ssl.keystore.password", me.password),
    ];
    let options = [&trusting[..], &by_property].concat();
    assert_eq!(read(&id_and_name(), &options, &written).unwrap().rows, 2);
    assert_eq!(proxy.passed(), 3);
    // Without a certificate, and with another one, nobody gets in.
    let strangers = stored(stranger.pkcs12.to_str().unwrap());
    for (shown, alert) in [(&[][..], "CertificateRequired"), (&strangers, "UnknownCA")] {
        let error = said(with(shown));
        assert!(
            error.contains(alert) && error.contains("'ssl.keystore.location'"),
            "{error}"
        );
    }
    let error = said(with(&[
        ("ssl.keystore.location", pkcs12),
        ("ssl.keystore.password", "no"),
    ]));
    assert!(
        error.contains("password is wrong") && error.contains("client.p12"),
        "{error}"
    );
    // A store of what is trusted has no key to show.
    let error = said(with(&stored(truststore.to_str().unwrap())));
    assert!(error.contains("exactly one private key"), "{error}");
    assert_eq!(proxy.passed(), 3);
}

#[test]
fn options_are_checked_before_anybody_is_asked() {
    let fields = id_and_name();
    let check = |options: &[(&str, &str)]| {
        let table = table(&fields, options);
        said(millrace_avro::AvroConfluent.validate(&table, PREFIX, &fields))
    };
    assert!(check(&[]).contains("'avro-confluent.url'"));
    assert!(check(&[("url", "localhost:8081")]).contains("address is none"));
    let url = ("url", "http://localhost:8081");
    assert!(check(&[url, ("basic-auth.user-info", "a:b")]).contains("USER_INFO"));
    assert!(check(&[url, ("basic-auth.credentials-source", "SASL_INHERIT")]).contains("not supported"));
    assert!(check(&[url, ("properties.max.schemas", "1")]).contains("max.schemas"));
    assert!(check(&[url, ("schema", "{")]).contains("no JSON"));
    assert_eq!(check(&[url]), "");
}
