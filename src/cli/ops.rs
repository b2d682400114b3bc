//! `sunstone ops`

use super::output::line;
use serde_json::{Value, json};
use sunstone::Result;
use sunstone::backend::DeviceState;
use sunstone::prelude::*;
use sunstone::registry;

/// Lists every op with its parameters and the dtypes that it takes on each device of this machine.
pub fn run(json: bool) -> Result<()> {
    let opened = Device::list().into_iter().filter(|d| matches!(d.state, DeviceState::Caps(_)));
    let devices = opened.map(|d| Device::open(&d.name)).collect::<Result<Vec<_>>>()?;
    if json {
        let ops: Vec<Value> = registry::all()
            .map(|op| {
                let dtypes: serde_json::Map<String, Value> = devices
                    .iter()
                    .map(|d| (d.name().to_string(), op.dtypes(d).iter().map(|t| t.name()).collect()))
                    .collect();
                let defaults: Value = serde_json::from_str(op.defaults).unwrap_or_default();
                json!({ "name": op.name, "group": op.group(), "parameters": defaults, "dtypes": dtypes })
            })
            .collect();
        line(&json!({ "ops": ops }).to_string());
    } else {
        let named: Vec<(&str, Device)> = devices.iter().map(|d| (d.name(), d.clone())).collect();
        line(&registry::markdown(&named));
    }
    Ok(())
}
