//! Which camera, microphone and speaker to use, and how the window looks.

use eframe::egui::{Checkbox, ComboBox, Context, Grid, Id, Modal, RichText, ThemePreference, Ui};

use super::model::ServerKey;
use super::theme;
use crate::devices::DeviceChoice;
use crate::devices::processing::VoiceProcessing;
use crate::engine::protocol::Command;

/// The devices of this machine, by name, and those in use.
#[derive(Clone, Debug, Default)]
pub struct DeviceLists {
    /// Names of cameras.
    pub cameras: Vec<String>,
    /// Names of microphones.
    pub microphones: Vec<String>,
    /// Names of speakers.
    pub speakers: Vec<String>,
    /// The camera in use.
    pub camera: DeviceChoice,
    /// The microphone in use.
    pub microphone: DeviceChoice,
    /// The speaker in use.
    pub speaker: DeviceChoice,
    /// What is done to what the microphone hears.
    pub voice_processing: VoiceProcessing,
    /// It is done to a file or the test tone, too.
    pub process_files: bool,
}

/// The settings as they stand in their dialog.
#[derive(Clone, Debug, Default)]
pub struct SettingsDraft {
    /// The dialog is open.
    pub open: bool,
    /// What there is and what is chosen.
    pub devices: DeviceLists,
}

impl SettingsDraft {
    /// The microphone and the camera in use, in words.
    pub fn described(&self) -> (String, String) {
        let microphone = describe(Kind::Microphone, &self.devices.microphone);
        (microphone, describe(Kind::Camera, &self.devices.camera))
    }

    /// Our own picture is shown as in a mirror: people expect it of their face, and of nothing that has letters.
    pub fn mirrored(&self) -> bool {
        match self.devices.camera {
            DeviceChoice::Default | DeviceChoice::Named(_) => true,
            DeviceChoice::File(_) | DeviceChoice::Off | DeviceChoice::Synthetic => false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Camera,
    Microphone,
    Speaker,
}

fn describe(kind: Kind, choice: &DeviceChoice) -> String {
    match (choice, kind) {
        (DeviceChoice::Default, Kind::Camera) => "Default camera".into(),
        (DeviceChoice::Default, Kind::Microphone) => "Default microphone".into(),
        (DeviceChoice::Default, Kind::Speaker) => "Default speaker".into(),
        (DeviceChoice::File(path), _) => match path.file_name() {
            Some(name) => format!("File {}", name.to_string_lossy()),
            None => "File".into(),
        },
        (DeviceChoice::Named(name), _) => name.clone(),
        (DeviceChoice::Off, Kind::Camera) => "No camera".into(),
        (DeviceChoice::Off, Kind::Microphone) => "No microphone".into(),
        (DeviceChoice::Off, Kind::Speaker) => "No speaker".into(),
        (DeviceChoice::Synthetic, Kind::Camera) => "Test pattern".into(),
        (DeviceChoice::Synthetic, Kind::Microphone) => "Test tone".into(),
        (DeviceChoice::Synthetic, Kind::Speaker) => "Silent test speaker".into(),
    }
}

/// Draws the dialog if it is open.
pub fn settings_ui(
    ctx: &Context,
    draft: &mut SettingsDraft,
    server_key: Option<&ServerKey>,
    commands: &mut Vec<Command>,
) {
    if !draft.open {
        return;
    }
    let modal = Modal::new(Id::unique("settings")).frame(theme::dialog(ctx)).show(ctx, |ui| {
        ui.set_width(440.0);
        ui.heading("Settings");
        ui.add_space(6.0);
        Grid::new("settings").num_columns(2).spacing([16.0, 10.0]).show(ui, |ui| {
            devices_ui(ui, &mut draft.devices, commands);
            theme_ui(ui);
        });
        if let Some(key) = server_key {
            ui.add_space(6.0);
            theme::weak(ui, format!("Key of {}", key.server));
            ui.label(RichText::new(&key.fingerprint).monospace().size(11.5));
        }
        ui.add_space(10.0);
        let done = theme::primary(ui, "Done");
        ui.add(done).clicked()
    });
    draft.open = !modal.inner && !modal.should_close();
}

fn devices_ui(ui: &mut Ui, devices: &mut DeviceLists, commands: &mut Vec<Command>) {
    let camera = &mut devices.camera;
    if device_ui(ui, "Camera", Kind::Camera, &devices.cameras, camera) {
        commands.push(Command::ChooseCamera(camera.clone()));
    }
    let microphone = &mut devices.microphone;
    if device_ui(ui, "Microphone", Kind::Microphone, &devices.microphones, microphone) {
        commands.push(Command::ChooseMicrophone(microphone.clone()));
    }
    let speaker = &mut devices.speaker;
    if device_ui(ui, "Speaker", Kind::Speaker, &devices.speakers, speaker) {
        commands.push(Command::ChooseSpeaker(speaker.clone()));
    }
    if voice_ui(ui, devices) {
        commands.push(Command::ChooseVoiceProcessing(devices.voice_processing));
    }
}

/// Answers whether a switch was thrown.
fn voice_ui(ui: &mut Ui, devices: &mut DeviceLists) -> bool {
    let DeviceLists { voice_processing: chosen, microphone, process_files, .. } = devices;
    let before = *chosen;
    let applies = VoiceProcessing::applies_to(microphone, *process_files);
    let processed = applies && !chosen.original_sound;
    let switches = [
        [
            ("Echo cancellation", &mut chosen.echo_cancellation, processed),
            ("Noise suppression", &mut chosen.noise_suppression, processed),
        ],
        [
            ("Automatic gain", &mut chosen.automatic_gain, processed),
            ("Original sound", &mut chosen.original_sound, applies),
        ],
    ];
    for (name, row) in ["Your voice", ""].into_iter().zip(switches) {
        ui.label(name);
        ui.horizontal(|ui| row.into_iter().for_each(|(label, on, enabled)| switch_ui(ui, label, on, enabled)));
        ui.end_row();
    }
    ui.label("");
    let note = if applies {
        "Original sound is for music: none of the others, and no gaps."
    } else if matches!(microphone, DeviceChoice::Off) {
        "Without a microphone there is nothing to switch."
    } else {
        "This microphone is sent as it is."
    };
    theme::weak(ui, note);
    ui.end_row();
    *chosen != before
}

/// A switch as wide as half of the choice of a device.
fn switch_ui(ui: &mut Ui, label: &str, on: &mut bool, enabled: bool) {
    ui.scope(|ui| {
        ui.set_min_width(150.0);
        ui.add_enabled(enabled, Checkbox::new(on, label));
    });
}

/// Answers whether another device was chosen.
fn device_ui(ui: &mut Ui, name: &str, kind: Kind, known: &[String], choice: &mut DeviceChoice) -> bool {
    let before = choice.clone();
    let label = ui.label(name);
    let combo = ComboBox::from_id_salt(name).width(290.0).truncate().selected_text(describe(kind, choice));
    let combo = combo.show_ui(ui, |ui| {
        for option in options(known, &before) {
            let text = describe(kind, &option);
            ui.selectable_value(choice, option, text);
        }
    });
    combo.response.labelled_by(label.id);
    ui.end_row();
    *choice != before
}

/// Everything there is to choose from, what is chosen already included.
fn options(known: &[String], chosen: &DeviceChoice) -> Vec<DeviceChoice> {
    let mut options = vec![DeviceChoice::Default];
    options.extend(known.iter().cloned().map(DeviceChoice::Named));
    options.extend([DeviceChoice::Synthetic, DeviceChoice::Off]);
    if !options.contains(chosen) {
        options.push(chosen.clone());
    }
    options
}

fn theme_ui(ui: &mut Ui) {
    ui.label("Appearance");
    let mut preference = ui.ctx().options(|options| options.theme_preference);
    let before = preference;
    ui.horizontal(|ui| {
        let choices = [
            (ThemePreference::System, "As the system"),
            (ThemePreference::Dark, "Dark"),
            (ThemePreference::Light, "Light"),
        ];
        for (choice, name) in choices {
            ui.selectable_value(&mut preference, choice, name);
        }
    });
    ui.end_row();
    if preference != before {
        ui.ctx().set_theme(preference);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    #[test]
    fn another_camera_is_told_to_the_engine_once() {
        let mut draft = SettingsDraft { open: true, ..SettingsDraft::default() };
        draft.devices.cameras = vec!["Integrated camera".into()];
        let mut harness = harness(draft);
        harness.get_by_label("Camera").click();
        harness.run();
        harness.get_by_label("Integrated camera").click();
        harness.run();
        let choice = DeviceChoice::Named("Integrated camera".into());
        assert_eq!(harness.state().1, [Command::ChooseCamera(choice)]);
        harness.get_by_label("Done").click();
        harness.run();
        assert!(!harness.state().0.open);
    }

    fn harness(draft: SettingsDraft) -> Harness<'static, (SettingsDraft, Vec<Command>)> {
        let show = |ui: &mut Ui, (draft, commands): &mut (SettingsDraft, Vec<Command>)| {
            settings_ui(ui.ctx(), draft, None, commands);
        };
        let mut harness = Harness::new_ui_state(show, (draft, Vec::new()));
        harness.run();
        harness
    }

    #[test]
    fn each_switch_of_the_voice_is_told_to_the_engine() {
        let on = VoiceProcessing::default();
        let expected = [
            ("Echo cancellation", VoiceProcessing { echo_cancellation: false, ..on }),
            ("Noise suppression", VoiceProcessing { noise_suppression: false, ..on }),
            ("Automatic gain", VoiceProcessing { automatic_gain: false, ..on }),
            ("Original sound", VoiceProcessing { original_sound: true, ..on }),
        ];
        for (label, chosen) in expected {
            let mut harness = harness(SettingsDraft { open: true, ..SettingsDraft::default() });
            harness.get_by_label(label).click();
            harness.run();
            assert_eq!(harness.state().1, [Command::ChooseVoiceProcessing(chosen)]);
        }
    }

    #[test]
    fn original_sound_rests_the_other_switches_and_gives_them_back() {
        let mut draft = SettingsDraft { open: true, ..SettingsDraft::default() };
        draft.devices.voice_processing = VoiceProcessing { original_sound: true, ..VoiceProcessing::default() };
        let mut harness = harness(draft);
        harness.get_by_label("Echo cancellation").click();
        harness.run();
        assert_eq!(harness.state().1, []);
        harness.get_by_label("Original sound").click();
        harness.run();
        assert_eq!(harness.state().1, [Command::ChooseVoiceProcessing(VoiceProcessing::default())]);
    }

    #[test]
    fn a_microphone_that_is_sent_as_it_is_says_so() {
        let mut draft = SettingsDraft { open: true, ..SettingsDraft::default() };
        draft.devices.microphone = DeviceChoice::Synthetic;
        let mut harness = harness(draft);
        harness.get_by_label("This microphone is sent as it is.");
        harness.state_mut().0.devices.microphone = DeviceChoice::Off;
        harness.run();
        harness.get_by_label("Without a microphone there is nothing to switch.");
        harness.state_mut().0.devices.microphone = DeviceChoice::Synthetic;
        harness.run();
        harness.get_by_label("Noise suppression").click();
        harness.run();
        assert_eq!(harness.state().1, []);
        harness.state_mut().0.devices.process_files = true;
        harness.run();
        harness.get_by_label("Noise suppression").click();
        harness.run();
        assert_eq!(harness.state().1.len(), 1);
    }

    #[test]
    fn what_is_in_use_can_always_be_chosen_again() {
        let file = DeviceChoice::File("clip.mjpeg".into());
        assert!(options(&[], &file).contains(&file));
    }
}
