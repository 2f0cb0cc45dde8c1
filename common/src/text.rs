//! What people write, made safe to show: which characters that are not seen themselves stay, and where.
//!
//! Persian and the scripts of India need joiners, families of emoji and flags are held together by joiners, selectors
//! and tags (UTS #51), and Japanese names choose a form of a character. Everywhere else such characters only hide. The
//! rules follow UAX #31 §2.3 and RFC 5892 appendix A; for messages they are wider, since words are not compared.

use std::borrow::Cow;

use unicode_normalization::char::canonical_combining_class;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeEmoji, UnicodeGeneralCategory};
use unicode_script::{Script, UnicodeScript};

/// What written words are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// One component of a path: no line breaks, joiners where they change what is seen.
    FileName,
    /// A display name: as a file name, and nothing that has no appearance of its own (private use, unassigned, blanks,
    /// piles of marks).
    Name,
    /// A message: lines, tabs, joiners behind every letter.
    Text,
}

/// Written words as everybody sees them: line breaks of every kind are `\n`, a tab stays, a lone carriage return is a
/// space; no control characters, nothing that turns the direction of what stands around them, and no white space at
/// either end. Empty when nothing can be seen.
pub fn clean_text(written: &str) -> String {
    let text = sieve(written.chars(), Purpose::Text);
    let text = text.trim();
    if is_seen(text) { text.to_owned() } else { String::new() }
}

/// Words as they stand in a line of others: what is written from right to left is isolated (UAX #9 §2.7), so that it
/// does not reorder its neighbours where a terminal knows of directions.
pub fn isolated(words: &str) -> Cow<'_, str> {
    if !words.contains(is_right_to_left) {
        return Cow::Borrowed(words);
    }
    // An isolate ends with its line.
    let lines: Vec<_> = words.split('\n').map(|line| format!("{FIRST_STRONG_ISOLATE}{line}{POP_ISOLATE}")).collect();
    Cow::Owned(lines.join("\n"))
}

/// A line that a terminal shows and does not obey: without control characters but for line breaks and tabs, and
/// without embeddings and overrides of direction.
pub fn harmless(line: &str) -> Cow<'_, str> {
    let acts = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202a}'..='\u{202e}');
    if line.contains(acts) { Cow::Owned(line.replace(acts, "\u{fffd}")) } else { Cow::Borrowed(line) }
}

/// Leaves what may stay, given what stands before and behind it.
pub(crate) fn sieve(written: impl Iterator<Item = char>, purpose: Purpose) -> String {
    let chars = prepared(written, purpose);
    let mut kept = Kept { chars: Vec::with_capacity(chars.len()), purpose };
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        if kept.has_room_for(c, chars.get(at).copied()) {
            kept.chars.push(c);
        }
        if c == BLACK_FLAG {
            let tags = flag_tags(&chars[at..]);
            kept.chars.extend_from_slice(tags);
            at += tags.len();
        }
    }
    kept.chars.into_iter().collect()
}

/// Without what stays nowhere, and with white space as the purpose has it.
fn prepared(written: impl Iterator<Item = char>, purpose: Purpose) -> Vec<char> {
    let mut chars = Vec::new();
    let mut written = written.peekable();
    while let Some(c) = written.next() {
        let c = match c {
            '\r' if written.peek() == Some(&'\n') => continue,
            '\n' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' if purpose == Purpose::Text => '\n',
            '\t' if purpose == Purpose::Text => '\t',
            '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
            c if purpose == Purpose::Name && is_blank(c) => ' ',
            c => c,
        };
        if !is_refused(c, purpose) {
            chars.push(c);
        }
    }
    chars
}

fn is_refused(c: char, purpose: Purpose) -> bool {
    let private = || matches!(c.general_category(), GeneralCategory::PrivateUse | GeneralCategory::Unassigned);
    let invisible = c.is_control() && !matches!(c, '\n' | '\t') || is_ignorable(c) && !is_unseen(c);
    invisible || is_noncharacter(c) || (purpose == Purpose::Name && private())
}

/// What stays so far.
struct Kept {
    chars: Vec<char>,
    purpose: Purpose,
}

impl Kept {
    fn has_room_for(&self, c: char, next: Option<char>) -> bool {
        match c {
            ZERO_WIDTH_JOINER if self.joins_emoji(next) => true,
            ZERO_WIDTH_JOINER | ZERO_WIDTH_NON_JOINER => self.shapes(next),
            ZERO_WIDTH_SPACE => self.purpose == Purpose::Text && self.last().is_some_and(is_written_without_spaces),
            '\u{180b}'..='\u{180f}' => self.last_letter_is(&[Script::Mongolian]),
            '\u{fe0e}'..='\u{fe0f}' => {
                self.last().is_some_and(|last| is_emoji(last) || is_keycap(last) && next == Some(KEYCAP))
            }
            '\u{fe00}'..='\u{fe0d}' => self.last_letter_is(&[Script::Han, Script::Myanmar, Script::Phags_Pa]),
            '\u{e0100}'..='\u{e01ef}' => self.last_letter_is(&[Script::Han]),
            // Tags stand behind a flag alone, where they are taken as a whole.
            '\u{e0020}'..='\u{e007f}' => false,
            c if self.purpose == Purpose::Name && is_nonspacing(c) => self.carries_a_mark(),
            _ => true,
        }
    }

    fn last(&self) -> Option<char> {
        self.chars.last().copied()
    }

    /// The last character, or the one that a selector was put behind.
    fn base(&self) -> Option<char> {
        self.chars.iter().rev().copied().find(|c| !is_selector(*c))
    }

    fn last_letter_is(&self, scripts: &[Script]) -> bool {
        self.last().is_some_and(|last| is_letter(last) && scripts.contains(&last.script()))
    }

    /// UTS #51, ED-16.
    fn joins_emoji(&self, next: Option<char>) -> bool {
        self.base().is_some_and(is_emoji) && next.is_some_and(is_emoji)
    }

    /// Whether a joiner can change the shape of letters here (RFC 5892 A.1, A.2).
    fn shapes(&self, next: Option<char>) -> bool {
        let Some(last) = self.base().filter(|_| self.last().is_some_and(|last| !is_joiner(last))) else { return false };
        let before_letter = next.is_some_and(is_letter_or_mark);
        match self.purpose {
            Purpose::Text => is_letter_or_mark(last) && (before_letter || is_cursive(last) || is_virama(last)),
            Purpose::FileName | Purpose::Name => {
                let cursive = is_letter_or_mark(last) && is_cursive(self.last_letter().unwrap_or(last));
                before_letter && (is_virama(last) || cursive && next.is_some_and(is_cursive))
            }
        }
    }

    /// Vowel signs stand between letters that join.
    fn last_letter(&self) -> Option<char> {
        self.chars.iter().rev().copied().take(MARKS_MAX + 1).find(|c| is_letter(*c))
    }

    fn carries_a_mark(&self) -> bool {
        let marks = self.chars.iter().rev().take_while(|c| is_nonspacing(**c)).count();
        let base = self.chars.iter().rev().nth(marks);
        marks < MARKS_MAX && base.is_some_and(|base| !base.is_whitespace())
    }
}

/// The tags behind a black flag, when they name a part of a country (UTS #51, appendix C): three to six letters or
/// digits, and the end.
fn flag_tags(behind: &[char]) -> &[char] {
    let region = |c: &&char| matches!(**c, '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}');
    let letters = behind.iter().take_while(region).count();
    let complete = (3..=6).contains(&letters) && behind.get(letters) == Some(&CANCEL_TAG);
    if complete { &behind[..=letters] } else { &[] }
}

/// Whether there is anything to see.
pub(crate) fn is_seen(words: &str) -> bool {
    use GeneralCategoryGroup::{Letter, Number, Other, Punctuation, Symbol};
    let seen = |c: char| {
        let group = c.general_category_group();
        !is_ignorable(c) && !is_blank(c) && matches!(group, Letter | Number | Punctuation | Symbol | Other)
    };
    words.contains(|c: char| !c.is_control() && seen(c))
}

/// Characters that may stay and are not seen themselves: joiners, selectors, tags, the break between words.
pub(crate) fn is_unseen(c: char) -> bool {
    is_joiner(c)
        || is_selector(c)
        || matches!(c, ZERO_WIDTH_SPACE | '\u{180b}'..='\u{180f}' | '\u{e0020}'..='\u{e007f}')
}

/// Characters that change how others are shown or are not shown themselves: bidirectional and other formatting,
/// variation selectors, tags, fillers.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Symbols without ink: the empty Braille pattern, the empty note head, the fillers of Khitan and of hieroglyphs.
fn is_blank(c: char) -> bool {
    matches!(c, '\u{2800}' | '\u{1d159}' | '\u{13441}'..='\u{13442}' | '\u{16fe4}')
}

fn is_noncharacter(c: char) -> bool {
    u32::from(c) & 0xfffe == 0xfffe || matches!(c, '\u{fdd0}'..='\u{fdef}')
}

fn is_joiner(c: char) -> bool {
    matches!(c, ZERO_WIDTH_JOINER | ZERO_WIDTH_NON_JOINER)
}

fn is_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Digits are emoji by the table, and no pictures.
fn is_emoji(c: char) -> bool {
    !c.is_ascii() && c.is_emoji_char()
}

fn is_keycap(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '#' | '*')
}

fn is_letter(c: char) -> bool {
    c.general_category_group() == GeneralCategoryGroup::Letter
}

fn is_letter_or_mark(c: char) -> bool {
    let seen = matches!(c.general_category_group(), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Mark);
    seen && !is_unseen(c)
}

fn is_nonspacing(c: char) -> bool {
    matches!(c.general_category(), GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark) && !is_unseen(c)
}

/// Signs that take a consonant's vowel and bind it to the next one.
fn is_virama(c: char) -> bool {
    canonical_combining_class(c) == VIRAMA
}

/// Scripts whose letters join (Unicode Standard §9.2 and its like): there a joiner is seen.
fn is_cursive(c: char) -> bool {
    matches!(
        c.script(),
        Script::Adlam
            | Script::Arabic
            | Script::Chorasmian
            | Script::Hanifi_Rohingya
            | Script::Mandaic
            | Script::Manichaean
            | Script::Mongolian
            | Script::Nko
            | Script::Old_Uyghur
            | Script::Phags_Pa
            | Script::Psalter_Pahlavi
            | Script::Sogdian
            | Script::Syriac
    )
}

/// Scripts whose writers part words by [`ZERO_WIDTH_SPACE`], so that lines break there (UAX #14, class SA).
fn is_written_without_spaces(c: char) -> bool {
    is_letter_or_mark(c) && matches!(c.script(), Script::Khmer | Script::Lao | Script::Myanmar | Script::Thai)
}

/// What stands in a block of right-to-left scripts (the default classes of DerivedBidiClass).
fn is_right_to_left(c: char) -> bool {
    matches!(c,
        '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}' | '\u{10800}'..='\u{10fff}'
        | '\u{1e800}'..='\u{1efff}')
}

const ZERO_WIDTH_SPACE: char = '\u{200b}';
const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';
const FIRST_STRONG_ISOLATE: char = '\u{2068}';
const POP_ISOLATE: char = '\u{2069}';
const BLACK_FLAG: char = '\u{1f3f4}';
const CANCEL_TAG: char = '\u{e007f}';
const KEYCAP: char = '\u{20e3}';
/// Canonical_Combining_Class=Virama.
const VIRAMA: u8 = 9;
/// Marks without width on one letter of a name (UTS #39 §5.4): more of them cover the lines around.
const MARKS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_keeps_its_lines_and_loses_what_cannot_be_seen() {
        let table = [
            (" a\u{1b}[31m\r\nb\u{202e} \n", "a[31m\nb"),
            ("cr\rover", "cr over"),
            ("tab\tx", "tab\tx"),
            ("a\u{2028}b\u{85}c\u{b}d", "a\nb\nc\nd"),
            ("red\u{9b}31m bell\u{7}", "red31m bell"),
            ("\u{202e}evil\u{202c} \u{2067}x\u{2069} \u{200e}\u{200f}\u{61c}y", "evil x y"),
            ("a\u{200b}b\u{feff}c\u{ad}d", "abcd"),
            ("a\u{e0041}\u{e0042}\u{e007f}b", "ab"),
            ("\u{fffe}x\u{fdd0}", "x"),
        ];
        for (written, seen) in table {
            assert_eq!(clean_text(written), seen, "{written:?}");
        }
    }

    #[test]
    fn joiners_within_words_and_within_emoji_stay() {
        for text in [
            "می‌خواهم",
            "نامه‌ای به علی‌رضا",
            "ه‍.ق",
            "क्‍ष र्‍य क्‌ष",
            "বাং‌লা ক্‍",
            "ශ්‍රී ලංකා",
            "ക്‍ഷ",
            "👨‍👩‍👧 👩🏽‍🚀 🏳️‍🌈 ❤️‍🔥 👁️‍🗨️",
            "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f} 🇩🇪",
            "❤️ ☎︎ 1️⃣ #️⃣",
            "葛\u{e0100}城",
            "ភាសា\u{200b}ខ្មែរ",
            "ᠮᠣᠩ\u{180b}",
            "Auf‌lage",
        ] {
            assert_eq!(clean_text(text), text, "{text:?}");
        }
    }

    #[test]
    fn a_joiner_hides_nowhere() {
        let table = [
            ("\u{200d}a \u{200c}b", "a b"),
            ("a\u{200d}", "a"),
            ("a\u{200d}\u{200d}\u{200c}b", "a\u{200c}b"),
            ("👨\u{200d}a", "👨a"),
            ("1\u{fe0f}2", "12"),
            ("a\u{fe0f}\u{fe0f}", "a"),
            ("❤\u{fe0f}\u{fe0f}", "❤\u{fe0f}"),
            ("🏴\u{e0067}\u{e007f}", "🏴"),
        ];
        for (written, seen) in table {
            assert_eq!(clean_text(written), seen, "{written:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_no_text() {
        for nothing in ["", " \n\t", "\u{200b}", "\u{200d}\u{fe0f}", "\u{2800}", "\u{3164}", "\u{202e}"] {
            assert_eq!(clean_text(nothing), "", "{nothing:?}");
        }
    }

    #[test]
    fn words_from_right_to_left_do_not_reorder_their_neighbours() {
        assert_eq!(isolated("Ada 👨‍👩‍👧"), "Ada 👨‍👩‍👧");
        assert_eq!(isolated("שרה"), "\u{2068}שרה\u{2069}");
        assert_eq!(isolated("a\nש"), "\u{2068}a\u{2069}\n\u{2068}ש\u{2069}");
    }

    #[test]
    fn a_terminal_is_not_commanded() {
        assert_eq!(harmless("plain\ttext\n"), "plain\ttext\n");
        assert_eq!(harmless("\u{1b}[2J\u{9b}1m\r\u{202e}"), "\u{fffd}[2J\u{fffd}1m\u{fffd}\u{fffd}");
    }

    /// Letters, joiners, selectors, tags and marks in every order.
    fn tricky() -> impl Strategy<Value = String> {
        let some = "aé1 \t\r\n.ی़्क\u{200b}\u{200c}\u{200d}\u{fe0f}\u{fe00}\u{e0100}\u{e0067}\u{e007f}\u{202e}\u{301}\
                    \u{20e3}👨❤🏴漢ภᠮ\u{180b}\u{2800}";
        let chars: Vec<char> = some.chars().collect();
        prop::collection::vec(prop::sample::select(chars), 0..24).prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn clean_text_stays_as_it_is(written in tricky()) {
            let clean = clean_text(&written);
            prop_assert_eq!(clean_text(&clean), clean);
        }

        #[test]
        fn clean_names_stay_as_they_are(written in tricky()) {
            if let Some(name) = crate::names::clean_name(&written) {
                prop_assert_eq!(crate::names::clean_name(&name), Some(name));
            }
            let file = crate::names::safe_file_name(&written);
            prop_assert_eq!(crate::names::safe_file_name(&file), file);
        }
    }
}
