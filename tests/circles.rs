//! No file of the workspace is used by one that it uses itself, over however many others: read from the `use` lines. Whoever
//! comes to mend something can read a file and what lies below it, and has read all of it.

#![expect(clippy::unwrap_used, reason = "the whole file is tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file by its module path, the crate first: `["common", "relay", "group"]`.
type Module = Vec<String>;

#[test]
fn no_file_uses_one_that_uses_it() {
    let mut uses: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for krate in ["common", "server", "client"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(krate).join("src");
        let files = files_below(&root, &root, krate);
        for (module, path) in &files {
            let text = std::fs::read_to_string(path).unwrap();
            let used = paths_used(code(&text), module).filter_map(|path| home(&files, path));
            // A module and what it is made of are one idea: they may name each other.
            let used = used.filter(|used| !used.starts_with(module) && !module.starts_with(used));
            uses.entry(module.clone()).or_default().extend(used);
        }
    }
    assert!(uses.len() > 200, "only {} files were found", uses.len());
    assert_eq!(circle(&uses), None);
}

#[test]
fn a_circle_is_found_however_long_it_is() {
    let module = |name: &str| vec![name.to_owned()];
    let mut uses = BTreeMap::from([
        (module("a"), BTreeSet::from([module("b"), module("d")])),
        (module("b"), BTreeSet::from([module("c")])),
        (module("c"), BTreeSet::from([module("d")])),
    ]);
    assert_eq!(circle(&uses), None);
    uses.insert(module("d"), BTreeSet::from([module("b")]));
    assert_eq!(circle(&uses), Some("b -> c -> d -> b".into()));
}

/// What follows a test module is tests, too, in this project.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

fn files_below(root: &Path, folder: &Path, krate: &str) -> BTreeMap<Module, PathBuf> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files.extend(files_below(root, &entry, krate));
        } else if entry.extension().is_some_and(|extension| extension == "rs") && !is_test(&entry) {
            let inside = entry.strip_prefix(root).unwrap().with_extension("");
            let mut module = vec![krate.to_owned()];
            module.extend(inside.iter().map(|part| part.to_string_lossy().into_owned()));
            module.pop_if(|last| last == "mod" || last == "lib");
            files.insert(module, entry);
        }
    }
    files
}

fn is_test(file: &Path) -> bool {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    name.ends_with("tests") || name == "simulation" || name == "behaviour"
}

/// Every path that the `use` lines of `module` begin with, made absolute: groups are opened, names at the end stay.
fn paths_used<'a>(code: &'a str, module: &'a Module) -> impl Iterator<Item = Module> + 'a {
    let lines = code.split(';').filter_map(|statement| {
        let start = statement.rfind("\nuse ").map(|at| at + 5);
        let start = start.or_else(|| statement.rfind("\npub use ").map(|at| at + 9))?;
        Some(statement[start..].split_whitespace().collect::<String>())
    });
    lines.flat_map(|line| opened(&line)).filter_map(|path| absolute(&path, module))
}

/// `a::{b, c::{d}}` as `a::b`, `a::c::d`.
fn opened(path: &str) -> Vec<String> {
    let Some((front, group)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for letter in group.strip_suffix('}').unwrap_or(group).chars() {
        match letter {
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            _ => {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                part.push(letter);
            }
        }
    }
    parts.push(part);
    parts.iter().flat_map(|part| opened(part)).map(|part| format!("{front}{part}")).collect()
}

fn absolute(path: &str, module: &Module) -> Option<Module> {
    let mut parts = path.split("::").peekable();
    let mut base = match *parts.peek()? {
        "crate" => vec![module[0].clone()],
        "self" => module.clone(),
        "super" => module[..module.len() - 1].to_vec(),
        // A crate's own name is a path of another crate, which lies below as a whole.
        _ => return None,
    };
    parts.next();
    while parts.next_if_eq(&"super").is_some() {
        base.pop();
    }
    base.extend(parts.map(str::to_owned));
    Some(base)
}

/// The file that defines what a path names: the longest module path it begins with.
fn home(files: &BTreeMap<Module, PathBuf>, mut path: Module) -> Option<Module> {
    while path.len() > 1 {
        if files.contains_key(&path) {
            return Some(path);
        }
        path.pop();
    }
    None
}

/// A circle, if there is one, in words.
fn circle(uses: &BTreeMap<Module, BTreeSet<Module>>) -> Option<String> {
    let mut done = BTreeSet::new();
    uses.keys().find_map(|start| follow(uses, start, &mut Vec::new(), &mut done))
}

fn follow<'a>(
    uses: &'a BTreeMap<Module, BTreeSet<Module>>,
    at: &'a Module,
    way: &mut Vec<&'a Module>,
    done: &mut BTreeSet<&'a Module>,
) -> Option<String> {
    if let Some(first) = way.iter().position(|other| *other == at) {
        let names = way[first..].iter().copied().chain([at]).map(|module| module.join("::"));
        return Some(names.collect::<Vec<_>>().join(" -> "));
    }
    if done.contains(at) {
        return None;
    }
    way.push(at);
    let found = uses.get(at).into_iter().flatten().find_map(|next| follow(uses, next, way, done));
    way.pop();
    done.insert(at);
    found
}
