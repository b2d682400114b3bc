//! Which keys are there? One table serves the window, `--help` and the keyboard.

use egui::Key;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Pause,
    Step,
    Restart,
    Faster,
    Slower,
    More,
    Fewer,
    NextSeed,
    SavePicture,
    SaveModel,
    NextData,
    Clear,
    Quit,
}

/// A key, its name, what it does, and what it asks for.
type Entry = (Key, &'static str, &'static str, Action);

/// Every key.
pub const KEYS: [Entry; 13] = [
    (Key::Space, "Space", "pause, go on", Action::Pause),
    (Key::S, "S", "one step", Action::Step),
    (Key::R, "R", "start again", Action::Restart),
    (Key::ArrowUp, "Up", "learn faster", Action::Faster),
    (Key::ArrowDown, "Down", "learn slower", Action::Slower),
    (Key::ArrowRight, "Right", "more steps a frame", Action::More),
    (Key::ArrowLeft, "Left", "fewer steps a frame", Action::Fewer),
    (Key::N, "N", "next seed", Action::NextSeed),
    (Key::P, "P", "save a picture (PNG)", Action::SavePicture),
    (Key::M, "M", "save the model", Action::SaveModel),
    (Key::D, "D", "field: other points", Action::NextData),
    (Key::C, "C", "clear what you drew", Action::Clear),
    (Key::Q, "Q", "close (also Esc)", Action::Quit),
];

/// What the keys that were pressed since the last frame ask for.
pub fn pressed(egui: &egui::Context) -> Vec<Action> {
    // Digits and letters that are typed into a field are no commands.
    if egui.text_edit_focused() {
        return Vec::new();
    }
    egui.input(|input| {
        let plain = !input.modifiers.any();
        let mut found: Vec<Action> =
            KEYS.iter().filter(|(key, ..)| plain && input.key_pressed(*key)).map(|&(.., action)| action).collect();
        found.extend(input.key_pressed(Key::Escape).then_some(Action::Quit));
        found
    })
}

/// The table for `--help`.
pub fn help() -> String {
    let mut text = String::from("Keys in the window:\n");
    for (_, name, what, _) in KEYS {
        text += &format!("  {name:<6}  {what}\n");
    }
    text + "\nThe mouse draws a digit (digits) or puts points there (field: left blue, right orange).\n\
            Exit code 2 where there is no display; --frames N --screenshot FILE.png needs none."
}
