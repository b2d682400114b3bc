//! Which parts of the prelude a module needs: those whose names it mentions, and those that they mention.

use rustc_hash::FxHashMap;
use std::sync::LazyLock;

struct Part {
    text: &'static str,
    /// Indices of the parts that it mentions.
    needs: Vec<usize>,
}

struct Prelude {
    parts: Vec<Part>,
    names: FxHashMap<&'static str, usize>,
}

static PRELUDE: LazyLock<Prelude> = LazyLock::new(|| {
    let mut names = FxHashMap::default();
    let mut parts = Vec::new();
    for section in include_str!("prelude.cuh").split("//: ").skip(1) {
        let (head, text) = section.split_once('\n').unwrap_or((section, ""));
        names.extend(head.split_whitespace().map(|name| (name, parts.len())));
        parts.push(Part { text, needs: Vec::new() });
    }
    for part in &mut parts {
        part.needs = mentioned(part.text, &names);
    }
    Prelude { parts, names }
});

/// The parts that a text mentions.
fn mentioned(text: &str, names: &FxHashMap<&'static str, usize>) -> Vec<usize> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter_map(|word| names.get(word).copied()).collect()
}

/// The parts that `text` needs, in the prelude's order.
pub(super) fn prelude_for(text: &str) -> String {
    let mut needed = vec![false; PRELUDE.parts.len()];
    let mut open = mentioned(text, &PRELUDE.names);
    open.push(0);
    while let Some(i) = open.pop() {
        if !std::mem::replace(&mut needed[i], true) {
            open.extend(&PRELUDE.parts[i].needs);
        }
    }
    PRELUDE.parts.iter().zip(needed).filter(|(_, needed)| *needed).map(|(part, _)| part.text).collect()
}
