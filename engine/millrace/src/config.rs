//! The configuration of a run: config.yaml, then -D.

use figment::Figment;
use figment::providers::{Format, Yaml};
use figment::value::{Dict, Value};
use millrace_cluster::words;
use millrace_core::{Configuration, Error, Result, options, sensitive};

use crate::arguments::Settings;
use crate::logging::{self, Role};

/// Reads both places, begins the log, and tells of options that are without effect.
pub fn load(settings: &Settings, role: Role) -> Result<Configuration> {
    let config = read(settings)?;
    let without_effect = options::check(&config)?;
    logging::begin(role, &config)?;
    if role != Role::Command {
        for (key, value) in config.iter() {
            words::option(key, sensitive::shown(key, value));
        }
    }
    for key in without_effect {
        tracing::warn!(key, "this option has no effect here");
    }
    Ok(config)
}

/// Reads both places, without a word.
pub fn read(settings: &Settings) -> Result<Configuration> {
    let mut config = Configuration::default();
    for (key, value) in settings.defaults {
        config.set(*key, *value);
    }
    if let Some(folder) = &settings.config_dir {
        let file = folder.join("config.yaml");
        if !file.is_file() {
            return Err(Error::user("config.yaml is not there")
                .with_detail(file.display().to_string())
                .with_hint("correct --config-dir, or FLINK_CONF_DIR where that is set"));
        }
        let values: Dict = Figment::from(Yaml::file_exact(&file)).extract().map_err(|e| {
            Error::user("config.yaml cannot be read")
                .with_detail(file.display().to_string())
                .with_source(e)
        })?;
        flatten("", &Value::from(values), &mut config);
    }
    if let Some(properties) = &settings.properties {
        let values: Dict = Figment::from(Yaml::string(properties)).extract().map_err(|e| {
            Error::user("FLINK_PROPERTIES cannot be read")
                .with_source(e)
                .with_hint("it has lines of config.yaml: `key: value`")
        })?;
        flatten("", &Value::from(values), &mut config);
    }
    for (key, value) in &settings.options {
        config.set(key, value);
    }
    options::check(&config)?;
    Ok(config)
}

/// Flink's config.yaml may be nested, flat, or both: `a: {b: 1}` is `a.b: 1`.
fn flatten(prefix: &str, value: &Value, config: &mut Configuration) {
    let text = match value {
        Value::Dict(_, entries) => {
            for (key, value) in entries {
                let path = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                flatten(&path, value, config);
            }
            return;
        }
        Value::Array(_, items) => items.iter().map(scalar).collect::<Vec<_>>().join(";"),
        other => scalar(other),
    };
    config.set(prefix, text);
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(_, text) => text.clone(),
        Value::Char(_, c) => c.to_string(),
        Value::Bool(_, b) => b.to_string(),
        Value::Num(_, n) => n
            .to_i128()
            .map(|n| n.to_string())
            .or_else(|| n.to_u128().map(|n| n.to_string()))
            .or_else(|| n.to_f64().map(|n| n.to_string()))
            .unwrap_or_default(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &std::path::Path, options: &[(&str, &str)]) -> Settings {
        Settings {
            options: options
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            config_dir: Some(folder.to_owned()),
            properties: None,
            defaults: &[],
        }
    }

    #[test]
    fn nested_and_flat_keys_are_one_and_the_command_line_is_stronger() {
        let folder = tempfile::tempdir().unwrap();
        let yaml = "parallelism:\n  default: 3\nexecution.checkpointing.interval: 1 s\npipeline:\n  operator-chaining.enabled: true\n";
        std::fs::write(folder.path().join("config.yaml"), yaml).unwrap();
        let config = read(&settings(folder.path(), &[("parallelism.default", "5")])).unwrap();
        assert_eq!(config.raw("parallelism.default"), Some("5"));
        assert_eq!(config.raw("execution.checkpointing.interval"), Some("1 s"));
        assert_eq!(config.raw("pipeline.operator-chaining.enabled"), Some("true"));
    }

    #[test]
    fn an_unknown_option_of_our_own_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.yaml"), "").unwrap();
        let e = read(&settings(folder.path(), &[("millrace.nothing", "1")])).unwrap_err();
        assert!(e.to_string().contains("millrace.nothing"), "{e}");
    }

    #[test]
    fn a_folder_without_the_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        for folder in [folder.path(), "/no/such/folder".as_ref()] {
            let e = read(&settings(folder, &[])).unwrap_err().to_string();
            let file = folder.join("config.yaml");
            assert!(
                e.contains(&file.display().to_string()) && e.contains("--config-dir"),
                "{e}"
            );
        }
    }
}
