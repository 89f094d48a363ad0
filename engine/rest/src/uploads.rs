//! Uploaded programs: files in a folder, and what SQL they hold.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use millrace_core::{Configuration, Error, Result, options};
use millrace_rest_types::jars::Jar;
use uuid::Uuid;

/// Kept as Flink keeps them, below the folder that is configured.
const FOLDER: &str = "flink-web-upload";
/// What a zip has to hold.
const PROGRAM: &str = "job.sql";
/// A program's bytes at most: what unpacks to more is no SQL.
const LONGEST: u64 = 16 << 20;

/// The folder of uploads.
#[derive(Debug)]
pub struct Uploads {
    folder: PathBuf,
    /// It goes with the server.
    is_temporary: bool,
}

impl Uploads {
    pub fn from_config(config: &Configuration) -> Result<Self> {
        if let Some(configured) = config.get_optional(&options::WEB_UPLOAD_DIRECTORY)? {
            return Ok(Uploads {
                folder: Path::new(&configured).join(FOLDER),
                is_temporary: false,
            });
        }
        let temporary = match config.get_optional(&options::TEMPORARY_DIRECTORIES)? {
            Some(folders) => PathBuf::from(folders.split([',', ':', ';']).next().unwrap_or_default()),
            None => std::env::temp_dir(),
        };
        Ok(Uploads {
            folder: temporary
                .join(format!("flink-web-{}", Uuid::new_v4()))
                .join(FOLDER),
            is_temporary: true,
        })
    }

    /// A new file for what was called so where it comes from; its name is the id by which it is run.
    pub fn place(&self, name: &str) -> Result<PathBuf> {
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let is_taken = [".jar", ".sql", ".zip"].iter().any(|end| name.ends_with(end));
        if !is_taken || name.chars().any(char::is_control) {
            return Err(Error::user("Only Jar files are allowed.")
                .with_detail(name)
                .with_hint("upload a .sql file, or a .zip or .jar file with the SQL in it as job.sql"));
        }
        std::fs::create_dir_all(&self.folder)
            .map_err(|e| unusable("the folder of uploads cannot be made", &self.folder, e))?;
        Ok(self.folder.join(format!("{}_{name}", Uuid::new_v4())))
    }

    /// The newest first.
    pub fn list(&self) -> Result<Vec<Jar>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(unusable("the folder of uploads cannot be read", &self.folder, e)),
        };
        let mut jars: Vec<Jar> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let id = entry.file_name().into_string().ok()?;
                let (_, name) = id.split_once('_')?;
                let written = entry.metadata().ok()?.modified().ok()?;
                let uploaded = written.duration_since(UNIX_EPOCH).ok()?.as_millis() as i64;
                Some(Jar {
                    name: name.to_owned(),
                    id,
                    uploaded,
                    entry: Vec::new(),
                })
            })
            .collect();
        jars.sort_by_key(|jar| std::cmp::Reverse(jar.uploaded));
        Ok(jars)
    }

    pub fn delete(&self, id: &str) -> Result<()> {
        let path = self
            .existing(id)
            .ok_or_else(|| Error::user(format!("File {id} does not exist in {}.", self.folder.display())))?;
        std::fs::remove_file(&path).map_err(|e| unusable("an upload cannot be deleted", &path, e))
    }

    /// The file of an id, if it is there. An id is a bare name.
    pub fn existing(&self, id: &str) -> Option<PathBuf> {
        let is_bare = !id.is_empty() && !id.contains(['/', '\\']) && id != "..";
        let path = self.folder.join(id);
        (is_bare && path.is_file()).then_some(path)
    }

    /// Where it would be.
    pub fn path(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        if self.is_temporary
            && let Some(own) = self.folder.parent()
        {
            let _ = std::fs::remove_dir_all(own);
        }
    }
}

/// The SQL of an upload.
pub fn program(path: &Path) -> Result<String> {
    let content = std::fs::read(path).map_err(|e| unusable("an upload cannot be read", path, e))?;
    let name = path.display().to_string();
    let text = match path.extension().is_some_and(|end| end == "sql") {
        true => content,
        false => unzipped(&name, content)?,
    };
    String::from_utf8(text).map_err(|e| {
        Error::user("the SQL is not UTF-8")
            .with_detail(name)
            .with_source(e)
    })
}

fn unzipped(name: &str, content: Vec<u8>) -> Result<Vec<u8>> {
    let unreadable = |e: zip::result::ZipError| {
        Error::user("the upload is no zip file")
            .with_detail(name)
            .with_source(e)
            .with_hint("upload a .sql file, or a zip with the SQL in it as job.sql")
    };
    let mut archive = zip::ZipArchive::new(Cursor::new(content)).map_err(unreadable)?;
    let entry = match archive.by_name(PROGRAM) {
        Ok(entry) => entry,
        Err(zip::result::ZipError::FileNotFound) => {
            return Err(Error::user("a job in Java does not run on this engine")
                .with_detail(format!("{name} has no {PROGRAM} in it"))
                .with_hint(
                    "write the job in SQL and upload it as a .sql file, or as a zip with the SQL in it as job.sql; \
                     or run the jar on Apache Flink",
                ));
        }
        Err(e) => return Err(unreadable(e)),
    };
    let mut text = Vec::new();
    entry.take(LONGEST + 1).read_to_end(&mut text).map_err(|e| {
        Error::user("job.sql cannot be unpacked")
            .with_detail(name)
            .with_source(e)
    })?;
    if text.len() as u64 > LONGEST {
        return Err(
            Error::user("job.sql is too long").with_detail(format!("{name}: more than {LONGEST} bytes"))
        );
    }
    Ok(text)
}

fn unusable(what: &str, path: &Path, e: std::io::Error) -> Error {
    Error::external(what)
        .with_detail(path.display().to_string())
        .with_source(e)
        .with_hint("set web.upload.dir to a folder that can be written")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn uploads(folder: &Path) -> Uploads {
        let mut config = Configuration::default();
        config.set("web.upload.dir", folder.display().to_string());
        Uploads::from_config(&config).unwrap()
    }

    fn zipped(name: &str, content: &str) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer
            .start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content.as_bytes()).unwrap();
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn an_upload_is_listed_read_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(folder.path());
        assert!(uploads.list().unwrap().is_empty());
        for (name, content) in [
            ("a.sql", b"SELECT 1".to_vec()),
            ("b.jar", zipped("job.sql", "SELECT 2")),
        ] {
            std::fs::write(uploads.place(name).unwrap(), content).unwrap();
        }
        let mut listed = uploads.list().unwrap();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<_> = listed.iter().map(|jar| jar.name.as_str()).collect();
        assert_eq!(names, ["a.sql", "b.jar"]);
        let text = |jar: &Jar| program(&uploads.existing(&jar.id).unwrap()).unwrap();
        assert_eq!([text(&listed[0]), text(&listed[1])], ["SELECT 1", "SELECT 2"]);
        uploads.delete(&listed[0].id).unwrap();
        assert!(uploads.existing(&listed[0].id).is_none());
        assert!(uploads.delete(&listed[0].id).is_err());
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(folder.path());
        for name in ["notes.txt", "", "a.sql/", "a.\n.sql"] {
            assert!(uploads.place(name).is_err(), "{name:?}");
        }
        let inside = uploads.place("../../../a.sql").unwrap();
        assert!(inside.starts_with(folder.path()) && inside.ends_with(inside.file_name().unwrap()));
        for (name, content, message) in [
            (
                "a.jar",
                zipped("com/example/Job.class", "x"),
                "upload it as a .sql file",
            ),
            ("b.jar", b"no zip".to_vec(), "no zip file"),
            ("c.zip", zipped("job.sql", &" ".repeat(17 << 20)), "too long"),
        ] {
            let path = uploads.place(name).unwrap();
            std::fs::write(&path, content).unwrap();
            let error = program(&path).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn ids_do_not_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        let uploads = uploads(folder.path());
        std::fs::create_dir_all(&uploads.folder).unwrap();
        for id in ["../secret", "..", "", "/etc/passwd"] {
            assert!(uploads.existing(id).is_none(), "{id}");
        }
    }

    #[test]
    fn a_folder_of_ones_own_goes_away() {
        let temporary = tempfile::tempdir().unwrap();
        let mut config = Configuration::default();
        config.set("io.tmp.dirs", temporary.path().display().to_string());
        let uploads = Uploads::from_config(&config).unwrap();
        std::fs::write(uploads.place("a.sql").unwrap(), "x").unwrap();
        drop(uploads);
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}
