//! Which numbers does a text become, and which pieces of it are learned from?

use super::order::{Purpose, Words};
use crate::error::{Error, Result};
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::path::Path;

/// The largest file that is read: its characters are held in memory, four bytes each.
const MAX_BYTES: u64 = 256 << 20;

/// The most characters that a vocabulary may have.
const MAX_CHARACTERS: usize = 1 << 16;

/// The characters of a text in ascending order; a character's token is its place among them.
///
/// ```
/// use sunstone::data::Vocabulary;
/// let vocabulary = Vocabulary::of("hello")?;
/// assert_eq!((vocabulary.to_string(), vocabulary.len()), ("ehlo".into(), 4));
/// assert_eq!(vocabulary.encode("hole")?, [1, 3, 2, 0]);
/// assert_eq!(vocabulary.decode(&[0, 2]), "el");
/// assert!(vocabulary.encode("halo").unwrap_err().to_string().contains("'a'"));
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary(Vec<char>);

impl Vocabulary {
    /// The characters that occur in `text`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are none, or more than 65,536.
    pub fn of(text: &str) -> Result<Vocabulary> {
        let found: std::collections::BTreeSet<char> = text.chars().collect();
        match found.len() {
            1..=MAX_CHARACTERS => Ok(Vocabulary(found.into_iter().collect())),
            n => Err(Error::Invalid(format!("a vocabulary has from 1 to {MAX_CHARACTERS} characters, not {n}"))),
        }
    }

    /// Reads what its `Display` gave.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the characters ascend, as [`Vocabulary::of`] orders them.
    pub fn parse(saved: &str) -> Result<Vocabulary> {
        let vocabulary = Vocabulary::of(saved)?;
        match vocabulary.to_string() == saved {
            true => Ok(vocabulary),
            false => Err(Error::Invalid("the characters of the vocabulary are not in ascending order".into())),
        }
    }

    /// How many characters.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The token of `c`, if it has one.
    pub fn token(&self, c: char) -> Option<i32> {
        self.0.binary_search(&c).ok().map(|i| i as i32)
    }

    /// The tokens of `text`.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the first character that has none.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>> {
        let unknown = |c| Error::Invalid(format!("the character {c:?} does not occur in the text the model learned"));
        text.chars().map(|c| self.token(c).ok_or_else(|| unknown(c))).collect()
    }

    /// The characters of `tokens`; those that are none of this vocabulary are left out.
    pub fn decode(&self, tokens: &[i32]) -> String {
        tokens.iter().filter_map(|&t| self.0.get(usize::try_from(t).ok()?)).collect()
    }
}

impl std::fmt::Display for Vocabulary {
    /// All characters, in order.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|c| write!(f, "{c}"))
    }
}

/// A text as tokens; the first nine tenths are to learn from, the rest to validate with.
#[derive(Debug, Clone)]
pub struct Text {
    /// Where it came from, for people.
    pub source: String,
    vocabulary: Vocabulary,
    tokens: Vec<i32>,
}

/// Windows of a text: `targets` holds the character that follows each of `inputs`, both `[windows, context]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextBatch {
    /// How many windows.
    pub len: usize,
    /// The tokens.
    pub inputs: Vec<i32>,
    /// The tokens one further on.
    pub targets: Vec<i32>,
}

impl Text {
    /// The text of a UTF-8 file.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read; [`Error::Malformed`] when it is no file, empty, larger than 256 MiB or not
    /// UTF-8.
    pub fn load(path: &Path) -> Result<Text> {
        let malformed = |detail: String| Error::malformed(path, detail);
        let text = String::from_utf8(read(path)?).map_err(|e| {
            malformed(format!("is not UTF-8 text: byte {} begins no character", e.utf8_error().valid_up_to()))
        })?;
        Text::new(path.display().to_string(), &text).map_err(|e| malformed(e.to_string()))
    }

    /// A text from memory.
    ///
    /// # Errors
    /// As [`Vocabulary::of`].
    pub fn new(source: impl Into<String>, text: &str) -> Result<Text> {
        let vocabulary = Vocabulary::of(text)?;
        let tokens = vocabulary.encode(text)?;
        Ok(Text { source: source.into(), vocabulary, tokens })
    }

    /// Its characters.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// What is learned from.
    pub fn train(&self) -> &[i32] {
        &self.tokens[..self.split()]
    }

    /// What is validated with.
    pub fn validation(&self) -> &[i32] {
        &self.tokens[self.split()..]
    }

    fn split(&self) -> usize {
        self.tokens.len() / 10 * 9 + self.tokens.len() % 10 * 9 / 10
    }

    /// An error unless both parts hold a window of `context` tokens and the token after it.
    pub fn fits(&self, context: usize) -> Result<()> {
        let least = self.train().len().min(self.validation().len());
        if context > 0 && least > context {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "{}: {} characters are too few for a context of {context}: the last tenth, which is kept for validation, \
             has {least} and needs {}",
            self.source,
            self.tokens.len(),
            context.saturating_add(1)
        )))
    }

    /// Windows from random places of [`Text::train`], which `seed` and `step` alone decide.
    pub fn batch(&self, windows: usize, context: usize, seed: u64, step: u64) -> TextBatch {
        let tokens = self.train();
        let mut words = Words::new(seed, step, Purpose::TextWindow);
        let places = tokens.len().saturating_sub(context);
        cut(tokens, context, (0..windows).map(|_| words.below(places)))
    }

    /// Windows of [`Text::validation`] side by side, or, where those are more than `most`, that many evenly spread;
    /// in batches of at most `size`.
    pub fn validation_batches(&self, size: usize, context: usize, most: usize) -> Vec<TextBatch> {
        let tokens = self.validation();
        let all = tokens.len().saturating_sub(1) / context.max(1);
        let count = all.min(most);
        let starts: Vec<usize> = (0..count).map(|i| i * all / count * context).collect();
        starts.chunks(size.max(1)).map(|starts| cut(tokens, context, starts.iter().copied())).collect()
    }

    /// A number that differs for different texts.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = rustc_hash::FxHasher::default();
        self.vocabulary.0.hash(&mut hasher);
        self.tokens.hash(&mut hasher);
        // JSON readers in other languages hold integers only to 53 bits.
        hasher.finish() >> 11
    }
}

fn cut(tokens: &[i32], context: usize, starts: impl Iterator<Item = usize>) -> TextBatch {
    let mut batch = TextBatch { len: 0, inputs: Vec::new(), targets: Vec::new() };
    for start in starts {
        batch.len += 1;
        batch.inputs.extend(&tokens[start..start + context]);
        batch.targets.extend(&tokens[start + 1..start + context + 1]);
    }
    batch
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let fail = |source| Error::io(path, source);
    let file = File::open(path).map_err(fail)?;
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(Error::malformed(path, "is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    match bytes.len() as u64 {
        0 => Err(Error::malformed(path, "is empty")),
        n if n > MAX_BYTES => Err(Error::malformed(path, format!("has more than {} MiB", MAX_BYTES >> 20))),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(n: usize) -> Text {
        let text: String = (0..n).map(|i| char::from_u32(0x4e00 + i as u32).unwrap()).collect();
        Text::new("counting", &text).unwrap()
    }

    #[test]
    fn the_first_nine_tenths_are_learned_from() {
        for (n, train) in [(10, 9), (19, 17), (105, 94), (1000, 900)] {
            let text = counting(n);
            assert_eq!((text.train().len(), text.validation().len()), (train, n - train));
            assert_eq!(text.validation()[0], train as i32);
        }
    }

    #[test]
    fn batches_follow_seed_and_step_and_stay_in_their_part() {
        let text = counting(100);
        let batch = text.batch(50, 8, 3, 7);
        assert_eq!((batch.len, batch.inputs.len(), batch.targets.len()), (50, 400, 400));
        assert_eq!(batch, text.batch(50, 8, 3, 7));
        assert_ne!(batch, text.batch(50, 8, 3, 8));
        assert_ne!(batch, text.batch(50, 8, 4, 7));
        for (inputs, targets) in batch.inputs.chunks(8).zip(batch.targets.chunks(8)) {
            assert!(inputs.windows(2).all(|w| w[1] == w[0] + 1) && targets[7] < 90);
            assert!(inputs.iter().zip(targets).all(|(i, t)| *t == i + 1));
        }
        // The last window must be reachable, or the end of the text is never a target.
        assert!((0..200).any(|step| text.batch(8, 8, 0, step).targets.contains(&89)));
        assert_eq!(text.batch(1, 89, 0, 0).inputs[0], 0);
    }

    #[test]
    fn validation_windows_lie_side_by_side_or_spread() {
        let text = counting(1000);
        let starts = |most| {
            let batches = text.validation_batches(3, 8, most);
            assert!(batches.iter().all(|b| b.len <= 3 && b.inputs.len() == 8 * b.len));
            batches.iter().flat_map(|b| b.inputs.chunks(8)).map(|w| w[0] - 900).collect::<Vec<_>>()
        };
        assert_eq!(starts(usize::MAX), (0..12).map(|i| i * 8).collect::<Vec<_>>());
        assert_eq!(starts(4), [0, 24, 48, 72]);
        assert!(starts(0).is_empty());
    }

    #[test]
    fn a_text_too_short_for_its_context_says_so() {
        assert!(counting(100).fits(9).is_ok());
        for context in [0, 10, usize::MAX] {
            let message = counting(100).fits(context).unwrap_err().to_string();
            assert!(message.contains("too few"), "{message}");
        }
    }

    #[test]
    fn files_that_hold_no_text_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.txt");
        for (bytes, part) in [(&b""[..], "is empty"), (b"ab\xff", "byte 2")] {
            std::fs::write(&path, bytes).unwrap();
            let message = Text::load(&path).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("t.txt"), "{message}");
        }
        assert!(matches!(Text::load(&folder.path().join("none")), Err(Error::Io { .. })));
        assert!(matches!(Text::load(folder.path()), Err(Error::Malformed { .. })));
    }

    #[test]
    fn a_saved_vocabulary_comes_back_and_a_shuffled_one_does_not() {
        let vocabulary = Vocabulary::of("zürich\n\"\\").unwrap();
        assert_eq!(Vocabulary::parse(&vocabulary.to_string()).unwrap(), vocabulary);
        for bad in ["", "ba", "aab"] {
            assert!(Vocabulary::parse(bad).is_err());
        }
    }
}
