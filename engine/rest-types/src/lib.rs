//! The bodies of Flink's REST API, as JSON has them: what the server answers, and what clients read.
