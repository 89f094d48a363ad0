//! The names of Flink 2.1 that are known here without being scalar functions that are built.

/// Aggregate, window, grouping and table functions, which the planner handles.
pub(crate) const AGGREGATES: &[&str] = &[
    "APPROX_COUNT_DISTINCT",
    "ARRAY_AGG",
    "AVG",
    "COLLECT",
    "COUNT",
    "CUME_DIST",
    "CUMULATE",
    "DENSE_RANK",
    "FIRST_VALUE",
    "GROUPING",
    "GROUPING_ID",
    "GROUP_ID",
    "HOP",
    "HOP_END",
    "HOP_PROCTIME",
    "HOP_ROWTIME",
    "HOP_START",
    "INTERSECTION",
    "JSON_ARRAYAGG",
    "JSON_OBJECTAGG",
    "LAG",
    "LAST_VALUE",
    "LEAD",
    "LISTAGG",
    "MATCH_PROCTIME",
    "MATCH_ROWTIME",
    "MAX",
    "MIN",
    "NTILE",
    "PERCENTILE",
    "PERCENT_RANK",
    "RANK",
    "ROW_NUMBER",
    "SESSION",
    "SESSION_END",
    "SESSION_PROCTIME",
    "SESSION_ROWTIME",
    "SESSION_START",
    "SINGLE_VALUE",
    "STDDEV",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "SUM",
    "SUM0",
    "TUMBLE",
    "TUMBLE_END",
    "TUMBLE_PROCTIME",
    "TUMBLE_ROWTIME",
    "TUMBLE_START",
    "UNNEST",
    "VARIANCE",
    "VAR_POP",
    "VAR_SAMP",
];

/// What the planner makes of the session's names.
pub(crate) const OF_THE_SESSION: &[&str] = &["CURRENT_CATALOG", "CURRENT_DATABASE"];

/// A function of Flink that is refused.
pub(crate) struct Refused {
    pub name: &'static str,
    pub why: Why,
    /// What to write instead, or why there is nothing.
    pub instead: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    NotBuilt,
    /// Flink does not compute it over a stream.
    NoStream,
    /// Flink's planner puts it into plans; nobody writes it.
    Internal,
    /// It is of Flink's Table API, SQL has something else.
    TableApi,
}

const fn refused(name: &'static str, why: Why, instead: &'static str) -> Refused {
    Refused { name, why, instead }
}

const WINDOW: &str = "group by window_start and window_end of a window of FROM, as in \
     FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR))";
const PATTERN: &str = "MATCH_RECOGNIZE, which it belongs to, is not supported yet; LAG looks back by rows";
const ARITHMETIC: &str = "write a + b or a - b, and CAST the result to the precision that it shall have";
const COLUMNS: &str = "name the columns, or write SELECT *";

/// Every function of Flink that has no code here, whatever its arguments are.
pub(crate) const REFUSED: &[Refused] = &[
    refused("AGG_DECIMAL_MINUS", Why::Internal, ARITHMETIC),
    refused("AGG_DECIMAL_PLUS", Why::Internal, ARITHMETIC),
    refused(
        "APPROX_COUNT_DISTINCT",
        Why::NoStream,
        "COUNT(DISTINCT x) counts exactly",
    ),
    refused(
        "CUME_DIST",
        Why::NoStream,
        "ROW_NUMBER() and COUNT(*) OVER the same rows give its two parts",
    ),
    refused(
        "CURRENT_WATERMARK",
        Why::NotBuilt,
        "late rows are dropped by windows without it; the time of the row itself is its time attribute",
    ),
    refused(
        "DEFAULT",
        Why::NotBuilt,
        "leave the argument out, or write its value",
    ),
    refused(
        "DENSE_RANK",
        Why::NotBuilt,
        "ROW_NUMBER is; rows that are equal in ORDER BY have the order of their arrival",
    ),
    refused("FLATTEN", Why::TableApi, "name the fields: r.a, r.b"),
    refused("HIVE_AGG_DECIMAL_PLUS", Why::Internal, ARITHMETIC),
    refused("HOP", Why::NotBuilt, WINDOW),
    refused("HOP_END", Why::NotBuilt, WINDOW),
    refused("HOP_PROCTIME", Why::NotBuilt, WINDOW),
    refused("HOP_ROWTIME", Why::NotBuilt, WINDOW),
    refused("HOP_START", Why::NotBuilt, WINDOW),
    refused(
        "INTERSECTION",
        Why::NotBuilt,
        "ARRAY_INTERSECT takes the common elements of two arrays",
    ),
    refused(
        "LEAD",
        Why::NoStream,
        "what follows a row is not known yet when it comes; LAG looks back",
    ),
    refused("MATCH_PROCTIME", Why::NotBuilt, PATTERN),
    refused("MATCH_ROWTIME", Why::NotBuilt, PATTERN),
    refused(
        "ML_PREDICT",
        Why::NotBuilt,
        "there are no models here; compute features and write them out",
    ),
    refused(
        "NTILE",
        Why::NoStream,
        "how many rows there are is not known yet when one comes; ROW_NUMBER counts them",
    ),
    refused(
        "OBJECT_OF",
        Why::NotBuilt,
        "ROW(a, b) makes a value of several, CAST gives its fields names",
    ),
    refused("OBJECT_UPDATE", Why::NotBuilt, "make a new ROW(a, b)"),
    refused(
        "PARSE_JSON",
        Why::NotBuilt,
        "there is no type VARIANT; JSON_VALUE and JSON_QUERY read JSON, IS JSON tests it",
    ),
    refused(
        "PERCENTILE",
        Why::NotBuilt,
        "a row numbered by ROW_NUMBER and compared with COUNT, in a query of its own, is at a percentile",
    ),
    refused(
        "PERCENT_RANK",
        Why::NoStream,
        "ROW_NUMBER() and COUNT(*) OVER the same rows give its two parts",
    ),
    refused("RANGETO", Why::TableApi, COLUMNS),
    refused(
        "RANK",
        Why::NotBuilt,
        "ROW_NUMBER is; rows that are equal in ORDER BY have the order of their arrival",
    ),
    refused("REINTERPRETCAST", Why::Internal, "write CAST(x AS type)"),
    refused("SESSION", Why::NotBuilt, WINDOW),
    refused("SESSION_END", Why::NotBuilt, WINDOW),
    refused("SESSION_PROCTIME", Why::NotBuilt, WINDOW),
    refused("SESSION_ROWTIME", Why::NotBuilt, WINDOW),
    refused("SESSION_START", Why::NotBuilt, WINDOW),
    refused(
        "SOURCE_WATERMARK",
        Why::NotBuilt,
        "no connector here has watermarks of its own; write WATERMARK FOR ts AS ts - INTERVAL '5' SECOND",
    ),
    refused(
        "STREAMRECORDTIMESTAMP",
        Why::TableApi,
        "the time of a Kafka record is a column: ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp'",
    ),
    refused("SUM0", Why::Internal, "write COALESCE(SUM(x), 0)"),
    refused(
        "TRY_PARSE_JSON",
        Why::NotBuilt,
        "there is no type VARIANT; JSON_VALUE and JSON_QUERY give NULL for what is no JSON",
    ),
    refused("TUMBLE", Why::NotBuilt, WINDOW),
    refused("TUMBLE_END", Why::NotBuilt, WINDOW),
    refused("TUMBLE_PROCTIME", Why::NotBuilt, WINDOW),
    refused("TUMBLE_ROWTIME", Why::NotBuilt, WINDOW),
    refused("TUMBLE_START", Why::NotBuilt, WINDOW),
    refused(
        "UNNEST",
        Why::NotBuilt,
        "elements are read by a[1], r.f and m['key']",
    ),
    refused(
        "VECTOR_SEARCH",
        Why::NotBuilt,
        "there are no vector stores here; a regular or interval join compares with another table",
    ),
    refused("WITHCOLUMNS", Why::TableApi, COLUMNS),
    refused("WITHOUTCOLUMNS", Why::TableApi, COLUMNS),
];

/// Functions that SHOW FUNCTIONS of Flink lists by their names in its Table API, as SQL writes them.
pub(crate) const TABLE_API: &[(&str, &str)] = &[
    ("CHARLENGTH", "CHAR_LENGTH(s)"),
    ("CONVERTTZ", "CONVERT_TZ(s, from, to)"),
    ("CURRENTDATABASE", "CURRENT_DATABASE()"),
    ("CURRENTDATE", "CURRENT_DATE"),
    ("CURRENTROWTIMESTAMP", "CURRENT_ROW_TIMESTAMP()"),
    ("CURRENTTIME", "CURRENT_TIME"),
    ("CURRENTTIMESTAMP", "CURRENT_TIMESTAMP"),
    ("DATEFORMAT", "DATE_FORMAT(t, pattern)"),
    ("DIVIDE", "a / b"),
    ("FROMBASE64", "FROM_BASE64(s)"),
    ("FROMUNIXTIME", "FROM_UNIXTIME(n)"),
    ("GREATERTHAN", "a > b"),
    ("GREATERTHANOREQUAL", "a >= b"),
    ("IFTHENELSE", "CASE WHEN b THEN x ELSE y END"),
    ("ISFALSE", "b IS FALSE"),
    ("ISNOTFALSE", "b IS NOT FALSE"),
    ("ISNOTNULL", "x IS NOT NULL"),
    ("ISNOTTRUE", "b IS NOT TRUE"),
    ("ISNULL", "x IS NULL"),
    ("ISTRUE", "b IS TRUE"),
    ("IS_JSON", "s IS JSON"),
    ("JSON_ARRAYAGG_ABSENT_ON_NULL", "JSON_ARRAYAGG(x ABSENT ON NULL)"),
    ("JSON_ARRAYAGG_NULL_ON_NULL", "JSON_ARRAYAGG(x NULL ON NULL)"),
    (
        "JSON_OBJECTAGG_ABSENT_ON_NULL",
        "JSON_OBJECTAGG(KEY s VALUE x ABSENT ON NULL)",
    ),
    (
        "JSON_OBJECTAGG_NULL_ON_NULL",
        "JSON_OBJECTAGG(KEY s VALUE x NULL ON NULL)",
    ),
    ("LESSTHAN", "a < b"),
    ("LESSTHANOREQUAL", "a <= b"),
    ("LOWERCASE", "LOWER(s)"),
    ("MINUSPREFIX", "-a"),
    ("NOTBETWEEN", "x NOT BETWEEN a AND b"),
    ("NOTEQUALS", "a <> b"),
    ("PARSEURL", "PARSE_URL(s, part)"),
    ("PLUS", "a + b"),
    ("RANDINTEGER", "RAND_INTEGER(n)"),
    ("REGEXPEXTRACT", "REGEXP_EXTRACT(s, pattern, group)"),
    ("REGEXPREPLACE", "REGEXP_REPLACE(s, pattern, replacement)"),
    ("ROWTIME", "window_time"),
    ("SPLITINDEX", "SPLIT_INDEX(s, separator, n)"),
    ("STDDEVPOP", "STDDEV_POP(x)"),
    ("STDDEVSAMP", "STDDEV_SAMP(x)"),
    ("STRTOMAP", "STR_TO_MAP(s, separator, separator)"),
    ("TEMPORALOVERLAPS", "(a, b) OVERLAPS (c, d)"),
    ("TIMES", "a * b"),
    ("TOBASE64", "TO_BASE64(s)"),
    ("TODATE", "TO_DATE(s)"),
    ("TOTIMESTAMP", "TO_TIMESTAMP(s)"),
    ("UNIXTIMESTAMP", "UNIX_TIMESTAMP()"),
    ("UPPERCASE", "UPPER(s)"),
    ("VARPOP", "VAR_POP(x)"),
    ("VARSAMP", "VAR_SAMP(x)"),
];
