//! The dashboard's files: those of Apache Flink's, in a folder, which nothing of the engine changes.

use std::path::{Component, Path, PathBuf};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_core::{Configuration, Result, options};

use crate::answer::Failure;

const WITHOUT: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Millrace</title></head>\n\
    <body><p>This is the REST API of Millrace. The dashboard's files are not here: set millrace.dashboard.dir to the \
    folder web of Apache Flink's flink-runtime-web jar.</p>\n<p><a href=\"overview\">overview</a>, \
    <a href=\"jobs/overview\">jobs</a>, <a href=\"taskmanagers\">TaskManagers</a></p></body></html>\n";

/// A name with a hash of the content stands for the same content for ever.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const FOR_MINUTES: HeaderValue = HeaderValue::from_static("private, max-age=300");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

#[derive(Debug, Clone)]
pub struct Dashboard {
    folder: Option<PathBuf>,
}

impl Dashboard {
    /// Where the configuration says, else where Flink's image has it.
    pub fn from_config(config: &Configuration) -> Result<Self> {
        let folder = match config.get_optional(&options::DASHBOARD_DIRECTORY)? {
            Some(folder) => Some(PathBuf::from(folder)),
            None => std::env::var_os("FLINK_HOME")
                .map(|home| Path::new(&home).join("web"))
                .filter(|folder| folder.join("index.html").is_file()),
        };
        Ok(Dashboard { folder })
    }

    #[cfg(test)]
    fn at(folder: &Path) -> Self {
        Dashboard {
            folder: Some(folder.to_owned()),
        }
    }

    /// The file at a path of a request; a folder stands for its index.html.
    pub async fn file(&self, path: &str) -> Response {
        let missing =
            || Failure::no_such_path(format!("Unable to load requested file {path}.")).into_response();
        let is_start = matches!(path, "/" | "/index.html");
        let Some(folder) = &self.folder else {
            return match is_start {
                true => answer(WITHOUT.as_bytes().to_vec(), "html", ASK_AGAIN),
                false => missing(),
            };
        };
        let relative = if path == "/" {
            "index.html"
        } else {
            path.trim_start_matches('/')
        };
        let Some(relative) = below(relative) else {
            return missing();
        };
        let Ok(content) = tokio::fs::read(folder.join(&relative)).await else {
            return missing();
        };
        let caching = match is_start {
            true => ASK_AGAIN,
            false if has_hash(&relative) => FOR_EVER,
            false => FOR_MINUTES,
        };
        let extension = relative.extension().and_then(|e| e.to_str()).unwrap_or_default();
        answer(content, extension, caching)
    }
}

fn answer(content: Vec<u8>, extension: &str, caching: HeaderValue) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(content_type(extension)),
        ),
        (header::CACHE_CONTROL, caching),
    ];
    (StatusCode::OK, headers, content).into_response()
}

/// A path that cannot leave its folder.
fn below(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(path);
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
    (is_below && !path.as_os_str().is_empty()).then_some(path)
}

/// Such as main.0ad72bff013cef50.js.
fn has_hash(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.split('.')
        .any(|part| part.len() == 16 && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn content_type(extension: &str) -> &'static str {
    match extension {
        "html" => "text/html",
        "js" => "application/javascript",
        "css" => "text/css",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "ttf" => "font/ttf",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "txt" => "text/plain",
        "xml" => "application/xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(dashboard: &Dashboard, path: &str) -> (u16, String, String, String) {
        let answer = dashboard.file(path).await;
        let header = |name| {
            let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (kind, caching) = (header(header::CONTENT_TYPE), header(header::CACHE_CONTROL));
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, kind, caching, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn files_and_how_long_they_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("web");
        std::fs::create_dir_all(inner.join("assets")).unwrap();
        for (name, content) in [
            ("web/index.html", "start"),
            ("web/main.0ad72bff013cef50.js", "code"),
            ("web/assets/a.svg", "picture"),
            ("secret", "secret"),
        ] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let dashboard = Dashboard::at(&inner);
        let (status, kind, caching, body) = asked(&dashboard, "/").await;
        assert_eq!(
            (status, kind.as_str(), caching.as_str(), body.as_str()),
            (200, "text/html", "no-cache", "start")
        );
        let (_, kind, caching, _) = asked(&dashboard, "/main.0ad72bff013cef50.js").await;
        assert!(kind == "application/javascript" && caching.contains("immutable"));
        let (_, kind, caching, _) = asked(&dashboard, "/assets/a.svg").await;
        assert_eq!(
            (kind.as_str(), caching.as_str()),
            ("image/svg+xml", "private, max-age=300")
        );
        for outside in [
            "/../secret",
            "/assets/../../secret",
            "//etc/passwd",
            "/nothing",
            "/assets",
        ] {
            let (status, _, _, body) = asked(&dashboard, outside).await;
            assert_eq!(status, 404, "{outside}");
            assert!(body.contains("Unable to load requested file"), "{body}");
        }
    }

    #[tokio::test]
    async fn without_files_the_start_page_says_so() {
        let dashboard = Dashboard { folder: None };
        let (status, _, _, body) = asked(&dashboard, "/").await;
        assert!(status == 200 && body.contains("millrace.dashboard.dir"));
        assert_eq!(asked(&dashboard, "/main.js").await.0, 404);
    }
}
