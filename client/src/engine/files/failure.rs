//! What a disk could not do: a reason for the other end, and the system's own words for this one.

use std::io::{self, ErrorKind};

use common::wire::message::FileTrouble;

/// Why a file cannot be read or written.
#[derive(Debug)]
pub(super) struct Failure {
    /// What others are told.
    pub(super) trouble: FileTrouble,
    /// What only the person here is told.
    pub(super) detail: String,
}

impl Failure {
    /// A file that is to be sent cannot be read.
    pub(super) fn of_source(error: io::Error) -> Self {
        let is = |kinds: &[ErrorKind]| kinds.contains(&error.kind());
        let trouble = if is(&[ErrorKind::NotFound, ErrorKind::NotADirectory]) {
            FileTrouble::SourceGone
        } else if is(&[ErrorKind::UnexpectedEof]) {
            FileTrouble::SourceChanged
        } else {
            FileTrouble::SourceUnreadable
        };
        Self { trouble, detail: error.to_string() }
    }

    /// A file that is to be sent is not the one that was offered.
    pub(super) fn changed() -> Self {
        Self { trouble: FileTrouble::SourceChanged, detail: "it was changed".into() }
    }

    /// The folder for received files, or a file in it, does not take what comes.
    pub(super) fn of_folder(error: io::Error) -> Self {
        let is = |kinds: &[ErrorKind]| kinds.contains(&error.kind());
        let trouble = if is(&[ErrorKind::AlreadyExists, ErrorKind::NotADirectory]) {
            FileTrouble::ReceiverFolder
        } else if is(&[ErrorKind::FileTooLarge]) {
            FileTrouble::ReceiverTooLarge
        } else if is(&[ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem]) {
            FileTrouble::ReceiverReadOnly
        } else if is_full(&error) {
            FileTrouble::ReceiverFull { missing: 1 }
        } else {
            FileTrouble::ReceiverDisk
        };
        Self { trouble, detail: error.to_string() }
    }

    /// There is not enough room on the disk.
    pub(super) fn no_room(missing: u64) -> Self {
        Self { trouble: FileTrouble::ReceiverFull { missing: missing.max(1) }, detail: "the disk is full".into() }
    }

    /// What the reason alone does not say, if it is worth a line.
    pub(super) fn explanation(&self) -> Option<&str> {
        matches!(self.trouble, FileTrouble::ReceiverDisk | FileTrouble::SourceUnreadable).then_some(&self.detail)
    }
}

/// Whether a disk has no room for what was to be written.
pub(super) fn is_full(error: &io::Error) -> bool {
    [ErrorKind::QuotaExceeded, ErrorKind::StorageFull].contains(&error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_becomes_a_reason() {
        let of_folder = |kind: ErrorKind| Failure::of_folder(kind.into()).trouble;
        assert_eq!(of_folder(ErrorKind::ReadOnlyFilesystem), FileTrouble::ReceiverReadOnly);
        assert_eq!(of_folder(ErrorKind::AlreadyExists), FileTrouble::ReceiverFolder);
        assert_eq!(of_folder(ErrorKind::StorageFull), FileTrouble::ReceiverFull { missing: 1 });
        assert_eq!(of_folder(ErrorKind::TimedOut), FileTrouble::ReceiverDisk);
        let of_source = |kind: ErrorKind| Failure::of_source(kind.into()).trouble;
        assert_eq!(of_source(ErrorKind::NotFound), FileTrouble::SourceGone);
        assert_eq!(of_source(ErrorKind::UnexpectedEof), FileTrouble::SourceChanged);
        assert_eq!(of_source(ErrorKind::PermissionDenied), FileTrouble::SourceUnreadable);
    }

    #[test]
    fn the_words_of_the_system_are_shown_where_the_reason_says_less() {
        assert!(Failure::of_folder(io::Error::other("the controller is on fire")).explanation().is_some());
        assert_eq!(Failure::no_room(5).explanation(), None);
    }
}
