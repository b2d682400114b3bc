//! Learning a text and writing on: devices agree, a stopped training goes on as if it had not stopped, and a decoder that
//! remembers writes what one that does not would write, with the same few plans however long the text.

mod common;

use common::{private_devices, sentences};
use std::path::PathBuf;
use sunstone::data::Text;
use sunstone::models::decode::{Decoder, Sampling};
use sunstone::models::gpt::{Gpt, GptConfig};
use sunstone::models::text::{TextModel, TextOptions, TextTraining};
use sunstone::nn::Init;
use sunstone::prelude::*;

fn small() -> TextOptions {
    TextOptions { layers: 2, heads: 2, width: 32, context: 16, batch: 4, steps: 30, ..TextOptions::default() }
}

fn builtin() -> Text {
    Text::new("built in", &sentences(800)).expect("a text")
}

/// Shakespeare, where he lies beside the repository.
fn shakespeare() -> Option<Text> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/text/tinyshakespeare.txt");
    match path.exists() {
        true => Some(Text::load(&path).expect("the text is read")),
        false => {
            println!("skipped: {} is missing", path.display());
            None
        }
    }
}

fn run(training: &mut TextTraining, until: u64) -> Result<Vec<f32>> {
    while training.place().step < until && training.step()?.is_some() {}
    Ok(training.losses()?.into_iter().map(|(_, loss)| loss).collect())
}

#[test]
fn the_first_thirty_losses_agree_between_devices() -> Result<()> {
    for tied in [true, false] {
        let text = shakespeare().unwrap_or_else(builtin);
        // Dropout draws the same numbers everywhere, too.
        let options = TextOptions { tied, dropout: if tied { 0.0 } else { 0.1 }, ..small() };
        let devices = private_devices();
        let losses = |device| run(&mut TextTraining::new(options.clone(), text.clone(), device)?, 30);
        let truth = losses(&devices[0])?;
        assert_eq!(truth.len(), 30);
        assert!((truth[0] - (text.vocabulary().len() as f32).ln()).abs() < 0.2, "the first guess is wild: {truth:?}");
        assert!(truth[29] < truth[0] - 0.3, "nothing is learned: {truth:?}");
        for device in &devices[1..] {
            for (step, (a, b)) in losses(device)?.iter().zip(&truth).enumerate() {
                assert!((a - b).abs() <= 1e-3 * b.abs(), "{device}, tied {tied}, step {step}: {a} instead of {b}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_grammar_is_learned() -> Result<()> {
    let options = TextOptions { steps: 400, lr: 1e-2, ..small() };
    let mut training = TextTraining::new(options, Text::new("sentences", &sentences(4000))?, &Device::cpu())?;
    let before = training.validation_loss(usize::MAX)?;
    run(&mut training, 400)?;
    let after = training.validation_loss(usize::MAX)?;
    // Two bits a word of about five characters are beyond anyone's guess: 0.28 a character, somewhat more at the start
    // of a window, where it is not known where in a sentence it is.
    assert!(before > 2.9 && after < 0.65, "{before} became {after}");
    let text = write(training.model(), &training.text().vocabulary().encode("the")?, Sampling::default(), 200, true)?;
    let text = training.text().vocabulary().decode(&text);
    let known = sentences(64);
    let words: Vec<&str> = text.split_whitespace().collect();
    let inner = &words[1..words.len() - 1];
    let right = inner.iter().filter(|w| known.split_whitespace().any(|k| k == **w)).count();
    assert!(right * 10 >= inner.len() * 9, "{right} of {} words are words: {text}", inner.len());
    Ok(())
}

#[test]
fn a_resumed_training_has_the_losses_of_the_uninterrupted_one_bit_for_bit() -> Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("stopped.safetensors");
    let device = Device::cpu();
    for tied in [true, false] {
        let options = TextOptions { tied, dropout: 0.1 / 3.0, lr: 1e-2 / 3.0, seed: 5, ..small() };
        let bits = |losses: Vec<f32>| losses.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let whole = bits(run(&mut TextTraining::new(options.clone(), builtin(), &device)?, 30)?);
        let mut first = TextTraining::new(options.clone(), builtin(), &device)?;
        let mut both = bits(run(&mut first, 13)?);
        first.validation_loss(7)?;
        first.save(&file)?;
        let mut second = TextTraining::resume(&file, builtin(), &device)?;
        assert_eq!((second.place().step, &second.place().options), (13, &options));
        both.extend(bits(run(&mut second, 30)?));
        assert_eq!(both, whole, "tied: {tied}");
    }
    let other = Text::new("other", &sentences(801))?;
    let error = TextTraining::resume(&file, other, &device).expect_err("another text");
    assert!(error.to_string().contains("another text"), "{error}");
    Ok(())
}

#[test]
fn a_warm_training_builds_no_plan_and_reserves_no_byte() -> Result<()> {
    for device in private_devices() {
        let options = TextOptions { layers: 1, dropout: 0.1, ..small() };
        let mut training = TextTraining::new(options, builtin(), &device)?;
        let mut warm = None;
        while let Some(step) = training.step()? {
            if step % 5 == 0 {
                training.losses()?;
            }
            let now = (device.stats().plans_built, device.stats().bytes_reserved);
            if step == 10 {
                warm = Some(now);
            }
            assert!(step <= 10 || warm == Some(now), "{device}, step {step}: {warm:?} became {now:?}");
        }
    }
    Ok(())
}

#[test]
fn a_loss_that_is_not_finite_is_found_at_its_step() -> Result<()> {
    let mut training = TextTraining::new(TextOptions { lr: 1e30, ..small() }, builtin(), &Device::cpu())?;
    let error = run(&mut training, 30).unwrap_err();
    assert!(matches!(error, Error::NotFinite { step, .. } if step >= 2), "{error}");
    Ok(())
}

fn write(model: &Gpt, prompt: &[i32], sampling: Sampling, tokens: u64, cached: bool) -> Result<Vec<i32>> {
    let mut decoder = if cached { Decoder::new(model, prompt)? } else { Decoder::uncached(model, prompt)? };
    let mut next = |i| {
        let token = sampling.choose(&decoder.logits()?, i)?;
        decoder.push(token).map(|()| token)
    };
    (0..tokens).map(&mut next).collect()
}

/// A network that was never taught, but speaks: its logits differ enough to make greedy decoding wander.
fn untaught(device: &Device, context: usize) -> Result<Gpt> {
    let config = GptConfig { vocabulary: 23, layers: 2, heads: 2, width: 16, context, dropout: 0.3, tied: false };
    let model = Gpt::new(config, &Init::new(9, device))?;
    for (_, p) in model.parameters() {
        p.set((p.get() * 20.0).tanh());
    }
    Ok(model)
}

#[test]
fn a_decoder_that_remembers_writes_what_one_that_does_not_would() -> Result<()> {
    for device in private_devices() {
        // A context of 1 never remembers anything, one of 2 and of 5 has halves of its own.
        for context in [1, 2, 5, 8] {
            let model = untaught(&device, context)?;
            let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
            let drawn = Sampling { temperature: 1.0, top_k: Some(7), seed: 3 };
            for (prompt, sampling) in [(vec![4], greedy), (vec![4], drawn), ((0..20).collect(), drawn)] {
                let remembered = write(&model, &prompt, sampling, 40, true)?;
                let forgotten = write(&model, &prompt, sampling, 40, false)?;
                assert_eq!(remembered, forgotten, "{device}, context {context}, {sampling:?}");
                let kinds: std::collections::BTreeSet<i32> = remembered.iter().copied().collect();
                assert!(kinds.len() > 1, "a text that stands still says nothing: {remembered:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_longer_text_takes_no_further_plan_and_no_further_memory() -> Result<()> {
    for device in private_devices() {
        let model = untaught(&device, 16)?;
        let mut decoder = Decoder::new(&model, &[1, 2, 3])?;
        let before = device.stats().plans_built;
        let mut warm = None;
        for i in 0..100 {
            let token = Sampling::default().choose(&decoder.logits()?, i)?;
            decoder.push(token)?;
            let stats = device.stats();
            let now = (stats.plans_built - before, stats.bytes_reserved);
            // By then a window has been filled and begun anew.
            if i == 30 {
                warm = Some(now);
            }
            assert!(i <= 30 || warm == Some(now), "{device}, token {i}: {warm:?} became {now:?}");
        }
        // The first values of the parameters, the whole window, and one token more.
        assert!(warm.is_some_and(|(plans, _)| plans <= 3), "{device}: {warm:?}");
    }
    Ok(())
}

#[test]
fn a_saved_model_writes_the_same_and_a_spoiled_one_is_refused() -> Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("m.safetensors");
    let mut training = TextTraining::new(small(), builtin(), &Device::cpu())?;
    run(&mut training, 20)?;
    training.save(&file)?;
    let prompt = training.text().vocabulary().encode("the cat")?;
    let here = write(training.model(), &prompt, Sampling::default(), 60, true)?;
    let TextModel { model, vocabulary } = TextModel::load(&file, &Device::cpu())?;
    assert_eq!(vocabulary, *training.text().vocabulary());
    assert_eq!(write(&model, &prompt, Sampling::default(), 60, true)?, here);
    for (from, to, part) in [
        ("\\\"heads\\\":2", "\\\"heads\\\":3", "evenly"),
        ("\\\"width\\\":32", "\\\"width\\\":64", "[64]"),
        ("\\\"layers\\\":2", "\\\"layers\\\":3", "missing"),
        ("\\\"vocabulary\\\":\\\"\\\\n .a", "\\\"vocabulary\\\":\\\"\\\\n a.", "ascending"),
        ("\\\"vocabulary\\\":\\\"\\\\n .a", "\\\"vocabulary\\\":\\\"\\\\n aa", "ascending"),
    ] {
        let spoiled = folder.path().join("spoiled.safetensors");
        let bytes = std::fs::read(&file).expect("the file");
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap_or_else(|| panic!("no {from}"));
        let bytes = [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat();
        std::fs::write(&spoiled, bytes).expect("written");
        let message = TextModel::load(&spoiled, &Device::cpu()).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("spoiled.safetensors") && message.contains(part), "{part}: {message}");
    }
    Ok(())
}

#[test]
fn tokens_and_prompts_that_the_model_does_not_know_are_refused() -> Result<()> {
    let model = untaught(&Device::cpu(), 4)?;
    for bad in [vec![], vec![23], vec![1, -1]] {
        assert!(matches!(Decoder::new(&model, &bad), Err(Error::Invalid(_))), "{bad:?}");
    }
    Ok(())
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let good = small();
    for bad in [
        TextOptions { layers: 0, ..good.clone() },
        TextOptions { heads: 5, ..good.clone() },
        TextOptions { width: 1 << 40, ..good.clone() },
        TextOptions { context: 0, ..good.clone() },
        TextOptions { context: 100_000, ..good.clone() },
        TextOptions { batch: 0, ..good.clone() },
        TextOptions { batch: usize::MAX, ..good.clone() },
        TextOptions { steps: 0, ..good.clone() },
        TextOptions { lr: f64::NAN, ..good.clone() },
        TextOptions { dropout: 1.0, ..good.clone() },
    ] {
        let error = TextTraining::new(bad.clone(), builtin(), &Device::cpu()).err();
        assert!(matches!(error, Some(Error::Invalid(_))), "{bad:?}: {error:?}");
    }
}

#[test]
fn shakespeare_has_the_split_that_others_measure_on() {
    let Some(text) = shakespeare() else { return };
    assert_eq!((text.train().len(), text.validation().len(), text.vocabulary().len()), (1_003_854, 111_540, 65));
}
