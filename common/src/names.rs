//! Names people type and names of files they send, made safe to show and to write.

use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;

use crate::limits::{FILE_NAME_MAX_BYTES, NAME_MAX_BYTES, NAME_MAX_CHARS};
use crate::text::{Purpose, is_seen, is_unseen, sieve};

/// A display name as everybody sees it: NFKC, single spaces, of what is not seen itself only the joiners, selectors and
/// tags that a name may have; or `None` when nothing visible is left or it is too long.
///
/// As the Nickname profile (RFC 8266) has it, over the joiner contexts of RFC 8264 §9.8 and UTS #39 §3.1.1.
pub fn clean_name(typed: &str) -> Option<String> {
    let name = settled(typed, |name| {
        let sieved = sieve(name.nfkc(), Purpose::Name);
        sieved.split_whitespace().collect::<Vec<_>>().join(" ")
    })?;
    let fits = name.len() <= NAME_MAX_BYTES && name.chars().count() <= NAME_MAX_CHARS;
    (fits && is_seen(&name)).then_some(name)
}

/// Does `step` until nothing changes: what stood apart only by something invisible composes, and what composed may be
/// a place for something else.
fn settled(typed: &str, step: impl Fn(&str) -> String) -> Option<String> {
    let mut name = step(typed);
    for _ in 0..ROUNDS_MAX {
        let again = step(&name);
        if again == name {
            return Some(name);
        }
        name = again;
    }
    None
}

/// Rounds of [`settled`]; what people type needs one.
const ROUNDS_MAX: usize = 8;

/// Whether two cleaned names could be taken for each other (UTS #39 skeletons).
///
/// One skeleton is not enough: lower-casing only after it lets `AIice` (capital I) pass for `Alice`, only before it
/// lets others pass. So both orders are compared, and one equal pair is too many.
pub fn look_alike(one: &str, other: &str) -> bool {
    let [a, b] = keys(one);
    let [c, d] = keys(other);
    a == c || a == d || b == c || b == d
}

/// Over what is seen: joiners, selectors and tags tell no two names apart.
fn keys(name: &str) -> [String; 2] {
    let name: &str = &name.chars().filter(|c| !is_unseen(*c)).collect::<String>();
    let lower_skeleton = skeleton(name).collect::<String>().to_lowercase();
    let skeleton_lower = skeleton(&name.to_lowercase()).collect();
    [lower_skeleton, skeleton_lower]
}

/// Whom a typed name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant<K> {
    /// Nobody has a name like it.
    Nobody,
    /// This one.
    One(K),
    /// All these names look like it, and none is it.
    Several(Vec<K>),
}

/// Finds out whom a typed name means: the one of that name, else the one whose name looks like it. So it does not matter
/// how it is composed, in which case it is, and how many spaces are between its words.
pub fn who_is<'a, K: Copy>(typed: &str, names: impl IntoIterator<Item = (K, &'a str)>) -> Meant<K> {
    let Some(typed) = clean_name(typed) else { return Meant::Nobody };
    let alike: Vec<_> = names.into_iter().filter(|(_, name)| look_alike(name, &typed)).collect();
    let exactly = alike.iter().find(|(_, name)| *name == typed);
    match (exactly, &alike[..]) {
        (Some((key, _)), _) | (None, [(key, _)]) => Meant::One(*key),
        (None, []) => Meant::Nobody,
        (None, several) => Meant::Several(several.iter().map(|(key, _)| *key).collect()),
    }
}

/// Names that would make their owner look like a part of the program.
pub fn is_reserved(name: &str) -> bool {
    ["host", "server", "everyone"].iter().any(|reserved| look_alike(name, reserved))
}

/// The name under which a received file is written: one component of a path, on every operating system, whatever
/// its sender called it.
pub fn safe_file_name(offered: &str) -> String {
    let last = offered.rsplit(['/', '\\']).next().unwrap_or_default();
    settled(last, safe_component).unwrap_or_else(|| "file".into())
}

fn safe_component(name: &str) -> String {
    let mapped: String = sieve(name.nfc(), Purpose::FileName).chars().map(replace_forbidden).collect();
    let trimmed = mapped.trim_matches([' ', '.']);
    let name = if trimmed.is_empty() { "file" } else { trimmed };
    shorten(if is_device(name) { format!("_{name}") } else { name.to_owned() })
}

fn replace_forbidden(c: char) -> char {
    if matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*') { '_' } else { c }
}

/// Names that mean a device on Windows, with any extension. It takes the superscripts of ISO 8859-1 for digits, too.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let is_number = |n: &str| {
        let mut digits = n.chars();
        digits.next().is_some_and(|c| c.is_ascii_digit() || matches!(c, '¹' | '²' | '³')) && digits.next().is_none()
    };
    let numbered = |prefix| stem.strip_prefix(prefix).is_some_and(is_number);
    let named = matches!(stem.as_str(), "CON" | "CONIN$" | "CONOUT$" | "PRN" | "AUX" | "NUL");
    named || numbered("COM") || numbered("LPT")
}

/// Room for what a receiver may add to keep two files apart: ` (999)`, and `.part` while it is incomplete.
const NAME_SUFFIX_BYTES: usize = 16;

/// Cuts the stem and keeps a short extension.
fn shorten(name: String) -> String {
    let limit = FILE_NAME_MAX_BYTES - NAME_SUFFIX_BYTES;
    if name.len() <= limit {
        return name;
    }
    let extension = name.rfind('.').map(|dot| &name[dot..]).filter(|extension| extension.len() <= 16).unwrap_or("");
    let mut stem = limit - extension.len();
    while !name.is_char_boundary(stem) {
        stem -= 1;
    }
    // What is left before the cut may end as no name on Windows may.
    let stem = name[..stem].trim_end_matches([' ', '.']);
    format!("{stem}{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cleaned_to_what_is_seen() {
        assert_eq!(clean_name("  Ada \t Lovelace\u{200b} "), Some("Ada Lovelace".into()));
        assert_eq!(clean_name("Ａｄａ"), Some("Ada".into()));
        assert_eq!(clean_name("e\u{200b}\u{301}"), Some("é".into()));
        assert_eq!(clean_name("\u{202e}adA"), Some("adA".into()));
        for nothing in ["", "   ", "\u{200b}\u{feff}", "\n"] {
            assert_eq!(clean_name(nothing), None);
        }
        for (typed, name) in [("Ada\tLovelace", "Ada Lovelace"), ("Ada\r\nBo", "Ada Bo"), ("Ada\u{2028}Bo", "Ada Bo")] {
            assert_eq!(clean_name(typed).as_deref(), Some(name));
        }
        assert_eq!(clean_name(&"a".repeat(33)), None);
        assert_eq!(clean_name(&"李".repeat(22)), None);
    }

    #[test]
    fn names_that_look_alike_clash_and_others_do_not() {
        for other in ["alice", "ALICE", "Аlice", "Alicе", "AIice", "A1ice"] {
            assert!(look_alike("Alice", other), "{other}");
        }
        assert!(look_alike("Rome", "Rorne"));
        for (one, other) in [("Alice", "Alïce"), ("Иван", "Ivan"), ("李", "王"), ("Bo", "Ada")] {
            assert!(!look_alike(one, other), "{one} {other}");
        }
    }

    #[test]
    fn names_of_every_script_stay_as_they_are_written() {
        for name in [
            "علی‌رضا", // Persian, ZWNJ between letters that would join
            "می‌نا",
            "क्‍षमा",          // Devanagari, ZWJ behind a virama
            "ශ්‍රී",            // Sinhala
            "ക്‍ഷ",            // Malayalam
            "葛\u{e0100}城", // Japanese, the form of the character that the family writes
            "👨‍👩‍👧 Ada",
            "❤\u{fe0f} Bo",
            "👩🏽‍🚀",
            "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}", // Scotland
            "1\u{fe0f}\u{20e3}st",                                      // a keycap
            "ᠮᠣᠩᠭᠣᠯ",
            "Jürgen",
            "Зоя",
            "Ἀριστοτέλης",
            "שרה",
            "김철수",
            "สมชาย",
            "ខេមរា",
            "李小龍",
            "O’Neil",
        ] {
            let composed: String = name.nfkc().collect();
            assert_eq!(clean_name(name), Some(composed), "{name:?}");
        }
    }

    #[test]
    fn what_is_not_seen_stays_in_no_name_where_it_means_nothing() {
        for (typed, name) in [
            ("A\u{200d}da", "Ada"),
            ("Ad\u{200c}a", "Ada"),
            ("\u{200d}Ada\u{200d}", "Ada"),
            ("Ada\u{fe0f}", "Ada"),
            ("Ada1\u{fe0f}", "Ada1"),
            ("Ada\u{e0041}\u{e007f}", "Ada"),
            ("🏴\u{e0041}\u{e007f}", "🏴"),
            ("علی\u{200c}\u{200c}\u{200d}رضا", "علی\u{200d}رضا"),
            ("علی\u{200c} رضا", "علی رضا"),
            ("👨\u{200d}Ada", "👨Ada"),
            ("\u{2067}Ada\u{2069}\u{200f}\u{61c}", "Ada"),
            ("Ada\u{2800}Bo", "Ada Bo"),
            ("\u{e000}Ada\u{fffe}", "Ada"),
            ("\u{301}Ada", "Ada"),
            ("Z\u{335}\u{336}\u{337}\u{338}\u{335}\u{336}o", "Z\u{335}\u{336}\u{337}\u{338}o"),
        ] {
            assert_eq!(clean_name(typed).as_deref(), Some(name), "{typed:?}");
        }
    }

    #[test]
    fn no_name_looks_empty() {
        let nothing =
            ["\u{2800}", "\u{200d}", "\u{301}\u{301}", "\u{3164}", "\u{fe0f}", "\u{2069}", "\u{e000}", "\u{1d159}"];
        for nothing in nothing {
            assert_eq!(clean_name(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_joiner_or_a_selector_makes_nobody_somebody_else() {
        for (one, other) in [("علی‌رضا", "علیرضا"), ("❤\u{fe0f}", "❤"), ("葛\u{e0100}", "葛"), ("क्‍ष", "क्ष")]
        {
            let [one, other] = [one, other].map(|name| clean_name(name).unwrap());
            assert_ne!(one, other);
            assert!(look_alike(&one, &other), "{one} {other}");
        }
    }

    #[test]
    fn nobody_is_called_like_a_part_of_the_program() {
        assert!(is_reserved("Host") && is_reserved("sеrver") && is_reserved("Everyone"));
        assert!(!is_reserved("Hostess"));
    }

    #[test]
    fn a_typed_name_means_who_is_called_like_it() {
        let names = [(1, "Zoë Smith"), (2, "Ada"), (3, "Il"), (4, "lI")];
        for typed in ["Zoë Smith", "Zoe\u{308}  Smith", " zoë smith ", "ZOË SMITH"] {
            assert_eq!(who_is(typed, names), Meant::One(1), "{typed}");
        }
        assert_eq!(who_is("ada", names), Meant::One(2));
        assert_eq!(who_is("Il", names), Meant::One(3), "who is called exactly so");
        assert_eq!(who_is("ll", names), Meant::Several(vec![3, 4]));
        assert_eq!(who_is("Eve", names), Meant::Nobody);
        assert_eq!(who_is(" ", names), Meant::Nobody);
    }

    #[test]
    fn seed_hole_a_file_name_with_dots_and_slashes_stays_in_its_folder() {
        let table = [
            ("../../etc/passwd", "passwd"),
            ("..\\..\\Windows\\system.ini", "system.ini"),
            ("/etc/shadow", "shadow"),
            ("..", "file"),
            ("", "file"),
            ("a/..", "file"),
            ("C:evil.txt", "C_evil.txt"),
            ("name.txt:stream", "name.txt_stream"),
            ("NUL", "_NUL"),
            ("com1.txt", "_com1.txt"),
            ("COM¹", "_COM¹"),
            ("lpt³.tar.gz", "_lpt³.tar.gz"),
            ("COM⁴", "COM⁴"),
            ("conin$", "_conin$"),
            ("CONOUT$ .log", "_CONOUT$ .log"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            (" .hidden. ", "hidden"),
            ("nul\0byte", "nulbyte"),
            ("a\tb\nc.txt", "a b c.txt"),
            ("نامه‌ها.pdf", "نامه‌ها.pdf"),
            ("👨‍👩‍👧.jpg", "👨‍👩‍👧.jpg"),
            ("a\u{200d}.txt", "a.txt"),
            (".\u{200d}.", "file"),
            ("\u{2066}a\u{2069}.txt", "a.txt"),
        ];
        for (offered, safe) in table {
            assert_eq!(safe_file_name(offered), safe, "{offered:?}");
        }
    }

    #[test]
    fn a_safe_file_name_is_safe_again_and_short() {
        for offered in ["../x", &"ö".repeat(500), &format!("{}.tar.gz", "x".repeat(400)), "con. ", &"👨‍".repeat(90)]
        {
            let name = safe_file_name(offered);
            assert_eq!(safe_file_name(&name), name);
            assert!(name.len() <= FILE_NAME_MAX_BYTES && !name.contains(['/', '\\']));
        }
        assert!(safe_file_name(&format!("{}.tar.gz", "x".repeat(400))).ends_with(".gz"));
    }
}
