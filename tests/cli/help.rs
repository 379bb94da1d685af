//! What the program says of itself.

use super::assert_shown;
use super::helpers::seaworthy;

#[test]
fn help_says_what_each_command_does() {
    let shown: Vec<String> = [
        &["--help"][..],
        &["-h"],
        &["--version"],
        &["serve", "--help"],
        &["check", "--help"],
        &["init", "--help"],
        &["inspect", "--help"],
        &["transform", "--help"],
        &["healthcheck", "--help"],
        &["new", "--help"],
        &["predict", "--help"],
        &["diff", "--help"],
        &["replay", "--help"],
    ]
    .iter()
    .map(|arguments| seaworthy(arguments).show())
    .collect();
    assert_shown!(shown.join("\n"));
}

#[test]
fn a_command_line_that_is_none_is_refused() {
    let shown: Vec<String> = [
        &["chek"][..],
        &["check", "--fromat", "json"],
        &["check", "--format", "yaml"],
        &["inspect"],
        &["inspect", "one", "two"],
        &["healthcheck", "--timeout", "soon"],
        &["--config-dir"],
    ]
    .iter()
    .map(|arguments| seaworthy(arguments).show())
    .collect();
    assert_shown!(shown.join("\n"));
}
