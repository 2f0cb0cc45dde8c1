#!/usr/bin/env bash
#
# nix 0.31.3: `recvmmsg` with `MultiHeaders` that are used again loses control messages for good.
#
# Guess before the run: `MultiHeaders::preallocate(n, Some(cmsg_space!(…)))` says how much room each message has for
# control messages, so every call has that room.
#
# What happens: the kernel writes into each header how many bytes of control messages came (recvmsg(2), msg_controllen),
# and nix gives the header back to the kernel as it is. After one datagram without a control message the slot has no room:
# the next datagram's message is cut off (MSG_CTRUNC) and `cmsgs()` is ENOBUFS, in that slot and for as long as the headers
# live. With UDP_GRO, where only joined datagrams carry a message, three datagrams then look like one long one.
# The documentation of both calls says nothing of it. New headers for each call help, and allocate.
#
# Source: nix 0.31.3, src/sys/socket/mod.rs, `recvmmsg`: sets msg_iov and msg_iovlen of each header, not msg_controllen.
# Seen on Linux 6.18.
# Needs: Linux, cargo. Installs nix into a temporary folder. Fails if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
nix = { version = "=0.31.3", default-features = false, features = ["net", "socket", "uio"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmsg, setsockopt, sockopt,
};

/// Receives one message; answers its length, and the segment length that came with it.
fn receive(socket: &UdpSocket, headers: &mut MultiHeaders<SockaddrStorage>) -> (usize, Result<Option<i32>, nix::Error>) {
    let mut bytes = [0; 4_096];
    let mut slices = [[IoSliceMut::new(&mut bytes)]];
    let mut messages =
        recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), MsgFlags::empty(), None).expect("a datagram waits");
    let message = messages.next().expect("one message");
    let segment = message.cmsgs().map(|mut all| {
        all.find_map(|one| if let ControlMessageOwned::UdpGroSegments(bytes) = one { Some(bytes) } else { None })
    });
    (message.bytes, segment)
}

fn main() {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    setsockopt(&receiver, sockopt::UdpGroSegment, &true).expect("UDP_GRO");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = SockaddrStorage::from(receiver.local_addr().expect("bound"));
    let send = |bytes: usize, segment: Option<u16>| {
        let control: Vec<_> = segment.iter().map(ControlMessage::UdpGsoSegments).collect();
        let bytes = vec![7; bytes];
        sendmsg(sender.as_raw_fd(), &[IoSlice::new(&bytes)], &control, MsgFlags::empty(), Some(&to)).expect("sent");
    };
    let room = || MultiHeaders::preallocate(1, Some(cmsg_space!(i32)));

    let mut headers = room();
    send(300, Some(100));
    println!("three of 100 bytes, fresh headers: {:?}", receive(&receiver, &mut headers));
    send(50, None);
    println!("one of 50 bytes:                   {:?}", receive(&receiver, &mut headers));
    send(300, Some(100));
    println!("three of 100 bytes, same headers:  {:?}", receive(&receiver, &mut headers));
    send(300, Some(100));
    println!("three of 100 bytes, fresh headers: {:?}", receive(&receiver, &mut room()));
}
RUST
cd "$folder"
seen=$(cargo run --quiet)
printf '%s\n' "$seen"
expected='three of 100 bytes, fresh headers: (300, Ok(Some(100)))
one of 50 bytes:                   (50, Ok(None))
three of 100 bytes, same headers:  (300, Err(ENOBUFS))
three of 100 bytes, fresh headers: (300, Ok(Some(100)))'
if [ "$seen" != "$expected" ]; then
  printf 'changed: expected\n%s\n' "$expected" >&2
  exit 1
fi
echo "as found: a datagram without a control message takes the room from those after it"
