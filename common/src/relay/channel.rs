//! The reliable channels as the relay has them: segments in, what happened on them to whom it concerns, alarms.
//!
//! What rides on them is messages ([`super::messages`]) and files ([`super::files`]).

use std::time::Instant;

use crate::ids::{ConnectionId, MemberKey, StreamKind};
use crate::relay::Relay;
use crate::reno::StreamId;
use crate::reno::connection::Event;
use crate::wire::Malformed;

impl Relay {
    pub(super) fn handle_segment(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        segment: &[u8],
    ) -> Result<(), Malformed> {
        let member = self.roster.named(connection).ok_or(Malformed)?;
        member.reno.handle_segment(now, segment)?;
        self.handle_channel_events(now, connection);
        self.mark_channel_ready(connection);
        Ok(())
    }

    /// Something of a member asked to be woken now.
    pub(super) fn handle_member_timeout(&mut self, now: Instant, key: MemberKey) {
        let Some(member) = self.roster.member(key) else { return };
        if member.repairs.ready(now) {
            self.forwards.video.wake(key, member, StreamKind::Video);
        }
        member.outgoing.handle_timeout(now);
        member.share_path(now);
        member.reno.handle_timeout(now);
        let connection = member.connection;
        self.handle_channel_events(now, connection);
        // Sending, or finding that there is nothing to send, sets the next alarm.
        self.mark_ready(key);
    }

    pub(super) fn mark_channel_ready(&mut self, connection: ConnectionId) {
        if let Some(key) = self.roster.key(connection) {
            self.mark_ready(key);
        }
    }

    fn handle_channel_events(&mut self, now: Instant, connection: ConnectionId) {
        while let Some(event) = self.roster.named(connection).and_then(|member| member.reno.poll_event()) {
            match event {
                Event::Readable(StreamId::MESSAGES) => self.read_messages(now, connection),
                Event::Readable(stream) => self.source_readable((connection, stream)),
                Event::Opened(stream) => self.source_opened((connection, stream)),
                Event::Writable(stream) => self.sink_writable((connection, stream)),
                Event::Acknowledged(stream) => self.sink_acknowledged((connection, stream)),
                Event::Reset(stream) => self.source_gave_up((connection, stream)),
                Event::Stopped(stream) => self.sink_gave_up((connection, stream)),
                // Nothing of its streams is lost by it.
                Event::Renewed => {}
            }
        }
    }
}
