//! `sunstone devices`

use super::output::line;
use serde_json::json;
use sunstone::Result;
use sunstone::backend::DeviceState;
use sunstone::prelude::Device;

/// Lists the devices.
pub fn run(json: bool) -> Result<()> {
    let devices = Device::list();
    let (best, why) = Device::best_with_reason()?;
    if json {
        line(&json!({ "devices": devices, "best": best.name(), "why": why }).to_string());
        return Ok(());
    }
    for device in &devices {
        let mark = if device.name == best.name() { "*" } else { " " };
        match &device.state {
            DeviceState::Caps(caps) => {
                line(&format!("{mark} {:<8} {}", device.name, caps.hardware));
                line(&format!("             {}{}", caps.driver, if caps.software { " (software)" } else { "" }));
                let dtypes: Vec<&str> = caps.dtypes.iter().map(|d| d.name()).collect();
                line(&format!("             dtypes {}", dtypes.join(" ")));
                for (name, value) in &caps.notes {
                    line(&format!("             {name}: {value}"));
                }
            }
            DeviceState::Error(error) => line(&format!("{mark} {:<8} does not open: {error}", device.name)),
        }
    }
    line(&format!("\n* picked by default: {why}"));
    Ok(())
}
