//! Why a file does not go on, as a person reads it: the same reason reads differently at each end.

use common::wire::message::FileTrouble;

use crate::amount::bytes;

/// The names of both ends of a file, `None` for who reads.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// Who offered it.
    pub sender: Option<&'a str>,
    /// Who was to have it.
    pub receiver: Option<&'a str>,
}

impl Ends<'_> {
    /// A clause that stands behind a colon.
    pub fn why(self, trouble: FileTrouble) -> String {
        let (sender, receiver) = (disk_of(self.sender), disk_of(self.receiver));
        let folder =
            self.receiver.map_or("the folder for files here".into(), |name| format!("{name}'s folder for files"));
        let who = |name: Option<&str>, left: &str| name.map_or(format!("you {left}"), |name| format!("{name} {left}"));
        match trouble {
            FileTrouble::Connection => "the connection broke".into(),
            FileTrouble::ReceiverDisk => format!("{receiver} fails"),
            FileTrouble::ReceiverFolder => format!("{folder} is no folder"),
            FileTrouble::ReceiverFull { missing: 0 | 1 } => format!("{receiver} is full"),
            FileTrouble::ReceiverFull { missing } => format!("{receiver} lacks {} for it", bytes(missing as f64)),
            FileTrouble::ReceiverLeft => who(self.receiver, "left"),
            FileTrouble::ReceiverReadOnly => format!("{folder} cannot be written"),
            FileTrouble::ReceiverTooLarge => format!("{receiver} takes no file of this size"),
            FileTrouble::SenderLeft => who(self.sender, "left"),
            FileTrouble::ServerDisk => "the server's disk fails".into(),
            FileTrouble::ServerFull => "the server's disk is full".into(),
            FileTrouble::SourceChanged => format!("it was changed on {sender} after it was offered"),
            FileTrouble::SourceGone => format!("it is not on {sender} any more"),
            FileTrouble::SourceUnreadable => format!("it cannot be read from {sender} any more"),
        }
    }
}

fn disk_of(name: Option<&str>) -> String {
    name.map_or("the disk here".into(), |name| format!("{name}'s disk"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_reads_whose_disk_it_is() {
        let at_sender = Ends { sender: None, receiver: Some("Bo") };
        let at_receiver = Ends { sender: Some("Ada"), receiver: None };
        let missing = FileTrouble::ReceiverFull { missing: 280_000_000 };
        assert_eq!(at_sender.why(missing), "Bo's disk lacks 280.0 MB for it");
        assert_eq!(at_receiver.why(missing), "the disk here lacks 280.0 MB for it");
        assert_eq!(at_sender.why(FileTrouble::SourceGone), "it is not on the disk here any more");
        assert_eq!(at_receiver.why(FileTrouble::SourceGone), "it is not on Ada's disk any more");
        assert_eq!(at_receiver.why(FileTrouble::ReceiverReadOnly), "the folder for files here cannot be written");
        assert_eq!(at_sender.why(FileTrouble::ReceiverLeft), "Bo left");
    }
}
