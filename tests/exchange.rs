//! Do the page and the native library predict the same from one file? `tests/web/drive.mjs` names a file and what the
//! page made of it; without them there is nothing to compare.

use sunstone::data::{Dataset, ImageDataset, strokes};
use sunstone::models::Digits;
use sunstone::prelude::*;

#[test]
fn the_page_predicts_what_the_native_library_predicts() {
    let (Ok(file), Ok(predictions)) = (std::env::var("SUNSTONE_WEB_FILE"), std::env::var("SUNSTONE_WEB_PREDICTIONS"))
    else {
        println!("skipped: tests/web/run runs this with a file of the page");
        return;
    };
    let text = std::fs::read_to_string(predictions).unwrap();
    let found: Vec<Vec<f32>> = serde_json::from_str(&text).unwrap();
    assert_eq!(found.len(), 20);
    let device = Device::cpu();
    let (state, _) = sunstone::io::load(file, &device).unwrap();
    let model = Digits::from_state(state, &device).unwrap();
    let images = ImageDataset::new(strokes::digits(0, 12_000, 2_000).test);
    for (i, found) in found.iter().enumerate() {
        let x = Tensor::from_slice(&images.get(i).pixels, [1, 784], &device);
        let own = model.forward(&x).softmax(1).to_vec::<f32>().unwrap();
        let far = own.iter().zip(found).find(|(a, b)| (*a - *b).abs() > 1e-4);
        assert!(far.is_none(), "image {i}: {own:?} here, {found:?} in the page");
    }
}
