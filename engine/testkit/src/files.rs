//! Files and folders that change places.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Exchanges what two paths of one file system stand for. There is no moment at which one of them
/// is missing, so nobody can create it in between.
pub fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    let (a, b) = (
        CString::new(a.as_os_str().as_bytes())?,
        CString::new(b.as_os_str().as_bytes())?,
    );
    // SAFETY: both are texts that end with a zero and live until the call returns.
    let result = unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            a.as_ptr(),
            libc::AT_FDCWD,
            b.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_file_and_a_folder_change_places() {
        let scratch = Scratch::new("exchange").unwrap();
        let (file, folder) = (scratch.join("a"), scratch.join("b"));
        std::fs::write(&file, "").unwrap();
        std::fs::create_dir(&folder).unwrap();
        exchange(&file, &folder).unwrap();
        assert!(file.is_dir() && folder.is_file());
        assert!(exchange(&file, &scratch.join("missing")).is_err());
    }
}
