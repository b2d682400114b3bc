//! What does everything look like? Sizes and colours, told apart by colour-blind eyes (Okabe and Ito, 2008).

use egui::{Color32, FontFamily, FontId, TextStyle};

/// Class 0, and what is below zero.
pub const BLUE: Color32 = Color32::from_rgb(86, 180, 233);
/// Class 1, and what is above zero.
pub const ORANGE: Color32 = Color32::from_rgb(230, 159, 0);
/// Text.
pub const TEXT: Color32 = Color32::from_rgb(232, 234, 238);
/// Text that explains.
pub const QUIET: Color32 = Color32::from_rgb(176, 182, 192);
/// Lines behind curves.
pub const LINE: Color32 = Color32::from_rgb(52, 56, 64);
/// Behind pictures and curves.
pub const DEEP: Color32 = Color32::from_rgb(19, 20, 24);
/// Behind everything.
pub const GROUND: Color32 = Color32::from_rgb(29, 31, 36);
/// What went wrong.
pub const ALARM: Color32 = Color32::from_rgb(255, 158, 110);

/// Text in pictures and curves.
pub fn font(size: f32) -> FontId {
    FontId::new(size, FontFamily::Proportional)
}

/// Makes egui look so.
pub fn apply(egui: &egui::Context) {
    egui.set_theme(egui::Theme::Dark);
    egui.all_styles_mut(|style| {
        for (kind, size) in [
            (TextStyle::Small, 13.0),
            (TextStyle::Body, 15.0),
            (TextStyle::Button, 15.0),
            (TextStyle::Monospace, 14.0),
            (TextStyle::Heading, 21.0),
        ] {
            style.text_styles.insert(kind, font(size));
        }
        style.spacing.item_spacing = egui::vec2(8.0, 7.0);
        style.spacing.button_padding = egui::vec2(9.0, 4.0);
        style.visuals.panel_fill = GROUND;
        style.visuals.override_text_color = Some(TEXT);
        style.visuals.selection.bg_fill = Color32::from_rgb(0, 96, 150);
        style.visuals.slider_trailing_fill = true;
    });
}
