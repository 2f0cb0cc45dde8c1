//! Long texts folded to what is read at a glance.

use unicode_segmentation::UnicodeSegmentation;

/// Letters of a folded text: about as many as fit into [`FOLDED_LINES`] lines of the chat.
pub const FOLDED_LETTERS: usize = 600;
/// Lines of a folded text: half of a small window.
pub const FOLDED_LINES: usize = 12;
/// A text that is longer by less than a third is shown as a whole: nobody clicks for three words.
const SLACK: usize = 3;

/// The beginning of a text that is too long to be shown at once, cut between two graphemes, behind a word where one
/// ends near; `None` when it can be shown as it is.
pub fn folded(text: &str) -> Option<&str> {
    let fits = within(text, FOLDED_LETTERS + FOLDED_LETTERS / SLACK, FOLDED_LINES + FOLDED_LINES / SLACK);
    if fits.len() == text.len() {
        return None;
    }
    let start = within(text, FOLDED_LETTERS, FOLDED_LINES);
    Some(whole_graphemes(text, start.len()).trim_end())
}

/// As much of the beginning as has so many letters and lines.
fn within(text: &str, letters: usize, lines: usize) -> &str {
    let ends = text.char_indices().scan(lines, |left, (at, c)| {
        *left -= usize::from(c == '\n');
        (*left > 0).then_some(at + c.len_utf8())
    });
    &text[..ends.take(letters).last().unwrap_or_default()]
}

/// The beginning up to `end`, without a grapheme or a word that goes on behind it.
fn whole_graphemes(text: &str, end: usize) -> &str {
    let near = &text[..text.len().min(text.ceil_char_boundary(end + GRAPHEME_BYTES))];
    let cut = near.grapheme_indices(true).map(|(at, _)| at).take_while(|at| *at <= end).last().unwrap_or_default();
    let start = &text[..cut];
    match start.rfind(char::is_whitespace) {
        Some(space) if cut - space <= WORD_BYTES && !text[cut..].starts_with(char::is_whitespace) => &text[..space],
        _ => start,
    }
}

/// Bytes behind the cut that are looked at for the end of a grapheme: the longest family of emoji has 41.
const GRAPHEME_BYTES: usize = 64;
/// The longest word that is not cut, bytes.
const WORD_BYTES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_are_whole_and_long_ones_are_cut() {
        assert_eq!(folded("hello"), None);
        assert_eq!(folded(""), None);
        assert_eq!(folded(&"a".repeat(800)), None);
        assert_eq!(folded(&"a".repeat(16_000)).unwrap().len(), 600);
        assert_eq!(folded(&"漢".repeat(5_000)).unwrap().chars().count(), 600);
        assert_eq!(folded(&"a\n".repeat(15)), None);
        assert_eq!(folded(&"a\n".repeat(8_000)).unwrap().lines().count(), 12);
    }

    #[test]
    fn a_cut_is_behind_a_word_and_never_within_what_is_one_to_the_eye() {
        assert!(folded(&"seventeen ".repeat(100)).unwrap().ends_with("seventeen"));
        let family = "👨‍👩‍👧‍👦";
        let cut = folded(&family.repeat(400)).unwrap().to_owned();
        assert_eq!(cut.len() % family.len(), 0);
        assert!(!cut.is_empty());
    }
}
