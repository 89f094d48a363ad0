//! Standard output and standard error. Whoever reads them may go away (`| head`, a closed terminal):
//! that ends no job and is no error.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_core::{Error, Result};

/// Where the terminal says nothing of its width.
const WIDTH: usize = 80;

/// Whether a progress line stands on the terminal at present.
static LINE: AtomicBool = AtomicBool::new(false);

/// Writes to standard output what was asked for.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Error::external("standard output cannot be written").with_source(e))
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error.
pub fn say(line: &str) {
    clear_line();
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Draws the progress line over itself.
pub fn draw_line(text: &str) {
    LINE.store(true, Ordering::Relaxed);
    // A longer one would begin another line each time, and the next could not be drawn over it.
    let line = cut(text, width());
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
}

/// Takes the progress line away, so that what follows begins a line of its own.
pub fn clear_line() {
    if LINE.swap(false, Ordering::Relaxed) {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

pub fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Standard error for the log, in step with the progress line.
pub struct Stderr;

impl Write for Stderr {
    /// Never fails: the log would complain of it on standard error.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        clear_line();
        let _ = std::io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let _ = std::io::stderr().flush();
        Ok(())
    }
}

/// Columns of the terminal behind standard error.
fn width() -> usize {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the request fills the structure that it is given and keeps no pointer.
    let answer = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &mut size) };
    match size.ws_col {
        columns if answer == 0 && columns > 0 => columns.into(),
        _ => WIDTH,
    }
}

/// The text if it fits, else its beginning and a sign that there is more. The last column stays free:
/// some terminals go on to the next line when it is written.
fn cut(text: &str, width: usize) -> String {
    let room = width.saturating_sub(1);
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut line: String = text.chars().take(room.saturating_sub(1)).collect();
    line.push('…');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_to_the_terminals_width() {
        assert_eq!(cut("in 5/s  out 5/s", 80), "in 5/s  out 5/s");
        assert_eq!(cut("0123456789", 11), "0123456789");
        assert_eq!(cut("0123456789", 10), "01234567…");
        assert_eq!(cut(&"é".repeat(200), 80).chars().count(), 79);
        assert_eq!(cut("0123", 0), "…");
    }
}
