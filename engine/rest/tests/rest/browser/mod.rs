//! The dashboard of Apache Flink on a running job, in a browser.

mod devtools;
