//! `conclave load`: loads a server, and prints what it took.

use std::process::ExitCode;
use std::time::Duration;

use common::limits::{CONTROL_CONNECTIONS_PER_SOURCE, KNOCKS_PER_ROOM, ROOMS_PER_SOURCE};

use super::options::LoadOptions;
use super::terminal::{asked_to_stop, complain, say};
use crate::load::{JoinReport, LoadConfig, LoadReport, MediaReport, Percentiles, ProcessUse, Progress, run_until};

/// Threads for control connections; media has its own.
const WORKER_THREADS: usize = 2;

/// Runs the load; `SUCCESS` only if all got in, stayed, and lost no more than was allowed.
pub(super) fn run(options: &LoadOptions) -> ExitCode {
    match load(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(sentence) => {
            complain(&sentence);
            ExitCode::FAILURE
        }
    }
}

fn load(options: &LoadOptions) -> Result<bool, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build();
    let runtime = runtime.map_err(|error| format!("The program cannot start: {error}."))?;
    let config = options.config();
    let report = runtime.block_on(run_until(config.clone(), asked_to_stop(), tell));
    let report = report.map_err(|error| error.to_string())?;
    print(&report);
    hints(&config, &report.joins).iter().for_each(|hint| complain(hint));
    if let Some(path) = &options.json {
        let written = std::fs::write(path, format!("{:#}\n", report.to_json()));
        written.map_err(|error| format!("The figures could not be written to {}: {error}.", path.display()))?;
    }
    let passes = report.passes(options.max_loss);
    let limit = options.max_loss;
    say(if passes { "passed" } else { "FAILED" });
    if !passes {
        complain(&format!("Not everybody was in to the end, or more than {limit} % of audio or video was lost."));
    }
    Ok(passes)
}

fn tell(progress: Progress) {
    let Progress { measured, joined, turned_away, asked, sent, received, lost } = progress;
    let when = measured.map_or("joining".to_owned(), |measured| format!("{:>4} s", measured.as_secs()));
    let away = if turned_away > 0 { format!(", {turned_away} turned away") } else { String::new() };
    say(&format!(
        "{when}: {joined} of {asked} in{away}; datagrams a second: {sent} sent, {received} received, {lost} lost"
    ));
}

fn print(report: &LoadReport) {
    say("");
    say(&format!(
        "{} rooms of {} members, measured for {:.1} s",
        report.rooms,
        report.members,
        report.measured.as_secs_f64()
    ));
    print_joins(&report.joins);
    say("");
    say("         sent        expected    received    lost        loss      streams  sent Mbit/s  received Mbit/s");
    media_row("audio", &report.audio);
    media_row("video", &report.video);
    if report.streams_missing > 0 {
        say(&format!("{} streams that somebody should have received were missing at the end", report.streams_missing));
    }
    if let Some(flood) = report.flood {
        say(&format!("the flood sent {} datagrams, {:.1} Mbit/s", flood.sent, flood.sent_mbits));
    }
    say("");
    say("time                          count       p50          p99          max");
    time_row("connecting to admitted", report.joins.to_admitted);
    time_row("admitted to first video", report.joins.to_first_video);
    time_row("admitted to whole picture", report.joins.to_first_picture);
    time_row("audio, sent to received", report.audio.latency);
    time_row("video, sent to received", report.video.latency);
    time_row("round trip of pings", report.round_trip);
    time_row("generator sent late by", report.generator.lateness);
    time_row("generator received late by", report.generator.wait);
    print_processes(report);
    say("");
    report.doubts().iter().for_each(|doubt| say(&format!("note: {doubt}")));
}

fn print_joins(joins: &JoinReport) {
    let JoinReport { asked, joined, refused, failed, lost, .. } = joins;
    say(&format!("{joined} of {asked} joined, {refused} refused, {failed} failed, {lost} lost later"));
    for (why, count) in &joins.reasons {
        say(&format!("  {count} × {why}"));
    }
}

fn media_row(name: &str, media: &MediaReport) {
    let mbits = |bps: u64| bps as f64 / 1e6;
    say(&format!(
        "{name:<7}  {:<10}  {:<10}  {:<10}  {:<10}  {:<8}  {:<7}  {:<11.1}  {:.1}",
        media.sent,
        media.expected,
        media.received,
        media.lost,
        format!("{:.3} %", media.loss_percent()),
        media.streams,
        mbits(media.sent_bps),
        mbits(media.received_bps),
    ));
}

fn time_row(what: &str, times: Percentiles) {
    let Percentiles { count, p50, p99, max } = times;
    if count > 0 {
        say(&format!("{what:<28}  {count:<10}  {:<11}  {:<11}  {}", ms(p50), ms(p99), ms(max)));
    }
}

fn print_processes(report: &LoadReport) {
    let processes = [("server", &report.server), ("generator", &report.generator.process)];
    if processes.iter().all(|(_, process)| process.is_none()) {
        return;
    }
    say("");
    say("process    cores  CPU of joins  memory MB: start  joined   end      max      dropped at its sockets");
    for (name, process) in processes {
        if let Some(process) = process {
            say(&process_row(name, process));
        }
    }
}

fn process_row(name: &str, process: &ProcessUse) -> String {
    let mb = |bytes: u64| bytes as f64 / 1e6;
    format!(
        "{name:<9}  {:<5.2}  {:<12}  {:<17}  {:<7}  {:<7}  {:<7}  {}",
        process.cpu_cores,
        format!("{:.2} s", process.join_cpu_secs),
        format!("           {:.1}", mb(process.memory_start_bytes)),
        format!("{:.1}", mb(process.memory_joined_bytes)),
        format!("{:.1}", mb(process.memory_end_bytes)),
        format!("{:.1}", mb(process.memory_max_bytes)),
        process.datagrams_dropped,
    )
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Which limit of the server those may have hit who did not get in.
fn hints(config: &LoadConfig, joins: &JoinReport) -> Vec<String> {
    let kept_out = joins.refused + joins.failed > 0;
    let hint = |holds: bool, sentence: String| (kept_out && holds).then_some(sentence);
    let participants = config.rooms * config.members;
    [
        hint(
            participants > CONTROL_CONNECTIONS_PER_SOURCE,
            format!(
                "A server takes {CONTROL_CONNECTIONS_PER_SOURCE} connections of one source address unless it is told otherwise. Against 127.0.0.1 every room has its own address; against another machine raise the server's connections per source."
            ),
        ),
        hint(
            config.rooms > ROOMS_PER_SOURCE,
            format!(
                "A server takes {ROOMS_PER_SOURCE} rooms of one source address unless it is told otherwise. Against 127.0.0.1 every room has its own address; against another machine raise the server's rooms per source."
            ),
        ),
        hint(
            config.join_at_once && config.members > KNOCKS_PER_ROOM + 1,
            format!("A door has room for {KNOCKS_PER_ROOM} guests; the others knock as soon as there is."),
        ),
        hint(
            joins.reasons.keys().any(|reason| reason.contains("Too many open files")),
            "There were too many open files: raise the limit (“ulimit -n”) here, and at the server.".to_owned(),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_did_not_get_in_is_told_which_limit_it_may_be() {
        let config = LoadConfig { rooms: 11, members: 20, ..LoadConfig::default() };
        let failed = JoinReport { failed: 1, ..JoinReport::default() };
        let told = hints(&config, &failed);
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("128 connections") && told[1].contains("10 rooms"), "{told:?}");
        assert!(hints(&config, &JoinReport::default()).is_empty());
    }
}
