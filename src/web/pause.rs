//! How does long work on the page's one thread let other work run?

use js_sys::{Promise, Reflect};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{MessageChannel, Performance};

/// Milliseconds of work after which messages, frames and an abort get their turn.
const SLICE: f64 = 12.0;

/// Milliseconds since the page was opened.
pub fn now() -> f64 {
    let performance = Reflect::get(&js_sys::global(), &"performance".into());
    performance.map_or_else(|_| js_sys::Date::now(), |p| p.unchecked_into::<Performance>().now())
}

/// Lets everything else run that waits. A message, because timers wait at least four milliseconds.
pub async fn pause() {
    let Ok(channel) = MessageChannel::new() else { return };
    let turn = Promise::new(&mut |resolve, _| channel.port1().set_onmessage(Some(&resolve)));
    if channel.port2().post_message(&wasm_bindgen::JsValue::NULL).is_ok() {
        // It is never rejected.
        let _ = JsFuture::from(turn).await;
    }
    channel.port1().close();
}

/// Pauses now and then.
pub struct Pauses(f64);

impl Pauses {
    pub fn new() -> Pauses {
        Pauses(now())
    }

    /// Pauses if the last time is long ago.
    pub async fn due(&mut self) {
        if now() - self.0 > SLICE {
            pause().await;
            self.0 = now();
        }
    }
}
