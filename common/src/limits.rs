//! Every maximum of the protocol, with its unit and its reason. What is not bounded here does not grow.

use std::time::Duration;

// Control plane.

/// Bytes of one control message after the length prefix; the largest honest one, a roster of 50 members, is 5 kB.
pub const CONTROL_MESSAGE_MAX_BYTES: usize = 64 * 1024;
/// Time a new connection has to finish TLS, and again to say what it wants; a slower one holds a seat for nothing.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Unfinished and open control connections of one source address; a class behind one NAT fits.
pub const CONTROL_CONNECTIONS_PER_SOURCE: usize = 128;
/// Control connections of a whole server, members and strangers together.
pub const CONTROL_CONNECTIONS_MAX: usize = 16_384;
/// How often a client says it is there on the control plane.
pub const CONTROL_PING_INTERVAL: Duration = Duration::from_secs(5);
/// Silence on the control plane after which a connection counts as lost: three missed pings.
pub const CONTROL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client waits for the answer to a ping before it connects anew. A server that is this late is overloaded,
/// and connections that are made anew would be the last thing it needs.
pub const CONTROL_PONG_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence on the data plane, four of its pings, that makes a client ask the control plane at once whether it is alive.
pub const CONTROL_SUSPECT_AFTER: Duration = Duration::from_secs(2);
/// How long a member whose control connection broke keeps its place: a change of network takes seconds, a reboot of a
/// home router a minute, which nobody waits for. The reliable channel waits as long as the place is kept, so that chat and
/// files go on where they were.
pub const RECONNECT_GRACE: Duration = Duration::from_secs(30);
/// Wait before the first attempt to connect anew; each further one waits twice as long.
pub const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(200);
/// The longest wait between two attempts: ten in the time that a place is kept.
pub const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(3);
/// Actions a client keeps until it knows that the server has done them; a person clicks a few while a connection is
/// broken.
pub const ACTIONS_KEPT_MAX: usize = 64;
/// Returns of one member at once before [`RESUMPTIONS_PER_SEC`] applies: everybody in the room is told of each.
pub const RESUMPTION_BURST: u32 = 20;
/// Returns of one member per second in the long run; an honest client tries less often once it fails.
pub const RESUMPTIONS_PER_SEC: u32 = 1;
/// Messages waiting to be written to one control connection; a client that does not read is let go beyond.
pub const CONTROL_SEND_QUEUE: usize = 1_024;
/// Control messages a connection may send at once before [`CONTROL_MESSAGES_PER_SEC`] applies.
pub const CONTROL_MESSAGE_BURST: u32 = 50;
/// Control messages a connection may send per second in the long run; a person does not reach it.
pub const CONTROL_MESSAGES_PER_SEC: u32 = 20;

// Rooms and doors.

/// Rooms of one server; keeps the share of used codes at 0.02 % so that guessing one stays slow.
pub const ROOMS_MAX: usize = 200;
/// Members of one room, the host included.
pub const ROOM_MEMBERS_MAX: usize = 50;
/// Guests waiting at one door; more would hide the expected ones from the host.
pub const KNOCKS_PER_ROOM: usize = 20;
/// How long a guest waits for an answer before being told there was none.
pub const KNOCK_TIMEOUT: Duration = Duration::from_secs(120);
/// Different wrong codes one source may try at once: a class behind one address mistypes a few. One comes back in
/// [`WRONG_CODE_WAIT`], so a source has 106 on its first day and 96 on any other.
pub const WRONG_CODES_PER_SOURCE: usize = 10;
/// The most wrong codes a server can be told to allow a source at once.
pub const WRONG_CODES_PER_SOURCE_MAX: usize = 1_000;
/// Until a source that tried wrong codes may try one more: a lone guesser then needs 14 years for one known room, and
/// whoever waits for others' mistakes waits no longer than this.
pub const WRONG_CODE_WAIT: Duration = Duration::from_secs(900);
/// The longest wait a server can be told to ask for: a day.
pub const WRONG_CODE_WAIT_MAX: Duration = Duration::from_secs(86_400);
/// Wrong codes of one source that are no new guess when they are typed again: several people behind one address
/// repeat theirs.
pub const WRONG_CODES_REMEMBERED: usize = 8;
/// Waits after which a right code gives a wrong one back again, once [`WRONG_CODES_PER_SOURCE`] were given back: who
/// knows one code and wants another gains a quarter by using it.
pub const RIGHT_CODE_WAITS: u32 = 4;
/// Networks (/24 of IPv4, /48 of IPv6) with wrong codes within [`GUESSING_WINDOW`] that mean guessing: people who
/// mistype come from a few.
pub const GUESSING_NETWORKS: usize = 60;
/// The minute of [`GUESSING_NETWORKS`], and how long guessing counts as going on after it.
pub const GUESSING_WINDOW: Duration = Duration::from_secs(60);
/// What a wrong code costs its source while many networks guess: two tries at once, 19 a day.
pub const GUESSING_COST: u32 = 5;
/// Sources remembered for wrong codes; beyond, those against whom the least is held are forgotten.
pub const WRONG_CODE_SOURCES_MAX: usize = 100_000;
/// Denials after which a host is not asked again about the same name from the same source.
pub const DENIALS_PER_GUEST: u32 = 2;
/// Denials of one source at once, whatever the names, before each further one makes it wait for [`DENIAL_WAIT`]: others
/// behind the same address do get asked, and nobody rings without end under new names.
pub const DENIALS_PER_SOURCE: u32 = 5;
/// Until a source whose guests were denied [`DENIALS_PER_SOURCE`] times may knock at that room again.
pub const DENIAL_WAIT: Duration = Duration::from_secs(60);
/// Denied guests a room remembers; the one denied longest ago is forgotten first.
pub const DENIALS_REMEMBERED: usize = 256;
/// Those of one source among them, so that one source does not make a room forget the others.
pub const DENIALS_REMEMBERED_PER_SOURCE: usize = 16;
/// Rooms one source may have open at a time.
pub const ROOMS_PER_SOURCE: usize = 10;

// Names and text.

/// Bytes of UTF-8 in a display name.
pub const NAME_MAX_BYTES: usize = 64;
/// Characters of a display name.
pub const NAME_MAX_CHARS: usize = 32;
/// Bytes of UTF-8 in a chat message: 4,000 characters of any script.
pub const CHAT_MAX_BYTES: usize = 16 * 1024;
/// Bytes of UTF-8 in the name of an offered file.
pub const FILE_NAME_MAX_BYTES: usize = 255;
/// Bytes of a file: 16 GiB.
pub const FILE_MAX_BYTES: u64 = 16 << 30;
/// Offers of one member that nobody has finished yet.
pub const OFFERS_PER_MEMBER: usize = 8;
/// Offers of one member that are remembered, finished ones included, so that a file can be taken later or again.
pub const OFFERS_REMEMBERED: usize = 4 * OFFERS_PER_MEMBER;
/// How long words wait until it is told who came in and says them: what a control connection takes to send a lost segment
/// again, twice.
pub const INTRODUCTION_PATIENCE: Duration = Duration::from_secs(3);
/// Messages that wait for that, of all who came; one more lets the oldest pass.
pub const UNINTRODUCED_MESSAGES_MAX: usize = 64;
/// Bytes of one message on the reliable channel after its length prefix.
pub const MESSAGE_MAX_BYTES: usize = 20 * 1024;

// Datagrams.

/// Bytes of a datagram, sealed, as given to the socket, that every path is trusted to carry (RFC 9000 §14). No media is
/// longer, and no segment on a path that was not found to carry more.
pub const DATAGRAM_BASE_BYTES: usize = 1_200;
/// Bytes of the longest datagram: what an Ethernet packet of 1,500 bytes holds behind IPv4 and UDP. Only a segment may
/// be so long, after a probe of that length arrived (RFC 8899).
pub const DATAGRAM_MAX_BYTES: usize = 1_472;
/// Version and key epoch (1), connection id (8), packet number (6): in the clear and authenticated.
pub const DATAGRAM_HEADER_BYTES: usize = 15;
/// The tag of AES-256-GCM and of ChaCha20-Poly1305.
pub const DATAGRAM_TAG_BYTES: usize = 16;
/// Bytes of plaintext in a datagram that every path carries: the kind and what it names.
pub const PLAINTEXT_BASE_BYTES: usize = DATAGRAM_BASE_BYTES - DATAGRAM_HEADER_BYTES - DATAGRAM_TAG_BYTES;
/// Bytes of plaintext in the longest datagram.
pub const PLAINTEXT_MAX_BYTES: usize = DATAGRAM_MAX_BYTES - DATAGRAM_HEADER_BYTES - DATAGRAM_TAG_BYTES;
/// Packet numbers a receiver remembers behind the highest one: 0.4 s at 2,500 datagrams a second.
pub const REPLAY_WINDOW: u64 = 1_024;
/// Datagrams sealed under one key; AES-GCM allows 2^28 of this size (RFC 9001 appendix B.1.1).
pub const DATAGRAMS_PER_KEY: u64 = 1 << 28;

// Media.

/// Samples of audio a second, of one channel.
pub const AUDIO_CLOCK_RATE_HZ: u32 = 48_000;
/// Samples of one block of audio: 10 ms, the longest that fits a datagram as 16-bit PCM.
pub const AUDIO_BLOCK_SAMPLES: usize = 480;
/// The time one block of audio takes.
pub const AUDIO_BLOCK: Duration = Duration::from_millis(10);
/// Bytes of the base layer of a block of audio: 128 kbit/s, for the loudest blocks of a voice whose mean is below 90.
pub const AUDIO_BASE_MAX_BYTES: usize = 160;
/// Earlier blocks an audio packet may bring again, as base layers: with two, four packets in a row may be lost before a
/// block is.
pub const AUDIO_COPIES_MAX: usize = 2;
/// How many blocks earlier a copy may be: 150 ms, beyond which no receiver waits for it.
pub const AUDIO_COPY_OFFSET_MAX: usize = 15;
/// Audio that left longer ago is not sent again over a hop: what playout waits on all but the worst networks. It comes as
/// late as it is old then, so this bounds the round trip as well, to some 50 ms.
pub const AUDIO_AGAIN_MAX_AGE: Duration = Duration::from_millis(60);
/// How late what is sent again may come so that playout learns to wait for it, which takes a block and the round trip; what
/// comes later is played where the buffer is longer for another reason. A voice on an even network waits 30 ms in all then.
pub const AUDIO_AGAIN_PATIENCE: Duration = Duration::from_millis(25);
/// Units of video media time a second (RFC 3551 §5).
pub const VIDEO_CLOCK_RATE_HZ: u32 = 90_000;
/// Blocks of audio held for one speaker: one second; a later one pushes the oldest out.
pub const PLAYOUT_MAX_BLOCKS: usize = 100;
/// Video frames of one sender being put together at a time.
pub const FRAMES_ASSEMBLED_MAX: usize = 4;
/// Coded parts of one frame: a 480p frame has 30 rows of blocks, and each may be cut into eight.
pub const FRAME_PARTS_MAX: usize = 255;
/// Bytes of a whole coded frame.
pub const FRAME_MAX_BYTES: usize = 256 * 1024;
/// Datagrams the pacer of a sender holds: one frame, and the start of the next.
pub const PACER_QUEUE_DATAGRAMS: usize = 512;
/// Blocks in one datagram's picture: a row of 480p is 54 wide.
pub const BLOCKS_PER_PART_MAX: usize = 64;
/// Sources of one receiver's reports: every stream of a full room.
pub const STREAMS_MAX: usize = 2 * ROOM_MEMBERS_MAX;

// Relay.

/// Relays of one server; one for each core of a large machine.
pub const SHARDS_MAX: usize = 64;
/// Video datagrams a relay holds, of all its rooms, until everybody has them: 4.8 MB, a frame of 130 senders at once.
pub const RELAY_VIDEO_DATAGRAMS: usize = 4_096;
/// Audio datagrams a relay holds, of all its rooms: a block of four speakers in each of 200 rooms, or what may be sent again
/// of 40 rooms.
pub const RELAY_AUDIO_DATAGRAMS: usize = 1_024;
/// Video datagrams that wait for one receiver: 8 frames of 30 parts, a quarter of a second of two senders.
pub const VIDEO_QUEUE_DATAGRAMS: usize = 256;
/// Audio datagrams that wait for one receiver: 80 ms of four speakers; older ones would come too late anyway.
pub const AUDIO_QUEUE_DATAGRAMS: usize = 32;
/// Members whose audio a room hears at a time; more voices at once are not understood.
pub const SPEAKERS_MAX: usize = 4;
/// Audio datagrams a member may send per second in the long run: a block every 10 ms, and a second copy of each.
pub const AUDIO_DATAGRAMS_PER_SEC: u32 = 200;
/// Audio datagrams a member may send at once: half a second that a stalled sender catches up with.
pub const AUDIO_DATAGRAMS_BURST: u32 = 100;
/// Bytes of video a member may send per second in the long run, headers included: 16 Mbit/s. The ladder's highest step
/// takes 9.5 with a picture full of detail.
pub const VIDEO_BYTES_PER_SEC: u32 = 2_000_000;
/// Bytes of video a member may send at once: the largest frame, and the start of the next.
pub const VIDEO_BYTES_BURST: u32 = 384 * 1024;
/// Segments a member may send per second: 170 MB of a file, more than one core carries.
pub const SEGMENTS_PER_SEC: u32 = 150_000;
/// Segments a member may send at once: the largest congestion window.
pub const SEGMENTS_BURST: u32 = 15_000;
/// Reports, feedbacks and pings a member may send per second: a feedback every 25 ms and a report on every stream of a
/// full room need 60, and feedbacks out of turn 100 at worst.
pub const SIGNALS_PER_SEC: u32 = 250;
/// Reports, feedbacks and pings a member may send at once.
pub const SIGNALS_BURST: u32 = 100;
/// Datagrams a relay hands to the socket in one system call: fewer than the kernel takes (`UDP_MAX_SEGMENTS` of Linux is
/// 64 before 6.9).
pub const GROUP_MAX_DATAGRAMS: usize = 48;
/// Bytes of such a group: what IPv4 leaves for UDP.
pub const GROUP_MAX_BYTES: usize = 65_507;
/// How long a relay counts as overloaded after it shed a datagram.
pub const OVERLOAD_HOLD: Duration = Duration::from_secs(2);
/// How often a receiver reports on the streams it gets, and the relay on those it is sent.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(250);
/// How often a hop's receiver tells what arrived when, while video comes: a frame at 30 a second is told of before the
/// next one is coded.
pub const FEEDBACK_INTERVAL: Duration = Duration::from_millis(25);
/// The same while only audio or files come.
pub const FEEDBACK_INTERVAL_QUIET: Duration = Duration::from_millis(100);
/// How soon after a feedback another one may follow out of turn, because something is missing among audio: a block.
pub const FEEDBACK_INTERVAL_EARLY: Duration = Duration::from_millis(10);
/// Packet numbers that one feedback is about: what arrives in 100 ms at 60 Mbit/s, and a plaintext holds.
pub const FEEDBACK_PACKETS_MAX: usize = 512;
/// Datagrams whose fate a hop's sender waits for: a second at 10 Mbit/s.
pub const DEPARTURES_MAX: usize = 1_024;
/// How often a client measures the round trip to the server.
pub const PING_INTERVAL: Duration = Duration::from_millis(500);
/// How often it does while no ping is answered, so that a few lost ones are told from a dead way within a second, …
pub const PING_INTERVAL_HURRIED: Duration = Duration::from_millis(100);
/// … and for how long, …
pub const WAY_HURRY_FOR: Duration = Duration::from_secs(5);
/// … and how often after that, so that both ends soon know that the way is back. It costs 3 kbit/s.
pub const PING_INTERVAL_UNANSWERED: Duration = Duration::from_millis(200);
/// How long no ping is answered before the server's other addresses are tried: five pings, and the answer to a satellite.
pub const WAY_SUSPECT_AFTER: Duration = Duration::from_millis(1_400);
/// How long one address of the server is tried, at least: the round trip around the world, …
pub const WAY_TURN_MIN: Duration = Duration::from_millis(300);
/// … and at most, or where nothing was answered for long.
pub const WAY_TURN_MAX: Duration = Duration::from_secs(1);
/// Addresses of one server that are tried: two families of a machine with a few cards.
pub const SERVER_ADDRESSES_MAX: usize = 8;
/// Silence on the data plane, six of its pings, after which a member counts as without sound and picture, and everybody is
/// told.
pub const DATA_SILENCE_AFTER: Duration = Duration::from_secs(3);
/// How often that is looked for. Whoever looks this much late was kept from listening, and counts from then on.
pub const DATA_SILENCE_LOOK: Duration = Duration::from_millis(500);
/// What was measured longer ago than this is shown as unknown.
pub const UNMEASURED_AFTER: Duration = Duration::from_secs(3);

// Files on their way through the server.

/// Uploads of one offer that a relay has at a time: receivers that are far apart in it get one each, up to here.
pub const UPLOADS_PER_OFFER: usize = 4;
/// How far behind a receiver's offset an upload may be so that the receiver waits for it: 64 MiB, some seconds of a good
/// link. One that is further ahead gets an upload of its own.
pub const UPLOAD_AWAITED_BYTES: u64 = 64 << 20;
/// Bytes that go to or come from the spool at a time: enough that a system call is cheap beside them.
pub const SPOOL_PIECE_BYTES: usize = 128 * 1024;
/// Pieces of one upload on their way to the disk; what comes meanwhile waits in the receive window of its stream.
pub const SPOOL_WRITES_PER_UPLOAD: usize = 3;
/// Bytes of the spool that are freed at a time, which is how large its files are.
pub const SPOOL_CHUNK_BYTES: u64 = 8 << 20;
/// Bytes of files that a relay spools for one room unless told otherwise: 2 GiB.
pub const SPOOL_ROOM_BYTES: u64 = 2 << 30;
/// How long nothing of a file may move for want of room in the spool before those concerned are told: longer than
/// receivers take to make room.
pub const SPOOL_WAIT_TOLD_AFTER: Duration = Duration::from_secs(2);
/// How long a receiver may take nothing while others wait for the room that the spool keeps for it. Beyond, it loses its
/// place, and gets an upload of its own when it reads again.
pub const SPOOL_PATIENCE: Duration = Duration::from_secs(10);

// Reliable channel.

/// Bytes of one stream a sender holds until they are acknowledged, at least; more as the congestion window grows, …
pub const STREAM_SEND_BUFFER_MIN_BYTES: usize = 256 * 1024;
/// … up to this: 100 Mbit/s over a round trip of 200 ms with a full queue, and what is written ahead.
pub const STREAM_SEND_BUFFER_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of one stream a receiver holds before they are read, at first: what it announces as its window.
pub const STREAM_RECEIVE_WINDOW_MIN_BYTES: usize = 256 * 1024;
/// Bytes to which the window of one stream may grow for a path that needs it: as much as a sender holds.
pub const STREAM_RECEIVE_WINDOW_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Bytes by which the windows of all streams of a channel may grow together.
pub const CHANNEL_RECEIVE_SPARE_BYTES: usize = 8 * 1024 * 1024;
/// Streams of one reliable channel that are open at a time, in each direction.
pub const STREAMS_PER_CHANNEL: usize = 32;
/// Gaps in one stream a receiver tracks (RUSTSEC-2026-0185 is what happens without such a bound).
pub const STREAM_GAPS_MAX: usize = 256;
/// Bytes of messages that may wait for one member so that one more of chat waits too: half of what the channel holds. The
/// other half is for what is small and told once: a confirmation of each of 250 messages by each member of a full room.
pub const CHAT_WAITING_MAX_BYTES: usize = STREAM_SEND_BUFFER_MIN_BYTES / 2;
/// The same for news of how far a file is: the next one says more.
pub const PROGRESS_WAITING_MAX_BYTES: usize = 16 * 1024;
/// How often a channel is opened anew at most, after the peer broke the protocol or said that it did so: a peer with a
/// fault costs one short burst in this time.
pub const CHANNEL_RENEWAL_INTERVAL: Duration = Duration::from_secs(10);
/// Silence of a path, two pings, after which the first datagram that is heard means that the path is back.
pub const PATH_SILENCE: Duration = Duration::from_secs(1);
