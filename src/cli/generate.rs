//! `sunstone generate`

use super::output::{line, stream};
use super::session::open;
use clap::Args as ClapArgs;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;
use sunstone::data::Vocabulary;
use sunstone::models::decode::{Decoder, Sampling};
use sunstone::models::gpt::Gpt;
use sunstone::models::text::TextModel;
use sunstone::prelude::*;

#[derive(ClapArgs)]
pub struct Args {
    /// A file that `sunstone train text` saved.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// What the text begins with [default: a new line].
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Characters to write.
    #[arg(long, value_name = "N", default_value_t = 500)]
    tokens: u64,
    /// Below 1 likely characters become likelier; with 0, the likeliest is always taken.
    #[arg(long, value_name = "T", default_value_t = 0.8, allow_negative_numbers = true)]
    temperature: f64,
    /// Choose among the K likeliest characters only [default: among all].
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Decides the choices.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Where to run: cpu, wgpu:0, ... [default: the best device; see `sunstone devices`].
    #[arg(long, value_name = "D")]
    device: Option<String>,
    /// One JSON object for each character, and one at the end.
    #[arg(long)]
    json: bool,
}

/// Writes.
pub fn run(args: &Args) -> Result<()> {
    let &Args { temperature, top_k, seed, json, tokens, .. } = args;
    let sampling = Sampling { temperature, top_k, seed };
    sampling.check()?;
    let device = open(args.device.as_deref())?;
    let TextModel { model, vocabulary } = TextModel::load(&args.model, &device)?;
    let prompt = args.prompt.clone().unwrap_or_default();
    let begin = beginning(&vocabulary, &prompt)?;
    if !json {
        stream(&prompt);
    }
    let since = Instant::now();
    let text = write(&model, &vocabulary, &begin, sampling, tokens, |text| match json {
        true => line(&json!({ "event": "token", "text": text }).to_string()),
        false => stream(text),
    })?;
    let speed = tokens as f64 / since.elapsed().as_secs_f64().max(1e-9);
    let stats = device.stats();
    if json {
        line(
            &json!({
                "event": "done", "device": device.name(), "prompt": prompt, "text": text, "tokens": tokens,
                "tokens_per_second": speed, "plans_built": stats.plans_built, "plans_replayed": stats.plans_replayed,
            })
            .to_string(),
        );
    } else {
        line("");
        eprintln!("{speed:.0} characters/s on {}; {} plans built", device.name(), stats.plans_built);
    }
    Ok(())
}

/// The prompt, or where there is none a new line, or whatever character there is.
pub fn beginning(vocabulary: &Vocabulary, prompt: &str) -> Result<Vec<i32>> {
    match prompt {
        "" => Ok(vec![vocabulary.token('\n').unwrap_or(0)]),
        prompt => vocabulary.encode(prompt),
    }
}

/// Continues `begin` by `tokens` characters, shows each as soon as it is there, and gives them all.
pub fn write(
    model: &Gpt,
    vocabulary: &Vocabulary,
    begin: &[i32],
    sampling: Sampling,
    tokens: u64,
    mut show: impl FnMut(&str),
) -> Result<String> {
    let mut decoder = Decoder::new(model, begin)?;
    let mut text = String::new();
    for index in 0..tokens {
        let token = sampling.choose(&decoder.logits()?, index)?;
        decoder.push(token)?;
        let character = vocabulary.decode(&[token]);
        show(&character);
        text.push_str(&character);
    }
    Ok(text)
}
