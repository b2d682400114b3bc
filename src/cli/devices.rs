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
        let report = json!({ "devices": devices, "libraries": libraries(), "best": best.name(), "why": why });
        line(&report.to_string());
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
    line("\nNVIDIA's libraries:");
    for (name, found) in libraries() {
        line(&format!("  {name:<15} {found}"));
    }
    line(&format!("\n* picked by default: {why}"));
    Ok(())
}

/// What was found of NVIDIA's libraries, each with its version or why it is not used.
#[cfg(feature = "cuda")]
fn libraries() -> Vec<(String, String)> {
    sunstone::backend::cuda::libraries()
}

#[cfg(not(feature = "cuda"))]
fn libraries() -> Vec<(String, String)> {
    vec![("CUDA".into(), "not in this build".into())]
}
