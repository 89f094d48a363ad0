//! What is asked of a TaskManager's process, as messages.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use millrace_core::{Error, Result};

use super::proto;
use super::proto::question::Is as Asks;
use super::proto::told::files::File as FileMessage;
use super::proto::told::threads::Thread as ThreadMessage;
use super::proto::told::{Files, Is, Threads};
use crate::inspection::{Question, Thread, Told};
use crate::logs::LogFile;

/// One that has not answered for so long will not.
const PATIENCE: Duration = Duration::from_secs(30);

/// Questions that wait for their answers.
#[derive(Default)]
pub struct Questions {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Sender<Result<Told>>>>,
}

impl Questions {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Sender<Result<Told>>>> {
        self.open.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Asks by `say`, and waits.
    pub fn ask(&self, question: Question, say: impl FnOnce(proto::Question)) -> Result<Told> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = channel();
        self.open().insert(number, sender);
        say(asked(number, question));
        let told = answer.recv_timeout(PATIENCE);
        self.open().remove(&number);
        told.unwrap_or_else(|_| Err(Error::external("a TaskManager does not answer")))
    }

    /// What has come. Nobody may wait for it any more.
    pub fn told(&self, message: proto::Told) {
        if let Some(waiting) = self.open().remove(&message.number) {
            let _ = waiting.send(understood(message));
        }
    }

    /// Nothing will come any more.
    pub fn give_up(&self) {
        self.open().clear();
    }
}

fn asked(number: u64, question: Question) -> proto::Question {
    let nothing = proto::Nothing {};
    proto::Question {
        number,
        is: Some(match question {
            Question::Files => Asks::Files(nothing),
            Question::Content(name) => Asks::Content(name),
            Question::Log => Asks::Log(nothing),
            Question::StandardOutput => Asks::StandardOutput(nothing),
            Question::Threads => Asks::Threads(nothing),
        }),
    }
}

/// The question of a message. None: one of another release.
pub fn question(message: proto::Question) -> Option<Question> {
    Some(match message.is? {
        Asks::Files(_) => Question::Files,
        Asks::Content(name) => Question::Content(name),
        Asks::Log(_) => Question::Log,
        Asks::StandardOutput(_) => Question::StandardOutput,
        Asks::Threads(_) => Question::Threads,
    })
}

pub fn answer(number: u64, told: Result<Told>) -> proto::Told {
    let is = match told {
        Ok(Told::Files(files)) => Is::Files(Files {
            files: files.into_iter().map(file_message).collect(),
        }),
        Ok(Told::Content(Some(content))) => Is::Content(content),
        Ok(Told::Content(None)) => Is::NoContent(proto::Nothing {}),
        Ok(Told::Threads(threads)) => Is::Threads(Threads {
            threads: threads.into_iter().map(thread_message).collect(),
        }),
        Err(error) => Is::Error(error.to_string()),
    };
    proto::Told { number, is: Some(is) }
}

fn file_message(file: LogFile) -> FileMessage {
    FileMessage {
        name: file.name,
        size: file.bytes,
        modified: file.modified,
    }
}

fn thread_message(thread: Thread) -> ThreadMessage {
    ThreadMessage {
        id: thread.id,
        name: thread.name,
        state: u32::from(thread.state),
        user: thread.user,
        system: thread.system,
        waits_in: thread.waits_in,
    }
}

fn understood(message: proto::Told) -> Result<Told> {
    let file = |file: FileMessage| LogFile {
        name: file.name,
        bytes: file.size,
        modified: file.modified,
    };
    let thread = |thread: ThreadMessage| Thread {
        id: thread.id,
        name: thread.name,
        state: char::from_u32(thread.state).unwrap_or('?'),
        user: thread.user,
        system: thread.system,
        waits_in: thread.waits_in,
    };
    match message.is {
        Some(Is::Files(told)) => Ok(Told::Files(told.files.into_iter().map(file).collect())),
        Some(Is::Content(content)) => Ok(Told::Content(Some(content))),
        Some(Is::NoContent(_)) => Ok(Told::Content(None)),
        Some(Is::Threads(told)) => Ok(Told::Threads(told.threads.into_iter().map(thread).collect())),
        Some(Is::Error(why)) => Err(Error::external("a TaskManager cannot tell of itself").with_detail(why)),
        None => Err(Error::external(
            "a TaskManager answers in a way that is not known",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_messages(asks: Question, told: Result<Told>) -> Result<Told> {
        let questions = Questions::default();
        let expected = asks.clone();
        questions.ask(asks, |message| {
            let number = message.number;
            assert_eq!(question(message).unwrap(), expected);
            questions.told(answer(number, told));
        })
    }

    #[test]
    fn questions_and_answers_are_the_same_on_the_other_side() {
        let files = vec![LogFile {
            name: "a.log".to_owned(),
            bytes: 7,
            modified: 9,
        }];
        let threads = vec![Thread {
            id: 3,
            name: "a".to_owned(),
            state: 'S',
            user: 1,
            system: 2,
            waits_in: "futex".to_owned(),
        }];
        for (asks, told) in [
            (Question::Files, Told::Files(files)),
            (Question::Content("a".to_owned()), Told::Content(None)),
            (Question::Log, Told::Content(Some(b"x".to_vec()))),
            (Question::StandardOutput, Told::Content(Some(Vec::new()))),
            (Question::Threads, Told::Threads(threads)),
        ] {
            assert_eq!(through_messages(asks, Ok(told.clone())).unwrap(), told);
        }
        let error = through_messages(Question::Threads, Err(Error::external("no /proc")));
        assert!(error.unwrap_err().to_string().contains("no /proc"));
    }

    #[test]
    fn who_is_lost_answers_nothing() {
        let questions = Questions::default();
        assert!(questions.ask(Question::Log, |_| questions.give_up()).is_err());
    }
}
