//! Real-time priority, so that other work on the machine does not show as delay of a link that does not exist.

use clap::ValueEnum;
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

/// Who goes before whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Priority {
    /// As any other program.
    Normal,
    /// Before all normal programs: the peers. The kernel's TCP needs no such favour, it works where packets arrive.
    Peer,
    /// Before the peers: the link.
    Link,
}

impl Priority {
    /// As it stands on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Peer => "peer",
            Self::Link => "link",
        }
    }

    /// Gives it to this thread and those it starts. A system that refuses is left as it is: then more runs are late
    /// and are discarded.
    pub(crate) fn take(self) {
        let value = match self {
            Self::Normal => return,
            Self::Peer => 10,
            Self::Link => 20,
        };
        let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
        if let Ok(value) = ThreadPriorityValue::try_from(value) {
            set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), policy).ok();
        }
    }
}
