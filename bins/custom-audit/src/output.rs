//! Where the lines go: standard output, or a file that a `<localfile>` follows.

use std::fs::File;
use std::io::{self, Stdout, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use common::record::{is_torn, open_log};

/// Standard output, or a file.
#[derive(Debug)]
pub enum Output {
    /// What the wodle reads.
    Standard(Stdout),
    /// A log.
    File(File),
}

impl Output {
    /// Standard output.
    #[must_use]
    pub fn standard() -> Output {
        Output::Standard(io::stdout())
    }

    /// A file, opened anew for each run, so that it may be rotated by renaming.
    ///
    /// # Errors
    /// When it is anything but a regular file with one link, or cannot be
    /// opened or made.
    pub fn file(path: &Path) -> io::Result<Output> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file"));
        };
        let mut file = open_log(directory, name)?;
        // What a full disk, or another writer, left unfinished.
        if is_torn(&file)? {
            file.write_all(b"\n")?;
        }
        Ok(Output::File(file))
    }
}

impl Write for Output {
    /// To a file all of it or nothing: what a full disk cuts is taken back.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Standard(out) => out.write(bytes),
            Output::File(file) => {
                let before = file.metadata()?.len();
                match file.write(bytes) {
                    Ok(written) if written == bytes.len() => Ok(written),
                    short => {
                        let written = *short.as_ref().unwrap_or(&0) as u64;
                        // Only what is surely ours.
                        if written > 0 && file.metadata()?.len() == before + written {
                            file.set_len(before)?;
                        }
                        short.and(Err(io::ErrorKind::StorageFull.into()))
                    }
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Standard(out) => out.flush(),
            Output::File(_) => Ok(()),
        }
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Output::Standard(out) => out.as_fd(),
            Output::File(file) => file.as_fd(),
        }
    }
}
