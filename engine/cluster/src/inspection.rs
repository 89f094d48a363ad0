//! What a process tells people of itself: its log, its standard output, its threads.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

use millrace_core::{Error, Result};

use crate::logs::{self, Log, LogFile};

/// Bytes of a file at most: of a longer one the end is shown.
const SHOWN: u64 = 16 << 20;

/// What a process is, and so how its standard output is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    JobManager,
    TaskManager,
}

impl Role {
    fn output_name(self) -> &'static str {
        match self {
            Role::JobManager => "jobmanager.out",
            Role::TaskManager => "taskmanager.out",
        }
    }
}

/// What a process can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The files that there are.
    Files,
    /// What the file of this name holds.
    Content(String),
    /// What the log holds.
    Log,
    StandardOutput,
    Threads,
}

/// The answer to each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Files(Vec<LogFile>),
    /// None: there is no such file.
    Content(Option<Vec<u8>>),
    Threads(Vec<Thread>),
}

/// This process answers. Blocks on its disk.
pub fn answer(role: Role, question: Question) -> Result<Told> {
    Ok(match question {
        Question::Files => Told::Files(files(role)),
        Question::Content(name) => Told::Content(content(role, &name)),
        Question::Log => Told::Content(log()),
        Question::StandardOutput => Told::Content(Some(standard_output())),
        Question::Threads => Told::Threads(threads()?),
    })
}

/// A thread of the process as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    pub id: u32,
    pub name: String,
    /// The kernel's letter: R runs, S waits, D waits for a disk.
    pub state: char,
    /// Milliseconds that it has run, in the program and in the kernel.
    pub user: u64,
    pub system: u64,
    /// Where in the kernel it waits, if that is told.
    pub waits_in: String,
}

impl Thread {
    /// In the words of a JVM's thread dump, as far as they fit.
    pub fn in_words(&self) -> String {
        let state = match self.state {
            'R' => "RUNNABLE",
            'D' => "BLOCKED",
            'S' | 'I' => "WAITING",
            'T' | 't' => "SUSPENDED",
            _ => "TERMINATED",
        };
        let place = match self.waits_in.as_str() {
            "" | "0" => String::new(),
            place => format!(" on {place}"),
        };
        format!(
            "\"{}\" Id={} {state}{place}\n\tcpu user {} ms, system {} ms\n\n",
            self.name, self.id, self.user, self.system
        )
    }
}

/// Those of the log, and the standard output where that is a file.
pub fn files(role: Role) -> Vec<LogFile> {
    let log = logs::current().map(Log::files).unwrap_or_default();
    let output = redirected(1).map(|(bytes, modified)| LogFile {
        name: role.output_name().to_owned(),
        bytes,
        modified,
    });
    log.into_iter().chain(output).collect()
}

/// The newest lines of the log. None: this process keeps none.
pub fn log() -> Option<Vec<u8>> {
    logs::current().map(Log::recent)
}

/// What one of these files holds. None: there is none of that name.
pub fn content(role: Role, name: &str) -> Option<Vec<u8>> {
    match name == role.output_name() {
        true => redirected(1).map(|_| read(1)),
        false => logs::current()?.read(name),
    }
}

/// Where it goes elsewhere, that is said.
pub fn standard_output() -> Vec<u8> {
    match redirected(1) {
        Some(_) => read(1),
        None => b"The standard output of this process does not go into a file; in a container it is in the container's log.\n"
            .to_vec(),
    }
}

fn path(descriptor: u32) -> String {
    format!("/proc/self/fd/{descriptor}")
}

/// Size and time of a descriptor's file, if it is one.
fn redirected(descriptor: u32) -> Option<(u64, i64)> {
    let file = fs::metadata(path(descriptor))
        .ok()
        .filter(fs::Metadata::is_file)?;
    let modified = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((file.len(), modified.as_millis() as i64))
}

/// What cannot be read is told in its place.
fn read(descriptor: u32) -> Vec<u8> {
    let whole = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(path(descriptor))?;
        let skipped = file.metadata()?.len().saturating_sub(SHOWN);
        file.seek(SeekFrom::Start(skipped))?;
        let mut content = Vec::new();
        file.take(SHOWN).read_to_end(&mut content)?;
        Ok(content)
    };
    whole().unwrap_or_else(|e| format!("{}: {e}\n", path(descriptor)).into_bytes())
}

/// In the order of their ids.
pub fn threads() -> Result<Vec<Thread>> {
    let unreadable = |e| Error::external("the threads of this process cannot be listed").with_source(e);
    let entries = fs::read_dir("/proc/self/task").map_err(unreadable)?;
    // One that ends meanwhile is none.
    let mut threads: Vec<Thread> = entries.filter_map(|entry| thread(&entry.ok()?.path())).collect();
    threads.sort_by_key(|thread| thread.id);
    Ok(threads)
}

fn thread(folder: &Path) -> Option<Thread> {
    let id = folder.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let waits_in = fs::read_to_string(folder.join("wchan")).unwrap_or_default();
    parse_stat(id, &stat, waits_in)
}

/// proc_pid_stat(5): a name in brackets, which may hold any character, then fields from the third on.
fn parse_stat(id: u32, stat: &str, waits_in: String) -> Option<Thread> {
    /// Clock ticks of the kernel are hundredths of a second on every machine that this runs on.
    const TICK: u64 = 10;
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    Some(Thread {
        id,
        name,
        state: fields.first()?.chars().next()?,
        user: ticks(14)? * TICK,
        system: ticks(15)? * TICK,
        waits_in,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_of_this_process() {
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let named = std::thread::Builder::new().name("a (name)".to_owned());
        let thread = named.spawn(move || {
            ready.send(()).unwrap();
            let _ = ended.recv();
        });
        is_ready.recv().unwrap();
        let threads = threads().unwrap();
        let found = threads.iter().find(|thread| thread.name == "a (name)").unwrap();
        assert!(
            found.in_words().starts_with("\"a (name)\" Id="),
            "{}",
            found.in_words()
        );
        drop(end);
        thread.unwrap().join().unwrap();
    }

    #[test]
    fn fields_are_those_of_the_kernel() {
        let stat = "7 (odd) name) S 1 7 7 0 -1 4194560 100 0 0 0 25 3 0 0 20 0 1 0 100 0";
        let thread = parse_stat(7, stat, "futex_wait".to_owned()).unwrap();
        assert_eq!((thread.name.as_str(), thread.state), ("odd) name", 'S'));
        assert_eq!((thread.user, thread.system), (250, 30));
        assert_eq!(
            thread.in_words(),
            "\"odd) name\" Id=7 WAITING on futex_wait\n\tcpu user 250 ms, system 30 ms\n\n"
        );
        assert!(parse_stat(7, "nothing", String::new()).is_none());
    }

    #[test]
    fn a_file_is_there_under_its_name_alone() {
        assert!(content(Role::TaskManager, "../taskmanager.out").is_none());
        assert!(content(Role::TaskManager, "jobmanager.out").is_none());
        assert!(!standard_output().is_empty() || redirected(1).is_some());
    }
}
