//! `seaworthy key`: what it prints is what the server takes.

use super::assert_shown;
use super::helpers::seaworthy;
use seaworthy::access::Keys;

#[test]
fn a_fresh_key_is_printed_once_with_the_line_that_lets_it_in() {
    let run =
        || seaworthy(&["key", "new", "frontend", "--limit", "600/m", "--models", "a,b"]).outcome();
    let (one, other) = (run(), run());
    assert_eq!(one.code, Some(0), "{}", one.stderr);
    let (key, line) = one.stdout.trim().split_once('\n').unwrap();
    assert_ne!(other.stdout.lines().next(), Some(key));
    assert!(line.starts_with("frontend sha256:") && line.ends_with(" 600/m models=a+b"), "{line}");
    let keys = Keys::parse(line, None).unwrap();
    assert_eq!(keys.find(key.as_bytes()).unwrap().name(), "frontend");
    assert!(!one.stderr.contains(key) && !line.contains(&key[3..]));
}

#[test]
fn a_key_that_cannot_be_is_refused() {
    let shown =
        [&["key", "new", "a b"][..], &["key", "new", "frontend", "--limit", "many"], &["key"]]
            .map(|arguments| seaworthy(arguments).show());
    assert_shown!(shown.join("\n"));
}
