//! What happens in a meeting: told by the server over the control plane, and by the endpoint over the data plane.

use std::time::Instant;

use common::endpoint::Event as EndpointEvent;
use common::ids::{MemberId, TransferId};
use common::picture::blocks::LostBlocks;
use common::picture::ladder::Rung;
use common::session::{Event as SessionEvent, Output, Over};
use common::wire::control::{Action, Member, View};
use common::wire::message::{Delivery, Message};

use super::Meeting;
use crate::engine::files::Files;
use crate::engine::protocol::Event;

impl Meeting<'_> {
    /// Sends and tells what the session has; answers how it ended, if it did.
    pub(super) fn drain_session(&mut self) -> Option<Over> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Event(SessionEvent::Over(over)) => return Some(over),
                Output::Event(event) => self.handle_session(event),
                Output::Connect => self.line.dial(),
                Output::Send(message) => self.line.send(message),
            }
        }
        None
    }

    fn handle_session(&mut self, event: SessionEvent) {
        let event = match event {
            SessionEvent::HostChanged(member) => Event::HostChanged(member),
            SessionEvent::KnockArrived { knock, name } => Event::KnockArrived { knock, name },
            SessionEvent::KnockGone(knock) => Event::KnockGone(knock),
            SessionEvent::Locked(locked) => Event::Locked(locked),
            SessionEvent::MediaChanged { member, media } => Event::MediaChanged { member, media },
            SessionEvent::MemberAway(member) => Event::MemberAway(member),
            SessionEvent::MemberBack(member) => Event::MemberBack(member),
            SessionEvent::MemberJoined(member) => {
                self.introductions.introduce(member.id);
                self.name_in_recording(&member);
                self.watch_for_recording();
                self.with_files(|files, tools| files.handle_member_joined(tools));
                Event::MemberJoined(member)
            }
            SessionEvent::MemberLeft { member, reason } => {
                self.member_left(member);
                Event::MemberLeft { member, reason }
            }
            SessionEvent::MuteRequested => {
                self.set_microphone(false);
                self.surroundings.config.microphone_on = false;
                Event::MuteRequested
            }
            SessionEvent::NotAllowed(action) => Event::Notice(not_allowed(action).into()),
            SessionEvent::Notice(notice) => Event::Notice(notice.to_string()),
            SessionEvent::ReachChanged { member, reach } => Event::ReachChanged { member, reach },
            SessionEvent::Reconnected => {
                self.unreachable = None;
                Event::Reconnected
            }
            SessionEvent::Reconnecting => {
                self.line.hang_up();
                Event::Reconnecting
            }
            SessionEvent::Unsent(_) => {
                Event::Notice("This will not be done: too much else waits for the connection to the server.".into())
            }
            SessionEvent::VideoWanted(rung) => return self.video_wanted(rung),
            // They come before a meeting and at its end, and are handled there.
            SessionEvent::Admitted(_) | SessionEvent::Knocking | SessionEvent::Over(_) => return,
        };
        self.surroundings.outlet.send(event);
    }

    /// No picture of ours is larger than anybody has use for.
    fn video_wanted(&mut self, rung: Option<Rung>) {
        self.video_wanted = rung.is_some();
        let largest = self.surroundings.config.largest_video;
        self.endpoint.limit_video(rung.map_or(largest, |rung| rung.min(largest)));
    }

    fn member_left(&mut self, member: MemberId) {
        self.endpoint.remove_member(member);
        self.decoding.forget(member);
        self.chat.handle_member_left(member, self.surroundings.outlet);
        self.with_files(|files, tools| files.handle_member_left(member, tools));
    }

    /// A recording has everybody in the largest picture, whatever the others' windows show: who never says what it wants
    /// gets what they need.
    pub(super) fn watch_for_recording(&mut self) {
        if self.recorder.is_none() {
            return;
        }
        let (you, largest) = (self.session.you(), Rung::ALL.len() as u8 - 1);
        let others = self.session.members().keys().filter(|member| Some(**member) != you);
        self.views.wanted = others.map(|member| View { member: *member, rung: largest }).collect();
    }

    pub(super) fn name_in_recording(&self, member: &Member) {
        if let Some(recorder) = &self.recorder {
            recorder.name(member.id, &member.name);
        }
    }

    pub(super) fn handle_endpoint(&mut self, event: EndpointEvent) {
        match event {
            EndpointEvent::ChannelFailed => {
                self.chat.handle_channel_failed(self.surroundings.outlet);
                self.with_files(Files::handle_channel_failed);
                self.surroundings.outlet.notice(
                    "The connection for chat and files is broken. Leave the meeting and join again to get it back.",
                );
            }
            EndpointEvent::FileAcknowledged(stream) => {
                self.with_files(|files, tools| files.handle_closed(stream, tools));
            }
            EndpointEvent::FileStopped(stream) => {
                self.with_files(|files, tools| files.handle_stopped(stream, tools));
            }
            EndpointEvent::FileOpened { stream, from, transfer, offset } => {
                self.with_files(|files, tools| files.handle_opened(stream, from, transfer, offset, tools));
            }
            EndpointEvent::FileReadable(stream) => {
                self.with_files(|files, tools| files.handle_readable(stream, tools));
            }
            EndpointEvent::FileReset(stream) => {
                self.with_files(|files, tools| files.handle_reset(stream, tools));
            }
            EndpointEvent::FileWritable(stream) => {
                self.with_files(|files, tools| files.handle_writable(stream, tools));
            }
            EndpointEvent::BlocksLost(lost) => self.blocks_lost(lost),
            EndpointEvent::Hears(hears) => self.session.set_hears(hears),
            EndpointEvent::WayChanged(_) => self.way_changed = Some(Instant::now()),
            EndpointEvent::Frame(frame) => self.decoding.push(frame),
            EndpointEvent::Message(delivery) => self.introductions.handle(Instant::now(), delivery),
            EndpointEvent::Speaking(members) => self.surroundings.outlet.send(Event::Speaking(members)),
        }
    }

    /// Blocks of our picture that the server does not have.
    pub(super) fn blocks_lost(&self, lost: LostBlocks) {
        if let Some(camera) = &self.camera {
            camera.mark_lost(lost);
        }
    }

    /// Hears what is said by those of whom it is told who they are.
    pub(super) fn hear_messages(&mut self, now: Instant) {
        while let Some(delivery) = self.introductions.poll(now) {
            self.handle_message(delivery);
        }
    }

    fn handle_message(&mut self, Delivery { from, message }: Delivery) {
        match message {
            Message::Chat { id, to, text } => {
                let outlet = &mut *self.surroundings.outlet;
                self.chat.handle_chat(from, id, to, &text, &mut self.post, outlet);
            }
            Message::ChatDelivered { id, .. } => {
                self.chat.handle_delivered(from, id, self.surroundings.outlet);
            }
            Message::ChatMissed { id, member } if from == MemberId::SERVER => {
                self.chat.handle_missed(member, id, self.surroundings.outlet);
            }
            Message::FileAccept { transfer, offset, .. } => {
                self.with_files(|files, tools| files.handle_accept(from, transfer, offset, tools));
            }
            Message::FileFailed { from: offerer, transfer, trouble } if from == MemberId::SERVER => {
                self.with_files(|files, tools| files.handle_failed(offerer, transfer, trouble, tools));
            }
            Message::FileWaits { from: offerer, transfer, waits } if from == MemberId::SERVER => {
                self.surroundings.outlet.send(Event::FileWaits { from: offerer, transfer, waits });
            }
            Message::FileWanted { transfer, offset } if from == MemberId::SERVER => {
                self.with_files(|files, tools| files.handle_wanted(transfer, offset, tools));
            }
            Message::ChatMissed { .. }
            | Message::FileFailed { .. }
            | Message::FileWaits { .. }
            | Message::FileWanted { .. } => {}
            Message::FilePause { transfer, paused, .. } => self.held_by_sender(from, transfer, paused),
            Message::FileOffer(offer) => {
                self.with_files(|files, tools| files.handle_offer(from, offer, tools));
            }
            Message::FileProgress { transfer, state, .. } => {
                self.with_files(|files, tools| files.handle_progress(from, transfer, state, tools));
            }
            Message::FileWithdraw { transfer, why, .. } => {
                self.with_files(|files, tools| files.handle_withdraw(from, transfer, why, tools));
            }
        }
    }

    /// What the server has of a file that is held back still arrives, so this is for the window alone.
    fn held_by_sender(&mut self, from: MemberId, transfer: TransferId, held: bool) {
        self.surroundings.outlet.send(Event::FileHeld { from, transfer, held });
    }
}

fn not_allowed(action: Action) -> &'static str {
    match action {
        Action::Admit(_) | Action::Deny(_) => "This guest is not at the door any more, or you are not the host.",
        Action::AdmitAll => "Only the host can let guests in.",
        Action::End => "Only the host can end the meeting.",
        Action::Lock(_) => "Only the host can lock the meeting.",
        Action::Remove(_) => "Only the host can remove somebody, and not himself.",
        Action::RequestMute(_) => "Only the host can ask somebody to mute.",
    }
}
